import { type ByteStream, ParavirtError } from "@paravirt/core";
import { XS } from "@paravirt/xen-abi";
import { createAccess, type XenstoreAccess } from "./access.ts";
import type { RingPort } from "./byte-ring.ts";
import { Connection, type XenstoreConnection } from "./connection.ts";
import type { DomainHooks } from "./domain-operations.ts";
import type { XenstoreJournal } from "./journal.ts";
import type { XenstoreQuotas } from "./quota.ts";
import { RingServer, type XenstoreRing } from "./ring-server.ts";
import { RunQueue } from "./run-queue.ts";
import { snapshotOf } from "./snapshot.ts";
import { StoreState } from "./state.ts";
import { createMessageDecoder, decodeChunk, encodeMessage, type XenstoreMessage } from "./wire.ts";

/** What a store can be made with. */
export interface XenstoreOptions {
  /** Limits for unprivileged domains where they differ from Xen's defaults. */
  readonly quotas?: Partial<XenstoreQuotas>;
  /**
   * Gets the ring for an INTRODUCE that came as a message: maps frame `gfn` of domain `domid` and binds `port`.
   * Answer `undefined` when that can't be done. Without it, INTRODUCE messages are answered ENOSYS.
   */
  readonly openRing?: (domid: number, gfn: number, port: number) => RingPort | undefined;
  /** Told of each ring that an INTRODUCE message connected, so that the host can call its `event`. */
  readonly onRing?: (ring: XenstoreRing) => void;
  /**
   * Runs a function soon, in a turn of the host's event loop. Rings then get one turn of 16 requests each time; without
   * it, turns follow one another until all rings have been served.
   */
  readonly schedule?: (run: () => void) => void;
  /** Keeps every committed change. Replies and events wait until it has what they tell of. */
  readonly journal?: XenstoreJournal;
  /**
   * Entries of an earlier store's journal, all of them in order, to begin with; they aren't appended again. Throws
   * `BAD_IMAGE` for what no journal was given.
   */
  readonly entries?: Iterable<Uint8Array>;
}

/** A xenstore: one tree, served to any number of domains and clients. */
export interface Xenstore {
  /** Domain 0's direct access. */
  readonly local: XenstoreAccess;
  /** Makes a connection with the rights of `domid` for messages that come by any way; `send` gets replies and events. */
  connect(domid: number, send: (message: XenstoreMessage) => void): XenstoreConnection;
  /** Serves a byte stream, such as a socket, with the rights of `domid` (0 unless given). A broken stream is closed. */
  serveStream(stream: ByteStream, domid?: number): void;
  /**
   * Connects a domain's ring and tells `@introduceDomain`. A second call for the same domain replaces its ring.
   * Throws `OUT_OF_RANGE` for domain 0 and Xen's special ids.
   */
  introduce(domid: number, port: RingPort): XenstoreRing;
  /** Ends a domain: its ring, watches, transactions and all nodes that it owns go, and `@releaseDomain` is told. False when it wasn't introduced. */
  release(domid: number): boolean;
  /** Tells `@releaseDomain` that a domain shut down or crashed and still exists. */
  shutdown(domid: number): void;
  /** Resolves when the journal has all changes made so far. */
  durable(): Promise<void>;
  /**
   * Entries that make a store as this one is at the time of the call: nodes, who may hear of domains, quotas. Made while
   * they are taken, some 32 KiB each, so that a host can write them between other work.
   */
  snapshot(): Iterable<Uint8Array>;
}

/** Highest id that a domain can have: `DOMID_FIRST_RESERVED` - 1. */
const LAST_DOMID = 0x7fef;

/** Makes a store with the nodes that Xen's xenstored starts with, `/tool/xenstored` of domain 0 alone, or from a journal. */
export function createXenstore(options: XenstoreOptions = {}): Xenstore {
  const state = new StoreState(options.quotas ?? {}, options.journal, options.entries);
  const runQueue = new RunQueue(options.schedule);
  const connect = (domid: number, send: (message: XenstoreMessage) => void): Connection =>
    new Connection(state, domid, hooks, send);
  const introduce = (domid: number, port: RingPort): RingServer => {
    const domain = state.domain(domid);
    domain.ring?.close();
    const ring = new RingServer({
      domid,
      port,
      features: domain.features,
      runQueue,
      quotas: () => domain.quotas,
      connect: (send) => connect(domid, send),
    });
    domain.ring = ring;
    state.fireSpecial("@introduceDomain", domid);
    return ring;
  };
  const hooks: DomainHooks = {
    introduce(domid, gfn, eventChannel) {
      if (options.openRing === undefined) return "unsupported";
      const port = options.openRing(domid, gfn, eventChannel);
      if (port === undefined) return false;
      options.onRing?.(introduce(domid, port));
      return true;
    },
  };
  return {
    local: createAccess(state),
    connect,
    serveStream: (stream, domid = 0) => serveStream(stream, (send) => connect(domid, send)),
    introduce(domid, port) {
      if (!Number.isInteger(domid) || domid < 1 || domid > LAST_DOMID) {
        throw new ParavirtError("OUT_OF_RANGE", `domain ${domid} can't be introduced; ids go from 1 to ${LAST_DOMID}`);
      }
      return introduce(domid, port);
    },
    release: (domid) => state.removeDomain(domid),
    shutdown: (domid) => state.fireSpecial("@releaseDomain", domid),
    durable: () => state.recorder.durable(),
    snapshot: () => snapshotOf(state),
  };
}

/** Requests of one stream whose replies wait for the journal; more are left unread. */
const STREAM_OUTSTANDING = 1000;

function serveStream(stream: ByteStream, connect: (send: (message: XenstoreMessage) => void) => Connection): void {
  let outstanding = 0;
  const connection = connect((message) => {
    stream.write(encodeMessage(message));
    if (message.type !== XS.WATCH_EVENT && --outstanding === STREAM_OUTSTANDING / 2) stream.resume?.();
  });
  const decoder = createMessageDecoder();
  const onMessage = (message: XenstoreMessage): void => {
    if (++outstanding === STREAM_OUTSTANDING) stream.pause?.();
    connection.handle(message);
  };
  stream.onClose(() => connection.close());
  stream.onData((bytes) => {
    if (decodeChunk(decoder, bytes, onMessage)) return;
    // xenstore.txt: a client that exceeds the payload limit has its connection killed.
    connection.close();
    stream.close();
  });
}
