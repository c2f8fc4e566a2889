import { corrupt } from "./errors.ts";

/** An FSE decoding table: what each state means and how it goes on. */
export interface FseTable {
  /** log2 of the number of states. */
  readonly log: number;
  readonly symbol: Uint8Array;
  readonly bits: Uint8Array;
  readonly next: Uint16Array;
}

/** Index of the highest set bit; `value` is not 0. */
export const highBit = (value: number): number => 31 - Math.clz32(value);

/** Reads four bytes; the buffer has that many after every place that matters. */
export function load32(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/**
 * `count` (0 to 24) bits of a backward stream that starts at byte `start`, from bit `at` up; bits before the stream's
 * start are zero (RFC 8878 4.1).
 */
export function backwardBits(bytes: Uint8Array, start: number, at: number, count: number): number {
  if (at >= 0) return (load32(bytes, start + (at >> 3)) >>> (at & 7)) & ((1 << count) - 1);
  if (at + count <= 0) return 0;
  return (load32(bytes, start) & ((1 << (at + count)) - 1)) << -at;
}

/** Where a backward stream begins to be read: the bit below its highest set bit. */
export function backwardStart(bytes: Uint8Array, start: number, end: number): number {
  const last = end > start ? bytes[end - 1]! : 0;
  if (last === 0) throw corrupt("zstd", "a bit stream without its end mark");
  return (end - 1 - start) * 8 + highBit(last);
}

/** Builds an FSE table from normalised counts, -1 standing for "less than one" (RFC 8878 4.1.1). */
export function buildFse(counts: readonly number[], log: number): FseTable {
  const size = 1 << log;
  const symbol = new Uint8Array(size);
  const bits = new Uint8Array(size);
  const next = new Uint16Array(size);
  const nextState = new Uint16Array(counts.length);
  let high = size - 1;
  for (let s = 0; s < counts.length; s++) {
    if (counts[s] === -1) {
      symbol[high--] = s;
      nextState[s] = 1;
    } else nextState[s] = counts[s]!;
  }
  const step = (size >> 1) + (size >> 3) + 3;
  let at = 0;
  for (let s = 0; s < counts.length; s++) {
    for (let i = 0; i < counts[s]!; i++) {
      symbol[at] = s;
      do at = (at + step) & (size - 1);
      while (at > high);
    }
  }
  if (at !== 0) throw corrupt("zstd", "an FSE table that does not come out even");
  for (let state = 0; state < size; state++) {
    const x = nextState[symbol[state]!]!++;
    bits[state] = log - highBit(x);
    next[state] = (x << bits[state]!) - size;
  }
  return { log, symbol, bits, next };
}

/** An FSE table of one symbol. */
export function rleFse(value: number): FseTable {
  return { log: 0, symbol: Uint8Array.of(value), bits: new Uint8Array(1), next: new Uint16Array(1) };
}

/** Reads an FSE table's description (RFC 8878 4.1.1). Returns the table and the offset after it. */
export function readFse(
  bytes: Uint8Array,
  start: number,
  end: number,
  maxSymbol: number,
  maxLog: number,
): { readonly table: FseTable; readonly end: number } {
  let at = start * 8;
  const limit = end * 8;
  const take = (count: number): number => {
    if (at + count > limit) throw corrupt("zstd", "an FSE description runs out of its block");
    const value = (load32(bytes, at >> 3) >>> (at & 7)) & ((1 << count) - 1);
    at += count;
    return value;
  };
  const log = take(4) + 5;
  if (log > maxLog) throw corrupt("zstd", `FSE accuracy ${log}, over ${maxLog}`);
  const counts: number[] = [];
  let remaining = 1 << log;
  while (remaining > 0) {
    const width = highBit(remaining + 1) + 1;
    // The last value may be one bit shorter than what is left in the stream would allow to look ahead.
    let value = (load32(bytes, at >> 3) >>> (at & 7)) & ((1 << width) - 1);
    const lowMask = (1 << (width - 1)) - 1;
    const threshold = (1 << width) - 1 - (remaining + 1);
    if ((value & lowMask) < threshold) {
      value &= lowMask;
      at += width - 1;
    } else {
      if (value > lowMask) value -= threshold;
      at += width;
    }
    if (at > limit) throw corrupt("zstd", "an FSE description runs out of its block");
    const count = value - 1;
    remaining -= Math.abs(count);
    counts.push(count);
    if (count === 0) {
      let repeat: number;
      do {
        repeat = take(2);
        for (let i = 0; i < repeat; i++) counts.push(0);
      } while (repeat === 3 && counts.length <= maxSymbol + 1);
    }
    if (counts.length > maxSymbol + 1) throw corrupt("zstd", `an FSE table of more than ${maxSymbol + 1} symbols`);
  }
  if (remaining < 0) throw corrupt("zstd", "an FSE table that does not come out even");
  return { table: buildFse(counts, log), end: (at + 7) >> 3 };
}

/** A Huffman decoding table: `symbol << 4 | bits` for every `log` bits. */
export interface HuffmanTable {
  readonly log: number;
  readonly entries: Uint16Array;
}

const MAX_HUFFMAN_LOG = 11;

/** Reads a Huffman tree description (RFC 8878 4.2.1). Returns the table and the offset after it. */
export function readHuffman(
  bytes: Uint8Array,
  start: number,
  end: number,
): { readonly table: HuffmanTable; readonly end: number } {
  if (start >= end) throw corrupt("zstd", "a missing Huffman tree");
  const header = bytes[start]!;
  const weights = new Uint8Array(256);
  let count = 0;
  let after: number;
  if (header >= 128) {
    count = header - 127;
    after = start + 1 + ((count + 1) >> 1);
    if (after > end) throw corrupt("zstd", "a Huffman tree runs out of its block");
    for (let i = 0; i < count; i++) {
      const pair = bytes[start + 1 + (i >> 1)]!;
      weights[i] = i & 1 ? pair & 15 : pair >> 4;
    }
  } else {
    after = start + 1 + header;
    if (after > end) throw corrupt("zstd", "a Huffman tree runs out of its block");
    const fse = readFse(bytes, start + 1, after, 12, 6);
    const { table } = fse;
    let at = backwardStart(bytes, fse.end, after);
    const states = [0, 0];
    for (let i = 0; i < 2; i++) {
      at -= table.log;
      states[i] = backwardBits(bytes, fse.end, at, table.log);
    }
    // Two states take turns until the bits are used up; then the other one still holds a weight.
    for (let turn = 0; ; turn ^= 1) {
      if (count > 253) throw corrupt("zstd", "a Huffman tree of more than 255 weights");
      const state = states[turn]!;
      weights[count++] = table.symbol[state]!;
      at -= table.bits[state]!;
      states[turn] = table.next[state]! + backwardBits(bytes, fse.end, at, table.bits[state]!);
      if (at < 0) {
        weights[count++] = table.symbol[states[turn ^ 1]!]!;
        break;
      }
    }
  }
  return { table: buildHuffman(weights, count), end: after };
}

function buildHuffman(weights: Uint8Array, count: number): HuffmanTable {
  let sum = 0;
  for (let i = 0; i < count; i++) {
    if (weights[i]! > MAX_HUFFMAN_LOG) throw corrupt("zstd", `a Huffman weight of ${weights[i]}`);
    if (weights[i]! > 0) sum += 1 << (weights[i]! - 1);
  }
  if (sum === 0) throw corrupt("zstd", "an empty Huffman tree");
  const log = highBit(sum) + 1;
  const left = (1 << log) - sum;
  // The last weight isn't written: it makes the sum a power of two.
  if (log > MAX_HUFFMAN_LOG || (left & (left - 1)) !== 0)
    throw corrupt("zstd", "a Huffman tree that does not come out even");
  weights[count] = highBit(left) + 1;
  const entries = new Uint16Array(1 << log);
  let at = 0;
  for (let weight = 1; weight <= log; weight++) {
    const span = 1 << (weight - 1);
    const bits = log + 1 - weight;
    for (let s = 0; s <= count; s++) {
      if (weights[s] !== weight) continue;
      entries.fill((s << 4) | bits, at, at + span);
      at += span;
    }
  }
  return { log, entries };
}

/** Decodes one Huffman stream of exactly `count` symbols into `out[outAt..]`. Throws `BAD_IMAGE`. */
export function decodeHuffman(
  bytes: Uint8Array,
  start: number,
  end: number,
  table: HuffmanTable,
  out: Uint8Array,
  outStart: number,
  count: number,
): void {
  const { log, entries } = table;
  const mask = (1 << log) - 1;
  let at = backwardStart(bytes, start, end);
  let outAt = outStart;
  const outEnd = outStart + count;
  // Two symbols of at most 11 bits need 22, which one load of 25 gives.
  while (at >= 24 && outAt + 2 <= outEnd) {
    const from = at - 24;
    const word = (load32(bytes, start + (from >> 3)) >>> (from & 7)) & 0xffffff;
    const first = entries[(word >>> (24 - log)) & mask]!;
    const used = first & 15;
    const second = entries[(word >>> (24 - log - used)) & mask]!;
    out[outAt] = first >> 4;
    out[outAt + 1] = second >> 4;
    outAt += 2;
    at -= used + (second & 15);
  }
  while (outAt < outEnd) {
    const entry = entries[backwardBits(bytes, start, at - log, log)]!;
    out[outAt++] = entry >> 4;
    at -= entry & 15;
    if (at < 0) throw corrupt("zstd", "a literal stream ends early");
  }
  if (at !== 0) throw corrupt("zstd", "a literal stream has bits left");
}
