import type { CodeEmitter, MemName, OpName } from "@paravirt/wasm-emit";
import type { Helper } from "./helpers.ts";

/** An operand of a 32-bit expression: another one, or a constant. */
export type Value32 = Int32 | number;
/** An operand of a 64-bit expression: another one, or a constant. */
export type Value64 = Int64 | number | bigint;

/**
 * A 32-bit expression: a recipe that emits its code wherever it is used. Longer algorithms are written with these, so
 * that they read in the usual order; nothing is computed before it is assigned, stored or tested.
 */
export class Int32 {
  protected readonly e: CodeEmitter;
  readonly push: () => void;
  constructor(e: CodeEmitter, push: () => void) {
    this.e = e;
    this.push = push;
  }
  private with(other: Value32, name: OpName): Int32 {
    return new Int32(this.e, () => {
      this.push();
      if (typeof other === "number") this.e.i32(other);
      else other.push();
      this.e.op(name);
    });
  }
  add(other: Value32): Int32 {
    return this.with(other, "i32_add");
  }
  sub(other: Value32): Int32 {
    return this.with(other, "i32_sub");
  }
  mul(other: Value32): Int32 {
    return this.with(other, "i32_mul");
  }
  and(other: Value32): Int32 {
    return this.with(other, "i32_and");
  }
  or(other: Value32): Int32 {
    return this.with(other, "i32_or");
  }
  xor(other: Value32): Int32 {
    return this.with(other, "i32_xor");
  }
  shl(other: Value32): Int32 {
    return this.with(other, "i32_shl");
  }
  shr(other: Value32): Int32 {
    return this.with(other, "i32_shr_u");
  }
  eq(other: Value32): Int32 {
    return this.with(other, "i32_eq");
  }
  ne(other: Value32): Int32 {
    return this.with(other, "i32_ne");
  }
  below(other: Value32): Int32 {
    return this.with(other, "i32_lt_u");
  }
  less(other: Value32): Int32 {
    return this.with(other, "i32_lt_s");
  }
  atMost(other: Value32): Int32 {
    return this.with(other, "i32_le_s");
  }
  greater(other: Value32): Int32 {
    return this.with(other, "i32_gt_s");
  }
  atLeast(other: Value32): Int32 {
    return this.with(other, "i32_ge_s");
  }
  /** 1 for zero, 0 for anything else. */
  not(): Int32 {
    return new Int32(this.e, () => {
      this.push();
      this.e.op("i32_eqz");
    });
  }
  /** Zero-extended. */
  wide(): Int64 {
    return new Int64(this.e, () => {
      this.push();
      this.e.op("i64_extend_i32_u");
    });
  }
  /** Sign-extended. */
  wideSigned(): Int64 {
    return new Int64(this.e, () => {
      this.push();
      this.e.op("i64_extend_i32_s");
    });
  }
  /** `a` if this is not zero, else `b`; both are computed. */
  choose(a: Int32, b: Value32): Int32 {
    return new Int32(this.e, () => {
      a.push();
      if (typeof b === "number") this.e.i32(b);
      else b.push();
      this.push();
      this.e.op("select");
    });
  }
  /** `a` if this is not zero, else `b`; both are computed. */
  chooseWide(a: Int64, b: Int64): Int64 {
    return new Int64(this.e, () => {
      a.push();
      b.push();
      this.push();
      this.e.op("select");
    });
  }
}

/** A 64-bit expression: see {@link Int32}. */
export class Int64 {
  protected readonly e: CodeEmitter;
  readonly push: () => void;
  constructor(e: CodeEmitter, push: () => void) {
    this.e = e;
    this.push = push;
  }
  private operands(other: Value64 | Int32): void {
    this.push();
    if (typeof other === "number" || typeof other === "bigint") this.e.i64(other);
    else if (other instanceof Int32) other.wide().push();
    else other.push();
  }
  private with(other: Value64 | Int32, name: OpName): Int64 {
    return new Int64(this.e, () => {
      this.operands(other);
      this.e.op(name);
    });
  }
  private test(other: Value64, name: OpName): Int32 {
    return new Int32(this.e, () => {
      this.operands(other);
      this.e.op(name);
    });
  }
  add(other: Value64): Int64 {
    return this.with(other, "i64_add");
  }
  sub(other: Value64): Int64 {
    return this.with(other, "i64_sub");
  }
  mul(other: Value64): Int64 {
    return this.with(other, "i64_mul");
  }
  div(other: Value64): Int64 {
    return this.with(other, "i64_div_u");
  }
  and(other: Value64): Int64 {
    return this.with(other, "i64_and");
  }
  or(other: Value64): Int64 {
    return this.with(other, "i64_or");
  }
  xor(other: Value64): Int64 {
    return this.with(other, "i64_xor");
  }
  /** Shift counts are taken modulo 64. */
  shl(count: Int32 | number): Int64 {
    return this.with(count, "i64_shl");
  }
  shr(count: Int32 | number): Int64 {
    return this.with(count, "i64_shr_u");
  }
  eq(other: Value64): Int32 {
    return this.test(other, "i64_eq");
  }
  ne(other: Value64): Int32 {
    return this.test(other, "i64_ne");
  }
  below(other: Value64): Int32 {
    return this.test(other, "i64_lt_u");
  }
  above(other: Value64): Int32 {
    return this.test(other, "i64_gt_u");
  }
  aboveOrEqual(other: Value64): Int32 {
    return this.test(other, "i64_ge_u");
  }
  negative(): Int32 {
    return this.test(0, "i64_lt_s");
  }
  isZero(): Int32 {
    return new Int32(this.e, () => {
      this.push();
      this.e.op("i64_eqz");
    });
  }
  notZero(): Int32 {
    return this.test(0, "i64_ne");
  }
  /** Leading zeros, as a 32-bit number. */
  leadingZeros(): Int32 {
    return new Int32(this.e, () => {
      this.push();
      this.e.op("i64_clz").op("i32_wrap_i64");
    });
  }
  /** The low 32 bits. */
  narrow(): Int32 {
    return new Int32(this.e, () => {
      this.push();
      this.e.op("i32_wrap_i64");
    });
  }
}

