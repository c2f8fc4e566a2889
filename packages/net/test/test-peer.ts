import type { PacketOffload, PacketPort } from "@paravirt/core";

// A guest's stack for tests, written for itself: nothing of the library's own TCP or checksums is used, so that two mistakes
// don't agree. It is plain: one segment size, go-back-N, data out of order is thrown away.

export const GUEST_MAC = [0x00, 0x16, 0x3e, 0x01, 0x02, 0x03];
const GATEWAY_MAC = [0x52, 0x55, 0x0a, 0x00, 0x02, 0x02];
export const FLAGS = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const;

/** A TCP segment as a test sees it. */
export interface SeenSegment {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  readonly window: number;
  readonly options: readonly number[];
  readonly data: Uint8Array;
}

/** The Internet checksum, as in RFC 1071's own example: one word after the other, carries folded in. */
export function internetChecksum(bytes: readonly number[] | Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += (bytes[at]! << 8) + (bytes[at + 1] ?? 0);
    if (sum > 0xffff) sum = (sum & 0xffff) + 1;
  }
  return ~sum & 0xffff;
}

const dots = (text: string): number[] => text.split(".").map(Number);
const w16 = (value: number): number[] => [(value >>> 8) & 255, value & 255];
const w32 = (value: number): number[] => [...w16(value >>> 16), ...w16(value & 0xffff)];

/** An Ethernet frame with an IPv4 datagram. */
export function ipFrame(
  source: string,
  destination: string,
  protocol: number,
  payload: readonly number[] | Uint8Array,
  options: { identification?: number; fragment?: number; to?: readonly number[] } = {},
): Uint8Array {
  const { identification = 7, fragment = 0, to = GATEWAY_MAC } = options;
  const header = [
    ...[0x45, 0, ...w16(20 + payload.length), ...w16(identification), ...w16(fragment), 64, protocol, 0, 0],
    ...dots(source),
    ...dots(destination),
  ];
  header.splice(10, 2, ...w16(internetChecksum(header)));
  const frame = new Uint8Array(34 + payload.length);
  frame.set([...to, ...GUEST_MAC, 8, 0, ...header]);
  frame.set(payload, 34);
  return frame;
}

/** A UDP datagram in its frame. */
export function udpFrame(
  [source, sourcePort]: readonly [string, number],
  [destination, port]: readonly [string, number],
  data: readonly number[] | Uint8Array,
  to?: readonly number[],
): Uint8Array {
  const length = 8 + data.length;
  const bytes = [...w16(sourcePort), ...w16(port), ...w16(length), 0, 0, ...data];
  const sum = internetChecksum([...dots(source), ...dots(destination), 0, 17, ...w16(length), ...bytes]);
  bytes.splice(6, 2, ...w16(sum === 0 ? 0xffff : sum));
  return ipFrame(source, destination, 17, bytes, to === undefined ? {} : { to });
}

/** A TCP segment in its frame. */
export function tcpFrame(segment: Omit<SeenSegment, "options"> & { options?: readonly number[] }): Uint8Array {
  const { source, destination, options = [], data } = segment;
  const header = [
    ...w16(segment.sourcePort),
    ...w16(segment.destinationPort),
    ...w32(segment.sequence),
    ...w32(segment.acknowledgment),
    ...[(5 + options.length / 4) << 4, segment.flags, ...w16(segment.window), 0, 0, 0, 0],
    ...options,
  ];
  const bytes = new Uint8Array(header.length + data.length);
  bytes.set(header);
  bytes.set(data, header.length);
  const pseudo = [...dots(source), ...dots(destination), 0, 6, ...w16(bytes.length)];
  const whole = new Uint8Array(12 + bytes.length);
  whole.set(pseudo);
  whole.set(bytes, 12);
  bytes.set(w16(internetChecksum(whole)), 16);
  return ipFrame(source, destination, 6, bytes);
}

/** Reads a frame; throws when anything in it is wrong. */
export function readTcp(frame: Uint8Array): SeenSegment | undefined {
  if (frame[12] !== 8 || frame[13] !== 0 || frame[23] !== 6) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (internetChecksum(frame.subarray(14, 34)) !== 0) throw new Error("wrong IPv4 checksum");
  const end = 14 + view.getUint16(16);
  const length = end - 34;
  const whole = new Uint8Array(12 + length);
  whole.set([...frame.subarray(26, 34), 0, 6, ...w16(length)]);
  whole.set(frame.subarray(34, end), 12);
  if (internetChecksum(whole) !== 0) throw new Error("wrong TCP checksum");
  const data = 34 + (frame[46]! >> 4) * 4;
  return {
    source: frame.subarray(26, 30).join("."),
    destination: frame.subarray(30, 34).join("."),
    sourcePort: view.getUint16(34),
    destinationPort: view.getUint16(36),
    sequence: view.getUint32(38),
    acknowledgment: view.getUint32(42),
    flags: frame[47]!,
    window: view.getUint16(48),
    options: [...frame.subarray(54, data)],
    data: frame.slice(data, end),
  };
}

