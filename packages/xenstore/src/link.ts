import type { ByteStream } from "@paravirt/core";
import { XENSTORE_ERROR } from "@paravirt/xen-abi";
import { createByteRingReader, createByteRingWriter, type RingPort } from "./byte-ring.ts";
import { REQUEST_RING, RESPONSE_RING, RING_FIELDS } from "./ring-place.ts";
import { RingQueue } from "./ring-queue.ts";
import type { Xenstore } from "./store.ts";
import { createMessageDecoder, decodeChunk, encodeMessage, type XenstoreMessage } from "./wire.ts";

/** How a client's messages reach a store and come back. Made by {@link localLink}, {@link streamLink}, {@link ringLink}. */
export interface XenstoreLink {
  /** Sends one request, or queues it until there is room. */
  send(message: XenstoreMessage): void;
  /** Names the receivers, once, before anything is sent. */
  start(onMessage: (message: XenstoreMessage) => void, onClose: (reason: string) => void): void;
  /** Ends it. */
  close(): void;
}

/** A link over a ring page, from the guest's side. */
export interface XenstoreRingLink extends XenstoreLink {
  /** To be called whenever the store signals the ring's event channel. */
  event(): void;
}

/** A link to a store in the same program, with the rights of `domid` (0 unless given). */
export function localLink(store: Xenstore, domid = 0): XenstoreLink {
  let receive: (message: XenstoreMessage) => void = () => {};
  let closed: (reason: string) => void = () => {};
  const connection = store.connect(domid, (message) => receive(message));
  return {
    send: (message) => connection.handle(message),
    start(onMessage, onClose) {
      receive = onMessage;
      closed = onClose;
    },
    close() {
      connection.close();
      closed("closed");
    },
  };
}

/** A link over a byte stream, such as a socket to a xenstore daemon. */
export function streamLink(stream: ByteStream): XenstoreLink {
  return {
    send: (message) => stream.write(encodeMessage(message)),
    start(onMessage, onClose) {
      const decoder = createMessageDecoder();
      stream.onClose(() => onClose("the stream ended"));
      stream.onData((bytes) => {
        if (decodeChunk(decoder, bytes, onMessage)) return;
        stream.close();
        onClose("a message announced more than 4096 bytes");
      });
    },
    close: () => stream.close(),
  };
}

/** A link over a ring page, as a guest's kernel has it. */
export function ringLink(port: RingPort): XenstoreRingLink {
  const writer = createByteRingWriter(port.page, REQUEST_RING);
  const reader = createByteRingReader(port.page, RESPONSE_RING);
  const view = new DataView(port.page.buffer, port.page.byteOffset, port.page.byteLength);
  const queue = new RingQueue();
  const decoder = createMessageDecoder();
  let receive: (message: XenstoreMessage) => void = () => {};
  let closed: (reason: string) => void = () => {};
  let open = true;
  const fail = (reason: string): void => {
    if (!open) return;
    open = false;
    queue.clear();
    closed(reason);
  };
  const flush = (): boolean => {
    const room = writer.room();
    if (room === undefined) {
      fail("the ring's indices are out of range");
      return false;
    }
    if (queue.bytes === 0 || queue.drain(room, (piece) => writer.put(piece)) === 0) return false;
    writer.publish();
    return true;
  };
  const takeOne = (): boolean => {
    const available = reader.available();
    if (available === undefined) fail("the ring's indices are out of range");
    if (available === undefined || available === 0) return false;
    if (!decodeChunk(decoder, reader.take(available), receive)) fail("a message announced more than 4096 bytes");
    return open;
  };
  return {
    send(message) {
      if (!open) return;
      queue.push(message);
      if (flush()) port.notify();
    },
    start(onMessage, onClose) {
      receive = onMessage;
      closed = onClose;
    },
    event() {
      if (!open) return;
      const error = view.getUint32(RING_FIELDS.error, true);
      if (error !== XENSTORE_ERROR.NONE) {
        fail(`the store gave the ring up with error ${error}`);
        return;
      }
      const took = takeOne();
      const sent = flush();
      if (took || sent) port.notify();
    },
    close: () => fail("closed"),
  };
}
