import type { Ipv4 } from "../addresses.ts";
import type { HostDatagramListener, HostDatagrams, HostPeer, NetworkHost } from "../network-host.ts";
import { Deadlines } from "./deadlines.ts";
import type { FlowAddress } from "./tcp-flow.ts";

/** What the table works with. */
export interface UdpFlowsOptions {
  readonly host: NetworkHost;
  /** Flows at once; the one that was silent longest makes way. */
  readonly maxFlows: number;
  /** Milliseconds of silence after which a flow is forgotten. */
  readonly timeout: number;
  /** Where a guest's datagrams to an address go: an address of the host's network, or `undefined` for nowhere. */
  route(address: Ipv4, port: number): string | undefined;
  /** A datagram for a guest. */
  deliver(address: FlowAddress, bytes: Uint8Array): void;
  /** Nobody is there; `datagram` is what the guest sent last. */
  unreachable(address: FlowAddress): void;
}

interface Flow {
  readonly address: FlowAddress;
  readonly datagrams: HostDatagrams;
  /** Whether somebody outside began it, at a published port. */
  readonly published: boolean;
  until: number;
}

/** A port of the host that leads to one of a guest. */
export interface PublishedPort {
  readonly guest: Ipv4;
  readonly guestPort: number;
  /** What the guest sees the port's other ends come from. */
  readonly gateway: Ipv4;
  readonly listener: HostDatagramListener;
  /** Keys of the conversations of those who sent something, by their address. */
  readonly peers: Map<string, string>;
}

const FIRST_PORT = 49152;
const LAST_PORT = 65535;

/**
 * All UDP conversations of guests. Each that a guest begins has a port of the host of its own, connected to the other end;
 * those of a published port share that one, and have a port each of the gateway.
 */
export class UdpFlows {
  readonly #options: UdpFlowsOptions;
  /** The one that was silent longest comes first. */
  readonly #flows = new Map<string, Flow>();
  readonly #deadlines: Deadlines;
  #published = 0;
  #nextPort = FIRST_PORT;

  constructor(options: UdpFlowsOptions) {
    this.#options = options;
    this.#deadlines = new Deadlines(options.host, (now) => this.#expire(now));
  }

  /** Conversations that are remembered. */
  get size(): number {
    return this.#flows.size;
  }

  /** Sends a guest's datagram; `false` when it may not go there. */
  send(address: FlowAddress, bytes: Uint8Array): boolean {
    const key = keyOf(address);
    const flow = this.#flows.get(key) ?? this.#open(key, address);
    if (flow === undefined) return false;
    this.#touch(key, flow);
    flow.datagrams.send(bytes);
    return true;
  }

  /** Gives a guest what `peer` sent to a published port. */
  receive(port: PublishedPort, peer: HostPeer, bytes: Uint8Array): void {
    const name = `${peer.address} ${peer.port}`;
    const key = port.peers.get(name) ?? this.#accept(port, peer, name);
    const flow = key === undefined ? undefined : this.#flows.get(key);
    if (flow === undefined) return;
    this.#touch(key!, flow);
    this.#options.deliver(flow.address, bytes);
  }

  /** Forgets the conversations of a published port. */
  unpublish(port: PublishedPort): void {
    for (const key of [...port.peers.values()]) this.#forget(key);
  }

  /** Forgets all. */
  close(): void {
    for (const key of [...this.#flows.keys()]) this.#forget(key);
    this.#deadlines.stop();
  }

  #forget(key: string): void {
    const flow = this.#flows.get(key)!;
    this.#flows.delete(key);
    if (flow.published) this.#published--;
    flow.datagrams.close();
  }

  /** Lets the flow that was silent longest make way; of published ports only, if it is they that are too many. */
  #makeRoom(published: boolean): void {
    const { maxFlows } = this.#options;
    // Whoever floods a published port takes no more than half.
    const isShareFull = published && this.#published >= Math.max(1, maxFlows >> 1);
    if (!isShareFull && this.#flows.size < maxFlows) return;
    for (const [key, flow] of this.#flows) {
      if (isShareFull && !flow.published) continue;
      this.#forget(key);
      return;
    }
  }

  #accept(
    { guest, guestPort, gateway, listener, peers }: PublishedPort,
    peer: HostPeer,
    name: string,
  ): string | undefined {
    this.#makeRoom(true);
    for (let tries = FIRST_PORT; tries <= LAST_PORT; tries++) {
      const remotePort = this.#nextPort;
      this.#nextPort = remotePort === LAST_PORT ? FIRST_PORT : remotePort + 1;
      const address = { guest, guestPort, remote: gateway, remotePort };
      const key = keyOf(address);
      if (this.#flows.has(key)) continue;
      const datagrams = {
        send: (bytes: Uint8Array) => listener.send(bytes, peer),
        close: () => void peers.delete(name),
      };
      this.#flows.set(key, { address, datagrams, published: true, until: 0 });
      this.#published++;
      peers.set(name, key);
      return key;
    }
    return undefined;
  }

  #open(key: string, address: FlowAddress): Flow | undefined {
    const { host, route, deliver, unreachable } = this.#options;
    const target = route(address.remote, address.remotePort);
    if (target === undefined) return undefined;
    this.#makeRoom(false);
    const datagrams = host.openDatagrams(target, address.remotePort, {
      onMessage: (bytes) => {
        if (this.#flows.get(key) !== flow) return;
        this.#touch(key, flow);
        deliver(address, bytes);
      },
      onUnreachable: () => {
        if (this.#flows.get(key) === flow) unreachable(address);
      },
    });
    const flow: Flow = { address, datagrams, published: false, until: 0 };
    return flow;
  }

  #touch(key: string, flow: Flow): void {
    flow.until = this.#options.host.now() + this.#options.timeout;
    this.#flows.delete(key);
    this.#flows.set(key, flow);
    this.#deadlines.set(flow.until);
  }

  #expire(now: number): number {
    for (const [key, { until }] of this.#flows) {
      if (until > now) return until;
      this.#forget(key);
    }
    return Number.POSITIVE_INFINITY;
  }
}

function keyOf({ guest, guestPort, remote, remotePort }: FlowAddress): string {
  return `${guest}:${guestPort}:${remote}:${remotePort}`;
}
