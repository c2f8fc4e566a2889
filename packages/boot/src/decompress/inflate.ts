import { crc32 } from "./crc.ts";
import { corrupt, truncated } from "./errors.ts";
import { copyMatch, Growable } from "./growable.ts";

const LENGTH_BASE = [
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
];
const LENGTH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_BASE = [
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
  8193, 12289, 16385, 24577,
];
const DISTANCE_BITS = [
  0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
];
const CODE_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const MAX_CODE_LENGTH = 15;

/** A Huffman code as one table: 15 bits of input give `symbol << 4 | length`, 0 for none. */
function buildTable(lengths: Uint8Array, count: number, what: string): Uint16Array {
  const perLength = new Uint16Array(MAX_CODE_LENGTH + 1);
  let longest = 0;
  for (let i = 0; i < count; i++) {
    const length = lengths[i]!;
    perLength[length]!++;
    if (length > longest) longest = length;
  }
  perLength[0] = 0;
  let left = 1;
  for (let length = 1; length <= MAX_CODE_LENGTH; length++) {
    left = left * 2 - perLength[length]!;
    if (left < 0) throw corrupt("gzip", `over-subscribed ${what} code`);
  }
  // RFC 1951 3.2.7: an incomplete code is only right when it has a single symbol of one bit, or none.
  if (left > 0 && longest > 1) throw corrupt("gzip", `incomplete ${what} code`);
  const next = new Uint16Array(MAX_CODE_LENGTH + 2);
  for (let length = 1; length <= MAX_CODE_LENGTH; length++)
    next[length + 1] = (next[length]! + perLength[length]!) << 1;
  const size = Math.max(1, longest);
  const table = new Uint16Array((1 << size) + 1);
  table[1 << size] = size;
  for (let symbol = 0; symbol < count; symbol++) {
    const length = lengths[symbol]!;
    if (length === 0) continue;
    let code = next[length]!++;
    let reversed = 0;
    for (let bit = 0; bit < length; bit++) {
      reversed = (reversed << 1) | (code & 1);
      code >>= 1;
    }
    for (let at = reversed; at < 1 << size; at += 1 << length) table[at] = (symbol << 4) | length;
  }
  return table;
}

let fixedTables: readonly [Uint16Array, Uint16Array] | undefined;

function fixed(): readonly [Uint16Array, Uint16Array] {
  if (fixedTables === undefined) {
    const lengths = new Uint8Array(288).fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280, 288);
    fixedTables = [buildTable(lengths, 288, "literal"), buildTable(new Uint8Array(32).fill(5), 32, "distance")];
  }
  return fixedTables;
}

/**
 * Decodes one raw deflate stream (RFC 1951) from `source[start..]` to `out` from `outStart` on.
 * Returns where both ended. Throws `BAD_IMAGE`.
 */
