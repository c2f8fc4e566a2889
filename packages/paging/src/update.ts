import { XEN_ERRNO } from "@paravirt/xen-abi";
import { entryMfn, PTE } from "./pte.ts";
import { PAGE_TYPE, type PagingState } from "./state.ts";
import {
  firstPage,
  getL1Entry,
  getTableEntry,
  isLiveL1,
  isXenSlot,
  putL1Entry,
  putTableEntry,
  storeL1,
} from "./validate.ts";

// Bits whose change keeps an entry's references as they are (Xen's FASTPATH_FLAG_WHITELIST): NX, the available bits,
// G, D, A and US. What is left, P, RW, and the cache bits, makes it another mapping.
const REFERENCE_LOW = 0xffff_f000 | PTE.PRESENT | PTE.WRITABLE | PTE.PWT | PTE.PCD | PTE.PAT;
const REFERENCE_HIGH = 0x000f_ffff;
const L1_DISALLOWED = PTE.PWT | PTE.PCD | PTE.PAT;
const TABLE_DISALLOWED = PTE.PWT | PTE.PCD | PTE.PSE | PTE.GLOBAL;
/** What an entry has once the processor has cached it. */
const CACHEABLE = PTE.PRESENT | PTE.ACCESSED;
/** Entries below an upper-level entry that are looked at one by one before everything is flushed instead. */
const DROP_BUDGET = 64;

/**
 * Replaces the L1 entry at word index `at` of the memory by `low`/`high` after Xen's checks (`mod_l1_entry`).
 * `pageOwner` must own the frame it maps. 0 or a negative errno, and then nothing has changed.
 */
export function updateL1(
  s: PagingState,
  at: number,
  low: number,
  high: number,
  pageOwner: number,
  preserveAccessed: boolean,
): number {
  const { words } = s;
  const table = at >>> 10;
  const owner = s.owner[table]!;
  const oldLow = words[at]!;
  const oldHigh = words[at + 1]!;
  const kept = preserveAccessed ? oldLow & (PTE.ACCESSED | PTE.DIRTY) : 0;
  if ((low & PTE.PRESENT) !== 0) {
    if ((low & L1_DISALLOWED) !== 0) return -XEN_ERRNO.EINVAL;
    if (((low ^ oldLow) & REFERENCE_LOW) === 0 && ((high ^ oldHigh) & REFERENCE_HIGH) === 0) {
      storeL1(words, at, low | kept, high);
      dropStaleL1(s, at, oldLow, oldHigh);
      s.guard.written(table);
      return 0;
    }
    const status = getL1Entry(s, low, high, owner, pageOwner);
    if (status !== 0) return status;
  }
  storeL1(words, at, low | kept, high);
  s.guard.written(table);
  if ((oldLow & PTE.PRESENT) !== 0) {
    dropStaleL1(s, at, oldLow, oldHigh);
    putL1Entry(s, oldLow, oldHigh, owner);
  }
  return 0;
}

/**
 * Drops cached translations of a replaced L1 entry unless the new one allows at least as much to the same frame.
 * The processor sets A before it caches an entry, so that one without A was never cached.
 */
export function dropStaleL1(s: PagingState, at: number, oldLow: number, oldHigh: number): void {
  if ((oldLow & CACHEABLE) !== CACHEABLE) return;
  const low = s.words[at]!;
  const high = s.words[at + 1]!;
  const sameFrame = ((low ^ oldLow) & 0xffff_f001) === 0 && ((high ^ oldHigh) & REFERENCE_HIGH) === 0;
  // A cleared A or D must be set again by the next access, which a cached translation would skip.
  const lost = oldLow & ~low & (PTE.WRITABLE | PTE.ACCESSED | PTE.DIRTY);
  const lostExecution = (high & ~oldHigh & PTE.HIGH_NX) !== 0;
  if (!sameFrame || lost !== 0 || lostExecution) dropL1(s, firstPage(s, 1, at >>> 10), at, oldLow, oldHigh);
}

/** Drops one L1 entry's translation: by address where the table has just one, else by frame. */
function dropL1(s: PagingState, tablePage: number, at: number, low: number, high: number): void {
  if (tablePage === -1) return;
  if (tablePage >= 0) s.tlb.flushPage(pageAddress(tablePage + ((at & 1023) >> 1)));
  else s.guard.forget(entryMfn(low, high));
}

/** Canonical linear address of page number `page`. */
function pageAddress(page: number): bigint {
  return BigInt.asUintN(64, BigInt.asIntN(48, BigInt(page) << 12n));
}

