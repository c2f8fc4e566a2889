import { ParavirtError } from "@paravirt/core";
import { type Steps, settled } from "../answer.ts";
import type { BlockFile } from "../block-file.ts";
import { entryOffset, setPlainOffset } from "./entry.ts";
import { bad, HEADER, MAX_REFCOUNT_TABLE_BYTES, type Qcow2Header, viewOf } from "./header.ts";

/** Reads and writes refcounts of 2 to the power of `order` bits in a block (qcow2.txt, "Reference count handling"). */
export function readRefcount(block: DataView, index: number, order: number): number {
  switch (order) {
    case 3:
      return block.getUint8(index);
    case 4:
      return block.getUint16(index * 2);
    case 5:
      return block.getUint32(index * 4);
    case 6:
      return block.getUint32(index * 8) * 0x100000000 + block.getUint32(index * 8 + 4);
    default: {
      const bits = 1 << order;
      const bit = index * bits;
      return (block.getUint8(bit >> 3) >> (bit & 7)) & ((1 << bits) - 1);
    }
  }
}

/** The other direction of {@link readRefcount}. */
export function writeRefcount(block: DataView, index: number, order: number, value: number): void {
  switch (order) {
    case 3:
      block.setUint8(index, value);
      return;
    case 4:
      block.setUint16(index * 2, value);
      return;
    case 5:
      block.setUint32(index * 4, value);
      return;
    case 6:
      block.setUint32(index * 8, Math.floor(value / 0x100000000));
      block.setUint32(index * 8 + 4, value >>> 0);
      return;
    default: {
      const bits = 1 << order;
      const bit = index * bits;
      const mask = ((1 << bits) - 1) << (bit & 7);
      block.setUint8(bit >> 3, (block.getUint8(bit >> 3) & ~mask) | (value << (bit & 7)));
    }
  }
}

interface Block {
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** First and last byte, plus one, that differ from the file. */
  dirtyFrom: number;
  dirtyTo: number;
}

/**
 * An image's refcounts, and with them its allocator. Increments are only made here and written by {@link write}, which must
 * come before anything that points at the clusters; decrements are asked for by whoever has removed the last pointer
 * from the file already.
 */
export class Refcounts {
  readonly #file: BlockFile;
  readonly #clusterSize: number;
  readonly #order: number;
  readonly #perBlock: number;
  readonly #max: number;
  readonly #blocks = new Map<number, Block>();
  readonly #dirty = new Set<number>();
  #tableOffset: number;
  #tableBytes: Uint8Array;
  #table: DataView;
  #tableDirtyFrom = Number.POSITIVE_INFINITY;
  #tableDirtyTo = 0;
  #hasNewBlock = false;
  /** Nothing below is free. */
  #cursor = 0;
  /** Clusters of a refcount table that was replaced. */
  #replaced: { readonly offset: number; readonly clusters: number }[] = [];

  constructor(file: BlockFile, header: Qcow2Header, table: Uint8Array) {
    this.#file = file;
    this.#clusterSize = 2 ** header.clusterBits;
    this.#order = header.refcountOrder;
    this.#perBlock = (this.#clusterSize * 8) / 2 ** header.refcountOrder;
    this.#max = header.refcountOrder === 6 ? Number.MAX_SAFE_INTEGER : 2 ** (1 << header.refcountOrder) - 1;
    this.#tableOffset = header.refcountTableOffset;
    this.#tableBytes = table;
    this.#table = viewOf(table);
  }

  /** The largest refcount that fits. */
  get max(): number {
    return this.#max;
  }
  /** Whether {@link write} has something to do. */
  get dirty(): boolean {
    return this.#dirty.size > 0 || this.#tableDirtyTo > 0;
  }

