import { decode, Instruction, OPCODES, OPERAND } from "@paravirt/x86";
import type { Handler } from "../tier0/handlers.ts";
import type { Selector } from "../tier0/select.ts";

/** Guest instructions that a region may hold. */
const REGION_LIMIT = 150;

/** An instruction of a region. */
export interface RegionInstruction {
  readonly instruction: Instruction;
  readonly handler: Handler;
  /** Offset in the page. */
  readonly offset: number;
}

/** How a block ends. Targets are offsets in the page. */
export type BlockEnd =
  /** Falls or jumps to `target`. */
  | { readonly kind: "jump"; readonly target: number }
  /** The last instruction is a conditional branch. */
  | { readonly kind: "branch"; readonly taken: number; readonly next: number }
  /** The last instruction leaves the region by itself (call, return, indirect jump). */
  | { readonly kind: "leave" }
  /** The interpreter goes on at `offset`: an instruction that is not translated, or the region's border. */
  | { readonly kind: "interpret"; readonly offset: number };

/** A straight run of instructions with one entry. */
export interface Block {
  readonly offset: number;
  readonly instructions: RegionInstruction[];
  end: BlockEnd;
}

/** The blocks of a region, by offset of their first instruction, in order of discovery. */
export type Graph = Map<number, Block>;

/** Decides whether an instruction can be translated: what the main loop executes by itself, and what says so. */
function translatable(handler: Handler, selector: Selector): boolean {
  const { helperUsers, translated } = selector.table;
  return (handler.hot > 0 && !helperUsers.has(handler)) || translated.has(handler);
}

/**
 * Collects the code that direct branches reach from `entry` within one page. `page` is the page's bytes.
 * Blocks are split where branches enter them, so that each has one entry.
 */
export function collectRegion(page: Uint8Array, entry: number, selector: Selector): Graph {
  const decoded = new Map<number, RegionInstruction>();
  const leaders = new Set<number>([entry]);
  const work = [entry];
  const seen = new Set<number>();
  while (work.length > 0 && decoded.size < REGION_LIMIT) {
    let offset = work.pop()!;
    while (!seen.has(offset) && decoded.size < REGION_LIMIT) {
      seen.add(offset);
      const item = decodeAt(page, offset, selector);
      if (item === undefined) break;
      decoded.set(offset, item);
      const next = offset + item.instruction.length;
      const target = branchTarget(item);
      if (target !== undefined && inPage(target)) {
        leaders.add(target);
        work.push(target);
      }
      if (target !== undefined && OPCODES[item.instruction.row]!.conditional) leaders.add(next);
      if (endsFlow(item)) break;
      offset = next;
    }
  }
  return cutBlocks(decoded, leaders, entry);
}

function decodeAt(page: Uint8Array, offset: number, selector: Selector): RegionInstruction | undefined {
  if (offset >= 4096) return undefined;
  const instruction = new Instruction();
  if (decode(page, offset, 4096, 64, instruction) === 0 || instruction.addressSize !== 8) return undefined;
  const handler = selector.select(instruction);
  return translatable(handler, selector) ? { instruction, handler, offset } : undefined;
}

function inPage(offset: number): boolean {
  return offset >= 0 && offset < 4096;
}

/** Offset of a jump's or conditional jump's target; calls have none, they leave the region. */
function branchTarget({ instruction, handler, offset }: RegionInstruction): number | undefined {
  if (instruction.kinds[0] !== OPERAND.RELATIVE || handler.definition.name === "call") return undefined;
  return offset + instruction.length + instruction.immediate;
}

function endsFlow({ instruction, handler }: RegionInstruction): boolean {
  const { flow } = OPCODES[instruction.row]!;
  return flow === "jump" || flow === "call" || flow === "ret" || handler.definition.name.startsWith("pseudo");
}

