import { type Disk, ParavirtError } from "@paravirt/core";
import { type Answer, run, type Steps, settled, Turns } from "../answer.ts";
import { type BlockFile, scatter, sliceBuffers, totalBytes, zeroBuffers } from "../block-file.ts";
import { SECTOR } from "../range.ts";
import type { Codecs } from "./codecs.ts";
import {
  compressedExtent,
  type EntryKind,
  entryCopied,
  entryKind,
  entryOffset,
  setCompressed,
  setEmpty,
  setOwnCluster,
} from "./entry.ts";
import { bad, HEADER, MAX_L1_BYTES, type Qcow2Header, viewOf } from "./header.ts";
import { L1Table } from "./l1-table.ts";
import { PackedPlaces } from "./packed-places.ts";
import { Refcounts } from "./refcounts.ts";
import { type Table, Tables } from "./tables.ts";
import { UnpackedClusters } from "./unpacked-clusters.ts";

/** What an image needs to work: all of it open and checked. */
export interface ImageParts {
  readonly file: BlockFile;
  readonly header: Qcow2Header;
  readonly l1: Uint8Array;
  readonly refcountTable: Uint8Array;
  readonly backing: Disk | undefined;
  readonly codecs: Codecs | undefined;
}

/**
 * Clusters of a qcow2 image: where they are, and how they get there.
 *
 * Data go to the file at once. Refcounts and tables are changed in memory, and {@link flush} writes them so that the file
 * is right at every moment, whether this process or the whole machine stops: first data and increased refcounts, then
 * tables, then the L1 table that leads to new ones, at last decreased refcounts, each behind a barrier. A cluster that was
 * freed is used again only after that, so nothing in the file ever points at another's data. What a stop can leave behind
 * is clusters counted and not used (leaks).
 */
export class Qcow2Image {
  readonly #file: BlockFile;
  readonly #bits: number;
  readonly #clusterSize: number;
  readonly #perTable: number;
  readonly #isV3: boolean;
  readonly #header: Qcow2Header;
  readonly #backing: Disk | undefined;
  readonly #refcounts: Refcounts;
  readonly #tables: Tables;
  readonly #packed: PackedPlaces;
  readonly #turns = new Turns();
  readonly #unpacked: UnpackedClusters;
  readonly #l1: L1Table;
  #size: number;
  /** Clusters that lose a user when the tables are in the file. */
  #released: number[] = [];
  #readers = 0;
  #hasWritten = false;
  #failure: unknown;

  constructor(parts: ImageParts) {
    this.#file = parts.file;
    this.#header = parts.header;
    this.#bits = parts.header.clusterBits;
    this.#clusterSize = 2 ** this.#bits;
    this.#perTable = this.#clusterSize / 8;
    this.#isV3 = parts.header.version === 3;
    this.#backing = parts.backing;
    this.#size = parts.header.size;
    this.#refcounts = new Refcounts(parts.file, parts.header, parts.refcountTable);
    this.#tables = new Tables(parts.file, this.#clusterSize);
    this.#packed = new PackedPlaces(this.#refcounts, this.#clusterSize);
    this.#unpacked = new UnpackedClusters(parts);
    this.#l1 = new L1Table(parts);
  }

  /** Bytes of the disk. */
  get size(): number {
    return this.#size;
  }