/** Replaces an entry of a level 2 to 4 table after Xen's checks (`mod_l2_entry` and so on); 0 or a negative errno. */
export function updateTable(
  s: PagingState,
  level: number,
  at: number,
  low: number,
  high: number,
  preserveAccessed: boolean,
): number {
  if (isXenSlot(level, at)) return -XEN_ERRNO.EINVAL;
  const { words } = s;
  const table = at >>> 10;
  const oldLow = words[at]!;
  const oldHigh = words[at + 1]!;
  const kept = preserveAccessed ? oldLow & (PTE.ACCESSED | PTE.DIRTY) : 0;
  let sameReferences = false;
  if ((low & PTE.PRESENT) !== 0) {
    if ((low & TABLE_DISALLOWED) !== 0) return -XEN_ERRNO.EINVAL;
    sameReferences = ((low ^ oldLow) & REFERENCE_LOW) === 0 && ((high ^ oldHigh) & REFERENCE_HIGH) === 0;
    if (!sameReferences) {
      const status = getTableEntry(s, level, at, low, high);
      if (status !== 0) return status;
    }
    low |= PTE.USER;
  }
  words[at] = low | kept;
  words[at + 1] = high;
  s.guard.written(table);
  if ((oldLow & PTE.PRESENT) === 0) return 0;
  // A and D count too: through a linear page table this entry can have been a leaf.
  const lostBits = oldLow & ~words[at]! & (PTE.PRESENT | PTE.WRITABLE | PTE.ACCESSED | PTE.DIRTY);
  const lost = lostBits !== 0 || (high & ~oldHigh & PTE.HIGH_NX) !== 0;
  const moved = ((low ^ oldLow) & 0xffff_f000) !== 0 || ((high ^ oldHigh) & REFERENCE_HIGH) !== 0;
  if (lost || moved) dropStaleTable(s, level, table, entryMfn(oldLow, oldHigh));
  if (!sameReferences) putTableEntry(s, at, oldLow, oldHigh);
  return 0;
}

function dropStaleTable(s: PagingState, level: number, table: number, child: number): void {
  const isRoot = level === PAGE_TYPE.L4;
  // A root that is also used as a lower table, or maps itself, can be walked in ways that dropBelow doesn't follow.
  const isLinear = isRoot && (s.linear[table] !== 0 || child === table);
  // Guests empty a table before they unhook it: mostly there is nothing below.
  if (!isLinear && dropBelow(s, level - 1, child, DROP_BUDGET) >= 0) return;
  // A root's own number is the tag of what was cached through it.
  if (isRoot && !isLinear) s.tlb.flushAddressSpace(table);
  else s.tlb.flushAll();
}

/** Drops what may be cached through `table` as a table of `level`; the budget left, below 0 when it ran out. */
function dropBelow(s: PagingState, level: number, table: number, budget: number): number {
  // Through a linear page table the table itself can have been a leaf.
  s.guard.forget(table);
  // Reached through a linear entry it is not of the level that the walk took it for: too rare to follow.
  if (s.type[table] !== level) return -1;
  const base = table * 1024;
  const page = level === PAGE_TYPE.L1 ? firstPage(s, 1, table) : 0;
  for (let at = base; at < base + 1024; at += 2) {
    const low = s.words[at]!;
    if ((low & PTE.PRESENT) === 0) continue;
    if (level === PAGE_TYPE.L1 && (low & CACHEABLE) !== CACHEABLE) continue;
    if (--budget < 0) return budget;
    const high = s.words[at + 1]!;
    if (level === PAGE_TYPE.L1) dropL1(s, page, at, low, high);
    else budget = dropBelow(s, level - 1, entryMfn(low, high), budget);
    if (budget < 0) return budget;
  }
  return budget;
}

/**
 * The emulated write to a live L1 table (Xen's `ptwr_emulated_update`): as {@link updateL1}, if the entry at machine
 * address `address` still holds the old words and the frame is a validated L1 table of `domain`.
 */
export function emulateL1Write(
  s: PagingState,
  domain: number,
  address: number,
  oldLow: number,
  oldHigh: number,
  low: number,
  high: number,
): number {
  const table = Math.floor(address / 4096);
  if (address % 8 !== 0 || !isLiveL1(s, table, domain)) return -XEN_ERRNO.EINVAL;
  const at = address / 4;
  if (s.words[at] !== oldLow >>> 0 || s.words[at + 1] !== oldHigh >>> 0) return -XEN_ERRNO.EBUSY;
  return updateL1(s, at, low, high, domain, false);
}
