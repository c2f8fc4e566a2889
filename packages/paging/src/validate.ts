import { XEN_ERRNO } from "@paravirt/xen-abi";
import { validDescriptor } from "./descriptor.ts";
import { getPage, putPage } from "./frames.ts";
import { entryMfn, PTE, XEN_L4_SLOTS } from "./pte.ts";
import { bug, FRAME, foreignKey, MANY_PARENTS, NO_PARENT, PAGE_TYPE, type PagingState } from "./state.ts";

// Bits that a guest may not set in a present entry (Xen's BASE_DISALLOW_MASK for a domain without I/O memory, NX
// hardware): cache attributes everywhere, PSE and G above level 1. Bits 52 to 63 are the guest's.
const L1_DISALLOWED = PTE.PWT | PTE.PCD | PTE.PAT;
const TABLE_DISALLOWED = PTE.PWT | PTE.PCD | PTE.PSE | PTE.GLOBAL;
/** All ones in bits 12 to 51: how guests write "no frame". */
const INVALID_MFN = 2 ** 40 - 1;
/** Weight of a writable mapping in {@link PagingState.foreign}. */
const FOREIGN_WRITE = 2 ** 26;

/** Whether `type` is one of the four table types. */
export function isTable(type: number): boolean {
  return type >= PAGE_TYPE.L1 && type <= PAGE_TYPE.L4;
}

/** Whether `table` is a validated level 1 table of `owner`. */
export function isLiveL1(s: PagingState, table: number, owner: number): boolean {
  return (
    table < s.frames &&
    s.owner[table] === owner &&
    s.type[table] === PAGE_TYPE.L1 &&
    s.typeRefs[table] !== 0 &&
    (s.flags[table]! & FRAME.VALIDATED) !== 0
  );
}

/** Tells the guard what the new type means for writable TLB entries; called only when a type changes. */
function protect(s: PagingState, mfn: number, type: number): void {
  const wanted = isTable(type) || type === PAGE_TYPE.SEGDESC;
  if (wanted === ((s.flags[mfn]! & FRAME.PROTECTED) !== 0)) return;
  s.flags[mfn]! ^= FRAME.PROTECTED;
  s.guard.setWritable(mfn, !wanted);
}

/**
 * Takes a type reference to `mfn`, of which the caller holds a reference already; validates its contents when it
 * takes on the type anew. 0, or -EINVAL when the frame has another type, or the errno of the first bad entry.
 */
export function getPageType(s: PagingState, mfn: number, type: number): number {
  const count = s.typeRefs[mfn]!;
  if (count !== 0) {
    if (s.type[mfn] !== type || (s.flags[mfn]! & FRAME.VALIDATED) === 0) return -XEN_ERRNO.EINVAL;
    s.typeRefs[mfn] = count + 1;
    return 0;
  }
  if (s.type[mfn] !== type) {
    s.type[mfn] = type;
    s.flags[mfn]! &= ~FRAME.VALIDATED;
    protect(s, mfn, type);
  }
  s.typeRefs[mfn] = 1;
  if ((s.flags[mfn]! & FRAME.VALIDATED) !== 0) return 0;
  const status = type === PAGE_TYPE.WRITABLE ? 0 : validate(s, mfn, type);
  if (status !== 0) {
    s.typeRefs[mfn] = 0;
    s.type[mfn] = PAGE_TYPE.NONE;
    protect(s, mfn, PAGE_TYPE.NONE);
    return status;
  }
  s.flags[mfn]! |= FRAME.VALIDATED;
  return 0;
}

/** Gives a type reference back; a table is invalidated with its last one. */
export function putPageType(s: PagingState, mfn: number): void {
  const count = s.typeRefs[mfn]!;
  if (count === 0) bug(`type count of frame ${mfn} would be negative`);
  if (count === 1 && isTable(s.type[mfn]!)) {
    // Not validated and still counted: nobody can take the type again while the entries are released.
    if ((s.flags[mfn]! & FRAME.VALIDATED) !== 0) {
      s.flags[mfn]! &= ~FRAME.VALIDATED;
      invalidate(s, mfn, s.type[mfn]!);
    }
  }
  s.typeRefs[mfn]!--;
}

