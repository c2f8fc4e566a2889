import { ParavirtError } from "@paravirt/core";

/** Bytes written front to back into one preallocated array, which doubles when it is full. */
export class ByteBuffer {
  /** The bytes; only the first {@link ByteBuffer.length} count. */
  bytes: Uint8Array;
  /** Bytes written so far. */
  length = 0;

  constructor(capacity: number = 1 << 16) {
    if (!(capacity > 0)) throw new ParavirtError("OUT_OF_RANGE", `a buffer of ${capacity} bytes can't be made`);
    this.bytes = new Uint8Array(capacity);
  }

  /** Makes room for `count` more bytes. */
  reserve(count: number): void {
    if (this.length + count <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + count));
    grown.set(this.bytes);
    this.bytes = grown;
  }

  /** Forgets the content and keeps the memory. */
  clear(): void {
    this.length = 0;
  }

  /** Appends one byte. */
  byte(value: number): void {
    if (this.length === this.bytes.length) this.reserve(1);
    this.bytes[this.length++] = value;
  }

  /** Appends `source`. */
  append(source: Uint8Array): void {
    this.reserve(source.length);
    this.bytes.set(source, this.length);
    this.length += source.length;
  }

  /** Appends an unsigned LEB128 number below 2^32. */
  unsigned(value: number): void {
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }

  /** Appends a signed LEB128 number of 32 bits. */
  signed(value: number): void {
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) {
        this.byte(low);
        return;
      }
      this.byte(low | 0x80);
    }
  }

  /** Appends a signed LEB128 number of 64 bits, given as its two 32-bit halves. */
  signed64(low32: number, high32: number): void {
    let low = low32 | 0;
    let high = high32 | 0;
    for (;;) {
      const bits = low & 0x7f;
      low = (low >>> 7) | (high << 25);
      high >>= 7;
      const done =
        (low === 0 && high === 0 && (bits & 0x40) === 0) || (low === -1 && high === -1 && (bits & 0x40) !== 0);
      this.byte(done ? bits : bits | 0x80);
      if (done) return;
    }
  }

  /** Appends `text` as a WebAssembly name: length, then UTF-8. Only ASCII names are used here. */
  name(text: string): void {
    this.unsigned(text.length);
    for (let i = 0; i < text.length; i++) this.byte(text.charCodeAt(i) & 0x7f);
  }

  /** A copy of what was written. */
  toBytes(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }
}
