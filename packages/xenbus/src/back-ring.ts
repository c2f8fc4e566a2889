import { ParavirtError } from "@paravirt/core";
import {
  ringDistance,
  ringEventIndex,
  ringPushNotifies,
  ringRequestProducerOverflow,
  ringUnconsumedRequests,
} from "@paravirt/xen-abi";
import { RING_INDEX, RingMemory, type SharedRingOptions } from "./ring-memory.ts";

/**
 * The backend's end of a shared ring (`BACK_RING` of `io/ring.h`): takes requests, gives responses. Its own indices are
 * private, and each shared one is read once per call: what a frontend scribbles into the page can only break its own ring.
 */
export interface BackRing {
  /** Slots. */
  readonly size: number;
  /** The frontend claimed more requests than the ring holds: no more are taken; close the device. */
  readonly broken: boolean;
  /** Requests that were taken and not answered yet. */
  readonly inFlight: number;
  /** A private copy of the next request, valid until the next is taken, or `undefined` when there is none now. */
  take(): DataView | undefined;
  /** Puts a response into the ring; the frontend sees it after {@link BackRing.push}. Throws `BUG` when no request is unanswered. */
  respond(response: Uint8Array): void;
  /** Shows the responses to the frontend, and wakes it if it asked for that. */
  push(): void;
  /** Asks to be woken by the next request; true when there is one already, so take on. */
  waitForRequests(): boolean;
}

/** Makes the backend's end, going on from the responses that the ring has seen. Throws `BAD_ARGUMENT` for a ring of no slots. */
export function createBackRing(options: SharedRingOptions): BackRing {
  return new Back(options);
}

class Back implements BackRing {
  readonly #memory: RingMemory;
  readonly #notify: () => void;
  #consumer: number;
  #producer: number;
  #published: number;
  broken = false;

  constructor(options: SharedRingOptions) {
    this.#memory = new RingMemory(options);
    this.#notify = () => options.notify();
    // After a reconnection the ring isn't empty at 0: everything up to the responses given was dealt with (BACK_RING_ATTACH).
    this.#producer = this.#memory.index(RING_INDEX.responseProducer);
    this.#published = this.#producer;
    this.#consumer = this.#producer;
  }

  get size(): number {
    return this.#memory.size;
  }

  get inFlight(): number {
    return ringDistance(this.#producer, this.#consumer);
  }

  take(): DataView | undefined {
    if (!this.#hasRequest()) return undefined;
    const slot = this.#memory.copyOut(this.#consumer);
    this.#consumer = (this.#consumer + 1) >>> 0;
    return slot;
  }

  respond(response: Uint8Array): void {
    if (this.inFlight === 0) throw new ParavirtError("BUG", "a ring got more responses than it had requests");
    this.#memory.copyIn(this.#producer, response);
    this.#producer = (this.#producer + 1) >>> 0;
  }

  push(): void {
    const before = this.#published;
    if (before === this.#producer) return;
    this.#published = this.#producer;
    this.#memory.setIndex(RING_INDEX.responseProducer, this.#producer);
    if (ringPushNotifies(before, this.#producer, this.#memory.index(RING_INDEX.responseEvent))) this.#notify();
  }

  waitForRequests(): boolean {
    if (this.#hasRequest()) return true;
    if (this.broken) return false;
    this.#memory.setIndex(RING_INDEX.requestEvent, ringEventIndex(this.#consumer));
    return this.#hasRequest();
  }

  #hasRequest(): boolean {
    if (this.broken) return false;
    const requested = this.#memory.index(RING_INDEX.requestProducer);
    if (ringRequestProducerOverflow(this.size, requested, this.#producer)) {
      this.broken = true;
      return false;
    }
    return ringUnconsumedRequests(this.size, requested, this.#consumer, this.#producer) > 0;
  }
}
