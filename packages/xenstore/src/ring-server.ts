import { XENSTORE_CONNECTION, XENSTORE_ERROR, XS } from "@paravirt/xen-abi";
import {
  type ByteRingReader,
  type ByteRingWriter,
  createByteRingReader,
  createByteRingWriter,
  type RingPort,
} from "./byte-ring.ts";
import type { XenstoreConnection } from "./connection.ts";
import { isOver, type XenstoreQuotas } from "./quota.ts";
import { REQUEST_RING, RESPONSE_RING, RING_FIELDS } from "./ring-place.ts";
import { RingQueue } from "./ring-queue.ts";
import type { RunQueue } from "./run-queue.ts";
import { createMessageDecoder, type XenstoreMessage } from "./wire.ts";

/** The store's end of one domain's ring. */
export interface XenstoreRing {
  /** Whose ring it is. */
  readonly domid: number;
  /** Why the store stopped serving the ring, a value of `XENSTORE_ERROR` of xen-abi; 0 while it serves. */
  readonly error: number;
  /** To be called whenever the domain signals the ring's event channel. Does a bounded amount of work. */
  event(): void;
}

/** What a ring needs of the store. */
export interface RingServerOptions {
  readonly domid: number;
  readonly port: RingPort;
  readonly features: number;
  readonly runQueue: RunQueue;
  readonly quotas: () => XenstoreQuotas;
  readonly connect: (send: (message: XenstoreMessage) => void) => XenstoreConnection;
}

/** Requests of one domain that are served before others get their turn. */
const TURN = 16;

/** Serves one ring: bytes in, requests to the connection, replies and events out as the domain makes room. */
export class RingServer implements XenstoreRing {
  readonly domid: number;
  readonly #options: RingServerOptions;
  readonly #view: DataView;
  readonly #reader: ByteRingReader;
  readonly #writer: ByteRingWriter;
  readonly #queue = new RingQueue();
  readonly #decoder = createMessageDecoder();
  readonly #connection: XenstoreConnection;
  readonly #turn = (): void => this.#serve();
  error: number = XENSTORE_ERROR.NONE;
  #serving = false;
  #closed = false;
  #moved = false;
  /** Requests whose reply waits for the store's journal. */
  #unanswered = 0;
  #stalled = false;

  constructor(options: RingServerOptions) {
    const { page } = options.port;
    this.domid = options.domid;
    this.#options = options;
    this.#reader = createByteRingReader(page, REQUEST_RING);
    this.#writer = createByteRingWriter(page, RESPONSE_RING);
    this.#view = new DataView(page.buffer, page.byteOffset, page.byteLength);
    this.#view.setUint32(RING_FIELDS.serverFeatures, options.features, true);
    this.#view.setUint32(RING_FIELDS.error, XENSTORE_ERROR.NONE, true);
    this.#connection = options.connect((message) => this.#send(message));
  }

  event(): void {
    if (!this.#closed) this.#options.runQueue.add(this.#turn);
  }

  close(): void {
    this.#closed = true;
    this.#connection.close();
    this.#queue.clear();
  }

  #serve(): void {
    if (this.#closed) return;
    const reconnect = this.#view.getUint32(RING_FIELDS.connection, true) === XENSTORE_CONNECTION.RECONNECT;
    if (reconnect && this.#options.features % 2 === 1) this.#reconnect();
    if (this.error !== XENSTORE_ERROR.NONE) return;
    this.#serving = true;
    this.#moved = false;
    this.#flush();
    let requests = 0;
    while (requests < TURN && this.error === XENSTORE_ERROR.NONE) {
      this.#stalled = this.#isStalled();
      if (this.#stalled) break;
      const step = this.#read();
      if (step === "nothing") break;
      if (step === "request") requests++;
    }
    this.#serving = false;
    if (this.#moved) this.#options.port.notify();
    if (requests === TURN) this.#options.runQueue.add(this.#turn);
  }

  /** The domain owes us room: its further requests stay in the ring, so that their replies can't pile up here. */
  #isStalled(): boolean {
    const { outstanding, memory } = this.#options.quotas();
    const replies = this.#unanswered + this.#queue.replies;
    return this.domid !== 0 && (isOver(outstanding, replies + 1) || isOver(memory / 2, this.#queue.bytes));
  }

  #read(): "request" | "piece" | "nothing" {
    const available = this.#reader.available();
    if (available === undefined) {
      this.#fail(XENSTORE_ERROR.RINGIDX);
      return "nothing";
    }
    if (available === 0) return "nothing";
    const piece = this.#reader.take(Math.min(available, this.#decoder.needed));
    this.#moved = true;
    const message = this.#decoder.take(piece, 0, piece.length);
    if (this.#decoder.broken) this.#fail(XENSTORE_ERROR.PROTO);
    if (message === undefined) return "piece";
    this.#unanswered++;
    this.#connection.handle(message);
    return "request";
  }

  #send(message: XenstoreMessage): void {
    if (this.#closed || this.error !== XENSTORE_ERROR.NONE) return;
    const isReply = message.type !== XS.WATCH_EVENT;
    if (isReply) this.#unanswered--;
    this.#queue.push(message);
    if (this.domid !== 0 && isOver(this.#options.quotas().memory, this.#queue.bytes)) {
      this.#fail(XENSTORE_ERROR.COMM);
      return;
    }
    this.#flush();
    if (!this.#serving && this.#moved) {
      this.#moved = false;
      this.#options.port.notify();
    }
    // A reply that came late: requests may be left in the ring that nobody will signal again.
    if (isReply && !this.#serving && this.#stalled) this.event();
  }

  #flush(): void {
    if (this.#queue.bytes === 0) return;
    const room = this.#writer.room();
    if (room === undefined) {
      this.#fail(XENSTORE_ERROR.RINGIDX);
      return;
    }
    if (this.#queue.drain(room, (piece) => this.#writer.put(piece)) === 0) return;
    this.#writer.publish();
    this.#moved = true;
  }

  /** Stops serving and says so in the ring (docs/misc/xenstore-ring.txt); only a reconnection makes it good. */
  #fail(error: number): void {
    this.error = error;
    this.#forget();
    this.#view.setUint32(RING_FIELDS.error, error, true);
    this.#moved = false;
    this.#options.port.notify();
  }

  /** Drops watches, transactions, and all that the domain hasn't been told. */
  #forget(): void {
    this.#connection.reset();
    this.#queue.clear();
    this.#unanswered = 0;
    this.#stalled = false;
  }

  #reconnect(): void {
    this.#forget();
    this.#decoder.reset();
    for (const { consumer, producer } of [REQUEST_RING, RESPONSE_RING]) {
      this.#view.setUint32(consumer, 0, true);
      this.#view.setUint32(producer, 0, true);
    }
    this.#reader.reload();
    this.#writer.reload();
    this.error = XENSTORE_ERROR.NONE;
    this.#view.setUint32(RING_FIELDS.error, XENSTORE_ERROR.NONE, true);
    this.#view.setUint32(RING_FIELDS.connection, XENSTORE_CONNECTION.CONNECTED, true);
    this.#options.port.notify();
  }
}
