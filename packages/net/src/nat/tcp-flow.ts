import type { Ipv4 } from "../addresses.ts";
import { putWord } from "../bytes.ts";
import { foldSum } from "../checksum.ts";
import type { HostConnection, HostConnectionHandler } from "../network-host.ts";
import { type ConnectionOptions, type ConnectionUser, type Outgoing, TcpConnection } from "../tcp/connection.ts";
import { encodeSegment, type Segment } from "../tcp/segment.ts";
import { PAYLOAD_AT, PROTOCOL, pseudoSum } from "./ipv4.ts";
import type { Link } from "./link.ts";

/** The two ends of a flow as the guest sees them. */
export interface FlowAddress {
  readonly guest: Ipv4;
  readonly guestPort: number;
  readonly remote: Ipv4;
  readonly remotePort: number;
}

/** What flows share. */
export interface FlowContext {
  readonly link: Link;
  now(): number;
  /** Bytes that one direction of one flow may keep now. */
  allowance(): number;
  /** So many bytes more (or less) are kept. */
  account(bytes: number): void;
  wantsFlush(flow: TcpFlow): void;
  deadline(at: number): void;
  /** The guest's side is over; `remembered` while late segments may come. */
  ended(flow: TcpFlow, remembered: boolean): void;
  /** The host's connection is over. */
  hostEnded(): void;
  /** The outside can't be reached: the guest is told by ICMP. */
  unreachable(flow: TcpFlow): void;
}

/** A TCP connection of a guest joined to one of the host. */
export class TcpFlow implements ConnectionUser {
  readonly address: FlowAddress;
  readonly #context: FlowContext;
  /** The sequence number of the guest's SYN, which an ICMP message quotes. */
  synSequence = 0;
  #tcp: TcpConnection | undefined;
  #host: HostConnection | undefined;
  #established = false;
  #hostOver = false;
  #paused = false;
  #accounted = 0;

  constructor(address: FlowAddress, context: FlowContext) {
    this.address = address;
    this.#context = context;
  }

  /** The guest asked for a connection; the host's is being made. The guest is answered when that is there. */
  connect(syn: Segment, options: ConnectionOptions, connect: (handler: HostConnectionHandler) => HostConnection): void {
    this.synSequence = syn.sequence;
    this.#tcp = TcpConnection.passive(syn, this, options);
    this.#host = connect(this.handler);
  }

  /** The host accepted a connection; the guest is asked for one. */
  accept(connection: HostConnection, options: ConnectionOptions): void {
    this.#host = connection;
    this.#pause();
    this.#tcp = TcpConnection.active(this, options);
    this.deadlineChanged();
  }

  get tcp(): TcpConnection {
    return this.#tcp!;
  }

  /** Ends both sides at once. */
  reset(): void {
    this.#tcp?.reset();
  }

  // The guest's side.

  now(): number {
    return this.#context.now();
  }

  wantsFlush(): void {
    this.#context.wantsFlush(this);
  }

  deadlineChanged(): void {
    if (this.#tcp !== undefined) this.#context.deadline(this.#tcp.deadline);
  }

  room(): number {
    return Math.max(0, this.#context.allowance() - (this.#host?.queued ?? 0));
  }

  emit(segment: Outgoing): void {
    const { link } = this.#context;
    const { guest, guestPort, remote, remotePort } = this.address;
    const frame = link.takeFrame();
    const { sequence, acknowledgment, flags, window, windowScale, length, segmentSize } = segment;
    const maximumSegment = link.options.mtu - 40;
    const header = encodeSegment(frame, PAYLOAD_AT, {
      sourcePort: remotePort,
      destinationPort: guestPort,
      sequence,
      acknowledgment,
      flags,
      window,
      ...((flags & 2) === 0 ? {} : { syn: { maximumSegment, windowScale } }),
    });
    if (length > 0) segment.copy(frame, PAYLOAD_AT + header);
    putWord(frame, PAYLOAD_AT + 16, foldSum(pseudoSum(remote, guest, PROTOCOL.tcp, header + length)));
    link.sendDatagram(
      frame,
      { source: remote, destination: guest, protocol: PROTOCOL.tcp, length: header + length },
      length > segmentSize ? { partialChecksum: true, segmentSize } : { partialChecksum: true },
    );
  }

  onEstablished(): void {
    this.#established = true;
    this.#resume();
  }

  onData(bytes: Uint8Array): void {
    this.#host!.write(bytes);
    this.#account();
  }

  onEnd(): void {
    this.#host!.end();
  }

  onProgress(): void {
    this.#account();
    if (this.#paused && this.tcp.unsent <= this.#context.allowance() / 2) this.#resume();
  }

  onClose(inOrder: boolean): void {
    this.#account();
    // When both have ended in order, the host's connection closes by itself, once its data is sent.
    if (!inOrder) this.#resetHost();
    this.#context.ended(this, this.tcp.isRemembered);
  }

  /** The host's side. */
  readonly handler: HostConnectionHandler = {
    onOpen: () => this.tcp.accept(),
    onData: (bytes) => {
      if (this.tcp.isOver) return;
      this.tcp.send(bytes);
      this.#account();
      if (!this.#paused && this.tcp.unsent > this.#context.allowance()) this.#pause();
    },
    onDrain: () => {
      this.#account();
      this.tcp.roomChanged();
    },
    onEnd: () => this.tcp.end(),
    onClose: (failure) => {
      this.#hostOver = true;
      this.#account();
      this.#context.hostEnded();
      if (failure === undefined) return;
      if (!this.#established && failure !== "refused" && failure !== "reset") this.#context.unreachable(this);
      this.tcp.reset();
    },
  };

  #resetHost(): void {
    if (!this.#hostOver) this.#host?.reset();
  }

  #pause(): void {
    this.#paused = true;
    this.#host!.pause();
  }

  #resume(): void {
    if (!this.#paused || this.#hostOver) return;
    this.#paused = false;
    this.#host!.resume();
  }

  #account(): void {
    const now = (this.#hostOver ? 0 : (this.#host?.queued ?? 0)) + this.tcp.unsent + this.tcp.waiting;
    this.#context.account(now - this.#accounted);
    this.#accounted = now;
  }
}
