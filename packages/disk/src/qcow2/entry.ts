/** What an L2 entry says of a cluster (qcow2.txt, "Cluster mapping"). */
export type EntryKind = "absent" | "zero" | "data" | "compressed";

/** An L2 entry is read as two 32-bit halves: numbers without BigInt, and no allocation for each cluster. */
const COPIED = 0x80000000;
const COMPRESSED = 0x40000000;
const ZERO = 1;
const OFFSET_HIGH = 0x00ffffff;
const OFFSET_LOW = 0xfffffe00;

/** What entry `index` of `table` says. Version 2 has no zero clusters, and the bit means nothing there. */
export function entryKind(table: DataView, index: number, isV3: boolean): EntryKind {
  const high = table.getUint32(index * 8);
  if ((high & COMPRESSED) !== 0) return "compressed";
  const low = table.getUint32(index * 8 + 4);
  if (isV3 && (low & ZERO) !== 0) return "zero";
  return (low & OFFSET_LOW) === 0 && (high & OFFSET_HIGH) === 0 ? "absent" : "data";
}

/** Where the cluster of entry `index` is in the file; 0 for nowhere. Good for L1 entries and refcount tables too. */
export function entryOffset(table: DataView, index: number): number {
  return (
    (table.getUint32(index * 8) & OFFSET_HIGH) * 0x100000000 + ((table.getUint32(index * 8 + 4) & OFFSET_LOW) >>> 0)
  );
}

/** Whether entry `index` says that nobody else uses its cluster, so that it can be written in place. */
export function entryCopied(table: DataView, index: number): boolean {
  return (table.getUint32(index * 8) & COPIED) !== 0;
}

/** Makes entry `index` point at a cluster of its own at `offset`. */
export function setOwnCluster(table: DataView, index: number, offset: number): void {
  table.setUint32(index * 8, (Math.floor(offset / 0x100000000) | COPIED) >>> 0);
  table.setUint32(index * 8 + 4, offset >>> 0);
}

/** Makes entry `index` point at `offset`, without a flag (a refcount table's entries have none). */
export function setPlainOffset(table: DataView, index: number, offset: number): void {
  table.setUint32(index * 8, Math.floor(offset / 0x100000000));
  table.setUint32(index * 8 + 4, offset >>> 0);
}

/** Makes entry `index` say that there is nothing (`zero` false: the backing file shows), or zeros. */
export function setEmpty(table: DataView, index: number, zero: boolean): void {
  table.setUint32(index * 8, 0);
  table.setUint32(index * 8 + 4, zero ? ZERO : 0);
}

/** Corrects the flag that says that a cluster has one user. */
export function setCopied(table: DataView, index: number, copied: boolean): void {
  const high = table.getUint32(index * 8);
  table.setUint32(index * 8, (copied ? high | COPIED : high & ~COPIED) >>> 0);
}

/** Where a compressed cluster's data are: `length` is as long as they can be, since only whole sectors are counted. */
export interface CompressedExtent {
  readonly offset: number;
  readonly length: number;
}

/** Decodes a compressed cluster's entry. */
export function compressedExtent(table: DataView, index: number, clusterBits: number): CompressedExtent {
  const entry = table.getBigUint64(index * 8);
  const shift = BigInt(62 - (clusterBits - 8));
  const offset = Number(entry & ((1n << shift) - 1n));
  const sectors = Number((entry & ((1n << 62n) - 1n)) >> shift) + 1;
  return { offset, length: sectors * 512 - (offset % 512) };
}

/** Writes a compressed cluster's entry. */
export function setCompressed(table: DataView, index: number, clusterBits: number, extent: CompressedExtent): void {
  const shift = BigInt(62 - (clusterBits - 8));
  const sectors = Math.ceil((extent.offset + extent.length) / 512) - Math.floor(extent.offset / 512);
  table.setBigUint64(index * 8, (1n << 62n) | (BigInt(sectors - 1) << shift) | BigInt(extent.offset));
}
