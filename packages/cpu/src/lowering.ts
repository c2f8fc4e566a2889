import type { CodeEmitter } from "@paravirt/wasm-emit";
import type { Int32, Local32, Local64 } from "./expressions.ts";
import type { Helper } from "./helpers.ts";
import { ENGINE, STATE } from "./layout.ts";

/** Bytes of an integer operand. */
export type Size = 1 | 2 | 4 | 8;

/** A lane of a vector; `u8` and `u16` are pushed zero-extended, as i32. */
export type Lane = "u8" | "u16" | "i32" | "i64" | "f32" | "f64";

/** Bits of {@link Place.facts}: the lowest float, or all floats of that type, are zero or normal. */
export const FACT: Readonly<Record<"f32" | "f64", readonly [scalar: number, vector: number]>> = {
  f32: [1, 3],
  f64: [4, 12],
};

/** What translated code keeps for floating-point arithmetic: see `semantics/simd-float-inline.ts`. */
export interface FloatBound {
  /** Pushes what results must exceed to be fine, or what no result exceeds when MXCSR isn't as usual. */
  push(type: "f32" | "f64", vector: boolean): void;
  /** Whether doubtful results may be looked into by calls, for code that meets many. Calls make the code around them slower. */
  readonly calls: boolean;
}

/** Locals with an 80-bit number: its significand, and its sign with exponent. */
export interface X87Value {
  readonly significand: Local64;
  readonly signExponent: Local32;
}

/** The x87 registers in translated code: see `semantics/x87-stack.ts`. Indices count from the top of the stack. */
export interface X87Registers {
  /** The locals of the status and tag words by their addresses in the engine's state. */
  readonly words: ReadonlyMap<number, number>;
  /** Emits stores of the words to the state, for helpers that read and write them there. */
  store(): void;
  /** Emits loads of the words from the state. */
  load(): void;
  /** Brings registers and words up to date, for code that finds them where they belong. */
  sync(): void;
  /** Leaves the instruction to the interpreter unless a register is valid, or empty. Nothing was written yet. */
  require(c: Lowering, index: number, valid: boolean): void;
  /** The value of a register that is valid. */
  value(index: number): X87Value;
  /** Makes a register valid and gives the locals to write its value to. Nothing may leave the instruction any more. */
  target(index: number): X87Value;
  /** Moves the top down: the new one is what {@link X87Registers.target} of 0 gives. */
  push(): void;
  /** Empties the top and moves it up. */
  pop(): void;
  /** Exchanges the top with another register, both valid. */
  exchange(index: number): void;
  /** Clears C1 in the status word, then sets `flags`. */
  conclude(flags?: Int32): void;
}

/**
 * An operand whose bytes can be read and written: a register, an immediate or translated memory.
 * Reading and writing emits code; memory was translated, and its faults raised, before the semantics began.
 */
export interface Place {
  /** Pushes the operand as i64, sign-extended from `size` bytes. */
  signed(size: Size): void;
  /** Pushes the operand as i64, zero-extended from `size` bytes. */
  unsigned(size: Size): void;
  /** Stores the low `size` bytes of the i64 that `push` leaves on the stack; a 32-bit register is zero-extended. */
  store(size: Size, push: () => void): void;
  /** Pushes the 16 bytes of a vector register or memory operand. */
  vector(): void;
  /** Stores the v128 that `push` leaves on the stack. */
  storeVector(push: () => void): void;
  /** Number of an x87 register, counted from the top of the stack, where it is known while emitting. */
  readonly index?: number;
  /** {@link FACT}s that hold for a vector register here in translated code; none are known elsewhere. Writing drops them. */
  facts: number;
  /** Pushes lane `index` of a vector register or memory operand; nothing beyond that lane is read. */
  lane(type: Lane, index: number): void;
  /** Pushes the low `bytes` bytes of a vector register or memory operand as v128, zero-extended. */
  low(bytes: 4 | 8): void;
  /** The upper 16 bytes of a YMM register or of a memory operand of 32 bytes. */
  upper(): Place;
  /**
   * Pushes the machine address of the operand's bytes (i32). Memory operands, MMX and x87 registers have one in every tier,
   * XMM registers in tier 0 only.
   */
  address(): void;
}

/**
 * What the semantics of an instruction are written against. Each tier gives its own: operands read from a record at run
 * time (tier 0) or known while emitting (tier 1).
 */
