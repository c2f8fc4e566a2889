import { run, type Steps, settled } from "../answer.ts";
import type { BlockFile } from "../block-file.ts";
import { compressedExtent, entryCopied, entryKind, entryOffset, setCopied, setPlainOffset } from "./entry.ts";
import { decodeHeader, HEADER, INCOMPATIBLE, type Qcow2Header, viewOf } from "./header.ts";
import { readRefcount, writeRefcount } from "./refcounts.ts";
import { readSnapshots } from "./snapshots.ts";

/** What {@link checkQcow2} found. */
export interface Qcow2Report {
  /** Clusters that are counted and not used: lost space, no danger. */
  readonly leaks: number;
  /** What endangers data: clusters used more often than counted, tables outside the file, wrong flags. */
  readonly corruptions: number;
  /** The first twenty of both, as sentences. */
  readonly problems: readonly string[];
  /** Clusters of the disk that have data of their own. */
  readonly allocatedClusters: number;
  /** How many of these are compressed. */
  readonly compressedClusters: number;
  /** Clusters of the disk, with data or without. */
  readonly totalClusters: number;
  /** Bytes up to the last cluster in use. */
  readonly endOffset: number;
  /** Whether the image was repaired: {@link leaks} and {@link corruptions} are those before. */
  readonly repaired: boolean;
}

const MOST_PROBLEMS = 20;

/**
 * Walks all tables of the qcow2 image in `file`, which nobody else may be changing, and compares them with its refcounts.
 * `repair` writes refcounts and flags anew when some are wrong (`"all"`) or only clusters leaked (`"leaks"`). What lies
 * outside the file can't be repaired and stays reported.
 */
export async function checkQcow2(
  file: BlockFile,
  options: { readonly repair?: "leaks" | "all" } = {},
): Promise<Qcow2Report> {
  return run(checkImage(file, options.repair));
}

/** {@link checkQcow2} as steps. */
export function* checkImage(file: BlockFile, repair?: "leaks" | "all"): Steps<Qcow2Report> {
  const first = new Uint8Array(65536);
  yield* settled(file.read(0, [first]));
  const header = decodeHeader(first);
  const walk = new Walk(file, header);
  yield* walk.walk();
  const isDirty = (header.incompatible & (INCOMPATIBLE.dirty | INCOMPATIBLE.corrupt)) !== 0n;
  const wrong = walk.corruptions > walk.beyondRepair;
  const wanted =
    walk.beyondRepair === 0 &&
    (repair === "all" ? wrong || walk.leaks > 0 || isDirty : repair === "leaks" && walk.leaks > 0 && !wrong);
  if (wanted) yield* walk.rebuild();
  return {
    leaks: walk.leaks,
    corruptions: walk.corruptions,
    problems: walk.problems,
    allocatedClusters: walk.allocated,
    compressedClusters: walk.compressed,
    totalClusters: Math.ceil(header.size / walk.clusterSize),
    endOffset: walk.endOffset,
    repaired: wanted,
  };
}

