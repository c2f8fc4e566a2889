import { ParavirtError } from "@paravirt/core";
import { createByteRingReader, createByteRingWriter, type RingPort } from "@paravirt/xenbus";
import { InputQueue } from "./input-queue.ts";
import { INPUT_RING, OUTPUT_RING } from "./ring.ts";

/** What a console is made of. */
export interface ConsoleOptions extends RingPort {
  /** Gets what the guest wrote, at once, in pieces of at most 2048 bytes; each is the receiver's to keep. */
  readonly onOutput: (bytes: Uint8Array) => void;
  /** Told once when the guest made the ring's indices nonsense; the console is closed then. */
  readonly onBroken?: (reason: string) => void;
}

/** The host's end of one guest's PV console. */
export interface Console {
  /**
   * Takes in what the guest wrote and hands on input that it has room for. To be called whenever the guest signals the
   * console's event channel; harmless at other times.
   */
  event(): void;
  /**
   * Sends input to the guest: into the ring as far as it has room, the rest when the guest made some.
   * Resolves when the guest's ring has taken all of `bytes`, or the console was closed: wait for it before writing more.
   */
  write(bytes: Uint8Array): Promise<void>;
  /** Bytes of input that the guest's ring had no room for yet. */
  readonly pendingInput: number;
  /** Leaves further output in the ring, so that the guest waits; for a receiver that can't keep up. */
  hold(): void;
  /** Lets output flow again after {@link Console.hold}. */
  resume(): void;
  /** True once {@link Console.close} was called or the guest broke the ring. */
  readonly closed: boolean;
  /** Hands on what is left in the ring, even when output is held, then leaves the ring alone. Pending writes resolve. */
  close(): void;
}

/**
 * Makes the backend of a PV console whose ring lies in `page` (`struct xencons_interface`, 4096 bytes), and hands on
 * what the guest wrote before. Throws `BAD_ARGUMENT` when the page is too small.
 */
export function createConsole(options: ConsoleOptions): Console {
  if (options.page.length < 4096) {
    throw new ParavirtError("BAD_ARGUMENT", `a console page has 4096 bytes, not ${options.page.length}`);
  }
  const console = new ConsoleBackend(options);
  console.event();
  return console;
}

class ConsoleBackend implements Console {
  readonly #options: ConsoleOptions;
  readonly #output;
  readonly #input;
  readonly #queue = new InputQueue();
  #held = false;
  #inEvent = false;
  closed = false;

  constructor(options: ConsoleOptions) {
    this.#options = options;
    this.#output = createByteRingReader(options.page, OUTPUT_RING);
    this.#input = createByteRingWriter(options.page, INPUT_RING);
  }

  get pendingInput(): number {
    return this.#queue.length;
  }

  event(): void {
    // An output receiver may write input or end up here again; the outer call sees to both.
    if (this.closed || this.#inEvent) return;
    this.#inEvent = true;
    let moved = false;
    try {
      moved = this.#takeOutput();
      moved = this.#giveInput() || moved;
    } finally {
      this.#inEvent = false;
      if (moved) this.#options.notify();
    }
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.closed || bytes.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#queue.push(bytes, resolve);
      this.event();
    });
  }

  hold(): void {
    this.#held = true;
  }

  resume(): void {
    this.#held = false;
    this.event();
  }

  close(): void {
    if (this.closed) return;
    this.#held = false;
    this.event();
    this.closed = true;
    this.#queue.clear();
  }

  /** One look at the producer index and at most one ring full: a guest that keeps writing can't hold the host here. */
  #takeOutput(): boolean {
    if (this.#held) return false;
    const available = this.#output.available();
    if (available === undefined) return this.#break("the output ring's indices are more than 2048 apart");
    if (available === 0) return false;
    this.#options.onOutput(this.#output.take(available));
    return true;
  }

  #giveInput(): boolean {
    if (this.closed || this.#queue.length === 0) return false;
    const room = this.#input.room();
    if (room === undefined) return this.#break("the input ring's indices are more than 1024 apart");
    if (this.#queue.drain(room, (piece) => this.#input.put(piece)) === 0) return false;
    this.#input.publish();
    return true;
  }

  #break(reason: string): false {
    this.closed = true;
    this.#queue.clear();
    this.#options.onBroken?.(reason);
    return false;
  }
}