export interface Lowering {
  readonly e: CodeEmitter;
  /** Whether this code must do all of the instruction. Elsewhere {@link Lowering.faultIf} leads to code that does. */
  readonly whole: boolean;
  /** Pushes general register `number` as i64 / stores it. */
  register(number: number): Place;
  /** XMM register `number`. */
  vectorRegister(number: number): Place;
  /** Pushes the linear address of the next instruction (i64). */
  nextRip(): void;
  /** Pushes the record's 64-bit immediate. */
  immediate(): void;
  /** The immediate where it is known while emitting: in translated code. */
  readonly known: number | undefined;
  /** Pushes the record's second immediate (i32). */
  immediate2(): void;
  /** Translates `size` bytes at the linear address in the i64 local `address` for an `ACCESS`; the result is an i32 local. A fault leaves the instruction; `aligned` makes code that is not {@link Lowering.whole} leave for misaligned addresses, too. */
  translate(address: number, size: number, access: number, aligned?: boolean): number;
  /** Wraps the linear address (i64) on the stack as the mode demands. */
  wrap(): void;
  /** Pushes the memory operand's linear address without touching memory, truncated to the address size. */
  effectiveAddress(withSegment: boolean): void;
  /**
   * Of a gather in translated code: the vector register of indices, which {@link Lowering.effectiveAddress} leaves out, log2
   * of their scale, and whether the register is a YMM register.
   */
  readonly vectorIndex: { readonly place: Place; readonly scale: number; readonly wide: boolean } | undefined;
  /** Leaves the instruction with fault `vector` if the i32 on the stack is not zero. Nothing was written yet. */
  faultIf(vector: number, error: number): void;
  /** Ends the instruction: control goes to the i64 that `push` leaves on the stack. */
  jump(push: () => void): void;
  /** Ends the instruction: the conditional or unconditional direct branch of this record. `condition` pushes an i32. */
  branch(condition: (() => void) | undefined): void;
  /** Ends the instruction with a fault. */
  raise(vector: number, error: number): void;
  /** Pushes the mask of the address size (i64). */
  addressMask(): void;
  /** Pushes the base of the segment that the record names (i64). */
  segmentBase(): void;
  /** Pushes the linear address of this instruction (i64). */
  currentRip(): void;
  /** Takes the i32 that `push` leaves, in instructions, off the budget: one instruction may do much. */
  charge(push: () => void): void;
  /** Lets a long instruction be interrupted: it goes on later from the registers as they are. */
  pause(): void;
  /** Says that control reaches this point although a path before it ended the instruction. */
  reachable(): void;
  /**
   * Ends the record: the next one follows if the next page's code table is the one in the immediate, JavaScript looks
   * into it otherwise.
   */
  checkNextPage(): void;
  /** Takes this record out of the instruction count: it is no instruction of the guest's. */
  uncount(): void;
  /** Calls a shared function; its arguments are on the stack. */
  call(helper: Helper): void;
  /** Ends the instruction by the gate between a guest's two halves, if that is armed and open: see `tier0/gate.ts`. */
  tryGate(): void;
  /** Pushes the time-stamp counter (i64); in code that is {@link Lowering.whole} only. */
  timestamp(): void;
  /** The x87 state that lives in locals here; `undefined` where all of it is in memory. */
  readonly x87: X87Registers | undefined;
  /** Translated code's way to do floating-point arithmetic in line, for definitions that say so. */
  readonly floatBound: FloatBound | undefined;
  /** Ends the instruction in JavaScript: see services. */
  service(): void;
  /** Reads and writes 8 bytes (or less) of engine state at a constant address. */
  readonly state: StateAccess;
  /** Status flags. */
  readonly flags: Flags;
}

/** Access to fixed addresses of the engine's state. */
export class StateAccess {
  private readonly e: CodeEmitter;
  constructor(e: CodeEmitter) {
    this.e = e;
  }
  get64(address: number): void {
    this.e.i32(0).mem("i64_load", address);
  }
  get32(address: number): void {
    this.e.i32(0).mem("i32_load", address);
  }
  set64(address: number, push: () => void): void {
    this.e.i32(0);
    push();
    this.e.mem("i64_store", address);
  }
  set32(address: number, push: () => void): void {
    this.e.i32(0);
    push();
    this.e.mem("i32_store", address);
  }
}

/**
 * Lazy status flags in memory: five values from which each flag follows without knowing what made them.
 * With x + y = s as the carry chain of sign-extended operands, CF is the carry out of bit 63, OF the overflow there,
 * AF the carry into bit 4; ZF, SF and PF follow from the result, corrected by delta.
 */
export class Flags {
  private readonly e: CodeEmitter;
  private readonly state: StateAccess;
  constructor(e: CodeEmitter, state: StateAccess) {
    this.e = e;
    this.state = state;
  }

  /** After `a + b = result` on `size` bytes, locals sign-extended. */
  add(a: number, b: number, result: number, _size: Size): void {
    this.chain(a, b, result, result);
  }

  /** After `a - b = result` on `size` bytes, locals sign-extended. */
  subtract(a: number, b: number, result: number, _size: Size): void {
    this.chain(result, b, a, result);
  }

