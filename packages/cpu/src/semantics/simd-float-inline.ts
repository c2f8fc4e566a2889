import type { CodeEmitter } from "@paravirt/wasm-emit";
import { STATE } from "../layout.ts";
import type { Lowering } from "../lowering.ts";
import type { Arithmetic, FloatType } from "./simd-float-checks.ts";

/**
 * The usual case of floating-point arithmetic, decided in line in translated code: operands are zero or normal, the result
 * is too, MXCSR rounds to nearest and inexact results change nothing in it. Only then are no calls needed.
 */

/** MXCSR: rounding control, mask and flag of the precision exception; and what they must be. */
const RELEVANT = 0x7020;
const SILENT = 0x1020;

/** Whether MXCSR rounds to nearest and inexact results change nothing in it. */
export function isFloatSilent(mxcsr: number): boolean {
  return (mxcsr & RELEVANT) === SILENT;
}

const SMALLEST_NORMAL: Readonly<Record<FloatType, number>> = { f32: 2 ** -126, f64: 2 ** -1022 };

/**
 * A float's bits shifted left by one, so that the sign is gone, plus one unit of the exponent. Numbers that are fine are
 * then above the bound; zero, denormals and the least normal number are not, and infinities and NaNs wrap to below it.
 */
interface Shape {
  readonly integer: "i32" | "i64";
  readonly lanes: "i32x4" | "i64x2";
  readonly floats: "f32x4" | "f64x2";
  readonly reinterpret: "i32_reinterpret_f32" | "i64_reinterpret_f64";
  /** One unit of the exponent in the shifted bits. */
  readonly unit: bigint;
  readonly bits: bigint;
}
const SHAPES: Readonly<Record<FloatType, Shape>> = {
  f32: {
    integer: "i32",
    lanes: "i32x4",
    floats: "f32x4",
    reinterpret: "i32_reinterpret_f32",
    unit: 1n << 24n,
    bits: 32n,
  },
  f64: {
    integer: "i64",
    lanes: "i64x2",
    floats: "f64x2",
    reinterpret: "i64_reinterpret_f64",
    unit: 1n << 53n,
    bits: 64n,
  },
};

/** Pushes an integer constant of the type's width. */
function pushConstant(e: CodeEmitter, { integer, bits }: Shape, value: bigint): void {
  if (integer === "i32") e.i32(Number(BigInt.asIntN(32, value)));
  else e.i64(BigInt.asIntN(Number(bits), value));
}

/** Pushes a vector of such constants. */
function pushVectorConstant(e: CodeEmitter, { bits }: Shape, value: bigint): void {
  const bytes = Number(bits) / 8;
  e.v128(
    Array.from({ length: 16 }, (_, i) =>
      Number((BigInt.asUintN(Number(bits), value) >> BigInt((i % bytes) * 8)) & 0xffn),
    ),
  );
}

/**
 * Emits what a region does once: sets `local` to the bound above which results are fine while MXCSR rounds to nearest and
 * makes inexact results silent; otherwise to a bound that nothing exceeds.
 */
export function emitFloatBound(e: CodeEmitter, type: FloatType, vector: boolean, local: number): void {
  const shape = SHAPES[type];
  const { unit, bits } = shape;
  if (vector) {
    // Signed comparisons: everything is moved down by half the range; the bound is the least that is fine.
    pushVectorConstant(e, shape, 2n * unit + 1n - (1n << (bits - 1n)));
    pushVectorConstant(e, shape, (1n << (bits - 1n)) - 1n);
  } else {
    pushConstant(e, shape, 2n * unit);
    pushConstant(e, shape, -1n);
  }
  e.i32(0).mem("i32_load", STATE.mxcsr).i32(RELEVANT).op("i32_and").i32(SILENT).op("i32_eq");
  e.op("select").set(local);
}

/** An operand of arithmetic in translated code. */
export interface InlineOperand {
  readonly push: () => void;
  /** It was found to be zero or normal before. */
  readonly ordinary: boolean;
}

