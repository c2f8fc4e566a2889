/// <reference path="../webassembly.d.ts" />
import { CodeEmitter, ModuleBuilder } from "@paravirt/wasm-emit";
import { HelperFunctions } from "../helpers.ts";
import { ACCESS, CODE_TABLE_BYTES, ENGINE, REASON, RECORD, REGION_ENTRY_BITS, STATE, STATUS, TLB } from "../layout.ts";
import { Flags, type Place, StateAccess } from "../lowering.ts";
import { round } from "../semantics/x87-round.ts";
import { emitTlbSlot } from "../tlb-probe.ts";
import { emitGate, emitSyscallRegisters } from "./gate.ts";
import type { Handler, HandlerTable } from "./handlers.ts";
import { ColdLowering, HotLowering, type LoopFrame } from "./lowering.ts";
import { emitFindCode, emitProbe, emitTranslate, emitWalker } from "./walker.ts";

/** What the interpreter's module exports. */
export interface Tier0Exports {
  /** Interprets from `record` until something is needed; returns a {@link REASON}. */
  run(record: number): number;
  /** Executes one record in full generality; returns a {@link STATUS}. */
  cold(record: number): number;
  /** Walks the page tables and fills the TLB; returns a `WALK`. */
  walk(address: bigint, access: number): number;
  /** Machine address for an access, 0 when `ENGINE.reason` says why not. */
  translate(address: bigint, size: number, access: number): number;
  /** The linear address of a record's memory operand. */
  operandAddress(record: number): bigint;
  /** Rounds and stores an x87 result: see the helper `round`. */
  x87Round(destination: number, sign: number, exponent: number, high: bigint, low: bigint, precision: number): void;
  /** Like `translate` for one byte at an address in two halves; 0 too where JavaScript has to drop code. */
  probe(low: number, high: number, access: number): number;
  /** Puts `STATE.rip` into RCX and RFLAGS into R11. */
  syscallRegisters(): void;
  /** The six status flags as an RFLAGS image, and back. */
  readFlags(): bigint;
  loadFlags(image: bigint): void;
  /** Cold functions by slot, then translated regions. */
  readonly table: WebAssembly.Table;
}

/** Pages of 64 KiB that a 32-bit memory has at most: the module does for any size. */
const MAX_PAGES = 65536;

