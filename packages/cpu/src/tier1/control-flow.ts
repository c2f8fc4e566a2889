import { decode, type Instruction, OPCODES, OPERAND } from "@paravirt/x86";
import { engineInstruction } from "../decoding.ts";
import type { Handler } from "../tier0/handlers.ts";
import type { Selector } from "../tier0/select.ts";

/** An instruction of a region. */
export interface RegionInstruction {
  readonly instruction: Instruction;
  readonly handler: Handler;
  /** Offset in the page. */
  readonly offset: number;
}

/** How a block ends. Targets are offsets from the page's start; those outside of the region leave it. */
export type BlockEnd =
  /** Falls or jumps to `target`. */
  | { readonly kind: "jump"; readonly target: number }
  /** The last instruction is a conditional branch. */
  | { readonly kind: "branch"; readonly taken: number; readonly next: number }
  /** The last instruction is a direct call; `next` is where it returns to. */
  | { readonly kind: "call"; readonly target: number; readonly next: number }
  /** The last instruction goes to an address known at run time (return, indirect jump or call). */
  | { readonly kind: "indirect" }
  /** The interpreter goes on at `offset`: an instruction that is not translated, or the region's border. */
  | { readonly kind: "interpret"; readonly offset: number };

/** A straight run of instructions with one entry. */
export interface Block {
  readonly offset: number;
  readonly instructions: readonly RegionInstruction[];
  readonly end: BlockEnd;
}

/** Code of one page that is translated together. */
export interface Graph {
  /** Blocks by offset of their first instruction. */
  readonly blocks: ReadonlyMap<number, Block>;
  /** Blocks that control reaches from elsewhere: where the region is entered, returned to, or called. */
  readonly entries: ReadonlySet<number>;
  /** Those that control regularly reaches from elsewhere: called functions, return points, code behind what is interpreted. */
  readonly arrivals: ReadonlySet<number>;
}

/** What a region is made from. */
export interface RegionSource {
  /** The page's bytes. */
  readonly page: Uint8Array;
  /** 64-bit code, or that of compatibility mode. */
  readonly mode: 64 | 32;
  readonly selector: Selector;
  /** Whether the code at an offset was decoded before: then it probably ran. */
  readonly known: (offset: number) => boolean;
  /** Guest instructions that the region may hold. */
  readonly limit: number;
}

/** Decides whether an instruction can be translated: what the main loop executes by itself, and what says so. */
export function isTranslatable(handler: Handler, selector: Selector): boolean {
  const { helperUsers, translated } = selector.table;
  return (handler.hot > 0 && !helperUsers.has(handler)) || translated.has(handler);
}

/**
 * Collects the code that direct branches and calls reach from `wanted` within one page, nearest first. Code that never ran
 * is left out. Blocks are split where control enters them, so that each has one entry.
 */
export function collectRegion(source: RegionSource, wanted: readonly number[]): Graph {
  const decoded = new Map<number, RegionInstruction>();
  const leaders = new Set<number>(wanted);
  const arrivals = new Set<number>();
  const work = [...wanted];
  const lead = (offset: number, isEntry: boolean) => {
    if (!inPage(offset) || (!leaders.has(offset) && !source.known(offset))) return;
    if (isEntry) arrivals.add(offset);
    if (leaders.has(offset)) return;
    leaders.add(offset);
    work.push(offset);
  };
  for (let at = 0; at < work.length; at++) {
    let offset = work[at]!;
    while (!decoded.has(offset) && decoded.size < source.limit) {
      const item = decodeAt(source, offset);
      if (item === undefined) break;
      const next = offset + item.instruction.length;
      if (!isTranslatable(item.handler, source.selector)) {
        // The interpreter executes it and comes back behind it.
        if (!endsFlow(item)) lead(next, true);
        break;
      }
      decoded.set(offset, item);
      const target = directTarget(item);
      if (target !== undefined) lead(target, isCall(item));
      if (isCall(item)) lead(next, true);
      else if (OPCODES[item.instruction.row]!.conditional && target !== undefined) lead(next, false);
      if (endsFlow(item)) break;
      offset = next;
    }
  }
  return cutBlocks(decoded, leaders, wanted, arrivals);
}

function decodeAt({ page, selector, mode }: RegionSource, offset: number): RegionInstruction | undefined {
  if (offset >= 4096) return undefined;
  const instruction = engineInstruction();
  if (decode(page, offset, 4096, mode, instruction) === 0 || instruction.addressSize * 8 !== mode) return undefined;
  return { instruction, handler: selector.select(instruction), offset };
}

function inPage(offset: number): boolean {
  return offset >= 0 && offset < 4096;
}

function isCall({ instruction }: RegionInstruction): boolean {
  return OPCODES[instruction.row]!.flow === "call";
}

/** Where a direct jump, conditional jump or call goes, from the page's start. */
function directTarget({ instruction, offset }: RegionInstruction): number | undefined {
  if (instruction.kinds[0] !== OPERAND.RELATIVE) return undefined;
  return offset + instruction.length + instruction.immediate;
}

function endsFlow({ instruction, handler }: RegionInstruction): boolean {
  const { flow } = OPCODES[instruction.row]!;
  return flow === "jump" || flow === "call" || flow === "ret" || handler.definition.name.startsWith("pseudo");
}

function cutBlocks(
  decoded: ReadonlyMap<number, RegionInstruction>,
  leaders: ReadonlySet<number>,
  wanted: readonly number[],
  arrivals: ReadonlySet<number>,
): Graph {
  const blocks = new Map<number, Block>();
  for (const start of leaders) {
    if (!decoded.has(start)) continue;
    const instructions: RegionInstruction[] = [];
    let end: BlockEnd | undefined;
    for (let offset = start; end === undefined; ) {
      const item = decoded.get(offset);
      if (item === undefined) {
        end = { kind: "interpret", offset };
        break;
      }
      instructions.push(item);
      const next = offset + item.instruction.length;
      const target = directTarget(item);
      if (target !== undefined) {
        if (isCall(item)) end = { kind: "call", target, next };
        else if (OPCODES[item.instruction.row]!.conditional) end = { kind: "branch", taken: target, next };
        else end = { kind: "jump", target };
      } else if (endsFlow(item)) end = { kind: "indirect" };
      else if (leaders.has(next)) end = { kind: "jump", target: next };
      offset = next;
    }
    blocks.set(start, { offset: start, instructions, end });
  }
  const entries = new Set([...wanted, ...arrivals].filter((offset) => blocks.has(offset)));
  return { blocks, entries, arrivals };
}

/** Guest instructions in a graph. */
export function graphSize({ blocks }: Graph): number {
  let size = 0;
  for (const { instructions } of blocks.values()) size += instructions.length;
  return size;
}

/** Where control may go next inside the region. */
export function successors({ end }: Block, { blocks }: Graph): number[] {
  switch (end.kind) {
    case "jump":
    case "call":
      return blocks.has(end.target) ? [end.target] : [];
    case "branch":
      return [end.next, end.taken].filter((offset) => blocks.has(offset));
    default:
      return [];
  }
}
