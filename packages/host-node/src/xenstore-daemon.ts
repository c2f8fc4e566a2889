import type { ParavirtError } from "@paravirt/core";
import { createXenstore, type Xenstore, type XenstoreOptions } from "@paravirt/xenstore";
import { openRecordLog, type RecordLog } from "./record-log.ts";
import { listenUnix, type UnixServer } from "./unix-socket.ts";

/** What {@link startXenstoreDaemon} starts. */
export interface XenstoreDaemonOptions {
  /** Path of the unix socket. Who can open it has domain 0's rights. */
  readonly socket: string;
  /** File that keeps the store; without one it begins empty and ends with the daemon. */
  readonly db?: string;
  /** Limits for unprivileged domains where they differ from Xen's defaults. */
  readonly quotas?: XenstoreOptions["quotas"];
  /** Told once when `db` can't be written any more: no further change will be answered. */
  readonly onError: (error: ParavirtError) => void;
  /** Size in bytes from which on `db` is compacted; see {@link RecordLogOptions.compactFrom}. */
  readonly compactFrom?: number;
}

/** A xenstore on a unix socket. */
export interface XenstoreDaemon {
  /** The store itself, for use in this program. */
  readonly store: Xenstore;
  /** Bytes at the end of `db` that belonged to a write that never ended, and were cut off. */
  readonly unfinished: number;
  /** Answers what was asked, makes all changes durable, and ends. */
  close(): Promise<void>;
}

/**
 * Serves a xenstore on a unix socket, as Xen's xenstored does. With `db`, every change that was answered is on the disk:
 * it survives SIGKILL and a power cut. Throws `BUSY` when socket or file is in use, `UNAVAILABLE` when they can't be had,
 * `BAD_IMAGE` when the file is something else or damaged.
 */
export async function startXenstoreDaemon(options: XenstoreDaemonOptions): Promise<XenstoreDaemon> {
  const { compactFrom } = options;
  let failed = false;
  const onError = (error: ParavirtError): void => {
    failed = true;
    options.onError(error);
  };
  const log =
    options.db === undefined
      ? undefined
      : openRecordLog(options.db, { onError, ...(compactFrom === undefined ? {} : { compactFrom }) });
  let server: UnixServer;
  let store: Xenstore;
  try {
    store = createXenstore({ ...(options.quotas && { quotas: options.quotas }), ...kept(log) });
    log?.compactWith(() => store.snapshot());
    server = await listenUnix(options.socket, (stream) => store.serveStream(stream));
  } catch (error) {
    await log?.close();
    throw error;
  }
  return {
    store,
    unfinished: log?.unfinished ?? 0,
    async close() {
      // Replies that wait for the disk still go out; after a failure none may.
      if (!failed) await store.durable();
      await server.close();
      await log?.close();
    },
  };
}

function kept(log: RecordLog | undefined): Pick<XenstoreOptions, "journal" | "entries"> {
  return log === undefined ? {} : { journal: log, entries: log.takeRecords() };
}
