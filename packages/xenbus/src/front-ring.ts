import { ParavirtError } from "@paravirt/core";
import {
  ringEventIndex,
  ringFreeRequests,
  ringPushNotifies,
  ringResponseProducerOverflow,
  ringUnconsumedResponses,
} from "@paravirt/xen-abi";
import { RING_INDEX, RingMemory, type SharedRingOptions } from "./ring-memory.ts";

/** The frontend's end of a shared ring (`FRONT_RING` of `io/ring.h`): puts requests, takes responses. */
export interface FrontRing {
  /** Slots. */
  readonly size: number;
  /** The backend claimed more responses than there were requests: none are taken any more. */
  readonly broken: boolean;
  /** Requests that fit now. */
  readonly room: number;
  /** Puts a request into the ring; the backend sees it after {@link FrontRing.push}. Throws `OUT_OF_RANGE` when the ring is full. */
  request(request: Uint8Array): void;
  /** Shows the requests to the backend, and wakes it if it asked for that. */
  push(): void;
  /** A private copy of the next response, valid until the next is taken, or `undefined` when there is none now. */
  take(): DataView | undefined;
  /** Asks to be woken by the next response; true when there is one already, so take on. */
  waitForResponses(): boolean;
}

/** Makes the frontend's end and resets the ring's indices, as a frontend does before it shares the page. */
export function createFrontRing(options: SharedRingOptions): FrontRing {
  return new Front(options);
}

class Front implements FrontRing {
  readonly #memory: RingMemory;
  readonly #notify: () => void;
  #producer = 0;
  #published = 0;
  #consumer = 0;
  broken = false;

  constructor(options: SharedRingOptions) {
    this.#memory = new RingMemory(options);
    this.#notify = () => options.notify();
    // SHARED_RING_INIT: both ends are woken by the first entry.
    this.#memory.setIndex(RING_INDEX.requestProducer, 0);
    this.#memory.setIndex(RING_INDEX.responseProducer, 0);
    this.#memory.setIndex(RING_INDEX.requestEvent, 1);
    this.#memory.setIndex(RING_INDEX.responseEvent, 1);
  }

  get size(): number {
    return this.#memory.size;
  }

  get room(): number {
    return ringFreeRequests(this.size, this.#producer, this.#consumer);
  }

  request(request: Uint8Array): void {
    if (this.room === 0) throw new ParavirtError("OUT_OF_RANGE", `all ${this.size} slots of the ring hold requests`);
    this.#memory.copyIn(this.#producer, request);
    this.#producer = (this.#producer + 1) >>> 0;
  }

  push(): void {
    const before = this.#published;
    if (before === this.#producer) return;
    this.#published = this.#producer;
    this.#memory.setIndex(RING_INDEX.requestProducer, this.#producer);
    if (ringPushNotifies(before, this.#producer, this.#memory.index(RING_INDEX.requestEvent))) this.#notify();
  }

  take(): DataView | undefined {
    if (!this.#hasResponse()) return undefined;
    const slot = this.#memory.copyOut(this.#consumer);
    this.#consumer = (this.#consumer + 1) >>> 0;
    return slot;
  }

  waitForResponses(): boolean {
    if (this.#hasResponse()) return true;
    if (this.broken) return false;
    this.#memory.setIndex(RING_INDEX.responseEvent, ringEventIndex(this.#consumer));
    return this.#hasResponse();
  }

  #hasResponse(): boolean {
    if (this.broken) return false;
    const answered = this.#memory.index(RING_INDEX.responseProducer);
    // More than was asked for, or more than the ring holds: the backend is broken.
    const asked = ringUnconsumedResponses(this.#published, this.#consumer);
    if (
      ringResponseProducerOverflow(this.size, answered, this.#consumer) ||
      ringUnconsumedResponses(answered, this.#consumer) > asked
    ) {
      this.broken = true;
      return false;
    }
    return answered !== this.#consumer;
  }
}
