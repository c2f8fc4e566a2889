import type { CodeEmitter } from "@paravirt/wasm-emit";
import { OPERAND, PREFIX, REGISTER_CLASS } from "@paravirt/x86";
import type { FloatKind } from "../definition.ts";
import type { HelperFunctions } from "../helpers.ts";
import { ENGINE, RECORD, REGION_ENTRY_BITS, STATE, TLB } from "../layout.ts";
import { X87Stack } from "../semantics/x87-stack.ts";
import { emitTlbSlot } from "../tlb-probe.ts";
import type { Block, Graph } from "./control-flow.ts";
import { DEAD, type FlagForm, FULL, formAfter, formsAtEntry, lateBudgetCheck } from "./flag-forms.ts";
import { CachedRegisters, RegistersInLocals } from "./general-registers.ts";
import { type RegionFrame, RegionLowering } from "./lowering.ts";
import { type Destination, pageOf, placeOf, type RegionInstruction } from "./region-source.ts";
import { analyse, edgeKey, ROOT, type Structure } from "./structure.ts";
import { FloatBounds, UPPER, VectorLocals, vectorAddress } from "./vector-place.ts";

/** General registers of a region that live in locals. */
const LOCAL_REGISTERS = 9;
const MAX_ENTRIES = 2 ** REGION_ENTRY_BITS;

/** Where an edge may branch to: the label, and which block it leads to. */
interface Context {
  readonly loops: ReadonlyMap<number, number>;
  readonly blocks: ReadonlyMap<number, number>;
}

/** Where a region's code is, and how the interpreter finds it. */
export interface RegionPlace {
  /** Machine addresses of the pages' tables of records, by the pages' numbers. */
  readonly tables: readonly number[];
  /** What the records of the region's entries say in `RECORD.hot`, shifted right by {@link REGION_ENTRY_BITS}: which region it is. */
  readonly tag: number;
  /** The record of a place. */
  readonly recordOf: (at: number) => number;
  /** Whether floating-point arithmetic is unusual now: see `FloatBound`. */
  readonly floatCalls: boolean;
  /** Whether the code mostly runs from one end to the other, without loops. */
  readonly flat: boolean;
}

/**
 * Emits one function (entry: i32) → i32 for the code of `graph`: structured loops and forward branches, as "Beyond Relooper"
 * (Ramsey, 2022) derives them from the dominator tree, inside a loop that dispatches to the entries and to what no loop can
 * express. Returns the places of the entries by number, `undefined` when there are too many.
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
  const registers = place.flat ? new CachedRegisters(e) : new RegistersInLocals(e, registersInLocals(graph, structure));
  const frame: Omit<RegionFrame, "exit" | "exits" | "top"> = {
    registers,
    vectors: new VectorLocals(e, vectorsInLocals(graph, structure)),
    floats: new FloatBounds(e, usedFloats(graph), place.floatCalls),
    x87: x87Stack(e, graph),
    ripBase: e.local("i64"),
    tlb: e.local("i32"),
    budget: e.local("i32"),
    result: e.local("i32"),
    entry: 0,
  };
  registers.enter();
  frame.vectors.locals.forEach((local, number) => {
    if (local >= 0) e.i32(0).simdMem("v128_load", vectorAddress(number)).set(local);
  });
  e.i32(0).mem("i64_load", STATE.ripBase).set(frame.ripBase);
  e.i32(0).mem("i32_load", ENGINE.tlb).set(frame.tlb);
  e.i32(0).mem("i32_load", ENGINE.budget).set(frame.budget);

  frame.floats.emit();
  frame.x87?.load();

  const exit = e.block();
  const forms = formsUsed(graph);
  const exits = new Map(forms.map((form) => [form, e.block()]));
  const top = e.loop();
  const writer = new RegionWriter(e, graph, structure, { ...frame, exit, exits, top }, place, helpers);
  writer.root();
  e.end();
  // Each exit computes the flag words that its form leaves out.
  for (const form of forms.reverse()) {
    e.end();
    writer.fillAndExit(form);
  }
  e.end();

  registers.leave();
  frame.x87?.store();
  for (const number of frame.vectors.written)
    e.i32(0).get(frame.vectors.locals[number]!).simdMem("v128_store", vectorAddress(number));
  e.i32(0).get(frame.budget).mem("i32_store", ENGINE.budget);
  if (place.tables.length > 1) e.i32(0).get(frame.ripBase).mem("i64_store", STATE.ripBase);
  e.get(frame.result);
  return structure.entries;
}

/**
 * The registers worth a local: those used most, by the depth of the loops that use them. The others are read and written in
 * the engine's state, since more locals than the host has registers end on its stack, whichever they are.
 */
