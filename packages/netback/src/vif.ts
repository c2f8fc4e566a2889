import { type PacketPort, ParavirtError } from "@paravirt/core";
import {
  createXenbusBackend,
  type Device,
  type DeviceContext,
  type XenbusBackend,
  type XenbusEnd,
} from "@paravirt/xenbus";
import { type Connection, openConnection } from "./connection.ts";
import { isSet, REQUEST_MULTICAST, readFrontendNodes } from "./frontend-nodes.ts";
import { formatMac, parseMac } from "./mac.ts";
import { MulticastFilter } from "./multicast.ts";
import { checkVifRate, type VifRate } from "./rate.ts";
import { createStatistics, type VifStatistics } from "./statistics.ts";
import type { VifTimer } from "./transmit.ts";

/** A virtual network card for a domain. */
export interface VifOptions {
  /** The other end of its cable: frames of the guest are sent there, frames from there go to the guest. */
  readonly port: PacketPort;
  /** Its Ethernet address: `00:16:3e:11:22:33`. See {@link generateMac}. */
  readonly mac: string;
  /** The card's number in the domain: 0 for eth0 unless the guest renames it. 0 when left out. */
  readonly id?: number;
  /** What the guest may take as its MTU, 68 to 65521 bytes (`mtu` node); without it guests take 1500. */
  readonly mtu?: number;
  /** Most queues that the guest may have, 1 to 16; 4 when left out. Linux takes one for each VCPU. */
  readonly queues?: number;
  /** Limits what the guest sends, for each queue; needs {@link VifOptions.timer}. */
  readonly rate?: VifRate;
  /** Time, for the limit. */
  readonly timer?: VifTimer;
  /** Bytes of frames that may wait for a guest that takes none, over all queues; 4 MiB when left out, then frames are dropped. */
  readonly maxWaitingBytes?: number;
  /** Whether the cable is plugged in at the start; true when left out. */
  readonly link?: boolean;
}

/** A network card as a device of xenbus. */
export interface Vif extends Device {
  /** Its address, in lower case with colons. */
  readonly mac: string;
  /** Whether the cable is plugged in. */
  readonly link: boolean;
  /** What went through it since it was made. */
  readonly statistics: Readonly<VifStatistics>;
  /**
   * Plugs the cable in or pulls it out: without it frames are lost in both directions, and the backend's `carrier` node
   * says 0. Resolves when the node is written.
   */
  setLink(up: boolean): Promise<void>;
}

const DEFAULT_QUEUES = 4;
const MAX_QUEUES = 16;
const DEFAULT_WAITING = 4 * 1024 * 1024;
const MIN_MTU = 68;
const MAX_MTU = 65521;

/**
 * Makes a network card, for `createDomain({ devices })` of `@paravirt/vmm` or `domain.attach`. Throws `BAD_ARGUMENT` or
 * `OUT_OF_RANGE` naming the option that is wrong.
 */
export function createVif(options: VifOptions): Vif {
  return new VirtualCard(options);
}

class VirtualCard implements Vif {
  readonly type = "vif";
  readonly id: number;
  readonly mac: string;
  readonly frontend: Readonly<Record<string, string>>;
  readonly backend: Readonly<Record<string, string>>;
  readonly statistics: VifStatistics = createStatistics();
  readonly #options: VifOptions;
  readonly #queues: number;
  #context: DeviceContext | undefined;
  link: boolean;

  constructor(options: VifOptions) {
    const { id = 0, queues = DEFAULT_QUEUES, mtu, rate, timer, maxWaitingBytes = DEFAULT_WAITING } = options;
    inRange("id", id, 0, 0xffff);
    inRange("queues", queues, 1, MAX_QUEUES);
    inRange("maxWaitingBytes", maxWaitingBytes, 0, Number.MAX_SAFE_INTEGER);
    if (mtu !== undefined) inRange("mtu", mtu, MIN_MTU, MAX_MTU);
    if (rate !== undefined && timer === undefined) throw new ParavirtError("BAD_ARGUMENT", "a rate needs a timer");
    this.#options = options;
    this.#queues = queues;
    this.id = id;
    this.mac = formatMac(parseMac(options.mac));
    this.link = options.link ?? true;
    this.frontend = {
      handle: String(id),
      mac: this.mac,
      trusted: "1",
      ...(mtu === undefined ? {} : { mtu: String(mtu) }),
    };
    this.backend = {
      mac: this.mac,
      ...(rate === undefined ? {} : { rate: rateNode(rate) }),
      handle: String(id),
      type: "vif",
    };
  }

