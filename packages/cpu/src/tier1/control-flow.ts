import { OPCODES } from "@paravirt/x86";
import { Inlining } from "./inlining.ts";
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

/** How a block ends. Where no block is at a destination, control leaves the region. */
export type BlockEnd =
  /** Falls or jumps to `target`. */
  | { readonly kind: "jump"; readonly target: Destination }
  /** The last instruction is a conditional branch. */
  | { readonly kind: "branch"; readonly taken: Destination; readonly next: Destination }
  /** The last instruction is a direct call. */
  | { readonly kind: "call"; readonly target: Destination }
  /** The last instruction goes to an address known at run time (return, indirect jump or call), perhaps one of `likely`. */
  | { readonly kind: "indirect"; readonly likely: readonly Destination[] }
  /** The interpreter goes on at `offset` of the page: an instruction that is not translated, or the region's border. */
  | { readonly kind: "interpret"; readonly offset: number };

/** A straight run of instructions with one entry, in one page. */
export interface Block {
  /** Place of the first instruction. */
  readonly at: number;
  readonly instructions: readonly RegionInstruction[];
  readonly end: BlockEnd;
}

/** Code that is translated together. */
export interface Graph {
  /** Blocks by the place of their first instruction. */
  readonly blocks: ReadonlyMap<number, Block>;
  /** Blocks that control reaches from elsewhere: where the region is entered, returned to, or called. */
  readonly entries: ReadonlySet<number>;
  /** Those that control regularly reaches from elsewhere: called functions, return points, code behind what is interpreted. */
  readonly arrivals: ReadonlySet<number>;
}

/**
 * Collects the code that direct branches and calls reach from `wanted`, nearest first. Code that never ran is left out.
 * Blocks are split where control enters them, so that each has one entry.
 */
export function collectRegion(source: RegionSource, wanted: readonly number[]): Graph {
  const decoded = new Map<number, RegionInstruction>();
  const leaders = new Set<number>(wanted);
  const arrivals = new Set<number>();
  const inlining = new Inlining(source, decoded, leaders);
  const work = [...wanted];
  const lead = (at: number, isEntry: boolean) => {
    if (at < 0 || (!leaders.has(at) && !source.known(at))) return;
    if (isEntry) arrivals.add(at);
    if (leaders.has(at)) return;
    leaders.add(at);
    work.push(at);
  };
  for (let index = 0; index < work.length; index++) {
    let at = work[index]!;
    while (!decoded.has(at) && decoded.size < source.limit) {
      const item = decodeAt(source, at);
      if (item === undefined) break;
      const next = destination(source, item, item.instruction.length);
      if (!isTranslatable(item.handler, source.selector)) {
        // The interpreter executes it and comes back behind it.
        if (!endsFlow(item)) lead(next.at, true);
        break;
      }
      decoded.set(at, item);
      const target = directTarget(source, item);
      if (target !== undefined && !(isCall(item) && inlining.call(item, target, next))) lead(target.at, isCall(item));
      if (isCall(item)) lead(next.at, true);
      else if (OPCODES[item.instruction.row]!.conditional && target !== undefined) lead(next.at, false);
      if (endsFlow(item)) {
        if (target === undefined) for (const to of source.seen?.(at) ?? []) lead(to, true);
        break;
      }
      if (next.at < 0) break;
      // Blocks stay in their page.
      if (next.offset >= 4096) {
        lead(next.at, false);
        break;
      }
      at = next.at;
    }
  }
  for (const at of source.resumed ?? [])
    if (decoded.has(at)) {
      leaders.add(at);
      arrivals.add(at);
    }
  return cutBlocks(source, { decoded, leaders, wanted, arrivals, inlining });
}

function cutBlocks(
  source: RegionSource,
  {
    decoded,
    leaders,
    wanted,
    arrivals,
    inlining,
  }: {
    readonly decoded: ReadonlyMap<number, RegionInstruction>;
    readonly leaders: ReadonlySet<number>;
    readonly wanted: readonly number[];
    readonly arrivals: ReadonlySet<number>;
    readonly inlining: Inlining;
  },
): Graph {
  const blocks = new Map<number, Block>();
  for (const start of leaders) {
    if (!decoded.has(start)) continue;
    const instructions: RegionInstruction[] = [];
    let end: BlockEnd | undefined;
    for (let at = start; end === undefined; ) {
      const item = decoded.get(at);
      if (item === undefined) {
        end = { kind: "interpret", offset: at & 4095 };
        break;
      }
      instructions.push(item);
      const next = destination(source, item, item.instruction.length);
      const target = (isCall(item) ? inlining.targetOf(at) : undefined) ?? directTarget(source, item);
      if (target !== undefined) {
        if (isCall(item)) end = { kind: "call", target };
        else if (OPCODES[item.instruction.row]!.conditional) end = { kind: "branch", taken: target, next };
        else end = { kind: "jump", target };
      } else if (endsFlow(item)) end = { kind: "indirect", likely: inlining.returnOf(at) ?? likelyAfter(source, at) };
      else if (leaders.has(next.at) || next.offset >= 4096) end = { kind: "jump", target: next };
      at = next.at;
    }
    blocks.set(start, { at: start, instructions, end });
  }
  const entries = new Set([...wanted, ...arrivals].filter((at) => blocks.has(at)));
  return { blocks, entries, arrivals };
}

/** Destinations that are compared with before the address is looked up; where there are more, none is likely. */
const MOST_LIKELY = 2;

/** Where control was seen to go from the instruction at a place, if there are few such destinations. */
function likelyAfter({ seen, distance }: RegionSource, at: number): Destination[] {
  const places = seen?.(at) ?? [];
  if (distance === undefined || places.length > MOST_LIKELY) return [];
  return places.map((to) => ({ offset: distance(pageOf(at), pageOf(to)) * 4096 + (to & 4095), at: to }));
}

/** Guest instructions in a graph. */
export function graphSize({ blocks }: Graph): number {
  let size = 0;
  for (const { instructions } of blocks.values()) size += instructions.length;
  return size;
}

/** The places of all instructions of a graph. */
export function instructionPlaces({ blocks }: Graph): number[] {
  const places: number[] = [];
  for (const { instructions } of blocks.values()) for (const { at } of instructions) places.push(at);
  return places;
}

/** Where control may go next inside the region. */
export function successors({ end }: Block, { blocks }: Graph): number[] {
  switch (end.kind) {
    case "jump":
    case "call":
      return blocks.has(end.target.at) ? [end.target.at] : [];
    case "branch":
      return [end.next.at, end.taken.at].filter((at) => blocks.has(at));
    case "indirect":
      return end.likely.map(({ at }) => at).filter((at) => blocks.has(at));
    default:
      return [];
  }
}
