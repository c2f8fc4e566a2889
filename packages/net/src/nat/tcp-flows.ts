import type { Ipv4 } from "../addresses.ts";
import { putWord } from "../bytes.ts";
import { foldSum } from "../checksum.ts";
import type { HostConnection, HostConnectionHandler, NetworkHost } from "../network-host.ts";
import type { ConnectionOptions } from "../tcp/connection.ts";
import { encodeSegment, type Segment, TCP, TCP_HEADER } from "../tcp/segment.ts";
import { advance } from "../tcp/sequence.ts";
import { Deadlines } from "./deadlines.ts";
import { PAYLOAD_AT, PROTOCOL, pseudoSum } from "./ipv4.ts";
import type { Link } from "./link.ts";
import { type FlowAddress, type FlowContext, TcpFlow } from "./tcp-flow.ts";

/** What the table works with. */
export interface TcpFlowsOptions {
  readonly link: Link;
  readonly host: NetworkHost;
  /** Connections of the host at once. */
  readonly maxConnections: number;
  /** Milliseconds of silence after which a guest is asked whether it is there. */
  readonly keepAlive: number;
  /** Where a guest's connection to an address goes: an address of the host's network, or `undefined` for nowhere. */
  route(address: Ipv4, port: number): string | undefined;
  /** A connection can't be had for a reason that a reset doesn't tell. */
  unreachable(flow: TcpFlow): void;
}

/** Bytes that one direction of a flow may keep, and what is left of it when all flows together keep much. */
const ALLOWANCE = 1024 * 1024;
const SMALL_ALLOWANCE = 64 * 1024;
const MUCH = 64 * 1024 * 1024;
/** The payload of the largest IP datagram, without the TCP header. */
const LARGE_SEGMENT = 0xffff - 40;
const FIRST_PORT = 1024;

/** All TCP connections of guests. */
export class TcpFlows implements FlowContext {
  readonly link: Link;
  readonly #options: TcpFlowsOptions;
  /** By both addresses, then by both ports. */
  readonly #flows = new Map<number, Map<number, TcpFlow>>();
  readonly #remembered = new Set<TcpFlow>();
  readonly #unflushed = new Set<TcpFlow>();
  readonly #deadlines: Deadlines;
  #count = 0;
  #connections = 0;
  #kept = 0;
  #nextPort = 49152;

  constructor(options: TcpFlowsOptions) {
    this.#options = options;
    this.link = options.link;
    this.#deadlines = new Deadlines(options.host, (now) => this.#tick(now));
  }

  /** Connections of the host that are open for guests. */
  get connections(): number {
    return this.#connections;
  }

  /** A segment from a guest. */
  receive(guest: Ipv4, remote: Ipv4, segment: Segment): void {
    const address = { guest, guestPort: segment.sourcePort, remote, remotePort: segment.destinationPort };
    const flow = this.#find(address);
    const isNew = (segment.flags & (TCP.SYN | TCP.ACK | TCP.RST)) === TCP.SYN;
    // RFC 9293 3.6.1: a remembered connection makes way for a new one.
    if (flow !== undefined && !(isNew && flow.tcp.isRemembered)) flow.tcp.receive(segment);
    else if (isNew) this.#open(address, segment);
    else if ((segment.flags & TCP.RST) === 0) this.#refuse(address, segment);
  }

