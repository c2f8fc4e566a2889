import type { CodeEmitter } from "@paravirt/wasm-emit";
import { defineHelper, type Helper } from "../helpers.ts";
import { STATE } from "../layout.ts";

/**
 * Whether WebAssembly's own arithmetic gives what the processor would, exceptions included. Each check answers 0 when it
 * does: operands and result are zero or normal, rounding is to nearest, and the result is exact or inexactness would change
 * nothing. Everything else is computed in `soft-float.ts`.
 */

/** MXCSR: precision exception seen already, and masked. */
const INEXACT_IS_SILENT = 0x1020;
const ROUNDING = 0x6000;

export type FloatType = "f32" | "f64";
export type Arithmetic = "add" | "sub" | "mul" | "div" | "sqrt";

/** Of each type: the bits shifted left by one, so that the sign is gone. */
interface Shape {
  readonly integer: "i32" | "i64";
  readonly fraction: number;
  readonly reinterpret: "i32_reinterpret_f32" | "i64_reinterpret_f64";
}
const SHAPES: Readonly<Record<FloatType, Shape>> = {
  f32: { integer: "i32", fraction: 23, reinterpret: "i32_reinterpret_f32" },
  f64: { integer: "i64", fraction: 52, reinterpret: "i64_reinterpret_f64" },
};

/** Pushes an integer constant whose upper part is `value` exponent units of the doubled bits. */
function pushExponent(e: CodeEmitter, type: FloatType, value: number): void {
  if (type === "f32") e.i32((value * 2 ** 24) | 0);
  else e.i64(BigInt(value) << 53n);
}

/** Pushes whether the float in `local` is normal with a biased exponent of `least` or more; zero when `zeroToo`. */
function pushOrdinary(e: CodeEmitter, type: FloatType, local: number, least: number, zeroToo: boolean): void {
  const { integer, reinterpret } = SHAPES[type];
  const doubled = e.temporary(integer);
  e.get(local).op(reinterpret);
  if (integer === "i32") e.i32(1);
  else e.i64(1);
  e.op(`${integer}_shl`).tee(doubled);
  pushExponent(e, type, least);
  e.op(`${integer}_sub`);
  pushExponent(e, type, (type === "f32" ? 255 : 2047) - least);
  e.op(`${integer}_lt_u`);
  if (zeroToo) e.get(doubled).op(`${integer}_eqz`).op("i32_or");
  e.release(integer, doubled);
}

/** Returns `value` from the function if the i32 on the stack is not 0. */
function returnIf(e: CodeEmitter, value: number): void {
  e.if();
  e.i32(value).return();
  e.end();
}

/** Ends a check: rounding other than to nearest is slow unless `exactIsEnough`; then only inexact results matter. */
function finish(e: CodeEmitter, pushExact: () => void, exactIsEnough: boolean): void {
  const mxcsr = e.temporary("i32");
  e.i32(0).mem("i32_load", STATE.mxcsr).set(mxcsr);
  if (exactIsEnough) {
    e.get(mxcsr)
      .i32(INEXACT_IS_SILENT | ROUNDING)
      .op("i32_and")
      .i32(INEXACT_IS_SILENT)
      .op("i32_eq");
    returnIf(e, 0);
  } else {
    e.get(mxcsr).i32(ROUNDING).op("i32_and");
    returnIf(e, 1);
    e.get(mxcsr).i32(INEXACT_IS_SILENT).op("i32_and").i32(INEXACT_IS_SILENT).op("i32_eq");
    returnIf(e, 0);
  }
  pushExact();
  e.op("i32_eqz");
  e.release("i32", mxcsr);
}

/** (a, b) → 1 when the product of two finite doubles needs no more than 53 bits. */
const exactProduct: Helper = defineHelper(
  "simd.exactProduct",
  { parameters: ["f64", "f64"], results: ["i32"] },
  (e) => {
    const odd = [0, 1].map((parameter) => {
      const mantissa = e.local("i64");
      e.get(parameter)
        .op("i64_reinterpret_f64")
        .i64((1n << 52n) - 1n)
        .op("i64_and");
      e.i64(1n << 52n)
        .op("i64_or")
        .tee(mantissa)
        .get(mantissa)
        .op("i64_ctz")
        .op("i64_shr_u")
        .set(mantissa);
      return mantissa;
    });
    const bits = e.local("i64");
    e.i64(128).get(odd[0]!).op("i64_clz").op("i64_sub").get(odd[1]!).op("i64_clz").op("i64_sub").set(bits);
    e.get(bits).i64(54).op("i64_gt_u");
    returnIf(e, 0);
    e.get(odd[0]!)
      .get(odd[1]!)
      .op("i64_mul")
      .i64(1n << 53n)
      .op("i64_lt_u");
  },
);

