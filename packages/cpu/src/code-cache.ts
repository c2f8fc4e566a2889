import type { MachineMemory } from "@paravirt/core";
import { decode, INVALID, type Instruction, OPCODES } from "@paravirt/x86";
import { engineInstruction } from "./decoding.ts";
import { CODE_TABLE_BYTES, type EngineLayout, FRAME, RECORD } from "./layout.ts";
import { type Selector, writeRecord } from "./tier0/select.ts";
import type { CodeListener, SoftTlb } from "./tlb.ts";

/**
 * Writes beside the code of a page after which the code is forgotten: a frame that held a program's text is data now. Each
 * time that this was wrong the page bears twice as many.
 */
const PATIENCE = 16;
/** Instructions decoded ahead at most when control reaches new code. */
const BLOCK_LIMIT = 48;
const ENDS_BLOCK = new Set([
  "jmp",
  "ret",
  "ud2",
  "iret",
  "hlt",
  "syscall",
  "sysenter",
  "sysret",
  "jmp.far",
  "ret.far",
  "int3",
]);

/** What is known about the code in one frame. */
interface CodePage {
  readonly mfn: number;
  readonly mode: 64 | 32;
  /** Machine address of the table of records. */
  readonly table: number;
  /** A bit for each 64 bytes that hold decoded code. */
  readonly chunks: Uint32Array;
  /** Branch records that wait for the code at an offset. */
  readonly pending: Map<number, number[]>;
  /** Check records of instructions that begin in another page and end in this one. */
  readonly crossings: Set<number>;
  /** Whether writes to the frame are watched: not before code was decoded, nor after it was dropped. */
  guarded: boolean;
  /** Writes to the guarded frame that hit no code since it was guarded, and how many are borne. */
  misses: number;
  patience: number;
}

/**
 * Decoded code, found by machine frame so that it survives address-space switches: for each frame and mode a table from
 * byte offset to record. Records are never freed one by one; when their memory is full everything starts anew.
 */
export class CodeCache implements CodeListener {
  private readonly memory: MachineMemory;
  private readonly layout: EngineLayout;
  private readonly selector: Selector;
  private readonly pages = new Map<number, CodePage>();
  private readonly pageOfTable: (CodePage | undefined)[] = [];
  private readonly freeTables: number[] = [];
  private nextTable = 0;
  private nextRecord: number;
  private readonly instruction = engineInstruction();
  private readonly endsBlock: boolean[] = OPCODES.map((row) => ENDS_BLOCK.has(row.name));
  private tlb: SoftTlb | undefined;
  /** Counts how often everything was forgotten: record addresses from before are stale. */
  generation = 0;
  /** Called when the code of a frame is forgotten. */
  onDrop: ((mfn: number, mode: 64 | 32) => void) | undefined;
  blocksDecoded = 0;
  instructionsDecoded = 0;

  constructor(memory: MachineMemory, layout: EngineLayout, selector: Selector) {
    this.memory = memory;
    this.layout = layout;
    this.selector = selector;
    this.nextRecord = layout.records;
  }

  attach(tlb: SoftTlb): void {
    this.tlb = tlb;
  }

  isTableOf(table: number, mfn: number): boolean {
    return this.pageOfTable[(table - this.layout.codeTables) / CODE_TABLE_BYTES]?.mfn === mfn;
  }

  /** The table of `mfn`'s code in `mode`, made if there is none. */
  tableOf(mfn: number, mode: 64 | 32): number {
    return (this.pages.get(pageKey(mfn, mode)) ?? this.addPage(mfn, mode)).table;
  }

  private addPage(mfn: number, mode: 64 | 32): CodePage {
    if (this.freeTables.length === 0 && this.nextTable === this.layout.codeTableCount) this.reclaim();
    const index = this.freeTables.pop() ?? this.nextTable++;
    const table = this.layout.codeTables + index * CODE_TABLE_BYTES;
    const page: CodePage = {
      mfn,
      mode,
      table,
      chunks: new Uint32Array(2),
      pending: new Map(),
      crossings: new Set(),
      guarded: false,
      misses: 0,
      patience: PATIENCE,
    };
    this.pages.set(pageKey(mfn, mode), page);
    if (mode === 64) this.memory.words[this.layout.codeTableOf / 4 + mfn] = table;
    this.pageOfTable[index] = page;
    return page;
  }

