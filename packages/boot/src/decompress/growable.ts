import { checkOutputSize } from "./errors.ts";

/** An output buffer that doubles when it is full, up to a limit. Decoders of formats without a size write into it. */
export class Growable {
  /** The bytes; valid up to what the decoder has written. */
  bytes: Uint8Array;
  private readonly format: string;
  private readonly limit: number;

  constructor(format: string, expected: number, limit: number) {
    checkOutputSize(format, expected, limit);
    this.format = format;
    this.limit = limit;
    this.bytes = new Uint8Array(expected);
  }

  /** Makes room for `size` bytes in all; throws `OUT_OF_RANGE` over the limit. Returns the (new) bytes. */
  reserve(size: number): Uint8Array {
    if (size <= this.bytes.length) return this.bytes;
    checkOutputSize(this.format, size, this.limit);
    const larger = new Uint8Array(Math.min(this.limit, Math.max(size, this.bytes.length * 2, 65536)));
    larger.set(this.bytes);
    this.bytes = larger;
    return larger;
  }
}

/** Copies `length` bytes from `distance` back within `bytes`, which may overlap; both ends must be inside. */
export function copyMatch(bytes: Uint8Array, at: number, distance: number, length: number): void {
  if (distance >= length && length > 32) {
    bytes.copyWithin(at, at - distance, at - distance + length);
    return;
  }
  for (let i = 0; i < length; i++) bytes[at + i] = bytes[at + i - distance]!;
}
