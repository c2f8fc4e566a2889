import { closeSync, openSync, writeSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { ParavirtError } from "@paravirt/core";
import { reason } from "./cache.ts";

/** Somewhere that bytes go: a file, standard output, nowhere. */
export interface ByteSink {
  /** Takes `bytes` at once and keeps no reference. Answers `false` when it would rather wait for {@link ByteSink.flush}. */
  write(bytes: Uint8Array): boolean;
  /** Resolves when all that was written has left this process. */
  flush(): Promise<void>;
  /** Flushes, and closes what this sink opened. */
  close(): Promise<void>;
}

/** A sink that drops everything. */
export const nullSink: ByteSink = {
  write: () => true,
  flush: () => Promise.resolve(),
  close: () => Promise.resolve(),
};

/** A sink that writes a new file, synchronously. Throws `UNAVAILABLE` when the file can't be opened or written. */
export function fileSink(path: string): ByteSink {
  let descriptor: number;
  try {
    descriptor = openSync(path, "w");
  } catch (error) {
    throw new ParavirtError("UNAVAILABLE", `${path} can't be written: ${reason(error)}`);
  }
  let open = true;
  return {
    write(bytes) {
      try {
        for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
      } catch (error) {
        throw new ParavirtError("UNAVAILABLE", `${path} can't be written: ${reason(error)}`);
      }
      return true;
    },
    flush: () => Promise.resolve(),
    close() {
      if (open) closeSync(descriptor);
      open = false;
      return Promise.resolve();
    },
  };
}

/** A sink on a Node stream such as `process.stdout`; a reader that goes away makes it silent and calls `onClosed`. */
export function streamSink(stream: Writable, onClosed?: () => void): ByteSink {
  let gone = false;
  stream.on("error", () => {
    // EPIPE and the like: nobody reads any more.
    if (gone) return;
    gone = true;
    onClosed?.();
  });
  const flush = (): Promise<void> =>
    new Promise((resolve) => {
      if (gone || stream.destroyed) resolve();
      else stream.write(new Uint8Array(0), () => resolve());
    });
  return {
    write(bytes) {
      return gone || stream.write(Uint8Array.prototype.slice.call(bytes));
    },
    flush,
    close: flush,
  };
}

/** Bytes that come from outside, at the pace of the one who takes them. */
export interface ByteSource {
  /** Stops the flow. */
  pause(): void;
  /** Lets it flow again. */
  resume(): void;
  /** Lets go of the stream, so that it keeps the process alive no longer. */
  close(): void;
}

/** Reads a Node stream such as `process.stdin` that is no terminal. Errors end it as its end does. */
export function readSource(stream: Readable, onData: (bytes: Uint8Array) => void, onEnd: () => void): ByteSource {
  let ended = false;
  const data = (bytes: Buffer | string): void => onData(typeof bytes === "string" ? Buffer.from(bytes) : bytes);
  const end = (): void => {
    if (ended) return;
    ended = true;
    onEnd();
  };
  stream.on("data", data);
  stream.on("end", end);
  stream.on("close", end);
  stream.on("error", end);
  return {
    pause: () => stream.pause(),
    resume: () => stream.resume(),
    close() {
      ended = true;
      stream.off("data", data);
      stream.pause();
      (stream as Readable & { unref?: () => void }).unref?.();
    },
  };
}
