import { connect, type Socket } from "node:net";
import type { HostConnection, HostConnectionHandler, HostFailure } from "@paravirt/net";

const READ_SIZE = 256 * 1024;
/**
 * Where sockets read into. One buffer serves all of them where the kernel is asked for data only when it has some; Windows
 * is asked beforehand, and each socket needs its own.
 */
const SHARED: Uint8Array | undefined = process.platform === "win32" ? undefined : Buffer.allocUnsafeSlow(READ_SIZE);
/** Milliseconds for a connection to be made. */
const CONNECT_TIMEOUT = 60_000;

/** Connects to an address; one that stands for the loopback is tried with IPv6 too, where many servers listen only. */
export function openConnection(address: string, port: number, handler: HostConnectionHandler): HostConnection {
  const connection = new NodeConnection(handler);
  connection.connect(address, port, address === "127.0.0.1" ? "::1" : undefined);
  return connection;
}

/** Joins a socket that a server accepted with whoever `accept` names. */
export function acceptedConnection(
  socket: Socket,
  accept: (connection: HostConnection) => HostConnectionHandler | undefined,
): void {
  let handler: HostConnectionHandler | undefined;
  // `accept` gets the connection before it tells who handles it; nothing is reported in between.
  const connection = new NodeConnection({
    onData: (bytes) => handler!.onData(bytes),
    onDrain: () => handler!.onDrain(),
    onEnd: () => handler!.onEnd(),
    onClose: (failure) => handler?.onClose(failure),
  });
  connection.adopt(socket);
  handler = accept(connection);
  if (handler === undefined) connection.reset();
}

class NodeConnection implements HostConnection {
  readonly #handler: HostConnectionHandler;
  #socket: Socket | undefined;
  #failure: HostFailure | undefined;
  #paused = false;
  #isReset = false;

  constructor(handler: HostConnectionHandler) {
    this.#handler = handler;
  }

  get queued(): number {
    return this.#socket?.writableLength ?? 0;
  }

  connect(address: string, port: number, other: string | undefined): void {
    const socket = connect({
      host: address,
      port,
      allowHalfOpen: true,
      noDelay: true,
      onread: {
        buffer: SHARED ?? Buffer.allocUnsafeSlow(READ_SIZE),
        callback: (length, buffer) => {
          this.#handler.onData(buffer.subarray(0, length));
          return !this.#paused;
        },
      },
    });
    this.#socket = socket;
    socket.setTimeout(CONNECT_TIMEOUT, () => {
      this.#failure ??= "timeout";
      socket.destroy();
    });
    socket.once("connect", () => {
      socket.setTimeout(0);
      this.#handler.onOpen?.();
    });
    const tryOther = (error: NodeJS.ErrnoException): boolean => {
      if (other === undefined || error.code !== "ECONNREFUSED" || this.#isReset) return false;
      this.connect(other, port, undefined);
      return true;
    };
    this.#follow(socket, tryOther);
  }

  adopt(socket: Socket): void {
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => this.#handler.onData(bytes));
    this.#follow(socket);
  }

  write(bytes: Uint8Array): void {
    // The socket keeps what it can't write at once.
    this.#socket!.write(Buffer.from(bytes));
  }

  end(): void {
    this.#socket!.end();
  }

  reset(): void {
    if (this.#isReset) return;
    this.#isReset = true;
    const socket = this.#socket!;
    if (socket.connecting) socket.destroy();
    else socket.resetAndDestroy();
  }

  pause(): void {
    this.#paused = true;
    this.#socket!.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#socket!.resume();
  }

  #follow(socket: Socket, tryOther?: (error: NodeJS.ErrnoException) => boolean): void {
    let replaced = false;
    socket.on("drain", () => this.#handler.onDrain());
    socket.on("end", () => this.#handler.onEnd());
    socket.on("error", (error: NodeJS.ErrnoException) => {
      replaced = tryOther?.(error) === true;
      this.#failure ??= replaced ? undefined : failureOf(error);
    });
    socket.on("close", () => {
      if (!replaced) this.#handler.onClose(this.#isReset ? undefined : this.#failure);
    });
  }
}

function failureOf({ code }: NodeJS.ErrnoException): HostFailure {
  if (code === "ECONNREFUSED") return "refused";
  if (code === "ETIMEDOUT") return "timeout";
  return code === "ECONNRESET" || code === "EPIPE" ? "reset" : "unreachable";
}