  /** After `a + b + carry = result`, locals sign-extended. */
  addWithCarry(a: number, b: number, result: number): void {
    this.chain(a, b, result, result);
  }

  /** After `a - b - borrow = result`, locals sign-extended. */
  subtractWithBorrow(a: number, b: number, result: number): void {
    this.chain(result, b, a, result);
  }

  /** After an operation on `size` bytes that clears CF and OF; `result` is a local, sign-extended. */
  logic(result: number, _size: Size = 8): void {
    const { e, state } = this;
    e.i32(0).v128(ZEROS).simdMem("v128_store", STATE.flagX);
    e.i32(0).v128(ZEROS).simdMem("v128_store", STATE.flagS);
    state.set64(STATE.flagResult, () => e.get(result));
  }

  /** After INC or DEC gave `result` (sign-extended from `size` bytes): CF stays as it was. */
  step(name: "inc" | "dec", result: number, size: Size): void {
    const { e } = this;
    const [before, overflow] = [e.temporary("i64"), e.temporary("i64")];
    stepOverflow(e, name, result, before, overflow, size);
    this.explicit(
      () => this.carryWord(),
      () => e.get(overflow),
      () => e.get(before).get(result).op("i64_xor").i64(16).op("i64_and"),
      result,
    );
    e.release("i64", before, overflow);
  }

  protected chain(x: number, y: number, s: number, result: number): void {
    const { e, state } = this;
    state.set64(STATE.flagX, () => e.get(x));
    state.set64(STATE.flagY, () => e.get(y));
    state.set64(STATE.flagS, () => e.get(s));
    state.set64(STATE.flagDelta, () => e.i64(0));
    state.set64(STATE.flagResult, () => e.get(result));
  }

  /**
   * Sets CF, OF and AF outright, ZF, SF and PF from a result. `carry` and `overflow` push an i64 whose bit 63 is the
   * flag; `adjust` pushes an i64 that is 0x10 or 0.
   */
  explicit(carry: () => void, overflow: () => void, adjust: () => void, result: number): void {
    const { e } = this;
    const c = e.temporary("i64");
    carry();
    e.i64Halves(0, 0x80000000 | 0)
      .op("i64_and")
      .set(c);
    const s = e.temporary("i64");
    overflow();
    e.i64Halves(0, 0x80000000 | 0)
      .op("i64_and")
      .get(c)
      .op("i64_xor");
    adjust();
    e.op("i64_or").set(s);
    this.chain(c, c, s, result);
    e.release("i64", c, s);
  }

  /** Sets all six flags from the RFLAGS image in the i64 local `image`. */
  load(image: number): void {
    const { e, state } = this;
    const bit = (flag: number) => e.get(image).i64(flag).op("i64_shr_u").i64(1).op("i64_and");
    const result = e.temporary("i64");
    // Result 0 for ZF, else 1 (positive, odd parity: PF 0); delta corrects SF and PF.
    bit(6);
    e.i64(1).op("i64_xor").set(result);
    this.explicit(
      () => e.get(image).i64(63).op("i64_shl"),
      () => e.get(image).i64(52).op("i64_shl"),
      () => e.get(image).i64(16).op("i64_and"),
      result,
    );
    state.set64(STATE.flagDelta, () => {
      bit(7);
      e.i64(63).op("i64_shl");
      // PF of the chosen result is ZF; flip it where the image differs.
      bit(2);
      bit(6);
      e.op("i64_xor").op("i64_or");
    });
    e.release("i64", result);
  }

  /** Pushes CF as i64, all ones or zero in bit 63 (other bits are noise). */
  carryWord(): void {
    const { e, state } = this;
    const x = e.temporary("i64");
    const y = e.temporary("i64");
    state.get64(STATE.flagX);
    e.tee(x);
    state.get64(STATE.flagY);
    e.tee(y).op("i64_and").get(x).get(y).op("i64_or");
    state.get64(STATE.flagS);
    e.i64(-1).op("i64_xor").op("i64_and").op("i64_or");
    e.release("i64", x, y);
  }

  /** Pushes OF in bit 63 of an i64. */
  overflowWord(): void {
    const { e, state } = this;
    const s = e.temporary("i64");
    state.get64(STATE.flagS);
    e.tee(s);
    state.get64(STATE.flagX);
    e.op("i64_xor").get(s);
    state.get64(STATE.flagY);
    e.op("i64_xor").op("i64_and");
    e.release("i64", s);
  }

  /** Pushes SF in bit 63 of an i64. */
  signWord(): void {
    this.state.get64(STATE.flagResult);
    this.state.get64(STATE.flagDelta);
    this.e.op("i64_xor");
  }