/** Pushes whether `result = a + b` lost nothing (Knuth's two-sum). */
function pushExactSum(e: CodeEmitter, type: FloatType, a: number, pushB: () => void, result: number): void {
  const virtual = e.temporary(type);
  e.get(result).get(a).op(`${type}_sub`).set(virtual);
  e.get(a).get(result).get(virtual).op(`${type}_sub`).op(`${type}_sub`);
  pushB();
  e.get(virtual).op(`${type}_sub`).op(`${type}_add`);
  if (type === "f32") e.f32(0);
  else e.f64(0);
  e.op(`${type}_eq`);
  e.release(type, virtual);
}

const pushPromoted = (e: CodeEmitter, local: number) => e.get(local).op("f64_promote_f32");

function pushExact(
  e: CodeEmitter,
  call: (helper: Helper) => void,
  op: Arithmetic,
  type: FloatType,
  result: number,
): void {
  const [a, b] = [0, 1];
  if (op === "add" || op === "sub") {
    pushExactSum(e, type, a, () => (op === "add" ? e.get(b) : e.get(b).op(`${type}_neg`)), result);
    return;
  }
  // A factor, another factor and their product: a*b=r, r*b=a, r*r=a.
  const [x, y, product] = op === "mul" ? [a, b, result] : op === "div" ? [result, b, a] : [result, result, a];
  if (type === "f32") {
    // Products of singles are exact in doubles.
    pushPromoted(e, x);
    pushPromoted(e, y);
    e.op("f64_mul");
    pushPromoted(e, product);
    e.op("f64_eq");
    return;
  }
  e.get(x).get(y);
  call(exactProduct);
  e.get(x).get(y).op("f64_mul").get(product).op("f64_eq").op("i32_and");
  // Zero has no odd part.
  e.get(result).f64(0).op("f64_eq").op("i32_or");
}

function arithmeticCheck(op: Arithmetic, type: FloatType): Helper {
  return defineHelper(`simd.${op}.${type}`, { parameters: [type, type], results: ["i32"] }, (e, call) => {
    const [a, b] = [0, 1];
    const result = e.local(type);
    e.get(a);
    if (op !== "sqrt") e.get(b);
    e.op(`${type}_${op}`).set(result);
    pushOrdinary(e, type, a, 1, true);
    if (op !== "sqrt") {
      pushOrdinary(e, type, b, 1, true);
      e.op("i32_and");
    }
    // The least normal result may have been tiny before it was rounded.
    pushOrdinary(e, type, result, op === "mul" || op === "div" ? 2 : 1, op !== "mul" && op !== "div");
    if (op === "mul" || op === "div") {
      // Zero is exact only when a factor is.
      const pushZeroFactor = (local: number) => {
        e.get(local);
        if (type === "f32") e.f32(0);
        else e.f64(0);
        e.op(`${type}_eq`);
      };
      pushZeroFactor(result);
      pushZeroFactor(a);
      if (op === "mul") {
        pushZeroFactor(b);
        e.op("i32_or");
      }
      e.op("i32_and").op("i32_or");
    }
    e.op("i32_and").op("i32_eqz");
    returnIf(e, 1);
    finish(e, () => pushExact(e, call, op, type, result), false);
  });
}

const ARITHMETIC = ["add", "sub", "mul", "div", "sqrt"] as const;
const table = <T>(make: (op: Arithmetic, type: FloatType) => T) =>
  Object.fromEntries(ARITHMETIC.map((op) => [op, { f32: make(op, "f32"), f64: make(op, "f64") }])) as Readonly<
    Record<Arithmetic, Readonly<Record<FloatType, T>>>
  >;

/** (a, b) → 1 when the operation must be done slowly; the square root ignores `b`. */
export const arithmeticChecks: Readonly<Record<Arithmetic, Readonly<Record<FloatType, Helper>>>> =
  table(arithmeticCheck);

