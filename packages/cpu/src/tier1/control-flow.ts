import { decode, type Instruction, OPCODES, OPERAND } from "@paravirt/x86";
import { engineInstruction } from "../decoding.ts";
import type { Handler } from "../tier0/handlers.ts";
import type { Selector } from "../tier0/select.ts";

/** An instruction of a region. */
export interface RegionInstruction {
  readonly instruction: Instruction;
  readonly handler: Handler;
  /** Offset in its page. */
  readonly offset: number;
  /** Its place in the region: see {@link placeOf}. */
  readonly at: number;
}

/** The place in a region of the byte `offset` of its page `page`: one number for both. */
export function placeOf(page: number, offset: number): number {
  return page * 4096 + offset;
}

/** The page, by its number in the region, that a place is in. */
export function pageOf(at: number): number {
  return at >>> 12;
}

/** Where control goes from the end of a block. */
export interface Destination {
  /** From the start of the block's own page; any value. */
  readonly offset: number;
  /** Its place in the region, -1 where the region has none of that page. */
  readonly at: number;
}

/** How a block ends. Where no block is at a destination, control leaves the region. */
export type BlockEnd =
  /** Falls or jumps to `target`. */
  | { readonly kind: "jump"; readonly target: Destination }
  /** The last instruction is a conditional branch. */
  | { readonly kind: "branch"; readonly taken: Destination; readonly next: Destination }
  /** The last instruction is a direct call. */
  | { readonly kind: "call"; readonly target: Destination }
  /** The last instruction goes to an address known at run time (return, indirect jump or call). */
  | { readonly kind: "indirect" }
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

/** What a region is made from. */
export interface RegionSource {
  /** The bytes of the page with this number. */
  readonly bytes: (page: number) => Uint8Array;
  /** Number of the page that is mapped `delta` pages behind page `page` now; -1 when the region keeps away from it. */
  readonly neighbour: (page: number, delta: number) => number;
  /** 64-bit code, or that of compatibility mode. */
  readonly mode: 64 | 32;
  readonly selector: Selector;
  /** Whether the code at a place probably runs. */
  readonly known: (at: number) => boolean;
  /** Where control was seen to go from the instruction at a place that goes where the guest's data says. */
  readonly seen?: (at: number) => readonly number[];
  /** Guest instructions that the region may hold. */
  readonly limit: number;
}

/** Decides whether an instruction can be translated: what the main loop executes by itself, and what says so. */
export function isTranslatable(handler: Handler, selector: Selector): boolean {
  const { helperUsers, translated } = selector.table;
  return (handler.hot > 0 && !helperUsers.has(handler)) || translated.has(handler);
}

/**
 * Collects the code that direct branches and calls reach from `wanted`, nearest first. Code that never ran is left out.
 * Blocks are split where control enters them, so that each has one entry.
 */
export function collectRegion(source: RegionSource, wanted: readonly number[]): Graph {
  const decoded = new Map<number, RegionInstruction>();
  const leaders = new Set<number>(wanted);
  const arrivals = new Set<number>();
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
      if (target !== undefined) lead(target.at, isCall(item));
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
  return cutBlocks(source, { decoded, leaders, wanted, arrivals });
}

function decodeAt({ bytes, selector, mode }: RegionSource, at: number): RegionInstruction | undefined {
  const instruction = engineInstruction();
  const offset = at & 4095;
  if (decode(bytes(pageOf(at)), offset, 4096, mode, instruction) === 0 || instruction.addressSize * 8 !== mode)
    return undefined;
  return { instruction, handler: selector.select(instruction), offset, at };
}

/** The destination `distance` bytes behind the beginning of `item`. */
function destination(source: RegionSource, { at, offset }: RegionInstruction, distance: number): Destination {
  const to = offset + distance;
  if (to >= 0 && to < 4096) return { offset: to, at: at + distance };
  const page = source.neighbour(pageOf(at), to >> 12);
  return { offset: to, at: page < 0 ? -1 : placeOf(page, to & 4095) };
}

function isCall({ instruction }: RegionInstruction): boolean {
  return OPCODES[instruction.row]!.flow === "call";
}

/** Where a direct jump, conditional jump or call goes. */
function directTarget(source: RegionSource, item: RegionInstruction): Destination | undefined {
  const { instruction } = item;
  if (instruction.kinds[0] !== OPERAND.RELATIVE) return undefined;
  return destination(source, item, instruction.length + instruction.immediate);
}

function endsFlow({ instruction, handler }: RegionInstruction): boolean {
  const { flow } = OPCODES[instruction.row]!;
  return flow === "jump" || flow === "call" || flow === "ret" || handler.definition.name.startsWith("pseudo");
}

function cutBlocks(
  source: RegionSource,
  {
    decoded,
    leaders,
    wanted,
    arrivals,
  }: {
    readonly decoded: ReadonlyMap<number, RegionInstruction>;
    readonly leaders: ReadonlySet<number>;
    readonly wanted: readonly number[];
    readonly arrivals: ReadonlySet<number>;
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
      const target = directTarget(source, item);
      if (target !== undefined) {
        if (isCall(item)) end = { kind: "call", target };
        else if (OPCODES[item.instruction.row]!.conditional) end = { kind: "branch", taken: target, next };
        else end = { kind: "jump", target };
      } else if (endsFlow(item)) end = { kind: "indirect" };
      else if (leaders.has(next.at) || next.offset >= 4096) end = { kind: "jump", target: next };
      at = next.at;
    }
    blocks.set(start, { at: start, instructions, end });
  }
  const entries = new Set([...wanted, ...arrivals].filter((at) => blocks.has(at)));
  return { blocks, entries, arrivals };
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
    default:
      return [];
  }
}
