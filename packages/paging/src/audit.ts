import { entryMfn, PTE } from "./pte.ts";
import { FRAME, foreignKey, NOBODY, PAGE_TYPE, type PagingState } from "./state.ts";
import { isTable, isXenSlot } from "./validate.ts";

/** A reference that someone outside of the page tables keeps to a frame: a root, a GDT page, a backend's view. */
export interface FrameHolder {
  /** The frame. */
  readonly mfn: number;
  /** A type reference is kept too. */
  readonly typed: boolean;
}

/** Counts every reference anew from the tables in memory and compares; a line for each deviation or broken rule. */
export function auditState(s: PagingState, holders: readonly FrameHolder[]): readonly string[] {
  const problems: string[] = [];
  const refs = new Uint32Array(s.frames);
  const typeRefs = new Uint32Array(s.frames);
  const linear = new Int32Array(s.frames);
  const foreign = new Map<number, number>();
  for (const { mfn, typed } of holders) {
    refs[mfn]!++;
    if (typed) typeRefs[mfn]!++;
  }
  for (let mfn = s.firstFrame; mfn < s.frames; mfn++) {
    const flags = s.flags[mfn]!;
    if ((flags & FRAME.ALLOCATED) !== 0) refs[mfn]!++;
    if ((flags & (FRAME.ALLOCATED | FRAME.XEN_HEAP)) === (FRAME.ALLOCATED | FRAME.XEN_HEAP)) typeRefs[mfn]!++;
    if ((flags & FRAME.PINNED) !== 0) {
      refs[mfn]!++;
      typeRefs[mfn]!++;
    }
    if (!isTable(s.type[mfn]!) || s.typeRefs[mfn] === 0) continue;
    if ((flags & FRAME.VALIDATED) === 0) problems.push(`table ${mfn} is counted but not validated`);
    if ((flags & FRAME.PROTECTED) === 0) problems.push(`table ${mfn} is not protected from writable TLB entries`);
    auditTable(s, mfn, refs, typeRefs, linear, foreign, problems);
  }
  for (let mfn = s.firstFrame; mfn < s.frames; mfn++) {
    compare(problems, `references of frame ${mfn}`, s.refs[mfn]!, refs[mfn]!);
    compare(problems, `type references of frame ${mfn}`, s.typeRefs[mfn]!, typeRefs[mfn]!);
    compare(problems, `linear entries of frame ${mfn}`, s.linear[mfn]!, linear[mfn]!);
    if ((s.owner[mfn] === NOBODY) !== (s.refs[mfn] === 0))
      problems.push(`frame ${mfn} of owner ${s.owner[mfn]} has ${s.refs[mfn]} references`);
  }
  compare(problems, "foreign mappings", s.foreign.size, foreign.size);
  for (const [key, count] of foreign) compare(problems, `foreign mapping ${key}`, s.foreign.get(key) ?? 0, count);
  auditDomains(s, problems);
  return problems;
}

function auditTable(
  s: PagingState,
  table: number,
  refs: Uint32Array,
  typeRefs: Uint32Array,
  linear: Int32Array,
  foreign: Map<number, number>,
  problems: string[],
): void {
  const level = s.type[table]!;
  const owner = s.owner[table]!;
  for (let at = table * 1024; at < table * 1024 + 1024; at += 2) {
    const low = s.words[at]!;
    if ((low & PTE.PRESENT) === 0 || isXenSlot(level, at)) continue;
    const mfn = entryMfn(low, s.words[at + 1]!);
    const where = `entry ${(at & 1023) >> 1} of L${level} ${table}`;
    if (mfn >= s.frames || mfn < s.firstFrame) {
      problems.push(`${where} maps frame ${mfn}, which no domain can own`);
      continue;
    }
    if ((low & PTE.USER) === 0) problems.push(`${where} lacks USER`);
    const writable = (low & PTE.WRITABLE) !== 0;
    if (level !== PAGE_TYPE.L1 && mfn === table) {
      if (writable) problems.push(`${where} maps its own table writable`);
      continue;
    }
    refs[mfn]!++;
    if (level === PAGE_TYPE.L1) {
      if (writable) typeRefs[mfn]!++;
      if (writable && s.type[mfn] !== PAGE_TYPE.WRITABLE)
        problems.push(`${where} maps frame ${mfn} of type ${s.type[mfn]} writable`);
      if (s.owner[mfn] !== owner) {
        const key = foreignKey(owner, mfn);
        foreign.set(key, (foreign.get(key) ?? 0) + (writable ? 2 ** 26 : 1));
      }
      continue;
    }
    typeRefs[mfn]!++;
    if (s.owner[mfn] !== owner) problems.push(`${where} points to a table of domain ${s.owner[mfn]}`);
    if (s.type[mfn] === level) {
      linear[table]!++;
      linear[mfn]!--;
      if (writable) problems.push(`${where} is a writable linear entry`);
    } else if (s.type[mfn] !== level - 1) problems.push(`${where} points to frame ${mfn} of type ${s.type[mfn]}`);
  }
}

function auditDomains(s: PagingState, problems: string[]): void {
  const owned = new Map<number, number>();
  let free = 0;
  for (let mfn = s.firstFrame; mfn < s.frames; mfn++) {
    const owner = s.owner[mfn]!;
    if (owner === NOBODY) free++;
    else if ((s.flags[mfn]! & FRAME.XEN_HEAP) === 0) owned.set(owner, (owned.get(owner) ?? 0) + 1);
  }
  compare(problems, "free frames", s.freeFrames, free);
  for (const domain of s.domains.values()) {
    compare(problems, `frames of domain ${domain.id}`, domain.ownedFrames, owned.get(domain.id) ?? 0);
    owned.delete(domain.id);
  }
  for (const [id, count] of owned) problems.push(`${count} frames belong to domain ${id}, which does not exist`);
}

function compare(problems: string[], what: string, counted: number, found: number): void {
  if (counted !== found) problems.push(`${what}: ${counted} counted, ${found} found`);
}
