// A guest with a 9pfs driver, for tests: written from Xen's docs/misc/9pfs, not from our backend.
import type { DeviceContext, XenbusBackend } from "@paravirt/xenbus";
import { createDeviceStore } from "../../xenbus/test/device-store.ts";
import { FakeGuest } from "../../xenbus/test/fake-guest.ts";
import { createShareDevice } from "../src/backend.ts";
import { decodeMessage, encodeMessage, type P9Fields, type P9Message, type P9MessageName } from "../src/codec.ts";
import type { P9Server } from "../src/server.ts";

const PAGE = 4096;

/** A guest that grants pages of its memory. */
export class ShareGuest extends FakeGuest {
  readonly memory = new Uint8Array(16 << 20);
  #nextPage = 0;

  /** A fresh page and the grant of it; with `gap` not beside the one before. */
  page(gap = 0): { readonly ref: number; readonly bytes: Uint8Array } {
    this.#nextPage += gap;
    const at = this.#nextPage++ * PAGE;
    const bytes = this.memory.subarray(at, at + PAGE);
    return { ref: this.grant(bytes), bytes };
  }
}

/** The frontend's end of one ring. */
export class ShareRing {
  readonly guest: ShareGuest;
  readonly indices: DataView;
  readonly ref: number;
  readonly port: number;
  readonly size: number;
  readonly pages: readonly Uint8Array[];
  sent = 0;
  received = 0;

  constructor(guest: ShareGuest, order: number, start = 0, gap = 0) {
    this.guest = guest;
    const { ref, bytes } = guest.page();
    this.ref = ref;
    this.port = guest.channel();
    this.indices = new DataView(bytes.buffer, bytes.byteOffset, PAGE);
    this.size = (PAGE << order) / 2;
    const pages = Array.from({ length: 1 << order }, () => guest.page(gap));
    this.pages = pages.map((page) => page.bytes);
    this.indices.setUint32(128, order, true);
    for (const [index, page] of pages.entries()) this.indices.setUint32(132 + 4 * index, page.ref, true);
    // Indices may start anywhere.
    for (const at of [0, 4, 64, 68]) this.indices.setUint32(at, start, true);
    this.sent = start;
    this.received = start;
  }

  #byte(half: number, index: number): readonly [Uint8Array, number] {
    const at = half * this.size + (index & (this.size - 1));
    return [this.pages[Math.floor(at / PAGE)]!, at % PAGE];
  }

  /** Puts bytes into the ring of requests, and tells the backend; whatever they are, and whether they fit or not. */
  put(bytes: Uint8Array): void {
    for (const [index, byte] of bytes.entries()) {
      const [page, at] = this.#byte(1, this.sent + index);
      page[at] = byte;
    }
    this.sent = (this.sent + bytes.length) >>> 0;
    this.indices.setUint32(68, this.sent, true);
    this.guest.signal(this.port);
  }

  send<Name extends P9MessageName>(name: Name, tag: number, fields: P9Fields<Name>): void {
    this.put(encodeMessage(name, tag, fields));
  }

  /** Bytes of requests that the backend hasn't taken. */
  get untaken(): number {
    return (this.sent - this.indices.getUint32(64, true)) >>> 0;
  }

  /** Takes all answers, or as many as are said. */
  take(most = Number.POSITIVE_INFINITY): P9Message[] {
    const found: P9Message[] = [];
    while (found.length < most && this.indices.getUint32(4, true) !== this.received) {
      const copy = (count: number): Uint8Array =>
        Uint8Array.from({ length: count }, (_, index) => {
          const [page, at] = this.#byte(0, this.received + index);
          return page[at]!;
        });
      const size = new DataView(copy(4).buffer).getUint32(0, true);
      const message = decodeMessage(copy(size));
      if (message === undefined) throw new Error(`an answer of ${size} bytes that can't be decoded`);
      found.push(message);
      this.received = (this.received + size) >>> 0;
      this.indices.setUint32(0, this.received, true);
    }
    if (found.length > 0) this.guest.signal(this.port);
    return found;
  }
}

/** A device between a guest and a server, with its store. */
export async function createShareBed(server: P9Server) {
  const device = createShareDevice({ server, tag: "src", id: 0 });
  const { back, toolstack, readBack, readFront, writeFront } = createDeviceStore(device);
  const guest = new ShareGuest();
  const errors: string[] = [];
  const context: DeviceContext = {
    guest,
    store: toolstack,
    path: back,
    onError: (error) => errors.push(error instanceof Error ? error.message : String(error)),
  };
  const backend: XenbusBackend = await device.start(context);
  const write = (name: string, value: string | number): void => writeFront(name, String(value));
  return {
    guest,
    errors,
    backend,
    write,
    read: readBack,
    readFront,
    /** Writes the nodes of a frontend and goes to Initialised. */
    async connect(rings: readonly ShareRing[], nodes: Readonly<Record<string, string | number>> = {}): Promise<string> {
      write("version", 1);
      write("num-rings", rings.length);
      for (const [index, one] of rings.entries()) {
        write(`ring-ref${index}`, one.ref);
        write(`event-channel-${index}`, one.port);
      }
      for (const [name, value] of Object.entries(nodes)) write(name, value);
      write("state", 3);
      await guest.settle();
      return readBack("state") ?? "";
    },
    async state(value: number): Promise<string> {
      write("state", value);
      await guest.settle();
      return readBack("state") ?? "";
    },
  };
}
