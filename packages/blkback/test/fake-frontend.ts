import type { Disk } from "@paravirt/core";
import { BLKIF_OP, layout, XENBUS_STATE } from "@paravirt/xen-abi";
import {
  createFrontRing,
  createXenbusFrontend,
  type FrontRing,
  type XenbusBackend,
  type XenbusFrontend,
} from "@paravirt/xenbus";
import { vi } from "vitest";
import { createDeviceStore, type DeviceStore } from "../../xenbus/test/device-store.ts";
import { FakeGuest } from "../../xenbus/test/fake-guest.ts";
import type { BlockProtocol } from "../src/request.ts";
import { type BlkbackOptions, createBlkback } from "../src/vbd.ts";

const PAGE = 4096;

/** A guest whose pages lie one behind the other in its memory. */
export class BlockGuest extends FakeGuest {
  readonly memory: Uint8Array;
  #nextPage = 0;

  constructor(pages: number) {
    super();
    this.memory = new Uint8Array(pages * PAGE);
  }

  page(number: number): Uint8Array {
    return this.memory.subarray(number * PAGE, (number + 1) * PAGE);
  }

  /** A fresh page and a grant for it. */
  share(): { grant: number; page: number; bytes: Uint8Array } {
    const page = this.#nextPage++;
    if ((page + 1) * PAGE > this.memory.length) throw new Error("the fake guest's memory is full");
    const bytes = this.page(page);
    return { grant: this.grant(bytes), page, bytes };
  }
}

/** One segment as a frontend writes it. */
export interface FakeSegment {
  readonly grant: number;
  readonly first?: number;
  readonly last?: number;
}

/** A request as a frontend writes it; every field may be nonsense. */
export interface FakeRequest {
  readonly operation: number;
  readonly id?: bigint;
  readonly sector?: bigint;
  readonly segments?: readonly FakeSegment[];
  /** What the request says of its segments' number. */
  readonly count?: number;
}

/** How a fake frontend connects. */
export interface FakeFrontendOptions {
  readonly protocol?: BlockProtocol;
  readonly pageOrder?: number;
  readonly queues?: number;
  /** More nodes, or others. */
  readonly nodes?: Readonly<Record<string, string>>;
}

/** One ring of a connected frontend. */
export interface FakeQueue {
  readonly ring: FrontRing;
  readonly ringPages: readonly Uint8Array[];
  readonly port: number;
}

/** A block device between a backend of ours and a frontend that a test plays. */
export class FakeBlkfront {
  readonly guest: BlockGuest;
  readonly nodes: DeviceStore;
  readonly errors: unknown[] = [];
  readonly device;
  backend!: XenbusBackend;
  frontend: XenbusFrontend | undefined;
  queues: FakeQueue[] = [];
  protocol: BlockProtocol = "x86_64";

  constructor(options: BlkbackOptions & { readonly pages?: number }) {
    const { pages, ...rest } = options;
    this.guest = new BlockGuest(pages ?? 256);
    this.device = createBlkback(rest);
    this.nodes = createDeviceStore(this.device);
  }

  async start(): Promise<this> {
    this.backend = await this.device.start({
      guest: this.guest,
      store: this.nodes.toolstack,
      path: this.nodes.back,
      onError: (error) => this.errors.push(error),
    });
    return this;
  }

  /** Connects a well-behaved frontend. */
  async connect(options: FakeFrontendOptions = {}): Promise<this> {
    this.frontend = await createXenbusFrontend({
      store: this.nodes.guest,
      path: this.nodes.front,
      offer: () => this.makeNodes(options),
      connected: () => {},
      disconnected: () => {},
      onError: (error) => this.errors.push(error),
    });
    const { frontend } = this;
    await vi.waitFor(() => {
      if (frontend.state !== XENBUS_STATE.Connected || this.backend.state !== XENBUS_STATE.Connected)
        throw new Error(`frontend ${frontend.state}, backend ${this.backend.state}`);
    });
    await this.guest.settle();
    return this;
  }

