import { XS } from "@paravirt/xen-abi";
import { latin1Decode } from "./text.ts";
import { encodeMessage, type XenstoreMessage } from "./wire.ts";

/**
 * What waits to be written into a ring that the other end empties at its own pace. An event that already waits
 * unchanged is not queued twice: a domain that doesn't read can't fill our memory with one path's changes.
 */
export class RingQueue {
  readonly #messages: { readonly bytes: Uint8Array; readonly event: string | undefined }[] = [];
  readonly #events = new Set<string>();
  #head = 0;
  #written = 0;
  #bytes = 0;
  #replies = 0;

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Replies that wait, the events not counted. */
  get replies(): number {
    return this.#replies;
  }

  push(message: XenstoreMessage): void {
    const event = message.type === XS.WATCH_EVENT ? latin1Decode(message.body) : undefined;
    if (event === undefined) this.#replies++;
    else if (this.#events.has(event)) return;
    else this.#events.add(event);
    const bytes = encodeMessage(message);
    this.#messages.push({ bytes, event });
    this.#bytes += bytes.length;
  }

  /** Copies up to `room` bytes out, calling `write` for each piece; answers how many. */
  drain(room: number, write: (piece: Uint8Array) => void): number {
    let left = room;
    while (left > 0 && this.#head < this.#messages.length) {
      const { bytes, event } = this.#messages[this.#head]!;
      // From its first byte on it is out of our hands: the same event would be news again.
      if (event !== undefined) this.#events.delete(event);
      const end = Math.min(bytes.length, this.#written + left);
      write(bytes.subarray(this.#written, end));
      left -= end - this.#written;
      this.#written = end;
      if (end === bytes.length) this.#drop(event === undefined);
    }
    this.#bytes -= room - left;
    return room - left;
  }

  clear(): void {
    this.#messages.length = 0;
    this.#events.clear();
    this.#head = 0;
    this.#written = 0;
    this.#bytes = 0;
    this.#replies = 0;
  }

  #drop(reply: boolean): void {
    if (reply) this.#replies--;
    this.#written = 0;
    this.#head++;
    if (this.#head < 64 && this.#head < this.#messages.length) return;
    this.#messages.splice(0, this.#head);
    this.#head = 0;
  }
}
