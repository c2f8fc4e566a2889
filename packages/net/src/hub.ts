import { type PacketOffload, type PacketPort, ParavirtError } from "@paravirt/core";
import { allowsFrame, type GuestIdentity, readIdentity } from "./hub-filter.ts";
import { finishFrame } from "./offload.ts";

/** How a hub treats its ports. */
export interface HubOptions {
  /**
   * Whether a port that was made with a `mac` may send frames from that address only, and with `addresses` only from those
   * (false). What a filter can't judge isn't let through: tagged frames, and protocols other than ARP, IPv4 and IPv6.
   */
  readonly filter?: boolean;
  /** Ethernet addresses that are remembered (1024); frames to others go to all ports. */
  readonly maxAddresses?: number;
}

/** One port of a hub. */
export interface HubPortOptions {
  /** The card's own address; needed where the hub filters, unless `trusted`. */
  readonly mac?: string;
  /** IPv4 and IPv6 addresses that the card may have; any when left out. */
  readonly addresses?: readonly string[];
  /** Isn't filtered: an uplink, behind which there are many cards. */
  readonly trusted?: boolean;
}

/** What passed a port, counted in frames. */
export interface HubPortStatistics {
  /** Frames that its card sent and the hub passed on. */
  readonly received: number;
  /** Frames that the filter held back. */
  readonly filtered: number;
  /** Frames that the hub sent to its card. */
  readonly sent: number;
}

/** A port of a hub, as a card is plugged into it. */
export interface HubPort extends PacketPort {
  /** What passed it. */
  readonly statistics: HubPortStatistics;
  /** Pulls the cable: the port neither sends nor receives any more. */
  close(): void;
}

/** A learning Ethernet switch: each frame goes to the port where its destination was last seen, or to all. */
export interface Hub {
  /** Adds a port. Throws `BAD_ARGUMENT` for addresses that are none, and for a filtered port without a `mac`. */
  addPort(options?: HubPortOptions): HubPort;
  /** Joins a port that is one end of a cable already (an uplink): what comes out of it enters the hub. */
  join(uplink: PacketPort, options?: HubPortOptions): HubPort;
}

const MAX_ADDRESSES = 1024;
/** Frames that wait to be passed on because a port answered in the middle of another frame; more are dropped. */
const MAX_WAITING = 1024;
const ETHERNET_HEADER = 14;

/** Makes a hub. */
export function createHub(options: HubOptions = {}): Hub {
  return new LearningHub(options);
}

