import { type PacketPort, ParavirtError } from "@paravirt/core";

/** What is used of a browser's `WebSocket`; Node.js 22 and later have the same. */
export interface WebSocketLike {
  /** How binary messages come; set to `arraybuffer`. */
  binaryType: string;
  /** 1 while the connection is open. */
  readonly readyState: number;
  /** Bytes that were sent and not yet taken. */
  readonly bufferedAmount: number;
  /** Sends a binary message. */
  send(data: Uint8Array): void;
  /** Ends the connection. */
  close(): void;
  /** Adds a listener for the connection's state. */
  addEventListener(type: "open" | "close" | "error", listener: () => void): void;
  /** Adds a listener for messages. */
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
}

/** How the connection to a relay is made and kept. */
export interface RelayOptions {
  /** Makes a connection to the relay: `() => new WebSocket("wss://relay.example.org/")`. */
  connect(): WebSocketLike;
  /** Calls `work` once after so many milliseconds; answers how to prevent it. */
  after(milliseconds: number, work: () => void): () => void;
  /** Milliseconds after which a lost connection is made again; doubled up to 30 s while that fails (1000). */
  readonly retry?: number;
  /** Bytes that may wait in the socket (1 MiB); further frames are dropped. */
  readonly maxQueued?: number;
  /** Told when the connection is there, and when it is lost. */
  readonly onState?: (connected: boolean) => void;
}

/** A port whose other end is a relay. */
export interface Relay extends PacketPort {
  /** Whether there is a connection. */
  readonly connected: boolean;
  /** Frames that were dropped: without a connection, or into a full one. */
  readonly dropped: number;
  /** Ends the connection for good. */
  close(): void;
}

const OPEN = 1;
const RETRY = 1000;
const LONGEST_RETRY = 30_000;
const MAX_QUEUED = 1024 * 1024;
const LEAST_FRAME = 14;
const MAX_FRAME = 0xffff + 18;

/**
 * Connects to a relay over a WebSocket: each binary message is one Ethernet frame, in both directions; text is ignored. Relays
 * for other emulators in browsers (websockproxy) talk the same. A connection that is lost is made again.
 */
export function connectRelay(options: RelayOptions): Relay {
  const { retry = RETRY, maxQueued = MAX_QUEUED, onState } = options;
  if (!(retry > 0)) throw new ParavirtError("OUT_OF_RANGE", `retry ${retry} is not above 0 ms`);
  let receiver: ((frame: Uint8Array) => void) | undefined;
  let socket: WebSocketLike | undefined;
  let delay = retry;
  let dropped = 0;
  let closed = false;
  let cancel = (): void => {};

  function open(): void {
    const next = options.connect();
    socket = next;
    next.binaryType = "arraybuffer";
    let opened = false;
    next.addEventListener("open", () => {
      if (socket !== next) return;
      opened = true;
      delay = retry;
      onState?.(true);
    });
    next.addEventListener("message", ({ data }) => {
      if (socket !== next || !(data instanceof ArrayBuffer)) return;
      const frame = new Uint8Array(data);
      if (frame.length >= LEAST_FRAME && frame.length <= MAX_FRAME) receiver?.(frame);
    });
    // An error is always followed by the end; without a listener some would throw it.
    next.addEventListener("error", () => {});
    next.addEventListener("close", () => {
      if (socket !== next) return;
      socket = undefined;
      if (opened) onState?.(false);
      if (closed) return;
      cancel = options.after(delay, open);
      delay = Math.min(delay * 2, LONGEST_RETRY);
    });
  }
  open();
  return {
    get connected() {
      return socket?.readyState === OPEN;
    },
    get dropped() {
      return dropped;
    },
    send(frame) {
      if (socket?.readyState !== OPEN || socket.bufferedAmount + frame.length > maxQueued) {
        dropped++;
        return;
      }
      // Browsers copy at once; a copy of ours keeps others from sending what the frame became later.
      socket.send(frame.slice());
    },
    onPacket(next) {
      receiver = next;
    },
    close() {
      if (closed) return;
      closed = true;
      cancel();
      socket?.close();
    },
  };
}