/** Emits the whole interpreter: main loop, a cold function for each handler, page walker. */
export function buildTier0(table: HandlerTable): Uint8Array {
  const module = new ModuleBuilder();
  module.importMemory({ module: "e", name: "m", minimum: 1, maximum: MAX_PAGES });
  const timestamp = module.importFunction("e", "t", { parameters: [], results: ["i64"] });
  const recordToStatus = { parameters: ["i32"], results: ["i32"] } as const;
  const run = module.declare(recordToStatus, "run");
  const cold = module.declare(recordToStatus, "cold");
  const walk = module.declare({ parameters: ["i64", "i32"], results: ["i32"] }, "walk");
  const translate = module.declare({ parameters: ["i64", "i32", "i32"], results: ["i32"] }, "translate");
  const operandAddress = module.declare({ parameters: ["i32"], results: ["i64"] }, "operandAddress");
  const readFlags = module.declare({ parameters: [], results: ["i64"] }, "readFlags");
  const loadFlags = module.declare({ parameters: ["i64"], results: [] }, "loadFlags");
  const probe = module.declare({ parameters: ["i32", "i32", "i32"], results: ["i32"] }, "probe");
  const syscallRegisters = module.declare({ parameters: [], results: [] }, "syscallRegisters");
  const gate = module.declare({ parameters: ["i64"], results: ["i32"] });
  const findCode = module.declare({ parameters: ["i64"], results: ["i32"] });
  const handlers = table.handlers.slice(0, table.baseCount);
  const functions = handlers.map(() => module.declare(recordToStatus));
  module.setTable({ functions, minimum: functions.length, exportName: "table" });

  const helpers = new HelperFunctions(module);
  const e = new CodeEmitter(1 << 17);
  e.begin(["i32"]);
  emitMainLoop(e, table, helpers, { cold, findCode }, module.type(recordToStatus));
  module.define(run, e);

  e.begin(["i32"]);
  emitColdDispatch(e, module.type(recordToStatus));
  module.define(cold, e);

  e.begin(["i64", "i32"]);
  emitWalker(e);
  module.define(walk, e);

  e.begin(["i64", "i32", "i32"]);
  emitTranslate(e, translate, walk);
  module.define(translate, e);

  e.begin(["i32", "i32", "i32"]);
  emitProbe(e, translate);
  module.define(probe, e);

  e.begin([]);
  emitSyscallRegisters(e);
  module.define(syscallRegisters, e);

  e.begin(["i64"]);
  emitFindCode(e, walk);
  module.define(findCode, e);

  e.begin(["i64"]);
  emitGate(e, translate);
  module.define(gate, e);

  e.begin(["i32"]);
  new ColdLowering(e, helpers, { translate, gate, timestamp }).effectiveAddress(true);
  module.define(operandAddress, e);

  e.begin([]);
  new Flags(e, new StateAccess(e)).image();
  module.define(readFlags, e);

  e.begin(["i64"]);
  new Flags(e, new StateAccess(e)).load(0);
  module.define(loadFlags, e);

  handlers.forEach((handler, index) => {
    e.begin(["i32"]);
    const c = new ColdLowering(e, helpers, { translate, gate, timestamp });
    const leaves = emitCold(c, handler);
    module.define(functions[index]!, e);
    if (handler.definition.translated && !leaves) table.translated.add(handler);
  });
  const x87Round = module.declare(round.signature, "x87Round");
  e.begin(round.signature.parameters);
  round.signature.parameters.forEach((_type, index) => {
    e.get(index);
  });
  e.call(helpers.indexOf(round));
  module.define(x87Round, e);

  helpers.define(e);
  return module.toBytes();
}

/**
 * Emits the handlers behind {@link HandlerTable.baseCount}: a module whose table has them, none of which is in the main
 * loop. It imports the interpreter's `translate`.
 */
export function buildAvx(table: HandlerTable): Uint8Array {
  const module = new ModuleBuilder();
  module.importMemory({ module: "e", name: "m", minimum: 1, maximum: MAX_PAGES });
  const translate = module.importFunction("e", "t", { parameters: ["i64", "i32", "i32"], results: ["i32"] });
  const handlers = table.handlers.slice(table.baseCount);
  const functions = handlers.map(() => module.declare({ parameters: ["i32"], results: ["i32"] }));
  module.setTable({ functions, minimum: functions.length, exportName: "table" });
  const helpers = new HelperFunctions(module);
  const e = new CodeEmitter(1 << 14);
  handlers.forEach((handler, index) => {
    e.begin(["i32"]);
    // No vector instruction asks for the time or goes through the gate: a call of function -1 would be no valid module.
    const c = new ColdLowering(e, helpers, { translate, gate: -1, timestamp: -1 });
    const leaves = emitCold(c, handler);
    module.define(functions[index]!, e);
    if (handler.definition.translated && !leaves) table.translated.add(handler);
  });
  helpers.define(e);
  return module.toBytes();
}

interface Operands {
  slot(index: number): Place;
  memory(size: number, access: number): Place;
}

function places(c: Operands, { definition, shape }: Handler): Place[] {
  return shape.letters.map((letter, index) => {
    const size = shape.sizes[index] ?? 0;
    const access = definition.access[index];
    // Memory without an access letter, or without a size, is not touched before the semantics ask for it.
    if (letter !== "m" || size === 0 || access === undefined) return c.slot(index);
    return c.memory(size, access === "r" ? ACCESS.READ : ACCESS.WRITE);
  });
}

/** Emits a record's own function; answers whether all of it is left to someone else. */
function emitCold(c: ColdLowering, handler: Handler): boolean {
  handler.definition.emit(c, places(c, handler), handler.shape);
  const { ended } = c;
  if (!ended) c.next();
  c.e.op("unreachable");
  return ended;
}

