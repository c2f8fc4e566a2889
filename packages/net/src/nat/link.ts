import type { PacketOffload, PacketPort } from "@paravirt/core";
import { type Ipv4, type Ipv4Network, isInNetwork, networkMask } from "../addresses.ts";
import { getLong, getWord, putLong, putWord } from "../bytes.ts";
import { finishFrame } from "../offload.ts";
import { ETHERNET_HEADER, ETHERTYPE } from "../transport.ts";
import { encodeIpv4, IPV4_HEADER } from "./ipv4.ts";

/** What the network looks like to its guests. */
export interface LinkOptions {
  /** Addresses of guests and of the gateway. */
  readonly network: Ipv4Network;
  readonly gateway: Ipv4;
  readonly dns: Ipv4;
  /** The gateway's Ethernet address. */
  readonly mac: Uint8Array;
  /** Largest IP datagram. */
  readonly mtu: number;
}

/** A datagram to be sent: its payload stands in the frame at `PAYLOAD_AT`. */
export interface Datagram {
  readonly source: Ipv4;
  readonly destination: Ipv4;
  readonly protocol: number;
  readonly length: number;
}

const ARP_LENGTH = ETHERNET_HEADER + 28;
const MAX_NEIGHBOURS = 256;
const FRAME_SIZE = 0xffff + ETHERNET_HEADER;
const BROADCAST = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff);

/** The gateway's network card: frames to and from guests, and who has which Ethernet address (ARP, RFC 826). */
export class Link {
  readonly options: LinkOptions;
  readonly #neighbours = new Map<Ipv4, Uint8Array>();
  readonly #scratch = new Uint8Array(FRAME_SIZE);
  #scratchTaken = false;
  #receiver: Parameters<PacketPort["onPacket"]>[0];
  #receiverTakesOffloads = false;
  #identification = 0;

  constructor(options: LinkOptions) {
    this.options = options;
  }

  /** Whether large segments are taken as they are, and unfinished checksums too. */
  get takesOffloads(): boolean {
    return this.#receiverTakesOffloads;
  }

  /** Who gets what is sent to guests. */
  setReceiver(receiver: Parameters<PacketPort["onPacket"]>[0], takesOffloads: boolean): void {
    this.#receiver = receiver;
    this.#receiverTakesOffloads = takesOffloads;
  }

  /** Whether an address is the gateway's own. */
  isOurs(address: Ipv4): boolean {
    return address === this.options.gateway || address === this.options.dns;
  }

  /** Whether an address may be a guest's. */
  isGuest(address: Ipv4): boolean {
    const { network } = this.options;
    return (
      isInNetwork(address, network) &&
      address !== network.address &&
      !this.isBroadcast(address) &&
      !this.isOurs(address)
    );
  }

  /** Whether an address means all guests. */
  isBroadcast(address: Ipv4): boolean {
    const { network } = this.options;
    return address === 0xffffffff || address === (network.address | ~networkMask(network.bits)) >>> 0;
  }