export function inflate(
  source: Uint8Array,
  start: number,
  out: Growable,
  outStart: number,
): { readonly sourceAt: number; readonly outAt: number } {
  let at = start;
  let outAt = outStart;
  let bytes = out.bytes;
  let hold = 0;
  let bits = 0;
  const end = source.length;
  const need = (count: number): void => {
    while (bits < count) {
      if (at >= end) throw truncated("gzip", end);
      hold |= source[at++]! << bits;
      bits += 8;
    }
  };
  const take = (count: number): number => {
    need(count);
    const value = hold & ((1 << count) - 1);
    hold >>>= count;
    bits -= count;
    return value;
  };
  for (;;) {
    const last = take(1);
    const type = take(2);
    if (type === 0) {
      at -= bits >> 3;
      hold = 0;
      bits = 0;
      if (at + 4 > end) throw truncated("gzip", end);
      const length = source[at]! | (source[at + 1]! << 8);
      if ((source[at + 2]! | (source[at + 3]! << 8)) !== (length ^ 0xffff))
        throw corrupt("gzip", "stored block length");
      at += 4;
      if (at + length > end) throw truncated("gzip", end);
      bytes = out.reserve(outAt + length);
      bytes.set(source.subarray(at, at + length), outAt);
      at += length;
      outAt += length;
    } else if (type === 3) {
      throw corrupt("gzip", "block type 3");
    } else {
      let literals: Uint16Array;
      let distances: Uint16Array;
      if (type === 1) [literals, distances] = fixed();
      else {
        const literalCount = take(5) + 257;
        const distanceCount = take(5) + 1;
        const codeCount = take(4) + 4;
        if (literalCount > 286 || distanceCount > 30) throw corrupt("gzip", "too many codes");
        const lengths = new Uint8Array(320);
        for (let i = 0; i < codeCount; i++) lengths[CODE_ORDER[i]!] = take(3);
        const codes = buildTable(lengths, 19, "length");
        const codesMask = (1 << codes[codes.length - 1]!) - 1;
        lengths.fill(0);
        const total = literalCount + distanceCount;
        for (let i = 0; i < total; ) {
          while (bits < 7 && at < end) {
            hold |= source[at++]! << bits;
            bits += 8;
          }
          const entry = codes[hold & codesMask]!;
          const length = entry & 15;
          if (length === 0) throw corrupt("gzip", "length code");
          if (length > bits) throw truncated("gzip", end);
          hold >>>= length;
          bits -= length;
          const symbol = entry >> 4;
          if (symbol < 16) {
            lengths[i++] = symbol;
            continue;
          }
          if (symbol === 16 && i === 0) throw corrupt("gzip", "a repeat with nothing before it");
          const value = symbol === 16 ? lengths[i - 1]! : 0;
          const repeat = symbol === 16 ? 3 + take(2) : symbol === 17 ? 3 + take(3) : 11 + take(7);
          if (i + repeat > total) throw corrupt("gzip", "a repeat past the last code");
          lengths.fill(value, i, i + repeat);
          i += repeat;
        }
        literals = buildTable(lengths, literalCount, "literal");
        distances = buildTable(lengths.subarray(literalCount, total), distanceCount, "distance");
      }
      const literalMask = literals.length - 2;
      const distanceMask = distances.length - 2;
      for (;;) {
        while (bits < 15 && at < end) {
          hold |= source[at++]! << bits;
          bits += 8;
        }
        let entry = literals[hold & literalMask]!;
        let length = entry & 15;
        if (length === 0) throw corrupt("gzip", "literal code");
        if (length > bits) throw truncated("gzip", end);
        hold >>>= length;
        bits -= length;
        const symbol = entry >> 4;
        if (symbol < 256) {
          if (outAt >= bytes.length) bytes = out.reserve(outAt + 1);
          bytes[outAt++] = symbol;
          continue;
        }
        if (symbol === 256) break;
        if (symbol > 285) throw corrupt("gzip", "length code");
        const run = LENGTH_BASE[symbol - 257]! + take(LENGTH_BITS[symbol - 257]!);
        while (bits < 15 && at < end) {
          hold |= source[at++]! << bits;
          bits += 8;
        }
        entry = distances[hold & distanceMask]!;
        length = entry & 15;
        if (length === 0) throw corrupt("gzip", "distance code");
        if (length > bits) throw truncated("gzip", end);
        hold >>>= length;
        bits -= length;
        const code = entry >> 4;
        if (code > 29) throw corrupt("gzip", "distance code");
        const distance = DISTANCE_BASE[code]! + take(DISTANCE_BITS[code]!);
        if (distance > outAt - outStart) throw corrupt("gzip", "a distance before the start of the data");
        if (outAt + run > bytes.length) bytes = out.reserve(outAt + run);
        copyMatch(bytes, outAt, distance, run);
        outAt += run;
      }
    }
    if (last) break;
  }
  at -= bits >> 3;
  return { sourceAt: at, outAt };
}

/** Unpacks all members of a gzip file (RFC 1952), checks verified; zero bytes may follow. Throws `BAD_IMAGE`. */
export function gunzip(source: Uint8Array, limit: number): Uint8Array {
  const u32 = (at: number): number =>
    (source[at]! | (source[at + 1]! << 8) | (source[at + 2]! << 16) | (source[at + 3]! << 24)) >>> 0;
  if (source.length < 18) throw truncated("gzip", source.length);
  // The last member's size: right for files of one member, and a guess that only costs a copy otherwise.
  const guess = Math.min(u32(source.length - 4), source.length * 1032, limit);
  const out = new Growable("gzip", guess, limit);
  let at = 0;
  let outAt = 0;
  do {
    if (at + 18 > source.length) throw truncated("gzip", source.length);
    if (source[at] !== 0x1f || source[at + 1] !== 0x8b) throw corrupt("gzip", "no gzip magic");
    if (source[at + 2] !== 8) throw corrupt("gzip", `compression method ${source[at + 2]}`);
    const flags = source[at + 3]!;
    if (flags & 0xe0) throw corrupt("gzip", "reserved flags");
    at += 10;
    if (flags & 4) at += 2 + (source[at]! | (source[at + 1]! << 8));
    for (const flag of [8, 16]) {
      if ((flags & flag) === 0) continue;
      const zero = source.indexOf(0, at);
      if (zero < 0) throw truncated("gzip", source.length);
      at = zero + 1;
    }
    if (flags & 2) at += 2;
    const done = inflate(source, at, out, outAt);
    at = done.sourceAt;
    if (at + 8 > source.length) throw truncated("gzip", source.length);
    if (crc32(out.bytes, outAt, done.outAt) !== u32(at)) throw corrupt("gzip", "CRC-32");
    if ((done.outAt - outAt) >>> 0 !== u32(at + 4)) throw corrupt("gzip", "size");
    outAt = done.outAt;
    at += 8;
    while (at < source.length && source[at] === 0) at++;
  } while (at < source.length);
  return outAt === out.bytes.length ? out.bytes : out.bytes.slice(0, outAt);
}
