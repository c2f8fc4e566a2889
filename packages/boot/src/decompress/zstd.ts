import { ParavirtError } from "@paravirt/core";
import { checkOutputSize, corrupt, truncated } from "./errors.ts";
import { copyMatch, Growable } from "./growable.ts";
import { xxhash64 } from "./xxhash64.ts";
import {
  backwardBits,
  backwardStart,
  buildFse,
  decodeHuffman,
  type FseTable,
  type HuffmanTable,
  load32,
  readFse,
  readHuffman,
  rleFse,
} from "./zstd-entropy.ts";

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
const MAX_BLOCK = 128 * 1024;
/** Windows over this are refused, as the zstd tool does without --long. Linux kernels use up to 128 MiB. */
const MAX_WINDOW = 2 ** 31;

// RFC 8878 3.1.1.3.2.1.1: base and extra bits of length codes, the first 16 and 32 being plain.
const LITERAL_BASE = Uint32Array.of(
  ...Array.from({ length: 16 }, (_, i) => i),
  ...[16, 18, 20, 22, 24, 28, 32, 40, 48, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536],
);
const LITERAL_BITS = Uint8Array.of(
  ...new Array(16).fill(0),
  1,
  1,
  1,
  1,
  2,
  2,
  3,
  3,
  4,
  6,
  7,
  8,
  9,
  10,
  11,
  12,
  13,
  14,
  15,
  16,
);
const MATCH_BASE = Uint32Array.of(
  ...Array.from({ length: 32 }, (_, i) => i + 3),
  ...[35, 37, 39, 41, 43, 47, 51, 59, 67, 83, 99, 131, 259, 515, 1027, 2051, 4099, 8195, 16387, 32771, 65539],
);
const MATCH_BITS = Uint8Array.of(
  ...new Array(32).fill(0),
  ...[1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
);
const DEFAULT_LITERAL = [
  4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1,
];
const DEFAULT_MATCH = [1, 4, 3, 2, 2, 2, 2, 2, 2, ...new Array(37).fill(1), ...new Array(7).fill(-1)] as number[];
const DEFAULT_OFFSET = [1, 1, 1, 1, 1, 1, 2, 2, 2, ...new Array(15).fill(1), ...new Array(5).fill(-1)] as number[];

interface Kind {
  readonly maxSymbol: number;
  readonly maxLog: number;
  readonly defaults: FseTable;
}
let kinds: readonly [Kind, Kind, Kind] | undefined;

/** Literal lengths, offsets, match lengths: the order of their tables in a block. */
function tableKinds(): readonly [Kind, Kind, Kind] {
  kinds ??= [
    { maxSymbol: 35, maxLog: 9, defaults: buildFse(DEFAULT_LITERAL, 6) },
    { maxSymbol: 31, maxLog: 8, defaults: buildFse(DEFAULT_OFFSET, 5) },
    { maxSymbol: 52, maxLog: 9, defaults: buildFse(DEFAULT_MATCH, 6) },
  ];
  return kinds;
}

/** What one frame's blocks hand on to each other. */
interface FrameState {
  huffman: HuffmanTable | undefined;
  readonly tables: (FseTable | undefined)[];
  readonly repeats: Uint32Array;
  readonly literals: Uint8Array;
  /** Where the frame's output starts. */
  readonly start: number;
}

/**
 * Unpacks zstd frames (RFC 8878), content checksums verified, skippable frames skipped. No dictionaries.
 * `expected` bytes, when not 0, size the output of a frame that doesn't tell. Throws `BAD_IMAGE` or `UNSUPPORTED`.
 */
export function unzstd(compressed: Uint8Array, limit: number, expected = 0): Uint8Array {
  const length = compressed.length;
  // Bit readers load four bytes at a time, so some follow the last.
  const source = new Uint8Array(length + 8);
  source.set(compressed);
  const out = new Growable("zstd", Math.min(expected, limit), limit);
  let at = 0;
  let outAt = 0;
  while (at < length) {
    if (at + 8 > length) throw truncated("zstd", length);
    const magic = load32(source, at) >>> 0;
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE) {
      at += 8 + (load32(source, at + 4) >>> 0);
      if (at > length) throw truncated("zstd", length);
      continue;
    }
    if (magic !== MAGIC) throw corrupt("zstd", `no frame magic at byte ${at}`);
    const done = decodeFrame(source, at + 4, length, out, outAt, limit);
    at = done.sourceAt;
    outAt = done.outAt;
  }
  return outAt === out.bytes.length ? out.bytes : out.bytes.slice(0, outAt);
}

