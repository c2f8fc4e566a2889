import type { CodeEmitter } from "@paravirt/wasm-emit";
import { BASE_RIP, type Instruction, NO_REGISTER, OPCODES, OPERAND, PREFIX, REGISTER_CLASS } from "@paravirt/x86";
import type { Helper, HelperFunctions } from "../helpers.ts";
import { ACCESS, ENGINE, STATE, TLB } from "../layout.ts";
import { type FloatBound, type Lowering, type Place, type Size, StateAccess, zeroExtend } from "../lowering.ts";
import type { X87Stack } from "../semantics/x87-stack.ts";
import { BytesPlace } from "../tier0/lowering.ts";
import { registerAddress } from "../tier0/select.ts";
import { emitTlbProbe, emitTlbSlot } from "../tlb-probe.ts";
import { type FlagForm, formAfter, keepsFlags, UntranslatableError, WORDS } from "./flag-forms.ts";
import { FLAG_WORDS, RegionFlags } from "./flags.ts";
import type { GeneralRegisters } from "./general-registers.ts";
import type { RegionInstruction } from "./region-source.ts";
import { type FloatBounds, type VectorLocals, VectorPlace } from "./vector-place.ts";

/** Locals and labels of a region's function. */
export interface RegionFrame {
  readonly registers: GeneralRegisters;
  readonly vectors: VectorLocals;
  readonly floats: FloatBounds;
  readonly x87: X87Stack | undefined;
  readonly ripBase: number;
  readonly tlb: number;
  readonly budget: number;
  /** What the region returns: see `emitRegion`. */
  readonly result: number;
  /** Number of the entry that the dispatcher goes to. */
  readonly entry: number;
  /** Label that stores registers and flags, and returns `result`. */
  readonly exit: number;
  /** The same for flags in a form that is not full. */
  readonly exits: ReadonlyMap<FlagForm, number>;
  /** Label of the dispatcher. */
  readonly top: number;
}

/** Flag words, x87 words and the page that runs live in locals; the rest of the engine's state in memory. */
class RegionState extends StateAccess {
  private readonly code: CodeEmitter;
  private readonly words: ReadonlyMap<number, number> | undefined;
  private readonly flags: ReadonlyMap<number, number>;
  private readonly ripBase: number;
  constructor(e: CodeEmitter, { x87, ripBase }: RegionFrame, flags: ReadonlyMap<number, number>) {
    super(e);
    this.ripBase = ripBase;
    this.code = e;
    this.flags = flags;
    this.words = x87?.words;
  }
  override get32(address: number): void {
    const local = this.words?.get(address);
    if (local === undefined) super.get32(address);
    else this.code.get(local);
  }
  override set32(address: number, push: () => void): void {
    const local = this.words?.get(address);
    if (local === undefined) super.set32(address, push);
    else {
      push();
      this.code.set(local);
    }
  }
  override get64(address: number): void {
    const local = address === STATE.ripBase ? this.ripBase : this.flags.get(address);
    if (local === undefined) super.get64(address);
    else this.code.get(local);
  }
  override set64(address: number, push: () => void): void {
    const local = this.flags.get(address);
    if (local === undefined) super.set64(address, push);
    else {
      push();
      this.code.set(local);
    }
  }
}

/** A constant operand. */
class ConstantPlace implements Place {
  readonly facts = 0;
  private readonly e: CodeEmitter;
  private readonly lowWord: number;
  private readonly highWord: number;
  constructor(e: CodeEmitter, low: number, highWord: number) {
    this.e = e;
    this.lowWord = low;
    this.highWord = highWord;
  }
  signed(size: Size): void {
    const { e, lowWord: low } = this;
    if (size === 8) e.i64Halves(low, this.highWord);
    else {
      const shift = 32 - size * 8;
      e.i64((low << shift) >> shift);
    }
  }
  unsigned(size: Size): void {
    const { e, lowWord: low } = this;
    if (size === 8) e.i64Halves(low, this.highWord);
    else e.i64Halves(size === 4 ? low : low & (size === 2 ? 0xffff : 0xff), 0);
  }
  store(): void {
    throw new Error("an immediate can't be written");
  }
  vector(): void {
    throw new Error("an immediate is no vector");
  }
  storeVector(): void {
    throw new Error("an immediate is no vector");
  }
  lane(): void {
    throw new Error("an immediate is no vector");
  }
  low(): void {
    throw new Error("an immediate is no vector");
  }
  upper(): Place {
    throw new Error("an immediate is no vector");
  }
  address(): void {
    throw new Error("an immediate has no address in translated code");
  }
}

