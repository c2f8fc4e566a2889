import { MMUEXT, XEN_ERRNO } from "@paravirt/xen-abi";
import { getPage, putPage } from "./frames.ts";
import { type DomainMemory, FRAME, PAGE_TYPE, type PagingState } from "./state.ts";
import { getPageAndType, getPageType, isTable, putPageAndType, showMachineToPhys } from "./validate.ts";

/** The top-level tables that one VCPU uses; each holds a reference while it is set. */
export interface AddressSpaceRoots {
  /** MFN of the guest kernel's L4, 0 before the first `NEW_BASEPTR`. */
  readonly kernel: number;
  /** MFN of the guest user mode's L4, 0 when there is none. */
  readonly user: number;
}

/** {@link AddressSpaceRoots} as this package writes it. */
export interface MutableRoots extends AddressSpaceRoots {
  kernel: number;
  user: number;
}

/** What `mmuext_op` needs of the VCPU that issues it. */
export interface MmuextCaller {
  /** The VCPU's domain. */
  readonly domain: DomainMemory;
  /** From {@link DirectPaging.createRoots}; after the call the hypervisor loads {@link AddressSpaceRoots.kernel}. */
  readonly roots: AddressSpaceRoots;
  /** 0 when the VCPU bitmap at linear `address` can be read and names only VCPUs that exist, else a negative errno. */
  checkVcpuMask(address: bigint): number;
  /** Makes `entries` descriptors at linear `base` the VCPU's LDT; its old LDT's frames are given up. */
  setLdt(base: bigint, entries: number): void;
  /** Gives up the frames held for the LDT (they are taken again at the next use): Xen does so at `NEW_BASEPTR`. */
  releaseLdt(): void;
}

/** Invalidation that a guest asked for. */
export interface GuestFlush {
  page(address: bigint): void;
  all(): void;
}

/** Type references that {@link MMUEXT.PIN_L1_TABLE} and so on take: the level. */
function pin(s: PagingState, owner: number, mfn: number, level: number): number {
  if (!getPage(s, mfn, owner)) return -XEN_ERRNO.EINVAL;
  const status = getPageType(s, mfn, level);
  if (status !== 0) {
    putPage(s, mfn);
    return status;
  }
  if ((s.flags[mfn]! & FRAME.PINNED) !== 0) {
    putPageAndType(s, mfn);
    return -XEN_ERRNO.EINVAL;
  }
  s.flags[mfn]! |= FRAME.PINNED;
  return 0;
}

/** Drops the pin of `mfn`, and with it the type if nothing else holds it. */
export function unpin(s: PagingState, owner: number, mfn: number): number {
  if (!getPage(s, mfn, owner)) return -XEN_ERRNO.EINVAL;
  if ((s.flags[mfn]! & FRAME.PINNED) === 0) {
    putPage(s, mfn);
    return -XEN_ERRNO.EINVAL;
  }
  s.flags[mfn]! &= ~FRAME.PINNED;
  putPageAndType(s, mfn);
  putPage(s, mfn);
  return 0;
}

/** Pins `mfn` as a table of `level` for `owner`: the domain builder's and the guest's way to validate a table. */
export function pinTable(s: PagingState, owner: number, mfn: number, level: number): number {
  return isTable(level) ? pin(s, owner, mfn, level) : -XEN_ERRNO.EINVAL;
}

/** Makes `mfn` the kernel root of `roots`, which drops its old one. */
export function setKernelRoot(s: PagingState, domain: DomainMemory, roots: MutableRoots, mfn: number): number {
  const old = roots.kernel;
  if (mfn === old) return 0;
  const status = getPageAndType(s, mfn, domain.id, PAGE_TYPE.L4);
  if (status !== 0) return status;
  if (domain.strictM2p) showMachineToPhys(s, mfn, true);
  roots.kernel = mfn;
  if (old !== 0) putPageAndType(s, old);
  return 0;
}

/** Makes `mfn` the user root of `roots`, 0 for none. */
export function setUserRoot(s: PagingState, domain: DomainMemory, roots: MutableRoots, mfn: number): number {
  const old = roots.user;
  if (mfn === old) return 0;
  if (mfn !== 0) {
    const status = getPageAndType(s, mfn, domain.id, PAGE_TYPE.L4);
    if (status !== 0) return status;
    if (domain.strictM2p) showMachineToPhys(s, mfn, false);
  }
  roots.user = mfn;
  if (old !== 0) putPageAndType(s, old);
  return 0;
}

