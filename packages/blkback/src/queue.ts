import { BLKIF_RSP } from "@paravirt/xen-abi";
import {
  type BackRing,
  createBackRing,
  type EventChannelEnd,
  type GrantedPage,
  type GuestPort,
} from "@paravirt/xenbus";
import type { BlockExecutor, BlockJob } from "./execute.ts";
import { GrantCache, type HeldPage } from "./grant-cache.ts";
import {
  type BlockProtocol,
  type BlockRequestHead,
  type BlockSegment,
  createResponseWriter,
  decodeBlockRequest,
  decodeIndirectSegments,
  SEGMENT_SIZE,
  SEGMENTS_PER_PAGE,
  slotSizeOf,
} from "./request.ts";

/** Where one ring of a frontend is. */
export interface QueueNodes {
  /** Grants of the ring's pages, in order. */
  readonly ring: readonly number[];
  /** The event channel that the guest allocated for it. */
  readonly port: number;
}

/** What a queue is made of. */
export interface QueueOptions {
  readonly guest: GuestPort;
  readonly nodes: QueueNodes;
  readonly protocol: BlockProtocol;
  /** Executes what the queue takes; asked for each turn, since a medium may be changed. */
  readonly executor: () => BlockExecutor;
  /** Pages that may stay mapped; 0 for a frontend that doesn't use its grants again. */
  readonly persistentGrants: number;
  readonly maxIndirectSegments: number;
  /** Told once when the frontend made its ring nonsense; the queue takes nothing more. */
  readonly onBroken: (reason: string) => void;
}

/** One ring of a device and what is under way from it. */
export interface BlockQueue {
  /** Requests that were taken and not answered. */
  readonly inFlight: number;
  /** Takes nothing more, waits for what is under way, and gives all pages back. */
  close(): Promise<void>;
}

/** Requests, and bytes of their data, that one turn takes: some hundred microseconds, then the guest has its turn. */
const TURN_REQUESTS = 256;
const TURN_BYTES = 4 << 20;

/** Maps a frontend's ring and serves it. Throws an `Error` that says what the frontend's nodes have wrong. */
export function openBlockQueue(options: QueueOptions): BlockQueue {
  const { guest, nodes } = options;
  const pages: GrantedPage[] = [];
  const giveBack = (): void => {
    for (const page of pages.splice(0)) page.release();
  };
  for (const ref of nodes.ring) {
    const page = guest.mapGrant(ref);
    if (typeof page === "object") pages.push(page);
    if (typeof page === "number" || page.bytes.length !== 4096) {
      giveBack();
      throw new Error(`grant ${ref} of the ring can't be mapped`);
    }
  }
  const queue = new Queue(options, pages);
  const channel = guest.bindEventChannel(nodes.port, () => queue.turn());
  if (typeof channel === "number") {
    giveBack();
    throw new Error(`event channel ${nodes.port} can't be bound`);
  }
  queue.channel = channel;
  return queue;
}