  /** Makes writes to the page's frame take the slow path, since code was decoded from it. */
  private guard(page: CodePage): void {
    if (page.guarded) return;
    page.guarded = true;
    page.misses = 0;
    this.tlb?.dropWritable(page.mfn);
    this.tlb?.mark(page.mfn, FRAME.code);
  }

  /** Lets writes to the page's frame be fast again: nothing that was decoded from it is left. */
  private unguard(page: CodePage): void {
    page.guarded = false;
    const other = this.pages.get(pageKey(page.mfn, page.mode === 64 ? 32 : 64));
    if (!other?.guarded) this.tlb?.unmark(page.mfn, FRAME.code);
  }

  /** Takes the tables of pages without code, or, if there are none, of all. */
  private reclaim(): void {
    for (const [key, page] of this.pages) {
      if (page.guarded) continue;
      this.pages.delete(key);
      if (page.mode === 64) this.memory.words[this.layout.codeTableOf / 4 + page.mfn] = 0;
      const index = (page.table - this.layout.codeTables) / CODE_TABLE_BYTES;
      this.pageOfTable[index] = undefined;
      this.freeTables.push(index);
    }
    if (this.freeTables.length === 0) this.clear();
    else this.tlb?.flushAll();
  }

  /** Forgets all code; every execute entry goes with it. */
  clear(): void {
    const { layout } = this;
    // Regions put back what they replaced in records of all their pages, which must be there still.
    for (const page of this.pages.values()) this.onDrop?.(page.mfn, page.mode);
    this.memory.bytes.fill(0, layout.codeTables, layout.codeTables + this.nextTable * CODE_TABLE_BYTES);
    // New records are taken from zeroed memory.
    this.memory.bytes.fill(0, layout.records, this.nextRecord);
    this.generation++;
    for (const page of this.pages.values()) {
      this.tlb?.unmark(page.mfn, FRAME.code);
      this.memory.words[layout.codeTableOf / 4 + page.mfn] = 0;
    }
    this.pages.clear();
    this.pageOfTable.length = 0;
    this.freeTables.length = 0;
    this.nextTable = 0;
    this.nextRecord = layout.records;
    this.tlb?.flushAll();
  }

  /** The record for the code at `offset` of frame `mfn`, decoding it if needed. */
  recordAt(mfn: number, mode: 64 | 32, offset: number): number {
    if (this.nextRecord + (BLOCK_LIMIT + 2) * RECORD.size > this.layout.recordsEnd) this.clear();
    const page = this.pages.get(pageKey(mfn, mode)) ?? this.addPage(mfn, mode);
    const known = this.memory.words[page.table / 4 + offset];
    return known !== undefined && known !== 0 ? known : this.decodeBlock(page, offset);
  }

  /** What the translator asks about a page: its table of records, and which offsets were decoded. */
  pageView(mfn: number, mode: 64 | 32): { readonly table: number; readonly isKnown: (offset: number) => boolean } {
    const { table } = this.pages.get(pageKey(mfn, mode)) ?? this.addPage(mfn, mode);
    return { table, isKnown: (offset) => this.memory.words[table / 4 + offset] !== 0 };
  }

