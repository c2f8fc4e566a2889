import { ParavirtError } from "@paravirt/core";
import { unfilterX86 } from "./bcj-x86.ts";
import { crc32, crc64 } from "./crc.ts";
import { checkOutputSize, corrupt, truncated } from "./errors.ts";
import { decodeLzma2 } from "./lzma2.ts";

const HEADER_SIZE = 12;
const CHECK_NONE = 0;
const CHECK_CRC32 = 1;
const CHECK_CRC64 = 4;
/** Bytes of each check, by its id (xz file format 1.1.0, 2.1.1.2). */
const CHECK_SIZES = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64] as const;
const FILTER_X86 = 0x04;
const FILTER_LZMA2 = 0x21;

/** A block of an xz file, as its index tells. */
export interface XzBlock {
  /** Offset of the block's header in the file. */
  readonly start: number;
  /** Bytes without the padding to four. */
  readonly unpaddedSize: number;
  /** Bytes it unpacks to. */
  readonly size: number;
  /** Id of the check that follows its data. */
  readonly check: number;
}

function u32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

/** A variable-length integer of up to nine bytes; refuses those over 2^53. */
function readVli(bytes: Uint8Array, at: number, end: number): { value: number; next: number } {
  let value = 0;
  for (let i = 0; i < 9; i++) {
    if (at + i >= end) throw truncated("xz", bytes.length);
    const byte = bytes[at + i]!;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) {
      if (value > Number.MAX_SAFE_INTEGER) throw corrupt("xz", `a size over ${Number.MAX_SAFE_INTEGER}`);
      return { value, next: at + i + 1 };
    }
  }
  throw corrupt("xz", "a variable-length integer over nine bytes");
}

/**
 * Lists the blocks of an xz file (all its concatenated streams) from the indexes at their ends.
 * Throws `BAD_IMAGE` for a truncated file.
 */
export function xzBlocks(source: Uint8Array): readonly XzBlock[] {
  const blocks: XzBlock[] = [];
  let end = source.length;
  while (end > 0) {
    // Stream padding: zero bytes, four at a time.
    while (end >= 4 && u32(source, end - 4) === 0) end -= 4;
    if (end < 2 * HEADER_SIZE) throw truncated("xz", source.length);
    const footer = end - HEADER_SIZE;
    if (source[end - 2] !== 0x59 || source[end - 1] !== 0x5a) throw truncated("xz", source.length);
    if (crc32(source, footer + 4, footer + 10) !== u32(source, footer)) throw corrupt("xz", "footer checksum");
    const check = source[footer + 9]!;
    if (source[footer + 8] !== 0 || check > 15) throw corrupt("xz", "unknown stream flags");
    const indexSize = (u32(source, footer + 4) + 1) * 4;
    const index = footer - indexSize;
    if (index < HEADER_SIZE) throw corrupt("xz", `an index of ${indexSize} bytes in a file of ${source.length}`);
    if (crc32(source, index, footer - 4) !== u32(source, footer - 4)) throw corrupt("xz", "index checksum");
    if (source[index] !== 0) throw corrupt("xz", "index mark");
    const { value: count, next } = readVli(source, index + 1, footer - 4);
    if (count > indexSize) throw corrupt("xz", `an index of ${indexSize} bytes with ${count} blocks`);
    const own: XzBlock[] = [];
    let at = next;
    let total = 0;
    for (let i = 0; i < count; i++) {
      const unpadded = readVli(source, at, footer - 4);
      const size = readVli(source, unpadded.next, footer - 4);
      at = size.next;
      own.push({ start: total, unpaddedSize: unpadded.value, size: size.value, check });
      total += Math.ceil(unpadded.value / 4) * 4;
    }
    const header = index - total - HEADER_SIZE;
    if (header < 0 || !isXz(source, header)) throw corrupt("xz", "the index does not lead back to the stream's start");
    if (crc32(source, header + 6, header + 8) !== u32(source, header + 8)) throw corrupt("xz", "header checksum");
    if (source[header + 6] !== 0 || source[header + 7] !== check) throw corrupt("xz", "header and footer differ");
    blocks.unshift(...own.map((block) => ({ ...block, start: header + HEADER_SIZE + block.start })));
    end = header;
  }
  return blocks;
}

