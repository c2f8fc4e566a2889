import { type Disk, ParavirtError } from "@paravirt/core";
import type { Codecs } from "./qcow2/codecs.ts";
import type { Qcow2Disk } from "./qcow2/qcow2.ts";
import { SECTOR } from "./range.ts";

/** How {@link copyDisk} goes about it. */
export interface CopyOptions {
  /** Told after each piece how many bytes of how many are done. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Stops it where it is. */
  readonly signal?: {
    /** Whether to stop. */
    readonly aborted: boolean;
  };
}

/** Bytes read at a time. */
const PIECE = 1 << 20;
/** Zeros are left out in units of this: a page, the smallest hole of most file systems. */
const UNIT = 4096;

/**
 * Copies all of `source` to `target`, a new disk at least as large that reads as zeros: what is zero in the source isn't
 * written, so it takes no place. Flushes at the end.
 */
export async function copyDisk(source: Disk, target: Disk, options: CopyOptions = {}): Promise<void> {
  checkRoom(source, target);
  const total = source.sectors * SECTOR;
  const buffer = new Uint8Array(PIECE);
  for (let at = 0; at < total; ) {
    stopIfAsked(options);
    const skipped = await zerosAt(source, at / SECTOR);
    if (skipped > 0) {
      at += skipped * SECTOR;
      options.onProgress?.(at, total);
      continue;
    }
    const piece = buffer.subarray(0, Math.min(PIECE, total - at));
    await source.read(at / SECTOR, [piece]);
    for (let from = 0; from < piece.length; ) {
      const length = runLength(piece, from);
      if (!isZero(piece, from, Math.min(UNIT, piece.length - from)))
        await target.write((at + from) / SECTOR, [piece.subarray(from, from + length)]);
      from += length;
    }
    at += piece.length;
    options.onProgress?.(at, total);
  }
  await target.flush();
}

/** {@link copyDisk} into compressed clusters, as far as they become smaller; needs `codecs.deflateRaw`. */
export async function copyDiskCompressed(
  source: Disk,
  target: Qcow2Disk,
  codecs: Codecs,
  options: CopyOptions = {},
): Promise<void> {
  checkRoom(source, target);
  if (codecs.deflateRaw === undefined)
    throw new ParavirtError("UNSUPPORTED", "compressing without the codec deflateRaw");
  if (target.info.compression !== "zlib")
    throw new ParavirtError("UNSUPPORTED", `compressing with ${target.info.compression}; zlib is written`);
  const { clusterSize } = target.info;
  const total = source.sectors * SECTOR;
  const cluster = new Uint8Array(clusterSize);
  for (let at = 0; at < total; at += clusterSize) {
    stopIfAsked(options);
    const skipped = await zerosAt(source, at / SECTOR);
    if (skipped * SECTOR >= Math.min(clusterSize, total - at)) {
      options.onProgress?.(Math.min(at + clusterSize, total), total);
      continue;
    }
    const part = cluster.subarray(0, Math.min(clusterSize, total - at));
    await source.read(at / SECTOR, [part]);
    // The disk's last cluster may be cut off; what is packed is whole.
    cluster.fill(0, part.length);
    if (!isZero(part, 0, part.length)) {
      const packed = await codecs.deflateRaw(cluster);
      if (packed.length < clusterSize) await target.writeCompressed(at / SECTOR, packed);
      else await target.write(at / SECTOR, [part]);
    }
    options.onProgress?.(Math.min(at + clusterSize, total), total);
  }
  await target.flush();
}

/** Finds the first sector where two disks differ; past the shorter one's end, anything but zero does. */
export async function compareDisks(a: Disk, b: Disk, options: CopyOptions = {}): Promise<number | undefined> {
  const total = Math.max(a.sectors, b.sectors) * SECTOR;
  const buffers = [new Uint8Array(PIECE), new Uint8Array(PIECE)] as const;
  for (let at = 0; at < total; at += PIECE) {
    stopIfAsked(options);
    const [one, other] = buffers;
    for (const [disk, buffer] of [
      [a, one],
      [b, other],
    ] as const) {
      const there = Math.max(0, Math.min(PIECE, disk.sectors * SECTOR - at));
      if (there > 0) await disk.read(at / SECTOR, [buffer.subarray(0, there)]);
      buffer.fill(0, there);
    }
    for (let n = 0; n < PIECE; n++) if (one[n] !== other[n]) return Math.floor((at + n) / SECTOR);
    options.onProgress?.(Math.min(at + PIECE, total), total);
  }
  return undefined;
}

function checkRoom(source: Disk, target: Disk): void {
  if (target.sectors < source.sectors)
    throw new ParavirtError(
      "OUT_OF_RANGE",
      `a disk of ${source.sectors} sectors doesn't fit on one of ${target.sectors}`,
    );
}

function stopIfAsked(options: CopyOptions): void {
  if (options.signal?.aborted === true) throw new ParavirtError("UNAVAILABLE", "stopped before the end");
}

/** Sectors from `sector` on that a qcow2 image without backing file knows to be zeros. */
async function zerosAt(source: Disk, sector: number): Promise<number> {
  const disk = source as Partial<Qcow2Disk>;
  if (disk.status === undefined || disk.info === undefined) return 0;
  const { kind, count } = await disk.status(sector);
  return kind === "zero" || (kind === "absent" && disk.info.backingFile === undefined) ? count : 0;
}

/** How many bytes from `from` on are alike: all of their units zero, or none. */
function runLength(bytes: Uint8Array, from: number): number {
  const unitAt = (at: number): boolean => isZero(bytes, at, Math.min(UNIT, bytes.length - at));
  const first = unitAt(from);
  let at = from + UNIT;
  while (at < bytes.length && unitAt(at) === first) at += UNIT;
  return Math.min(at, bytes.length) - from;
}

/** Whether `length` bytes from `from` on, all within whole 32-bit words, are zero. */
function isZero(bytes: Uint8Array, from: number, length: number): boolean {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset + from, length / 4);
  for (let n = 0; n < words.length; n++) if (words[n] !== 0) return false;
  return true;
}
