import type { CodeEmitter } from "@paravirt/wasm-emit";
import type { Helper, HelperFunctions } from "../helpers.ts";
import { ENGINE, REASON, RECORD, STATE, STATUS, TLB } from "../layout.ts";
import { Flags, type Lane, type Lowering, type Place, type Size, StateAccess, zeroExtend } from "../lowering.ts";
import { emitTlbProbe, emitTlbSlot } from "../tlb-probe.ts";

/** Labels and locals of the interpreter's main loop that its handlers use. */
export interface LoopFrame {
  readonly record: number;
  readonly budget: number;
  readonly tlb: number;
  readonly nextRip: number;
  /** Branch targets: dispatch again, execute the record through its cold function, go to `nextRip`, leave with the slice over. */
  readonly top: number;
  readonly cold: number;
  readonly jump: number;
  readonly budgetExit: number;
}

/** Functions of the interpreter's module that cold handlers call. */
export interface ColdFunctions {
  /** (address i64, size i32, access i32) → machine address, 0 when `ENGINE.reason` says why not. */
  readonly translate: number;
  /** (next RIP i64) → whether control went through the gate. */
  readonly gate: number;
  /** () → the time-stamp counter, i64. */
  readonly timestamp: number;
}

const SIGNED_LOAD = { 1: "i64_load8_s", 2: "i64_load16_s", 4: "i64_load32_s", 8: "i64_load" } as const;
const UNSIGNED_LOAD = { 1: "i64_load8_u", 2: "i64_load16_u", 4: "i64_load32_u", 8: "i64_load" } as const;
const LANE_LOAD = {
  u8: "i32_load8_u",
  u16: "i32_load16_u",
  i32: "i32_load",
  i64: "i64_load",
  f32: "f32_load",
  f64: "f64_load",
} as const;
const LANE_BYTES = { u8: 1, u16: 2, i32: 4, i64: 8, f32: 4, f64: 8 } as const;
const STORE = { 1: "i64_store8", 2: "i64_store16", 4: "i64_store32", 8: "i64_store" } as const;

/** Bytes in linear memory whose address `pushAddress` pushes. */
export class BytesPlace implements Place {
  private readonly e: CodeEmitter;
  private readonly pushAddress: () => void;
  private readonly isRegister: boolean;
  readonly index?: number;
  get facts(): number {
    return 0;
  }
  /** Nothing is known of bytes in memory for longer than an instruction. */
  set facts(_facts: number) {}
  constructor(e: CodeEmitter, pushAddress: () => void, isRegister: boolean, index?: number) {
    this.e = e;
    this.pushAddress = pushAddress;
    this.isRegister = isRegister;
    if (index !== undefined) this.index = index;
  }
  signed(size: Size): void {
    this.pushAddress();
    this.e.mem(SIGNED_LOAD[size]);
  }
  unsigned(size: Size): void {
    this.pushAddress();
    this.e.mem(UNSIGNED_LOAD[size]);
  }
  store(size: Size, push: () => void): void {
    this.pushAddress();
    push();
    if (this.isRegister && size === 4) {
      zeroExtend(this.e, 4);
      this.e.mem("i64_store");
    } else this.e.mem(STORE[size]);
  }
  vector(): void {
    this.pushAddress();
    this.e.simdMem("v128_load");
  }
  storeVector(push: () => void): void {
    this.pushAddress();
    push();
    this.e.simdMem("v128_store");
  }
  lane(type: Lane, index: number): void {
    this.pushAddress();
    this.e.mem(LANE_LOAD[type], index * LANE_BYTES[type]);
  }
  low(bytes: 4 | 8): void {
    this.pushAddress();
    this.e.simdMem(bytes === 4 ? "v128_load32_zero" : "v128_load64_zero");
  }
  upper(): Place {
    return new BytesPlace(
      this.e,
      () => {
        this.pushAddress();
        this.e.i32(16).op("i32_add");
      },
      this.isRegister,
    );
  }
  address(): void {
    this.pushAddress();
  }
}

/** What both forms of tier 0 share: operands are read from the record at run time. */
abstract class RecordLowering implements Lowering {
  abstract readonly whole: boolean;
  readonly e: CodeEmitter;
  readonly state: StateAccess;
  readonly flags: Flags;
  /** Whether control already left the handler on every path. */
  ended = false;
  private readonly helpers: HelperFunctions;

  constructor(e: CodeEmitter, helpers: HelperFunctions) {
    this.e = e;
    this.helpers = helpers;
    this.state = new StateAccess(e);
    this.flags = new Flags(e, this.state);
  }

  protected abstract readonly record: number;
  abstract translate(address: number, size: number, access: number, aligned?: boolean): number;
  abstract faultIf(vector: number, error: number): void;
  abstract jump(push: () => void): void;
  abstract branch(condition: (() => void) | undefined): void;
  abstract tryGate(): void;
  abstract timestamp(): void;
  abstract service(): void;
  abstract next(): void;
  abstract raise(vector: number, error: number): void;
  abstract effectiveAddress(withSegment: boolean): void;
  abstract wrap(): void;
  abstract uncount(): void;
  abstract checkNextPage(): void;
  abstract pause(): void;