function registersInLocals(graph: Graph, structure: Structure): number[] {
  const weights = new Array<number>(16).fill(0);
  for (const block of graph.blocks.values()) {
    const weight = 8 ** Math.min(4, structure.depth.get(block.at) ?? 0);
    for (const item of block.instructions) for (const number of registersOf(item)) weights[number]! += weight;
  }
  return weights
    .map((weight, number) => ({ weight, number }))
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => b.weight - a.weight)
    .slice(0, LOCAL_REGISTERS)
    .map(({ number }) => number);
}

/** General registers that an instruction uses, implicit ones included. */
function registersOf({ instruction, handler }: RegionInstruction): number[] {
  const used = [...implicitRegisters(handler.definition.name)];
  for (let i = 0; i < instruction.operandCount; i++) {
    if (instruction.kinds[i] !== OPERAND.REGISTER) continue;
    if ((instruction.classes[i] ?? 0) <= REGISTER_CLASS.GPR64) used.push(instruction.registers[i] ?? 0);
  }
  if (instruction.base >= 0 && instruction.base < 16) used.push(instruction.base);
  if (instruction.index >= 0) used.push(instruction.index);
  return used;
}

/** The forms of flags, but for full ones, in which the region may be left. */
function formsUsed(graph: Graph): FlagForm[] {
  const used = new Set<FlagForm>();
  for (const block of graph.blocks.values())
    for (const item of block.instructions) {
      const form = formAfter(item);
      if (form !== undefined && form !== FULL) used.add(form);
    }
  return [...used];
}

/** Uses that make an XMM register worth a local, which each entry loads and each exit stores; one in a loop is enough. */
const VECTOR_USES = 6;

/** The XMM registers worth a local. */
function vectorsInLocals(graph: Graph, structure: Structure): Set<number> {
  const weights = new Array<number>(16).fill(0);
  // Behind VEX an instruction on XMM registers clears the destination's upper half.
  const wide = new Set<number>();
  for (const block of graph.blocks.values()) {
    const weight = 8 ** Math.min(4, structure.depth.get(block.at) ?? 0);
    for (const { instruction } of block.instructions)
      for (let i = 0; i < instruction.operandCount; i++) {
        const registerClass = instruction.classes[i];
        const isVector = registerClass === REGISTER_CLASS.XMM || registerClass === REGISTER_CLASS.YMM;
        if (instruction.kinds[i] !== OPERAND.REGISTER || !isVector) continue;
        weights[instruction.registers[i] ?? 0]! += weight;
        if (instruction.prefixes & PREFIX.VEX) wide.add(instruction.registers[i] ?? 0);
      }
  }
  const used = [...weights.keys()].filter((number) => weights[number]! >= VECTOR_USES);
  return new Set([...used, ...used.filter((number) => wide.has(number)).map((number) => number + UPPER)]);
}

/** The x87 registers, if the region has x87 instructions. */
function x87Stack(e: CodeEmitter, graph: Graph): X87Stack | undefined {
  const isX87 = (block: Block) => block.instructions.some(({ handler }) => handler.definition.x87);
  return [...graph.blocks.values()].some(isX87) ? new X87Stack(e) : undefined;
}

