import type { CodeEmitter } from "@paravirt/wasm-emit";
import { OPERAND, REGISTER_CLASS } from "@paravirt/x86";
import type { HelperFunctions } from "../helpers.ts";
import { ENGINE, STATE } from "../layout.ts";
import { analyse, type Block, type Graph, type Structure } from "./control-flow.ts";
import { type RegionFrame, RegionLowering } from "./lowering.ts";

const FLAG_WORDS = [STATE.flagX, STATE.flagY, STATE.flagS, STATE.flagDelta, STATE.flagResult] as const;

/** Where an edge may branch to: the label, and which block it leads to. */
interface Context {
  readonly loops: ReadonlyMap<number, number>;
  readonly blocks: ReadonlyMap<number, number>;
}

/**
 * Emits one function () → i32 for the code of `graph`, entered at `entry`: structured loops and forward branches, as
 * "Beyond Relooper" (Ramsey, 2022) derives them from the dominator tree. Answers `false`, with nothing usable emitted,
 * for irreducible graphs. `recordOf` gives the record of an offset, for leaving; `helpers` are those of the region's module.
 */
export function emitRegion(
  e: CodeEmitter,
  graph: Graph,
  entry: number,
  recordOf: (offset: number) => number,
  helpers: HelperFunctions,
): boolean {
  const structure = analyse(graph, entry);
  // Without an instruction of its own the entry would come back to itself.
  if (!structure.reducible || graph.get(entry)!.instructions.length === 0) return false;
  e.begin([]);
  const used = usedRegisters(graph);
  const registers = Array.from({ length: 16 }, (_, number) => (used.has(number) ? e.local("i64") : -1));
  const flags = new Map(FLAG_WORDS.map((address) => [address as number, e.local("i64")]));
  const frame = {
    registers,
    flags,
    ripBase: e.local("i64"),
    tlb: e.local("i32"),
    budget: e.local("i32"),
    result: e.local("i32"),
  };
  registers.forEach((local, number) => {
    if (local >= 0)
      e.i32(0)
        .mem("i64_load", STATE.gpr + number * 8)
        .set(local);
  });
  for (const [address, local] of flags) e.i32(0).mem("i64_load", address).set(local);
  e.i32(0).mem("i64_load", STATE.ripBase).set(frame.ripBase);
  e.i32(0).mem("i32_load", ENGINE.tlb).set(frame.tlb);
  e.i32(0).mem("i32_load", ENGINE.budget).set(frame.budget);

  const exit = e.block();
  new RegionWriter(e, graph, structure, { ...frame, exit }, recordOf, helpers).tree(entry, {
    loops: new Map(),
    blocks: new Map(),
  });
  e.end();

  registers.forEach((local, number) => {
    if (local >= 0)
      e.i32(0)
        .get(local)
        .mem("i64_store", STATE.gpr + number * 8);
  });
  for (const [address, local] of flags) e.i32(0).get(local).mem("i64_store", address);
  e.i32(0).get(frame.budget).mem("i32_store", ENGINE.budget);
  e.get(frame.result);
  return true;
}

/** Registers that the region's semantics may touch, implicit ones included. */
function usedRegisters(graph: Graph): Set<number> {
  const used = new Set<number>();
  for (const block of graph.values()) {
    for (const { instruction, handler } of block.instructions) {
      for (let i = 0; i < instruction.operandCount; i++) {
        if (instruction.kinds[i] !== OPERAND.REGISTER) continue;
        const registerClass = instruction.classes[i] ?? 0;
        if (registerClass <= REGISTER_CLASS.GPR64) used.add(instruction.registers[i] ?? 0);
      }
      if (instruction.base >= 0 && instruction.base < 16) used.add(instruction.base);
      if (instruction.index >= 0) used.add(instruction.index);
      for (const number of implicitRegisters(handler.definition.name)) used.add(number);
    }
  }
  return used;
}

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RSP = 4;
const RBP = 5;

/** General registers that hot definitions use without naming them as operands. */
function implicitRegisters(name: string): readonly number[] {
  const base = name.split(".")[0] ?? name;
  switch (base) {
    case "mul":
    case "imul":
    case "div":
    case "idiv":
    case "cwd":
    case "cbw":
      return [RAX, RDX];
    case "cmpxchg":
      return [RAX];
    case "push":
    case "pop":
    case "call":
    case "ret":
    case "pushf":
    case "popf":
      return [RSP];
    case "leave":
      return [RSP, RBP];
    default:
      return name.startsWith("pseudo") ? [] : base === "jrcxz" ? [RCX] : [];
  }
}