/** Whether the index of the memory operand is a vector register: of a gather. */
function isVectorIndexed({ row }: Instruction): boolean {
  return OPCODES[row]!.attributes.has("vsib");
}

/** Whether the memory operand's segment has a base: in 64-bit mode only FS and GS do. */
function hasBase({ mode, segment }: Instruction): boolean {
  return segment >= 4 || mode === 32;
}

/**
 * Translated code: operands are known, registers and flags live in locals. A miss or fault stores them and returns the
 * record, which the interpreter then executes in full generality.
 */
export class RegionLowering implements Lowering {
  readonly whole = false;
  readonly e: CodeEmitter;
  readonly state: StateAccess;
  readonly flags: RegionFlags;
  ended = false;
  private readonly frame: RegionFrame;
  private item: RegionInstruction | undefined;
  private recordAddress = 0;
  /** Instructions of the block from this one on: not executed when it leaves. */
  private remaining = 0;
  private readonly owned: number[] = [];

  private readonly helpers: HelperFunctions;
  /** Local for the address that the block's last instruction goes to, where only running it tells. */
  readonly target: number;
  /** How many labels are open around the block. */
  private depth = 0;
  /** The block ends with a direct call: the region places its edge. */
  directCall = false;

  constructor(e: CodeEmitter, frame: RegionFrame, helpers: HelperFunctions) {
    this.e = e;
    this.frame = frame;
    this.helpers = helpers;
    this.target = e.local("i64");
    const words = new Map(FLAG_WORDS.map((address) => [address, e.local("i64")]));
    this.state = new RegionState(e, frame, words);
    this.flags = new RegionFlags(e, this.state, words);
  }

  /** Starts the next instruction. */
  start(item: RegionInstruction, record: number, remaining: number): void {
    this.item = item;
    this.recordAddress = record;
    this.depth = this.e.depth;
    this.remaining = remaining;
    this.ended = false;
    // Whoever sets flags under a condition, or not all of them, needs the others.
    if (formAfter(item) === WORDS && keepsFlags(item)) this.flags.toWords();
  }

  /** Ends it: its temporaries are free again. */
  finish(): void {
    this.e.release("i32", ...this.owned.splice(0));
    const form = formAfter(this.item!);
    if (form === WORDS) this.flags.forget();
    else if (form !== undefined && form !== this.flags.form)
      throw new UntranslatableError(`${this.item!.handler.definition.name} sets flags in another way than foreseen`);
  }

  /** Leaves the region; `result` is set. */
  leave(): void {
    const { frame, flags, e } = this;
    e.br(flags.inState ? frame.exit : frame.exits.get(flags.form)!);
  }

  /** Leaves at the record of the next instruction, `remaining` of the block's being undone, when the budget is spent. */
  checkBudget(record: number, remaining: number): void {
    const { e, frame } = this;
    e.get(frame.budget).i32(0).op("i32_le_s").if();
    if (remaining > 0) e.get(frame.budget).i32(remaining).op("i32_add").set(frame.budget);
    e.i32(record + 1).set(frame.result);
    this.leave();
    e.end();
  }

  private get instruction(): Instruction {
    return this.item!.instruction;
  }