/** Kinds of floating-point arithmetic in the region. */
function usedFloats(graph: Graph): Set<FloatKind> {
  const used = new Set<FloatKind>();
  for (const block of graph.blocks.values())
    for (const { handler } of block.instructions) if (handler.definition.floats) used.add(handler.definition.floats);
  return used;
}

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RSP = 4;
const RBP = 5;
const RSI = 6;
const RDI = 7;

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
    case "rep":
      return [RAX, RCX, RSI, RDI];
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
  private readonly forms: ReadonlyMap<number, FlagForm>;

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
    this.lowering = new RegionLowering(e, frame, helpers);
    this.forms = formsAtEntry(graph, structure);
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
    // Back edges come here: the place to look at the budget, or soon after.
    if (lateBudgetCheck(this.graph.blocks.get(offset)!) < 0) {
      this.lowering.flags.begin(this.forms.get(offset)!);
      this.lowering.checkBudget(this.place.recordOf(offset), 0);
    }
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
    const { e, frame, lowering } = this;
    const labels = this.structure.entries.map((offset) => context.blocks.get(offset)!);
    // An entry that expects flags of one form is left to the interpreter while they have another.
    const checked = this.structure.entries.filter((offset) => {
      const form = this.forms.get(offset);
      return form !== FULL && form !== DEAD;
    });
    const stubs = new Map(checked.map((offset) => [offset, e.block()]));
    const targets = this.structure.entries.map((offset, index) => stubs.get(offset) ?? labels[index]!);
    if (targets.length > 1) e.get(frame.entry).brTable(targets.slice(0, -1), targets[targets.length - 1]!);
    else e.br(targets[0]!);
    for (const offset of checked.reverse()) {
      e.end();
      lowering.flags.begin(FULL);
      lowering.flags.check(this.forms.get(offset)!);
      e.brIf(context.blocks.get(offset)!);
      e.i32(this.place.recordOf(offset)).set(frame.result).br(frame.exit);
    }
  }

  /** Emits the way out for flags of `form`. */
  fillAndExit(form: FlagForm): void {
    this.lowering.flags.emitFill(form);
    this.e.br(this.frame.exit);
  }

  private block(block: Block, context: Context): void {
    const { e, frame, lowering } = this;
    const { instructions, end } = block;
    const count = instructions.length;
    if (count > 0) e.get(frame.budget).i32(count).op("i32_sub").set(frame.budget);
    lowering.flags.begin(this.forms.get(block.at)!);
    const check = this.structure.loopHeaders.has(block.at) ? lateBudgetCheck(block) : -1;
    frame.vectors.forget();
    // One predecessor only, whose end this is: what it knows stays known.
    const { merges, loopHeaders } = this.structure;
    frame.registers.restore(merges.has(block.at) || loopHeaders.has(block.at) ? 0 : frame.registers.save());
    lowering.directCall = end.kind === "call";
    instructions.forEach((item, index) => {
      lowering.start(item, this.place.recordOf(item.at), count - index);
      // The last one may go elsewhere.
      if (index === count - 1 && !item.handler.definition.x87) frame.x87?.sync();
      item.handler.definition.emit(lowering, lowering.places(), item.handler.shape);
      lowering.finish();
      if (index === check) lowering.checkBudget(this.place.recordOf(instructions[index + 1]!.at), count - index - 1);
    });
    frame.x87?.sync();
    switch (end.kind) {
      case "indirect":
        for (const likely of end.likely) if (this.graph.blocks.has(likely.at)) this.likely(block.at, likely, context);
        this.indirect(lowering.target);
        return;
      case "interpret":
        this.continueAt(block, end.offset);
        return;
      case "jump":
      case "call":
        this.edge(block.at, end.target, context);
        return;
      case "branch": {
        const condition = lowering.branchCondition!;
        condition();
        const known = lowering.flags.save();
        const values = frame.registers.save();
        e.if();
        this.edge(block.at, end.taken, context);
        lowering.flags.restore(known);
        frame.registers.restore(values);
        e.else();
        this.edge(block.at, end.next, context);
        e.end();
      }
    }
  }

  /** Goes to `destination` if that is the address where the block goes. */
  private likely(from: number, destination: Destination, context: Context): void {
    const { e, frame, lowering } = this;
    e.get(lowering.target).get(frame.ripBase).i64(destination.offset).op("i64_add").op("i64_eq");
    const known = lowering.flags.save();
    const values = frame.registers.save();
    e.if();
    this.edge(from, destination, context);
    e.end();
    lowering.flags.restore(known);
    frame.registers.restore(values);
  }

  /** Goes from one block to another, or out of the region. */
  private edge(from: number, { at: to, offset, returns }: Destination, context: Context): void {
    const { e, frame, graph, structure } = this;
    if (!graph.blocks.has(to)) {
      this.leaveTo(offset);
      return;
    }
    const isDispatched = structure.dispatched.has(edgeKey(from, to));
    if (isDispatched) {
      e.get(frame.budget).i32(0).op("i32_le_s").if();
      this.leaveTo(offset);
      e.end();
    }
    if (offset < 0 || offset >= 4096) {
      if (returns)
        e.get(frame.ripBase)
          .i64(offset - (offset & 4095))
          .op("i64_add")
          .set(frame.ripBase);
      else this.turnPage(to, offset);
    }
    this.lowering.flags.become(this.forms.get(to)!);
    if (isDispatched) e.i32(this.entryNumber.get(to)!).set(frame.entry).br(frame.top);
    else if (structure.number.get(to)! <= structure.number.get(from)!) e.br(context.loops.get(to)!);
    else if (structure.merges.has(to)) e.br(context.blocks.get(to)!);
    else this.tree(to, context);
  }

  /** Makes the page at `offset` from this one's start the one that runs, if it still is the one that `to` is in; else leaves. */
  private turnPage(to: number, offset: number): void {
    const { e, frame, lowering, place } = this;
    const page = e.temporary("i64");
    lowering.compareTable(page, offset - (offset & 4095), place.tables[pageOf(to)]!);
    e.if();
    this.leaveTo(offset);
    e.end();
    e.get(page).set(frame.ripBase);
    e.release("i64", page);
  }

  /** Goes where an i64 local says: to an entry of this region, or out of it. */
  private indirect(rip: number): void {
    if (this.place.tables.length > 1) this.indirectAnywhere(rip);
    else this.indirectInPage(rip);
  }

  /** The same for a region of several pages: the target's page is found as the interpreter finds it. */
  private indirectAnywhere(rip: number): void {
    const { e, frame } = this;
    const page = e.temporary("i64");
    const entry = e.temporary("i32");
    emitTlbSlot(e, rip);
    e.get(frame.tlb).op("i32_add").tee(entry).mem("i64_load", TLB.execute);
    e.get(rip).i64(-4096).op("i64_and").tee(page).op("i64_eq").if();
    e.get(entry).mem("i32_load", TLB.execute + 8);
    e.get(rip).op("i32_wrap_i64").i32(4095).op("i32_and").i32(2).op("i32_shl").op("i32_add").mem("i32_load");
    this.enterRecord(() => e.get(page).set(frame.ripBase));
    e.end();
    this.leaveToAddress(rip);
    e.release("i64", page);
    e.release("i32", entry);
  }

  private indirectInPage(rip: number): void {
    const { e, frame, place } = this;
    e.get(rip).get(frame.ripBase).op("i64_xor").i64(4096).op("i64_lt_u").if();
    e.get(rip).op("i32_wrap_i64").i32(4095).op("i32_and").i32(2).op("i32_shl").mem("i32_load", place.tables[0]!);
    this.enterRecord(() => {});
    e.end();
    this.leaveToAddress(rip);
  }

  /** Goes on at the record on the stack, in this region or out of it, unless it is 0; `arrive` is emitted on the way. */
  private enterRecord(arrive: () => void): void {
    const { e, frame, place } = this;
    const record = e.temporary("i32");
    const hot = e.temporary("i32");
    e.tee(record).if();
    arrive();
    e.get(record)
      .mem("i32_load", RECORD.hot)
      .tee(hot)
      .i32(REGION_ENTRY_BITS)
      .op("i32_shr_u")
      .i32(place.tag)
      .op("i32_eq");
    e.get(frame.budget).i32(0).op("i32_gt_s").op("i32_and").if();
    e.get(hot)
      .i32(MAX_ENTRIES - 1)
      .op("i32_and")
      .set(frame.entry);
    this.lowering.flags.emitFill(this.lowering.flags.inState ? FULL : this.lowering.flags.form);
    e.br(frame.top);
    e.end();
    e.get(record).i32(1).op("i32_or").set(frame.result);
    this.lowering.leave();
    e.end();
    e.release("i32", record, hot);
  }

  /** Leaves for the address in an i64 local. */
  private leaveToAddress(rip: number): void {
    const { e, frame } = this;
    e.i32(0).get(rip).mem("i64_store", ENGINE.nextRip);
    e.i32(0).set(frame.result);
    this.lowering.leave();
  }

  /** Leaves for `offset` (from the page's start, any value). */
  private leaveTo(offset: number): void {
    const { e, frame } = this;
    e.i32(0).get(frame.ripBase).i64(offset).op("i64_add").mem("i64_store", ENGINE.nextRip);
    e.i32(0).set(frame.result);
    this.lowering.leave();
  }

  /** Leaves for code in this page that runs in sequence. */
  private continueAt(block: Block, offset: number): void {
    const { e, frame } = this;
    if (offset >= 4096) this.leaveTo(offset);
    else {
      e.i32(this.place.recordOf(placeOf(pageOf(block.at), offset)) + 1).set(frame.result);
      this.lowering.leave();
    }
  }
}
