import { DOMID, MMU, UVMF, XEN_ERRNO } from "@paravirt/xen-abi";
import { getPage, putPage, setMachineToPhysWords } from "./frames.ts";
import { entryMfn, isCanonical, PTE, XEN_L4_SLOTS } from "./pte.ts";
import { type DomainMemory, NOBODY, PAGE_TYPE, type PagingState } from "./state.ts";
import { updateL1, updateTable } from "./update.ts";
import { getPageType, isLiveL1, isTable, putPageType } from "./validate.ts";

/** Whom a request speaks about, once `foreigndom` is resolved. */
export interface Owners {
  /** Whose page tables change. */
  readonly tables: DomainMemory;
  /** Owner of the frames that new entries map: a domain id, or a special one such as `DOMID_IO`. */
  readonly pages: number;
  /** The caller may not speak about them: each request that needs it answers -EPERM. */
  readonly denied: boolean;
}

/** Whether `caller` may act on the memory of domain `other`, as Xen's default policy (XSM_TARGET) decides. */
export function mayControl(caller: DomainMemory, other: number): boolean {
  return caller.id === other || caller.privileged || caller.target === other;
}

/** Whose pages `domid` names to `caller`: a domain id, or -1 when there is no such domain. */
export function resolvePageOwner(s: PagingState, caller: DomainMemory, domid: number): number {
  if (domid === DOMID.SELF) return caller.id;
  // Xen: "cannot specify itself as foreign domain".
  if (domid === caller.id) return -1;
  if (domid === DOMID.IO || domid === DOMID.XEN) return domid;
  return s.domains.has(domid) ? domid : -1;
}

/** Resolves the `foreigndom` word of `mmu_update`; a negative errno when it names nobody. */
export function resolveOwners(s: PagingState, caller: DomainMemory, foreigndom: number): Owners | number {
  let tables: DomainMemory = caller;
  const tableDomain = (foreigndom >>> 16) & 0xffff;
  if (tableDomain !== 0) {
    const named = s.domains.get(tableDomain - 1);
    if (named === undefined) return -XEN_ERRNO.EINVAL;
    tables = named;
  }
  const pages = resolvePageOwner(s, caller, foreigndom & 0xffff);
  if (pages < 0) return -XEN_ERRNO.ESRCH;
  const denied = (pages !== DOMID.IO && !mayControl(caller, pages)) || !mayControl(caller, tables.id);
  return { tables, pages, denied };
}

/** One request of `mmu_update`; 0 or a negative errno, and then nothing has changed. */
export function mmuUpdateOne(
  s: PagingState,
  caller: DomainMemory,
  owners: Owners,
  ptrLow: number,
  ptrHigh: number,
  low: number,
  high: number,
): number {
  const command = ptrLow & 7;
  if (command === MMU.MACHPHYS_UPDATE) {
    if (owners.tables !== caller || owners.denied) return -XEN_ERRNO.EPERM;
    const mfn = entryMfn(ptrLow, ptrHigh);
    if (ptrHigh >>> 20 !== 0 || !getPage(s, mfn, owners.pages)) return -XEN_ERRNO.EINVAL;
    setMachineToPhysWords(s, mfn, low, high);
    putPage(s, mfn);
    return 0;
  }
  if (command > MMU.PT_UPDATE_NO_TRANSLATE) return -XEN_ERRNO.ENOSYS;
  if (owners.denied) return -XEN_ERRNO.EPERM;
  const table = ptrLow >>> 12;
  // Machine memory ends at 4 GiB: with an upper word the pointer is past it.
  if (ptrHigh !== 0 || table >= s.frames || s.owner[table] !== owners.tables.id || s.refs[table] === 0) {
    return -XEN_ERRNO.EINVAL;
  }
  const at = (ptrLow & ~7) >>> 2;
  if (s.typeRefs[table] !== 0) {
    const type = s.type[table]!;
    const preserve = command === MMU.PT_UPDATE_PRESERVE_AD;
    if (type === PAGE_TYPE.L1) return updateL1(s, at, low, high, owners.pages, preserve);
    if (isTable(type)) {
      if (owners.pages !== owners.tables.id) return -XEN_ERRNO.EINVAL;
      return updateTable(s, type, at, low, high, preserve);
    }
    if (type !== PAGE_TYPE.WRITABLE) return -XEN_ERRNO.EINVAL;
    writeData(s, at, low, high);
    return 0;
  }
  // Nobody relies on the frame's type: Xen writes the value as data.
  if (getPageType(s, table, PAGE_TYPE.WRITABLE) !== 0) return -XEN_ERRNO.EINVAL;
  writeData(s, at, low, high);
  putPageType(s, table);
  return 0;
}

function writeData(s: PagingState, at: number, low: number, high: number): void {
  s.words[at] = low;
  s.words[at + 1] = high;
  s.guard.written(at >>> 10);
}

/** Machine address of the L1 entry that maps linear `address` under the validated `root`, or 0. */
export function findL1(s: PagingState, root: number, address: bigint): number {
  if (root === 0 || !isCanonical(address)) return 0;
  let table = root;
  // Halves: one index after the other out of a bigint would cost more than the walk.
  const low32 = Number(address & 0xffff_ffffn);
  const high32 = Number((address >> 32n) & 0xffffn);
  for (let level = 4; level > 1; level--) {
    const slot =
      level === 4 ? high32 >>> 7 : level === 3 ? ((high32 << 2) | (low32 >>> 30)) & 511 : (low32 >>> 21) & 511;
    if (level === 4 && slot >= XEN_L4_SLOTS.FIRST && slot <= XEN_L4_SLOTS.LAST) return 0;
    const at = table * 1024 + slot * 2;
    const low = s.words[at]!;
    if ((low & (PTE.PRESENT | PTE.PSE)) !== PTE.PRESENT) return 0;
    table = entryMfn(low, s.words[at + 1]!);
    // Validated tables point to frames of the domain only; the check costs nothing and holds for any root.
    if (table >= s.frames || s.owner[table] === NOBODY) return 0;
  }
  return table * 4096 + ((low32 >>> 12) & 511) * 8;
}

/** `update_va_mapping` with its entry found; 0 or a negative errno. */
export function updateEntryAt(
  s: PagingState,
  caller: DomainMemory,
  entryAddress: number,
  low: number,
  high: number,
  pageOwner: number,
): number {
  if (!isLiveL1(s, Math.floor(entryAddress / 4096), caller.id)) return -XEN_ERRNO.EINVAL;
  return updateL1(s, (entryAddress & ~7) >>> 2, low, high, pageOwner, false);
}

/** What the flush flags of `update_va_mapping` ask for, with the address of a VCPU bitmap or 0. */
export interface WantedFlush {
  readonly kind: "none" | "page" | "all";
  readonly mask: bigint;
}

const KINDS = [0, 1, 2, 3].map((type): WantedFlush["kind"] =>
  type === UVMF.TLB_FLUSH ? "all" : type === UVMF.INVLPG ? "page" : "none",
);
/** Flushes of the calling VCPU alone, by type: nearly all. */
const LOCAL = KINDS.map((kind): WantedFlush => ({ kind, mask: 0n }));
const TYPE_MASK = BigInt(UVMF.FLUSHTYPE_MASK);
const ALL = BigInt(UVMF.ALL);

/** Decodes the flush flags. */
export function flushKind(flags: bigint): WantedFlush {
  if (flags <= TYPE_MASK) return LOCAL[Number(flags)]!;
  const whom = flags & ~TYPE_MASK;
  const local = LOCAL[Number(flags & TYPE_MASK)]!;
  return whom === ALL ? local : { kind: local.kind, mask: whom };
}