  charge(push: () => void): void {
    this.state.set32(ENGINE.charge, () => {
      this.state.get32(ENGINE.charge);
      push();
      this.e.op("i32_add");
    });
  }

  reachable(): void {
    this.ended = false;
  }

  /** Whether the handler called a helper: translated code can't. */
  usesHelpers = false;

  call(helper: Helper): void {
    this.usesHelpers = true;
    this.e.call(this.helpers.indexOf(helper));
  }

  readonly known: undefined = undefined;
  readonly vectorIndex: undefined = undefined;
  readonly floatBound: undefined = undefined;
  readonly x87: undefined = undefined;

  /** The register or immediate operand in slot 0, 1 or 2 of the record. */
  slot(index: number): Place {
    const field = [RECORD.a, RECORD.b, RECORD.c][index] ?? RECORD.a;
    return new BytesPlace(this.e, () => this.e.get(this.record).mem("i32_load", field), true);
  }

  /** The memory operand, translated now. */
  memory(size: number, access: number): Place {
    const { e } = this;
    const address = e.temporary("i64");
    this.effectiveAddress(true);
    e.set(address);
    const host = this.translate(address, size, access);
    e.release("i64", address);
    return new BytesPlace(e, () => e.get(host), false);
  }

  /** Memory at a machine address in an i32 local. */
  at(host: number): Place {
    return new BytesPlace(this.e, () => this.e.get(host), false);
  }

  register(number: number): Place {
    const { e } = this;
    return new BytesPlace(e, () => e.i32(STATE.gpr + number * 8), true);
  }

  vectorRegister(number: number): Place {
    const { e } = this;
    return new BytesPlace(e, () => e.i32(STATE.xmm + number * 32), true);
  }

  nextRip(): void {
    const { e } = this;
    this.state.get64(STATE.ripBase);
    e.get(this.record).mem("i64_load16_u", RECORD.offset).op("i64_add");
    e.get(this.record).mem("i64_load8_u", RECORD.length).op("i64_add");
  }

  currentRip(): void {
    this.state.get64(STATE.ripBase);
    this.e.get(this.record).mem("i64_load16_u", RECORD.offset).op("i64_add");
  }

  addressMask(): void {
    this.e.get(this.record).mem("i64_load", RECORD.addressMask);
  }

  segmentBase(): void {
    this.e.get(this.record).mem("i32_load", RECORD.segment).mem("i64_load");
  }

  immediate(): void {
    this.e.get(this.record).mem("i64_load", RECORD.immediate);
  }

  immediate2(): void {
    this.e.get(this.record).mem("i32_load", RECORD.target);
  }

  protected offsetAddress(): void {
    const { e, record } = this;
    e.get(record).mem("i32_load", RECORD.base).mem("i64_load");
    e.get(record).mem("i32_load", RECORD.indexRegister).mem("i64_load");
    e.get(record).mem("i64_load8_u", RECORD.scale).op("i64_shl").op("i64_add");
    e.get(record).mem("i64_load", RECORD.displacement).op("i64_add");
  }
}

/**
 * A handler inside the interpreter's main loop. It does the common case only: a TLB miss, a page crossing or a fault
 * branches to the cold function of the same record, which starts the instruction anew. Nothing may be written before that.
 */
export class HotLowering extends RecordLowering {
  readonly whole = false;
  protected readonly record: number;
  private readonly frame: LoopFrame;
  constructor(e: CodeEmitter, helpers: HelperFunctions, frame: LoopFrame) {
    super(e, helpers);
    this.frame = frame;
    this.record = frame.record;
  }

  effectiveAddress(withSegment: boolean): void {
    const { e, record } = this;
    this.offsetAddress();
    if (withSegment) e.get(record).mem("i32_load", RECORD.segment).mem("i64_load").op("i64_add");
  }

  translate(address: number, size: number, access: number, aligned: boolean = false): number {
    const { e, frame } = this;
    const host = emitTlbProbe(e, { tlb: frame.tlb, address, size, access, aligned }, () => e.brIf(frame.cold));
    this.owned.push(host);
    return host;
  }

  checkNextPage(): void {
    const { e, frame } = this;
    const page = e.temporary("i64");
    const entry = e.temporary("i32");
    this.state.get64(STATE.ripBase);
    e.i64(4096).op("i64_add").set(page);
    emitTlbSlot(e, page);
    e.get(frame.tlb).op("i32_add").tee(entry);
    e.mem("i64_load", TLB.execute).get(page).op("i64_ne").brIf(frame.cold);
    e.get(entry)
      .mem("i32_load", TLB.execute + 8)
      .get(frame.record)
      .mem("i32_load", RECORD.immediate);
    e.op("i32_ne").brIf(frame.cold);
    this.uncount();
    this.next();
    e.release("i64", page);
    e.release("i32", entry);
  }

