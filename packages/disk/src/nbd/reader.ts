import { type ByteStream, ParavirtError } from "@paravirt/core";

/** Takes a byte stream apart: so many bytes now, so many then. One caller at a time. */
export class StreamReader {
  readonly #chunks: Uint8Array[] = [];
  #available = 0;
  #closed = false;
  #wanted = 0;
  #wake: (() => void) | undefined;

  constructor(stream: ByteStream) {
    stream.onData((bytes) => {
      // The stream may use its buffer again.
      this.#chunks.push(bytes.slice());
      this.#available += bytes.length;
      if (this.#available >= this.#wanted) this.#wake?.();
    });
    stream.onClose(() => {
      this.#closed = true;
      this.#wake?.();
    });
  }

  /** The next `length` bytes, on their own. */
  async take(length: number): Promise<DataView> {
    const bytes = new Uint8Array(length);
    await this.fill([bytes]);
    return new DataView(bytes.buffer);
  }

  /** Fills `buffers` with the next bytes, as they come. */
  async fill(buffers: readonly Uint8Array[]): Promise<void> {
    for (const buffer of buffers)
      for (let at = 0; at < buffer.length; ) {
        if (this.#available === 0) await this.#more();
        at += this.#shift(buffer.subarray(at));
      }
  }

  /** Drops the next `length` bytes. */
  async skip(length: number): Promise<void> {
    const dropped = new Uint8Array(Math.min(length, 65536));
    for (let left = length; left > 0; left -= dropped.length) await this.fill([dropped.subarray(0, left)]);
  }

  async #more(): Promise<void> {
    if (this.#closed) throw new ParavirtError("IO", "the NBD server closed the connection");
    this.#wanted = 1;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
    if (this.#available === 0) throw new ParavirtError("IO", "the NBD server closed the connection");
  }

  #shift(into: Uint8Array): number {
    const chunk = this.#chunks[0]!;
    const count = Math.min(chunk.length, into.length);
    into.set(chunk.subarray(0, count));
    if (count === chunk.length) this.#chunks.shift();
    else this.#chunks[0] = chunk.subarray(count);
    this.#available -= count;
    return count;
  }
}