function decodeFrame(
  source: Uint8Array,
  start: number,
  end: number,
  out: Growable,
  outStart: number,
  limit: number,
): { readonly sourceAt: number; readonly outAt: number } {
  let at = start;
  const descriptor = source[at++]!;
  if (descriptor & 8) throw corrupt("zstd", "reserved frame header bit");
  const single = (descriptor & 0x20) !== 0;
  if (!single) {
    const window = source[at++]!;
    const base = 2 ** (10 + (window >> 3));
    const size = base + (base / 8) * (window & 7);
    if (size > MAX_WINDOW) throw new ParavirtError("UNSUPPORTED", `a zstd window of ${size} bytes, over ${MAX_WINDOW}`);
  }
  const dictionary = [0, 1, 2, 4][descriptor & 3]!;
  for (let i = 0; i < dictionary; i++) {
    if (source[at++] !== 0) throw new ParavirtError("UNSUPPORTED", "a zstd frame that needs a dictionary");
  }
  const sizeBytes = [single ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  let known: number | undefined;
  if (sizeBytes > 0) {
    known = sizeBytes === 2 ? 256 : 0;
    for (let i = 0; i < sizeBytes; i++) known += source[at + i]! * 2 ** (8 * i);
    at += sizeBytes;
    checkOutputSize("zstd", outStart + known, limit);
    out.reserve(outStart + known);
  }
  const state: FrameState = {
    huffman: undefined,
    tables: [undefined, undefined, undefined],
    repeats: Uint32Array.of(1, 4, 8),
    literals: new Uint8Array(MAX_BLOCK),
    start: outStart,
  };
  let outAt = outStart;
  for (;;) {
    if (at + 3 > end) throw truncated("zstd", end);
    const header = source[at]! | (source[at + 1]! << 8) | (source[at + 2]! << 16);
    at += 3;
    const size = header >> 3;
    const type = (header >> 1) & 3;
    if (type === 3 || size > MAX_BLOCK) throw corrupt("zstd", `a block of type ${type} and ${size} bytes`);
    if (at + (type === 1 ? 1 : size) > end) throw truncated("zstd", end);
    if (type === 0) {
      out.reserve(outAt + size).set(source.subarray(at, at + size), outAt);
      at += size;
      outAt += size;
    } else if (type === 1) {
      out.reserve(outAt + size).fill(source[at]!, outAt, outAt + size);
      at++;
      outAt += size;
    } else {
      outAt = decodeBlock(source, at, at + size, out, outAt, state);
      at += size;
    }
    if (header & 1) break;
  }
  if (known !== undefined && outAt - outStart !== known) {
    throw corrupt("zstd", `a frame of ${outAt - outStart} bytes says that it has ${known}`);
  }
  if (descriptor & 4) {
    if (at + 4 > end) throw truncated("zstd", end);
    if (xxhash64(out.bytes, outStart, outAt)[0] !== load32(source, at) >>> 0) throw corrupt("zstd", "checksum");
    at += 4;
  }
  return { sourceAt: at, outAt };
}

/** Decodes a literals section; returns its end, and the literals' number in `count`. */
function decodeLiterals(
  source: Uint8Array,
  start: number,
  end: number,
  state: FrameState,
): { at: number; count: number } {
  if (start >= end) throw corrupt("zstd", "an empty block");
  const first = source[start]!;
  const type = first & 3;
  const format = (first >> 2) & 3;
  const { literals } = state;
  let at: number;
  let count: number;
  if (type < 2) {
    // Raw, or one byte repeated.
    const word = load32(source, start);
    if ((format & 1) === 0) [at, count] = [start + 1, first >> 3];
    else if (format === 1) [at, count] = [start + 2, (word & 0xffff) >> 4];
    else [at, count] = [start + 3, (word & 0xffffff) >> 4];
    if (count > MAX_BLOCK) throw corrupt("zstd", `${count} literals in a block`);
    if (at + (type === 0 ? count : 1) > end) throw corrupt("zstd", "literals run out of their block");
    if (type === 1) {
      literals.fill(source[at]!, 0, count);
      return { at: at + 1, count };
    }
    literals.set(source.subarray(at, at + count));
    return { at: at + count, count };
  }
  const low = load32(source, start) >>> 4;
  let packed: number;
  if (format < 2) [at, count, packed] = [start + 3, low & 0x3ff, (low >> 10) & 0x3ff];
  else if (format === 2) [at, count, packed] = [start + 4, low & 0x3fff, (low >> 14) & 0x3fff];
  else [at, count, packed] = [start + 5, low & 0x3ffff, ((low >>> 18) | (source[start + 4]! << 10)) & 0x3ffff];
  if (count > MAX_BLOCK) throw corrupt("zstd", `${count} literals in a block`);
  const sectionEnd = at + packed;
  if (sectionEnd > end) throw corrupt("zstd", "literals run out of their block");
  if (type === 2) {
    const tree = readHuffman(source, at, sectionEnd);
    state.huffman = tree.table;
    at = tree.end;
  }
  const table = state.huffman;
  if (table === undefined) throw corrupt("zstd", "literals that reuse a Huffman tree before there is one");
  if (format === 0) {
    decodeHuffman(source, at, sectionEnd, table, literals, 0, count);
    return { at: sectionEnd, count };
  }
  if (at + 6 > sectionEnd) throw corrupt("zstd", "a missing jump table");
  const part = (count + 3) >> 2;
  const sizes = [load32(source, at) & 0xffff, load32(source, at) >>> 16, load32(source, at + 4) & 0xffff];
  at += 6;
  for (let i = 0; i < 4; i++) {
    const streamEnd = i < 3 ? at + sizes[i]! : sectionEnd;
    const amount = i < 3 ? part : count - 3 * part;
    if (streamEnd > sectionEnd || amount < 0) throw corrupt("zstd", "literals run out of their block");
    decodeHuffman(source, at, streamEnd, table, literals, i * part, amount);
    at = streamEnd;
  }
  return { at: sectionEnd, count };
}

function decodeBlock(
  source: Uint8Array,
  start: number,
  end: number,
  out: Growable,
  outStart: number,
  state: FrameState,
): number {
  const section = decodeLiterals(source, start, end, state);
  const { literals } = state;
  let at = section.at;
  if (at >= end) throw corrupt("zstd", "a missing sequences section");
  let sequences = source[at++]!;
  if (sequences >= 128) {
    sequences = sequences === 255 ? (load32(source, at) & 0xffff) + 0x7f00 : ((sequences - 128) << 8) + source[at]!;
    at += sequences >= 0x7f00 ? 2 : 1;
  }
  const blockLimit = outStart + MAX_BLOCK;
  let literalAt = 0;
  let outAt = outStart;
  if (sequences > 0) {
    if (at >= end) throw corrupt("zstd", "a missing sequences section");
    const modes = source[at++]!;
    if (modes & 3) throw corrupt("zstd", "reserved compression mode");
    for (let i = 0; i < 3; i++) {
      const kind = tableKinds()[i]!;
      const mode = (modes >> (6 - 2 * i)) & 3;
      if (mode === 0) state.tables[i] = kind.defaults;
      else if (mode === 1) {
        const value = source[at++]!;
        if (at > end || value > kind.maxSymbol) throw corrupt("zstd", "a repeated code out of range");
        state.tables[i] = rleFse(value);
      } else if (mode === 2) {
        const read = readFse(source, at, end, kind.maxSymbol, kind.maxLog);
        state.tables[i] = read.table;
        at = read.end;
      } else if (state.tables[i] === undefined) throw corrupt("zstd", "a table reused before there is one");
    }
    const [ll, of, ml] = state.tables as [FseTable, FseTable, FseTable];
    const { repeats } = state;
    let bytes = out.bytes;
    let bit = backwardStart(source, at, end);
    bit -= ll.log;
    let llState = backwardBits(source, at, bit, ll.log);
    bit -= of.log;
    let ofState = backwardBits(source, at, bit, of.log);
    bit -= ml.log;
    let mlState = backwardBits(source, at, bit, ml.log);
    for (let i = sequences; i > 0; i--) {
      // A single check a round: bits before the stream's start read as zeros and are caught here.
      if (bit < 0) throw corrupt("zstd", "a sequence stream ends early");
      const ofCode = of.symbol[ofState]!;
      const llCode = ll.symbol[llState]!;
      const mlCode = ml.symbol[mlState]!;
      let value: number;
      if (ofCode > 24) {
        const upper = ofCode - 24;
        bit -= upper;
        value = backwardBits(source, at, bit, upper) * 0x1000000;
        bit -= 24;
        value += backwardBits(source, at, bit, 24) + 2 ** ofCode;
      } else {
        bit -= ofCode;
        value = (1 << ofCode) + backwardBits(source, at, bit, ofCode);
      }
      let bits = MATCH_BITS[mlCode]!;
      bit -= bits;
      const match = MATCH_BASE[mlCode]! + backwardBits(source, at, bit, bits);
      bits = LITERAL_BITS[llCode]!;
      bit -= bits;
      const run = LITERAL_BASE[llCode]! + backwardBits(source, at, bit, bits);
      let offset: number;
      if (value > 3) {
        offset = value - 3;
        repeats[2] = repeats[1]!;
        repeats[1] = repeats[0]!;
        repeats[0] = offset;
      } else {
        const index = value - (run === 0 ? 0 : 1);
        offset = index === 3 ? repeats[0]! - 1 : repeats[index]!;
        if (index > 1) repeats[2] = repeats[1]!;
        if (index > 0) {
          repeats[1] = repeats[0]!;
          repeats[0] = offset;
        }
      }
      if (i > 1) {
        bits = ll.bits[llState]!;
        bit -= bits;
        llState = ll.next[llState]! + backwardBits(source, at, bit, bits);
        bits = ml.bits[mlState]!;
        bit -= bits;
        mlState = ml.next[mlState]! + backwardBits(source, at, bit, bits);
        bits = of.bits[ofState]!;
        bit -= bits;
        ofState = of.next[ofState]! + backwardBits(source, at, bit, bits);
      }
      const next = outAt + run + match;
      if (literalAt + run > section.count) throw corrupt("zstd", "a sequence with more literals than there are");
      if (next > blockLimit) throw corrupt("zstd", `a block of more than ${MAX_BLOCK} bytes`);
      if (next > bytes.length) bytes = out.reserve(next);
      if (run > 32) bytes.set(literals.subarray(literalAt, literalAt + run), outAt);
      else for (let j = 0; j < run; j++) bytes[outAt + j] = literals[literalAt + j]!;
      literalAt += run;
      outAt += run;
      if (offset === 0 || offset > outAt - state.start)
        throw corrupt("zstd", "a distance before the start of the data");
      copyMatch(bytes, outAt, offset, match);
      outAt = next;
    }
    if (bit !== 0) throw corrupt("zstd", "a sequence stream has bits left");
  } else if (at !== end) throw corrupt("zstd", "bytes after the literals of a block without sequences");
  const rest = section.count - literalAt;
  if (outAt + rest > blockLimit) throw corrupt("zstd", `a block of more than ${MAX_BLOCK} bytes`);
  out.reserve(outAt + rest).set(literals.subarray(literalAt, section.count), outAt);
  return outAt + rest;
}