/** One walk over an image: what uses each cluster, against what its refcount says. */
class Walk {
  readonly problems: string[] = [];
  readonly clusterSize: number;
  leaks = 0;
  corruptions = 0;
  /** Corruptions that new refcounts don't mend. */
  beyondRepair = 0;
  allocated = 0;
  compressed = 0;
  endOffset = 0;
  readonly #file: BlockFile;
  readonly #header: Qcow2Header;
  readonly #clusters: number;
  /** How often each cluster of the file is used. */
  #uses: Uint32Array;
  /** Entries whose "one user" flag must follow the refcount: where they are, and which cluster they are about. */
  readonly #flags: {
    readonly table: number;
    readonly index: number;
    readonly cluster: number;
    readonly copied: boolean;
  }[] = [];
  #flagsWrong: { readonly table: number; readonly index: number; readonly copied: boolean }[] = [];

  constructor(file: BlockFile, header: Qcow2Header) {
    this.#file = file;
    this.#header = header;
    this.clusterSize = 2 ** header.clusterBits;
    this.#clusters = Math.ceil(file.size / this.clusterSize);
    this.#uses = new Uint32Array(this.#clusters);
  }

  *walk(): Steps<void> {
    const header = this.#header;
    this.#use(0, 1, "the header");
    yield* this.#walkL1(header.l1Offset, header.l1Entries, true);
    const { snapshots, bytes } = yield* readSnapshots(this.#file, header);
    this.#use(header.snapshotsOffset, bytes, "the snapshot table");
    for (const one of snapshots) yield* this.#walkL1(one.l1Offset, one.l1Entries, false);
    yield* this.#walkBitmaps();
    yield* this.#compare();
  }

  #corrupt(what: string, mendable: boolean): void {
    this.corruptions++;
    if (!mendable) this.beyondRepair++;
    this.#tell(what);
  }
  #tell(what: string): void {
    if (this.problems.length < MOST_PROBLEMS) this.problems.push(what);
  }

  #use(offset: number, bytes: number, what: string): boolean {
    if (bytes === 0) return true;
    const last = Math.floor((offset + bytes - 1) / this.clusterSize);
    // A data cluster at the end may be written in part.
    if (last >= this.#clusters) {
      this.#corrupt(`${what} at ${offset} lies outside the file`, false);
      return false;
    }
    for (let cluster = Math.floor(offset / this.clusterSize); cluster <= last; cluster++)
      this.#uses[cluster] = this.#uses[cluster]! + 1;
    this.endOffset = Math.max(this.endOffset, (last + 1) * this.clusterSize);
    return true;
  }

  #useCluster(offset: number, what: string): boolean {
    if (offset % this.clusterSize === 0) return this.#use(offset, this.clusterSize, what);
    this.#corrupt(`${what} at ${offset} doesn't begin at a cluster`, false);
    return false;
  }

  *#walkL1(offset: number, entries: number, active: boolean): Steps<void> {
    if (entries === 0 || !this.#use(offset, entries * 8, "an L1 table")) return;
    const l1 = new Uint8Array(entries * 8);
    yield* settled(this.#file.read(offset, [l1]));
    const view = viewOf(l1);
    for (let index = 0; index < entries; index++) {
      const table = entryOffset(view, index);
      if (table === 0 || !this.#useCluster(table, "an L2 table")) continue;
      if (active) this.#flag(offset, index, view, table);
      yield* this.#walkL2(table, active);
    }
  }

  *#walkL2(offset: number, active: boolean): Steps<void> {
    const bytes = new Uint8Array(this.clusterSize);
    yield* settled(this.#file.read(offset, [bytes]));
    const view = viewOf(bytes);
    const isV3 = this.#header.version === 3;
    for (let index = 0; index < this.clusterSize / 8; index++) {
      const kind = entryKind(view, index, isV3);
      if (kind === "absent") continue;
      if (kind === "compressed") {
        const extent = compressedExtent(view, index, this.#header.clusterBits);
        // Its length counts whole sectors, the last of which the file may not have in full.
        const length = Math.min(extent.length, Math.max(1, this.#file.size - extent.offset));
        this.#use(extent.offset, length, "a compressed cluster");
        if (entryCopied(view, index))
          this.#corrupt(`compressed cluster at ${extent.offset} claims to have one user`, false);
        if (active) {
          this.allocated++;
          this.compressed++;
        }
        continue;
      }
      const cluster = entryOffset(view, index);
      if (cluster === 0) continue;
      if (!this.#useCluster(cluster, "a data cluster") || !active) continue;
      if (kind === "data") this.allocated++;
      this.#flag(offset, index, view, cluster);
    }
  }

  #flag(table: number, index: number, view: DataView, offset: number): void {
    this.#flags.push({ table, index, cluster: offset / this.clusterSize, copied: entryCopied(view, index) });
  }

  *#walkBitmaps(): Steps<void> {
    const bitmaps = this.#header.bitmaps;
    // Without its autoclear bit the directory may be stale, and what it points at is nobody's.
    if (bitmaps === undefined || (this.#header.autoclear & 1n) === 0n) return;
    if (!this.#use(bitmaps.directoryOffset, bitmaps.directoryBytes, "the bitmap directory")) return;
    const directory = new Uint8Array(bitmaps.directoryBytes);
    yield* settled(this.#file.read(bitmaps.directoryOffset, [directory]));
    const view = viewOf(directory);
    for (let n = 0, at = 0; n < bitmaps.count && at + 24 <= directory.length; n++) {
      const table = Number(view.getBigUint64(at));
      const entries = view.getUint32(at + 8);
      if (this.#use(table, entries * 8, "a bitmap's table")) {
        const bytes = new Uint8Array(entries * 8);
        yield* settled(this.#file.read(table, [bytes]));
        for (let index = 0; index < entries; index++) {
          const offset = entryOffset(viewOf(bytes), index);
          if (offset !== 0) this.#useCluster(offset, "a bitmap's data");
        }
      }
      at += Math.ceil((24 + view.getUint16(at + 18) + view.getUint32(at + 20)) / 8) * 8;
    }
  }

  *#compare(): Steps<void> {
    const { refcountTableOffset, refcountTableClusters, refcountOrder } = this.#header;
    const usedBefore = this.#uses.slice();
    if (!this.#use(refcountTableOffset, refcountTableClusters * this.clusterSize, "the refcount table"))
      this.beyondRepair--;
    const table = new Uint8Array(refcountTableClusters * this.clusterSize);
    yield* settled(this.#file.read(refcountTableOffset, [table]));
    const blocks: number[] = [];
    for (let index = 0; index < table.length / 8; index++) {
      const offset = entryOffset(viewOf(table), index);
      blocks.push(offset);
      if (offset === 0) continue;
      if (!this.#useCluster(offset, "a refcount block")) {
        // New refcounts replace it.
        this.beyondRepair--;
        blocks[index] = 0;
      }
    }
    const perBlock = (this.clusterSize * 8) / 2 ** refcountOrder;
    const counts = new Float64Array(this.#clusters);
    const block = new Uint8Array(this.clusterSize);
    for (let index = 0; index < blocks.length; index++) {
      if (blocks[index] === 0) continue;
      yield* settled(this.#file.read(blocks[index]!, [block]));
      for (let within = 0; within < perBlock; within++) {
        const cluster = index * perBlock + within;
        const count = readRefcount(viewOf(block), within, refcountOrder);
        if (cluster < this.#clusters) counts[cluster] = count;
        else if (count > 0) this.#leak(cluster, count, 0);
      }
    }
    for (let cluster = 0; cluster < this.#clusters; cluster++) {
      const uses = this.#uses[cluster]!;
      const count = counts[cluster]!;
      if (count > uses) this.#leak(cluster, count, uses);
      else if (count < uses) this.#corrupt(`cluster ${cluster} has refcount ${count} and ${uses} users`, true);
    }
    for (const flag of this.#flags) {
      const copied = this.#uses[flag.cluster] === 1;
      if (copied === flag.copied) continue;
      this.#flagsWrong.push({ table: flag.table, index: flag.index, copied });
      if (flag.copied === (counts[flag.cluster] === 1)) continue;
      this.#corrupt(`an entry for cluster ${flag.cluster} is wrong about being its only user`, true);
    }
    // What a rebuild starts from: everything but the old refcounts.
    this.#uses = usedBefore;
  }

  #leak(cluster: number, count: number, uses: number): void {
    this.leaks++;
    this.#tell(`cluster ${cluster} leaked: refcount ${count} and ${uses} users`);
  }

  /** Writes all refcounts anew behind the file's end, switches to them, and mends the flags. */
  *rebuild(): Steps<void> {
    const order = this.#header.refcountOrder;
    const perBlock = (this.clusterSize * 8) / 2 ** order;
    const start = this.#clusters;
    let blocks = 1;
    let tableClusters = 1;
    for (;;) {
      const needed = Math.ceil((start + blocks + tableClusters) / perBlock);
      const table = Math.ceil((needed * 8) / this.clusterSize);
      if (needed <= blocks && table <= tableClusters) break;
      blocks = Math.max(blocks, needed);
      tableClusters = Math.max(tableClusters, table);
    }
    const bytes = new Uint8Array((blocks + tableClusters) * this.clusterSize);
    const counts = viewOf(bytes.subarray(0, blocks * this.clusterSize));
    for (let cluster = 0; cluster < start; cluster++) writeRefcount(counts, cluster, order, this.#uses[cluster]!);
    for (let n = 0; n < blocks + tableClusters; n++) writeRefcount(counts, start + n, order, 1);
    const table = viewOf(bytes.subarray(blocks * this.clusterSize));
    for (let n = 0; n < blocks; n++) setPlainOffset(table, n, (start + n) * this.clusterSize);
    yield* settled(this.#file.write(start * this.clusterSize, [bytes]));
    yield* settled(this.#file.flush());
    const pointer = new Uint8Array(12);
    viewOf(pointer).setBigUint64(0, BigInt((start + blocks) * this.clusterSize));
    viewOf(pointer).setUint32(8, tableClusters);
    yield* settled(this.#file.write(HEADER.refcountTableOffset, [pointer]));
    yield* settled(this.#file.flush());
    for (const { table: at, index, copied } of this.#flagsWrong) {
      const entry = new Uint8Array(8);
      yield* settled(this.#file.read(at + index * 8, [entry]));
      setCopied(viewOf(entry), 0, copied);
      yield* settled(this.#file.write(at + index * 8, [entry]));
    }
    yield* settled(this.#file.flush());
    if (this.#header.version === 2) return;
    const features = new Uint8Array(8);
    viewOf(features).setBigUint64(0, this.#header.incompatible & ~(INCOMPATIBLE.dirty | INCOMPATIBLE.corrupt));
    yield* settled(this.#file.write(HEADER.incompatible, [features]));
    yield* settled(this.#file.flush());
  }
}
