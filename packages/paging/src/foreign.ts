import { XEN_ERRNO } from "@paravirt/xen-abi";
import { getPage, putPage } from "./frames.ts";
import { entryMfn, PTE } from "./pte.ts";
import { type DomainMemory, PAGE_TYPE, type PagingState } from "./state.ts";
import { dropStaleL1 } from "./update.ts";
import { countForeign, getPageType, isLiveL1, putL1Entry, storeL1 } from "./validate.ts";

/** A page of one domain that a grant lets another map. */
export interface ForeignMapping {
  /** Machine address of the L1 entry to fill, from `GNTMAP_contains_pte` or {@link DirectPaging.findL1Entry}. */
  readonly entryAddress: number;
  /** The granted frame. */
  readonly mfn: number;
  /** Its owner. */
  readonly owner: DomainMemory;
  /** Maps it writable: takes a type reference too, so that its owner can't make a page table of it meanwhile. */
  readonly writable: boolean;
  /** The guest's user mode may use it (`GNTMAP_application_map`). */
  readonly user: boolean;
  /** Bits for {@link PTE.AVAILABLE} (`GNTMAP_guest_avail*`), already in place; 0 for none. */
  readonly available: number;
}

/**
 * Fills an L1 entry of `mapper` with a granted frame. The entry itself holds the references: they go when it does,
 * be it by unmapping, by the guest overwriting it, or with the whole table. 0 or a negative errno and no change.
 */
export function mapForeignEntry(s: PagingState, mapper: DomainMemory, mapping: ForeignMapping): number {
  const { entryAddress, mfn, writable } = mapping;
  const table = Math.floor(entryAddress / 4096);
  if (entryAddress % 8 !== 0 || !isLiveL1(s, table, mapper.id)) return -XEN_ERRNO.EINVAL;
  if (!getPage(s, mfn, mapping.owner.id)) return -XEN_ERRNO.EINVAL;
  if (writable && getPageType(s, mfn, PAGE_TYPE.WRITABLE) !== 0) {
    putPage(s, mfn);
    return -XEN_ERRNO.EBUSY;
  }
  if (mapping.owner.id !== mapper.id) countForeign(s, mapper.id, mfn, writable, 1);
  const at = entryAddress / 4;
  const oldLow = s.words[at]!;
  const oldHigh = s.words[at + 1]!;
  const rights = (writable ? PTE.WRITABLE : 0) | (mapping.user ? PTE.USER : 0) | (mapping.available & PTE.AVAILABLE);
  storeL1(s.words, at, ((mfn << 12) | PTE.PRESENT | PTE.ACCESSED | PTE.DIRTY | rights) >>> 0, mfn >>> 20);
  s.guard.written(table);
  dropStaleL1(s, at, oldLow, oldHigh);
  putL1Entry(s, oldLow, oldHigh, mapper.id);
  return 0;
}

/** Clears an entry made by {@link mapForeignEntry}; -EINVAL when it maps something else, or otherwise, by now. */
export function unmapForeignEntry(
  s: PagingState,
  mapper: DomainMemory,
  entryAddress: number,
  mfn: number,
  writable: boolean,
): number {
  const table = Math.floor(entryAddress / 4096);
  if (entryAddress % 8 !== 0 || !isLiveL1(s, table, mapper.id)) return -XEN_ERRNO.EINVAL;
  const at = entryAddress / 4;
  const low = s.words[at]!;
  const high = s.words[at + 1]!;
  const same = (low & PTE.PRESENT) !== 0 && entryMfn(low, high) === mfn && ((low & PTE.WRITABLE) !== 0) === writable;
  if (!same) return -XEN_ERRNO.EINVAL;
  storeL1(s.words, at, 0, 0);
  s.guard.written(table);
  dropStaleL1(s, at, low, high);
  putL1Entry(s, low, high, mapper.id);
  return 0;
}
