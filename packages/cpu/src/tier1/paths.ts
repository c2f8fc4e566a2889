import type { MachineMemory } from "@paravirt/core";
import { type CodeCache, pageKey } from "../code-cache.ts";
import { RECORD } from "../layout.ts";
import { placeOf } from "./region-source.ts";

/** Times that control came to a place before the code there is taken for part of a path. */
const REPEATED = 3;
/** Linear addresses as exact numbers: their low 48 bits. */
const HIGH_BITS = 0xffff;

/** A run of instructions without a jump, as control came to it. */
interface Step {
  /** Times, and those after something else than a jump: the code before it is not where control came from. */
  count: number;
  resumed: number;
  /** Most instructions executed before control went elsewhere. */
  length: number;
  /** Where it went then. */
  readonly next: Set<number>;
}

/**
 * Where control went during a while, written down jump by jump. Flat code, as a kernel's, has no hot places, but its paths
 * repeat.
 */
export class PathTrace {
  /** By linear address, its low 48 bits, in the order of the first visit. */
  readonly steps: Map<number, Step> = new Map();
  private last: Step | undefined;

  /** From the address in two halves `count` instructions were executed in sequence, then control went elsewhere. */
  note(low: number, high: number, count: number): void {
    const address = (high & HIGH_BITS) * 2 ** 32 + low;
    this.last?.next.add(address);
    let step = this.steps.get(address);
    if (step === undefined) {
      step = { count: 0, resumed: 0, length: 0, next: new Set() };
      this.steps.set(address, step);
    }
    step.count++;
    if (this.last === undefined) step.resumed++;
    if (count > step.length) step.length = count;
    this.last = step;
  }

  /** Which share of the instructions executed repeatedly were so in `earlier`, too, from 0 to 1. */
  likeness(earlier: PathTrace): number {
    let [all, shared] = [0, 0];
    for (const [address, { count, length }] of this.steps) {
      if (count < REPEATED) continue;
      all += length;
      if ((earlier.steps.get(address)?.count ?? 0) >= REPEATED) shared += length;
    }
    return all === 0 ? 0 : shared / all;
  }

  /** Something else happened: the next address noted doesn't follow from the last one. */
  interrupt(): void {
    this.last = undefined;
  }
}

/** A page that a path leads through. */
export interface PathPage {
  readonly mfn: number;
  /** Linear address divided by 4096, its low 36 bits. */
  readonly linear: number;
  /** Machine address of its table of records. */
  readonly table: number;
  /** Not 0 where an instruction begins that was executed. */
  readonly known: Uint8Array;
}

/** The code of a trace, by frame: places are numbered over all of its pages. */
export class PathMap {
  readonly pages: PathPage[] = [];
  /** Places where control arrived repeatedly, in the order of the first visit. */
  readonly arrivals: number[] = [];
  /** Those where it arrived after an exception, or after an instruction that was not executed in wasm. */
  readonly resumed: number[] = [];
  /** Where control went from a place that ends a step. */
  readonly seen: Map<number, number[]> = new Map();
  private readonly memory: MachineMemory;
  private readonly code: CodeCache;
  private readonly checkSlot: number;
  private readonly frameOf: (linear: number) => number;
  private readonly numbers = new Map<number, number>();
  /** Pages that are no copies, and copies begun since. */
  private originals = 0;
  private copies = 0;
  private readonly copyOfPage: number[] = [];
  private readonly byFrame = new Map<number, number>();

  /**
   * `frameOf` tells which frame is mapped at a linear page now, -1 for none.
   */
  constructor(
    trace: PathTrace,
    options: {
      readonly memory: MachineMemory;
      readonly code: CodeCache;
      readonly frameOf: (linear: number) => number;
      readonly checkSlot: number;
    },
  ) {
    this.memory = options.memory;
    this.code = options.code;
    this.frameOf = options.frameOf;
    this.checkSlot = options.checkSlot;
    for (const [address, step] of trace.steps) {
      if (step.count < REPEATED) continue;
      const at = this.placeOfAddress(address);
      if (at < 0) continue;
      this.arrivals.push(at);
      if (step.resumed >= REPEATED) this.resumed.push(at);
      const end = this.mark(at, step.length);
      if (end >= 0) this.seen.set(end, this.placesOf(step.next));
    }
    this.originals = this.pages.length;
  }