  /** Makes rings, and the nodes that tell of them. */
  makeNodes({
    protocol = "x86_64",
    pageOrder,
    queues = 1,
    nodes = {},
  }: FakeFrontendOptions = {}): Record<string, string> {
    this.protocol = protocol;
    this.queues = [];
    const made: Record<string, string> = { protocol: `${protocol}-abi` };
    if (pageOrder !== undefined) made["ring-page-order"] = String(pageOrder);
    if (queues > 1) made["multi-queue-num-queues"] = String(queues);
    for (let queue = 0; queue < queues; queue++) {
      const folder = queues === 1 ? "" : `queue-${queue}/`;
      const pages = Array.from({ length: 2 ** (pageOrder ?? 0) }, () => this.guest.share());
      pages.forEach(({ grant }, index) => {
        made[`${folder}ring-ref${pageOrder === undefined ? "" : index}`] = String(grant);
      });
      const port = this.guest.channel();
      made[`${folder}event-channel`] = String(port);
      const ringPages = pages.map(({ bytes }) => bytes);
      const slotSize = layout("blkif_sring_entry", protocol).size;
      const ring = createFrontRing({ pages: ringPages, slotSize, notify: () => this.guest.signal(port) });
      this.queues.push({ ring, ringPages, port });
    }
    return { ...made, ...nodes };
  }

  /** The bytes of a request. */
  encode(request: FakeRequest): Uint8Array {
    const { size } = layout("blkif_sring_entry", this.protocol);
    const bytes = new Uint8Array(size);
    const view = new DataView(bytes.buffer);
    const { operation, id = 1n, sector = 0n, segments = [], count = segments.length } = request;
    layout("blkif_request", this.protocol).write(view, 0, {
      operation,
      nr_segments: count & 0xff,
      id,
      sector_number: sector,
      seg: Array.from({ length: 11 }, (_, at) => segmentOf(segments[at])),
    });
    return bytes;
  }

  /** The bytes of an indirect request; the pages of its segments are made here. */
  encodeIndirect(request: FakeRequest): Uint8Array {
    const { operation, id = 1n, sector = 0n, segments = [], count = segments.length } = request;
    const pages = Array.from({ length: Math.ceil(segments.length / 512) }, () => this.guest.share());
    segments.forEach((segment, at) => {
      const { bytes } = pages[Math.floor(at / 512)]!;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      layout("blkif_request_segment", this.protocol).write(view, (at % 512) * 8, segmentOf(segment));
    });
    const bytes = new Uint8Array(layout("blkif_sring_entry", this.protocol).size);
    layout("blkif_request_indirect", this.protocol).write(new DataView(bytes.buffer), 0, {
      operation: BLKIF_OP.INDIRECT,
      indirect_op: operation,
      nr_segments: count,
      id,
      sector_number: sector,
      indirect_grefs: Array.from({ length: 8 }, (_, at) => pages[at]?.grant ?? 0),
    });
    return bytes;
  }

  /** The bytes of a discard. */
  encodeDiscard({ id = 1n, sector, count, flag = 0 }: { id?: bigint; sector: bigint; count: bigint; flag?: number }) {
    const bytes = new Uint8Array(layout("blkif_sring_entry", this.protocol).size);
    layout("blkif_request_discard", this.protocol).write(new DataView(bytes.buffer), 0, {
      operation: BLKIF_OP.DISCARD,
      flag,
      id,
      sector_number: sector,
      nr_sectors: count,
    });
    return bytes;
  }