class LearningHub implements Hub {
  readonly #filter: boolean;
  readonly #maxAddresses: number;
  readonly #ports = new Set<Port>();
  readonly #places = new Map<number, Port>();
  readonly #waiting: {
    readonly from: Port;
    readonly frame: Uint8Array;
    readonly offload: PacketOffload | undefined;
  }[] = [];
  #busy = false;

  constructor({ filter = false, maxAddresses = MAX_ADDRESSES }: HubOptions) {
    if (!Number.isInteger(maxAddresses) || maxAddresses < 1)
      throw new ParavirtError("OUT_OF_RANGE", `maxAddresses ${maxAddresses} is not 1 or more`);
    this.#filter = filter;
    this.#maxAddresses = maxAddresses;
  }

  addPort(options: HubPortOptions = {}): HubPort {
    const filtered = this.#filter && options.trusted !== true;
    if (filtered && options.mac === undefined)
      throw new ParavirtError("BAD_ARGUMENT", "a hub that filters needs the mac of each port that isn't trusted");
    const port = new Port(
      filtered ? readIdentity(options.mac!, options.addresses) : undefined,
      (frame, offload) => this.#enter(port, frame, offload),
      () => this.#remove(port),
    );
    this.#ports.add(port);
    return port;
  }

  join(uplink: PacketPort, options: HubPortOptions = {}): HubPort {
    const port = this.addPort({ trusted: true, ...options });
    uplink.onPacket((frame, offload) => port.send(frame, offload), { takesOffloads: true });
    port.onPacket((frame, offload) => uplink.send(frame, offload), { takesOffloads: uplink.takesOffloads === true });
    return port;
  }

  #remove(port: Port): void {
    this.#ports.delete(port);
    for (const [address, place] of this.#places) if (place === port) this.#places.delete(address);
  }

  /** A frame comes in. One that comes in the middle of another is passed on after that, so that order is kept. */
  #enter(from: Port, frame: Uint8Array, offload: PacketOffload | undefined): void {
    if (this.#busy) {
      if (this.#waiting.length < MAX_WAITING) this.#waiting.push({ from, frame: frame.slice(), offload });
      return;
    }
    this.#busy = true;
    try {
      this.#pass(from, frame, offload);
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift())
        this.#pass(next.from, next.frame, next.offload);
    } finally {
      this.#busy = false;
    }
  }

  #pass(from: Port, frame: Uint8Array, offload: PacketOffload | undefined): void {
    const destination = addressAt(frame, 0);
    this.#learn(addressAt(frame, 6), from);
    const place = this.#places.get(destination);
    if (place !== undefined) {
      if (place !== from) place.deliver(frame, offload);
      return;
    }
    for (const port of this.#ports) if (port !== from) port.deliver(frame, offload);
  }

  #learn(address: number, port: Port): void {
    // A group's address is nobody's source.
    if (isGroup(address) || this.#places.get(address) === port) return;
    this.#places.delete(address);
    if (this.#places.size >= this.#maxAddresses) this.#places.delete(this.#places.keys().next().value!);
    this.#places.set(address, port);
  }
}

class Port implements HubPort {
  readonly takesOffloads = true;
  readonly #identity: GuestIdentity | undefined;
  readonly #enter: (frame: Uint8Array, offload: PacketOffload | undefined) => void;
  readonly #leave: () => void;
  readonly #statistics = { received: 0, filtered: 0, sent: 0 };
  #receiver: Parameters<PacketPort["onPacket"]>[0];
  #receiverTakesOffloads = false;
  #open = true;

  constructor(
    identity: GuestIdentity | undefined,
    enter: (frame: Uint8Array, offload: PacketOffload | undefined) => void,
    leave: () => void,
  ) {
    this.#identity = identity;
    this.#enter = enter;
    this.#leave = leave;
  }

  get statistics(): HubPortStatistics {
    return this.#statistics;
  }

  send(frame: Uint8Array, offload?: PacketOffload): void {
    if (!this.#open || frame.length < ETHERNET_HEADER) return;
    if (this.#identity !== undefined && !allowsFrame(this.#identity, frame)) {
      this.#statistics.filtered++;
      return;
    }
    this.#statistics.received++;
    this.#enter(frame, offload);
  }

  onPacket(...[receiver, options]: Parameters<PacketPort["onPacket"]>): void {
    this.#receiver = receiver;
    this.#receiverTakesOffloads = options?.takesOffloads === true;
  }

  deliver(frame: Uint8Array, offload: PacketOffload | undefined): void {
    const receiver = this.#receiver;
    if (!this.#open || receiver === undefined) return;
    this.#statistics.sent++;
    if (offload === undefined || this.#receiverTakesOffloads) receiver(frame, offload);
    // A frame that isn't what its offload says is nobody's.
    else finishFrame(frame, offload, receiver);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#leave();
  }
}

/** The six bytes of an Ethernet address as a number. */
function addressAt(frame: Uint8Array, at: number): number {
  const high = (frame[at]! << 8) | frame[at + 1]!;
  const low = (frame[at + 2]! << 24) | (frame[at + 3]! << 16) | (frame[at + 4]! << 8) | frame[at + 5]!;
  return high * 0x1_0000_0000 + (low >>> 0);
}

/** Whether an address is that of a group: the lowest bit of its first byte. */
function isGroup(address: number): boolean {
  return (Math.floor(address / 2 ** 40) & 1) === 1;
}
