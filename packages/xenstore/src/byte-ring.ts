import { ParavirtError } from "@paravirt/core";
import { byteRingFilled, ringDistance } from "@paravirt/xen-abi";

/** Where one direction of a byte ring lies in its page; offsets in bytes. The size is a power of two. */
export interface ByteRingPlace {
  /** Where the bytes begin. */
  readonly data: number;
  /** How many bytes there are. */
  readonly size: number;
  /** Where the taking end's 32-bit index is. */
  readonly consumer: number;
  /** Where the putting end's 32-bit index is. */
  readonly producer: number;
}

/** A page shared with the other end of a ring, and the way to wake that end. */
export interface RingPort {
  /** The 4096 bytes of the page; the other end may change them at any time. */
  readonly page: Uint8Array;
  /** Signals the event channel of the other end. */
  notify(): void;
}

/**
 * The end of a byte ring that takes bytes out. It keeps its own index, so that a peer who rewrites it gains nothing,
 * and reads the peer's index once per call.
 */
export interface ByteRingReader {
  /** Bytes that can be taken, at most the ring's size; `undefined` when the peer's index is out of range. */
  available(): number | undefined;
  /** Copies `count` bytes out, no more than {@link ByteRingReader.available} said, and tells the peer that they are free. */
  take(count: number): Uint8Array;
  /** Continues from the indices that the page holds now: for a ring that is taken over or was reset. */
  reload(): void;
}

/** The end of a byte ring that puts bytes in; see {@link ByteRingReader} for whom it trusts. */
export interface ByteRingWriter {
  /** Bytes that fit now; `undefined` when the peer's index is out of range. */
  room(): number | undefined;
  /** Copies bytes in, no more than {@link ByteRingWriter.room} said; the peer sees them after {@link ByteRingWriter.publish}. */
  put(bytes: Uint8Array): void;
  /** Shows what was put to the peer. */
  publish(): void;
  /** Continues from the indices that the page holds now. */
  reload(): void;
}

/** Makes the taking end of the ring at `place` of `page`. */
export function createByteRingReader(page: Uint8Array, place: ByteRingPlace): ByteRingReader {
  const view = viewOf(page, place);
  let consumer = view.getUint32(place.consumer, true);
  return {
    available: () => byteRingFilled(place.size, view.getUint32(place.producer, true), consumer),
    take(count) {
      const bytes = new Uint8Array(count);
      const start = consumer & (place.size - 1);
      const first = Math.min(count, place.size - start);
      bytes.set(page.subarray(place.data + start, place.data + start + first));
      bytes.set(page.subarray(place.data, place.data + count - first), first);
      consumer = (consumer + count) >>> 0;
      view.setUint32(place.consumer, consumer, true);
      return bytes;
    },
    reload() {
      consumer = view.getUint32(place.consumer, true);
    },
  };
}

/** Makes the putting end of the ring at `place` of `page`. */
export function createByteRingWriter(page: Uint8Array, place: ByteRingPlace): ByteRingWriter {
  const view = viewOf(page, place);
  let producer = view.getUint32(place.producer, true);
  return {
    room() {
      const filled = ringDistance(view.getUint32(place.consumer, true), producer);
      return filled > place.size ? undefined : place.size - filled;
    },
    put(bytes) {
      const start = producer & (place.size - 1);
      const first = Math.min(bytes.length, place.size - start);
      page.set(bytes.subarray(0, first), place.data + start);
      page.set(bytes.subarray(first), place.data);
      producer = (producer + bytes.length) >>> 0;
    },
    publish() {
      view.setUint32(place.producer, producer, true);
    },
    reload() {
      producer = view.getUint32(place.producer, true);
    },
  };
}

function viewOf(page: Uint8Array, place: ByteRingPlace): DataView {
  const end = Math.max(place.data + place.size, place.consumer + 4, place.producer + 4);
  if (page.length < end) {
    throw new ParavirtError(
      "BAD_ARGUMENT",
      `a ring that ends at byte ${end} does not fit a page of ${page.length} bytes`,
    );
  }
  return new DataView(page.buffer, page.byteOffset, page.byteLength);
}