/** A local variable of a function. */
export class Local32 extends Int32 {
  readonly index: number;
  constructor(e: CodeEmitter, index: number) {
    super(e, () => e.get(index));
    this.index = index;
  }
  set(value: Value32): void {
    if (typeof value === "number") this.e.i32(value);
    else value.push();
    this.e.set(this.index);
  }
}

/** A local variable of a function. */
export class Local64 extends Int64 {
  readonly index: number;
  constructor(e: CodeEmitter, index: number) {
    super(e, () => e.get(index));
    this.index = index;
  }
  set(value: Value64): void {
    if (typeof value === "number" || typeof value === "bigint") this.e.i64(value);
    else value.push();
    this.e.set(this.index);
  }
}

/** Statements around expressions. */
export class Script {
  readonly e: CodeEmitter;
  private readonly callHelper: (helper: Helper) => void;
  /** 32-bit words of state, by their constant address, that live in locals. */
  private readonly words: ReadonlyMap<number, number> | undefined;

  constructor(e: CodeEmitter, call: (helper: Helper) => void, words?: ReadonlyMap<number, number>) {
    this.e = e;
    this.callHelper = call;
    this.words = words;
  }

  private wordAt(address: Value32, offset: number): number | undefined {
    return address === 0 ? this.words?.get(offset) : undefined;
  }

  parameter32(index: number): Local32 {
    return new Local32(this.e, index);
  }
  parameter64(index: number): Local64 {
    return new Local64(this.e, index);
  }
  local32(): Local32 {
    return new Local32(this.e, this.e.local("i32"));
  }
  local64(): Local64 {
    return new Local64(this.e, this.e.local("i64"));
  }
  i32(value: number): Int32 {
    return new Int32(this.e, () => this.e.i32(value));
  }
  i64(value: number | bigint): Int64 {
    return new Int64(this.e, () => this.e.i64(value));
  }

  load32(address: Value32, offset: number = 0, name: MemName = "i32_load"): Int32 {
    const word = this.wordAt(address, offset);
    if (word !== undefined) return new Int32(this.e, () => this.e.get(word));
    return new Int32(this.e, () => {
      this.pushAddress(address);
      this.e.mem(name, offset);
    });
  }
  load64(address: Value32, offset: number = 0, name: MemName = "i64_load"): Int64 {
    return new Int64(this.e, () => {
      this.pushAddress(address);
      this.e.mem(name, offset);
    });
  }
  store32(address: Value32, offset: number, value: Value32, name: MemName = "i32_store"): void {
    const word = this.wordAt(address, offset);
    if (word !== undefined) {
      this.pushAddress(value);
      this.e.set(word);
      return;
    }
    this.pushAddress(address);
    this.pushAddress(value);
    this.e.mem(name, offset);
  }
  store64(address: Value32, offset: number, value: Value64, name: MemName = "i64_store"): void {
    this.pushAddress(address);
    this.pushWide(value);
    this.e.mem(name, offset);
  }

  if(condition: Int32, then: () => void, otherwise?: () => void): void {
    condition.push();
    this.e.if();
    then();
    if (otherwise) {
      this.e.else();
      otherwise();
    }
    this.e.end();
  }

  /** Repeats `body` while `condition` holds. */
  while(condition: Int32, body: () => void): void {
    const { e } = this;
    const done = e.block();
    const again = e.loop();
    condition.push();
    e.op("i32_eqz").brIf(done);
    body();
    e.br(again).end().end();
  }

  /** Ends the function with these results. */
  return(...values: (Int32 | Int64 | number)[]): void {
    for (const value of values) this.pushAny(value);
    this.e.return();
  }

  /** Calls a helper and leaves its results on the wasm stack. */
  run(helper: Helper, ...values: (Int32 | Int64 | number)[]): void {
    for (const value of values) this.pushAny(value);
    this.callHelper(helper);
  }

  /** A call whose only result is 32 bits wide. */
  call32(helper: Helper, ...values: (Int32 | Int64 | number)[]): Int32 {
    return new Int32(this.e, () => this.run(helper, ...values));
  }

  /** A call whose only result is 64 bits wide. */
  call64(helper: Helper, ...values: (Int32 | Int64 | number)[]): Int64 {
    return new Int64(this.e, () => this.run(helper, ...values));
  }

  private pushAny(value: Int32 | Int64 | number): void {
    if (typeof value === "number") this.e.i32(value);
    else value.push();
  }
  private pushAddress(value: Value32): void {
    if (typeof value === "number") this.e.i32(value);
    else value.push();
  }
  private pushWide(value: Value64): void {
    if (typeof value === "number" || typeof value === "bigint") this.e.i64(value);
    else value.push();
  }
}