  /** Fills `into` from byte `offset` on. */
  read(offset: number, into: readonly Uint8Array[]): Answer<void> {
    this.#readers++;
    let answer: Answer<void>;
    try {
      answer = run(this.#read(offset, into));
    } catch (error) {
      this.#readers--;
      throw error;
    }
    if (answer instanceof Promise) return answer.finally(() => void this.#readers--);
    this.#readers--;
  }
  /** Writes `from` at byte `offset`. */
  write(offset: number, from: readonly Uint8Array[]): Answer<void> {
    return this.#change(() => this.#write(offset, from));
  }
  /** Makes bytes read as zeros; clusters that are whole are given up. */
  writeZeroes(offset: number, length: number): Answer<void> {
    return this.#change(() => this.#zero(offset, length));
  }
  /** Gives up the clusters that lie wholly in the range, as far as they then read as zeros. */
  discard(offset: number, length: number): Answer<void> {
    const first = Math.ceil(offset / this.#clusterSize);
    const last =
      offset + length === this.#size
        ? Math.ceil(this.#size / this.#clusterSize)
        : Math.floor((offset + length) / this.#clusterSize);
    return this.#change(() => this.#empty(first, last - first));
  }
  /** Puts a whole cluster that was packed to `data` where there is nothing yet. */
  writeCompressed(cluster: number, data: Uint8Array): Answer<void> {
    return this.#change(() => this.#writeCompressed(cluster, data));
  }
  /** Makes everything that was written durable. */
  flush(): Answer<void> {
    return this.#change(() => this.#flush());
  }
  /** Changes the disk's size. */
  resize(size: number): Answer<void> {
    return this.#change(() => this.#resize(size));
  }
  /** Runs `steps` with all tables in the file and nobody changing them. */
  quietly<T>(steps: () => Steps<T>): Answer<T> {
    const flush = (): Steps<void> => this.#flush();
    return this.#turns.run(function* () {
      yield* flush();
      return yield* steps();
    });
  }

  /** What the cluster holds, and how many after it are alike as far as one table says; `count` at most. */
  status(cluster: number, count: number): Answer<{ readonly kind: EntryKind; readonly count: number }> {
    return run(this.#status(cluster, count));
  }

  *#status(cluster: number, count: number): Steps<{ readonly kind: EntryKind; readonly count: number }> {
    const within = cluster % this.#perTable;
    count = Math.min(count, this.#perTable - within);
    const table = yield* this.#tableOf(cluster);
    if (table === undefined) return { kind: "absent", count };
    const kind = entryKind(table.view, within, this.#isV3);
    let alike = 1;
    while (alike < count && entryKind(table.view, within + alike, this.#isV3) === kind) alike++;
    return { kind, count: alike };
  }

  /** One change after the other. A failed write of tables leaves memory and file apart, so nothing is written after it. */
  #change<T>(steps: () => Steps<T>): Answer<T> {
    return this.#turns.run(() => {
      if (this.#failure !== undefined)
        throw new ParavirtError("IO", "an earlier write to this image's tables failed; open it again", {
          cause: this.#failure,
        });
      return steps();
    });
  }

  *#read(offset: number, into: readonly Uint8Array[]): Steps<void> {
    const length = totalBytes(into);
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const cluster = Math.floor(at / this.#clusterSize);
      const skip = at - cluster * this.#clusterSize;
      const within = cluster % this.#perTable;
      const most = Math.min(this.#perTable - within, Math.ceil((skip + length - done) / this.#clusterSize));
      const table = yield* this.#tableOf(cluster);
      const kind = table === undefined ? "absent" : entryKind(table.view, within, this.#isV3);
      let count = 1;
      if (table === undefined) count = most;
      else if (kind === "data") {
        const start = entryOffset(table.view, within);
        while (count < most && this.#continues(table, within + count, start + count * this.#clusterSize)) count++;
      } else if (kind !== "compressed")
        while (count < most && entryKind(table.view, within + count, this.#isV3) === kind) count++;
      const bytes = Math.min(count * this.#clusterSize - skip, length - done);
      const part = sliceBuffers(into, done, bytes);
      if (kind === "data")
        yield* settled(this.#file.read(this.#aligned(entryOffset(table!.view, within)) + skip, part));
      else if (kind === "zero") zeroBuffers(part);
      else if (kind === "absent") yield* this.#readBacking(at, part, bytes);
      else {
        const unpacked = yield* this.#unpacked.get(compressedExtent(table!.view, within, this.#bits));
        scatter(unpacked.subarray(skip, skip + bytes), part);
      }
      done += bytes;
    }
  }

  #continues(table: Table, index: number, offset: number): boolean {
    return entryKind(table.view, index, this.#isV3) === "data" && entryOffset(table.view, index) === offset;
  }

  #aligned(offset: number): number {
    if (offset % this.#clusterSize !== 0) throw bad(`a cluster at ${offset}, which no cluster begins at`);
    return offset;
  }

  *#readBacking(at: number, into: readonly Uint8Array[], length: number): Steps<void> {
    const there = this.#backing === undefined ? 0 : Math.max(0, Math.min(length, this.#backing.sectors * SECTOR - at));
    if (there > 0) yield* settled(this.#backing!.read(at / SECTOR, sliceBuffers(into, 0, there)));
    if (there < length) zeroBuffers(sliceBuffers(into, there, length - there));
  }

  *#tableOf(cluster: number): Steps<Table | undefined> {
    const index = Math.floor(cluster / this.#perTable);
    const offset = entryOffset(this.#l1.view, index);
    return offset === 0 ? undefined : yield* this.#tables.get(this.#aligned(offset));
  }

  /** The table for `cluster`, one that only this disk uses. */
  *#ownTable(cluster: number): Steps<Table> {
    const index = Math.floor(cluster / this.#perTable);
    const old = entryOffset(this.#l1.view, index);
    if (old !== 0 && entryCopied(this.#l1.view, index)) return yield* this.#tables.get(this.#aligned(old));
    // A snapshot's table is copied; its clusters keep the uses that the snapshot has of them.
    const bytes =
      old === 0 ? new Uint8Array(this.#clusterSize) : (yield* this.#tables.get(this.#aligned(old))).bytes.slice();
    const { first } = yield* this.#refcounts.allocate(1);
    const table = this.#tables.create(first * this.#clusterSize, bytes);
    this.#l1.set(index, table.offset);
    if (old !== 0) this.#released.push(old / this.#clusterSize);
    return table;
  }

  *#write(offset: number, from: readonly Uint8Array[]): Steps<void> {
    const length = totalBytes(from);
    this.#hasWritten = true;
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const cluster = Math.floor(at / this.#clusterSize);
      const skip = at - cluster * this.#clusterSize;
      const within = cluster % this.#perTable;
      const most = Math.min(this.#perTable - within, Math.ceil((skip + length - done) / this.#clusterSize));
      const table = yield* this.#ownTable(cluster);
      let count = 1;
      if (this.#isOwn(table, within)) {
        const start = this.#aligned(entryOffset(table.view, within));
        while (
          count < most &&
          this.#isOwn(table, within + count) &&
          entryOffset(table.view, within + count) === start + count * this.#clusterSize
        )
          count++;
        const bytes = Math.min(count * this.#clusterSize - skip, length - done);
        yield* settled(this.#file.write(start + skip, sliceBuffers(from, done, bytes)));
        done += bytes;
        continue;
      }
      while (count < most && !this.#isOwn(table, within + count)) count++;
      const run = yield* this.#refcounts.allocate(count);
      const bytes = Math.min(run.count * this.#clusterSize - skip, length - done);
      yield* this.#fillNew(table, cluster, run, skip, sliceBuffers(from, done, bytes), bytes);
      for (let n = 0; n < run.count; n++) {
        this.#giveUp(table, within + n);
        setOwnCluster(table.view, within + n, (run.first + n) * this.#clusterSize);
      }
      this.#tables.changed(table, within, run.count);
      done += bytes;
    }
    if (this.#tables.full) yield* this.#flush();
  }

  /** Writes new clusters: what was asked for, and around it what was there before. */
  *#fillNew(
    table: Table,
    cluster: number,
    run: { readonly first: number; readonly count: number },
    skip: number,
    from: readonly Uint8Array[],
    bytes: number,
  ): Steps<void> {
    const host = run.first * this.#clusterSize;
    const rest = run.count * this.#clusterSize - skip - bytes;
    // Past the file's end there are zeros already.
    const isFresh = host >= this.#file.size;
    const within = cluster % this.#perTable;
    const parts = [...from];
    let start = host + skip;
    if (skip > 0 && !(isFresh && this.#isBlank(table, within, cluster))) {
      const head = new Uint8Array(skip);
      yield* this.#read(cluster * this.#clusterSize, [head]);
      parts.unshift(head);
      start = host;
    }
    const last = run.count - 1;
    if (rest > 0 && !(isFresh && this.#isBlank(table, within + last, cluster + last))) {
      const tail = new Uint8Array(rest);
      yield* this.#read((cluster + run.count) * this.#clusterSize - rest, [tail]);
      parts.push(tail);
    }
    yield* settled(this.#file.write(start, parts));
  }

  /** Whether the cluster reads as zeros without looking at data. */
  #isBlank(table: Table, index: number, cluster: number): boolean {
    const kind = entryKind(table.view, index, this.#isV3);
    const backing = this.#backing === undefined ? 0 : this.#backing.sectors * SECTOR;
    return kind === "zero" || (kind === "absent" && cluster * this.#clusterSize >= backing);
  }

  #isOwn(table: Table, index: number): boolean {
    return entryKind(table.view, index, this.#isV3) === "data" && entryCopied(table.view, index);
  }

  /** Notes that what entry `index` points at loses this user. */
  #giveUp(table: Table, index: number): void {
    const kind = entryKind(table.view, index, this.#isV3);
    if (kind === "compressed") {
      const { offset, length } = compressedExtent(table.view, index, this.#bits);
      this.#unpacked.forget(offset);
      const last = Math.floor((offset + length - 1) / this.#clusterSize);
      for (let host = Math.floor(offset / this.#clusterSize); host <= last; host++) this.#released.push(host);
      return;
    }
    // A zero cluster may have kept a place in the file.
    const offset = kind === "absent" ? 0 : entryOffset(table.view, index);
    if (offset !== 0) this.#released.push(Math.floor(offset / this.#clusterSize));
  }

  *#zero(offset: number, length: number): Steps<void> {
    const first = Math.ceil(offset / this.#clusterSize);
    const isEnd = offset + length === this.#size;
    const last = isEnd ? Math.ceil(this.#size / this.#clusterSize) : Math.floor((offset + length) / this.#clusterSize);
    if (last <= first || (!this.#isV3 && this.#backing !== undefined)) {
      yield* this.#writeZeros(offset, length);
      return;
    }
    const head = first * this.#clusterSize - offset;
    if (head > 0) yield* this.#writeZeros(offset, head);
    yield* this.#empty(first, last - first);
    const tail = offset + length - last * this.#clusterSize;
    if (tail > 0) yield* this.#writeZeros(last * this.#clusterSize, tail);
  }

  *#writeZeros(offset: number, length: number): Steps<void> {
    for (let at = 0; at < length; ) {
      const cluster = Math.floor((offset + at) / this.#clusterSize);
      const bytes = Math.min(length - at, (cluster + 1) * this.#clusterSize - offset - at);
      const table = yield* this.#tableOf(cluster);
      const isBlank =
        table === undefined
          ? cluster * this.#clusterSize >= (this.#backing?.sectors ?? 0) * SECTOR
          : this.#isBlank(table, cluster % this.#perTable, cluster);
      if (!isBlank) yield* this.#write(offset + at, [new Uint8Array(bytes)]);
      at += bytes;
    }
  }

  /** Makes whole clusters read as zeros and gives their place up. Version 2 can't with a backing file, and leaves them. */
  *#empty(first: number, count: number): Steps<void> {
    if (!this.#isV3 && this.#backing !== undefined) return;
    const shown = Math.ceil(((this.#backing?.sectors ?? 0) * SECTOR) / this.#clusterSize);
    for (let cluster = first; cluster < first + count; ) {
      const within = cluster % this.#perTable;
      const most = Math.min(this.#perTable - within, first + count - cluster);
      const existing = yield* this.#tableOf(cluster);
      if (existing === undefined && cluster >= shown) {
        cluster += most;
        continue;
      }
      const table = yield* this.#ownTable(cluster);
      for (let n = 0; n < most; n++) {
        this.#giveUp(table, within + n);
        setEmpty(table.view, within + n, cluster + n < shown);
      }
      this.#tables.changed(table, within, most);
      cluster += most;
      if (this.#tables.full) yield* this.#flush();
    }
    this.#hasWritten = true;
  }

  *#writeCompressed(cluster: number, data: Uint8Array): Steps<void> {
    this.#hasWritten = true;
    const table = yield* this.#ownTable(cluster);
    const within = cluster % this.#perTable;
    if (entryKind(table.view, within, this.#isV3) !== "absent")
      throw new ParavirtError("BAD_ARGUMENT", `cluster ${cluster} is there already: compressed ones are written once`);
    if (data.length >= this.#clusterSize)
      throw new ParavirtError(
        "BAD_ARGUMENT",
        `${data.length} bytes aren't less than a cluster of ${this.#clusterSize}`,
      );
    const at = yield* this.#packed.place(data.length);
    yield* settled(this.#file.write(at, [data]));
    setCompressed(table.view, within, this.#bits, { offset: at, length: data.length });
    this.#tables.changed(table, within, 1);
    if (this.#tables.full) yield* this.#flush();
  }

  *#flush(): Steps<void> {
    if (!this.#hasWritten) return;
    this.#hasWritten = false;
    try {
      yield* this.#flushInOrder();
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }

  *#flushInOrder(): Steps<void> {
    yield* this.#refcounts.write();
    const hasTables = this.#tables.dirty || this.#l1.dirty;
    if (hasTables) {
      yield* settled(this.#file.flush());
      yield* this.#tables.write();
    }
    if (this.#l1.dirty) {
      yield* settled(this.#file.flush());
      yield* this.#l1.write();
    }
    yield* settled(this.#file.flush());
    for (const { offset, clusters } of this.#refcounts.takeReplaced())
      for (let n = 0; n < clusters; n++) this.#released.push(offset / this.#clusterSize + n);
    // A read that is under way may still want the old place of its cluster; its turn comes at the next flush.
    if (this.#released.length === 0 || this.#readers > 0) {
      this.#hasWritten = this.#released.length > 0;
      return;
    }
    yield* this.#free(this.#released.splice(0));
    yield* this.#refcounts.write();
  }

  *#free(released: number[]): Steps<void> {
    released.sort((a, b) => a - b);
    let holeFrom = -1;
    let holeTo = -1;
    for (const cluster of released) {
      if ((yield* this.#refcounts.release(cluster)) > 0) continue;
      this.#packed.freed(cluster);
      this.#tables.forget(cluster * this.#clusterSize);
      if (cluster === holeTo) holeTo++;
      else {
        if (holeTo > holeFrom) yield* this.#punch(holeFrom, holeTo);
        holeFrom = cluster;
        holeTo = cluster + 1;
      }
    }
    if (holeTo > holeFrom) yield* this.#punch(holeFrom, holeTo);
  }

  *#punch(from: number, to: number): Steps<void> {
    if (this.#file.punch === undefined) return;
    yield* settled(this.#file.punch(from * this.#clusterSize, (to - from) * this.#clusterSize));
  }

  *#resize(size: number): Steps<void> {
    if (this.#header.snapshotCount > 0 && !this.#isV3)
      throw new ParavirtError("UNSUPPORTED", "resizing a qcow2 image of version 2 that has snapshots");
    const entries = Math.ceil(size / (this.#clusterSize * this.#perTable));
    if (entries * 8 > MAX_L1_BYTES)
      throw new ParavirtError(
        "OUT_OF_RANGE",
        `${size} bytes are too many for clusters of ${this.#clusterSize}: ${(MAX_L1_BYTES / 8) * this.#clusterSize * this.#perTable} is the most`,
      );
    const old = this.#size;
    if (size < old) {
      yield* this.#zero(size, old - size);
    } else {
      // A longer backing file must not show in what is new.
      const shown = Math.min(size, (this.#backing?.sectors ?? 0) * SECTOR);
      this.#size = size;
      if (entries > this.#l1.entries) yield* this.#growL1(entries);
      if (shown > old) yield* this.#zero(old, shown - old);
    }
    this.#hasWritten = true;
    yield* this.#flush();
    this.#size = size;
    yield* this.#writeHeader(HEADER.size, 8, (view) => view.setBigUint64(0, BigInt(size)));
  }

  *#growL1(entries: number): Steps<void> {
    const clusters = Math.ceil((entries * 8) / this.#clusterSize);
    const { first } = yield* this.#refcounts.allocate(clusters, true);
    // Tables that the copy leads to have to be in the file before it is.
    this.#hasWritten = true;
    yield* this.#flush();
    const { offset: oldOffset, entries: oldEntries } = this.#l1;
    yield* this.#l1.move(first * this.#clusterSize, clusters * this.#clusterSize, entries);
    const oldClusters = Math.ceil((oldEntries * 8) / this.#clusterSize);
    for (let n = 0; n < oldClusters; n++) this.#released.push(oldOffset / this.#clusterSize + n);
    // Entry count and place are neighbours in one sector: both change or none does.
    yield* this.#writeHeader(HEADER.l1Entries, 12, (view) => {
      view.setUint32(0, entries);
      view.setBigUint64(4, BigInt(this.#l1.offset));
    });
  }

  *#writeHeader(at: number, length: number, encode: (view: DataView) => void): Steps<void> {
    const bytes = new Uint8Array(length);
    encode(viewOf(bytes));
    yield* settled(this.#file.write(at, [bytes]));
    yield* settled(this.#file.flush());
  }
}