function unusual(type: FloatType): Helper {
  return defineHelper(`simd.unusual.${type}`, { parameters: [type], results: ["i32"] }, (e) => {
    const { integer, reinterpret } = SHAPES[type];
    const doubled = e.local(integer);
    e.get(0).op(reinterpret);
    if (integer === "i32") e.i32(1);
    else e.i64(1);
    e.op(`${integer}_shl`).tee(doubled);
    pushExponent(e, type, 1);
    e.op(`${integer}_sub`);
    pushExponent(e, type, type === "f32" ? 254 : 2046);
    e.op(`${integer}_gt_u`).get(doubled).op(`${integer}_eqz`).op("i32_eqz").op("i32_and");
  });
}
/** (a) → 1 for NaNs and denormals: comparing or widening them raises exceptions. */
export const unusualChecks: Readonly<Record<FloatType, Helper>> = { f32: unusual("f32"), f64: unusual("f64") };

/** (a) → 1 when narrowing a double to a single must be done slowly. */
export const narrowCheck: Helper = defineHelper("simd.narrow", { parameters: ["f64"], results: ["i32"] }, (e) => {
  const result = e.local("f32");
  e.get(0).op("f32_demote_f64").set(result);
  pushOrdinary(e, "f64", 0, 1, true);
  pushOrdinary(e, "f32", result, 2, false);
  e.get(0).f64(0).op("f64_eq").op("i32_or").op("i32_and").op("i32_eqz");
  returnIf(e, 1);
  finish(e, () => e.get(result).op("f64_promote_f32").get(0).op("f64_eq"), true);
});

function fromInteger(type: FloatType): Helper {
  return defineHelper(`simd.fromInteger.${type}`, { parameters: ["i64"], results: ["i32"] }, (e) => {
    const result = e.local("f64");
    e.get(0).op(`${type}_convert_i64_s`);
    if (type === "f32") e.op("f64_promote_f32");
    e.set(result);
    finish(
      e,
      () => {
        e.get(result).truncSat("i64_trunc_sat_f64_s").get(0).op("i64_eq");
        e.get(result)
          .f64(2 ** 63)
          .op("f64_lt")
          .op("i32_and");
      },
      true,
    );
  });
}
/** (integer) → 1 when its conversion must be done slowly. */
export const fromIntegerChecks: Readonly<Record<FloatType, Helper>> = {
  f32: fromInteger("f32"),
  f64: fromInteger("f64"),
};

function toInteger(truncate: boolean): Helper {
  return defineHelper("simd.toInteger", { parameters: ["f64", "f64"], results: ["i32"] }, (e) => {
    const [a, limit] = [0, 1];
    const result = e.local("f64");
    e.get(a)
      .op(truncate ? "f64_trunc" : "f64_nearest")
      .set(result);
    e.get(result).get(limit).op("f64_lt").get(result).get(limit).op("f64_neg").op("f64_ge").op("i32_and").op("i32_eqz");
    returnIf(e, 1);
    if (truncate) {
      e.i32(0).mem("i32_load", STATE.mxcsr).i32(INEXACT_IS_SILENT).op("i32_and").i32(INEXACT_IS_SILENT).op("i32_eq");
      returnIf(e, 0);
      e.get(result).get(a).op("f64_ne");
    } else finish(e, () => e.get(result).get(a).op("f64_eq"), true);
  });
}
/** (float, 2 ** (bits - 1)) → 1 when its conversion to an integer of that many bits must be done slowly. */
export const toIntegerChecks: Readonly<Record<"truncate" | "round", Helper>> = {
  truncate: toInteger(true),
  round: toInteger(false),
};

/** (float, integral value of it, 1 when inexact results raise nothing) → 1 when ROUNDxx must be done slowly. */
export const integralCheck: Helper = defineHelper(
  "simd.integral",
  { parameters: ["f64", "f64", "i32"], results: ["i32"] },
  (e) => {
    pushOrdinary(e, "f64", 0, 1, true);
    e.op("i32_eqz");
    returnIf(e, 1);
    e.get(2);
    returnIf(e, 0);
    e.i32(0).mem("i32_load", STATE.mxcsr).i32(INEXACT_IS_SILENT).op("i32_and").i32(INEXACT_IS_SILENT).op("i32_eq");
    returnIf(e, 0);
    e.get(0).get(1).op("f64_ne");
  },
);
