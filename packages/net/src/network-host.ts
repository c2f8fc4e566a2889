/** Why a connection to the outside ended, or never came to be. */
export type HostFailure = "refused" | "unreachable" | "timeout" | "reset";

/** One TCP connection of the host. */
export interface HostConnection {
  /** Bytes that were written and that the host's network hasn't taken yet. */
  readonly queued: number;
  /** Queues `bytes`; keeps no reference after the call returns. */
  write(bytes: Uint8Array): void;
  /** Says that no more will be written, after what is queued; reading goes on. */
  end(): void;
  /** Ends both directions at once, the other side gets a reset. Calling it twice does nothing. */
  reset(): void;
  /** Stops {@link HostConnectionHandler.onData}, soon, until {@link HostConnection.resume}. */
  pause(): void;
  /** Lets data come again. */
  resume(): void;
}

/** Gets what happens to a connection; never called from within the call that made it. */
export interface HostConnectionHandler {
  /** The connection is there. Not called for one that was accepted. */
  onOpen?(): void;
  /** Bytes came in; they must be copied before the call returns. */
  onData(bytes: Uint8Array): void;
  /** All that was written has been taken: {@link HostConnection.queued} is 0 again. */
  onDrain(): void;
  /** The other side will send no more. */
  onEnd(): void;
  /** The connection is over: with both directions ended in order (no `failure`), or cut. Nothing comes after it. */
  onClose(failure: HostFailure | undefined): void;
}

/** Datagrams between one port of the host and one other. */
export interface HostDatagrams {
  /** Sends one; it may be lost. The host keeps no reference after the call returns. */
  send(bytes: Uint8Array): void;
  /** Gives the port up. */
  close(): void;
}

/** Gets what comes back from the other end of {@link HostDatagrams}. */
export interface HostDatagramsHandler {
  /** A datagram came; it must be copied before the call returns. */
  onMessage(bytes: Uint8Array): void;
  /** Nobody is there. The port stays open. */
  onUnreachable(): void;
}

/** Where a datagram came from, or goes: an address and a port of the host's network. */
export interface HostPeer {
  /** IPv4 or IPv6 address, as text. */
  readonly address: string;
  /** UDP port, 1 to 65535. */
  readonly port: number;
}

/** A port of the host that takes datagrams from anybody. */
export interface HostDatagramListener {
  /** The port, also when any was asked for. */
  readonly port: number;
  /** Sends one from this port; it may be lost. The host keeps no reference after the call returns. */
  send(bytes: Uint8Array, to: HostPeer): void;
  /** Gives the port up. */
  close(): void;
}

/** A listening port. */
export interface HostListener {
  /** The port, also when any was asked for. */
  readonly port: number;
  /** Stops listening; accepted connections stay. */
  close(): void;
}

/**
 * What a network in this library needs of the world outside: time, chance, sockets and names. `@paravirt/host-node` has
 * one for Node.js; a test makes its own.
 */
export interface NetworkHost {
  /** Milliseconds that never go back. */
  now(): number;
  /** Calls `work` once after so many milliseconds; answers how to prevent it. */
  after(milliseconds: number, work: () => void): () => void;
  /** 32 bits that nobody can guess. */
  random(): number;
  /** Connects to an IPv4 address. A failure comes through `onClose`, never as an exception. */
  connect(address: string, port: number, handler: HostConnectionHandler): HostConnection;
  /** Opens a port for datagrams to and from one address. A failure comes through `onUnreachable`. */
  openDatagrams(address: string, port: number, handler: HostDatagramsHandler): HostDatagrams;
  /**
   * Listens at an address of the host, or all of them. `accept` answers who handles a connection, or `undefined` to turn it
   * away. Fails with `UNAVAILABLE` when the port can't be had.
   */
  listen(
    address: string | undefined,
    port: number,
    accept: (connection: HostConnection) => HostConnectionHandler | undefined,
  ): Promise<HostListener>;
  /**
   * Takes datagrams at an address of the host, or all of them. `onMessage` must copy the bytes before it returns. Fails
   * with `UNAVAILABLE` when the port can't be had.
   */
  listenDatagrams(
    address: string | undefined,
    port: number,
    onMessage: (bytes: Uint8Array, from: HostPeer) => void,
  ): Promise<HostDatagramListener>;
  /** IPv4 addresses of the host's resolvers, best first; asked at each use, since they may change. */
  nameServers(): readonly string[];
  /** The IPv4 addresses that the host's own table (`/etc/hosts`) has for a name in lower case; none when it isn't there. */
  localAddresses(name: string): readonly string[];
}
