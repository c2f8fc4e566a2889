import { crc32 } from "@paravirt/boot";
import { ParavirtError } from "@paravirt/core";

/*
 * A header: 16 bytes of text, a salt of 4 bytes. Then frames: magic number, checksum, length of the payload, sequence
 * number from 1 on, each 32 bits and little-endian; in the payload records, each behind its length. A frame is written in
 * one go and synced before the next one is begun, so only the last one can be incomplete.
 */

const TITLE: Uint8Array = new TextEncoder().encode("paravirt log 1\n\0");
/** Bytes before the first frame. */
export const LOG_HEADER_SIZE = 20;
const FRAME_MAGIC = 0x314d5246; // "FRM1"
const FRAME_HEADER_SIZE = 16;

/** Makes the first bytes of a log. The salt keeps a record from looking like a frame: whoever writes records doesn't know it. */
export function encodeLogHeader(salt: number): Uint8Array {
  const header = new Uint8Array(LOG_HEADER_SIZE);
  header.set(TITLE);
  new DataView(header.buffer).setUint32(TITLE.length, salt, true);
  return header;
}

/** What is in a log. */
export interface DecodedLog {
  readonly records: Uint8Array[];
  /** Where its last whole frame ends; what follows is the beginning of one. */
  readonly end: number;
  /** The last frame's number. */
  readonly sequence: number;
  readonly salt: number;
}

/** Makes one frame of a log with `salt`. */
export function encodeFrame(salt: number, sequence: number, records: readonly Uint8Array[]): Uint8Array {
  const length = records.reduce((sum, record) => sum + 4 + record.length, 0);
  const frame = new Uint8Array(FRAME_HEADER_SIZE + length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, FRAME_MAGIC, true);
  view.setUint32(8, length, true);
  view.setUint32(12, sequence, true);
  let at = FRAME_HEADER_SIZE;
  for (const record of records) {
    view.setUint32(at, record.length, true);
    frame.set(record, at + 4);
    at += 4 + record.length;
  }
  view.setUint32(4, checksum(frame, 0, frame.length, salt), true);
  return frame;
}

/** Reads a log's bytes. Throws `BAD_IMAGE` when it isn't one, and when a whole frame follows a damaged one. */
export function decodeLog(bytes: Uint8Array, name: string): DecodedLog {
  if (bytes.length < LOG_HEADER_SIZE || TITLE.some((byte, at) => bytes[at] !== byte)) {
    throw new ParavirtError("BAD_IMAGE", `${name} is not a log of paravirt, version 1`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const salt = view.getUint32(TITLE.length, true);
  const records: Uint8Array[] = [];
  let at = LOG_HEADER_SIZE;
  let sequence = 0;
  for (let end = frameEnd(bytes, view, at, salt); end !== undefined; end = frameEnd(bytes, view, at, salt)) {
    if (view.getUint32(at + 12, true) !== sequence + 1) break;
    sequence++;
    takeRecords(bytes, view, at + FRAME_HEADER_SIZE, end, records);
    at = end;
  }
  const next = findFrame(bytes, view, at, salt);
  if (next !== undefined) {
    throw new ParavirtError(
      "BAD_IMAGE",
      `${name} is damaged from byte ${at} on, and byte ${next} begins a good record again: restore a copy`,
    );
  }
  return { records, end: at, sequence, salt };
}

/** Where the frame at `at` ends, or `undefined` when there is no whole one. */
function frameEnd(bytes: Uint8Array, view: DataView, at: number, salt: number): number | undefined {
  if (at + FRAME_HEADER_SIZE > bytes.length || view.getUint32(at, true) !== FRAME_MAGIC) return undefined;
  const end = at + FRAME_HEADER_SIZE + view.getUint32(at + 8, true);
  if (end > bytes.length) return undefined;
  return view.getUint32(at + 4, true) === checksum(bytes, at, end, salt) ? end : undefined;
}

/** CRC-32 of everything that follows the checksum in its frame. */
function checksum(bytes: Uint8Array, start: number, end: number, salt: number): number {
  return (crc32(bytes, start + 8, end) ^ salt) >>> 0;
}

function takeRecords(bytes: Uint8Array, view: DataView, start: number, end: number, into: Uint8Array[]): void {
  for (let at = start; at < end; ) {
    const next = at + 4 + view.getUint32(at, true);
    into.push(bytes.slice(at + 4, next));
    at = next;
  }
}

/** The first whole frame from `from` on. */
function findFrame(bytes: Uint8Array, view: DataView, from: number, salt: number): number | undefined {
  const first = FRAME_MAGIC & 0xff;
  for (let at = bytes.indexOf(first, from); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (frameEnd(bytes, view, at, salt) !== undefined) return at;
  }
  return undefined;
}