/** One `mmuext_op`; 0 or a negative errno. `pageOwner` is what `foreigndom` resolved to. */
export function mmuextOne(
  s: PagingState,
  caller: MmuextCaller,
  pageOwner: number,
  flush: GuestFlush,
  command: number,
  first: bigint,
  second: bigint,
): number {
  const { domain } = caller;
  const own = pageOwner === domain.id;
  switch (command) {
    case MMUEXT.PIN_L1_TABLE:
    case MMUEXT.PIN_L2_TABLE:
    case MMUEXT.PIN_L3_TABLE:
    case MMUEXT.PIN_L4_TABLE:
      return pin(s, pageOwner, Number(first), command - MMUEXT.PIN_L1_TABLE + 1);
    case MMUEXT.UNPIN_TABLE:
      return unpin(s, pageOwner, Number(first));
    case MMUEXT.NEW_BASEPTR: {
      if (!own) return -XEN_ERRNO.EPERM;
      if (Number(first) === caller.roots.kernel) return 0;
      const status = setKernelRoot(s, domain, caller.roots as MutableRoots, Number(first));
      if (status === 0) caller.releaseLdt();
      return status;
    }
    case MMUEXT.NEW_USER_BASEPTR:
      if (!own) return -XEN_ERRNO.EPERM;
      return setUserRoot(s, domain, caller.roots as MutableRoots, Number(first));
    case MMUEXT.TLB_FLUSH_LOCAL:
    case MMUEXT.TLB_FLUSH_ALL:
      if (!own) return -XEN_ERRNO.EPERM;
      flush.all();
      return 0;
    case MMUEXT.INVLPG_LOCAL:
    case MMUEXT.INVLPG_ALL:
      if (!own) return -XEN_ERRNO.EPERM;
      flush.page(first);
      return 0;
    case MMUEXT.TLB_FLUSH_MULTI:
    case MMUEXT.INVLPG_MULTI: {
      if (!own) return -XEN_ERRNO.EPERM;
      const status = caller.checkVcpuMask(second);
      if (status !== 0) return status;
      if (command === MMUEXT.TLB_FLUSH_MULTI) flush.all();
      else flush.page(first);
      return 0;
    }
    case MMUEXT.FLUSH_CACHE:
      // Only a domain with I/O memory may, and none has any here.
      return own ? -XEN_ERRNO.EACCES : -XEN_ERRNO.EPERM;
    case MMUEXT.FLUSH_CACHE_GLOBAL:
      return own ? -XEN_ERRNO.EINVAL : -XEN_ERRNO.EPERM;
    case MMUEXT.SET_LDT: {
      if (!own) return -XEN_ERRNO.EPERM;
      const entries = Number(second & 0xffff_ffffn);
      // 0xffff800000000000 to 0xffff87ffffffffff is Xen's, and the lower hole is not canonical.
      const base = entries === 0 ? 0n : first;
      if ((base & 0xfffn) !== 0n || entries > 8192 || !isGuestAddress(base)) return -XEN_ERRNO.EINVAL;
      caller.setLdt(base, entries);
      return 0;
    }
    case MMUEXT.CLEAR_PAGE:
      return writePage(s, pageOwner, Number(first), -1);
    case MMUEXT.COPY_PAGE: {
      const source = Number(second);
      if (!getPage(s, source, pageOwner)) return -XEN_ERRNO.EINVAL;
      const status = writePage(s, pageOwner, Number(first), source);
      putPage(s, source);
      return status;
    }
    case MMUEXT.MARK_SUPER:
    case MMUEXT.UNMARK_SUPER:
      return -XEN_ERRNO.EOPNOTSUPP;
    default:
      return -XEN_ERRNO.ENOSYS;
  }
}

/** Whether Xen's `__addr_ok` allows `address`: the guest's halves, neither Xen's part nor the hole. */
function isGuestAddress(address: bigint): boolean {
  return address < 0x8000_0000_0000n || address >= 0xffff_8800_0000_0000n;
}

/** Fills `mfn` from frame `source`, or with zeros when that is -1. */
function writePage(s: PagingState, owner: number, mfn: number, source: number): number {
  if (getPageAndType(s, mfn, owner, PAGE_TYPE.WRITABLE) !== 0) return -XEN_ERRNO.EINVAL;
  const { bytes } = s.memory;
  if (source < 0) bytes.fill(0, mfn * 4096, mfn * 4096 + 4096);
  else bytes.copyWithin(mfn * 4096, source * 4096, source * 4096 + 4096);
  s.guard.written(mfn);
  putPageAndType(s, mfn);
  return 0;
}
