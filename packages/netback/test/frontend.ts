// A guest with a network driver, for tests: written from io/netif.h and io/ring.h, not from our backend.
import type { PacketOffload, PacketPort } from "@paravirt/core";
import { createFrontRing, type DeviceContext, type FrontRing } from "@paravirt/xenbus";
import { createDeviceStore } from "../../xenbus/test/device-store.ts";
import { FakeGuest } from "../../xenbus/test/fake-guest.ts";
import { createVif, type Vif, type VifOptions } from "../src/index.ts";

export const MAC = "00:16:3e:11:22:33";

/** A frame with what is still to be done to it, as one end of a cable saw it. */
export interface SeenFrame {
  readonly frame: Uint8Array;
  readonly offload: PacketOffload | undefined;
}

/** A packet port whose other end is the test. */
export interface TestPort extends PacketPort {
  /** What the guest sent. */
  readonly sent: SeenFrame[];
  /** Sends a frame to the guest. */
  give(frame: Uint8Array, offload?: PacketOffload): void;
  readonly hasReceiver: boolean;
}

export function createTestPort(takesOffloads: boolean): TestPort {
  let receiver: ((frame: Uint8Array, offload?: PacketOffload) => void) | undefined;
  const sent: SeenFrame[] = [];
  return {
    takesOffloads,
    sent,
    send: (frame, offload) => void sent.push({ frame: frame.slice(), offload }),
    onPacket(to) {
      receiver = to;
    },
    give: (frame, offload) => receiver?.(frame, offload),
    get hasReceiver() {
      return receiver !== undefined;
    },
  };
}

/** Flags and pieces of a frame to be sent. */
export interface TestSend {
  readonly flags?: number;
  readonly extras?: readonly Uint8Array[];
  /** Bytes of each piece; by default as many as fit into pages. */
  readonly split?: readonly number[];
}

/** One queue of a frontend. */
export class TestQueue {
  readonly guest: FakeGuest;
  readonly txPage = new Uint8Array(4096);
  readonly rxPage = new Uint8Array(4096);
  readonly tx: FrontRing;
  readonly rx: FrontRing;
  readonly txRef: number;
  readonly rxRef: number;
  readonly txPort: number;
  readonly rxPort: number;
  private readonly buffers = new Map<number, { ref: number; bytes: Uint8Array }>();
  /** The order in which pages were offered: Linux finds a page by its place in the ring, not by its id. */
  private readonly order: number[] = [];
  private nextId = 1;

  constructor(guest: FakeGuest, oneChannel = false) {
    this.guest = guest;
    this.txRef = guest.grant(this.txPage);
    this.rxRef = guest.grant(this.rxPage);
    this.txPort = guest.channel();
    this.rxPort = oneChannel ? this.txPort : guest.channel();
    this.tx = createFrontRing({ pages: [this.txPage], slotSize: 12, notify: () => guest.signal(this.txPort) });
    this.rx = createFrontRing({ pages: [this.rxPage], slotSize: 8, notify: () => guest.signal(this.rxPort) });
  }

  /** Puts a raw slot into the transmit ring. */
  txSlot(slot: { ref: number; offset?: number; flags?: number; id?: number; size: number }): void {
    const bytes = new DataView(new ArrayBuffer(12));
    bytes.setUint32(0, slot.ref, true);
    bytes.setUint16(4, slot.offset ?? 0, true);
    bytes.setUint16(6, slot.flags ?? 0, true);
    bytes.setUint16(8, slot.id ?? 0, true);
    bytes.setUint16(10, slot.size, true);
    this.tx.request(new Uint8Array(bytes.buffer));
  }

  /** Sends a frame as netfront does: the first slot has the whole length. Answers the ids of its slots. */
  send(frame: Uint8Array, { flags = 0, extras = [], split = pieces(frame.length) }: TestSend = {}): number[] {
    const ids: number[] = [];
    let at = 0;
    split.forEach((length, index) => {
      const page = new Uint8Array(4096);
      const offset = 4096 - length;
      page.set(frame.subarray(at, at + length), offset);
      at += length;
      const more = index < split.length - 1 ? 4 : 0;
      const id = this.nextId++ & 0xffff;
      ids.push(id);
      const own = index === 0 ? flags | (extras.length > 0 ? 8 : 0) : 0;
      const size = index === 0 ? frame.length : length;
      this.txSlot({ ref: this.guest.grant(page, true), offset, flags: own | more, id, size });
      if (index === 0) for (const extra of extras) this.tx.request(extra);
    });
    this.tx.push();
    return ids;
  }

  /** The backend's answers: id and status of each slot; `NULL` (1) for extra slots. */
  answers(): { id: number; status: number }[] {
    const answers: { id: number; status: number }[] = [];
    for (let slot = this.tx.take(); slot !== undefined; slot = this.tx.take())
      answers.push({ id: slot.getUint16(0, true), status: slot.getInt16(2, true) });
    this.tx.waitForResponses();
    return answers;
  }

