// A guest with a 9pfs driver, for tests: written from Xen's docs/misc/9pfs, not from our backend.
import type { DeviceContext, GrantedPage, GuestPort, XenbusBackend } from "@paravirt/xenbus";
import { addDevice, createXenstore, createXenstoreClient, localLink, populateDomain } from "@paravirt/xenstore";
import { createShareDevice } from "../src/backend.ts";
import { decodeMessage, encodeMessage, type P9Fields, type P9Message, type P9MessageName } from "../src/codec.ts";
import type { P9Server } from "../src/server.ts";

const BACK = "/local/domain/0/backend/9pfs/1/0";
const FRONT = "/local/domain/1/device/9pfs/0";
const PAGE = 4096;

/** Memory, grants, event channels and turns. */
export class ShareGuest implements GuestPort {
  readonly domid = 1 as GuestPort["domid"];
  readonly memory = new Uint8Array(16 << 20);
  readonly grants = new Map<number, { readonly bytes: Uint8Array; mapped: number }>();
  readonly #listeners = new Map<number, () => void>();
  readonly #turns: (() => void)[] = [];
  readonly unbound = new Set<number>();
  signals = 0;
  #nextPage = 0;
  #next = 8;

  /** A fresh page and the grant of it; with `gap` not beside the one before. */
  page(gap = 0): { readonly ref: number; readonly bytes: Uint8Array } {
    this.#nextPage += gap;
    const at = this.#nextPage++ * PAGE;
    const bytes = this.memory.subarray(at, at + PAGE);
    const ref = this.#next++;
    this.grants.set(ref, { bytes, mapped: 0 });
    return { ref, bytes };
  }

  channel(): number {
    const port = this.#next++;
    this.unbound.add(port);
    return port;
  }

  mapGrant(ref: number): GrantedPage | number {
    const grant = this.grants.get(ref);
    if (grant === undefined) return -1;
    grant.mapped++;
    let held = true;
    return {
      bytes: grant.bytes,
      readOnly: false,
      written() {},
      release() {
        if (held) grant.mapped--;
        held = false;
      },
    };
  }

  bindEventChannel(port: number, listener: () => void): { notify(): void; close(): void } | number {
    if (!this.unbound.delete(port)) return -22;
    this.#listeners.set(port, listener);
    this.#turns.push(listener);
    return {
      notify: () => {
        this.signals++;
      },
      close: () => this.#listeners.delete(port),
    };
  }

  later(work: () => void): void {
    this.#turns.push(work);
  }

  signal(port: number): void {
    const listener = this.#listeners.get(port);
    if (listener !== undefined) this.#turns.push(listener);
  }

  /** Runs turns, and what they put off, until nothing is left; answers how many there were. */
  async run(limit = 100_000): Promise<number> {
    let count = 0;
    for (let quiet = 0; quiet < 3; ) {
      await new Promise((resolve) => setImmediate(resolve));
      quiet = this.#turns.length > 0 ? 0 : quiet + 1;
      for (const turn of this.#turns.splice(0)) {
        if (count++ > limit) throw new Error("the backend never comes to an end");
        turn();
      }
    }
    return count;
  }

  get mapped(): number {
    return [...this.grants.values()].reduce((sum, { mapped }) => sum + mapped, 0);
  }

  get bound(): number {
    return this.#listeners.size;
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
  const store = createXenstore();
  const ring = { port: 1, frame: 1 };
  populateDomain(store.local, {
    domid: 1,
    name: "guest",
    uuid: "00000000-0000-0000-0000-000000000001",
    memoryKiB: 1024,
    vcpus: 1,
    store: ring,
    console: ring,
  });
  const device = createShareDevice({ server, tag: "src", id: 0 });
  addDevice(store.local, { domid: 1, ...device });
  const guest = new ShareGuest();
  const errors: string[] = [];
  const context: DeviceContext = {
    guest,
    store: createXenstoreClient(localLink(store, 0)),
    path: BACK,
    onError: (error) => errors.push(error instanceof Error ? error.message : String(error)),
  };
  const backend: XenbusBackend = await device.start(context);
  const write = (name: string, value: string | number): void => store.local.write(`${FRONT}/${name}`, String(value));
  return {
    guest,
    errors,
    backend,
    write,
    read: (name: string) => store.local.read(`${BACK}/${name}`),
    readFront: (name: string) => store.local.read(`${FRONT}/${name}`),
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
      await guest.run();
      return store.local.read(`${BACK}/state`) ?? "";
    },
    async state(value: number): Promise<string> {
      write("state", value);
      await guest.run();
      return store.local.read(`${BACK}/state`) ?? "";
    },
  };
}
