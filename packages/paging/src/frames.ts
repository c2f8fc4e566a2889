import { XEN_ERRNO } from "@paravirt/xen-abi";
import { bug, FRAME, NOBODY, type OwnedDomain, PAGE_TYPE, type PagingState } from "./state.ts";

/** Takes a reference to `mfn` if `owner` owns it; `false` for any other number, frame or owner. */
export function getPage(s: PagingState, mfn: number, owner: number): boolean {
  // Written so that NaN, fractions and numbers past the end fail too: `mfn` may be anything a guest says.
  if (!(mfn >= s.firstFrame && mfn < s.frames) || s.owner[mfn] !== owner || s.refs[mfn] === 0) return false;
  s.refs[mfn]!++;
  return true;
}

/** Gives a reference back; at the last one the frame goes to the heap. */
export function putPage(s: PagingState, mfn: number): void {
  const left = s.refs[mfn]! - 1;
  if (left < 0) bug(`reference count of frame ${mfn} would be ${left}`);
  s.refs[mfn] = left;
  if (left === 0) freeFrame(s, mfn);
}

function freeFrame(s: PagingState, mfn: number): void {
  if (s.typeRefs[mfn] !== 0) bug(`frame ${mfn} is freed with ${s.typeRefs[mfn]} type references`);
  const flags = s.flags[mfn]!;
  const domain = s.domains.get(s.owner[mfn]!);
  if (domain !== undefined) {
    if ((flags & FRAME.XEN_HEAP) !== 0) domain.xenFrames--;
    else domain.ownedFrames--;
  }
  s.owner[mfn] = NOBODY;
  s.type[mfn] = PAGE_TYPE.NONE;
  if ((flags & FRAME.PROTECTED) !== 0) s.guard.setWritable(mfn, true);
  s.flags[mfn] = FRAME.USED;
  // Drops every cached translation: from here on nobody reaches the frame.
  s.guard.setOwner(mfn, NOBODY);
  setMachineToPhys(s, mfn, -1);
  s.freed.push(mfn);
  s.freeFrames++;
  if (domain?.dying && domain.ownedFrames + domain.xenFrames === 0) s.domains.delete(domain.id);
}

/** One free frame, or 0 when there is none. Contents may be old: see {@link claim}. */
function takeFrame(s: PagingState): number {
  for (let mfn = s.freed.pop(); mfn !== undefined; mfn = s.freed.pop()) {
    // A frame that a contiguous run took is still listed here, and may be listed twice after it came back.
    if (s.owner[mfn] === NOBODY && s.refs[mfn] === 0) return mfn;
  }
  while (s.fresh < s.frames) {
    const mfn = s.fresh++;
    if (s.owner[mfn] === NOBODY && s.refs[mfn] === 0) return mfn;
  }
  return 0;
}

/** First frame of a free, naturally aligned run of 2^order frames, or 0. */
function takeRun(s: PagingState, order: number): number {
  if (order === 0) return takeFrame(s);
  const size = 2 ** order;
  const isFree = (from: number): number => {
    for (let mfn = from; mfn < from + size; mfn++) if (s.refs[mfn] !== 0) return mfn;
    return -1;
  };
  for (let from = Math.ceil(s.fresh / size) * size; from + size <= s.frames; ) {
    const taken = isFree(from);
    if (taken < 0) {
      // The frames skipped for alignment stay below `fresh`: list them, or they would never be found again.
      for (let mfn = s.fresh; mfn < from; mfn++) if (s.refs[mfn] === 0) s.freed.push(mfn);
      s.fresh = from + size;
      return from;
    }
    from += size;
  }
  for (let from = Math.ceil(s.firstFrame / size) * size; from + size <= s.frames; from += size) {
    if (isFree(from) < 0) return from;
  }
  return 0;
}

function claim(s: PagingState, mfn: number, owner: number, flags: number): void {
  if ((s.flags[mfn]! & FRAME.USED) !== 0) {
    s.memory.bytes.fill(0, mfn * 4096, mfn * 4096 + 4096);
    s.guard.written(mfn);
  }
  s.owner[mfn] = owner;
  s.refs[mfn] = 1;
  s.type[mfn] = PAGE_TYPE.NONE;
  s.flags[mfn] = flags | FRAME.USED;
  s.freeFrames--;
  s.guard.setOwner(mfn, owner);
}

/** 2^order zeroed, contiguous frames for `domain`; their first MFN, or a negative errno. */
export function allocateFrames(s: PagingState, domain: OwnedDomain, order: number): number {
  const count = 2 ** order;
  if (domain.dying) return -XEN_ERRNO.EINVAL;
  if (!(order >= 0 && order <= 18) || domain.ownedFrames + count > domain.maxFrames) return -XEN_ERRNO.ENOMEM;
  if (s.freeFrames < count) return -XEN_ERRNO.ENOMEM;
  const first = takeRun(s, order);
  if (first === 0) return -XEN_ERRNO.ENOMEM;
  for (let mfn = first; mfn < first + count; mfn++) claim(s, mfn, domain.id, FRAME.ALLOCATED);
  domain.ownedFrames += count;
  return first;
}

/** One zeroed frame that belongs to Xen (`owner` names who may map it), outside every domain's reservation; 0 if none. */
export function allocateXenFrame(s: PagingState, owner: number): number {
  const mfn = s.freeFrames > 0 ? takeFrame(s) : 0;
  if (mfn === 0) return 0;
  claim(s, mfn, owner, FRAME.XEN_HEAP | FRAME.ALLOCATED | FRAME.VALIDATED);
  return mfn;
}

/** Sets the M2P entry of `mfn`; -1 marks it as invalid. `pfn` is the guest's word and may be anything. */
export function setMachineToPhys(s: PagingState, mfn: number, pfn: number): void {
  if (s.m2pFrame === 0) return;
  const at = s.m2pFrame * 1024 + mfn * 2;
  s.words[at] = pfn;
  s.words[at + 1] = pfn < 0 ? -1 : pfn / 0x1_0000_0000;
}

/** Sets the M2P entry of `mfn` from the two words of a guest's value. */
export function setMachineToPhysWords(s: PagingState, mfn: number, low: number, high: number): void {
  const at = s.m2pFrame * 1024 + mfn * 2;
  s.words[at] = low;
  s.words[at + 1] = high;
}