  /** Remembers where a guest is. */
  learn(address: Ipv4, frame: Uint8Array, at: number): void {
    if (!this.isGuest(address) || (frame[at]! & 1) !== 0) return;
    const known = this.#neighbours.get(address);
    if (known !== undefined) {
      for (let byte = 0; byte < 6; byte++) known[byte] = frame[at + byte]!;
      return;
    }
    if (this.#neighbours.size >= MAX_NEIGHBOURS) this.#neighbours.delete(this.#neighbours.keys().next().value!);
    this.#neighbours.set(address, frame.slice(at, at + 6));
  }

  /** Handles an ARP frame: answers for the gateway's addresses, and learns. */
  receiveArp(frame: Uint8Array): void {
    const at = ETHERNET_HEADER;
    if (frame.length < ARP_LENGTH || getWord(frame, at) !== 1 || getWord(frame, at + 2) !== ETHERTYPE.ipv4) return;
    if (getWord(frame, at + 4) !== 0x0604) return;
    const sender = getLong(frame, at + 14);
    const target = getLong(frame, at + 24);
    const operation = getWord(frame, at + 6);
    this.learn(sender, frame, at + 8);
    if (operation !== 1 || !this.isOurs(target)) return;
    this.#sendArp(2, target, frame.slice(at + 8, at + 14), sender);
  }

  /** A frame to be filled from `PAYLOAD_AT` on, and given to {@link Link.sendDatagram} before the next is taken. */
  takeFrame(): Uint8Array {
    return this.#scratchTaken ? new Uint8Array(FRAME_SIZE) : this.#scratch;
  }

  /**
   * Sends the datagram in `frame`; one that nobody's Ethernet address is known for is lost, and its owner asked for.
   * Without `to`, its destination's.
   */
  sendDatagram(frame: Uint8Array, datagram: Datagram, offload?: PacketOffload, to?: Uint8Array): void {
    const { source, destination, length } = datagram;
    const mac = to ?? (this.isBroadcast(destination) ? BROADCAST : this.#neighbours.get(destination));
    if (mac === undefined) {
      this.#sendArp(1, this.options.gateway, BROADCAST, destination);
      return;
    }
    this.#identification = (this.#identification + 1) & 0xffff;
    const limit = this.options.mtu - IPV4_HEADER;
    if (length > limit && offload?.segmentSize === undefined) {
      this.#sendFragments(frame, mac, datagram);
      return;
    }
    const { protocol } = datagram;
    encodeIpv4(frame, mac, this.options.mac, {
      source,
      destination,
      protocol,
      length,
      identification: this.#identification,
    });
    this.#give(frame, ETHERNET_HEADER + IPV4_HEADER + length, offload);
  }

  /** A datagram that is longer than the MTU, whose checksum is complete. */
  #sendFragments(whole: Uint8Array, mac: Uint8Array, datagram: Datagram): void {
    const headers = ETHERNET_HEADER + IPV4_HEADER;
    const step = (this.options.mtu - IPV4_HEADER) & ~7;
    const identification = this.#identification;
    for (let offset = 0; offset < datagram.length; offset += step) {
      const length = Math.min(step, datagram.length - offset);
      const piece = new Uint8Array(headers + length);
      piece.set(whole.subarray(headers + offset, headers + offset + length), headers);
      const more = offset + length < datagram.length;
      encodeIpv4(piece, mac, this.options.mac, { ...datagram, length, identification, fragment: { offset, more } });
      this.#give(piece, piece.length, undefined);
    }
  }

  #sendArp(operation: 1 | 2, source: Ipv4, to: Uint8Array, target: Ipv4): void {
    const frame = new Uint8Array(60);
    const at = ETHERNET_HEADER;
    frame.set(to, 0);
    frame.set(this.options.mac, 6);
    putWord(frame, 12, ETHERTYPE.arp);
    putWord(frame, at, 1);
    putWord(frame, at + 2, ETHERTYPE.ipv4);
    putWord(frame, at + 4, 0x0604);
    putWord(frame, at + 6, operation);
    frame.set(this.options.mac, at + 8);
    putLong(frame, at + 14, source);
    if (operation === 2) frame.set(to, at + 18);
    putLong(frame, at + 24, target);
    this.#give(frame, frame.length, undefined);
  }

  #give(frame: Uint8Array, length: number, offload: PacketOffload | undefined): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    const whole = frame.subarray(0, length);
    // A receiver may answer at once, and that answer's answer needs a frame of its own.
    const outer = this.#scratchTaken;
    this.#scratchTaken ||= frame === this.#scratch;
    try {
      if (offload === undefined || this.#receiverTakesOffloads) receiver(whole, offload);
      else finishFrame(whole, offload, receiver);
    } finally {
      this.#scratchTaken = outer;
    }
  }
}