/** Pushes all ones in the lanes of `local` that may not be fine. */
function pushDoubtfulLanes(c: Lowering, type: FloatType, local: number): void {
  const { e } = c;
  const { lanes, unit, bits } = SHAPES[type];
  c.floatBound!.push(type, true);
  e.get(local).get(local).simd(`${lanes}_add`);
  pushVectorConstant(e, SHAPES[type], unit - (1n << (bits - 1n)));
  e.simd(`${lanes}_add`).simd(`${lanes}_gt_s`);
}

/** Pushes 1 if the scalar result in `local` may not be fine. */
function pushDoubtful(c: Lowering, type: FloatType, local: number): void {
  const { e } = c;
  const shape = SHAPES[type];
  const { integer, reinterpret, unit } = shape;
  e.get(local).op(reinterpret);
  pushConstant(e, shape, 1n);
  e.op(`${integer}_shl`);
  pushConstant(e, shape, unit);
  e.op(`${integer}_add`);
  c.floatBound!.push(type, false);
  e.op(`${integer}_le_u`);
}

/** Pushes all ones in the lanes of `local` that are denormals. */
function pushDenormalLanes(e: CodeEmitter, type: FloatType, local: number): void {
  const shape = SHAPES[type];
  const { lanes, unit, bits } = shape;
  pushVectorConstant(e, shape, unit - 1n - (1n << (bits - 1n)));
  e.get(local).get(local).simd(`${lanes}_add`);
  pushVectorConstant(e, shape, -1n - (1n << (bits - 1n)));
  e.simd(`${lanes}_add`).simd(`${lanes}_gt_s`);
}

/** Pushes 1 if the float (or a lane of the vector) in `local` is a denormal. */
function pushDenormal(e: CodeEmitter, type: FloatType, vector: boolean, local: number): void {
  const shape = SHAPES[type];
  const { integer, reinterpret, unit } = shape;
  if (vector) {
    pushDenormalLanes(e, type, local);
    e.simd("v128_any_true");
    return;
  }
  e.get(local).op(reinterpret);
  pushConstant(e, shape, 1n);
  e.op(`${integer}_shl`);
  pushConstant(e, shape, 1n);
  e.op(`${integer}_sub`);
  pushConstant(e, shape, unit - 1n);
  e.op(`${integer}_lt_u`);
}

/**
 * Pushes 0 if the doubtful `result` is fine after all, being an exact zero; 1 otherwise. Only here zeros cost anything.
 */
function pushNoExactZero(
  c: Lowering,
  op: Arithmetic,
  type: FloatType,
  vector: boolean,
  locals: { readonly left: number; readonly right: number; readonly result: number },
): void {
  const { e } = c;
  const { floats } = SHAPES[type];
  const { left, right, result } = locals;
  const pushZero = (local: number) => {
    e.get(local);
    if (vector) e.v128(new Uint8Array(16)).simd(`${floats}_eq`);
    else if (type === "f32") e.f32(0).op("f32_eq");
    else e.f64(0).op("f64_eq");
  };
  const operator = (name: "and" | "or") => (vector ? e.simd(`v128_${name}`) : e.op(`i32_${name}`));
  pushZero(result);
  if (op === "mul" || op === "div") {
    pushZero(left);
    if (op === "mul") {
      pushZero(right);
      operator("or");
    }
    operator("and");
  }
  if (vector) {
    pushDoubtfulLanes(c, type, result);
    // Doubtful lanes without such a zero.
    const lanes = e.temporary("v128");
    e.set(lanes);
    const zeros = e.temporary("v128");
    e.set(zeros).get(lanes).get(zeros).simd("v128_andnot").simd("v128_any_true");
    e.release("v128", lanes, zeros);
  } else e.op("i32_eqz");
  c.state.get32(STATE.mxcsr);
  e.i32(RELEVANT).op("i32_and").i32(SILENT).op("i32_ne").op("i32_or");
}

/**
 * Computes `a op b` into a local, which it returns; in doubt `pushSlow` decides, and the interpreter takes over when it
 * answers 1. A scalar square root is of `a`; its `b` is left out. Give the local back when it is stored.
 */