  /** The places of the instruction's operands; memory is translated here. */
  places(): Place[] {
    const { e, instruction } = this;
    const { definition, shape } = this.item!.handler;
    const result: Place[] = [];
    for (let i = 0; i < instruction.operandCount; i++) {
      switch (instruction.kinds[i]) {
        case OPERAND.REGISTER: {
          const registerClass = instruction.classes[i] ?? 0;
          const number = instruction.registers[i] ?? 0;
          if (registerClass <= REGISTER_CLASS.GPR64)
            result.push(this.frame.registers.place(number, registerClass === REGISTER_CLASS.GPR8_HIGH));
          else if (registerClass === REGISTER_CLASS.XMM || registerClass === REGISTER_CLASS.YMM)
            result.push(this.vectorRegister(number));
          else {
            const address = registerAddress(registerClass, number);
            result.push(new BytesPlace(e, () => e.i32(address), true, number));
          }
          break;
        }
        case OPERAND.MEMORY: {
          const access = definition.access[i];
          const size = shape.sizes[i] ?? 0;
          if (size === 0 || access === undefined) result.push(new ConstantPlace(e, 0, 0));
          else result.push(this.memory(size, access === "r" ? ACCESS.READ : ACCESS.WRITE));
          break;
        }
        case OPERAND.ONE:
          result.push(new ConstantPlace(e, 1, 0));
          break;
        case OPERAND.IMMEDIATE2:
          result.push(new ConstantPlace(e, instruction.immediate2, 0));
          break;
        default:
          result.push(new ConstantPlace(e, instruction.immediate, instruction.immediateHigh));
      }
    }
    return result;
  }

  private memory(size: number, access: number): Place {
    const { e } = this;
    const address = e.temporary("i64");
    this.effectiveAddress(true);
    e.set(address);
    const host = this.translate(address, size, access);
    e.release("i64", address);
    return new BytesPlace(e, () => e.get(host), false);
  }

  register(number: number): Place {
    return this.frame.registers.place(number, false);
  }

  vectorRegister(number: number): Place {
    const { e, frame } = this;
    if (frame.vectors.locals[number]! >= 0) return new VectorPlace(e, frame.vectors, number);
    return new BytesPlace(e, () => e.i32(STATE.xmm + number * 32), true);
  }

  nextRip(): void {
    const { item } = this;
    this.e
      .get(this.frame.ripBase)
      .i64(item!.offset + item!.instruction.length)
      .op("i64_add");
  }

  currentRip(): void {
    this.e.get(this.frame.ripBase).i64(this.item!.offset).op("i64_add");
  }

  /** As in a record: a branch's target counts from the page's start. */
  immediate(): void {
    const { item } = this;
    if (item!.instruction.kinds[0] === OPERAND.RELATIVE)
      this.e.i64(item!.offset + item!.instruction.length + item!.instruction.immediate);
    else this.e.i64Halves(this.instruction.immediate, this.instruction.immediateHigh);
  }

  get x87(): X87Stack | undefined {
    return this.frame.x87;
  }

  get floatBound(): FloatBound {
    return this.frame.floats;
  }

  get known(): number | undefined {
    return this.instruction.kinds[1] === OPERAND.ONE ? 1 : this.instruction.immediate;
  }

  immediate2(): void {
    this.e.i32(this.instruction.immediate2);
  }

  addressMask(): void {
    if (this.instruction.mode === 64) this.e.i64(-1);
    else this.e.i64Halves(-1, 0);
  }

  segmentBase(): void {
    const { segment } = this.instruction;
    if (hasBase(this.instruction)) this.state.get64(STATE.segmentBase + segment * 8);
    else this.e.i64(0);
  }

  get vectorIndex(): Lowering["vectorIndex"] {
    const { instruction } = this;
    if (!isVectorIndexed(instruction)) return undefined;
    return {
      place: this.vectorRegister(instruction.index),
      scale: instruction.scale,
      wide: (instruction.prefixes & PREFIX.VEX_L) !== 0,
    };
  }

