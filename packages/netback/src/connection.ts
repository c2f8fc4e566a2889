import { type PacketOffload, type PacketPort, ParavirtError } from "@paravirt/core";
import { ETHERTYPE, finishFrame } from "@paravirt/net";
import { createBackRing, type EventChannelEnd, type GrantedPage, type GuestPort } from "@paravirt/xenbus";
import type { FrontendNodes, FrontendQueue } from "./frontend-nodes.ts";
import type { MulticastFilter } from "./multicast.ts";
import { CreditBucket, type VifRate } from "./rate.ts";
import { createReceiveQueue, type ReceiveQueue, type RxOffload } from "./receive.ts";
import { RX_SLOT } from "./rx-response.ts";
import type { VifStatistics } from "./statistics.ts";
import { createTransmitQueue, type TransmitQueue, type VifTimer } from "./transmit.ts";
import { TX_SLOT } from "./tx-request.ts";

const PAGE = 4096;
/** The longest IP datagram behind an Ethernet header with a VLAN tag. */
const MAX_FRAME = 0xffff + 18;
const ETHERNET_HEADER = 14;

/** What a connection to one frontend works with. */
export interface ConnectionOptions {
  readonly guest: GuestPort;
  readonly port: PacketPort;
  readonly nodes: FrontendNodes;
  readonly filter: MulticastFilter;
  readonly statistics: VifStatistics;
  readonly isLinkUp: () => boolean;
  readonly maxWaitingBytes: number;
  readonly limit: { readonly rate: VifRate; readonly timer: VifTimer } | undefined;
  /** Told once when the frontend's rings can't be understood any more; the connection is closed by then. */
  readonly onBroken: (reason: string) => void;
}

/** A connected frontend: its rings mapped, its event channels bound, the port's frames on their way to it. */
export interface Connection {
  /** Lets go of everything. Calling it twice does nothing. */
  close(): void;
}

/** Connects to a frontend. Throws `DENIED` naming the grant or event channel that can't be had, and keeps nothing then. */
export function openConnection(options: ConnectionOptions): Connection {
  return new OpenConnection(options);
}

interface Queue {
  readonly transmit: TransmitQueue;
  readonly receive: ReceiveQueue;
}

