import { XENSTORE_PAYLOAD_MAX } from "@paravirt/xen-abi";

/** One xenstore message after its header was taken apart: `struct xsd_sockmsg` of `io/xs_wire.h` and its body. */
export interface XenstoreMessage {
  /** What is asked or answered, a value of `XS` of xen-abi; a guest may send any 32-bit number. */
  readonly type: number;
  /** Chosen by the client, echoed by the store, 0 for a watch event. */
  readonly requestId: number;
  /** The transaction that the request belongs to, 0 for none. */
  readonly transactionId: number;
  /** The payload, at most 4096 bytes; a private copy. */
  readonly body: Uint8Array;
}

/** Bytes of a message's header. */
export const MESSAGE_HEADER_SIZE = 16;

/** Makes the bytes of a message; the caller sees to it that the body is at most 4096 bytes long. */
export function encodeMessage(message: XenstoreMessage): Uint8Array {
  const bytes = new Uint8Array(MESSAGE_HEADER_SIZE + message.body.length);
  putWord(bytes, 0, message.type);
  putWord(bytes, 4, message.requestId);
  putWord(bytes, 8, message.transactionId);
  putWord(bytes, 12, message.body.length);
  bytes.set(message.body, MESSAGE_HEADER_SIZE);
  return bytes;
}

/**
 * Puts messages together from bytes that come in pieces of any size. Knows nothing of where they come from:
 * ask {@link MessageDecoder.needed}, hand over at most that many bytes.
 */
export interface MessageDecoder {
  /** How many bytes the current part (header or body) still lacks; at least 1 unless {@link MessageDecoder.broken}. */
  readonly needed: number;
  /** The peer announced a body longer than 4096 bytes: the stream can't be followed any more. */
  readonly broken: boolean;
  /** Takes `bytes[start, end)`, no more than {@link MessageDecoder.needed}; answers the message that they complete. */
  take(bytes: Uint8Array, start: number, end: number): XenstoreMessage | undefined;
  /** Forgets a half message. */
  reset(): void;
}

/** Makes a decoder at the start of a stream. */
export function createMessageDecoder(): MessageDecoder {
  return new Decoder();
}

/**
 * Feeds one piece of a stream through `decoder` and calls `onMessage` for each message it completes.
 * Answers false when the stream is broken.
 */
export function decodeChunk(
  decoder: MessageDecoder,
  bytes: Uint8Array,
  onMessage: (message: XenstoreMessage) => void,
): boolean {
  for (let at = 0; at < bytes.length && !decoder.broken; ) {
    const end = Math.min(bytes.length, at + decoder.needed);
    const message = decoder.take(bytes, at, end);
    at = end;
    if (message !== undefined) onMessage(message);
  }
  return !decoder.broken;
}

class Decoder implements MessageDecoder {
  readonly #header = new Uint8Array(MESSAGE_HEADER_SIZE);
  #body: Uint8Array | undefined;
  #filled = 0;
  broken = false;

  get needed(): number {
    if (this.broken) return 0;
    return (this.#body === undefined ? MESSAGE_HEADER_SIZE : this.#body.length) - this.#filled;
  }

  take(bytes: Uint8Array, start: number, end: number): XenstoreMessage | undefined {
    const into = this.#body ?? this.#header;
    for (let at = start; at < end; at++) into[this.#filled++] = bytes[at]!;
    if (this.#filled < into.length) return undefined;
    if (this.#body === undefined) {
      const length = word(this.#header, 12);
      if (length > XENSTORE_PAYLOAD_MAX) {
        this.broken = true;
        return undefined;
      }
      this.#body = new Uint8Array(length);
      this.#filled = 0;
      if (length > 0) return undefined;
    }
    const message = {
      type: word(this.#header, 0),
      requestId: word(this.#header, 4),
      transactionId: word(this.#header, 8),
      body: this.#body,
    };
    this.reset();
    return message;
  }

  reset(): void {
    this.#body = undefined;
    this.#filled = 0;
    this.broken = false;
  }
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

function putWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}