/** Whether an xz stream starts at `at`. */
export function isXz(bytes: Uint8Array, at = 0): boolean {
  return (
    bytes[at] === 0xfd &&
    bytes[at + 1] === 0x37 &&
    bytes[at + 2] === 0x7a &&
    bytes[at + 3] === 0x58 &&
    bytes[at + 4] === 0x5a &&
    bytes[at + 5] === 0
  );
}

/** Unpacks one block into `out[outStart..outStart + block.size)` and verifies its check. Throws `BAD_IMAGE`. */
export function decodeXzBlock(source: Uint8Array, block: XzBlock, out: Uint8Array, outStart: number): void {
  const { start } = block;
  const headerSize = (source[start]! + 1) * 4;
  const headerEnd = start + headerSize;
  if (source[start] === 0 || headerEnd > source.length) throw corrupt("xz", "block header size");
  if (crc32(source, start, headerEnd - 4) !== u32(source, headerEnd - 4)) throw corrupt("xz", "block header checksum");
  const flags = source[start + 1]!;
  if (flags & 0x3c) throw corrupt("xz", `unknown block flags 0x${flags.toString(16)}`);
  let at = start + 2;
  if (flags & 0x40) at = readVli(source, at, headerEnd).next;
  if (flags & 0x80) at = readVli(source, at, headerEnd).next;
  let x86Offset: number | undefined;
  const filters = (flags & 3) + 1;
  for (let i = 0; i < filters; i++) {
    const id = readVli(source, at, headerEnd);
    const size = readVli(source, id.next, headerEnd);
    at = size.next + size.value;
    if (at > headerEnd - 4) throw corrupt("xz", "filter properties run past their header");
    const last = i === filters - 1;
    if (last && id.value === FILTER_LZMA2) continue;
    if (!last && id.value === FILTER_X86 && x86Offset === undefined) {
      x86Offset = size.value === 4 ? u32(source, size.next) : 0;
      continue;
    }
    const name = `0x${id.value.toString(16)}`;
    throw new ParavirtError(
      "UNSUPPORTED",
      `xz filter ${name} in place ${i + 1} of ${filters}; x86 then LZMA2 are known`,
    );
  }
  const checkSize = CHECK_SIZES[block.check]!;
  const dataEnd = start + block.unpaddedSize - checkSize;
  if (dataEnd < headerEnd || dataEnd > source.length) throw corrupt("xz", "block size");
  const outEnd = outStart + block.size;
  const end = decodeLzma2(source, headerEnd, dataEnd, out, outStart, outEnd);
  if (end !== dataEnd) throw corrupt("xz", "a block's size is not what its index says");
  if (x86Offset !== undefined) unfilterX86(out, outStart, outEnd, x86Offset);
  let checkAt = end;
  while ((checkAt - start) & 3) checkAt++;
  if (block.check === CHECK_CRC32) {
    if (crc32(out, outStart, outEnd) !== u32(source, checkAt)) throw corrupt("xz", "CRC-32 of a block");
  } else if (block.check === CHECK_CRC64) {
    const sum = crc64(out, outStart, outEnd);
    if (sum.low !== u32(source, checkAt) || sum.high !== u32(source, checkAt + 4)) {
      throw corrupt("xz", "CRC-64 of a block");
    }
  } else if (block.check !== CHECK_NONE) {
    throw new ParavirtError("UNSUPPORTED", `xz check ${block.check}; none, CRC-32 and CRC-64 are known`);
  }
}

/**
 * Unpacks an xz file: LZMA2, with or without the x86 filter, checks verified.
 * Throws `BAD_IMAGE` for corrupt data, `UNSUPPORTED` for other filters, `OUT_OF_RANGE` over `limit` bytes.
 */
export function unxz(source: Uint8Array, limit: number): Uint8Array {
  if (!isXz(source)) throw corrupt("xz", "no xz magic at its start");
  const blocks = xzBlocks(source);
  let size = 0;
  for (const block of blocks) size += block.size;
  checkOutputSize("xz", size, limit);
  const out = new Uint8Array(size);
  let outAt = 0;
  for (const block of blocks) {
    decodeXzBlock(source, block, out, outAt);
    outAt += block.size;
  }
  return out;
}
