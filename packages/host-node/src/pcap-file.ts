import { closeSync, openSync, writeSync } from "node:fs";
import type { PacketPort } from "@paravirt/core";
import { ParavirtError } from "@paravirt/core";
import { teePcap } from "@paravirt/net";
import { reason } from "./cache.ts";

/** A port whose frames are written to a file. */
export interface PcapFile {
  /** To be used in place of the port. */
  readonly port: PacketPort;
  /** Writes what is left, and closes the file. */
  close(): void;
}

const BUFFER = 256 * 1024;
/** Milliseconds after which frames are in the file, for whoever reads along. */
const DELAY = 100;

/**
 * Writes all frames that pass `port` to a new file at `path`, which tcpdump and Wireshark read. Throws `UNAVAILABLE` when it
 * can't be made. A disk that is full ends the record, not the network: `onError` is told once.
 */
export function openPcapFile(path: string, port: PacketPort, onError: (error: ParavirtError) => void): PcapFile {
  const failed = (what: string, error: unknown): ParavirtError =>
    new ParavirtError("UNAVAILABLE", `${path} can't be ${what}: ${reason(error)}`, { cause: error });
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, "w", 0o644);
  } catch (error) {
    throw failed("made", error);
  }
  const buffer = Buffer.allocUnsafe(BUFFER);
  let used = 0;
  let timer: NodeJS.Timeout | undefined;
  const put = (bytes: Uint8Array): void => {
    if (descriptor === undefined) return;
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done, bytes.length - done);
    } catch (error) {
      closeSync(descriptor);
      descriptor = undefined;
      onError(failed("written", error));
    }
  };
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    put(buffer.subarray(0, used));
    used = 0;
  };
  const write = (bytes: Uint8Array): void => {
    if (used + bytes.length > BUFFER) flush();
    if (bytes.length > BUFFER) {
      put(bytes);
      return;
    }
    buffer.set(bytes, used);
    used += bytes.length;
    timer ??= setTimeout(flush, DELAY).unref();
  };
  const now = (): number => performance.timeOrigin + performance.now();
  return {
    port: teePcap(port, { write, now }),
    close() {
      flush();
      if (descriptor !== undefined) closeSync(descriptor);
      descriptor = undefined;
    },
  };
}
