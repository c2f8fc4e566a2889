import { corrupt, truncated } from "./errors.ts";
import { Growable } from "./growable.ts";

const MAX_CODE_LENGTH = 20;
const GROUP = 50;

/** bzip2's CRC-32 is the usual polynomial, most significant bit first. */
let crcTable: Int32Array | undefined;
function blockCrc(bytes: Uint8Array, start: number, end: number): number {
  if (crcTable === undefined) {
    crcTable = new Int32Array(256);
    for (let i = 0; i < 256; i++) {
      let crc = i << 24;
      for (let bit = 0; bit < 8; bit++) crc = crc < 0 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
      crcTable[i] = crc;
    }
  }
  let crc = -1;
  for (let at = start; at < end; at++) crc = (crc << 8) ^ crcTable[((crc >>> 24) ^ bytes[at]!) & 0xff]!;
  return ~crc >>> 0;
}

interface Bits {
  readonly bytes: Uint8Array;
  at: number;
  hold: number;
  count: number;
}

function take(bits: Bits, count: number): number {
  while (bits.count < count) {
    if (bits.at >= bits.bytes.length) throw truncated("bzip2", bits.bytes.length);
    // At most 23 bits are held before a byte comes in, and no one asks for more than 24.
    bits.hold = ((bits.hold << 8) | bits.bytes[bits.at++]!) & 0x7fffffff;
    bits.count += 8;
  }
  bits.count -= count;
  return (bits.hold >>> bits.count) & ((1 << count) - 1);
}

interface Code {
  readonly limit: Int32Array;
  readonly base: Int32Array;
  readonly permutation: Uint16Array;
  readonly shortest: number;
}

/** A canonical code, decoded length by length. */
function buildCode(lengths: Uint8Array, size: number): Code {
  const count = new Int32Array(MAX_CODE_LENGTH + 2);
  for (let i = 0; i < size; i++) count[lengths[i]!]!++;
  const limit = new Int32Array(MAX_CODE_LENGTH + 1).fill(-1);
  const base = new Int32Array(MAX_CODE_LENGTH + 1);
  const permutation = new Uint16Array(size);
  let code = 0;
  let index = 0;
  let shortest = MAX_CODE_LENGTH;
  for (let length = 1; length <= MAX_CODE_LENGTH; length++) {
    if (count[length]! > 0 && length < shortest) shortest = length;
    base[length] = index - code;
    for (let s = 0; s < size; s++) if (lengths[s] === length) permutation[index++] = s;
    code += count[length]!;
    if (code > 1 << length) throw corrupt("bzip2", "over-subscribed code");
    limit[length] = code - 1;
    code <<= 1;
  }
  return { limit, base, permutation, shortest };
}

/** Unpacks bzip2 streams, checks verified. Throws `BAD_IMAGE`. */
export function unbzip2(source: Uint8Array, limit: number, expected = 0): Uint8Array {
  const out = new Growable("bzip2", Math.min(expected || source.length * 4, limit), limit);
  const bits: Bits = { bytes: source, at: 0, hold: 0, count: 0 };
  let outAt = 0;
  while (bits.at < source.length) {
    if (take(bits, 24) !== 0x425a68) throw corrupt("bzip2", "no stream magic");
    const level = take(bits, 8) - 0x30;
    if (level < 1 || level > 9) throw corrupt("bzip2", `level ${level}`);
    let streamCrc = 0;
    for (;;) {
      const high = take(bits, 24);
      const low = take(bits, 24);
      const crc = (take(bits, 16) * 65536 + take(bits, 16)) >>> 0;
      if (high === 0x177245 && low === 0x385090) {
        if (crc !== streamCrc) throw corrupt("bzip2", "stream checksum");
        break;
      }
      if (high !== 0x314159 || low !== 0x265359) throw corrupt("bzip2", "no block magic");
      const start = outAt;
      outAt = decodeBlock(bits, level * 100_000, out, outAt);
      if (blockCrc(out.bytes, start, outAt) !== crc) throw corrupt("bzip2", "block checksum");
      streamCrc = (((streamCrc << 1) | (streamCrc >>> 31)) ^ crc) >>> 0;
    }
    bits.count -= bits.count % 8; // A stream ends at a byte.
    bits.at -= bits.count >> 3;
    bits.count = 0;
  }
  return outAt === out.bytes.length ? out.bytes : out.bytes.slice(0, outAt);
}