class Queue implements BlockQueue {
  channel: EventChannelEnd | undefined;
  readonly #options: QueueOptions;
  readonly #pages: readonly GrantedPage[];
  readonly #ring: BackRing;
  readonly #grants: GrantCache;
  readonly #response: (head: BlockRequestHead, status: number) => Uint8Array;
  #closed = false;
  #inTurn = false;
  #again = false;
  #pushing = false;
  #drained: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: QueueOptions, pages: readonly GrantedPage[]) {
    this.#options = options;
    this.#pages = pages;
    this.#grants = new GrantCache(options.guest, options.persistentGrants);
    this.#response = createResponseWriter(options.protocol);
    this.#ring = createBackRing({
      pages: pages.map((page) => page.bytes),
      slotSize: slotSizeOf(options.protocol),
      notify: () => this.channel?.notify(),
    });
  }

  get inFlight(): number {
    return this.#ring.inFlight;
  }

  /** Takes what the ring has, up to a turn's measure, and starts it all at once, so that neighbours can be joined. */
  turn(): void {
    if (this.#closed) return;
    this.#inTurn = true;
    const jobs: BlockJob[] = [];
    let bytes = 0;
    let taken = 0;
    for (; taken < TURN_REQUESTS && bytes < TURN_BYTES; taken++) {
      const slot = this.#ring.take();
      if (slot === undefined) break;
      const job = this.#prepare(slot);
      if (job === undefined) continue;
      jobs.push(job);
      bytes += job.count * 512;
    }
    this.#options.executor().run(jobs);
    this.#inTurn = false;
    this.#ring.push();
    if (this.#ring.waitForRequests()) this.#later();
    else if (this.#ring.broken) this.#break();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#closed = true;
    this.channel?.close();
    if (this.inFlight > 0)
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
    this.#grants.clear();
    for (const page of this.#pages) page.release();
  }

  #break(): void {
    this.#closed = true;
    this.#options.onBroken(`the ring of event channel ${this.#options.nodes.port} has impossible indices`);
  }

  #later(): void {
    if (this.#again) return;
    this.#again = true;
    this.#options.guest.later(() => {
      this.#again = false;
      this.turn();
    });
  }

  /** Makes a job of a request, or answers it at once. */
  #prepare(slot: DataView): BlockJob | undefined {
    const request = decodeBlockRequest(slot, this.#options.protocol, this.#options.maxIndirectSegments);
    switch (request.kind) {
      case "rejected":
        this.#answer(request, request.status);
        return undefined;
      case "discard": {
        // Nobody here can promise that nothing is left of what was there.
        if (request.secure) {
          this.#answer(request, BLKIF_RSP.EOPNOTSUPP);
          return undefined;
        }
        const { kind, sector, count } = request;
        return { kind, sector, count, buffers: [], done: (status) => this.#answer(request, status) };
      }
      case "indirect": {
        const segments = this.#indirectSegments(request.pages, request.count);
        if (segments !== undefined)
          return this.#transfer(request, request.write ? "write" : "read", request.sector, segments);
        this.#answer(request, BLKIF_RSP.ERROR);
        return undefined;
      }
      default:
        return this.#transfer(request, request.kind, request.sector, request.segments);
    }
  }

  #indirectSegments(refs: readonly number[], count: number): BlockSegment[] | undefined {
    const copies: DataView[] = [];
    for (const [at, ref] of refs.entries()) {
      const page = this.#grants.take(ref, true);
      if (page === undefined) return undefined;
      const copy = page.bytes.slice(0, (count - at * SEGMENTS_PER_PAGE) * SEGMENT_SIZE);
      page.drop(false);
      copies.push(new DataView(copy.buffer));
    }
    return decodeIndirectSegments(copies, count);
  }

  /** Maps a transfer's pages: all of them, or none and the request fails. */
  #transfer(
    head: BlockRequestHead,
    kind: "read" | "write" | "flush" | "barrier",
    sector: number,
    segments: readonly BlockSegment[],
  ): BlockJob | undefined {
    const reads = kind === "read";
    const pages: HeldPage[] = [];
    const buffers: Uint8Array[] = [];
    const drop = (): void => {
      for (const page of pages) page.drop(reads);
    };
    let count = 0;
    for (const { grant, first, last } of segments) {
      const page = this.#grants.take(grant, !reads);
      if (page === undefined) {
        drop();
        this.#answer(head, BLKIF_RSP.ERROR);
        return undefined;
      }
      pages.push(page);
      const { bytes } = page;
      buffers.push(first === 0 && last === 7 ? bytes : bytes.subarray(first * 512, (last + 1) * 512));
      count += last + 1 - first;
    }
    return {
      kind,
      sector,
      count,
      buffers,
      done: (status) => {
        drop();
        this.#answer(head, status);
      },
    };
  }

  #answer(head: BlockRequestHead, status: number): void {
    // A frontend that was let go gets no answers, and the ring's page may be anything by now; what it holds is ours still.
    this.#ring.respond(this.#response(head, status));
    if (this.#closed) {
      if (this.inFlight === 0) this.#drained?.();
    } else if (!this.#inTurn && !this.#pushing) {
      this.#pushing = true;
      // What a disk answers together is shown together.
      void Promise.resolve().then(() => {
        this.#pushing = false;
        if (!this.#closed) this.#ring.push();
      });
    }
  }
}
