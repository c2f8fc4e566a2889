import { DOMID, GNTST, GNTTAB_NR_RESERVED_ENTRIES, GTF, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Domain } from "./domain.ts";

const PAGE = 4096;
const V1_PER_FRAME = PAGE / 8;
const V2_PER_FRAME = PAGE / 16;
const STATUS_PER_FRAME = PAGE / 2;
const V1_SHIFT = 9;
const V2_SHIFT = 8;
/** Transitive grants may pass through one other table. */
const MAX_TRANSITIVE = 1;

/** An entry in use by someone who mapped it: Xen's active grant entry. */
export interface ActiveGrant {
  /** Its grant reference. */
  readonly ref: number;
  /** Who mapped it. */
  readonly domain: number;
  /** The granted frame. */
  readonly mfn: number;
  /** First byte of the page that the grant covers. */
  readonly offset: number;
  /** Bytes that it covers. */
  readonly length: number;
  /** Read-only pins. */
  readers: number;
  /** Writable pins. */
  writers: number;
  /** The domain and entry that a transitive grant leads to. */
  readonly through: GrantLink | undefined;
}

/** Where a transitive grant leads. */
export interface GrantLink {
  /** The other domain's table. */
  readonly table: GrantTable;
  /** The entry in it. */
  readonly ref: number;
}

/** A domain's grant table: frames that it shares with the guest, and the pins on entries (Xen's common/grant_table.c). */
export class GrantTable {
  /** Whose table it is. */
  readonly domain: Domain;
  /** Layout of the entries: 1 until the guest asks for 2. */
  version: 1 | 2 = 1;
  /** MFNs of the shared table. */
  readonly frames: number[] = [];
  /** MFNs of the status words, version 2 only. */
  readonly statusFrames: number[] = [];
  /** Frames that the table may grow to. */
  readonly maxFrames: number;
  private readonly active = new Map<number, ActiveGrant>();

  constructor(domain: Domain, maxFrames: number) {
    this.domain = domain;
    this.maxFrames = maxFrames;
    this.grow(1);
  }

  /** Entries that there is room for now. */
  get entries(): number {
    return this.frames.length * (this.version === 1 ? V1_PER_FRAME : V2_PER_FRAME);
  }

  /** Status frames that version 2 needs now. */
  get statusFramesNeeded(): number {
    return Math.ceil((this.frames.length * V2_PER_FRAME) / STATUS_PER_FRAME);
  }

  /** Makes the table at least `frames` long; `false` when it may not be, or no frame is left. */
  grow(frames: number): boolean {
    if (frames > this.maxFrames) return false;
    while (this.frames.length < frames) {
      const mfn = this.domain.allocateXenFrame();
      if (mfn === undefined) return false;
      this.frames.push(mfn);
    }
    return this.version === 1 || this.growStatus();
  }

  private growStatus(): boolean {
    while (this.statusFrames.length < this.statusFramesNeeded) {
      const mfn = this.domain.allocateXenFrame();
      if (mfn === undefined) return false;
      this.statusFrames.push(mfn);
    }
    return true;
  }

  /** GNTTABOP_set_version; 0 or `-errno`. */
  setVersion(version: number): number {
    if (version !== 1 && version !== 2) return -XEN_ERRNO.EINVAL;
    if (version === this.version) return 0;
    // Only the toolstack's reserved entries may be in use while the layout changes.
    for (const ref of this.active.keys()) if (ref >= GNTTAB_NR_RESERVED_ENTRIES) return -XEN_ERRNO.EBUSY;
    const { view, bytes } = this.domain.machine.memory;
    const first = (this.frames[0] as number) * PAGE;
    const kept: { flags: number; domid: number; frame: number }[] = [];
    for (let ref = 0; ref < GNTTAB_NR_RESERVED_ENTRIES; ref++) {
      const at = first + ref * (this.version === 1 ? 8 : 16);
      const flags = view.getUint16(at, true);
      const frame =
        this.version === 1 ? view.getUint32(at + 4, true) : Number(view.getBigUint64(at + 8, true) & 0xffffffffn);
      const type = flags & GTF.type_mask;
      // What version 1 cannot express does not survive.
      if (this.version === 2 && type !== GTF.invalid && type !== GTF.permit_access) return -XEN_ERRNO.EINVAL;
      kept.push({ flags, domid: view.getUint16(at + 2, true), frame });
    }
    for (const mfn of this.frames) bytes.fill(0, mfn * PAGE, (mfn + 1) * PAGE);
    this.version = version;
    if (version === 2 && !this.growStatus()) return -XEN_ERRNO.ENOMEM;
    kept.forEach(({ flags, domid, frame }, ref) => {
      const at = first + ref * (version === 1 ? 8 : 16);
      view.setUint16(at, flags & ~(GTF.reading | GTF.writing), true);
      view.setUint16(at + 2, domid, true);
      if (version === 1) view.setUint32(at + 4, frame, true);
      else view.setBigUint64(at + 8, BigInt(frame), true);
    });
    if (version === 1) this.releaseStatus();
    return 0;
  }