/** Announces the guest's address, so that the network knows where it is. */
export function announce(port: PacketPort, address = "10.0.2.15"): void {
  const arp = [0, 1, 8, 0, 6, 4, 0, 1, ...GUEST_MAC, ...dots(address), 0, 0, 0, 0, 0, 0, ...dots("10.0.2.2")];
  port.send(Uint8Array.from([...[255, 255, 255, 255, 255, 255], ...GUEST_MAC, 8, 6, ...arp]));
}

/** What a peer needs of its world. */
export interface PeerWorld {
  now(): number;
  after(milliseconds: number, work: () => void): () => void;
}

/** A connection of the test's guest. */
export interface PeerOptions {
  readonly world: PeerWorld;
  readonly send: (frame: Uint8Array, offload?: PacketOffload) => void;
  readonly remote: readonly [string, number];
  readonly localPort: number;
  readonly mss?: number;
  /** Bytes that it takes before it must be read. */
  readonly window?: number;
  /** Shift of its window; none sends no option. */
  readonly scale?: number;
  /** Waits for a connection instead of asking for one. */
  readonly listens?: boolean;
}

const RETRY = 250;

/** One TCP connection of a guest. */
export class TestPeer {
  readonly received: Uint8Array[] = [];
  receivedBytes = 0;
  state: "opening" | "open" | "reset" = "opening";
  /** Whether the other side ended. */
  ended = false;
  /** Whether everything that was sent, the end included, was acknowledged. */
  finished = false;
  /** Bytes that arrived and that a reader hasn't taken; 0 unless `holds`. */
  held = 0;
  holds = false;
  largestWindow = 0;
  readonly #options: Required<Omit<PeerOptions, "scale">> & { readonly scale: number | undefined };
  #toSend = new Uint8Array(0);
  #closing = false;
  #iss = 0x7fff_f000;
  #acknowledged = 0; // bytes of data
  #sent = 0;
  #finSent = false;
  #next = 0; // expected sequence
  #peerWindow = 0;
  #peerScale = 0;
  #cancel = (): void => {};

