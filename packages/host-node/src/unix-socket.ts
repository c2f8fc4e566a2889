import { chmodSync, existsSync, lstatSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { type ByteStream, ParavirtError } from "@paravirt/core";
import { reason } from "./cache.ts";

/** How a unix socket's stream behaves. */
export interface UnixStreamOptions {
  /** Bytes that may wait for the other side to read them; past it the connection ends. 64 MiB unless given. */
  readonly maxWaiting?: number;
}

/** A server on a unix socket. */
export interface UnixServer {
  /** Takes the socket away and ends all connections, after what was written to them, if they take it within a second. */
  close(): Promise<void>;
}

/** Longest path of a unix socket (`sun_path` without its NUL). */
const MAX_PATH = 107;
/** While so many bytes wait for the other side, nothing more is read from it: it asks faster than it takes answers. */
const HIGH_WATER = 1 << 20;
const MAX_WAITING = 64 << 20;
/** Milliseconds that a connection has for taking its last bytes when the server closes. */
const CLOSE_TIME = 1000;

/**
 * Serves a unix socket at `path`, for its owner only. A socket that a dead server left there is replaced. Throws `BUSY`
 * when a server answers there, `UNAVAILABLE` when the socket can't be made.
 */
export async function listenUnix(
  path: string,
  onStream: (stream: ByteStream) => void,
  options: UnixStreamOptions = {},
): Promise<UnixServer> {
  checkPath(path);
  await removeStale(path);
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    onStream(streamOf(socket, options));
  });
  await listen(server, path);
  return {
    close: () =>
      new Promise((resolve) => {
        const timer = setTimeout(() => {
          for (const socket of open) socket.destroy();
        }, CLOSE_TIME);
        server.close(() => {
          clearTimeout(timer);
          resolve();
        });
        for (const socket of open) socket.destroySoon();
      }),
  };
}

/** Connects to the unix socket at `path`. Throws `UNAVAILABLE` when nobody serves it. */
export async function connectUnix(path: string, options: UnixStreamOptions = {}): Promise<ByteStream> {
  checkPath(path);
  try {
    return streamOf(await connected(path), options);
  } catch (error) {
    throw new ParavirtError("UNAVAILABLE", `${path} can't be connected to: ${reason(error)}`, { cause: error });
  }
}

function checkPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (length > MAX_PATH) {
    throw new ParavirtError(
      "OUT_OF_RANGE",
      `the path of a unix socket has ${MAX_PATH} bytes at most, not ${length}: ${path}`,
    );
  }
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

async function removeStale(path: string): Promise<void> {
  // Node.js says EACCES for this.
  if (!existsSync(dirname(path)))
    throw new ParavirtError("UNAVAILABLE", `${path} can't be served: no folder ${dirname(path)}`);
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status === undefined) return;
  if (!status.isSocket()) throw new ParavirtError("UNAVAILABLE", `${path} is there already and is no socket`);
  let socket: Socket;
  try {
    socket = await connected(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ECONNREFUSED") {
      rmSync(path, { force: true });
      return;
    }
    throw new ParavirtError("UNAVAILABLE", `${path} can't be served: ${reason(error)}`, { cause: error });
  }
  socket.destroy();
  throw new ParavirtError("BUSY", `${path} is served by another program`);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      reject(new ParavirtError("UNAVAILABLE", `${path} can't be served: ${reason(error)}`, { cause: error }));
    });
    server.listen(path, () => resolve());
    // The socket is bound by now and accepts from the next turn on.
    try {
      chmodSync(path, 0o600);
    } catch {
      // It couldn't be bound: the error event comes.
    }
  });
}

function streamOf(socket: Socket, { maxWaiting = MAX_WAITING }: UnixStreamOptions): ByteStream {
  const batch = createBatch((bytes) => {
    if (socket.destroyed) return;
    socket.write(bytes);
    if (socket.writableLength > maxWaiting) socket.destroy();
    else if (socket.writableLength > HIGH_WATER && !full) {
      full = true;
      flow();
    }
  });
  let closed: () => void = () => {};
  let held = false;
  let full = false;
  const flow = (): void => {
    if (held || full) socket.pause();
    else socket.resume();
  };
  // What an error means is told by the close that follows it.
  socket.on("error", () => {});
  socket.on("close", () => closed());
  socket.on("drain", () => {
    full = false;
    flow();
  });
  return {
    write: (bytes) => batch.add(bytes),
    onData: (receiver) => void socket.on("data", receiver),
    onClose(receiver) {
      closed = receiver;
    },
    close() {
      batch.flush();
      socket.destroySoon();
    },
    pause() {
      held = true;
      flow();
    },
    resume() {
      held = false;
      flow();
    },
  };
}

/** Puts all that one turn writes together: one system call instead of one for each message. */
function createBatch(write: (bytes: Uint8Array) => void): { add(bytes: Uint8Array): void; flush(): void } {
  let buffer = Buffer.alloc(0);
  let used = 0;
  const flush = (): void => {
    if (used === 0) return;
    const bytes = buffer.subarray(0, used);
    // The socket keeps what it can't send at once: the next batch begins where this one ends.
    buffer = buffer.subarray(used);
    used = 0;
    write(bytes);
  };
  return {
    add(bytes) {
      if (used === 0) process.nextTick(flush);
      if (used + bytes.length > buffer.length) {
        const larger = Buffer.allocUnsafeSlow(Math.max(16_384, 2 * (used + bytes.length)));
        larger.set(buffer.subarray(0, used));
        buffer = larger;
      }
      buffer.set(bytes, used);
      used += bytes.length;
    },
    flush,
  };
}
