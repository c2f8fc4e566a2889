import { checkOutputSize, corrupt, truncated } from "./errors.ts";
import { Growable } from "./growable.ts";
import { createLzmaState, decodeLzmaChunk, setLzmaProperties } from "./lzma-core.ts";

const HEADER = 13;

/**
 * Unpacks an LZMA file (`xz --format=lzma`): header, one run, with a size or an end mark. The format has no checksum.
 * `expected` bytes, when not 0, say how much a file of unknown size gives. Throws `BAD_IMAGE`.
 */
export function unlzma(source: Uint8Array, limit: number, expected = 0): Uint8Array {
  if (source.length < HEADER + 5) throw truncated("lzma", source.length);
  const state = createLzmaState();
  if (!setLzmaProperties(state, source[0]!)) throw corrupt("lzma", `properties byte ${source[0]}`);
  const word = (at: number): number =>
    (source[at]! | (source[at + 1]! << 8) | (source[at + 2]! << 16) | (source[at + 3]! << 24)) >>> 0;
  const known = word(5) !== 0xffffffff || word(9) !== 0xffffffff;
  if (known) {
    const size = word(5) + word(9) * 2 ** 32;
    checkOutputSize("lzma", size, limit);
    const out = new Uint8Array(size);
    const done = decodeLzmaChunk(state, source, HEADER, source.length, out, 0, size, 0, 0);
    if (done.sourceAt > source.length) throw truncated("lzma", source.length);
    if (done.outAt !== size) throw corrupt("lzma", `it ends after ${done.outAt} of ${size} bytes`);
    return out;
  }
  // Without a size the end mark is needed, and where the output buffer ends must not look like the data's end.
  const out = new Growable("lzma", Math.min(expected > 0 ? expected + 1 : source.length * 8, limit + 1), limit + 1);
  for (;;) {
    const done = decodeLzmaChunk(state, source, HEADER, source.length, out.bytes, 0, out.bytes.length, 0, 0, true);
    if (done.sourceAt > source.length) throw truncated("lzma", source.length);
    if (done.ended) {
      checkOutputSize("lzma", done.outAt, limit);
      return out.bytes.slice(0, done.outAt);
    }
    checkOutputSize("lzma", done.outAt, limit);
    // The run starts again with more room: a few times at most, since the room doubles.
    out.reserve(out.bytes.length + 1);
    setLzmaProperties(state, source[0]!);
  }
}
