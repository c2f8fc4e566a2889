import type { FrameGuard, MachineMemory, TlbPort } from "@paravirt/core";
import { ParavirtError } from "@paravirt/core";
import { DOMID, FIRST_RESERVED_GDT_ENTRY, VIRT_X86_64, XEN_ERRNO } from "@paravirt/xen-abi";
import { auditState, type FrameHolder } from "./audit.ts";
import { validDescriptor } from "./descriptor.ts";
import { type ForeignMapping, mapForeignEntry, unmapForeignEntry } from "./foreign.ts";
import { allocateFrames, getPage, putPage, setMachineToPhys } from "./frames.ts";
import { buildMachineToPhys } from "./machine-to-phys.ts";
import {
  findL1,
  flushKind,
  mayControl,
  mmuUpdateOne,
  resolveOwners,
  resolvePageOwner,
  updateEntryAt,
} from "./mmu-update.ts";
import {
  type AddressSpaceRoots,
  type GuestFlush,
  type MmuextCaller,
  type MutableRoots,
  mmuextOne,
  pinTable,
  setKernelRoot,
  setUserRoot,
  unpin,
} from "./mmuext.ts";
import { exchangeFrames, populate, relinquishAll, removeFrame, shareXenFrame, unshareXenFrame } from "./reservation.ts";
import {
  type DomainMemory,
  NO_PARENT,
  NOBODY,
  type OwnedDomain,
  PAGE_TYPE,
  type PageType,
  type PagingState,
} from "./state.ts";
import { emulateL1Write } from "./update.ts";
import { getPageAndType, getPageType, hasForeign, putPageAndType, putPageType } from "./validate.ts";

/** What {@link createDirectPaging} needs. */
export interface DirectPagingOptions {
  /** The machine's memory: frames from `firstFrame` on are handed out. */
  readonly memory: MachineMemory;
  /** Told who owns each frame and whether it may be written; asked to drop cached translations by frame. */
  readonly guard: FrameGuard;
  /** Asked to drop cached translations by address or address space. */
  readonly tlb: TlbPort;
  /**
   * What `MMUEXT_TLB_FLUSH_*`, `MMUEXT_INVLPG_*` and the flush flags of `update_va_mapping` do. `"exact"` (default):
   * nothing, since every change of an entry has already dropped what was cached from it. `"full"`: they reach the
   * {@link DirectPagingOptions.tlb} as asked, for engines that cache without regard to frames, and to look for bugs.
   */
  readonly guestFlushes?: "exact" | "full";
}

/** What {@link DirectPaging.createDomain} needs. */
export interface DomainMemoryOptions {
  /** Domain id, 0 to 0x7fef. */
  readonly id: number;
  /** Frames that it may own at most. */
  readonly maxFrames: number;
  /** See {@link DomainMemory.privileged}; `false` when absent. */
  readonly privileged?: boolean;
  /** See {@link DomainMemory.target}. */
  readonly target?: number;
}

/** How far a batch of requests came. */
export interface BatchResult {
  /** 0, or the negative errno of the request that ended the batch. */
  status: number;
  /** Requests that took effect. */
  done: number;
}

/** Facts about one frame, for tools and tests. */
export interface FrameInfo {
  /** Domain id of the owner, 0x7fff for nobody. */
  readonly owner: number;
  /** References of any kind; 0 for a free frame. */
  readonly references: number;
  /** What it is used for, or was when nobody relies on it. */
  readonly type: PageType;
  /** References that rely on the type. */
  readonly typeReferences: number;
}

/** What `XENMEM_machphys_mapping` answers. */
export interface MachphysMapping {
  /** Linear address of the M2P map. */
  readonly start: bigint;
  /** End of the linear range kept for it, exclusive. */
  readonly end: bigint;
  /** Last frame that has an entry. */
  readonly maxMfn: number;
}

/**
 * Xen's direct paging for 64-bit PV domains: who owns each machine frame, what it is used for, and every operation
 * that changes a guest's page tables, checked. Methods named after a hypercall answer 0 or a negative `XEN_ERRNO`
 * whatever numbers a guest passes; the others throw `ParavirtError` for a caller's mistake.
 */