  /** Sends requests at once and answers the statuses, in the order of the requests. */
  async send(requests: readonly (FakeRequest | Uint8Array)[], queue = 0): Promise<number[]> {
    const { ring } = this.queues[queue]!;
    requests.forEach((request, at) => {
      const bytes = request instanceof Uint8Array ? request : this.encode(request);
      const view = new DataView(bytes.buffer);
      view.setBigUint64(layout("blkif_request", this.protocol).offsets.id, BigInt(at), true);
      ring.request(bytes);
    });
    ring.push();
    await this.guest.settle();
    const statuses: number[] = [];
    const response = layout("blkif_response", this.protocol);
    for (let slot = ring.take(); slot !== undefined; slot = ring.take()) {
      const { id, status } = response.read(slot, 0);
      statuses[Number(id)] = status;
    }
    ring.waitForResponses();
    return statuses;
  }

  /** Sends one request and answers its status. */
  async one(request: FakeRequest | Uint8Array, queue = 0): Promise<number | undefined> {
    return (await this.send([request], queue))[0];
  }
}

function segmentOf(segment: FakeSegment | undefined) {
  return { gref: segment?.grant ?? 0, first_sect: segment?.first ?? 0, last_sect: segment?.last ?? 7 };
}

/** A connected device on `disk`. */
export async function connectedFront(
  options: BlkbackOptions & { readonly disk: Disk; readonly pages?: number },
  frontend: FakeFrontendOptions = {},
): Promise<FakeBlkfront> {
  return (await new FakeBlkfront(options).start()).connect(frontend);
}

/** A disk in memory that writes down its calls, and answers when it is told to. */
export function recordingDisk(sectors: number, options: { readOnly?: boolean; sectorSize?: 512 | 4096 } = {}) {
  const bytes = new Uint8Array(sectors * 512);
  const log: string[] = [];
  const waiting: (() => void)[] = [];
  const listeners = new Set<() => void>();
  let held = false;
  let size = sectors;
  /** Sectors that can't be read or written. */
  const bad = new Set<number>();
  const answer = (what: string, sector: number, count: number, work: () => void): void | Promise<void> => {
    log.push(`${what} ${sector}+${count}`);
    const run = (): void => {
      for (let at = sector; at < sector + count; at++) if (bad.has(at)) throw new Error(`sector ${at} is bad`);
      work();
    };
    if (!held) return run();
    return new Promise((resolve) => waiting.push(resolve)).then(run);
  };
  const total = (buffers: readonly Uint8Array[]): number => buffers.reduce((sum, one) => sum + one.length, 0) / 512;
  const disk = {
    get sectors() {
      return size;
    },
    sectorSize: options.sectorSize ?? 512,
    readOnly: options.readOnly ?? false,
    read: (sector: number, into: readonly Uint8Array[]) =>
      answer(`read/${into.length}`, sector, total(into), () => {
        let at = sector * 512;
        for (const buffer of into) {
          buffer.set(bytes.subarray(at, at + buffer.length));
          at += buffer.length;
        }
      }),
    write: (sector: number, from: readonly Uint8Array[]) =>
      answer(`write/${from.length}`, sector, total(from), () => {
        let at = sector * 512;
        for (const buffer of from) {
          bytes.set(buffer, at);
          at += buffer.length;
        }
      }),
    flush: () => answer("flush", 0, 0, () => {}),
    discard: (sector: number, count: number) =>
      answer("discard", sector, count, () => void bytes.fill(0, sector * 512, (sector + count) * 512)),
    onResize(listener: () => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  } satisfies Disk;
  return {
    disk,
    bytes,
    log,
    bad,
    listeners,
    /** From now on calls wait. */
    hold: () => {
      held = true;
    },
    /** Lets `count` calls that wait go on. */
    release: (count = Number.POSITIVE_INFINITY) => {
      for (const resolve of waiting.splice(0, Math.min(count, waiting.length))) resolve();
    },
    /** Calls that wait. */
    waiting: () => waiting.length,
    unhold: () => {
      held = false;
      for (const resolve of waiting.splice(0)) resolve();
    },
    resize: (count: number) => {
      size = count;
      for (const listener of listeners) listener();
    },
  };
}