  pause(): void {
    this.service();
  }

  /** Only 64-bit code runs hot; nothing wraps there. */
  wrap(): void {}

  uncount(): void {
    const { budget } = this.frame;
    this.e.get(budget).i32(1).op("i32_add").set(budget);
  }

  /** Temporaries to give back when the handler ends. */
  readonly owned: number[] = [];

  faultIf(): void {
    this.e.brIf(this.frame.cold);
  }

  raise(): void {
    this.service();
  }

  jump(push: () => void): void {
    push();
    this.e.set(this.frame.nextRip).br(this.frame.jump);
    this.ended = true;
  }

  branch(condition: (() => void) | undefined): void {
    const { e, frame } = this;
    const target = e.temporary("i32");
    if (condition) {
      condition();
      e.if();
    }
    e.get(frame.record).mem("i32_load", RECORD.target).tee(target);
    e.if();
    e.get(target).set(frame.record);
    e.get(frame.budget).i32(0).op("i32_le_s").brIf(frame.budgetExit);
    e.br(frame.top);
    e.end();
    this.state.get64(STATE.ripBase);
    this.immediate();
    e.op("i64_add").set(frame.nextRip).br(frame.jump);
    if (condition) {
      e.end();
      this.next();
    }
    this.ended = true;
    e.release("i32", target);
  }

  timestamp(): void {
    throw new Error("BUG: only whole code reads the time");
  }

  tryGate(): void {}

  service(): void {
    this.e.br(this.frame.cold);
    this.ended = true;
  }

  next(): void {
    this.e.get(this.frame.record).i32(RECORD.size).op("i32_add").set(this.frame.record).br(this.frame.top);
    this.ended = true;
  }
}

/** A function that executes one record in full generality: misses, crossings, faults, address sizes. */
export class ColdLowering extends RecordLowering {
  readonly whole = true;
  /** The record is the function's parameter. */
  protected readonly record = 0;
  private readonly functions: ColdFunctions;
  constructor(e: CodeEmitter, helpers: HelperFunctions, functions: ColdFunctions) {
    super(e, helpers);
    this.functions = functions;
  }

  effectiveAddress(withSegment: boolean): void {
    const { e, record } = this;
    this.offsetAddress();
    e.get(record).mem("i64_load", RECORD.addressMask).op("i64_and");
    if (!withSegment) return;
    e.get(record).mem("i32_load", RECORD.segment).mem("i64_load").op("i64_add");
    this.wrap();
  }

  wrap(): void {
    this.state.get64(STATE.linearMask);
    this.e.op("i64_and");
  }

  translate(address: number, size: number, access: number): number {
    const { e } = this;
    const host = e.local("i32");
    e.get(address).i32(size).i32(access).call(this.functions.translate).tee(host).op("i32_eqz").if();
    e.i32(STATUS.EXIT).return().end();
    return host;
  }

  faultIf(vector: number, error: number): void {
    this.e.if();
    this.fault(vector, error);
    this.e.end();
  }

  raise(vector: number, error: number): void {
    this.fault(vector, error);
    this.ended = true;
  }

  private fault(vector: number, error: number): void {
    const { e, state } = this;
    state.set32(ENGINE.faultVector, () => e.i32(vector));
    state.set32(ENGINE.faultError, () => e.i32(error));
    state.set32(ENGINE.reason, () => e.i32(REASON.FAULT));
    e.i32(STATUS.EXIT).return();
  }

  jump(push: () => void): void {
    this.state.set64(ENGINE.nextRip, () => {
      push();
      this.wrap();
    });
    this.e.i32(STATUS.JUMP).return();
    this.ended = true;
  }

  branch(condition: (() => void) | undefined): void {
    const { e } = this;
    if (condition) {
      condition();
      e.if();
    }
    this.jump(() => {
      this.state.get64(STATE.ripBase);
      this.immediate();
      e.op("i64_add");
    });
    if (condition) {
      e.end();
      this.next();
    }
    this.ended = true;
  }

  timestamp(): void {
    this.e.call(this.functions.timestamp);
  }

  tryGate(): void {
    this.nextRip();
    this.e.call(this.functions.gate).if();
    this.e.i32(STATUS.JUMP).return().end();
  }

  service(): void {
    this.state.set32(ENGINE.reason, () => this.e.i32(REASON.SERVICE));
    this.e.i32(STATUS.EXIT).return();
    this.ended = true;
  }

  checkNextPage(): void {
    this.service();
  }

  pause(): void {
    this.state.set32(ENGINE.reason, () => this.e.i32(REASON.PAUSE));
    this.e.i32(STATUS.EXIT).return();
    this.ended = true;
  }

  /** Whoever calls a cold function counts. */
  uncount(): void {}

  next(): void {
    this.e.i32(STATUS.NEXT).return();
    this.ended = true;
  }
}