export interface DirectPaging {
  /** Starts the accounting of a domain with no memory. @throws ParavirtError `BAD_ARGUMENT` when the id is taken or reserved. */
  createDomain(options: DomainMemoryOptions): DomainMemory;
  /** The domain that has frames under `id`, also a dying one whose frames others still map. */
  domain(id: number): DomainMemory | undefined;
  /** Frames that are free now. */
  readonly freeFrames: number;
  /** Owner, type and counts of a frame; `undefined` for a number that is no frame of a domain's part of memory. */
  frameInfo(mfn: number): FrameInfo | undefined;

  /** Allocates 2^order zeroed contiguous frames; the first MFN, or -ENOMEM (limit or memory), -EINVAL (dying). */
  allocate(domain: DomainMemory, order: number): number;
  /** `populate_physmap` of one extent: as {@link DirectPaging.allocate}, and M2P entries from `pfn` on. */
  populatePhysmap(domain: DomainMemory, order: number, pfn: number): number;
  /** `decrease_reservation` of one frame: 0, or -EINVAL when it is not the domain's. */
  decreaseReservation(domain: DomainMemory, mfn: number): number;
  /**
   * `XENMEM_exchange`: swaps the single frames `given` for `pfns.length` runs of 2^order frames below
   * 2^addressBits; the runs' first MFNs, or a negative errno and no change.
   */
  exchange(
    domain: DomainMemory,
    given: readonly number[],
    order: number,
    pfns: readonly number[],
    addressBits: number,
  ): number[] | number;
  /** What `XENMEM_machphys_mapping` answers. */
  readonly machphys: MachphysMapping;
  /** Sets the M2P entry of a frame; for the domain builder. */
  setMachineToPhys(mfn: number, pfn: number): void;
  /** The M2P entry of a frame, or -1 when it is invalid (or more than 2^53). */
  machineToPhys(mfn: number): number;
  /** One zeroed page of Xen's that the domain may map (shared_info, grant table); its MFN, or -ENOMEM. */
  shareXenPage(domain: DomainMemory, writable: boolean): number;
  /** Gives up Xen's hold on a page from {@link DirectPaging.shareXenPage}; free when the guest has unmapped it. */
  unshareXenPage(mfn: number): void;

  /**
   * `mmu_update`: `count` requests of four 32-bit words (ptr low, high, value low, high) from our own copy of them.
   * The result object is reused by the next call.
   */
  mmuUpdate(caller: DomainMemory, requests: Uint32Array, count: number, foreigndom: number): BatchResult;
  /**
   * `update_va_mapping` (and `_otherdomain`, by `domid`): replaces the L1 entry that maps `address` under `root`.
   * `checkVcpuMask` as in {@link MmuextCaller}.
   */
  updateVaMapping(
    caller: DomainMemory,
    root: number,
    address: bigint,
    low: number,
    high: number,
    flags: bigint,
    domid: number,
    checkVcpuMask: (address: bigint) => number,
  ): number;
  /** Machine address of the L1 entry that maps `address` under the validated `root`, or 0; never one of Xen's tables. */
  findL1Entry(root: number, address: bigint): number;
  /** Resolves the `foreigndom` of `mmuext_op` to a page owner, or a negative errno: -ESRCH, -EPERM. */
  mmuextOwner(caller: DomainMemory, foreigndom: number): number;
  /** One operation of `mmuext_op` with its two 64-bit arguments; `pageOwner` from {@link DirectPaging.mmuextOwner}. */
  mmuext(caller: MmuextCaller, pageOwner: number, command: number, first: bigint, second: bigint): number;
  /**
   * A guest instruction's write to a live L1 table that it sees read-only: replaces the 8 bytes at machine address
   * `entryAddress` if they still hold the old words. 0, -EINVAL (not such a table), -EBUSY (old differs), or the
   * errno of the new entry's check; for any errno the guest gets its page fault.
   */
  emulateTableWrite(
    domain: DomainMemory,
    entryAddress: number,
    oldLow: number,
    oldHigh: number,
    low: number,
    high: number,
  ): number;

  /** `update_descriptor`: checks and writes one descriptor at machine address `address`; 0 or -EINVAL. */
  updateDescriptor(caller: DomainMemory, address: number, low: number, high: number): number;
  /** `set_gdt`: takes the frames of a GDT of `entries` descriptors; 0 or -EINVAL and then none is held. */
  getGdtFrames(domain: DomainMemory, frames: ArrayLike<number>, entries: number): number;
  /** Holds one frame as GDT or LDT page after checking its descriptors; 0 or -EINVAL. */
  getDescriptorPage(domain: DomainMemory, mfn: number): number;
  /** Gives a frame from {@link DirectPaging.getDescriptorPage} or {@link DirectPaging.getGdtFrames} back. */
  putDescriptorPage(mfn: number): void;

