import type { BackRing, GuestPort } from "@paravirt/xenbus";
import {
  decodeRxRequest,
  encodeGsoExtra,
  encodeRxResponse,
  RX_ERROR,
  RX_SLOT,
  type RxBuffer,
  rxFlags,
} from "./rx-response.ts";
import type { VifStatistics } from "./statistics.ts";

const PAGE = 4096;
/** Frames that may wait for the guest, however short. */
const MAX_WAITING = 4096;

/** How a frame is put before a guest that can take it so. */
export interface RxOffload {
  /** The checksum holds the pseudo-header's sum only. */
  readonly partialChecksum: boolean;
  /** The frame is a large segment, for the guest to see as pieces of so many bytes; 0 for an ordinary frame. */
  readonly segmentSize: number;
  /** Whether that segment is TCP over IPv6. */
  readonly ipv6: boolean;
}

/** What the guest's receive queue works with. */
export interface ReceiveQueueOptions {
  readonly ring: BackRing;
  readonly guest: GuestPort;
  readonly statistics: VifStatistics;
  /** Bytes of frames that may wait until the guest offers pages. */
  readonly maxWaitingBytes: number;
  /** Told once when the ring can't be understood any more. */
  readonly onBroken: (reason: string) => void;
}

/** The guest's way in: puts frames into pages that it offers, and keeps a few while it offers none. */
export interface ReceiveQueue {
  /** Gives the guest a frame, or keeps a copy, or drops it. */
  put(frame: Uint8Array, offload: RxOffload): void;
  /** Goes on with what waits: to be called at each event. */
  run(): void;
  /** Ends it: what waits is dropped. */
  stop(): void;
}

/** Makes the queue. */
export function createReceiveQueue(options: ReceiveQueueOptions): ReceiveQueue {
  return new Receive(options);
}

interface Waiting {
  readonly frame: Uint8Array;
  readonly offload: RxOffload;
}

class Receive implements ReceiveQueue {
  readonly #options: ReceiveQueueOptions;
  /** Pages that were taken off the ring and have no frame yet. */
  readonly #buffers: RxBuffer[] = [];
  #waiting: Waiting[] = [];
  #waitingFrom = 0;
  #waitingBytes = 0;
  readonly #answer = new Uint8Array(RX_SLOT);
  readonly #answerView = new DataView(this.#answer.buffer);
  #stopped = false;

  constructor(options: ReceiveQueueOptions) {
    this.#options = options;
  }

  get #waits(): boolean {
    return this.#waitingFrom < this.#waiting.length;
  }

  put(frame: Uint8Array, offload: RxOffload): void {
    if (this.#stopped) return;
    if (!this.#waits && this.#reserve(slotsOf(frame, offload))) {
      this.#place(frame, offload);
      this.#options.ring.push();
      return;
    }
    if (this.#stopped) return;
    const { maxWaitingBytes, statistics } = this.#options;
    const isFull = this.#waitingBytes + frame.length > maxWaitingBytes;
    if (isFull || this.#waiting.length - this.#waitingFrom >= MAX_WAITING) {
      statistics.receiveDrops++;
      return;
    }
    this.#waiting.push({ frame: frame.slice(), offload });
    this.#waitingBytes += frame.length;
    // From now on the guest's new pages matter; there may be some already.
    if (this.#options.ring.waitForRequests()) this.run();
  }

  run(): void {
    const { ring } = this.#options;
    while (!this.#stopped && this.#waits) {
      const { frame, offload } = this.#waiting[this.#waitingFrom]!;
      if (!this.#reserve(slotsOf(frame, offload))) {
        if (this.#stopped) return;
        ring.push();
        // What came while the guest was told is taken at once; otherwise its next page signals.
        if (!ring.waitForRequests()) return;
        continue;
      }
      this.#waitingBytes -= frame.length;
      this.#waitingFrom++;
      if (this.#waitingFrom === this.#waiting.length) {
        this.#waiting = [];
        this.#waitingFrom = 0;
      } else if (this.#waitingFrom >= MAX_WAITING) {
        this.#waiting = this.#waiting.slice(this.#waitingFrom);
        this.#waitingFrom = 0;
      }
      this.#place(frame, offload);
    }
    if (!this.#stopped) ring.push();
  }

  stop(): void {
    this.#stopped = true;
    this.#options.statistics.receiveDrops += this.#waiting.length - this.#waitingFrom;
    this.#waiting = [];
    this.#waitingFrom = 0;
    this.#waitingBytes = 0;
    this.#buffers.length = 0;
  }

  /** Takes slots off the ring until there are `count`; `false` when the guest hasn't offered so many. */
  #reserve(count: number): boolean {
    const { ring } = this.#options;
    while (this.#buffers.length < count) {
      const slot = ring.take();
      if (slot === undefined) {
        if (ring.broken) {
          this.stop();
          this.#options.onBroken("more receive requests than the ring has slots");
        }
        return false;
      }
      this.#buffers.push(decodeRxRequest(slot));
    }
    return true;
  }

  /** Copies a frame into reserved pages. */
  #place(frame: Uint8Array, { partialChecksum, segmentSize, ipv6 }: RxOffload): void {
    const { ring, guest, statistics } = this.#options;
    const gso = segmentSize > 0;
    let good = true;
    for (let from = 0; from < frame.length; from += PAGE) {
      const to = Math.min(from + PAGE, frame.length);
      const { id, ref } = this.#buffers.shift()!;
      const page = guest.mapGrant(ref);
      let status = RX_ERROR;
      if (typeof page !== "number") {
        if (page.bytes.length >= to - from) {
          page.bytes.set(frame.subarray(from, to));
          status = to - from;
        }
        page.release();
      }
      good &&= status !== RX_ERROR;
      const flags = rxFlags({ first: from === 0, last: to === frame.length, partialChecksum, gso });
      encodeRxResponse(this.#answerView, { id, flags, status });
      ring.respond(this.#answer);
      if (from === 0 && gso) {
        // The extra slot takes the next request's place; the guest puts that page back itself.
        this.#buffers.shift();
        encodeGsoExtra(this.#answerView, { segmentSize, ipv6 });
        ring.respond(this.#answer);
      }
    }
    if (good) {
      statistics.receivedFrames++;
      statistics.receivedBytes += frame.length;
    } else statistics.receiveDrops++;
  }
}

function slotsOf(frame: Uint8Array, { segmentSize }: RxOffload): number {
  return Math.ceil(frame.length / PAGE) + (segmentSize > 0 ? 1 : 0);
}