/** Calls the record's function, then finishes what its writes left: scattered bytes, code that was overwritten. */
function emitColdDispatch(e: CodeEmitter, type: number): void {
  const state = new StateAccess(e);
  const status = e.local("i32");
  e.get(0).get(0).mem("i32_load", RECORD.slot).callIndirect(type).set(status);
  state.get32(ENGINE.commitCount);
  state.get32(ENGINE.codeWriteCount);
  e.op("i32_or").op("i32_eqz").if();
  e.get(status).return().end();

  e.get(status).i32(STATUS.EXIT).op("i32_eq").if();
  // The instruction did not happen.
  state.set32(ENGINE.commitCount, () => e.i32(0));
  state.set32(ENGINE.codeWriteCount, () => e.i32(0));
  e.get(status).return().end();

  state.get32(ENGINE.commitCount);
  e.if();
  state.get32(ENGINE.commitFirst);
  e.i32(ENGINE.bounceWrite);
  state.get32(ENGINE.commitSplit);
  e.memoryCopy();
  state.get32(ENGINE.commitSecond);
  e.i32(ENGINE.bounceWrite);
  state.get32(ENGINE.commitSplit);
  e.op("i32_add");
  state.get32(ENGINE.commitCount);
  state.get32(ENGINE.commitSplit);
  e.op("i32_sub").memoryCopy();
  e.end();

  state.get32(ENGINE.codeWriteCount);
  e.op("i32_eqz").if();
  state.set32(ENGINE.commitCount, () => e.i32(0));
  e.get(status).return().end();

  // JavaScript drops the code that was overwritten, then goes on at the next instruction.
  e.get(status).i32(STATUS.NEXT).op("i32_eq").if();
  state.set64(ENGINE.nextRip, () => {
    state.get64(STATE.ripBase);
    e.get(0).mem("i64_load16_u", RECORD.offset).op("i64_add");
    e.get(0).mem("i64_load8_u", RECORD.length).op("i64_add");
  });
  e.end();
  state.set32(ENGINE.reason, () => e.i32(REASON.CODE_WRITE));
  e.i32(STATUS.EXIT);
}