  /** A VCPU's pair of top-level tables, both 0. */
  createRoots(): AddressSpaceRoots;
  /** Sets the kernel root as the domain builder does, without a guest; 0 or a negative errno. */
  setKernelRoot(domain: DomainMemory, roots: AddressSpaceRoots, mfn: number): number;
  /** Sets the user root, 0 for none. */
  setUserRoot(domain: DomainMemory, roots: AddressSpaceRoots, mfn: number): number;
  /** Drops both roots: when the VCPU goes. */
  releaseRoots(roots: AddressSpaceRoots): void;
  /** Validates `mfn` as a table of `level` (1 to 4) and pins it; 0 or a negative errno. */
  pin(domain: DomainMemory, level: number, mfn: number): number;
  /** Drops a pin; 0 or -EINVAL. */
  unpin(domain: DomainMemory, mfn: number): number;

  /** Holds a frame of `owner` for the hypervisor or a backend; `writable` keeps it from becoming a page table. */
  hold(owner: DomainMemory, mfn: number, writable: boolean): boolean;
  /** Gives {@link DirectPaging.hold} back, with the same `writable`. */
  release(mfn: number, writable: boolean): void;
  /** Grant mapping: installs an L1 entry of `mapper` to a frame of another domain. 0 or a negative errno. */
  mapForeign(mapper: DomainMemory, mapping: ForeignMapping): number;
  /**
   * Removes an entry made by {@link DirectPaging.mapForeign}; 0, or -EINVAL when the entry no longer maps that frame
   * in that way (the guest overwrote it, and its references went then).
   */
  unmapForeign(mapper: DomainMemory, entryAddress: number, mfn: number, writable: boolean): number;
  /** Whether live entries of `domain` map the other domain's frame `mfn` for such an access: for `mayReachForeign`. */
  mayReachForeign(domain: number, mfn: number, write: boolean): boolean;

  /**
   * Gives up all memory of a domain. Release its roots, descriptor pages and holds before. The number of frames that
   * others still hold: they keep its id taken, and are freed when those let go.
   */
  relinquish(domain: DomainMemory): number;
  /**
   * Recounts every reference from the page tables themselves and checks the security rules; one line per deviation,
   * none when all is well. `holders` are the references that the caller keeps. Slow: for tests and debugging.
   */
  audit(holders: readonly FrameHolder[]): readonly string[];
}

/**
 * Creates the accounting of a machine's frames and builds the M2P table in its memory.
 * @throws ParavirtError `OUT_OF_MEMORY` when there is no room for the M2P table.
 */