/** {@link getPage} and {@link getPageType} in one. */
export function getPageAndType(s: PagingState, mfn: number, owner: number, type: number): number {
  if (!getPage(s, mfn, owner)) return -XEN_ERRNO.EINVAL;
  const status = getPageType(s, mfn, type);
  if (status !== 0) putPage(s, mfn);
  return status;
}

/** The reverse of {@link getPageAndType}. */
export function putPageAndType(s: PagingState, mfn: number): void {
  putPageType(s, mfn);
  putPage(s, mfn);
}

/** Takes the references that a present L1 entry stands for; 0 or a negative errno. */
export function getL1Entry(s: PagingState, low: number, high: number, l1Owner: number, pageOwner: number): number {
  if ((low & L1_DISALLOWED) !== 0) return -XEN_ERRNO.EINVAL;
  const mfn = entryMfn(low, high);
  if (mfn >= s.frames) return mfn === INVALID_MFN ? -XEN_ERRNO.EINVAL : -XEN_ERRNO.EPERM;
  if (!getPage(s, mfn, pageOwner)) return -XEN_ERRNO.EBUSY;
  if ((low & PTE.WRITABLE) !== 0 && getPageType(s, mfn, PAGE_TYPE.WRITABLE) !== 0) {
    putPage(s, mfn);
    return -XEN_ERRNO.EBUSY;
  }
  if (pageOwner !== l1Owner) countForeign(s, l1Owner, mfn, (low & PTE.WRITABLE) !== 0, 1);
  return 0;
}

/** Gives back what {@link getL1Entry} took; does nothing for an entry that isn't present. */
export function putL1Entry(s: PagingState, low: number, high: number, l1Owner: number): void {
  if ((low & PTE.PRESENT) === 0) return;
  const mfn = entryMfn(low, high);
  const writable = (low & PTE.WRITABLE) !== 0;
  const owner = s.owner[mfn]!;
  if (owner !== l1Owner) countForeign(s, l1Owner, mfn, writable, -1);
  if (writable) putPageType(s, mfn);
  else if (s.type[mfn] === PAGE_TYPE.SEGDESC && s.typeRefs[mfn] !== 0 && owner === l1Owner) {
    s.domains.get(owner)?.onDescriptorPageUnmapped?.();
  }
  putPage(s, mfn);
}

/** Keeps {@link PagingState.foreign} up to date, and the TLB when the last mapping of its kind goes. */
export function countForeign(s: PagingState, domain: number, mfn: number, writable: boolean, by: 1 | -1): void {
  const key = foreignKey(domain, mfn);
  const before = s.foreign.get(key) ?? 0;
  const after = before + by * (writable ? FOREIGN_WRITE : 1);
  if (after < 0) bug(`foreign mappings of frame ${mfn} by domain ${domain} would be negative`);
  if (after === 0) s.foreign.delete(key);
  else s.foreign.set(key, after);
  // By frame, whatever was dropped by address: it is the right to reach the frame that ends here.
  if (by < 0) s.guard.forget(mfn);
}

/** Whether live L1 entries of `domain` map the foreign frame `mfn` for such an access. */
export function hasForeign(s: PagingState, domain: number, mfn: number, write: boolean): boolean {
  return (s.foreign.get(foreignKey(domain, mfn)) ?? 0) >= (write ? FOREIGN_WRITE : 1);
}

/**
 * Takes the references of a present entry of a level 2 to 4 table, at word index `at`; 0 or a negative errno.
 * An entry may also point to a table of its own level ("linear page table"), read-only, one deep, as Xen allows.
 */
export function getTableEntry(s: PagingState, level: number, at: number, low: number, high: number): number {
  if ((low & TABLE_DISALLOWED) !== 0) return -XEN_ERRNO.EINVAL;
  const mfn = entryMfn(low, high);
  const table = at >>> 10;
  if (!getPage(s, mfn, s.owner[table]!)) return -XEN_ERRNO.EINVAL;
  // Before its contents are validated, so that what is below finds its own place.
  const { type, typeRefs } = s;
  if (typeRefs[mfn] === 0 || type[mfn] === level - 1) attach(s, level - 1, mfn, at);
  const status = getPageType(s, mfn, level - 1);
  if (status === 0) return 0;
  putPage(s, mfn);
  if (status !== -XEN_ERRNO.EINVAL) return status;
  return getLinearEntry(s, level, table, mfn, low) ? 0 : status;
}

