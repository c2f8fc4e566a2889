import type { FrameGuard, MachineMemory, TlbPort } from "@paravirt/core";
import { ParavirtError } from "@paravirt/core";

/**
 * What a machine frame is used for now: Xen's `PGT_*` types. A frame has one type at a time, and changes it only
 * while nobody holds a reference of the old one. That is the whole security of direct paging: a frame that is a page
 * table can't be mapped writable, and the reverse.
 */
export const PAGE_TYPE = {
  /** Nothing in particular; only read-only mappings. */
  NONE: 0,
  /** A validated level 1 table. */
  L1: 1,
  /** A validated level 2 table. */
  L2: 2,
  /** A validated level 3 table. */
  L3: 3,
  /** A validated top-level table. */
  L4: 4,
  /** A page of a GDT or LDT. */
  SEGDESC: 5,
  /** Mapped writable at least once, or a Xen page that a guest may write. */
  WRITABLE: 6,
} as const;
/** One of the {@link PAGE_TYPE} values. */
export type PageType = (typeof PAGE_TYPE)[keyof typeof PAGE_TYPE];

/** Owner of a frame that nobody owns, as {@link @paravirt/core!FrameGuard} knows it. */
export const NOBODY = 0x7fff;

/** A domain as the owner of machine frames. Made by {@link DirectPaging.createDomain}. */
export interface DomainMemory {
  /** Domain id; also the owner given to the engine's guard. */
  readonly id: number;
  /** Frames that it may own at most; the reservation. Frames that Xen shares with it don't count. */
  maxFrames: number;
  /** Frames that it owns now. */
  readonly ownedFrames: number;
  /** May name other domains in `mmu_update` and `mmuext_op`, as Xen's control domain may. */
  readonly privileged: boolean;
  /** The one domain whose memory it may name without being privileged (a stub domain's target). */
  readonly target: number | undefined;
  /** {@link DirectPaging.relinquish} has begun; nothing can be allocated or mapped any more. */
  readonly dying: boolean;
  /** `VMASST_TYPE_m2p_strict`: user-mode address spaces don't get the M2P map. */
  strictM2p: boolean;
  /**
   * Called when the domain unmaps a page that is in use as GDT or LDT: Xen drops its LDT then, so that the guest can
   * get the page back. The hypervisor gives up the LDT frames it holds through {@link DirectPaging.putDescriptorPage}.
   */
  onDescriptorPageUnmapped: (() => void) | undefined;
}

/** {@link DomainMemory} as this package writes it. */
export interface OwnedDomain extends DomainMemory {
  ownedFrames: number;
  /** Frames of Xen that it may map: they keep its id from being used again. */
  xenFrames: number;
  dying: boolean;
}

/** Bits of {@link PagingState.flags}. */
export const FRAME = {
  /** The owner's own reference is counted: the frame is part of a domain's memory. */
  ALLOCATED: 1,
  /** Belongs to Xen and is shared with the owner; never freed to the heap by the guest, never a page table. */
  XEN_HEAP: 2,
  PINNED: 4,
  VALIDATED: 8,
  /** Has held data since the machine started: zeroed before the next owner sees it. */
  USED: 16,
  /** The guard was told that nobody may write here. */
  PROTECTED: 32,
} as const;

/** Everything that direct paging knows, in one record of flat arrays indexed by MFN; internal to the package. */
export interface PagingState {
  readonly memory: MachineMemory;
  readonly words: Uint32Array;
  readonly guard: FrameGuard;
  readonly tlb: TlbPort;
  readonly frames: number;
  readonly firstFrame: number;
  /** Domain id, or {@link NOBODY}. */
  readonly owner: Uint16Array;
  readonly flags: Uint8Array;
  readonly type: Uint8Array;
  /** References of any kind; the frame is free at 0. */
  readonly refs: Uint32Array;
  /** References that rely on the type. */
  readonly typeRefs: Uint32Array;
  /** Above 0: entries of this table that point to a table of its own level; below: such entries that point here. */
  readonly linear: Int32Array;
  /** Where a table hangs: {@link parentOf} of the entry that points to it, {@link NO_PARENT} or {@link MANY_PARENTS}. */
  readonly parent: Uint32Array;
  readonly domains: Map<number, OwnedDomain>;
  /** Live L1 entries to frames of other domains: key from {@link foreignKey}, value reads + writes * 2^26. */
  readonly foreign: Map<number, number>;
  /** Free frames that were used before, newest last. */
  readonly freed: number[];
  /** All frames from here on have never been handed out, but for those that a run took. */
  fresh: number;
  freeFrames: number;
  /** Top-level table of the M2P map: what L4 slot 256 holds, or 0 before it is built. */
  m2pL3: number;
  /** First frame of the M2P table itself. */
  m2pFrame: number;
  m2pFrames: number;
}

/** The table is in no other table. */
export const NO_PARENT = 0xffff_ffff;
/** The table is, or was, in several places that make it appear at different addresses. */
export const MANY_PARENTS = 0xffff_fffe;

/** Key of {@link PagingState.foreign}. */
export function foreignKey(domain: number, mfn: number): number {
  return domain * 0x40_0000 + mfn;
}

/** Our own mistake: counts that can't be. The machine must not go on. */
export function bug(message: string): never {
  throw new ParavirtError("BUG", message);
}