export function createDirectPaging(options: DirectPagingOptions): DirectPaging {
  const s = createState(options);
  const exact = options.guestFlushes !== "full";
  const flush: GuestFlush = {
    page: (address) => {
      if (!exact) s.tlb.flushPage(address);
    },
    all: () => {
      if (!exact) s.tlb.flushAll();
    },
  };
  const result: BatchResult = { status: 0, done: 0 };
  const owned = (domain: DomainMemory): OwnedDomain => domain as OwnedDomain;
  const orNoMemory = (mfn: number): number => (mfn === 0 ? -XEN_ERRNO.ENOMEM : mfn);

  return {
    createDomain: (domain) => createDomain(s, domain),
    domain: (id) => s.domains.get(id),
    get freeFrames() {
      return s.freeFrames;
    },
    frameInfo: (mfn) =>
      mfn >= s.firstFrame && mfn < s.frames
        ? {
            owner: s.owner[mfn]!,
            references: s.refs[mfn]!,
            type: s.type[mfn] as PageType,
            typeReferences: s.typeRefs[mfn]!,
          }
        : undefined,
    allocate: (domain, order) => allocateFrames(s, owned(domain), order),
    populatePhysmap: (domain, order, pfn) => populate(s, owned(domain), order, pfn),
    decreaseReservation: (domain, mfn) => removeFrame(s, domain, mfn),
    exchange: (domain, given, order, pfns, bits) => exchangeFrames(s, owned(domain), given, order, pfns, bits),
    machphys: {
      start: VIRT_X86_64.MACH2PHYS_VIRT_START,
      end: VIRT_X86_64.MACH2PHYS_VIRT_END,
      maxMfn: s.frames - 1,
    },
    setMachineToPhys: (mfn, pfn) => {
      if (!(mfn >= 0 && mfn < s.frames)) {
        throw new ParavirtError("OUT_OF_RANGE", `frame ${mfn} is past the machine's ${s.frames}`);
      }
      setMachineToPhys(s, mfn, pfn);
    },
    machineToPhys: (mfn) => {
      const at = s.m2pFrame * 1024 + mfn * 2;
      const high = mfn >= 0 && mfn < s.frames ? s.words[at + 1]! : 0xffff_ffff;
      return high >= 0x20_0000 ? -1 : s.words[at]! + high * 0x1_0000_0000;
    },
    shareXenPage: (domain, writable) => orNoMemory(shareXenFrame(s, owned(domain), writable)),
    unshareXenPage: (mfn) => unshareXenFrame(s, mfn),

    mmuUpdate: (caller, requests, count, foreigndom) => {
      result.done = 0;
      const owners = resolveOwners(s, caller, foreigndom);
      if (typeof owners === "number") {
        result.status = owners;
        return result;
      }
      let status = 0;
      let i = 0;
      for (; i < count; i++) {
        const at = i * 4;
        status = mmuUpdateOne(
          s,
          caller,
          owners,
          requests[at]!,
          requests[at + 1]!,
          requests[at + 2]!,
          requests[at + 3]!,
        );
        if (status !== 0) break;
      }
      result.status = status;
      result.done = i;
      return result;
    },
    updateVaMapping: (caller, root, address, low, high, flags, domid, checkVcpuMask) => {
      const pages = resolvePageOwner(s, caller, domid);
      if (pages < 0) return -XEN_ERRNO.ESRCH;
      if (pages !== DOMID.IO && !mayControl(caller, pages)) return -XEN_ERRNO.EPERM;
      const entry = findL1(s, root, address);
      let status = entry === 0 ? -XEN_ERRNO.EINVAL : updateEntryAt(s, caller, entry, low, high, pages);
      const wanted = flushKind(flags);
      if (wanted.kind === "none") return status;
      // As Xen: the flush happens even when the update failed, and a bad mask is what is reported then.
      if (wanted.mask !== 0n) {
        const bad = checkVcpuMask(wanted.mask);
        if (bad !== 0) status = bad;
      }
      if (wanted.kind === "page") flush.page(address);
      else flush.all();
      return status;
    },
    findL1Entry: (root, address) => findL1(s, root, address),
    mmuextOwner: (caller, foreigndom) => {
      const pages = resolvePageOwner(s, caller, foreigndom & 0xffff);
      if (pages < 0) return -XEN_ERRNO.ESRCH;
      return mayControl(caller, pages) ? pages : -XEN_ERRNO.EPERM;
    },
    mmuext: (caller, pageOwner, command, first, second) =>
      mmuextOne(s, caller, pageOwner, flush, command, first, second),
    emulateTableWrite: (domain, entryAddress, oldLow, oldHigh, low, high) =>
      emulateL1Write(s, domain.id, entryAddress, oldLow, oldHigh, low, high),

    updateDescriptor: (caller, address, low, high) => updateDescriptor(s, caller, address, low, high),
    getGdtFrames: (domain, frames, entries) => getGdtFrames(s, domain, frames, entries),
    getDescriptorPage: (domain, mfn) => getPageAndType(s, mfn, domain.id, PAGE_TYPE.SEGDESC),
    putDescriptorPage: (mfn) => putPageAndType(s, mfn),

    createRoots: (): MutableRoots => ({ kernel: 0, user: 0 }),
    setKernelRoot: (domain, roots, mfn) => setKernelRoot(s, domain, roots as MutableRoots, mfn),
    setUserRoot: (domain, roots, mfn) => setUserRoot(s, domain, roots as MutableRoots, mfn),
    releaseRoots: (roots) => {
      const both = roots as MutableRoots;
      const { kernel, user } = both;
      both.kernel = 0;
      both.user = 0;
      if (kernel !== 0) putPageAndType(s, kernel);
      if (user !== 0) putPageAndType(s, user);
    },
    pin: (domain, level, mfn) => pinTable(s, domain.id, mfn, level),
    unpin: (domain, mfn) => unpin(s, domain.id, mfn),

    hold: (owner, mfn, writable) =>
      writable ? getPageAndType(s, mfn, owner.id, PAGE_TYPE.WRITABLE) === 0 : getPage(s, mfn, owner.id),
    release: (mfn, writable) => {
      if (writable) putPageAndType(s, mfn);
      else putPage(s, mfn);
    },
    mapForeign: (mapper, mapping) => mapForeignEntry(s, mapper, mapping),
    unmapForeign: (mapper, entryAddress, mfn, writable) => unmapForeignEntry(s, mapper, entryAddress, mfn, writable),
    mayReachForeign: (domain, mfn, write) => hasForeign(s, domain, mfn, write),

    relinquish: (domain) => relinquishAll(s, owned(domain)),
    audit: (holders) => auditState(s, holders),
  };
}

