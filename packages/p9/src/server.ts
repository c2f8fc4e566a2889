import { ServerConnection } from "./connection.ts";
import type { FileSystem } from "./file-system.ts";
import type { P9Connection } from "./link.ts";
import { LockTable } from "./locks.ts";

/** What {@link createP9Server} serves, and to what extent. */
export interface P9ServerOptions {
  /** The files. */
  readonly fileSystem: FileSystem;
  /** Refuses all changes with EROFS (false). */
  readonly readOnly?: boolean;
  /** Fids that a client may hold at a time, since each may cost an open file (65,536). More get ENFILE. */
  readonly maxFids?: number;
  /** Gets what a file system threw that isn't an answer to a guest; the guest gets EIO. */
  readonly onError?: (error: unknown) => void;
}

/** A server of one file system; its clients see each other's locks. */
export interface P9Server {
  /** Whether changes are refused. */
  readonly readOnly: boolean;
  /**
   * Makes the server's end of a link to a client. `maxMessage` is how many bytes a message may have at most, whatever
   * the client asks for: 4096 or more.
   */
  connect(options: { readonly maxMessage: number }): P9Connection;
}

/** Makes a 9P2000.L server. It has no transport: {@link P9Connection} takes and gives messages. */
export function createP9Server(options: P9ServerOptions): P9Server {
  const locks = new LockTable();
  let connections = 0;
  const readOnly = options.readOnly ?? false;
  return {
    readOnly,
    connect: ({ maxMessage }) =>
      new ServerConnection({
        fileSystem: options.fileSystem,
        readOnly,
        maxFids: options.maxFids ?? 65_536,
        onError: options.onError ?? (() => {}),
        maxMessage,
        locks,
        id: connections++,
      }),
  };
}
