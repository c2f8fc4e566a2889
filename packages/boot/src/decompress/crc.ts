/** Eight tables for eight bytes a step, made from the reflected polynomial 0xedb88320. */
const CRC32_TABLES: Int32Array = /* @__PURE__ */ makeCrc32Tables();

function makeCrc32Tables(): Int32Array {
  const tables = new Int32Array(8 * 256);
  for (let i = 0; i < 256; i++) {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    tables[i] = crc;
  }
  for (let i = 256; i < 8 * 256; i++) {
    const previous = tables[i - 256]!;
    tables[i] = (previous >>> 8) ^ tables[previous & 0xff]!;
  }
  return tables;
}

/** CRC-32 of `bytes[start..end)` as gzip, xz and PKZIP use it (ISO 3309, reflected 0xedb88320), unsigned. */
export function crc32(bytes: Uint8Array, start = 0, end: number = bytes.length): number {
  const t = CRC32_TABLES;
  let crc = -1;
  let at = start;
  for (const last = end - 8; at <= last; at += 8) {
    const low = crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    crc =
      t[0x700 + (low & 0xff)]! ^
      t[0x600 + ((low >>> 8) & 0xff)]! ^
      t[0x500 + ((low >>> 16) & 0xff)]! ^
      t[0x400 + (low >>> 24)]! ^
      t[0x300 + bytes[at + 4]!]! ^
      t[0x200 + bytes[at + 5]!]! ^
      t[0x100 + bytes[at + 6]!]! ^
      t[bytes[at + 7]!]!;
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ t[(crc ^ bytes[at]!) & 0xff]!;
  return ~crc >>> 0;
}

/** A 64-bit CRC as two unsigned halves. */
export interface Crc64 {
  /** Bits 0 to 31. */
  readonly low: number;
  /** Bits 32 to 63. */
  readonly high: number;
}

let crc64Tables: { readonly low: Int32Array; readonly high: Int32Array } | undefined;

function makeCrc64Tables(): { readonly low: Int32Array; readonly high: Int32Array } {
  const low = new Int32Array(4 * 256);
  const high = new Int32Array(4 * 256);
  for (let i = 0; i < 256; i++) {
    let l = i;
    let h = 0;
    for (let bit = 0; bit < 8; bit++) {
      const odd = l & 1;
      l = (l >>> 1) | (h << 31);
      h >>>= 1;
      if (odd) {
        l ^= 0xd7870f42; // ECMA-182, reflected: 0xc96c5795d7870f42
        h ^= 0xc96c5795;
      }
    }
    low[i] = l;
    high[i] = h;
  }
  for (let i = 256; i < 4 * 256; i++) {
    const l = low[i - 256]!;
    const h = high[i - 256]!;
    low[i] = ((l >>> 8) | (h << 24)) ^ low[l & 0xff]!;
    high[i] = (h >>> 8) ^ high[l & 0xff]!;
  }
  return { low, high };
}

/** CRC-64 of `bytes[start..end)` as xz uses it (ECMA-182, reflected). */
export function crc64(bytes: Uint8Array, start = 0, end: number = bytes.length): Crc64 {
  crc64Tables ??= makeCrc64Tables();
  const tl = crc64Tables.low;
  const th = crc64Tables.high;
  let low = -1;
  let high = -1;
  let at = start;
  for (const last = end - 4; at <= last; at += 4) {
    const x = low ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    const a = 0x300 + (x & 0xff);
    const b = 0x200 + ((x >>> 8) & 0xff);
    const c = 0x100 + ((x >>> 16) & 0xff);
    const d = x >>> 24;
    low = high ^ tl[a]! ^ tl[b]! ^ tl[c]! ^ tl[d]!;
    high = th[a]! ^ th[b]! ^ th[c]! ^ th[d]!;
  }
  for (; at < end; at++) {
    const i = (low ^ bytes[at]!) & 0xff;
    low = ((low >>> 8) | (high << 24)) ^ tl[i]!;
    high = (high >>> 8) ^ th[i]!;
  }
  return { low: ~low >>> 0, high: ~high >>> 0 };
}
