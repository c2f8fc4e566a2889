import type { CodeEmitter } from "@paravirt/wasm-emit";
import { OPERAND, REGISTER_CLASS } from "@paravirt/x86";
import type { HelperFunctions } from "../helpers.ts";
import { ENGINE, RECORD, STATE } from "../layout.ts";
import type { Block, Graph } from "./control-flow.ts";
import { type RegionFrame, RegionLowering } from "./lowering.ts";
import { VectorLocals } from "./vector-place.ts";
import { analyse, ROOT, type Structure } from "./structure.ts";

/** Entries are numbered in eight bits. */
const MAX_ENTRIES = 256;
const FLAG_WORDS = [STATE.flagX, STATE.flagY, STATE.flagS, STATE.flagDelta, STATE.flagResult] as const;

/** Where an edge may branch to: the label, and which block it leads to. */
interface Context {
  readonly loops: ReadonlyMap<number, number>;
  readonly blocks: ReadonlyMap<number, number>;
}

/** Where a region's code is, and how the interpreter finds it. */
export interface RegionPlace {
  /** Machine address of the page's table of records. */
  readonly table: number;
  /** What the records of the region's entries say in `RECORD.hot`, shifted right by eight: which region it is. */
  readonly tag: number;
  /** The record of an offset. */
  readonly recordOf: (offset: number) => number;
}

/**
 * Emits one function (entry: i32) → i32 for the code of `graph`: structured loops and forward branches, as "Beyond Relooper"
 * (Ramsey, 2022) derives them from the dominator tree, inside a loop that dispatches to the entries and to what no loop can
 * express. Returns the offsets of the entries by number, `undefined` when there are too many.
 * `helpers` are those of the region's module.
 *
 * The function returns 0 to go to `ENGINE.nextRip`, a record's address to have it interpreted in full generality, or that
 * plus one to go on at that record.
 */
export function emitRegion(
  e: CodeEmitter,
  graph: Graph,
  place: RegionPlace,
  helpers: HelperFunctions,
): readonly number[] | undefined {
  const structure = analyse(graph);
  if (structure.entries.length > MAX_ENTRIES) return undefined;
  e.begin(["i32"]);
  const used = usedRegisters(graph);
  const registers = Array.from({ length: 16 }, (_, number) => (used.has(number) ? e.local("i64") : -1));
  const flags = new Map(FLAG_WORDS.map((address) => [address as number, e.local("i64")]));
  const frame: Omit<RegionFrame, "exit" | "top"> = {
    registers,
    written: new Set<number>(),
    flags,
    vectors: new VectorLocals(e, usedVectors(graph)),
    ripBase: e.local("i64"),
    tlb: e.local("i32"),
    budget: e.local("i32"),
    result: e.local("i32"),
    entry: 0,
  };
  registers.forEach((local, number) => {
    if (local >= 0)
      e.i32(0)
        .mem("i64_load", STATE.gpr + number * 8)
        .set(local);
  });
  for (const [address, local] of flags) e.i32(0).mem("i64_load", address).set(local);
  frame.vectors.locals.forEach((local, number) => {
    if (local >= 0)
      e.i32(0)
        .simdMem("v128_load", STATE.xmm + number * 32)
        .set(local);
  });
  e.i32(0).mem("i64_load", STATE.ripBase).set(frame.ripBase);
  e.i32(0).mem("i32_load", ENGINE.tlb).set(frame.tlb);
  e.i32(0).mem("i32_load", ENGINE.budget).set(frame.budget);

  const exit = e.block();
  const top = e.loop();
  new RegionWriter(e, graph, structure, { ...frame, exit, top }, place, helpers).root();
  e.end();
  e.end();

  registers.forEach((local, number) => {
    if (frame.written.has(number))
      e.i32(0)
        .get(local)
        .mem("i64_store", STATE.gpr + number * 8);
  });
  for (const [address, local] of flags) e.i32(0).get(local).mem("i64_store", address);
  for (const number of frame.vectors.written)
    e.i32(0)
      .get(frame.vectors.locals[number]!)
      .simdMem("v128_store", STATE.xmm + number * 32);
  e.i32(0).get(frame.budget).mem("i32_store", ENGINE.budget);
  e.get(frame.result);
  return structure.entries;
}