  constructor(options: PeerOptions) {
    this.#options = { mss: 1460, window: 65535, listens: false, ...options, scale: options.scale };
    if (!this.#options.listens) this.#sendSyn(FLAGS.SYN);
  }

  write(bytes: Uint8Array): void {
    const joined = new Uint8Array(this.#toSend.length + bytes.length);
    joined.set(this.#toSend);
    joined.set(bytes, this.#toSend.length);
    this.#toSend = joined;
    this.#push();
  }

  end(): void {
    this.#closing = true;
    this.#push();
  }

  abort(): void {
    this.state = "reset";
    this.#cancel();
    this.#emit(FLAGS.RST | FLAGS.ACK, this.#sequence(this.#sent), new Uint8Array(0));
  }

  /** Takes what is held. */
  release(): void {
    this.held = 0;
    this.holds = false;
    this.#emit(FLAGS.ACK, this.#sequence(this.#sent), new Uint8Array(0));
  }

  get data(): Uint8Array {
    const all = new Uint8Array(this.receivedBytes);
    let at = 0;
    for (const piece of this.received) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }

  receive(segment: SeenSegment): void {
    if (this.state === "reset") return;
    if ((segment.flags & FLAGS.RST) !== 0) {
      this.state = "reset";
      this.#cancel();
      return;
    }
    if ((segment.flags & FLAGS.SYN) !== 0) {
      if (this.state === "opening") {
        this.#next = (segment.sequence + 1) >>> 0;
        this.#peerWindow = segment.window;
        const scaleAt = segment.options.indexOf(3);
        this.#peerScale = this.#options.scale !== undefined && scaleAt >= 0 ? segment.options[scaleAt + 2]! : 0;
        if (this.#options.listens) {
          this.#sendSyn(FLAGS.SYN | FLAGS.ACK);
          return;
        }
        this.#open();
      }
      this.#emit(FLAGS.ACK, this.#sequence(this.#sent), new Uint8Array(0));
      this.#push();
      return;
    }
    if (this.state === "opening") {
      if (!this.#options.listens || (segment.flags & FLAGS.ACK) === 0) return;
      this.#open();
    }
    this.#receiveAcknowledgment(segment);
    const length = segment.data.length + ((segment.flags & FLAGS.FIN) !== 0 ? 1 : 0);
    if (length > 0) {
      const offset = (this.#next - segment.sequence) | 0;
      if (offset >= 0 && offset < length && !this.ended) {
        const room = this.holds ? this.#options.window - this.held : segment.data.length;
        const data = segment.data.subarray(offset).subarray(0, Math.max(room, 0));
        if (data.length > 0) {
          this.received.push(data.slice());
          this.receivedBytes += data.length;
          if (this.holds) this.held += data.length;
          this.#next = (this.#next + data.length) >>> 0;
        }
        if ((segment.flags & FLAGS.FIN) !== 0 && offset + data.length === segment.data.length) {
          this.ended = true;
          this.#next = (this.#next + 1) >>> 0;
        }
      }
      this.#emit(FLAGS.ACK, this.#sequence(this.#sent), new Uint8Array(0));
    } else if (((segment.sequence - this.#next) | 0) < 0) {
      this.#emit(FLAGS.ACK, this.#sequence(this.#sent), new Uint8Array(0)); // a probe
    }
  }

  #open(): void {
    this.state = "open";
    this.#cancel();
  }

  #receiveAcknowledgment(segment: SeenSegment): void {
    this.#peerWindow = segment.window << this.#peerScale;
    this.largestWindow = Math.max(this.largestWindow, this.#peerWindow);
    const acknowledged = (segment.acknowledgment - this.#iss - 1) | 0;
    if (acknowledged > this.#acknowledged) {
      this.#acknowledged = acknowledged;
      if (this.#sent < Math.min(acknowledged, this.#toSend.length))
        this.#sent = Math.min(acknowledged, this.#toSend.length);
      this.#cancel();
      this.#arm();
    }
    if (this.#finSent && acknowledged === this.#toSend.length + 1) {
      this.finished = true;
      this.#cancel();
      return;
    }
    this.#push();
  }

  #sequence(offset: number): number {
    return (this.#iss + 1 + offset + (this.#finSent && offset === this.#toSend.length ? 1 : 0)) >>> 0;
  }

  #push(): void {
    if (this.state !== "open" || this.finished) return;
    for (;;) {
      const inFlight = this.#sent - this.#acknowledged;
      const length = Math.min(this.#options.mss, this.#toSend.length - this.#sent, this.#peerWindow - inFlight);
      if (length <= 0) break;
      const data = this.#toSend.subarray(this.#sent, this.#sent + length);
      this.#emit(FLAGS.ACK, (this.#iss + 1 + this.#sent) >>> 0, data);
      this.#sent += length;
    }
    if (this.#closing && !this.#finSent && this.#sent === this.#toSend.length) {
      this.#emit(FLAGS.FIN | FLAGS.ACK, (this.#iss + 1 + this.#sent) >>> 0, new Uint8Array(0));
      this.#finSent = true;
    }
    this.#arm();
  }

  #arm(): void {
    this.#cancel();
    if (this.finished || this.state === "reset") return;
    const waits = this.#acknowledged < this.#toSend.length || (this.#closing && !this.finished);
    if (!waits) return;
    this.#cancel = this.#options.world.after(RETRY, () => {
      this.#sent = Math.min(this.#acknowledged, this.#toSend.length);
      this.#finSent = false;
      // A closed window is asked about with one byte.
      if (this.#peerWindow === 0) this.#peerWindow = 1;
      this.#push();
      this.#arm();
    });
  }

  #sendSyn(flags: number): void {
    const { scale, mss, world } = this.#options;
    const options = [2, 4, ...w16(mss), ...(scale === undefined ? [] : [1, 3, 3, scale])];
    this.#emit(flags, this.#iss, new Uint8Array(0), options);
    this.#cancel();
    this.#cancel = world.after(RETRY, () => {
      if (this.state === "opening") this.#sendSyn(flags);
    });
  }

  #emit(flags: number, sequence: number, data: Uint8Array, options?: readonly number[]): void {
    const { remote, localPort, send, window, scale } = this.#options;
    const open = window - this.held;
    send(
      tcpFrame({
        source: "10.0.2.15",
        destination: remote[0],
        sourcePort: localPort,
        destinationPort: remote[1],
        sequence,
        acknowledgment: (flags & FLAGS.ACK) === 0 ? 0 : this.#next,
        flags,
        window: Math.min(0xffff, (flags & FLAGS.SYN) !== 0 || scale === undefined ? open : open >> scale),
        ...(options === undefined ? {} : { options }),
        data,
      }),
    );
  }
}