export function inlineArithmetic(
  c: Lowering,
  op: Arithmetic,
  type: FloatType,
  vector: boolean,
  operands: { readonly a: InlineOperand; readonly b: InlineOperand | undefined; readonly pushSlow: () => void },
): number {
  const { e } = c;
  const { floats } = SHAPES[type];
  const kind = vector ? "v128" : type;
  const { a, b, pushSlow } = operands;
  const result = e.temporary(kind);
  const [left, right] = [e.temporary(kind), e.temporary(kind)];
  const fine = e.block();
  const doubt = e.block();
  a.push();
  e.tee(left);
  if (b) {
    b.push();
    e.tee(right);
  }
  if (vector) e.simd(`${floats}_${op}`);
  else e.op(`${type}_${op}`);
  e.set(result);
  // A NaN or an infinity among the operands shows in the result, denormals don't.
  const unknown = [
    { operand: a, local: left },
    { operand: b, local: right },
  ].filter(({ operand }) => operand && !operand.ordinary);
  if (vector) {
    pushDoubtfulLanes(c, type, result);
    for (const { local } of unknown) {
      pushDenormalLanes(e, type, local);
      e.simd("v128_or");
    }
    e.simd("v128_any_true").brIf(doubt);
  } else {
    pushDoubtful(c, type, result);
    e.brIf(doubt);
    for (const { local } of unknown) {
      pushDenormal(e, type, false, local);
      e.brIf(doubt);
    }
  }
  e.br(fine);
  e.end();
  if (c.floatBound!.calls) pushSlow();
  else {
    pushNoExactZero(c, op, type, vector, { left, right, result });
    for (const { local } of unknown) {
      pushDenormal(e, type, vector, local);
      e.op("i32_or");
    }
  }
  e.if();
  c.service();
  e.end();
  c.reachable();
  e.end();
  e.release(kind, left, right);
  return result;
}

/** Pushes 1 if the scalar that `push` pushes is a NaN or denormal. */
export function pushUnusualInline(e: CodeEmitter, type: FloatType, push: () => void): void {
  const value = e.temporary(type);
  push();
  e.set(value);
  pushDenormal(e, type, false, value);
  e.get(value).get(value).op(`${type}_ne`).op("i32_or");
  e.release(type, value);
}

/** Pushes 1 if a lane of the vector that `push` pushes is a NaN or denormal. */
export function pushUnusualLanes(e: CodeEmitter, type: FloatType, push: () => void): void {
  const value = e.temporary("v128");
  push();
  e.set(value);
  pushDenormal(e, type, true, value);
  e.get(value).get(value).simd(`${SHAPES[type].floats}_ne`).simd("v128_any_true").op("i32_or");
  e.release("v128", value);
}

/** Pushes whether MXCSR makes inexactness silent, and rounds to nearest if that matters. */
function pushSilent(c: Lowering, nearest: boolean): void {
  c.state.get32(STATE.mxcsr);
  c.e
    .i32(nearest ? RELEVANT : SILENT)
    .op("i32_and")
    .i32(SILENT)
    .op("i32_eq");
}

/** Pushes 0 in the usual case of a conversion, else what `pushSlow` pushes. */
function otherwise(c: Lowering, pushSlow: () => void): void {
  c.e.if("i32");
  c.e.i32(0);
  c.e.else();
  pushSlow();
  c.e.end();
}

/** Integers to floats. */
export function pushFromIntegerInline(c: Lowering, pushSlow: () => void): void {
  pushSilent(c, true);
  otherwise(c, pushSlow);
}

/** The double that `push` pushes to an integer below `limit` in magnitude. */
export function pushToIntegerInline(
  c: Lowering,
  truncate: boolean,
  limit: number,
  push: () => void,
  pushSlow: () => void,
): void {
  push();
  c.e.op("f64_abs").f64(limit).op("f64_lt");
  pushSilent(c, !truncate);
  c.e.op("i32_and");
  otherwise(c, pushSlow);
}

/** The double that `push` pushes to a single. */
export function pushNarrowInline(c: Lowering, push: () => void, pushSlow: () => void): void {
  const { e } = c;
  const result = e.temporary("f32");
  push();
  e.op("f32_demote_f64").op("f32_abs").set(result);
  e.get(result).f32(SMALLEST_NORMAL.f32).op("f32_gt").get(result).f32(Number.POSITIVE_INFINITY).op("f32_lt");
  e.op("i32_and");
  pushSilent(c, true);
  e.op("i32_and");
  otherwise(c, pushSlow);
  e.release("f32", result);
}
