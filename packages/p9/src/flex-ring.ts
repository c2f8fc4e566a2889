import { ringDistance } from "@paravirt/xen-abi";
import type { GrantedPage } from "@paravirt/xenbus";

// The indices page, `struct xen_9pfs_data_intf` (Xen's docs/misc/9pfs, DEFINE_XEN_FLEX_RING_AND_INTF of io/ring.h).
// `in` carries answers to the guest, `out` its requests: the names are the guest's.
const IN_CONSUMER = 0;
const IN_PRODUCER = 4;
const OUT_CONSUMER = 64;
const OUT_PRODUCER = 68;
const RING_ORDER = 128;
const REFERENCES = 132;

const PAGE = 4096;
/** 512 references are what fits the indices page. */
export const MAX_RING_ORDER = 9;

/** What a frontend wrote into the indices page of a ring, copied once. */
export interface RingPlan {
  /** Grants of the data pages: the first half is `in`, the second `out`. */
  readonly references: readonly number[];
}

/** Reads a ring's plan; `undefined` when its order isn't within 1 to `maxOrder`. */
export function readRingPlan(page: Uint8Array, maxOrder: number): RingPlan | undefined {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  if (view.byteLength < PAGE) return undefined;
  const order = view.getUint32(RING_ORDER, true);
  if (order < 1 || order > Math.min(maxOrder, MAX_RING_ORDER)) return undefined;
  const references = Array.from({ length: 1 << order }, (_, index) => view.getUint32(REFERENCES + index * 4, true));
  return { references };
}

/** One direction's memory: pages that need not lie side by side, as one run of bytes that wraps around. */
class Bytes {
  readonly size: number;
  readonly #pages: readonly GrantedPage[];
  /** Views of pages that do lie side by side; `#first[page]` is the index of the span that holds it. */
  readonly #spans: { readonly start: number; readonly bytes: Uint8Array }[] = [];
  readonly #spanOf: number[] = [];

  constructor(pages: readonly GrantedPage[]) {
    this.#pages = pages;
    this.size = pages.length * PAGE;
    for (let at = 0; at < pages.length; ) {
      const { buffer, byteOffset } = pages[at]!.bytes;
      let count = 1;
      while (follows(pages[at + count - 1]!, pages[at + count])) count++;
      this.#spans.push({ start: at * PAGE, bytes: new Uint8Array(buffer, byteOffset, count * PAGE) });
      for (let page = 0; page < count; page++) this.#spanOf.push(this.#spans.length - 1);
      at += count;
    }
  }

  copyOut(index: number, into: Uint8Array): void {
    this.#pieces(index, into.length, (span, at, from, count) => into.set(span.subarray(at, at + count), from));
  }

  copyIn(index: number, bytes: Uint8Array): void {
    this.#pieces(index, bytes.length, (span, at, from, count) => span.set(bytes.subarray(from, from + count), at));
    // The pages may hold code: whatever a guest does with its ring, its processor must see the new bytes.
    const start = index & (this.size - 1);
    const last = Math.floor((start + bytes.length - 1) / PAGE);
    for (let page = Math.floor(start / PAGE); page <= last; page++) this.#pages[page % this.#pages.length]!.written();
  }

  #pieces(
    index: number,
    length: number,
    each: (span: Uint8Array, at: number, from: number, count: number) => void,
  ): void {
    for (let from = 0; from < length; ) {
      const place = (index + from) & (this.size - 1);
      const { start, bytes } = this.#spans[this.#spanOf[Math.floor(place / PAGE)]!]!;
      const count = Math.min(length - from, start + bytes.length - place);
      each(bytes, place - start, from, count);
      from += count;
    }
  }
}

function follows(page: GrantedPage, next: GrantedPage | undefined): boolean {
  return (
    next !== undefined &&
    page.bytes.length === PAGE &&
    next.bytes.buffer === page.bytes.buffer &&
    next.bytes.byteOffset === page.bytes.byteOffset + PAGE
  );
}

/**
 * The backend's end of a pair of byte rings. Its own indices are private, and each of the guest's is read once per call:
 * what a guest scribbles into the pages can only break its own ring.
 */
export class FlexRing {
  /** Bytes of each direction. */
  readonly size: number;
  readonly #indices: DataView;
  readonly #in: Bytes;
  readonly #out: Bytes;
  #taken: number;
  #given: number;

  /** `pages` are those of the plan, 4096 bytes each. It goes on where the indices are. */
  constructor(indices: GrantedPage, pages: readonly GrantedPage[]) {
    const { buffer, byteOffset, byteLength } = indices.bytes;
    this.#indices = new DataView(buffer, byteOffset, byteLength);
    this.#in = new Bytes(pages.slice(0, pages.length / 2));
    this.#out = new Bytes(pages.slice(pages.length / 2));
    this.size = this.#in.size;
    this.#taken = this.#indices.getUint32(OUT_CONSUMER, true);
    this.#given = this.#indices.getUint32(IN_PRODUCER, true);
  }

  /** Bytes of requests that wait; `undefined` when the guest's index is out of range. */
  available(): number | undefined {
    const filled = ringDistance(this.#taken, this.#indices.getUint32(OUT_PRODUCER, true));
    return filled > this.size ? undefined : filled;
  }

  /** Copies the next bytes without taking them. */
  peek(into: Uint8Array): void {
    this.#out.copyOut(this.#taken, into);
  }

  /** Takes the next bytes, and tells the guest that there is room. */
  take(into: Uint8Array): void {
    this.#out.copyOut(this.#taken, into);
    this.#taken = (this.#taken + into.length) >>> 0;
    this.#indices.setUint32(OUT_CONSUMER, this.#taken, true);
  }

  /** Bytes of answers that fit now; `undefined` when the guest's index is out of range. */
  room(): number | undefined {
    const filled = ringDistance(this.#indices.getUint32(IN_CONSUMER, true), this.#given);
    return filled > this.size ? undefined : this.size - filled;
  }

  /** Puts a whole answer into the ring and shows it to the guest, which doesn't expect half of one. */
  put(bytes: Uint8Array): void {
    this.#in.copyIn(this.#given, bytes);
    this.#given = (this.#given + bytes.length) >>> 0;
    this.#indices.setUint32(IN_PRODUCER, this.#given, true);
  }
}