function createState(options: DirectPagingOptions): PagingState {
  const { memory, guard, tlb } = options;
  const { frames, firstFrame } = memory;
  const needed = Math.ceil(frames / 512) * 2 + 3;
  if (frames - firstFrame < needed) {
    const have = frames - firstFrame;
    throw new ParavirtError(
      "OUT_OF_MEMORY",
      `${have} frames are free, the M2P table of ${frames} frames needs up to ${needed}`,
    );
  }
  const s: PagingState = {
    memory,
    words: memory.words,
    guard,
    tlb,
    frames,
    firstFrame,
    owner: new Uint16Array(frames).fill(NOBODY),
    flags: new Uint8Array(frames),
    type: new Uint8Array(frames),
    refs: new Uint32Array(frames),
    typeRefs: new Uint32Array(frames),
    linear: new Int32Array(frames),
    parent: new Uint32Array(frames).fill(NO_PARENT),
    domains: new Map(),
    foreign: new Map(),
    freed: [],
    fresh: firstFrame,
    freeFrames: frames - firstFrame,
    m2pL3: 0,
    m2pFrame: 0,
    m2pFrames: 0,
  };
  buildMachineToPhys(s);
  return s;
}

function createDomain(s: PagingState, options: DomainMemoryOptions): DomainMemory {
  const { id, maxFrames } = options;
  if (!Number.isInteger(id) || id < 0 || id >= DOMID.FIRST_RESERVED) {
    throw new ParavirtError("BAD_ARGUMENT", `domain id ${id} is not in 0 to ${DOMID.FIRST_RESERVED - 1}`);
  }
  if (s.domains.has(id)) throw new ParavirtError("BAD_ARGUMENT", `domain id ${id} is still in use`);
  const domain: OwnedDomain = {
    id,
    maxFrames,
    ownedFrames: 0,
    xenFrames: 0,
    privileged: options.privileged ?? false,
    target: options.target,
    dying: false,
    strictM2p: false,
    onDescriptorPageUnmapped: undefined,
  };
  s.domains.set(id, domain);
  return domain;
}

function updateDescriptor(s: PagingState, caller: DomainMemory, address: number, low: number, high: number): number {
  const mfn = Math.floor(address / 4096);
  const pair = new Uint32Array([low, high]);
  if (address % 8 !== 0 || !getPage(s, mfn, caller.id)) return -XEN_ERRNO.EINVAL;
  let status = -XEN_ERRNO.EINVAL as number;
  const type = s.type[mfn] === PAGE_TYPE.SEGDESC ? PAGE_TYPE.SEGDESC : PAGE_TYPE.WRITABLE;
  if (validDescriptor(pair) && getPageType(s, mfn, type) === 0) {
    s.words[address / 4] = pair[0]!;
    s.words[address / 4 + 1] = pair[1]!;
    s.guard.written(mfn);
    putPageType(s, mfn);
    status = 0;
  }
  putPage(s, mfn);
  return status;
}

function getGdtFrames(s: PagingState, domain: DomainMemory, frames: ArrayLike<number>, entries: number): number {
  if (!(entries <= FIRST_RESERVED_GDT_ENTRY)) return -XEN_ERRNO.EINVAL;
  const count = Math.ceil(entries / 512);
  for (let i = 0; i < count; i++) {
    if (getPageAndType(s, frames[i] ?? -1, domain.id, PAGE_TYPE.SEGDESC) === 0) continue;
    for (let held = 0; held < i; held++) putPageAndType(s, frames[held]!);
    return -XEN_ERRNO.EINVAL;
  }
  return 0;
}
