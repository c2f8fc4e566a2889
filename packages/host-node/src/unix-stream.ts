import { unlinkSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { ParavirtError } from "@paravirt/core";
import type { FrameStream } from "@paravirt/net";
import { reason } from "./cache.ts";

/** A listening unix socket. */
export interface UnixListener {
  /** Stops listening and removes the socket's file; streams that were accepted stay. */
  close(): void;
}

/** Connects to a unix socket (passt's, say). Fails with `UNAVAILABLE` when nobody listens there. */
export function connectUnixStream(path: string): Promise<FrameStream> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once("error", (error) =>
      reject(new ParavirtError("UNAVAILABLE", `can't connect to ${path}: ${reason(error)}`, { cause: error })),
    );
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      resolve(streamOf(socket));
    });
  });
}

/**
 * Listens at a unix socket, in place of one that a program left behind when it was killed. Fails with `BUSY` when somebody
 * listens there, `UNAVAILABLE` when it can't be made.
 */
export async function listenUnixStream(path: string, onStream: (stream: FrameStream) => void): Promise<UnixListener> {
  const listen = (): Promise<UnixListener> =>
    new Promise((resolve, reject) => {
      const server = createServer((socket) => onStream(streamOf(socket)));
      server.once("error", reject);
      server.listen(path, () => {
        server.removeAllListeners("error");
        server.on("error", () => {}); // one stream that can't be accepted is lost
        resolve({ close: () => void server.close() });
      });
    });
  try {
    return await listen();
  } catch (error) {
    if (codeOf(error) !== "EADDRINUSE")
      throw new ParavirtError("UNAVAILABLE", `can't listen at ${path}: ${reason(error)}`, { cause: error });
  }
  const other = await connectUnixStream(path).catch((error: ParavirtError) => error);
  if (!(other instanceof ParavirtError) || codeOf(other.cause) !== "ECONNREFUSED") {
    if (!(other instanceof ParavirtError)) other.close();
    throw new ParavirtError("BUSY", `somebody listens at ${path}`);
  }
  try {
    unlinkSync(path);
    return await listen();
  } catch (error) {
    throw new ParavirtError("UNAVAILABLE", `can't listen at ${path}: ${reason(error)}`, { cause: error });
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}

function streamOf(socket: Socket): FrameStream {
  // Until somebody reads, nothing is lost: a socket flows once it has a listener for data.
  socket.on("error", () => {});
  return {
    get queued() {
      return socket.writableLength;
    },
    write(bytes) {
      // The socket keeps what it can't write at once.
      socket.write(Buffer.from(bytes));
    },
    onData: (receiver) => void socket.on("data", receiver),
    onClose: (receiver) => void socket.once("close", receiver),
    close: () => void socket.destroy(),
  };
}