function getLinearEntry(s: PagingState, level: number, table: number, mfn: number, low: number): boolean {
  if ((low & PTE.WRITABLE) !== 0) return false;
  if (mfn === table) return true;
  // Only two deep, else chains of such entries could be built that invalidate recursively without bound (XSA-240).
  if (!getPage(s, mfn, s.owner[table]!)) return false;
  const validated = s.typeRefs[mfn] !== 0 && s.type[mfn] === level && (s.flags[mfn]! & FRAME.VALIDATED) !== 0;
  if (!validated || s.linear[table]! < 0 || s.linear[mfn]! > 0) {
    putPage(s, mfn);
    return false;
  }
  s.linear[table]!++;
  s.linear[mfn]!--;
  s.typeRefs[mfn]!++;
  return true;
}

/** Gives back what {@link getTableEntry} took; does nothing for an entry that isn't present. */
export function putTableEntry(s: PagingState, at: number, low: number, high: number): void {
  if ((low & PTE.PRESENT) === 0) return;
  const mfn = entryMfn(low, high);
  const table = at >>> 10;
  if (mfn === table) return;
  if (s.type[mfn] === s.type[table]) {
    s.linear[table]!--;
    s.linear[mfn]!++;
  } else if (s.parent[mfn] === at >>> 1) {
    // Whoever else points to it hangs somewhere that this frame's number won't tell any more.
    const others = s.typeRefs[mfn]! - 1 > pins(s, mfn);
    s.parent[mfn] = others ? MANY_PARENTS : NO_PARENT;
  }
  putPageAndType(s, mfn);
}

function pins(s: PagingState, mfn: number): number {
  return (s.flags[mfn]! & FRAME.PINNED) !== 0 ? 1 : 0;
}

/** Notes that the entry at word index `at` is about to point to table `mfn` of `level`. */
function attach(s: PagingState, level: number, mfn: number, at: number): void {
  const known = s.parent[mfn]!;
  const place = at >>> 1;
  if (known === NO_PARENT || s.typeRefs[mfn] === pins(s, mfn)) s.parent[mfn] = place;
  else if (known !== place && known !== MANY_PARENTS) {
    const page = firstPage(s, level, mfn);
    if (page < 0 || page !== pageOfEntry(s, level + 1, place)) s.parent[mfn] = MANY_PARENTS;
  }
}

/** Number of the first linear page that the `level` entry at quad index `place` covers; below 0 when that isn't one place. */
function pageOfEntry(s: PagingState, level: number, place: number): number {
  const base = firstPage(s, level, place >>> 9);
  return base < 0 ? base : base + (place & 511) * 512 ** (level - 1);
}

/**
 * Number of the linear page (address bits 12 to 47) at which the `level` table `mfn` begins, in every address space
 * that has it: -1 when none has, -2 when the places differ.
 */
export function firstPage(s: PagingState, level: number, mfn: number): number {
  if (level === PAGE_TYPE.L4) return 0;
  const place = s.parent[mfn]!;
  if (place === NO_PARENT) return -1;
  return place === MANY_PARENTS ? -2 : pageOfEntry(s, level + 1, place);
}

/** Checks a page's worth of descriptors, entries or nothing, by type. */
function validate(s: PagingState, mfn: number, type: number): number {
  if (type === PAGE_TYPE.L1) return validateL1(s, mfn);
  if (isTable(type)) return validateTable(s, mfn, type);
  if (type === PAGE_TYPE.SEGDESC) return validDescriptors(s, mfn) ? 0 : -XEN_ERRNO.EINVAL;
  return bug(`type ${type} of frame ${mfn} needs no validation`);
}

function validDescriptors(s: PagingState, mfn: number): boolean {
  const base = mfn * 1024;
  const pair = new Uint32Array(2);
  for (let at = base; at < base + 1024; at += 2) {
    pair[0] = s.words[at]!;
    pair[1] = s.words[at + 1]!;
    if (!validDescriptor(pair)) return false;
    s.words[at] = pair[0];
    s.words[at + 1] = pair[1];
  }
  return true;
}