  private releaseStatus(): void {
    for (const mfn of this.statusFrames) this.domain.freeXenFrame(mfn);
    this.statusFrames.length = 0;
  }

  /** Gives every frame of the table back; the domain is gone. What others still map stays theirs until they let go. */
  destroy(): void {
    this.releaseStatus();
    for (const mfn of this.frames) this.domain.freeXenFrame(mfn);
    this.frames.length = 0;
  }

  /** The entries that somebody has mapped now. */
  activeGrants(): ActiveGrant[] {
    return [...this.active.values()];
  }

  /** How many entries somebody has mapped now. */
  get mapped(): number {
    return this.active.size;
  }

  private entryAt(ref: number): number {
    // Both layouts have a power of two of entries in a frame.
    return this.version === 1
      ? (this.frames[ref >>> V1_SHIFT] as number) * PAGE + (ref & (V1_PER_FRAME - 1)) * 8
      : (this.frames[ref >>> V2_SHIFT] as number) * PAGE + (ref & (V2_PER_FRAME - 1)) * 16;
  }

  /** Machine address of the word that holds the reading and writing flags of `ref`. */
  private statusAt(ref: number): number {
    if (this.version === 1) return this.entryAt(ref);
    return (this.statusFrames[Math.floor(ref / STATUS_PER_FRAME)] as number) * PAGE + (ref % STATUS_PER_FRAME) * 2;
  }

  /**
   * Pins entry `ref` for domain `by`; a `GNTST` number below 0 when the entry doesn't allow it. The frame is held, for
   * writing unless `readOnly`, until {@link GrantTable.release}.
   */
  acquire(ref: number, by: number, readOnly: boolean, depth = 0): ActiveGrant | number {
    if (!Number.isInteger(ref) || ref < 0 || ref >= this.entries) return GNTST.bad_gntref;
    const { view } = this.domain.machine.memory;
    const at = this.entryAt(ref);
    // One copy of the entry: the guest may change it meanwhile, so nothing is read twice.
    const flags = view.getUint16(at, true);
    const domid = view.getUint16(at + 2, true);
    const type = flags & GTF.type_mask;
    const transitive = this.version === 2 && type === GTF.transitive;
    if ((type !== GTF.permit_access && !transitive) || domid !== by) return GNTST.general_error;
    if (!readOnly && (flags & GTF.readonly) !== 0) return GNTST.general_error;
    let grant = this.active.get(ref);
    const isNew = grant === undefined;
    if (grant === undefined) {
      const made = transitive ? this.follow(ref, by, at, readOnly, depth) : this.describe(ref, by, at, flags);
      if (typeof made === "number") return made;
      grant = made;
    } else if (grant.domain !== by) {
      return GNTST.general_error;
    }
    const held = readOnly ? this.domain.holdPage(grant.mfn) : this.domain.holdWritable(grant.mfn);
    if (grant.through === undefined && !held) return GNTST.general_error;
    if (isNew) this.active.set(ref, grant);
    if (readOnly) grant.readers++;
    else grant.writers++;
    const status = this.statusAt(ref);
    view.setUint16(status, view.getUint16(status, true) | GTF.reading | (readOnly ? 0 : GTF.writing), true);
    return grant;
  }

  private describe(ref: number, by: number, at: number, flags: number): ActiveGrant {
    const { view } = this.domain.machine.memory;
    let mfn: number;
    let offset = 0;
    let length = PAGE;
    if (this.version === 1) mfn = view.getUint32(at + 4, true);
    else {
      mfn = Number(view.getBigUint64(at + 8, true));
      if ((flags & GTF.sub_page) !== 0) {
        offset = view.getUint16(at + 4, true);
        length = view.getUint16(at + 6, true);
      }
    }
    return { ref, domain: by, mfn, offset, length, readers: 0, writers: 0, through: undefined };
  }

  // A transitive entry (version 2) names an entry of another domain's table that this domain itself may use.
  private follow(ref: number, by: number, at: number, readOnly: boolean, depth: number): ActiveGrant | number {
    if (depth >= MAX_TRANSITIVE) return GNTST.general_error;
    const { view } = this.domain.machine.memory;
    const target = this.domain.machine.domain(view.getUint16(at + 4, true));
    if (target === undefined) return GNTST.general_error;
    const next = view.getUint32(at + 8, true);
    const inner = target.grants.acquire(next, this.domain.id, readOnly, depth + 1);
    if (typeof inner === "number") return inner;
    const { mfn, offset, length } = inner;
    return {
      ref,
      domain: by,
      mfn,
      offset,
      length,
      readers: 0,
      writers: 0,
      through: { table: target.grants, ref: next },
    };
  }

