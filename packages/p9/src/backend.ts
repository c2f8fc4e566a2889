import { ParavirtError } from "@paravirt/core";
import {
  createXenbusBackend,
  type Device,
  type DeviceContext,
  type GrantedPage,
  type XenbusBackend,
  type XenbusEnd,
} from "@paravirt/xenbus";
import { FlexRing, MAX_RING_ORDER, readRingPlan } from "./flex-ring.ts";
import type { P9Connection } from "./link.ts";
import { RingTransport } from "./ring-transport.ts";
import type { P9Server } from "./server.ts";

/** What {@link createShareDevice} makes a device of. */
export interface ShareDeviceOptions {
  /** Serves the files. A server may have several devices. */
  readonly server: P9Server;
  /** What the guest mounts it by: `mount -t 9p -o trans=xen,version=9p2000.L TAG FOLDER`. At most 31 printable characters. */
  readonly tag: string;
  /** The device's number, unique among those of its type in the domain. */
  readonly id: number;
  /** log2 of the pages that a ring may have, 1 to 9 (9): a Linux guest takes two rings of as many as it may. */
  readonly maxRingPageOrder?: number;
}

const MAX_RINGS = 8;
const LEAST_ORDER = 2;

/**
 * Makes a `9pfs` device (Xen's docs/misc/9pfs) out of a server, to be given to a domain. Throws `BAD_ARGUMENT` for a tag
 * or a ring order that can't be.
 */
export function createShareDevice(options: ShareDeviceOptions): Device {
  const { tag, id } = options;
  const maxOrder = options.maxRingPageOrder ?? MAX_RING_ORDER;
  if (!/^[\x21-\x7e]{1,31}$/.test(tag))
    throw new ParavirtError("BAD_ARGUMENT", `the tag ${JSON.stringify(tag)} isn't 1 to 31 printable characters`);
  if (!Number.isInteger(maxOrder) || maxOrder < LEAST_ORDER || maxOrder > MAX_RING_ORDER)
    throw new ParavirtError("BAD_ARGUMENT", `a ring order of ${maxOrder}; ${LEAST_ORDER} to ${MAX_RING_ORDER}`);
  return {
    type: "9pfs",
    id,
    frontend: { tag },
    // What the host calls the folder is none of the guest's business.
    backend: { path: `/${tag}`, security_model: "none" },
    start: (context) => startBackend(context, options.server, maxOrder),
  };
}

function startBackend(context: DeviceContext, server: P9Server, maxOrder: number): Promise<XenbusBackend> {
  let link: ShareLink | undefined;
  return createXenbusBackend({
    store: context.store,
    path: context.path,
    offer: { versions: "1", "max-rings": String(MAX_RINGS), "max-ring-page-order": String(maxOrder) },
    async connect(end) {
      const rings = await readFrontend(end);
      link = new ShareLink(context, server, maxOrder);
      try {
        link.open(rings);
      } catch (error) {
        await link.close();
        throw error;
      }
      return {};
    },
    async disconnect() {
      await link?.close();
      link = undefined;
    },
    onError: context.onError,
  });
}

interface RingNodes {
  readonly reference: number;
  readonly port: number;
}

/** What the frontend wrote of its rings. Throws with a line for the device's `error` node. */
async function readFrontend(end: XenbusEnd): Promise<readonly RingNodes[]> {
  const number = async (name: string): Promise<number> => {
    const text = await end.readOther(name);
    if (text === undefined || !/^[0-9]{1,10}$/.test(text)) throw new Error(`${name} is ${text ?? "missing"}`);
    return Number(text);
  };
  const version = await number("version");
  if (version !== 1) throw new Error(`version is ${version}, only 1 is offered`);
  const count = await number("num-rings");
  if (count < 1 || count > MAX_RINGS) throw new Error(`num-rings is ${count}, 1 to ${MAX_RINGS} are offered`);
  const rings: RingNodes[] = [];
  for (let index = 0; index < count; index++)
    rings.push({ reference: await number(`ring-ref${index}`), port: await number(`event-channel-${index}`) });
  return rings;
}

/** The link to one connected frontend: its rings, and the server's end behind them. */
class ShareLink {
  readonly #context: DeviceContext;
  readonly #server: P9Server;
  readonly #maxOrder: number;
  readonly #pages: GrantedPage[] = [];
  readonly #transports: RingTransport[] = [];
  readonly #closers: (() => void)[] = [];
  #connection: P9Connection | undefined;

  constructor(context: DeviceContext, server: P9Server, maxOrder: number) {
    this.#context = context;
    this.#server = server;
    this.#maxOrder = maxOrder;
  }

  open(nodes: readonly RingNodes[]): void {
    const { guest, onError } = this.#context;
    const rings = nodes.map(({ reference }, index) => this.#mapRing(reference, index));
    const connection = this.#server.connect({ maxMessage: Math.min(...rings.map((ring) => ring.size)) });
    this.#connection = connection;
    for (const [index, { port }] of nodes.entries()) {
      let notify = (): void => {};
      const transport = new RingTransport({
        ring: rings[index]!,
        connection,
        notify: () => notify(),
        later: (work) => guest.later(work),
        onRoom: () => {
          for (const one of this.#transports) one.resume();
        },
        onBroken: (reason) => onError(new Error(`ring ${index} is given up: ${reason}`)),
      });
      this.#transports.push(transport);
      const channel = guest.bindEventChannel(port, () => transport.event());
      if (typeof channel === "number")
        throw new Error(`event-channel-${index}: port ${port} can't be bound: errno ${-channel}`);
      this.#closers.push(() => channel.close());
      notify = () => channel.notify();
    }
  }

  async close(): Promise<void> {
    for (const transport of this.#transports) transport.close();
    for (const close of this.#closers.splice(0)) close();
    await this.#connection?.close();
    for (const page of this.#pages.splice(0)) page.release();
  }

  #mapRing(reference: number, index: number): FlexRing {
    const indices = this.#map(reference, `ring-ref${index}`);
    const plan = readRingPlan(indices.bytes, this.#maxOrder);
    if (plan === undefined) throw new Error(`ring ${index} has an order that isn't within 1 to ${this.#maxOrder}`);
    return new FlexRing(
      indices,
      plan.references.map((one) => this.#map(one, `a page of ring ${index}`)),
    );
  }

  #map(reference: number, what: string): GrantedPage {
    const page = this.#context.guest.mapGrant(reference);
    if (typeof page === "number") throw new Error(`${what}: grant ${reference} can't be mapped: ${page}`);
    this.#pages.push(page);
    if (page.bytes.length !== 4096) throw new Error(`${what}: grant ${reference} is of part of a page`);
    return page;
  }
}
