import type { Ipv4 } from "../addresses.ts";
import type { HostDatagrams, NetworkHost } from "../network-host.ts";
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
  until: number;
}

/** All UDP conversations of guests: each has a port of the host of its own, connected to the other end. */
export class UdpFlows {
  readonly #options: UdpFlowsOptions;
  /** The one that was silent longest comes first. */
  readonly #flows = new Map<string, Flow>();
  readonly #deadlines: Deadlines;

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
    const key = `${address.guest}:${address.guestPort}:${address.remote}:${address.remotePort}`;
    const flow = this.#flows.get(key) ?? this.#open(key, address);
    if (flow === undefined) return false;
    this.#touch(key, flow);
    flow.datagrams.send(bytes);
    return true;
  }

  /** Forgets all. */
  close(): void {
    for (const { datagrams } of this.#flows.values()) datagrams.close();
    this.#flows.clear();
    this.#deadlines.stop();
  }

  #open(key: string, address: FlowAddress): Flow | undefined {
    const { host, maxFlows, route, deliver, unreachable } = this.#options;
    const target = route(address.remote, address.remotePort);
    if (target === undefined) return undefined;
    if (this.#flows.size >= maxFlows) {
      const [oldest] = this.#flows;
      oldest![1].datagrams.close();
      this.#flows.delete(oldest![0]);
    }
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
    const flow: Flow = { address, datagrams, until: 0 };
    return flow;
  }

  #touch(key: string, flow: Flow): void {
    flow.until = this.#options.host.now() + this.#options.timeout;
    this.#flows.delete(key);
    this.#flows.set(key, flow);
    this.#deadlines.set(flow.until);
  }

  #expire(now: number): number {
    for (const [key, { datagrams, until }] of this.#flows) {
      if (until > now) return until;
      datagrams.close();
      this.#flows.delete(key);
    }
    return Number.POSITIVE_INFINITY;
  }
}