  /** The refcount of a cluster, by its number in the file. */
  *get(cluster: number): Steps<number> {
    const block = yield* this.#block(Math.floor(cluster / this.#perBlock));
    return block === undefined ? 0 : readRefcount(block.view, cluster % this.#perBlock, this.#order);
  }

  /** Gives `wanted` free clusters in a row a refcount of 1, or fewer unless `exact`; answers the first one's number. */
  *allocate(wanted: number, exact = false): Steps<{ readonly first: number; readonly count: number }> {
    for (;;) {
      const run = yield* this.#findFree(wanted, exact);
      const index = Math.floor(run.first / this.#perBlock);
      const border = (index + 1) * this.#perBlock;
      if ((yield* this.#block(index)) === undefined) {
        yield* this.#addBlock(index, run.first);
        continue;
      }
      let count = run.count;
      if (run.first + count > border) {
        if (!exact) count = border - run.first;
        else if (yield* this.#addMissing(index + 1, Math.floor((run.first + count - 1) / this.#perBlock))) continue;
      }
      for (let cluster = run.first; cluster < run.first + count; cluster++) yield* this.set(cluster, 1);
      if (run.first === this.#cursor) this.#cursor += count;
      return { first: run.first, count };
    }
  }

  /** Sets a cluster's refcount in a block that exists. */
  *set(cluster: number, value: number): Steps<void> {
    const index = Math.floor(cluster / this.#perBlock);
    const block = yield* this.#block(index);
    if (block === undefined) throw bad(`cluster ${cluster} is in use, but has no refcount`);
    const within = cluster % this.#perBlock;
    writeRefcount(block.view, within, this.#order, value);
    const bits = 1 << this.#order;
    block.dirtyFrom = Math.min(block.dirtyFrom, Math.floor((within * bits) / 8));
    block.dirtyTo = Math.max(block.dirtyTo, Math.ceil(((within + 1) * bits) / 8));
    this.#dirty.add(index);
    if (value === 0) this.#cursor = Math.min(this.#cursor, cluster);
  }

  /** Takes one use off a cluster; answers how many are left. */
  *release(cluster: number): Steps<number> {
    const count = yield* this.get(cluster);
    // An image whose refcounts were wrong: nothing may be freed on their word.
    if (count === 0) return 1;
    yield* this.set(cluster, count - 1);
    return count - 1;
  }

  /** Writes what has changed: blocks first, and after a barrier the table that leads to new ones. */
  *write(): Steps<void> {
    for (const index of this.#dirty) {
      const block = this.#blocks.get(index)!;
      yield* settled(
        this.#file.write(block.offset + block.dirtyFrom, [block.bytes.subarray(block.dirtyFrom, block.dirtyTo)]),
      );
      block.dirtyFrom = Number.POSITIVE_INFINITY;
      block.dirtyTo = 0;
    }
    this.#dirty.clear();
    if (this.#tableDirtyTo === 0) return;
    if (this.#hasNewBlock) yield* settled(this.#file.flush());
    this.#hasNewBlock = false;
    const part = this.#tableBytes.subarray(this.#tableDirtyFrom, this.#tableDirtyTo);
    yield* settled(this.#file.write(this.#tableOffset + this.#tableDirtyFrom, [part]));
    this.#tableDirtyFrom = Number.POSITIVE_INFINITY;
    this.#tableDirtyTo = 0;
  }

  /** Clusters of tables that were replaced, to be released after the next barrier. */
  takeReplaced(): readonly { readonly offset: number; readonly clusters: number }[] {
    const replaced = this.#replaced;
    this.#replaced = [];
    return replaced;
  }

  *#findFree(wanted: number, exact: boolean): Steps<{ readonly first: number; readonly count: number }> {
    let first = this.#cursor;
    let isLowest = true;
    for (;;) {
      let count = 0;
      while (count < wanted && (yield* this.#isFree(first + count))) count++;
      if (count === wanted || (count > 0 && !exact)) {
        if (isLowest && this.#cursor < first) this.#cursor = first;
        return { first, count };
      }
      if (count > 0) {
        if (isLowest) this.#cursor = first;
        isLowest = false;
      }
      first += count + 1;
    }
  }

  *#isFree(cluster: number): Steps<boolean> {
    const index = Math.floor(cluster / this.#perBlock);
    // The common case without a generator: this is asked for every cluster in use, at the first allocation.
    const block = this.#blocks.get(index) ?? (yield* this.#block(index));
    return block === undefined || readRefcount(block.view, cluster % this.#perBlock, this.#order) === 0;
  }

  *#block(index: number): Steps<Block | undefined> {
    const known = this.#blocks.get(index);
    if (known !== undefined) return known;
    if (index * 8 >= this.#tableBytes.length) return undefined;
    const offset = entryOffset(this.#table, index);
    if (offset === 0) return undefined;
    if (offset % this.#clusterSize !== 0) throw bad(`a refcount block at ${offset}, which no cluster begins at`);
    const bytes = new Uint8Array(this.#clusterSize);
    yield* settled(this.#file.read(offset, [bytes]));
    return this.#remember(index, offset, bytes);
  }

  #remember(index: number, offset: number, bytes: Uint8Array): Block {
    const block = { offset, bytes, view: viewOf(bytes), dirtyFrom: Number.POSITIVE_INFINITY, dirtyTo: 0 };
    this.#blocks.set(index, block);
    return block;
  }

  /** Makes a block that counts itself, at a cluster within its own range: nothing in a range without a block is in use. */
  *#addBlock(index: number, cluster: number): Steps<void> {
    if (index * 8 >= this.#tableBytes.length) yield* this.#growTable(index);
    // The larger table may have been placed here, with its blocks.
    if ((yield* this.#block(index)) !== undefined) return;
    this.#enter(index, cluster * this.#clusterSize);
    yield* this.set(cluster, 1);
  }

  /** Makes the blocks from `first` to `last` that don't exist; answers whether there were any. */
  *#addMissing(first: number, last: number): Steps<boolean> {
    let added = false;
    for (let index = first; index <= last; index++) {
      if ((yield* this.#block(index)) !== undefined) continue;
      yield* this.#addBlock(index, index * this.#perBlock);
      added = true;
    }
    return added;
  }

  #enter(index: number, offset: number): void {
    const block = this.#remember(index, offset, new Uint8Array(this.#clusterSize));
    block.dirtyFrom = 0;
    block.dirtyTo = this.#clusterSize;
    this.#dirty.add(index);
    setPlainOffset(this.#table, index, offset);
    this.#tableDirtyFrom = Math.min(this.#tableDirtyFrom, index * 8);
    this.#tableDirtyTo = Math.max(this.#tableDirtyTo, index * 8 + 8);
    this.#hasNewBlock = true;
  }

  /** Replaces the table by a larger one, which lies where the old one's range ends, behind the blocks that count it. */
  *#growTable(needed: number): Steps<void> {
    const oldEntries = this.#tableBytes.length / 8;
    const start = oldEntries * this.#perBlock;
    const oldOffset = this.#tableOffset;
    let clusters = Math.ceil((Math.max(needed + 1, oldEntries * 1.5) * 8) / this.#clusterSize);
    let blocks = 1;
    for (;;) {
      const more = Math.ceil((clusters + blocks) / this.#perBlock);
      const large = Math.max(clusters, Math.ceil(((oldEntries + more) * 8) / this.#clusterSize));
      if (more <= blocks && large === clusters) break;
      blocks = Math.max(more, blocks);
      clusters = large;
    }
    if (clusters * this.#clusterSize > MAX_REFCOUNT_TABLE_BYTES)
      throw new ParavirtError(
        "OUT_OF_RANGE",
        `the image is full: its refcount table may have ${MAX_REFCOUNT_TABLE_BYTES} bytes`,
      );
    // Everything that the old table leads to must be in the file before a copy of it is.
    yield* this.write();
    const bytes = new Uint8Array(clusters * this.#clusterSize);
    bytes.set(this.#tableBytes);
    this.#tableBytes = bytes;
    this.#table = viewOf(bytes);
    this.#tableOffset = (start + blocks) * this.#clusterSize;
    for (let n = 0; n < blocks; n++) this.#enter(oldEntries + n, (start + n) * this.#clusterSize);
    for (let n = 0; n < blocks + clusters; n++) yield* this.set(start + n, 1);
    this.#tableDirtyFrom = 0;
    this.#tableDirtyTo = bytes.length;
    yield* this.write();
    yield* settled(this.#file.flush());
    const pointer = new Uint8Array(12);
    viewOf(pointer).setBigUint64(0, BigInt(this.#tableOffset));
    viewOf(pointer).setUint32(8, clusters);
    yield* settled(this.#file.write(HEADER.refcountTableOffset, [pointer]));
    yield* settled(this.#file.flush());
    this.#replaced.push({ offset: oldOffset, clusters: (oldEntries * 8) / this.#clusterSize });
  }
}