  private decodeBlock(page: CodePage, start: number): number {
    const { memory, selector, instruction } = this;
    const { words, view, bytes } = memory;
    this.guard(page);
    const base = page.mfn * 4096;
    const table = page.table / 4;
    const first = this.nextRecord;
    let at = first;
    let offset = start;
    this.blocksDecoded++;
    for (let count = 0; ; count++) {
      if (offset >= 4096 || count === BLOCK_LIMIT) {
        this.writeGoto(at, offset, 0);
        at += RECORD.size;
        break;
      }
      const known = words[table + offset]!;
      if (known !== 0) {
        this.writeGoto(at, offset, known);
        at += RECORD.size;
        break;
      }
      const length = decode(bytes, base + offset, base + 4096, page.mode, instruction);
      words[table + offset] = at;
      this.link(page, offset, at);
      if (length === 0) {
        this.writeInvalid(at, offset);
        page.chunks[offset >> 11] = page.chunks[offset >> 11]! | (1 << ((offset >> 6) & 31));
        at += RECORD.size;
        break;
      }
      for (let chunk = offset >> 6; chunk <= (offset + length - 1) >> 6; chunk++)
        page.chunks[chunk >> 5] = page.chunks[chunk >> 5]! | (1 << (chunk & 31));
      const handler = selector.select(instruction);
      writeRecord(view, at, instruction, handler, offset);
      if (!runsHot(instruction)) view.setUint32(at + RECORD.hot, 0, true);
      if (handler.shape.letters[0] === "b") this.requestLink(page, at);
      const ends = this.endsBlock[instruction.row] === true || handler === selector.undefinedHandler;
      at += RECORD.size;
      offset += length;
      if (ends) break;
    }
    this.instructionsDecoded += (at - first) / RECORD.size;
    this.nextRecord = at;
    return first;
  }

  /**
   * Enters an instruction that begins at `offset` of frame `first` and ends in frame `second`, decoded already. Three
   * records: a check that the next page is still that frame, the instruction, and the way on. Returns the instruction's.
   */
  addCrossing(
    instruction: Instruction,
    mode: 64 | 32,
    place: { first: number; offset: number; second: number; from: number },
  ): number {
    if (this.nextRecord + 4 * RECORD.size > this.layout.recordsEnd) this.clear();
    const { words, view } = this.memory;
    const page = this.pages.get(pageKey(place.first, mode)) ?? this.addPage(place.first, mode);
    const next = this.pages.get(pageKey(place.second, mode)) ?? this.addPage(place.second, mode);
    this.guard(page);
    this.guard(next);
    const check = this.nextRecord;
    this.nextRecord += 3 * RECORD.size;
    const { checkHandler } = this.selector;
    view.setUint32(check + RECORD.hot, checkHandler.hot, true);
    view.setUint32(check + RECORD.slot, checkHandler.slot, true);
    view.setUint16(check + RECORD.offset, place.offset, true);
    view.setUint32(check + RECORD.immediate, next.table, true);
    const at = check + RECORD.size;
    const handler = this.selector.select(instruction);
    writeRecord(view, at, instruction, handler, place.offset);
    if (!runsHot(instruction)) view.setUint32(at + RECORD.hot, 0, true);
    this.writeGoto(at + RECORD.size, place.offset + instruction.length, 0);
    page.chunks[1] = page.chunks[1]! | (1 << 31);
    next.chunks[0] = next.chunks[0]! | 1;
    next.crossings.add(check);
    const table = page.table / 4 + place.offset;
    // The record that brought us here, and whoever comes by the table, go through the check from now on.
    if (words[table] === place.from) this.writeGoto(place.from, place.offset, check);
    words[table] = check;
    return at;
  }

  /** A branch record: link it to its target in the same page, now or when that is decoded. */
  private requestLink(page: CodePage, at: number): void {
    const target = this.memory.view.getInt32(at + RECORD.immediate, true);
    if (target < 0 || target > 4095) return;
    const known = this.memory.words[page.table / 4 + target]!;
    if (known !== 0) this.memory.view.setUint32(at + RECORD.target, known, true);
    else {
      const waiting = page.pending.get(target);
      if (waiting) waiting.push(at);
      else page.pending.set(target, [at]);
    }
  }

  private link(page: CodePage, offset: number, record: number): void {
    const waiting = page.pending.get(offset);
    if (waiting === undefined) return;
    for (const at of waiting) this.memory.view.setUint32(at + RECORD.target, record, true);
    page.pending.delete(offset);
  }