  async setLink(up: boolean): Promise<void> {
    this.link = up;
    const context = this.#context;
    await context?.store.write(`${context.path}/carrier`, up ? "1" : "0");
  }

  async start(context: DeviceContext): Promise<XenbusBackend> {
    if (this.#context !== undefined)
      throw new ParavirtError("BUSY", `the network card ${this.mac} serves a domain already`);
    this.#context = context;
    const { store, path, onError } = context;
    const { port, rate, timer, maxWaitingBytes = DEFAULT_WAITING } = this.#options;
    const filter = new MulticastFilter();
    let connection: Connection | undefined;
    let stopWatching = async (): Promise<void> => {};

    const disconnect = async (): Promise<void> => {
      connection?.close();
      connection = undefined;
      await stopWatching();
      filter.reset();
    };
    const onBroken = (end: XenbusEnd, reason: string): void => {
      const text = `the frontend's rings are broken: ${reason}`;
      onError(new ParavirtError("BAD_ARGUMENT", text));
      end.fail(text).catch(onError);
    };
    try {
      return await createXenbusBackend({
        store,
        path,
        offer: this.#offer(),
        connect: async (end) => {
          const nodes = await readFrontendNodes(end, this.#queues);
          stopWatching = watchMulticast(context, end, filter);
          try {
            connection = openConnection({
              guest: context.guest,
              port,
              nodes,
              filter,
              statistics: this.statistics,
              isLinkUp: () => this.link,
              maxWaitingBytes,
              limit: rate === undefined ? undefined : { rate, timer: timer! },
              onBroken: (reason) => onBroken(end, reason),
            });
          } catch (error) {
            await disconnect();
            throw error;
          }
          return {};
        },
        disconnect,
        closed: () => {
          this.#context = undefined;
        },
        onError,
      });
    } catch (error) {
      this.#context = undefined;
      throw error;
    }
  }

  /** The features, in the order in which Linux's netback writes them. */
  #offer(): Readonly<Record<string, string>> {
    return {
      "feature-sg": "1",
      "feature-gso-tcpv4": "1",
      "feature-gso-tcpv6": "1",
      "feature-ipv6-csum-offload": "1",
      "feature-rx-copy": "1",
      "feature-rx-flip": "0",
      "feature-multicast-control": "1",
      "feature-dynamic-multicast-control": "1",
      "feature-split-event-channels": "1",
      "multi-queue-max-queues": String(this.#queues),
      carrier: this.link ? "1" : "0",
      "hotplug-status": "connected",
    };
  }
}

/** Follows the frontend's wish for a multicast filter; answers how to stop that. */
function watchMulticast(
  { store, onError }: DeviceContext,
  end: XenbusEnd,
  filter: MulticastFilter,
): () => Promise<void> {
  const watch = store.watch(`${end.otherPath}/${REQUEST_MULTICAST}`);
  let watching = true;
  const follow = async (): Promise<void> => {
    for await (const _ of watch) {
      const active = await isSet(end, REQUEST_MULTICAST);
      if (watching) filter.active = active;
    }
  };
  follow().catch((error) => {
    if (watching) onError(error);
  });
  return async () => {
    if (!watching) return;
    watching = false;
    await watch.close().catch(() => undefined); // a connection that ended has no watch to end
  };
}

function rateNode(rate: VifRate): string {
  const { bytes, interval } = checkVifRate(rate);
  return `${bytes},${interval}`;
}

function inRange(name: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high)
    throw new ParavirtError("OUT_OF_RANGE", `${name} ${value} is not in ${low} to ${high}`);
}