class OpenConnection implements Connection {
  readonly #options: ConnectionOptions;
  readonly #pages: GrantedPage[] = [];
  readonly #channels: EventChannelEnd[] = [];
  readonly #queues: Queue[] = [];
  #open = true;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    try {
      for (const queue of options.nodes.queues) this.#queues.push(this.#connect(queue));
    } catch (error) {
      this.close();
      throw error;
    }
    options.port.onPacket((frame, offload) => this.#deliver(frame, offload), { takesOffloads: true });
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#options.port.onPacket(undefined);
    for (const { transmit, receive } of this.#queues) {
      transmit.stop();
      receive.stop();
    }
    for (const channel of this.#channels) channel.close();
    for (const page of this.#pages) page.release();
  }

  #connect({ txRing, rxRing, txPort, rxPort }: FrontendQueue): Queue {
    const { guest, port, filter, statistics, isLinkUp, limit, maxWaitingBytes } = this.#options;
    const onBroken = (reason: string): void => {
      if (!this.#open) return;
      this.close();
      this.#options.onBroken(reason);
    };
    // Both rings signal through what is bound below; nothing runs before that.
    let tx: EventChannelEnd | undefined;
    let rx: EventChannelEnd | undefined;
    const transmit = createTransmitQueue({
      ring: createBackRing({ pages: [this.#map("transmit", txRing)], slotSize: TX_SLOT, notify: () => tx?.notify() }),
      guest,
      port,
      filter,
      statistics,
      isLinkUp,
      // Each queue has a limit of its own, as in Linux's netback.
      limit:
        limit === undefined
          ? undefined
          : { bucket: new CreditBucket(limit.rate, limit.timer.now()), timer: limit.timer },
      onBroken,
    });
    const receive = createReceiveQueue({
      ring: createBackRing({ pages: [this.#map("receive", rxRing)], slotSize: RX_SLOT, notify: () => rx?.notify() }),
      guest,
      statistics,
      maxWaitingBytes: Math.floor(maxWaitingBytes / this.#options.nodes.queues.length),
      onBroken,
    });
    if (txPort === rxPort) {
      tx = rx = this.#bind(txPort, () => {
        transmit.run();
        receive.run();
      });
    } else {
      tx = this.#bind(txPort, () => transmit.run());
      rx = this.#bind(rxPort, () => receive.run());
    }
    return { transmit, receive };
  }

  #map(which: string, ref: number): Uint8Array {
    const page = this.#options.guest.mapGrant(ref);
    if (typeof page === "number")
      throw new ParavirtError("DENIED", `grant ${ref} of the ${which} ring: status ${page}`);
    this.#pages.push(page);
    if (page.bytes.length !== PAGE)
      throw new ParavirtError("DENIED", `grant ${ref} of the ${which} ring is no whole page`);
    return page.bytes;
  }

  #bind(port: number, listener: () => void): EventChannelEnd {
    const end = this.#options.guest.bindEventChannel(port, () => {
      if (this.#open) listener();
    });
    if (typeof end === "number") throw new ParavirtError("DENIED", `event channel ${port}: errno ${-end}`);
    this.#channels.push(end);
    return end;
  }

  /** A frame from the port, for the guest. */
  #deliver(frame: Uint8Array, offload: PacketOffload | undefined): void {
    const { filter, statistics, isLinkUp, nodes } = this.#options;
    if (!isLinkUp() || frame.length < ETHERNET_HEADER || frame.length > MAX_FRAME) {
      statistics.receiveDrops++;
      return;
    }
    if (!filter.wants(frame)) return;
    const ipv6 = isIpv6(frame);
    const large = offload?.segmentSize !== undefined;
    const partial = large || offload?.partialChecksum === true;
    const takesLarge = !large || (ipv6 ? nodes.gsoIpv6 : nodes.gsoIpv4);
    const takesPartial = !partial || (ipv6 ? nodes.checksumIpv6 : nodes.checksumIpv4);
    if (takesLarge && takesPartial) {
      this.#give(frame, { partialChecksum: partial, segmentSize: offload?.segmentSize ?? 0, ipv6 });
      return;
    }
    const plain = { partialChecksum: false, segmentSize: 0, ipv6 };
    if (!finishFrame(frame, offload, (finished) => this.#give(finished, plain))) statistics.receiveDrops++;
  }

  #give(frame: Uint8Array, offload: RxOffload): void {
    if (!this.#open) return;
    if (frame.length > PAGE && !this.#options.nodes.scatterGather) {
      this.#options.statistics.receiveDrops++;
      return;
    }
    const queues = this.#queues;
    const queue = queues.length === 1 ? queues[0]! : queues[flowHash(frame) % queues.length]!;
    queue.receive.put(frame, offload);
  }
}

function isIpv6(frame: Uint8Array): boolean {
  const at = frame[12] === ETHERTYPE.vlan >> 8 && frame[13] === (ETHERTYPE.vlan & 0xff) ? 16 : 12;
  return frame[at] === ETHERTYPE.ipv6 >> 8 && frame[at + 1] === (ETHERTYPE.ipv6 & 0xff);
}

/** A number that frames of one flow share: over addresses and ports of IP without options, so that flows keep their order. */
function flowHash(frame: Uint8Array): number {
  const ipv6 = isIpv6(frame);
  const [from, to] = ipv6 ? [22, 58] : [26, 38];
  // Fragments have no ports; the addresses alone keep a datagram's pieces in one queue.
  const fragment = !ipv6 && frame.length > 21 && ((frame[20]! & 0x3f) | frame[21]!) !== 0;
  const end = Math.min(frame.length, fragment ? 34 : to);
  let hash = 0;
  for (let at = from; at < end; at++) hash = (Math.imul(hash, 31) + frame[at]!) | 0;
  return (hash ^ (hash >>> 16)) >>> 0;
}