function decodeBlock(bits: Bits, capacity: number, out: Growable, outStart: number): number {
  if (take(bits, 1)) throw corrupt("bzip2", "a randomised block, which no writer since 1997 makes");
  const origin = take(bits, 24);
  const used: number[] = [];
  const map = take(bits, 16);
  for (let i = 0; i < 16; i++) {
    if ((map & (0x8000 >> i)) === 0) continue;
    const part = take(bits, 16);
    for (let j = 0; j < 16; j++) if (part & (0x8000 >> j)) used.push(i * 16 + j);
  }
  const tables = take(bits, 3);
  const selectorCount = take(bits, 15);
  if (used.length === 0 || tables < 2 || tables > 6 || selectorCount === 0) throw corrupt("bzip2", "block header");
  const recent = [0, 1, 2, 3, 4, 5];
  const selectors = new Uint8Array(selectorCount);
  for (let i = 0; i < selectorCount; i++) {
    let place = 0;
    while (take(bits, 1)) if (++place >= tables) throw corrupt("bzip2", "selector");
    const table = recent.splice(place, 1)[0]!;
    recent.unshift(table);
    selectors[i] = table;
  }
  const symbols = used.length + 2;
  const codes: Code[] = [];
  for (let i = 0; i < tables; i++) {
    const lengths = new Uint8Array(symbols);
    let length = take(bits, 5);
    for (let s = 0; s < symbols; s++) {
      for (;;) {
        if (length < 1 || length > MAX_CODE_LENGTH) throw corrupt("bzip2", "code length");
        if (take(bits, 1) === 0) break;
        length += take(bits, 1) ? -1 : 1;
      }
      lengths[s] = length;
    }
    codes.push(buildCode(lengths, symbols));
  }

  // Move-to-front and the first run-length stage give the last column of the sorted block.
  const column = new Uint32Array(capacity);
  const counts = new Int32Array(256);
  const front = Uint8Array.from(used);
  let size = 0;
  let run = 0;
  let weight = 1;
  let group = 0;
  let left = 0;
  let code = codes[0]!;
  for (;;) {
    if (left === 0) {
      if (group >= selectorCount) throw corrupt("bzip2", "more symbols than selectors");
      code = codes[selectors[group++]!]!;
      left = GROUP;
    }
    left--;
    let length = code.shortest;
    let value = take(bits, length);
    while (value > code.limit[length]!) {
      if (++length > MAX_CODE_LENGTH) throw corrupt("bzip2", "code");
      value = (value << 1) | take(bits, 1);
    }
    const index = value + code.base[length]!;
    if (index < 0 || index >= symbols) throw corrupt("bzip2", "code");
    const symbol = code.permutation[index]!;
    if (symbol <= 1) {
      if (weight > capacity) throw corrupt("bzip2", "a run longer than its block");
      run += weight << symbol;
      weight <<= 1;
      continue;
    }
    if (run > 0) {
      if (size + run > capacity) throw corrupt("bzip2", `a block of more than ${capacity} bytes`);
      column.fill(front[0]!, size, size + run);
      counts[front[0]!]! += run;
      size += run;
      run = 0;
      weight = 1;
    }
    if (symbol === symbols - 1) break;
    if (size >= capacity) throw corrupt("bzip2", `a block of more than ${capacity} bytes`);
    const byte = front[symbol - 1]!;
    front.copyWithin(1, 0, symbol - 1);
    front[0] = byte;
    column[size++] = byte;
    counts[byte]!++;
  }
  if (origin >= size) throw corrupt("bzip2", "origin past the block's end");

  let sum = 0;
  const starts = new Int32Array(256);
  for (let i = 0; i < 256; i++) {
    starts[i] = sum;
    sum += counts[i]!;
  }
  for (let i = 0; i < size; i++) {
    const byte = column[i]! & 0xff;
    column[starts[byte]!++]! |= i << 8;
  }
  // The second run-length stage: after four equal bytes comes a count.
  let outAt = outStart;
  let bytes = out.reserve(outStart + size);
  let position = column[origin]! >>> 8;
  let same = 0;
  let previous = -1;
  for (let i = 0; i < size; i++) {
    const entry = column[position]!;
    position = entry >>> 8;
    const byte = entry & 0xff;
    if (same === 4) {
      if (outAt + byte > bytes.length) bytes = out.reserve(outAt + byte);
      bytes.fill(previous, outAt, outAt + byte);
      outAt += byte;
      same = 0;
      previous = -1;
      continue;
    }
    same = byte === previous ? same + 1 : 1;
    previous = byte;
    if (outAt >= bytes.length) bytes = out.reserve(outAt + 1);
    bytes[outAt++] = byte;
  }
  return outAt;
}