  /** Pushes CF as i64 0 or 1. */
  carryBit(): void {
    this.carryWord();
    this.e.i64(63).op("i64_shr_u");
  }

  /** Pushes AF as i64 0x10 or 0. */
  adjustBit(): void {
    const { e, state } = this;
    state.get64(STATE.flagX);
    state.get64(STATE.flagY);
    e.op("i64_xor");
    state.get64(STATE.flagS);
    e.op("i64_xor").i64(16).op("i64_and");
  }

  /** Pushes PF as i32 0 or 1. */
  parity(): void {
    const { e } = this;
    this.signWord();
    e.op("i32_wrap_i64").i32(0xff).op("i32_and").op("i32_popcnt").i32(1).op("i32_and").op("i32_eqz");
  }

  /** Pushes ZF as i32 0 or 1. */
  zero(): void {
    this.state.get64(STATE.flagResult);
    this.e.op("i64_eqz");
  }

  /** Pushes condition `code` (the low four bits of Jcc's opcode) as i32 0 or 1. */
  condition(code: number): void {
    const { e } = this;
    const negative = () => e.i64(0).op("i64_lt_s");
    switch (code >> 1) {
      case 0:
        this.overflowWord();
        negative();
        break;
      case 1:
        this.carryWord();
        negative();
        break;
      case 2:
        this.zero();
        break;
      case 3:
        this.carryWord();
        negative();
        this.zero();
        e.op("i32_or");
        break;
      case 4:
        this.signWord();
        negative();
        break;
      case 5:
        this.parity();
        break;
      case 6:
        this.signWord();
        this.overflowWord();
        e.op("i64_xor");
        negative();
        break;
      default:
        this.signWord();
        this.overflowWord();
        e.op("i64_xor");
        negative();
        this.zero();
        e.op("i32_or");
    }
    if (code & 1) e.op("i32_eqz");
  }

  /** Pushes the six status flags at their places in RFLAGS, as i64. */
  image(): void {
    const { e } = this;
    this.carryBit();
    this.parity();
    e.op("i64_extend_i32_u").i64(2).op("i64_shl").op("i64_or");
    this.adjustBit();
    e.op("i64_or");
    this.zero();
    e.op("i64_extend_i32_u").i64(6).op("i64_shl").op("i64_or");
    this.signWord();
    e.i64(63).op("i64_shr_u").i64(7).op("i64_shl").op("i64_or");
    this.overflowWord();
    e.i64(63).op("i64_shr_u").i64(11).op("i64_shl").op("i64_or");
  }
}

/** Computes what INC or DEC started from and, in bit 63, its overflow: the sign changed away from the step's direction. */
export function stepOverflow(
  e: CodeEmitter,
  name: "inc" | "dec",
  result: number,
  before: number,
  overflow: number,
  size: Size,
): void {
  e.get(result)
    .i64(1)
    .op(name === "inc" ? "i64_sub" : "i64_add");
  signExtend(e, size);
  e.set(before);
  e.get(name === "inc" ? before : result)
    .i64(-1)
    .op("i64_xor")
    .get(name === "inc" ? result : before)
    .op("i64_and")
    .set(overflow);
}

const ZEROS = new Uint8Array(16);

/** Sign-extends the i64 on the stack from `size` bytes. */
export function signExtend(e: CodeEmitter, size: Size): void {
  if (size === 1) e.op("i64_extend8_s");
  else if (size === 2) e.op("i64_extend16_s");
  else if (size === 4) e.op("i64_extend32_s");
}

/** Zero-extends the i64 on the stack from `size` bytes. */
export function zeroExtend(e: CodeEmitter, size: Size): void {
  if (size === 1) e.i64(0xff).op("i64_and");
  else if (size === 2) e.i64(0xffff).op("i64_and");
  else if (size === 4) e.op("i32_wrap_i64").op("i64_extend_i32_u");
}

/**
 * Emits `left op right` on two i64 locals that are sign-extended from `size` bytes, and sign-extends the result. 32 bits are
 * computed as such: then the register's value waits for no extension.
 */
export function combine(
  e: CodeEmitter,
  op: "add" | "sub" | "and" | "or" | "xor" | "mul",
  size: Size,
  left: number,
  right: number,
): void {
  if (size === 4) e.get(left).op("i32_wrap_i64").get(right).op("i32_wrap_i64").op(`i32_${op}`).op("i64_extend_i32_s");
  else {
    e.get(left).get(right).op(`i64_${op}`);
    // Bitwise operations on extended values are extended.
    if (op === "add" || op === "sub" || op === "mul") signExtend(e, size);
  }
}

/** Names of the engine's constant addresses that semantics may use through {@link StateAccess}. */
export { ENGINE, STATE };
