import { isPromise } from "./awaitable.ts";
import { decodeHeader, HEADER_SIZE } from "./codec.ts";
import type { FlexRing } from "./flex-ring.ts";
import type { P9Connection } from "./link.ts";
import { P9_MESSAGES } from "./messages.ts";

/** What a {@link RingTransport} connects. */
export interface RingTransportOptions {
  readonly ring: FlexRing;
  readonly connection: P9Connection;
  /** Signals the guest. */
  notify(): void;
  /** Runs work on another turn. */
  later(work: () => void): void;
  /** Told when a request is over that was under way for some time: all rings of the connection may go on. */
  onRoom(): void;
  /** Told once when the guest broke the ring: nothing more is taken from it or put into it. */
  onBroken(reason: string): void;
}

/** Messages in one turn; a guest that has more lets others have theirs first. */
const TURN = 64;
/** What a guest may have under way: more stays in its ring until something is answered. */
const MAX_PENDING = 1024;
const MAX_PENDING_BYTES = 64 * 1024 * 1024;

/** Carries messages between one ring of a guest and the server. */
export class RingTransport {
  readonly #options: RingTransportOptions;
  readonly #waiting: Uint8Array[] = [];
  readonly #header = new Uint8Array(HEADER_SIZE);
  #spare: Uint8Array | undefined;
  #inTurn = false;
  #signal = false;
  #scheduled = false;
  #stalled = false;
  #closed = false;

  constructor(options: RingTransportOptions) {
    this.#options = options;
  }

  /** To be called when the guest signals. */
  event(): void {
    if (this.#closed || this.#inTurn) return;
    this.#inTurn = true;
    try {
      this.#give();
      this.#take();
    } finally {
      this.#inTurn = false;
    }
    this.#flushSignal();
  }

  /** The connection may take more again. */
  resume(): void {
    if (!this.#stalled) return;
    this.#stalled = false;
    this.#again();
  }

  /** Leaves the ring alone from now on. */
  close(): void {
    this.#closed = true;
    this.#waiting.length = 0;
  }

  #take(): void {
    const { ring, connection } = this.#options;
    for (let count = 0; !this.#closed; count++) {
      // Answers first: a guest that takes none gets no more to ask.
      if (this.#waiting.length > 0) return;
      const available = ring.available();
      if (available === undefined) {
        this.#break("the indices of requests are further apart than the ring is long");
        return;
      }
      if (available < HEADER_SIZE) return;
      ring.peek(this.#header);
      const { size, type } = decodeHeader(this.#header)!;
      if (size < HEADER_SIZE || size > ring.size) {
        this.#break(`a request of ${size} bytes in a ring of ${ring.size}`);
        return;
      }
      if (size > available) return;
      const full = connection.pending >= MAX_PENDING || connection.pendingBytes >= MAX_PENDING_BYTES;
      // Giving up must be possible at any time.
      if (full && type !== P9_MESSAGES.Tflush.type) {
        this.#stalled = true;
        return;
      }
      if (count >= TURN) {
        this.#again();
        return;
      }
      const buffer = this.#buffer(size);
      const message = buffer.subarray(0, size);
      ring.take(message);
      // The guest may have changed the size after the look at it.
      message.set(this.#header);
      this.#signal = true;
      const done = connection.receive(message, (response) => this.#reply(response));
      if (isPromise(done)) void done.then(this.#options.onRoom);
      else this.#spare = buffer;
    }
  }

  /** Memory for a request: the last one's, unless that is still in use. */
  #buffer(size: number): Uint8Array {
    const spare = this.#spare;
    if (spare === undefined || spare.length < size) return new Uint8Array(size);
    this.#spare = undefined;
    return spare;
  }

  #again(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    this.#options.later(() => {
      this.#scheduled = false;
      this.event();
    });
  }

  #reply(response: Uint8Array): void {
    if (this.#closed) return;
    this.#waiting.push(response);
    this.#give();
    if (!this.#inTurn) this.#flushSignal();
  }

  #give(): void {
    const { ring } = this.#options;
    for (let response = this.#waiting[0]; response !== undefined; response = this.#waiting[0]) {
      const room = ring.room();
      if (room === undefined) {
        this.#break("the indices of answers are further apart than the ring is long");
        return;
      }
      if (room < response.length) return;
      ring.put(response);
      this.#options.connection.recycle(response);
      this.#waiting.shift();
      this.#signal = true;
    }
  }

  #flushSignal(): void {
    if (!this.#signal || this.#closed) return;
    this.#signal = false;
    this.#options.notify();
  }

  #break(reason: string): void {
    this.close();
    this.#options.onBroken(reason);
  }
}
