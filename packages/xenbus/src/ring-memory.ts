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
  readonly #pages: readonly Uint8Array[];
  readonly #pageSize: number;
  readonly #indices: DataView;

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
    this.#pages = pages;
    this.#pageSize = first.length;
    this.#indices = new DataView(first.buffer, first.byteOffset, first.byteLength);
  }

  index(at: number): number {
    return this.#indices.getUint32(at, true);
  }

  setIndex(at: number, value: number): void {
    this.#indices.setUint32(at, value, true);
  }

  /** A private copy of slot `index`: the peer may rewrite the page, nobody looks at it twice. */
  copyOut(index: number): DataView {
    const slot = new Uint8Array(this.slotSize);
    this.#pieces(index, slot.length, (page, at, from, count) => slot.set(page.subarray(at, at + count), from));
    return new DataView(slot.buffer);
  }

  copyIn(index: number, bytes: Uint8Array): void {
    if (bytes.length > this.slotSize) {
      throw new ParavirtError("BAD_ARGUMENT", `${bytes.length} bytes don't fit a slot of ${this.slotSize}`);
    }
    this.#pieces(index, bytes.length, (page, at, from, count) => page.set(bytes.subarray(from, from + count), at));
  }

  #pieces(
    index: number,
    length: number,
    each: (page: Uint8Array, at: number, from: number, count: number) => void,
  ): void {
    const start = ringSlotOffset(index, this.size, this.slotSize);
    for (let from = 0; from < length; ) {
      const at = (start + from) % this.#pageSize;
      const count = Math.min(length - from, this.#pageSize - at);
      each(this.#pages[Math.floor((start + from) / this.#pageSize)]!, at, from, count);
      from += count;
    }
  }
}