  /** Ends one pin of `ref` made by {@link GrantTable.acquire} with the same `readOnly`. */
  release(ref: number, readOnly: boolean): void {
    const grant = this.active.get(ref);
    if (grant === undefined || (readOnly ? grant.readers : grant.writers) === 0) return;
    if (readOnly) grant.readers--;
    else grant.writers--;
    if (grant.through !== undefined) grant.through.table.release(grant.through.ref, readOnly);
    else if (readOnly) this.domain.releasePage(grant.mfn);
    else this.domain.releaseWritable(grant.mfn);
    const unused = grant.writers === 0 && grant.readers === 0;
    if (unused) this.active.delete(ref);
    // The table itself is gone when its domain was destroyed first.
    if (this.frames.length === 0) return;
    const { view } = this.domain.machine.memory;
    const status = this.statusAt(ref);
    const cleared = (grant.writers === 0 ? GTF.writing : 0) | (unused ? GTF.reading : 0);
    view.setUint16(status, view.getUint16(status, true) & ~cleared, true);
  }

  /** Exchanges two entries that nobody uses (GNTTABOP_swap_grant_ref); a `GNTST` number. */
  swap(a: number, b: number): number {
    if (a >= this.entries || b >= this.entries) return GNTST.bad_gntref;
    if (a === b) return GNTST.okay;
    if (this.active.has(a) || this.active.has(b)) return GNTST.eagain;
    const { bytes } = this.domain.machine.memory;
    const size = this.version === 1 ? 8 : 16;
    const first = this.entryAt(a);
    const second = this.entryAt(b);
    const copy = bytes.slice(first, first + size);
    bytes.copyWithin(first, second, second + size);
    bytes.set(copy, second);
    return GNTST.okay;
  }

  /** Writes a version 1 entry for the toolstack, before the guest runs: grants `mfn` to `to`. */
  seed(ref: number, to: number, mfn: number): void {
    const { view } = this.domain.machine.memory;
    const at = this.entryAt(ref);
    view.setUint16(at + 2, to, true);
    view.setUint32(at + 4, mfn, true);
    view.setUint16(at, GTF.permit_access, true);
  }
}

/** A granted frame as a backend outside any guest sees it. */
export interface GrantMapping {
  /** The granted bytes themselves, in machine memory: the guest sees writes at once. */
  readonly bytes: Uint8Array;
  /** Whether only reading was asked for. */
  readonly readOnly: boolean;
  /** Tells the processor that `bytes` changed; call it after writing while the mapping is kept. {@link GrantMapping.release} does it too. */
  written(): void;
  /** Unmaps. Calling it twice does nothing. */
  release(): void;
}

class HostMapping implements GrantMapping {
  readonly bytes: Uint8Array;
  readonly readOnly: boolean;
  private readonly table: GrantTable;
  private readonly ref: number;
  private readonly mfn: number;
  private held = true;

  constructor(table: GrantTable, grant: ActiveGrant, readOnly: boolean) {
    this.table = table;
    this.ref = grant.ref;
    this.mfn = grant.mfn;
    this.readOnly = readOnly;
    const at = grant.mfn * PAGE + grant.offset;
    this.bytes = table.domain.machine.memory.bytes.subarray(at, at + grant.length);
  }

  written(): void {
    this.table.domain.machine.engine.frames.written(this.mfn);
  }

  release(): void {
    if (!this.held) return;
    this.held = false;
    if (!this.readOnly) this.written();
    this.table.release(this.ref, this.readOnly);
  }
}

/**
 * Maps entry `ref` of `domain` for a backend that stands for domain `by` (0, dom0, when left out); a `GNTST` number
 * below 0 when the entry doesn't allow it.
 */
export function mapGrant(
  domain: Domain,
  ref: number,
  options: { readonly readOnly?: boolean; readonly by?: number } = {},
): GrantMapping | number {
  const readOnly = options.readOnly ?? false;
  const grant = domain.grants.acquire(ref, options.by ?? 0, readOnly);
  return typeof grant === "number" ? grant : new HostMapping(domain.grants, grant, readOnly);
}

/** The table that a grant operation on domain id `domid` by `caller` means; undefined when there is none such. */
export function tableFor(caller: Domain, domid: number): Domain | undefined {
  return domid === DOMID.SELF ? caller : caller.machine.domain(domid);
}