  /** Offers pages for frames, `ref` in place of good ones. */
  offer(count: number, ref?: number): void {
    for (let at = 0; at < count; at++) {
      const bytes = new Uint8Array(4096).fill(0xee);
      const id = this.nextId++ & 0xffff;
      const given = ref ?? this.guest.grant(bytes);
      this.buffers.set(id, { ref: given, bytes });
      this.order.push(id);
      const slot = new DataView(new ArrayBuffer(8));
      slot.setUint16(0, id, true);
      slot.setUint32(4, given, true);
      this.rx.request(new Uint8Array(slot.buffer));
    }
    this.rx.push();
  }

  /** Takes the frames that the backend has put into pages. */
  receive(): ReceivedFrame[] {
    const frames: ReceivedFrame[] = [];
    for (let slot = this.rx.take(); slot !== undefined; slot = this.rx.take()) {
      const first = this.page(slot);
      const frame: ReceivedFrame = { bytes: first.bytes, flags: first.flags, gso: undefined, statuses: [first.status] };
      frames.push(frame);
      if ((first.flags & 8) !== 0) {
        const extra = this.rx.take()!;
        this.order.shift();
        if (extra.getUint8(0) === 1) frame.gso = { size: extra.getUint16(2, true), type: extra.getUint8(4) };
      }
      for (let { flags } = first; (flags & 4) !== 0; ) {
        const next = this.page(this.rx.take()!);
        frame.statuses.push(next.status);
        frame.bytes = concat([frame.bytes, next.bytes]);
        flags = next.flags;
      }
    }
    this.rx.waitForResponses();
    return frames;
  }

  private page(slot: DataView): { bytes: Uint8Array; flags: number; status: number } {
    const id = slot.getUint16(0, true);
    if (this.order.shift() !== id) throw new Error(`page ${id} was answered out of its turn`);
    const buffer = this.buffers.get(id)!;
    this.buffers.delete(id);
    if (this.guest.mappedOf(buffer.ref) > 0) throw new Error(`the page of grant ${buffer.ref} is still mapped`);
    const status = slot.getInt16(6, true);
    const offset = slot.getUint16(2, true);
    return { bytes: buffer.bytes.slice(offset, offset + Math.max(0, status)), flags: slot.getUint16(4, true), status };
  }
}

/** A frame as the frontend put it together. */
export interface ReceivedFrame {
  bytes: Uint8Array;
  readonly flags: number;
  gso: { readonly size: number; readonly type: number } | undefined;
  readonly statuses: number[];
}

/** The lengths of a frame's pieces, a page each. */
export function pieces(length: number): number[] {
  const split: number[] = [];
  for (let left = length; left > 0; left -= 4096) split.push(Math.min(left, 4096));
  return split;
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** What a frontend writes unless a test wants something else; a value of `undefined` is left out. */
export type TestNodes = Readonly<Record<string, string | undefined>>;

const NODES: TestNodes = {
  "request-rx-copy": "1",
  "feature-rx-notify": "1",
  "feature-sg": "1",
  "feature-gso-tcpv4": "1",
  "feature-gso-tcpv6": "1",
  "feature-ipv6-csum-offload": "1",
};

/** A vif with its nodes in a store, its port and a guest that hasn't looked at it yet. */
export async function createTestVif(options: Partial<VifOptions> = {}, takesOffloads = true) {
  const port = createTestPort(takesOffloads);
  const vif: Vif = createVif({ port, mac: MAC, ...options });
  const { store, back, front, toolstack, guest: own, readBack, readFront } = createDeviceStore(vif);
  const guest = new FakeGuest();
  const errors: unknown[] = [];
  const context: DeviceContext = {
    guest,
    store: toolstack,
    path: back,
    onError: (error) => errors.push(error),
  };
  const backend = await vif.start(context);
  const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));
  return {
    vif,
    port,
    guest,
    errors,
    backend,
    store,
    context,
    settle,
    read: readBack,
    readFront,
    write: (name: string, value: string) => own.write(`${front}/${name}`, value),
    /** Connects a frontend with these queues. */
    async connect({ queues = 1, oneChannel = false, nodes = {} as TestNodes } = {}): Promise<TestQueue[]> {
      const made = Array.from({ length: queues }, () => new TestQueue(guest, oneChannel));
      const written: Record<string, string | undefined> = { ...NODES };
      made.forEach((queue, index) => {
        const prefix = queues === 1 ? "" : `queue-${index}/`;
        written[`${prefix}tx-ring-ref`] = String(queue.txRef);
        written[`${prefix}rx-ring-ref`] = String(queue.rxRef);
        if (oneChannel) written[`${prefix}event-channel`] = String(queue.txPort);
        else {
          written[`${prefix}event-channel-tx`] = String(queue.txPort);
          written[`${prefix}event-channel-rx`] = String(queue.rxPort);
        }
      });
      if (queues > 1) written["multi-queue-num-queues"] = String(queues);
      for (const [name, value] of Object.entries({ ...written, ...nodes }))
        if (value !== undefined) await own.write(`${front}/${name}`, value);
      await own.write(`${front}/state`, "3");
      await settle();
      guest.run();
      return made;
    },
  };
}
