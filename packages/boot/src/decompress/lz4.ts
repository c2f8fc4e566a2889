import { corrupt, truncated } from "./errors.ts";
import { copyMatch, Growable } from "./growable.ts";

/** A legacy frame's blocks unpack to this much, but for the last one. */
const LEGACY_BLOCK = 8 * 1024 * 1024;
const LEGACY_MAGIC = 0x184c2102;

/** Unpacks one LZ4 block to `out` from `outAt` on; returns the new end. Throws `BAD_IMAGE`. */
function decodeBlock(source: Uint8Array, start: number, end: number, out: Growable, outStart: number): number {
  const limit = outStart + LEGACY_BLOCK;
  let bytes = out.bytes;
  let at = start;
  let outAt = outStart;
  while (at < end) {
    const token = source[at++]!;
    let literals = token >> 4;
    if (literals === 15) {
      let more: number;
      do {
        if (at >= end) throw corrupt("lz4", "a literal length runs out of its block");
        more = source[at++]!;
        literals += more;
      } while (more === 255);
    }
    if (at + literals > end) throw corrupt("lz4", "literals run out of their block");
    if (outAt + literals > limit) throw corrupt("lz4", `a block of more than ${LEGACY_BLOCK} bytes`);
    if (outAt + literals > bytes.length) bytes = out.reserve(outAt + literals);
    if (literals > 32) bytes.set(source.subarray(at, at + literals), outAt);
    else for (let i = 0; i < literals; i++) bytes[outAt + i] = source[at + i]!;
    at += literals;
    outAt += literals;
    if (at === end) break;
    if (at + 2 > end) throw corrupt("lz4", "an offset runs out of its block");
    const distance = source[at]! | (source[at + 1]! << 8);
    at += 2;
    let length = (token & 15) + 4;
    if (length === 19) {
      let more: number;
      do {
        if (at >= end) throw corrupt("lz4", "a match length runs out of its block");
        more = source[at++]!;
        length += more;
      } while (more === 255);
    }
    if (distance === 0 || distance > outAt - outStart) throw corrupt("lz4", "a distance before the start of the block");
    if (outAt + length > limit) throw corrupt("lz4", `a block of more than ${LEGACY_BLOCK} bytes`);
    if (outAt + length > bytes.length) bytes = out.reserve(outAt + length);
    copyMatch(bytes, outAt, distance, length);
    outAt += length;
  }
  return outAt;
}

/**
 * Unpacks legacy LZ4 frames (`lz4 -l`, what Linux packs kernels and initramfs with). The format has no checksum and no
 * end mark: the caller compares the size. Throws `BAD_IMAGE`.
 */
export function unlz4(source: Uint8Array, limit: number, expected = 0): Uint8Array {
  const out = new Growable("lz4", Math.min(expected || source.length * 3, limit), limit);
  const u32 = (at: number): number =>
    (source[at]! | (source[at + 1]! << 8) | (source[at + 2]! << 16) | (source[at + 3]! << 24)) >>> 0;
  if (source.length < 4 || u32(0) !== LEGACY_MAGIC) throw corrupt("lz4", "no legacy frame magic");
  let at = 4;
  let outAt = 0;
  while (at < source.length) {
    if (at + 4 > source.length) throw truncated("lz4", source.length);
    const size = u32(at);
    at += 4;
    if (size === LEGACY_MAGIC) continue;
    if (at + size > source.length) throw truncated("lz4", source.length);
    outAt = decodeBlock(source, at, at + size, out, outAt);
    at += size;
  }
  return outAt === out.bytes.length ? out.bytes : out.bytes.slice(0, outAt);
}
