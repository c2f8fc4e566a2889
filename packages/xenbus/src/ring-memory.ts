import { ParavirtError } from "@paravirt/core";
import { layout, ringSize, ringSlotOffset } from "@paravirt/xen-abi";

const { offsets } = layout("blkif_sring", "x86_64");

/** Byte offsets of the four shared indices, the same in every ring made by `DEFINE_RING_TYPES` (`io/ring.h`). */
export const RING_INDEX: Readonly<
  Record<"requestProducer" | "requestEvent" | "responseProducer" | "responseEvent", number>
> = {
  requestProducer: offsets.req_prod,
  requestEvent: offsets.req_event,
  responseProducer: offsets.rsp_prod,
  responseEvent: offsets.rsp_event,
};

/** Where a shared ring lies, and how long its slots are. */
export interface SharedRingOptions {
  /** The ring's pages in order, 4096 bytes each; they need not lie side by side. */
  readonly pages: readonly Uint8Array[];
  /** Bytes of a slot: the longer of request and response, as C's union of both. */
  readonly slotSize: number;
  /** Signals the other end's event channel. */
  notify(): void;
}

/** The memory of a ring of one or more pages. A slot may begin in one page and end in the next. */
export class RingMemory {
  readonly size: number;
  readonly slotSize: number;
  readonly #pages: readonly DataView[];
  readonly #pageSize: number;
  readonly #indices: DataView;
  /** The copy of the slot that was taken last. */
  readonly #taken: DataView;

  constructor({ pages, slotSize }: SharedRingOptions) {
    const first = pages[0];
    if (first === undefined || pages.some((page) => page.length !== first.length)) {
      throw new ParavirtError("BAD_ARGUMENT", `a ring needs pages of one length, got ${pages.length} pages`);
    }
    this.size = ringSize(first.length * pages.length, slotSize);
    if (this.size === 0) {
      const bytes = first.length * pages.length;
      throw new ParavirtError("BAD_ARGUMENT", `no slot of ${slotSize} bytes fits into a ring of ${bytes}`);
    }
    this.slotSize = slotSize;
    this.#taken = new DataView(new ArrayBuffer(slotSize));
    this.#pages = pages.map((page) => new DataView(page.buffer, page.byteOffset, page.byteLength));
    this.#pageSize = first.length;
    this.#indices = this.#pages[0]!;
  }

  index(at: number): number {
    return this.#indices.getUint32(at, true);
  }

  setIndex(at: number, value: number): void {
    this.#indices.setUint32(at, value, true);
  }

  /** A private copy of slot `index`: the peer may rewrite the page, nobody looks at it twice. The next copy replaces it. */
  copyOut(index: number): DataView {
    this.#copy(index, this.#taken, "out");
    return this.#taken;
  }

  copyIn(index: number, bytes: Uint8Array): void {
    if (bytes.length > this.slotSize) {
      throw new ParavirtError("BAD_ARGUMENT", `${bytes.length} bytes don't fit a slot of ${this.slotSize}`);
    }
    this.#copy(index, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), "in");
  }

  #copy(index: number, slot: DataView, direction: "in" | "out"): void {
    const start = ringSlotOffset(index, this.size, this.slotSize);
    for (let done = 0; done < slot.byteLength; ) {
      const page = this.#pages[Math.floor((start + done) / this.#pageSize)]!;
      const at = (start + done) % this.#pageSize;
      const count = Math.min(slot.byteLength - done, this.#pageSize - at);
      if (direction === "out") copyBytes(page, at, slot, done, count);
      else copyBytes(slot, done, page, at, count);
      done += count;
    }
  }
}

/** For a slot's few bytes cheaper than the views that `set` needs. */
function copyBytes(source: DataView, from: number, target: DataView, to: number, count: number): void {
  let done = 0;
  for (; done + 4 <= count; done += 4) target.setUint32(to + done, source.getUint32(from + done));
  for (; done < count; done++) target.setUint8(to + done, source.getUint8(from + done));
}
