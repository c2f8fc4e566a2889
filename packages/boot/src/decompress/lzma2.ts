import { corrupt, truncated } from "./errors.ts";
import { createLzmaState, decodeLzmaChunk, resetLzmaState, setLzmaProperties } from "./lzma-core.ts";

/**
 * Decodes an LZMA2 stream (as an xz block holds it) from `source[start..end)` into `out[outStart..outEnd)`,
 * which it must fill exactly. Returns the offset after the end mark. Throws `BAD_IMAGE`.
 */
export function decodeLzma2(
  source: Uint8Array,
  start: number,
  end: number,
  out: Uint8Array,
  outStart: number,
  outEnd: number,
): number {
  const s = createLzmaState();
  let at = start;
  let outAt = outStart;
  let dictionaryStart = outStart;
  let needDictionary = true;
  let needProperties = true;
  for (;;) {
    if (at >= end) throw truncated("xz", end);
    const control = source[at++]!;
    if (control === 0) break;
    // 1 and 0xe0 or more reset the dictionary; the first chunk must.
    if (control >= 0xe0 || control === 1) {
      needDictionary = false;
      dictionaryStart = outAt;
      needProperties = true;
    } else if (needDictionary) throw corrupt("xz", "the first chunk does not reset the dictionary");
    if (control >= 0x80) {
      if (at + 5 > end) throw truncated("xz", end);
      const unpacked = (((control & 0x1f) << 16) | (source[at]! << 8) | source[at + 1]!) + 1;
      const packed = ((source[at + 2]! << 8) | source[at + 3]!) + 1;
      at += 4;
      if (control >= 0xc0) {
        if (!setLzmaProperties(s, source[at++]!) || s.lc + s.lp > 4) throw corrupt("xz", "bad LZMA properties");
        needProperties = false;
      } else if (needProperties) throw corrupt("xz", "a chunk without LZMA properties");
      else if (control >= 0xa0) resetLzmaState(s);
      if (at + packed > end) throw truncated("xz", end);
      if (outAt + unpacked > outEnd) throw corrupt("xz", "a block is longer than its index says");
      const chunk = source.subarray(at, at + packed);
      const done = decodeLzmaChunk(s, chunk, 0, packed, out, outAt, outAt + unpacked, dictionaryStart, dictionaryStart);
      if (done.ended || done.sourceAt !== packed) throw corrupt("xz", "a chunk's size is not what its header says");
      at += packed;
      outAt += unpacked;
    } else {
      if (control > 2) throw corrupt("xz", `unknown chunk control byte 0x${control.toString(16)}`);
      if (at + 2 > end) throw truncated("xz", end);
      const size = ((source[at]! << 8) | source[at + 1]!) + 1;
      at += 2;
      if (at + size > end) throw truncated("xz", end);
      if (outAt + size > outEnd) throw corrupt("xz", "a block is longer than its index says");
      out.set(source.subarray(at, at + size), outAt);
      at += size;
      outAt += size;
    }
  }
  if (outAt !== outEnd) throw corrupt("xz", "a block is shorter than its index says");
  return at;
}
