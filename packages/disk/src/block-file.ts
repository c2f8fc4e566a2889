import type { Answer } from "./answer.ts";

/**
 * Bytes with an address: what an image lives in. A file, a piece of memory, an OPFS handle, anything that can do this.
 * Every call may answer at once or later; a caller keeps its buffers as they are until the answer.
 */
export interface BlockFile {
  /** Bytes in it now. A write past the end makes it longer, and what lies between reads as zeros. */
  readonly size: number;
  /** Whether writes are refused. */
  readonly readOnly: boolean;
  /** Fills `into` from byte `offset` on; what lies past the end is filled with zeros. */
  read(offset: number, into: readonly Uint8Array[]): Answer<void>;
  /** Writes `from` at byte `offset`. */
  write(offset: number, from: readonly Uint8Array[]): Answer<void>;
  /** Answers when everything written before the call is durable. */
  flush(): Answer<void>;
  /** Makes it `size` bytes long: cuts it, or lengthens it with zeros. */
  truncate(size: number): Answer<void>;
  /** Makes `length` bytes from `offset` read as zeros and gives their space back. Missing: it can't give space back. */
  punch?(offset: number, length: number): Answer<void>;
  /** Gives up handles and locks. */
  close(): Answer<void>;
}

/** Bytes in all of `buffers`. */
export function totalBytes(buffers: readonly Uint8Array[]): number {
  let total = 0;
  for (const buffer of buffers) total += buffer.length;
  return total;
}

/** The part of `buffers` that is `length` bytes from byte `offset` of their concatenation, without copying. */
export function sliceBuffers(buffers: readonly Uint8Array[], offset: number, length: number): readonly Uint8Array[] {
  if (offset === 0 && length === totalBytes(buffers)) return buffers;
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const buffer of buffers) {
    if (length === 0) break;
    const skip = offset - at;
    at += buffer.length;
    if (skip >= buffer.length) continue;
    const part = buffer.subarray(skip, Math.min(buffer.length, skip + length));
    parts.push(part);
    offset += part.length;
    length -= part.length;
  }
  return parts;
}

/** Fills all of `buffers` with zeros. */
export function zeroBuffers(buffers: readonly Uint8Array[]): void {
  for (const buffer of buffers) buffer.fill(0);
}

/** Copies `source` into `buffers`, which hold as many bytes. */
export function scatter(source: Uint8Array, buffers: readonly Uint8Array[]): void {
  let at = 0;
  for (const buffer of buffers) {
    buffer.set(source.subarray(at, at + buffer.length));
    at += buffer.length;
  }
}

/** All of `buffers` as one: the buffer itself when there is one only, else a copy. */
export function gather(buffers: readonly Uint8Array[]): Uint8Array {
  if (buffers.length === 1) return buffers[0]!;
  const all = new Uint8Array(totalBytes(buffers));
  let at = 0;
  for (const buffer of buffers) {
    all.set(buffer, at);
    at += buffer.length;
  }
  return all;
}