/** Registers that the region's semantics may touch, implicit ones included. */
function usedRegisters(graph: Graph): Set<number> {
  const used = new Set<number>();
  for (const block of graph.blocks.values()) {
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

/** XMM registers that the region's instructions name. */
function usedVectors(graph: Graph): Set<number> {
  const used = new Set<number>();
  for (const block of graph.blocks.values())
    for (const { instruction } of block.instructions)
      for (let i = 0; i < instruction.operandCount; i++)
        if (instruction.kinds[i] === OPERAND.REGISTER && instruction.classes[i] === REGISTER_CLASS.XMM)
          used.add(instruction.registers[i] ?? 0);
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
  private readonly place: RegionPlace;
  private readonly lowering: RegionLowering;
  private readonly entryNumber: ReadonlyMap<number, number>;

  constructor(
    e: CodeEmitter,
    graph: Graph,
    structure: Structure,
    frame: RegionFrame,
    place: RegionPlace,
    helpers: HelperFunctions,
  ) {
    this.e = e;
    this.graph = graph;
    this.structure = structure;
    this.frame = frame;
    this.place = place;
    this.lowering = new RegionLowering(e, frame, helpers, () => this.indirect());
    this.entryNumber = new Map(structure.entries.map((offset, index) => [offset, index]));
  }

  /** Emits the dispatcher and everything it leads to. */
  root(): void {
    this.within(ROOT, this.structure.children.get(ROOT)!, { loops: new Map(), blocks: new Map() });
  }

  /** Emits the block at `offset` and all that it dominates. */
  private tree(offset: number, context: Context): void {
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
      if (offset === ROOT) this.dispatch(context);
      else this.block(this.graph.blocks.get(offset)!, context);
      return;
    }
    const label = e.block();
    this.within(offset, rest, { loops: context.loops, blocks: new Map([...context.blocks, [merge, label]]) });
    e.end();
    this.tree(merge, context);
  }

  private dispatch(context: Context): void {
    const labels = this.structure.entries.map((offset) => context.blocks.get(offset)!);
    if (labels.length > 1) this.e.get(this.frame.entry).brTable(labels.slice(0, -1), labels[labels.length - 1]!);
    else this.e.br(labels[0]!);
  }

  private block(block: Block, context: Context): void {
    const { e, frame, lowering } = this;
    const { instructions, end } = block;
    const count = instructions.length;
    if (count > 0) e.get(frame.budget).i32(count).op("i32_sub").set(frame.budget);
    lowering.flags.source = "unknown";
    lowering.directCall = end.kind === "call";
    instructions.forEach((item, index) => {
      lowering.start(item, this.place.recordOf(item.offset), count - index);
      item.handler.definition.emit(lowering, lowering.places(), item.handler.shape);
      lowering.finish();
    });
    switch (end.kind) {
      case "indirect":
        return;
      case "interpret":
        this.continueAt(end.offset);
        return;
      case "jump":
      case "call":
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

  /** Goes from one block to another, or out of the region. */
  private edge(from: number, to: number, context: Context): void {
    const { e, frame, graph, structure } = this;
    if (!graph.blocks.has(to)) this.leaveTo(to);
    else if (structure.dispatched.has(from * 4096 + to)) {
      e.get(frame.budget).i32(0).op("i32_le_s").if();
      this.leaveTo(to);
      e.end();
      e.i32(this.entryNumber.get(to)!).set(frame.entry).br(frame.top);
    } else if (structure.number.get(to)! <= structure.number.get(from)!) e.br(context.loops.get(to)!);
    else if (structure.merges.has(to)) e.br(context.blocks.get(to)!);
    else this.tree(to, context);
  }

  /** Goes where the i64 on the stack says: to an entry of this region, or out of it. */
  private indirect(): void {
    const { e, frame, place } = this;
    const rip = e.temporary("i64");
    const record = e.temporary("i32");
    const hot = e.temporary("i32");
    e.tee(rip).get(frame.ripBase).op("i64_xor").i64(4096).op("i64_lt_u").if();
    e.get(rip).op("i32_wrap_i64").i32(4095).op("i32_and").i32(2).op("i32_shl").mem("i32_load", place.table);
    e.tee(record).if();
    e.get(record).mem("i32_load", RECORD.hot).tee(hot).i32(8).op("i32_shr_u").i32(place.tag).op("i32_eq");
    e.get(frame.budget).i32(0).op("i32_gt_s").op("i32_and").if();
    e.get(hot).i32(255).op("i32_and").set(frame.entry).br(frame.top);
    e.end();
    e.get(record).i32(1).op("i32_or").set(frame.result).br(frame.exit);
    e.end();
    e.end();
    e.i32(0).get(rip).mem("i64_store", ENGINE.nextRip);
    e.i32(0).set(frame.result).br(frame.exit);
    e.release("i64", rip);
    e.release("i32", record, hot);
  }

  /** Leaves for `offset` (from the page's start, any value). */
  private leaveTo(offset: number): void {
    const { e, frame } = this;
    e.i32(0).get(frame.ripBase).i64(offset).op("i64_add").mem("i64_store", ENGINE.nextRip);
    e.i32(0).set(frame.result).br(frame.exit);
  }

  /** Leaves for code in this page that runs in sequence. */
  private continueAt(offset: number): void {
    const { e, frame } = this;
    if (offset >= 4096) this.leaveTo(offset);
    else e.i32(this.place.recordOf(offset) + 1).set(frame.result).br(frame.exit);
  }
}