  private writeGoto(at: number, offset: number, target: number): void {
    const { view, bytes } = this.memory;
    bytes.fill(0, at, at + RECORD.size);
    view.setUint32(at + RECORD.hot, this.selector.gotoHandler.hot, true);
    view.setUint32(at + RECORD.slot, this.selector.gotoHandler.slot, true);
    view.setUint16(at + RECORD.offset, offset, true);
    view.setUint32(at + RECORD.immediate, offset, true);
    view.setUint32(at + RECORD.target, target, true);
  }

  private writeInvalid(at: number, offset: number): void {
    const { view } = this.memory;
    const truncated = this.instruction.invalid === INVALID.TRUNCATED;
    const handler =
      truncated || this.instruction.invalid === INVALID.TOO_LONG
        ? this.selector.decodeHandler
        : this.selector.undefinedHandler;
    view.setUint32(at + RECORD.slot, handler.slot, true);
    view.setUint16(at + RECORD.offset, offset, true);
  }

  /** Bytes `address` to `address + count` of machine memory were written: drops the code that they may have changed. */
  changed(address: number, count: number): void {
    const mfn = address >>> 12;
    const from = (address & 4095) >> 6;
    const to = Math.min(63, ((address & 4095) + count - 1) >> 6);
    for (const mode of [64, 32] as const) {
      const page = this.pages.get(pageKey(mfn, mode));
      if (page === undefined) continue;
      if (!page.guarded) continue;
      if (hasCode(page, from, to)) this.dropPage(page);
      else if (++page.misses > page.patience) {
        page.patience *= 2;
        this.dropPage(page);
      }
    }
  }

  codeChanged(mfn: number): void {
    for (const mode of [64, 32] as const) {
      const page = this.pages.get(pageKey(mfn, mode));
      if (page !== undefined) this.releasePage(page);
    }
  }

  /** Forgets the page's records and keeps its table: execute entries stay right. */
  private dropPage(page: CodePage): void {
    const { words } = this.memory;
    for (let chunk = 0; chunk < 64; chunk++)
      if (page.chunks[chunk >> 5]! & (1 << (chunk & 31)))
        words.fill(0, page.table / 4 + chunk * 64, page.table / 4 + chunk * 64 + 64);
    page.chunks.fill(0);
    page.pending.clear();
    // Whoever crosses into this page looks anew.
    for (const check of page.crossings) this.memory.words[(check + RECORD.immediate) / 4] = 0;
    page.crossings.clear();
    this.onDrop?.(page.mfn, page.mode);
    this.unguard(page);
  }

  private releasePage(page: CodePage): void {
    this.dropPage(page);
    this.pages.delete(pageKey(page.mfn, page.mode));
    if (page.mode === 64) this.memory.words[this.layout.codeTableOf / 4 + page.mfn] = 0;
    const index = (page.table - this.layout.codeTables) / CODE_TABLE_BYTES;
    this.tlb?.dropExecute(page.table);
    this.pageOfTable[index] = undefined;
    this.freeTables.push(index);
  }
}

/**
 * Whether the main loop may execute `instruction`: it neither masks nor wraps. In compatibility mode a sum that should have
 * wrapped lies outside of the low 4 GiB, where that mode's TLB has no entries, so that the cold function does the work.
 */
function runsHot({ addressSize, mode }: Instruction): boolean {
  return addressSize * 8 === mode;
}

/** Code of a frame is kept for each mode by itself. */
/** Whether code was decoded from any of the 64-byte chunks `from` to `to`; one that reaches into a chunk marks it, too. */
function hasCode({ chunks }: CodePage, from: number, to: number): boolean {
  for (let chunk = from; chunk <= to; chunk++) if (chunks[chunk >> 5]! & (1 << (chunk & 31))) return true;
  return false;
}

export function pageKey(mfn: number, mode: 64 | 32): number {
  return mfn * 2 + (mode === 64 ? 0 : 1);
}
