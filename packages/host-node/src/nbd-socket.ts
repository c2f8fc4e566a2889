import { connect, type Socket } from "node:net";
import type { Disk } from "@paravirt/core";
import { type ByteStream, ParavirtError } from "@paravirt/core";
import { connectNbd } from "@paravirt/disk";
import { reason } from "./cache.ts";

/** Where an NBD server listens, and which of its exports is meant. */
export interface NbdAddress {
  /** Path of its unix socket, or its host and port. */
  readonly at:
    | {
        /** Path of the socket. */
        readonly path: string;
      }
    | {
        /** Name or address of the host. */
        readonly host: string;
        /** Its TCP port. */
        readonly port: number;
      };
  /** The export's name; servers may have one without a name. */
  readonly exportName: string;
}

const DEFAULT_PORT = 10809;
const CONNECT_TIMEOUT = 30_000;

/** Reads `nbd://HOST[:PORT][/EXPORT]` and `nbd+unix:///[EXPORT]?socket=PATH` (doc/uri.md of NBD). Throws `BAD_ARGUMENT`. */
export function parseNbdAddress(text: string): NbdAddress {
  const wrong = (): ParavirtError =>
    new ParavirtError("BAD_ARGUMENT", `${text}: nbd://HOST[:PORT][/EXPORT] or nbd+unix:///[EXPORT]?socket=PATH`);
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw wrong();
  }
  const exportName = decodeURIComponent(url.pathname.replace(/^\//, ""));
  if (url.protocol === "nbd+unix:") {
    const path = url.searchParams.get("socket");
    if (path === null || path === "") throw wrong();
    return { at: { path }, exportName };
  }
  if (url.protocol === "nbds:" || url.protocol === "nbds+unix:")
    throw new ParavirtError("UNSUPPORTED", `${text}: NBD over TLS`);
  if (url.protocol !== "nbd:" || url.hostname === "") throw wrong();
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  return { at: { host, port: url.port === "" ? DEFAULT_PORT : Number(url.port) }, exportName };
}

/** Opens the disk that an NBD server exports. Throws `UNAVAILABLE` when nobody answers, or what `connectNbd` says. */
export async function openNbd(address: string, options: { readonly readOnly?: boolean } = {}): Promise<Disk> {
  const { at, exportName } = parseNbdAddress(address);
  return connectNbd(await connectSocket(address, at), { ...options, exportName });
}

async function connectSocket(address: string, at: NbdAddress["at"]): Promise<ByteStream> {
  const socket = connect({ ...at, noDelay: true });
  await new Promise<void>((resolve, reject) => {
    const fail = (why: string): void => {
      socket.destroy();
      reject(new ParavirtError("UNAVAILABLE", `${address}: ${why}`));
    };
    socket.setTimeout(CONNECT_TIMEOUT, () => fail("no answer"));
    socket.once("error", (error) => fail(reason(error)));
    socket.once("connect", () => {
      socket.setTimeout(0);
      socket.removeAllListeners("error");
      resolve();
    });
  });
  return streamOf(socket);
}

function streamOf(socket: Socket): ByteStream {
  // "close" follows; who waits hears of that.
  socket.on("error", () => {});
  return {
    write(bytes) {
      if (!socket.destroyed) socket.write(Uint8Array.prototype.slice.call(bytes));
    },
    onData: (receiver) => void socket.on("data", receiver),
    onClose: (receiver) => void socket.once("close", receiver),
    close: () => socket.destroySoon(),
  };
}