class RegionWriter {
  private readonly e: CodeEmitter;
  private readonly graph: Graph;
  private readonly structure: Structure;
  private readonly frame: RegionFrame;
  private readonly recordOf: (offset: number) => number;
  private readonly lowering: RegionLowering;

  constructor(
    e: CodeEmitter,
    graph: Graph,
    structure: Structure,
    frame: RegionFrame,
    recordOf: (offset: number) => number,
    helpers: HelperFunctions,
  ) {
    this.e = e;
    this.graph = graph;
    this.structure = structure;
    this.frame = frame;
    this.recordOf = recordOf;
    this.lowering = new RegionLowering(e, frame, helpers);
  }

  /** Emits the block at `offset` and all that it dominates. */
  tree(offset: number, context: Context): void {
    const { e, structure } = this;
    const merges = structure.children.get(offset)!.filter((child) => structure.merges.has(child));
    if (!structure.loopHeaders.has(offset)) {
      this.within(offset, merges, context);
      return;
    }
    const label = e.loop();
    // Back edges come here: the place to look at the budget.
    e.get(this.frame.budget).i32(0).op("i32_le_s").if();
    this.leaveTo(offset);
    e.end();
    this.within(offset, merges, { loops: new Map([...context.loops, [offset, label]]), blocks: context.blocks });
    e.end();
  }

  /** Wraps the block in one wasm block for each merge point that it dominates; each is emitted after its block ends. */
  private within(offset: number, merges: readonly number[], context: Context): void {
    const { e } = this;
    const [merge, ...rest] = merges;
    if (merge === undefined) {
      this.block(this.graph.get(offset)!, context);
      return;
    }
    const label = e.block();
    this.within(offset, rest, { loops: context.loops, blocks: new Map([...context.blocks, [merge, label]]) });
    e.end();
    this.tree(merge, context);
  }

  private block(block: Block, context: Context): void {
    const { e, frame, lowering } = this;
    const { instructions, end } = block;
    const count = instructions.length;
    if (count > 0) e.get(frame.budget).i32(count).op("i32_sub").set(frame.budget);
    lowering.flags.source = "unknown";
    instructions.forEach((item, index) => {
      lowering.start(item, this.recordOf(item.offset), count - index);
      item.handler.definition.emit(lowering, lowering.places(), item.handler.shape);
      lowering.finish();
    });
    switch (end.kind) {
      case "leave":
        // A direct jump out of the page is a branch that the definition left to us.
        if (!this.leftByItself(block)) this.leaveTo(this.targetOf(block));
        return;
      case "interpret":
        this.leaveTo(end.offset);
        return;
      case "jump":
        this.edge(block.offset, end.target, context);
        return;
      case "branch": {
        const condition = lowering.branchCondition!;
        condition();
        const source = lowering.flags.source;
        e.if();
        this.edge(block.offset, end.taken, context);
        lowering.flags.source = source;
        e.else();
        this.edge(block.offset, end.next, context);
        e.end();
      }
    }
  }

  private leftByItself(block: Block): boolean {
    const last = block.instructions[block.instructions.length - 1]!;
    return !(last.instruction.kinds[0] === OPERAND.RELATIVE && last.handler.definition.name !== "call");
  }

  private targetOf(block: Block): number {
    const { offset, instruction } = block.instructions[block.instructions.length - 1]!;
    return offset + instruction.length + instruction.immediate;
  }

  /** Goes from one block to another, or out of the region. */
  private edge(from: number, to: number, context: Context): void {
    const { e, graph, structure } = this;
    if (!graph.has(to)) {
      this.leaveTo(to);
      return;
    }
    if (structure.number.get(to)! <= structure.number.get(from)!) e.br(context.loops.get(to)!);
    else if (structure.merges.has(to)) e.br(context.blocks.get(to)!);
    else this.tree(to, context);
  }

  /** Leaves for `offset` (from the page's start, any value). */
  private leaveTo(offset: number): void {
    const { e, frame } = this;
    e.i32(0).get(frame.ripBase).i64(offset).op("i64_add").mem("i64_store", ENGINE.nextRip);
    e.i32(0).set(frame.result).br(frame.exit);
  }
}
