import type { CodeEmitter, SimdName, ValueType } from "@paravirt/wasm-emit";
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

const SMALLEST_NORMAL: Readonly<Record<FloatType, number>> = { f32: 2 ** -126, f64: 2 ** -1022 };

/** Emits the operations of one shape: a scalar or a vector of floats. */
interface Arm {
  readonly local: ValueType;
  op(e: CodeEmitter, name: "abs" | "lt" | "gt" | "ge" | "eq" | Arithmetic): void;
  constant(e: CodeEmitter, value: number): void;
  and(e: CodeEmitter): void;
  or(e: CodeEmitter): void;
  /** Turns the truth on the stack into an i32. */
  all(e: CodeEmitter): void;
}

function scalarArm(type: FloatType): Arm {
  return {
    local: type,
    op: (e, name) => e.op(`${type}_${name}`),
    constant: (e, value) => (type === "f32" ? e.f32(value) : e.f64(value)),
    and: (e) => e.op("i32_and"),
    or: (e) => e.op("i32_or"),
    all: () => {},
  };
}

function vectorArm(type: FloatType): Arm {
  const lanes = type === "f32" ? "f32x4" : "f64x2";
  const bytes = (value: number): Uint8Array =>
    new Uint8Array((type === "f32" ? new Float32Array(4) : new Float64Array(2)).fill(value).buffer);
  return {
    local: "v128",
    op: (e, name) => e.simd(`${lanes}_${name}` as SimdName),
    constant: (e, value) => e.v128(bytes(value)),
    and: (e) => e.simd("v128_and"),
    or: (e) => e.simd("v128_or"),
    all: (e) => e.simd(type === "f32" ? "i32x4_all_true" : "i64x2_all_true"),
  };
}

const ARMS = {
  scalar: { f32: scalarArm("f32"), f64: scalarArm("f64") },
  vector: { f32: vectorArm("f32"), f64: vectorArm("f64") },
} as const;

/** Pushes whether the float in `local` is zero or at least `above` in magnitude. */
function pushZeroOr(e: CodeEmitter, arm: Arm, local: number, smallest: number): void {
  e.get(local);
  arm.op(e, "abs");
  arm.constant(e, smallest);
  arm.op(e, "ge");
  pushZero(e, arm, local);
  arm.or(e);
}
function pushZero(e: CodeEmitter, arm: Arm, local: number): void {
  e.get(local);
  arm.constant(e, 0);
  arm.op(e, "eq");
}

/** Pushes whether `result = a op b` is of the usual kind; the square root is of `a`. */
function pushUsual(e: CodeEmitter, arm: Arm, type: FloatType, op: Arithmetic, locals: readonly number[]): void {
  const [a = 0, b = 0, result = 0] = locals;
  const smallest = SMALLEST_NORMAL[type];
  // A NaN fails every comparison.
  e.get(result);
  arm.op(e, "abs");
  arm.constant(e, Number.POSITIVE_INFINITY);
  arm.op(e, "lt");
  if (op === "mul" || op === "div") {
    // The least normal result may have been tiny before it was rounded; zero is exact only when a factor is.
    e.get(result);
    arm.op(e, "abs");
    arm.constant(e, smallest);
    arm.op(e, "gt");
    pushZero(e, arm, a);
    arm.or(e);
    if (op === "mul") {
      pushZero(e, arm, b);
      arm.or(e);
    }
  } else pushZeroOr(e, arm, result, smallest);
  arm.and(e);
  pushZeroOr(e, arm, a, smallest);
  arm.and(e);
  if (op !== "sqrt") {
    pushZeroOr(e, arm, b, smallest);
    arm.and(e);
  }
  arm.all(e);
}

/**
 * Computes `a op b` and pushes 0 when the result, which `result` then pushes, is good; in doubt `pushSlow` decides.
 * `pushA` and `pushB` push scalars or vectors. Give the locals back with `release` at the end.
 */
export function inlineArithmetic(
  c: Lowering,
  op: Arithmetic,
  type: FloatType,
  form: "scalar" | "vector",
  pushes: { readonly a: () => void; readonly b: () => void; readonly slow: () => void },
): { readonly check: () => void; readonly result: () => void; readonly release: () => void } {
  const { e } = c;
  const arm = ARMS[form][type];
  const locals = [e.temporary(arm.local), e.temporary(arm.local), e.temporary(arm.local)];
  const [a = 0, b = 0, result = 0] = locals;
  return {
    check() {
      pushes.a();
      e.set(a).get(a);
      if (op !== "sqrt") {
        pushes.b();
        e.tee(b);
      }
      arm.op(e, op);
      e.set(result);
      pushUsual(e, arm, type, op, locals);
      c.state.get32(STATE.mxcsr);
      e.i32(RELEVANT).op("i32_and").i32(SILENT).op("i32_eq").op("i32_and");
      e.if("i32");
      e.i32(0);
      e.else();
      pushes.slow();
      e.end();
    },
    result: () => e.get(result),
    release: () => e.release(arm.local, ...locals),
  };
}

/** Pushes 1 if the scalar that `push` pushes is a NaN or denormal. */
export function pushUnusualInline(e: CodeEmitter, type: FloatType, push: () => void): void {
  const arm = ARMS.scalar[type];
  const value = e.temporary(type);
  push();
  e.set(value);
  pushZeroOr(e, arm, value, SMALLEST_NORMAL[type]);
  e.op("i32_eqz");
  e.release(type, value);
}

/** Pushes 1 if a lane of the vector that `push` pushes is a NaN or denormal. */
export function pushUnusualLanes(e: CodeEmitter, type: FloatType, push: () => void): void {
  const arm = ARMS.vector[type];
  const value = e.temporary("v128");
  push();
  e.set(value);
  pushZeroOr(e, arm, value, SMALLEST_NORMAL[type]);
  arm.all(e);
  e.op("i32_eqz");
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
