const LEAST = 16 * 1024;
/** A ring larger than this is given back when it runs empty. */
const KEPT = 256 * 1024;

/** Bytes that were sent and not yet acknowledged, or not yet sent: what a retransmission is made of. A ring that grows. */
export class SendQueue {
  #ring = new Uint8Array(0);
  #first = 0;
  #length = 0;

  /** Bytes in it. */
  get length(): number {
    return this.#length;
  }

  /** Adds a copy of `bytes`. */
  push(bytes: Uint8Array): void {
    this.#grow(this.#length + bytes.length);
    const ring = this.#ring;
    const at = (this.#first + this.#length) & (ring.length - 1);
    const room = ring.length - at;
    if (bytes.length <= room) ring.set(bytes, at);
    else {
      ring.set(bytes.subarray(0, room), at);
      ring.set(bytes.subarray(room), 0);
    }
    this.#length += bytes.length;
  }

  /** Forgets the first `count` bytes. */
  drop(count: number): void {
    this.#length -= count;
    this.#first = (this.#first + count) & (this.#ring.length - 1);
    if (this.#length === 0 && this.#ring.length > KEPT) {
      this.#ring = new Uint8Array(0);
      this.#first = 0;
    }
  }

  /** Copies `count` bytes from `offset` on to `into` at `at`; they are there. */
  copy(offset: number, count: number, into: Uint8Array, at: number): void {
    const ring = this.#ring;
    const from = (this.#first + offset) & (ring.length - 1);
    const room = ring.length - from;
    if (count <= room) into.set(ring.subarray(from, from + count), at);
    else {
      into.set(ring.subarray(from), at);
      into.set(ring.subarray(0, count - room), at + room);
    }
  }

  #grow(needed: number): void {
    if (needed <= this.#ring.length) return;
    let size = Math.max(LEAST, this.#ring.length);
    while (size < needed) size *= 2;
    const ring = new Uint8Array(size);
    this.copy(0, this.#length, ring, 0);
    this.#ring = ring;
    this.#first = 0;
  }
}
