import type { Awaitable } from "./file-system.ts";

/** The server's end of a link to one client: takes requests, gives answers, in any order. */
export interface P9Connection {
  /** Bytes that a message may have, as agreed with the client; 0 before that. */
  readonly messageSize: number;
  /** Requests that are not answered yet. */
  readonly pending: number;
  /** Bytes that requests which are not answered yet take. */
  readonly pendingBytes: number;
  /** Fids that the client holds. */
  readonly openFids: number;
  /**
   * Takes one whole message: its size field must be the length of `message`. `reply` gets the answer, at once or later,
   * or never when the client flushed it; the answer is the receiver's to keep, or to {@link P9Connection.recycle}.
   * Resolves, or returns, when `message` is no longer needed. Nothing that a client sends makes it throw.
   */
  receive(message: Uint8Array, reply: (response: Uint8Array) => void): Awaitable<void>;
  /** Takes back an answer that nobody looks at any more, so that large reads don't need fresh memory each time. */
  recycle(answer: Uint8Array): void;
  /** Ends the connection: cancels what is pending, lets go of all files, and resolves when that is done. */
  close(): Promise<void>;
}