/** Writes present L1 entry `low`/`high` at word `at`, with the bits that Xen adds to a guest's entry. */
export function storeL1(words: Uint32Array, at: number, low: number, high: number): void {
  if ((low & PTE.PRESENT) !== 0) {
    // The guest kernel runs at CPL 3: its pages need USER too, and bit 52 remembers that the guest didn't set it.
    if ((low & PTE.USER) === 0) {
      low |= PTE.USER;
      high |= PTE.HIGH_GUEST_KERNEL;
    }
    if ((high & PTE.HIGH_GUEST_KERNEL) === 0) low |= PTE.GLOBAL;
  }
  words[at] = low;
  words[at + 1] = high;
}

function validateL1(s: PagingState, table: number): number {
  const { words } = s;
  const owner = s.owner[table]!;
  const base = table * 1024;
  for (let at = base; at < base + 1024; at += 2) {
    const low = words[at]!;
    if ((low & PTE.PRESENT) === 0) continue;
    const high = words[at + 1]!;
    const status = getL1Entry(s, low, high, owner, owner);
    if (status !== 0) {
      for (let back = base; back < at; back += 2) putL1Entry(s, words[back]!, words[back + 1]!, owner);
      return status;
    }
    storeL1(words, at, low, high);
  }
  return 0;
}

function validateTable(s: PagingState, table: number, level: number): number {
  const { words } = s;
  const base = table * 1024;
  for (let at = base; at < base + 1024; at += 2) {
    const low = words[at]!;
    if ((low & PTE.PRESENT) === 0 || isXenSlot(level, at)) continue;
    const status = getTableEntry(s, level, at, low, words[at + 1]!);
    if (status !== 0) {
      releaseEntries(s, level, base, at);
      return status;
    }
    // The processor checks USER at every level; Xen sets it in all upper entries.
    words[at] = low | PTE.USER;
  }
  if (level === PAGE_TYPE.L4) fillXenSlots(s, table);
  return 0;
}

/** Whether the word index `at` of a `level` table is one of the L4 slots that the guest may not touch. */
export function isXenSlot(level: number, at: number): boolean {
  const slot = (at & 1023) >> 1;
  return level === PAGE_TYPE.L4 && slot >= XEN_L4_SLOTS.FIRST && slot <= XEN_L4_SLOTS.LAST;
}

function releaseEntries(s: PagingState, level: number, from: number, to: number): void {
  for (let at = from; at < to; at += 2) {
    if ((s.words[at]! & PTE.PRESENT) !== 0 && !isXenSlot(level, at)) {
      putTableEntry(s, at, s.words[at]!, s.words[at + 1]!);
    }
  }
}

function fillXenSlots(s: PagingState, root: number): void {
  const at = root * 1024 + XEN_L4_SLOTS.FIRST * 2;
  s.words.fill(0, at, root * 1024 + (XEN_L4_SLOTS.LAST + 1) * 2);
  showMachineToPhys(s, root, s.domains.get(s.owner[root]!)?.strictM2p !== true);
}

/** Puts the M2P map into slot 256 of a validated `root`, or takes it out. */
export function showMachineToPhys(s: PagingState, root: number, visible: boolean): void {
  const at = root * 1024 + XEN_L4_SLOTS.FIRST * 2;
  const low = visible && s.m2pL3 !== 0 ? (s.m2pL3 << 12) | PTE.PRESENT | PTE.USER | PTE.ACCESSED : 0;
  if (s.words[at] === low >>> 0) return;
  s.words[at] = low;
  s.words[at + 1] = visible && s.m2pL3 !== 0 ? s.m2pL3 >>> 20 : 0;
  if (!visible) s.tlb.flushAddressSpace(root);
}

function invalidate(s: PagingState, table: number, type: number): void {
  const base = table * 1024;
  if (type === PAGE_TYPE.L1) {
    const owner = s.owner[table]!;
    for (let at = base; at < base + 1024; at += 2) {
      const low = s.words[at]!;
      if ((low & PTE.PRESENT) !== 0) putL1Entry(s, low, s.words[at + 1]!, owner);
    }
    return;
  }
  // The frame may become another root, or the same one with other entries: what was cached by its number must go.
  if (type === PAGE_TYPE.L4) s.tlb.flushAddressSpace(table);
  releaseEntries(s, type, base, base + 1024);
}
