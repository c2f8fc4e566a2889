import { ParavirtError } from "@paravirt/core";
import { XEN_ERRNO } from "@paravirt/xen-abi";
import { allocateFrames, allocateXenFrame, putPage, setMachineToPhys } from "./frames.ts";
import { unpin } from "./mmuext.ts";
import { type DomainMemory, FRAME, type OwnedDomain, PAGE_TYPE, type PagingState } from "./state.ts";
import { putPageType } from "./validate.ts";

/** 2^order new frames for `domain` as PFNs from `pfn` on; the first MFN or a negative errno. */
export function populate(s: PagingState, domain: OwnedDomain, order: number, pfn: number): number {
  const first = allocateFrames(s, domain, order);
  if (first > 0) for (let i = 0; i < 2 ** order; i++) setMachineToPhys(s, first + i, pfn + i);
  return first;
}

/** Takes `mfn` out of the domain's memory (`guest_remove_page`): unpins it and drops the allocation's reference. */
export function removeFrame(s: PagingState, domain: DomainMemory, mfn: number): number {
  const mine = mfn >= s.firstFrame && mfn < s.frames && s.owner[mfn] === domain.id && s.refs[mfn] !== 0;
  if (!mine || (s.flags[mfn]! & FRAME.XEN_HEAP) !== 0) return -XEN_ERRNO.EINVAL;
  unpin(s, domain.id, mfn);
  // What the guest still maps stays alive until the last mapping goes, but is no longer part of its memory.
  if ((s.flags[mfn]! & FRAME.ALLOCATED) === 0) return -XEN_ERRNO.EINVAL;
  s.flags[mfn]! &= ~FRAME.ALLOCATED;
  setMachineToPhys(s, mfn, -1);
  putPage(s, mfn);
  return 0;
}

/** Whether nothing but the allocation itself holds `mfn`, so that it can change hands at once (`steal_page`). */
function isStealable(s: PagingState, domain: DomainMemory, mfn: number): boolean {
  return (
    mfn >= s.firstFrame &&
    mfn < s.frames &&
    s.owner[mfn] === domain.id &&
    s.refs[mfn] === 1 &&
    s.typeRefs[mfn] === 0 &&
    (s.flags[mfn]! & (FRAME.XEN_HEAP | FRAME.ALLOCATED)) === FRAME.ALLOCATED
  );
}

/**
 * `XENMEM_exchange` of one piece: gives up the frames `given` and gets as many, as contiguous runs of 2^order below
 * 2^addressBits, with the PFNs from `pfns` for each run. The runs' first MFNs, or a negative errno and no change.
 */
export function exchangeFrames(
  s: PagingState,
  domain: OwnedDomain,
  given: readonly number[],
  order: number,
  pfns: readonly number[],
  addressBits: number,
): number[] | number {
  const size = 2 ** order;
  if (new Set(given).size !== given.length || given.length !== size * pfns.length) return -XEN_ERRNO.EINVAL;
  if (!given.every((mfn) => isStealable(s, domain, mfn))) return -XEN_ERRNO.EINVAL;
  const taken: number[] = [];
  const { maxFrames } = domain;
  // The domain never owns more in the end, so its limit doesn't stand in the way meanwhile.
  domain.maxFrames = domain.ownedFrames + given.length;
  for (let run = 0; run < pfns.length; run++) {
    const first = allocateFrames(s, domain, order);
    const tooHigh = first > 0 && (first + size) * 4096 > 2 ** addressBits;
    if (first > 0) taken.push(first);
    if (first < 0 || tooHigh) {
      for (const back of taken) for (let i = 0; i < size; i++) removeFrame(s, domain, back + i);
      domain.maxFrames = maxFrames;
      return -XEN_ERRNO.ENOMEM;
    }
  }
  domain.maxFrames = maxFrames;
  for (const mfn of given) removeFrame(s, domain, mfn);
  taken.forEach((first, run) => {
    for (let i = 0; i < size; i++) setMachineToPhys(s, first + i, pfns[run]! + i);
  });
  return taken;
}

/** One zeroed Xen page that `domain` may map (shared_info, a grant table frame), writable or not; 0 if none is free. */
export function shareXenFrame(s: PagingState, domain: OwnedDomain, writable: boolean): number {
  const mfn = allocateXenFrame(s, domain.id);
  if (mfn === 0) return 0;
  domain.xenFrames++;
  // The type is held for ever, so the guest can map the page but never make a table of it.
  s.type[mfn] = writable ? PAGE_TYPE.WRITABLE : PAGE_TYPE.NONE;
  s.typeRefs[mfn] = 1;
  return mfn;
}

/** Gives up Xen's own hold on a frame from {@link shareXenFrame}; it is free once the guest unmaps it. */
export function unshareXenFrame(s: PagingState, mfn: number): void {
  if ((s.flags[mfn]! & FRAME.XEN_HEAP) === 0 || (s.flags[mfn]! & FRAME.ALLOCATED) === 0) {
    throw new ParavirtError("BAD_ARGUMENT", `frame ${mfn} is no page that Xen shares`);
  }
  s.flags[mfn]! &= ~FRAME.ALLOCATED;
  putPageType(s, mfn);
  putPage(s, mfn);
}

/** Gives up everything that `domain` owns; the number of its frames that other domains still hold. */
export function relinquishAll(s: PagingState, domain: OwnedDomain): number {
  domain.dying = true;
  domain.onDescriptorPageUnmapped = undefined;
  // Pins first, as long as all tables stand: each drops its whole tree, and no entry is left that names a lost frame.
  for (let mfn = s.firstFrame; mfn < s.frames; mfn++) {
    if (s.owner[mfn] === domain.id && (s.flags[mfn]! & FRAME.PINNED) !== 0) unpin(s, domain.id, mfn);
  }
  for (let mfn = s.firstFrame; mfn < s.frames; mfn++) {
    if (s.owner[mfn] !== domain.id || (s.flags[mfn]! & FRAME.ALLOCATED) === 0) continue;
    if ((s.flags[mfn]! & FRAME.XEN_HEAP) !== 0) unshareXenFrame(s, mfn);
    else removeFrame(s, domain, mfn);
  }
  if (domain.ownedFrames + domain.xenFrames === 0) s.domains.delete(domain.id);
  return domain.ownedFrames + domain.xenFrames;
}
