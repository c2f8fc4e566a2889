import { OPCODES } from "@paravirt/x86";
import {
  type Destination,
  decodeAt,
  destination,
  directTarget,
  endsFlow,
  isCall,
  isTranslatable,
  pageOf,
  type RegionInstruction,
  type RegionSource,
} from "./region-source.ts";

/** Guest instructions of a function, with those that it calls, that is translated anew for each of its calls. */
const LARGEST = 64;
/** How deep calls may nest in one. */
const DEEPEST = 4;

/** The part of a function that was copied so far. */
interface Copy {
  readonly number: number;
  readonly depth: number;
  /** Its first page, and where the call returns to, counted from that page's start. */
  readonly page: number;
  readonly back: Destination;
  /** Places from the copy's start to the one that is being followed: one of them again is a loop. */
  readonly path: Set<number>;
  /** Places from which all ways were followed. */
  readonly done: Set<number>;
}

/**
 * Decides which calls of a region are translated together with a copy of what they call: small functions without loops that
 * do nothing but return. The way back then is a comparison with the one address where the call returns to, and leads on
 * in the same piece of code.
 */
export class Inlining {
  private readonly source: RegionSource;
  private readonly decoded: Map<number, RegionInstruction>;
  private readonly leaders: Set<number>;
  private readonly targets = new Map<number, Destination>();
  private readonly returns = new Map<number, readonly Destination[]>();
  /** Functions that can't be copied. */
  private readonly refused = new Set<number>();

  /** What is copied is added to the region's instructions and beginnings of blocks. */
  constructor(source: RegionSource, decoded: Map<number, RegionInstruction>, leaders: Set<number>) {
    this.source = source;
    this.decoded = decoded;
    this.leaders = leaders;
  }

  /** Where the copied function begins that the call at a place goes to. */
  targetOf(at: number): Destination | undefined {
    return this.targets.get(at);
  }

  /** Where the return instruction of a copy at a place goes. */
  returnOf(at: number): readonly Destination[] | undefined {
    return this.returns.get(at);
  }

  /** Copies the function at `target` for the call `item`, which returns to `next`; `false` when it stays a call. */
  call(item: RegionInstruction, target: Destination, next: Destination): boolean {
    const { copies } = this.source;
    if (copies === undefined || target.at < 0 || next.at < 0 || this.refused.has(target.at)) return false;
    const added: RegionInstruction[] = [];
    const first = this.copyFunction(item, target, next, 1, added);
    if (first !== undefined) {
      for (const copied of added) this.decoded.set(copied.at, copied);
      return true;
    }
    this.refused.add(target.at);
    return false;
  }

  private copyFunction(
    item: RegionInstruction,
    target: Destination,
    next: Destination,
    depth: number,
    added: RegionInstruction[],
  ): number | undefined {
    const { source } = this;
    const copies = source.copies!;
    const number = copies.begin();
    const first = copies.copyOf(number, target.at);
    const back = { offset: next.offset - Math.floor(target.offset / 4096) * 4096, at: next.at, returns: true };
    if (!this.follow(first, { number, depth, page: pageOf(first), back, path: new Set(), done: new Set() }, added)) {
      copies.drop(number);
      return undefined;
    }
    this.leaders.add(first);
    this.targets.set(item.at, { offset: target.offset, at: first });
    return first;
  }

  /** Copies the code from `start` on; `false` when the function does not qualify. */
  private follow(start: number, copy: Copy, added: RegionInstruction[]): boolean {
    const { source } = this;
    const entered: number[] = [];
    for (let at = start; !copy.done.has(at); ) {
      if (copy.path.has(at) || added.length >= LARGEST || !source.known(at)) return false;
      copy.path.add(at);
      entered.push(at);
      const item = decodeAt(source, at);
      if (item === undefined || !isTranslatable(item.handler, source.selector)) return false;
      added.push(item);
      const next = destination(source, item, item.instruction.length);
      const target = directTarget(source, item);
      const { flow, conditional } = OPCODES[item.instruction.row]!;
      if (isCall(item)) {
        if (target === undefined || target.at < 0 || next.at < 0 || copy.depth >= DEEPEST) return false;
        if (this.copyFunction(item, target, next, copy.depth + 1, added) === undefined) return false;
        this.leaders.add(next.at);
      } else if (target !== undefined) {
        if (!this.branch(target.at, copy, added)) return false;
        if (!conditional) break;
        this.leaders.add(next.at);
        // Never came to what follows: there it leaves the region.
        if (next.at >= 0 && !source.known(next.at)) break;
      } else if (endsFlow(item)) {
        if (flow !== "ret") return false;
        this.returns.set(at, [this.backFrom(at, copy)]);
        break;
      }
      if (next.at < 0) return false;
      if (next.offset >= 4096) this.leaders.add(next.at);
      at = next.at;
    }
    for (const at of entered) {
      copy.path.delete(at);
      copy.done.add(at);
    }
    return true;
  }

  /** Follows a jump of the copied function, unless it never was taken: then it leaves the region. */
  private branch(target: number, copy: Copy, added: RegionInstruction[]): boolean {
    if (target < 0 || !this.source.known(target)) return true;
    this.leaders.add(target);
    return this.follow(target, copy, added);
  }

  /** Where a copy returns to, counted from the page of the place `at` in it. */
  private backFrom(at: number, { page, back }: Copy): Destination {
    return { ...back, offset: back.offset - this.source.distance!(page, pageOf(at)) * 4096 };
  }
}