function cutBlocks(decoded: Map<number, RegionInstruction>, leaders: Set<number>, entry: number): Graph {
  const graph: Graph = new Map();
  const work = [entry];
  while (work.length > 0) {
    const start = work.pop()!;
    if (graph.has(start)) continue;
    const block: Block = { offset: start, instructions: [], end: { kind: "interpret", offset: start } };
    graph.set(start, block);
    let offset = start;
    for (;;) {
      const item = decoded.get(offset);
      if (item === undefined) {
        block.end = { kind: "interpret", offset };
        break;
      }
      block.instructions.push(item);
      const next = offset + item.instruction.length;
      const target = branchTarget(item);
      if (target !== undefined) {
        const conditional = OPCODES[item.instruction.row]!.conditional;
        if (!inPage(target)) {
          // The branch itself leaves; when it falls through, the next block follows.
          block.end = conditional ? { kind: "branch", taken: target, next } : { kind: "leave" };
          if (conditional) work.push(next);
        } else if (conditional) {
          block.end = { kind: "branch", taken: target, next };
          work.push(next, target);
        } else {
          block.end = { kind: "jump", target };
          work.push(target);
        }
        break;
      }
      if (endsFlow(item)) {
        block.end = { kind: "leave" };
        break;
      }
      offset = next;
      if (leaders.has(offset)) {
        block.end = { kind: "jump", target: offset };
        work.push(offset);
        break;
      }
    }
  }
  return graph;
}

/** Where control may go next inside the region. */
export function successors(block: Block, graph: Graph): number[] {
  switch (block.end.kind) {
    case "jump":
      return [block.end.target];
    case "branch":
      return [block.end.next, block.end.taken].filter((offset) => graph.has(offset));
    default:
      return [];
  }
}

/** What structured code generation needs to know of a graph. */
export interface Structure {
  /** Offsets in reverse post-order; index is the block's number. */
  readonly order: readonly number[];
  readonly number: ReadonlyMap<number, number>;
  /** Blocks that are entered by a backward edge. */
  readonly loopHeaders: ReadonlySet<number>;
  /** Blocks with two or more forward edges into them. */
  readonly merges: ReadonlySet<number>;
  /** Children of each block in the dominator tree, by descending number. */
  readonly children: ReadonlyMap<number, readonly number[]>;
  /** Whether every backward edge goes to a dominator: otherwise there is no structured form. */
  readonly reducible: boolean;
}

/** Orders the blocks and finds loops and dominators (Cooper, Harvey and Kennedy's iteration). */
export function analyse(graph: Graph, entry: number): Structure {
  const order: number[] = [];
  const state = new Map<number, 1 | 2>();
  const visit = (offset: number): void => {
    const stack: [number, number[]][] = [[offset, successors(graph.get(offset)!, graph)]];
    state.set(offset, 1);
    while (stack.length > 0) {
      const [at, rest] = stack[stack.length - 1]!;
      const next = rest.shift();
      if (next === undefined) {
        state.set(at, 2);
        order.push(at);
        stack.pop();
      } else if (!state.has(next)) {
        state.set(next, 1);
        stack.push([next, successors(graph.get(next)!, graph)]);
      }
    }
  };
  visit(entry);
  order.reverse();
  const number = new Map(order.map((offset, index) => [offset, index]));
  const predecessors = new Map<number, number[]>(order.map((offset) => [offset, []]));
  for (const offset of order)
    for (const next of successors(graph.get(offset)!, graph)) predecessors.get(next)!.push(offset);

  const dominator = new Map<number, number>([[entry, entry]]);
  const meet = (left: number, right: number): number => {
    let [a, b] = [left, right];
    while (a !== b) {
      while (number.get(a)! > number.get(b)!) a = dominator.get(a)!;
      while (number.get(b)! > number.get(a)!) b = dominator.get(b)!;
    }
    return a;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const offset of order) {
      if (offset === entry) continue;
      let best: number | undefined;
      for (const from of predecessors.get(offset)!)
        if (dominator.has(from)) best = best === undefined ? from : meet(best, from);
      if (best !== undefined && dominator.get(offset) !== best) {
        dominator.set(offset, best);
        changed = true;
      }
    }
  }
  const dominates = (a: number, b: number): boolean => {
    for (let at = b; ; at = dominator.get(at)!) {
      if (at === a) return true;
      if (at === entry) return false;
    }
  };

  const loopHeaders = new Set<number>();
  const merges = new Set<number>();
  let reducible = true;
  for (const offset of order) {
    let forward = 0;
    for (const from of predecessors.get(offset)!) {
      if (number.get(from)! >= number.get(offset)!) {
        loopHeaders.add(offset);
        if (!dominates(offset, from)) reducible = false;
      } else forward++;
    }
    if (forward > 1) merges.add(offset);
  }
  const children = new Map<number, number[]>(order.map((offset) => [offset, []]));
  for (const offset of order) if (offset !== entry) children.get(dominator.get(offset)!)!.push(offset);
  for (const list of children.values()) list.sort((a, b) => number.get(b)! - number.get(a)!);
  return { order, number, loopHeaders, merges, children, reducible };
}
