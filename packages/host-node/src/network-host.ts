import { randomFillSync } from "node:crypto";
import { createSocket } from "node:dgram";
import { Resolver } from "node:dns";
import { readFileSync, statSync } from "node:fs";
import { createServer, isIPv4, isIPv6, type ListenOptions } from "node:net";
import { isParavirtError, ParavirtError } from "@paravirt/core";
import type {
  HostConnection,
  HostConnectionHandler,
  HostDatagramListener,
  HostDatagrams,
  HostDatagramsHandler,
  HostListener,
  HostPeer,
  NetworkHost,
} from "@paravirt/net";
import { reason } from "./cache.ts";
import { acceptedConnection, openConnection } from "./network-connection.ts";

/** What {@link nodeNetworkHost} may be told. */
export interface NodeNetworkHostOptions {
  /** IPv4 addresses of resolvers, in place of the machine's. */
  readonly nameServers?: readonly string[];
  /** The table of names, in place of `/etc/hosts`. */
  readonly hostsFile?: string;
}

/** Milliseconds for which the list of resolvers isn't read again. */
const RESOLVERS_LIFE = 5000;
/** Datagrams that wait until their socket is connected. */
const MAX_EARLY = 64;

/** This machine's sockets, time, chance and names, for networks of `@paravirt/net`. It keeps no process alive by itself. */
export function nodeNetworkHost(options: NodeNetworkHostOptions = {}): NetworkHost {
  const chance = new Uint32Array(256);
  let used = chance.length;
  let resolvers: { readonly addresses: readonly string[]; readonly until: number } | undefined;
  const hosts = new HostsFile(options.hostsFile ?? "/etc/hosts");
  return {
    now: () => performance.now(),
    after(milliseconds, work) {
      const timer = setTimeout(work, milliseconds);
      timer.unref();
      return () => clearTimeout(timer);
    },
    random() {
      if (used === chance.length) {
        randomFillSync(chance);
        used = 0;
      }
      return chance[used++]!;
    },
    connect: openConnection,
    openDatagrams,
    listen,
    listenDatagrams,
    nameServers() {
      if (options.nameServers !== undefined) return options.nameServers;
      const now = performance.now();
      if (resolvers === undefined || resolvers.until < now)
        resolvers = { addresses: new Resolver().getServers().filter(isIPv4), until: now + RESOLVERS_LIFE };
      return resolvers.addresses;
    },
    localAddresses: (name) => hosts.addresses(name),
  };
}

function openDatagrams(address: string, port: number, handler: HostDatagramsHandler): HostDatagrams {
  const socket = createSocket("udp4");
  let early: Buffer[] | undefined = [];
  let closed = false;
  const send = (bytes: Buffer): void => {
    socket.send(bytes, (error) => {
      if (error !== null && !closed) handler.onUnreachable();
    });
  };
  socket.on("message", (bytes) => handler.onMessage(bytes));
  socket.on("error", () => {
    if (!closed) handler.onUnreachable();
  });
  socket.on("connect", () => {
    const waiting = early ?? [];
    early = undefined;
    for (const bytes of waiting) send(bytes);
  });
  socket.connect(port, address);
  return {
    send(bytes) {
      if (closed) return;
      const copy = Buffer.from(bytes);
      if (early === undefined) send(copy);
      else if (early.length < MAX_EARLY) early.push(copy);
    },
    close() {
      if (closed) return;
      closed = true;
      socket.close();
    },
  };
}

/** As TCP does, all addresses are those of IPv6 and IPv4 where there is IPv6. */
async function listenDatagrams(
  address: string | undefined,
  port: number,
  onMessage: (bytes: Uint8Array, from: HostPeer) => void,
): Promise<HostDatagramListener> {
  if (address !== undefined) return bindDatagrams(isIPv6(address) ? "udp6" : "udp4", address, port, onMessage);
  return bindDatagrams("udp6", undefined, port, onMessage).catch((error: unknown) => {
    if (isParavirtError(error) && noIpv6(error.cause)) return bindDatagrams("udp4", undefined, port, onMessage);
    throw error;
  });
}

function noIpv6(error: unknown): boolean {
  return ["EAFNOSUPPORT", "EADDRNOTAVAIL"].includes((error as NodeJS.ErrnoException).code ?? "");
}

function bindDatagrams(
  type: "udp4" | "udp6",
  address: string | undefined,
  port: number,
  onMessage: (bytes: Uint8Array, from: HostPeer) => void,
): Promise<HostDatagramListener> {
  const socket = createSocket(type);
  socket.on("message", (bytes, from) => onMessage(bytes, { address: from.address, port: from.port }));
  return new Promise((resolve, reject) => {
    socket.once("error", (error) => {
      socket.close();
      const place = `${address ?? "*"}:${port}`;
      reject(new ParavirtError("UNAVAILABLE", `can't take datagrams at ${place}: ${reason(error)}`, { cause: error }));
    });
    socket.bind({ port, ...(address === undefined ? {} : { address }) }, () => {
      socket.removeAllListeners("error");
      // A datagram that can't be sent is lost, as others are.
      socket.on("error", () => {});
      let closed = false;
      resolve({
        port: socket.address().port,
        send(bytes, to) {
          if (!closed) socket.send(Buffer.from(bytes), to.port, to.address, () => {});
        },
        close() {
          if (closed) return;
          closed = true;
          socket.close();
        },
      });
    });
  });
}

function listen(
  address: string | undefined,
  port: number,
  accept: (connection: HostConnection) => HostConnectionHandler | undefined,
): Promise<HostListener> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => acceptedConnection(socket, accept));
  const options: ListenOptions = { port, ...(address === undefined ? {} : { host: address }) };
  return new Promise((resolve, reject) => {
    const place = `${address ?? "*"}:${port}`;
    server.once("error", (error) =>
      reject(new ParavirtError("UNAVAILABLE", `can't listen at ${place}: ${reason(error)}`, { cause: error })),
    );
    server.listen(options, () => {
      server.removeAllListeners("error");
      // A connection that can't be accepted (no descriptors left, say) is lost, and its other end told by the kernel.
      server.on("error", () => {});
      const bound = server.address();
      resolve({
        port: typeof bound === "object" && bound !== null ? bound.port : port,
        close: () => void server.close(),
      });
    });
  });
}

/** The machine's own table of names, read again when it has changed. */
class HostsFile {
  readonly #path: string;
  #stamp = "";
  #names: ReadonlyMap<string, readonly string[]> = new Map();

  constructor(path: string) {
    this.#path = path;
  }

  addresses(name: string): readonly string[] {
    const status = statSync(this.#path, { throwIfNoEntry: false });
    const stamp = status === undefined ? "" : `${status.ino} ${status.size} ${status.mtimeMs}`;
    if (stamp !== this.#stamp) {
      this.#names = stamp === "" ? new Map() : readHosts(this.#path);
      this.#stamp = stamp;
    }
    return this.#names.get(name) ?? [];
  }
}

function readHosts(path: string): ReadonlyMap<string, readonly string[]> {
  const names = new Map<string, string[]>();
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    // A table that nobody may read has no names.
    return names;
  }
  for (const line of text.split("\n")) {
    const [address, ...rest] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (address === undefined || !isIPv4(address)) continue;
    for (const name of rest) {
      const known = names.get(name.toLowerCase());
      if (known === undefined) names.set(name.toLowerCase(), [address]);
      else known.push(address);
    }
  }
  return names;
}