  effectiveAddress(withSegment: boolean): void {
    const { e, instruction, frame } = this;
    let pushed = false;
    const add = () => {
      if (pushed) e.op("i64_add");
      pushed = true;
    };
    if (instruction.base === BASE_RIP) {
      e.get(frame.ripBase);
      add();
    } else if (instruction.base !== NO_REGISTER) {
      frame.registers.push(instruction.base);
      add();
    }
    if (instruction.index !== NO_REGISTER && !isVectorIndexed(instruction)) {
      frame.registers.push(instruction.index);
      if (instruction.scale > 0) e.i64(instruction.scale).op("i64_shl");
      add();
    }
    if (instruction.base === BASE_RIP) {
      e.i64(this.item!.offset + instruction.length + instruction.displacement);
      add();
    } else if (instruction.displacement !== 0 || instruction.displacementHigh !== 0 || !pushed) {
      e.i64Halves(instruction.displacement, instruction.displacementHigh);
      add();
    }
    if (withSegment && hasBase(instruction)) {
      this.state.get64(STATE.segmentBase + instruction.segment * 8);
      add();
    }
    this.wrap();
  }

  translate(address: number, size: number, access: number, aligned: boolean = false): number {
    const { e, frame } = this;
    const host = emitTlbProbe(e, { tlb: frame.tlb, address, size, access, aligned }, () => {
      e.if();
      this.leaveToRecord();
      e.end();
    });
    this.owned.push(host);
    return host;
  }

  /** Sets the i64 local `page` to the page `distance` bytes from this one, and pushes whether its code is not that of `table` (i32). */
  compareTable(page: number, distance: number, table: number): void {
    const { e, frame } = this;
    const entry = e.temporary("i32");
    e.get(frame.ripBase).i64(distance).op("i64_add").set(page);
    emitTlbSlot(e, page);
    e.get(frame.tlb).op("i32_add").tee(entry).mem("i64_load", TLB.execute).get(page).op("i64_ne");
    e.get(entry)
      .mem("i32_load", TLB.execute + 8)
      .i32(table)
      .op("i32_ne")
      .op("i32_or");
    e.release("i32", entry);
  }

  /** Gives this instruction to the interpreter. */
  private leaveToRecord(): void {
    const { e, frame } = this;
    e.get(frame.budget).i32(this.remaining).op("i32_add").set(frame.budget);
    e.i32(this.recordAddress).set(frame.result);
    frame.x87?.spill();
    this.leave();
  }

  faultIf(): void {
    this.e.if();
    this.leaveToRecord();
    this.e.end();
  }

  raise(): void {
    this.leaveToRecord();
    this.ended = true;
  }

  timestamp(): void {
    throw new Error("BUG: only whole code reads the time");
  }

  tryGate(): void {}

  service(): void {
    this.raise();
  }

  jump(push: () => void): void {
    const { e } = this;
    if (!this.directCall) {
      if (e.depth !== this.depth) throw new UntranslatableError("an indirect jump under a condition");
      push();
      e.set(this.target);
    }
    this.ended = true;
  }

  /** Branches are the region's own business: it asks the definition for the condition only. */
  branch(condition: (() => void) | undefined): void {
    this.branchCondition = condition;
    this.ended = true;
  }

  /** Left by {@link RegionLowering.branch} for the region to place. */
  branchCondition: (() => void) | undefined;

  wrap(): void {
    if (this.instruction.mode === 32) zeroExtend(this.e, 4);
  }

  uncount(): void {}

  checkNextPage(): void {
    this.raise();
  }

  pause(): void {
    this.raise();
  }

  charge(push: () => void): void {
    const { e, frame } = this;
    const cost = e.temporary("i32");
    push();
    e.set(cost);
    e.get(frame.budget).get(cost).op("i32_sub").set(frame.budget);
    this.state.set32(ENGINE.charged, () => {
      this.state.get32(ENGINE.charged);
      e.get(cost).op("i32_add");
    });
    e.release("i32", cost);
  }

  reachable(): void {
    this.ended = false;
  }

  /** Translated modules import memory only: each has copies of the helpers that it calls. */
  call(helper: Helper): void {
    this.e.call(this.helpers.indexOf(helper));
  }

  next(): void {}
}
