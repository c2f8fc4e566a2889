/** Input that the guest has no room for yet, in order, with the promises of those who wait for it to be taken. */
export class InputQueue {
  readonly #pieces: { readonly bytes: Uint8Array; readonly taken: () => void }[] = [];
  #offset = 0;
  #length = 0;

  /** Bytes that wait. */
  get length(): number {
    return this.#length;
  }

  /** Queues a copy of `bytes`; `taken` is called when the last of them left the queue. */
  push(bytes: Uint8Array, taken: () => void): void {
    this.#pieces.push({ bytes: bytes.slice(), taken });
    this.#length += bytes.length;
  }

  /** Hands up to `room` bytes to `put`; answers how many. */
  drain(room: number, put: (piece: Uint8Array) => void): number {
    let left = room;
    while (left > 0 && this.#pieces.length > 0) {
      const { bytes, taken } = this.#pieces[0]!;
      const end = Math.min(bytes.length, this.#offset + left);
      put(bytes.subarray(this.#offset, end));
      left -= end - this.#offset;
      this.#offset = end;
      if (end < bytes.length) break;
      this.#pieces.shift();
      this.#offset = 0;
      taken();
    }
    this.#length -= room - left;
    return room - left;
  }

  /** Forgets everything; those who wait are told that they need not any more. */
  clear(): void {
    const waiting = this.#pieces.splice(0);
    this.#offset = 0;
    this.#length = 0;
    for (const { taken } of waiting) taken();
  }
}