  /** How many pages behind page `from` the page `to` is mapped. */
  distance(from: number, to: number): number {
    return this.pages[to]!.linear - this.pages[from]!.linear;
  }

  /** Whether a place is in a copy of a page: see `PlaceCopies`. */
  isCopy(at: number): boolean {
    return at >>> 12 >= this.originals;
  }

  /** Forgets all copies. */
  dropCopies(): void {
    this.drop(1);
  }

  /** Begins another copy of code: the pages that {@link PathMap.copyOf} names are others than before. */
  begin(): number {
    return ++this.copies;
  }

  /** The place in a copy that stands for the place `at`. */
  copyOf(copy: number, at: number): number {
    return placeOf(this.copyPage(copy, this.pages[at >>> 12]!.linear), at & 4095);
  }

  /** Forgets this copy and those begun after it. */
  drop(copy: number): void {
    while (this.pages.length > this.originals && this.copyOfPage[this.pages.length - 1]! >= copy) {
      const { linear } = this.pages.pop()!;
      this.numbers.delete(copyKey(this.copyOfPage[this.pages.length]!, linear));
    }
    this.copies = copy - 1;
  }

  private copyPage(copy: number, linear: number): number {
    const key = copyKey(copy, linear);
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    const original = this.numbers.get(linear) ?? -1;
    if (original < 0) return -1;
    const number = this.pages.length;
    this.pages.push({ ...this.pages[original]!, linear });
    this.copyOfPage[number] = copy;
    this.numbers.set(key, number);
    return number;
  }

  isKnown(at: number): boolean {
    return this.pages[at >>> 12]!.known[at & 4095] !== 0;
  }

  recordAt(at: number): number {
    return this.memory.words[this.pages[at >>> 12]!.table / 4 + (at & 4095)]!;
  }

  /** Number of the page `delta` pages behind page `page`, if the paths lead there; else -1. */
  neighbour(page: number, delta: number): number {
    const linear = this.pages[page]!.linear + delta;
    if (page >= this.originals) return this.copyPage(this.copyOfPage[page]!, linear);
    return this.numbers.get(linear) ?? -1;
  }

  private placesOf(addresses: ReadonlySet<number>): number[] {
    return [...addresses].map((address) => this.placeOfAddress(address)).filter((at) => at >= 0);
  }

  private placeOfAddress(address: number): number {
    const page = this.pageAt(Math.floor(address / 4096));
    return page < 0 ? -1 : placeOf(page, address % 4096);
  }

  private pageAt(linear: number): number {
    const known = this.numbers.get(linear);
    if (known !== undefined) return known;
    const mfn = this.frameOf(linear);
    let number = mfn < 0 ? -1 : (this.byFrame.get(mfn) ?? -1);
    if (mfn >= 0 && number < 0) {
      number = this.pages.length;
      this.pages.push({ mfn, linear, table: this.code.tableOf(mfn, 64), known: new Uint8Array(4096) });
      this.byFrame.set(mfn, number);
    }
    this.numbers.set(linear, number);
    return number;
  }

  /** Marks `count` instructions from `start` on; answers the place of the last one, -1 where the records don't tell. */
  private mark(start: number, count: number): number {
    const { words, bytes } = this.memory;
    let at = start;
    for (let left = count; ; left--) {
      const page = at >>> 12;
      const offset = at & 4095;
      let record = this.recordAt(at);
      if (record === 0) return -1;
      // An instruction that crosses into the next page has its record behind the check.
      if (words[(record + RECORD.slot) / 4] === this.checkSlot) record += RECORD.size;
      this.pages[page]!.known[offset] = 1;
      if (left <= 1) return at;
      const next = offset + bytes[record + RECORD.length]!;
      if (next < 4096) at = placeOf(page, next);
      else {
        const following = this.pageAt(this.pages[page]!.linear + 1);
        if (following < 0) return -1;
        at = placeOf(following, next - 4096);
      }
    }
  }
}

/** One number for a page of a copy, other than any page's own. */
function copyKey(copy: number, linear: number): number {
  return copy * 2 ** 36 + linear;
}

/** Keys of the pages that places are in, as the translator numbers pages. */
export function keysOfPlaces(pages: readonly PathPage[], places: Iterable<number>): number[] {
  const keys = new Set<number>();
  for (const at of places) keys.add(pageKey(pages[at >>> 12]!.mfn, 64));
  return [...keys];
}