  /** A connection that the host accepted, for a port of a guest; answers who handles it, or `undefined` when there is no room. */
  accept(guest: Ipv4, guestPort: number, connection: HostConnection): HostConnectionHandler | undefined {
    const remote = this.link.options.gateway;
    const port = this.#freePort(guest, guestPort, remote);
    if (port === undefined || !this.#makeRoom()) return undefined;
    const flow = this.#add({ guest, guestPort, remote, remotePort: port });
    this.#connections++;
    flow.accept(connection, this.#settings());
    return flow.handler;
  }

  /** Resets all. */
  close(): void {
    for (const flows of [...this.#flows.values()]) for (const flow of [...flows.values()]) flow.reset();
    this.#deadlines.stop();
  }

  now(): number {
    return this.#options.host.now();
  }

  allowance(): number {
    return this.#kept > MUCH ? SMALL_ALLOWANCE : ALLOWANCE;
  }

  account(bytes: number): void {
    this.#kept += bytes;
  }

  wantsFlush(flow: TcpFlow): void {
    const { size } = this.#unflushed.add(flow);
    // One acknowledgment for all that a guest sends in a row.
    if (size === 1)
      Promise.resolve().then(() => {
        const flows = [...this.#unflushed];
        this.#unflushed.clear();
        for (const one of flows) one.tcp.flush();
      });
  }

  deadline(at: number): void {
    this.#deadlines.set(at);
  }

  ended(flow: TcpFlow, remembered: boolean): void {
    if (remembered) this.#remembered.add(flow);
    else this.#remove(flow);
  }

  hostEnded(): void {
    this.#connections--;
  }

  unreachable(flow: TcpFlow): void {
    this.#options.unreachable(flow);
  }

  #open(address: FlowAddress, syn: Segment): void {
    const { host, route } = this.#options;
    const { remotePort } = address;
    const target = route(address.remote, remotePort);
    if (target === undefined || !this.#makeRoom()) {
      this.#refuse(address, syn);
      return;
    }
    const old = this.#find(address);
    if (old !== undefined) this.#remove(old);
    this.#connections++;
    this.#add(address).connect(syn, this.#settings(), (handler) => host.connect(target, remotePort, handler));
  }

  #settings(): ConnectionOptions {
    const { host, keepAlive } = this.#options;
    return {
      maximumSegment: this.link.options.mtu - 40,
      largeSegment: this.link.takesOffloads ? LARGE_SEGMENT : 0,
      initialSequence: host.random() >>> 0,
      keepAlive,
    };
  }

  /** Whether there may be one more; what is only remembered makes way. */
  #makeRoom(): boolean {
    const { maxConnections } = this.#options;
    if (this.#connections >= maxConnections) return false;
    if (this.#count < 2 * maxConnections) return true;
    const [oldest] = this.#remembered;
    if (oldest === undefined) return false;
    this.#remove(oldest);
    return true;
  }

  #freePort(guest: Ipv4, guestPort: number, remote: Ipv4): number | undefined {
    for (let tries = 0; tries < 0x10000 - FIRST_PORT; tries++) {
      const remotePort = this.#nextPort;
      this.#nextPort = remotePort === 0xffff ? FIRST_PORT : remotePort + 1;
      if (this.#find({ guest, guestPort, remote, remotePort }) === undefined) return remotePort;
    }
    return undefined;
  }

  #find(address: FlowAddress): TcpFlow | undefined {
    return this.#flows.get(hostsKey(address))?.get(portsKey(address));
  }

  #add(address: FlowAddress): TcpFlow {
    const key = hostsKey(address);
    const flows = this.#flows.get(key) ?? new Map<number, TcpFlow>();
    this.#flows.set(key, flows);
    const flow = new TcpFlow(address, this);
    flows.set(portsKey(address), flow);
    this.#count++;
    return flow;
  }

  #remove(flow: TcpFlow): void {
    const key = hostsKey(flow.address);
    const flows = this.#flows.get(key);
    this.#remembered.delete(flow);
    if (flows?.get(portsKey(flow.address)) !== flow) return;
    flows.delete(portsKey(flow.address));
    if (flows.size === 0) this.#flows.delete(key);
    this.#count--;
  }

  /** Answers a segment that belongs to no connection (RFC 9293 3.10.7.1). */
  #refuse({ guest, guestPort, remote, remotePort }: FlowAddress, segment: Segment): void {
    const acknowledged = (segment.flags & TCP.ACK) !== 0;
    const length =
      segment.data.length + ((segment.flags & TCP.SYN) !== 0 ? 1 : 0) + ((segment.flags & TCP.FIN) !== 0 ? 1 : 0);
    const frame = this.link.takeFrame();
    encodeSegment(frame, PAYLOAD_AT, {
      sourcePort: remotePort,
      destinationPort: guestPort,
      sequence: acknowledged ? segment.acknowledgment : 0,
      acknowledgment: acknowledged ? 0 : advance(segment.sequence, length),
      flags: acknowledged ? TCP.RST : TCP.RST | TCP.ACK,
      window: 0,
    });
    putWord(frame, PAYLOAD_AT + 16, foldSum(pseudoSum(remote, guest, PROTOCOL.tcp, TCP_HEADER)));
    const datagram = { source: remote, destination: guest, protocol: PROTOCOL.tcp, length: TCP_HEADER };
    this.link.sendDatagram(frame, datagram, { partialChecksum: true });
  }

  #tick(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const flows of [...this.#flows.values()])
      for (const { tcp } of [...flows.values()]) {
        if (tcp.deadline <= now) tcp.tick();
        next = Math.min(next, tcp.deadline);
      }
    return next;
  }
}

/** Guests differ in the last 16 bits of their address at most. */
function hostsKey({ guest, remote }: FlowAddress): number {
  return remote * 0x10000 + (guest & 0xffff);
}

function portsKey({ guestPort, remotePort }: FlowAddress): number {
  return remotePort * 0x10000 + guestPort;
}