function emitMainLoop(
  e: CodeEmitter,
  table: HandlerTable,
  helpers: HelperFunctions,
  functions: { readonly cold: number; readonly findCode: number },
  regionType: number,
): void {
  const state = new StateAccess(e);
  const record = 0;
  const budget = e.local("i32");
  const tlb = e.local("i32");
  const nextRip = e.local("i64");
  const why = e.local("i32");
  state.get32(ENGINE.budget);
  e.set(budget);
  state.get32(ENGINE.tlb);
  e.set(tlb);

  const exit = e.block();
  const top = e.loop();
  const decodeExit = e.block();
  const jump = e.block();
  const budgetExit = e.block();
  const cold = e.block();
  const region = e.block();
  const frame: LoopFrame = { record, budget, tlb, nextRip, top, cold, jump, budgetExit };
  const hot = table.handlers.filter((handler) => handler.hot > 0);
  const labels = hot.map(() => e.block()).reverse();
  e.get(budget).i32(1).op("i32_sub").set(budget);
  e.get(record).mem("i32_load", RECORD.hot).tee(why);
  e.brTable([cold, ...labels], region);
  hot.forEach((handler) => {
    e.end();
    const c = new HotLowering(e, helpers, frame);
    handler.definition.emit(c, places(c, handler), handler.shape);
    if (!c.ended) c.next();
    if (c.usesHelpers) table.helperUsers.add(handler);
    e.release("i32", ...c.owned);
  });
  e.end();
  // region: the code from here on was translated. It counts for itself.
  state.set32(ENGINE.budget, () => e.get(budget).i32(1).op("i32_add"));
  e.get(why)
    .i32(2 ** REGION_ENTRY_BITS - 1)
    .op("i32_and")
    .get(why)
    .i32(REGION_ENTRY_BITS)
    .op("i32_shr_u")
    .callIndirect(regionType)
    .set(why);
  state.set32(ENGINE.inRegions, () => {
    state.get32(ENGINE.inRegions);
    e.get(budget).i32(1).op("i32_add");
    state.get32(ENGINE.budget);
    e.op("i32_sub").op("i32_add");
  });
  state.set32(ENGINE.entered, () => {
    state.get32(ENGINE.entered);
    e.i32(1).op("i32_add");
  });
  state.get32(ENGINE.budget);
  e.set(budget);
  e.get(why).i32(1).op("i32_and").if();
  // The record after an odd address is the next to execute.
  e.get(why).i32(1).op("i32_xor").set(record);
  e.get(budget).i32(0).op("i32_le_s").brIf(budgetExit);
  e.br(top).end();
  e.get(why).op("i32_eqz").if();
  state.get64(ENGINE.nextRip);
  e.set(nextRip).br(jump).end();
  e.get(why).set(record).get(budget).i32(1).op("i32_sub").set(budget);
  e.end();
  // cold: the record's own function does the work.
  e.get(record).call(functions.cold).set(why);
  state.get32(ENGINE.charge);
  e.if();
  e.get(budget);
  state.get32(ENGINE.charge);
  e.op("i32_sub").set(budget);
  state.set32(ENGINE.charged, () => {
    state.get32(ENGINE.charged);
    state.get32(ENGINE.charge);
    e.op("i32_add");
  });
  state.set32(ENGINE.charge, () => e.i32(0));
  e.end();
  e.get(why).op("i32_eqz").if();
  e.get(record).i32(RECORD.size).op("i32_add").set(record).br(top).end();
  e.get(why).i32(STATUS.JUMP).op("i32_eq").if();
  // The gate leads to another address space.
  state.get32(ENGINE.tlb);
  e.set(tlb);
  state.get64(ENGINE.nextRip);
  e.set(nextRip).br(jump).end();
  state.get32(ENGINE.reason);
  e.set(why).br(exit);
  e.end();
  // budgetExit: the slice is over at `record`.
  e.i32(REASON.BUDGET).set(why).br(exit);
  e.end();
  // jump: find the record of nextRip through the execute TLB and the code page's table.
  const entry = e.local("i32");
  emitTlbSlot(e, nextRip);
  e.get(tlb).op("i32_add").tee(entry).mem("i64_load", TLB.execute);
  e.get(nextRip).i64(-4096).op("i64_and").op("i64_ne").brIf(decodeExit);
  e.get(entry).mem("i32_load", TLB.execute + 8);
  e.get(nextRip)
    .op("i32_wrap_i64")
    .i32(4095)
    .op("i32_and")
    .i32(Math.log2(CODE_TABLE_BYTES / 4096))
    .op("i32_shl")
    .op("i32_add");
  e.mem("i32_load").tee(entry).op("i32_eqz").brIf(decodeExit);
  e.get(entry).set(record);
  state.set64(STATE.ripBase, () => e.get(nextRip).i64(-4096).op("i64_and"));
  e.get(budget).i32(0).op("i32_gt_s").brIf(top);
  e.i32(REASON.BUDGET).set(why).br(exit);
  e.end();
  // decodeExit: the execute TLB has no entry, or the code is new.
  // Hot handlers don't wrap their targets: in compatibility mode one beyond 4 GiB is found in no entry and comes here.
  e.get(nextRip);
  state.get64(STATE.linearMask);
  e.op("i64_and").set(nextRip);
  e.get(nextRip).call(functions.findCode).tee(entry).if();
  e.get(entry).set(record);
  state.set64(STATE.ripBase, () => e.get(nextRip).i64(-4096).op("i64_and"));
  e.get(budget).i32(0).op("i32_gt_s").brIf(top);
  e.i32(REASON.BUDGET).set(why).br(exit);
  e.end();
  state.set64(ENGINE.nextRip, () => e.get(nextRip));
  e.i32(REASON.DECODE).set(why).br(exit);
  e.end();
  e.end();
  state.set32(ENGINE.record, () => e.get(record));
  state.set32(ENGINE.budget, () => e.get(budget));
  e.get(why);
}
