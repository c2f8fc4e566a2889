import { decode, type Instruction, OPCODES, OPERAND } from "@paravirt/x86";
import { engineInstruction } from "../decoding.ts";
import type { Handler } from "../tier0/handlers.ts";
import type { Selector } from "../tier0/select.ts";
import { Inlining } from "./inlining.ts";

/** Bytes that an instruction has at most. */
const LONGEST = 15;

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
  /** Control came from there: its page is still where it was. */
  readonly returns?: boolean;
}

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
  /** Whether the record at a place checks the next page before the instruction that reaches into it. */
  readonly isChecked?: (at: number) => boolean;
  /** Where control was seen to go from the instruction at a place that goes where the guest's data says. */
  readonly seen?: (at: number) => readonly number[];
  /** Places where control regularly arrives from outside of any code. */
  readonly resumed?: readonly number[];
  /** How many pages behind page `from` the page `to` is mapped. */
  readonly distance?: (from: number, to: number) => number;
  /** Makes copies of places, where a function is translated anew for each of its calls. */
  readonly copies?: PlaceCopies;
  /** Guest instructions that the region may hold. */
  readonly limit: number;
}

/** Numbers the places of a function's copies: those of further pages, which stand for the same frames. */
export interface PlaceCopies {
  /** Begins another copy; `copyOf` names places in it. */
  begin(): number;
  copyOf(copy: number, at: number): number;
  /** Forgets this copy and those begun after it. */
  drop(copy: number): void;
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

export function decodeAt(source: RegionSource, at: number): RegionInstruction | undefined {
  const { selector, mode } = source;
  const instruction = engineInstruction();
  const offset = at & 4095;
  const bytes = source.bytes(pageOf(at));
  if (decode(bytes, offset, 4096, mode, instruction) === 0 && !decodeAcross(source, at, bytes, instruction))
    return undefined;
  if (instruction.addressSize * 8 !== mode) return undefined;
  return { instruction, handler: selector.select(instruction), offset, at };
}

/** Decodes an instruction that ends in the next page, if the region knows that page. */
function decodeAcross(source: RegionSource, at: number, bytes: Uint8Array, instruction: Instruction): boolean {
  const offset = at & 4095;
  const next = source.neighbour(pageOf(at), 1);
  if (next < 0 || offset <= 4096 - LONGEST || !source.isChecked?.(at)) return false;
  const both = new Uint8Array(2 * LONGEST);
  both.set(bytes.subarray(offset));
  both.set(source.bytes(next).subarray(0, LONGEST), 4096 - offset);
  return decode(both, 0, 4096 - offset + LONGEST, source.mode, instruction) > 0;
}

/** Whether the instruction's last bytes are in the next page. */
export function crossesPage({ offset, instruction }: RegionInstruction): boolean {
  return offset + instruction.length > 4096;
}

/** The destination `distance` bytes behind the beginning of `item`. */
export function destination(source: RegionSource, { at, offset }: RegionInstruction, distance: number): Destination {
  const to = offset + distance;
  if (to >= 0 && to < 4096) return { offset: to, at: at + distance };
  const page = source.neighbour(pageOf(at), to >> 12);
  return { offset: to, at: page < 0 ? -1 : placeOf(page, to & 4095) };
}

export function isCall({ instruction }: RegionInstruction): boolean {
  return OPCODES[instruction.row]!.flow === "call";
}

/** Where a direct jump, conditional jump or call goes. */
export function directTarget(source: RegionSource, item: RegionInstruction): Destination | undefined {
  const { instruction } = item;
  if (instruction.kinds[0] !== OPERAND.RELATIVE) return undefined;
  return destination(source, item, instruction.length + instruction.immediate);
}

export function endsFlow({ instruction, handler }: RegionInstruction): boolean {
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
  // What reaches into the next page is left to the interpreter when that page is another: it must not lead back here.
  const isEntry = (at: number) => blocks.has(at) && !crossesPage(blocks.get(at)!.instructions[0]!);
  const entries = new Set([...wanted, ...arrivals].filter(isEntry));
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

/** A place in each page that holds code of a graph: blocks, and ends of instructions that began in another page. */
export function placesInPages(source: RegionSource, { blocks }: Graph): number[] {
  const places = [...blocks.keys()];
  for (const { instructions } of blocks.values())
    for (const item of instructions)
      if (crossesPage(item)) places.push(placeOf(source.neighbour(pageOf(item.at), 1), 0));
  return places;
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
