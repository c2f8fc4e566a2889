import type { CodeEmitter } from "@paravirt/wasm-emit";
import type { Definition } from "../definition.ts";
import { defineHelper, type Helper } from "../helpers.ts";
import { ENGINE, STATE } from "../layout.ts";
import type { Place } from "../lowering.ts";
import { byHalves, halvesOf, vex, vexService } from "./avx-operands.ts";
import { isScalar, KINDS, type Kind, typeOf, unless } from "./simd-float.ts";
import type { FloatType } from "./simd-float-checks.ts";
import { storeLane } from "./simd-operands.ts";

/** MXCSR: rounding control, and the precision exception seen already and masked. */
const ROUNDING = 0x6000;
const INEXACT_IS_SILENT = 0x1020;
/** 2 ** 27 + 1: splits a double into halves whose products are exact (Dekker, Veltkamp). */
const SPLITTER = 134217729;

/** The doubles that arithmetic is done on: one, or two side by side. */
type Doubles = "f64" | "v128";

/** Arithmetic on locals of one of the two types, so that what follows is written once. */
class Numbers {
  readonly e: CodeEmitter;
  readonly type: Doubles;
  constructor(e: CodeEmitter, type: Doubles) {
    this.e = e;
    this.type = type;
  }
  local(): number {
    return this.e.local(this.type);
  }
  op(name: "add" | "sub" | "mul"): this {
    if (this.type === "f64") this.e.op(`f64_${name}`);
    else this.e.simd(`f64x2_${name}`);
    return this;
  }
  get(local: number): this {
    this.e.get(local);
    return this;
  }
  set(local: number): this {
    this.e.set(local);
    return this;
  }
  constant(value: number): this {
    if (this.type === "f64") this.e.f64(value);
    else this.e.v128(doubles(value));
    return this;
  }
  /** Pushes whether the number in `local` is zero: an i32, or a mask of lanes. */
  isZero(local: number): void {
    this.get(local).constant(0);
    if (this.type === "f64") this.e.op("f64_eq");
    else this.e.simd("f64x2_eq");
  }
  /** Joins two answers. */
  both(operation: "and" | "or"): void {
    if (this.type === "f64") this.e.op(`i32_${operation}`);
    else this.e.simd(`v128_${operation}`);
  }
  /** Pushes whether the number in `local` is zero or its biased exponent from `least` to `most`. */
  isWithin(local: number, least: number, most: number): void {
    const { e } = this;
    const [first, count] = [BigInt(least) << 53n, BigInt(most - least + 1) << 53n];
    if (this.type === "f64") {
      e.get(local).op("i64_reinterpret_f64").i64(1).op("i64_shl").i64(first).op("i64_sub").i64(count).op("i64_lt_u");
    } else {
      // Signed comparisons: everything is moved down by half the range.
      e.get(local)
        .i32(1)
        .simd("i64x2_shl")
        .v128(quads(-first - MIDDLE))
        .simd("i64x2_add");
      e.v128(quads(count - MIDDLE)).simd("i64x2_lt_s");
    }
    this.isZero(local);
    this.both("or");
  }
  /** Pushes 1 if the answer on the stack is yes in all lanes. */
  everywhere(): void {
    if (this.type === "v128") this.e.simd("i64x2_all_true");
  }
  /** Sets `sum` and `error` to `a + b` rounded, and what that lost (Knuth). */
  twoSum(a: number, b: number, sum: number, error: number): void {
    const virtual = this.e.temporary(this.type);
    this.get(a).get(b).op("add").set(sum);
    this.get(sum).get(a).op("sub").set(virtual);
    this.get(a).get(sum).get(virtual).op("sub").op("sub");
    this.get(b).get(virtual).op("sub").op("add").set(error);
    this.e.release(this.type, virtual);
  }
  /** Makes the last bit of `sum` odd if `error` is not zero: then rounding to fewer bits errs no more than once. */
  roundToOdd(sum: number, error: number): void {
    const { e } = this;
    if (this.type === "f64") {
      const bits = e.temporary("i64");
      e.get(error).f64(0).op("f64_ne");
      e.get(sum).op("i64_reinterpret_f64").tee(bits).i64(1).op("i64_and").op("i64_eqz").op("i32_and").if();
      e.get(bits);
      e.i64(1).i64(-1).get(error).f64(0).op("f64_gt").get(sum).f64(0).op("f64_gt").op("i32_eq").op("select");
      e.op("i64_add").op("f64_reinterpret_i64").set(sum);
      e.end();
      e.release("i64", bits);
      return;
    }
    // One up where the signs are the same, one down where they differ; even ones with an error only.
    e.get(sum);
    e.get(sum).get(error).simd("v128_xor").i32(63).simd("i64x2_shr_s").v128(quads(1n)).simd("v128_or");
    e.get(error).v128(doubles(0)).simd("f64x2_ne").simd("v128_and");
    e.get(sum).v128(quads(1n)).simd("v128_and").v128(quads(0n)).simd("i64x2_eq").simd("v128_and");
    e.simd("i64x2_add").set(sum);
  }
}
const MIDDLE = 1n << 63n;
const quads = (value: bigint) =>
  Array.from({ length: 16 }, (_, i) => Number((BigInt.asUintN(64, value) >> BigInt((i & 7) * 8)) & 0xffn));
const doubles = (value: number) => {
  const bytes = new Uint8Array(16);
  new Float64Array(bytes.buffer).fill(value);
  return bytes;
};

/** Returns 1 unless MXCSR rounds to nearest, and inexactness is silent or there is none by the i32 that `pushExact` pushes. */
function finish(e: CodeEmitter, pushExact: () => void): void {
  const mxcsr = e.temporary("i32");
  e.i32(0).mem("i32_load", STATE.mxcsr).tee(mxcsr).i32(INEXACT_IS_SILENT).op("i32_and").i32(INEXACT_IS_SILENT);
  e.op("i32_eq");
  pushExact();
  e.op("i32_or");
  e.get(mxcsr).i32(ROUNDING).op("i32_and").op("i32_eqz").op("i32_and").op("i32_eqz");
  e.release("i32", mxcsr);
}

/** Returns 1 if the i32 on the stack is 0. */
function leaveUnless(e: CodeEmitter): void {
  e.op("i32_eqz").if();
  e.i32(1).return().end();
}

/**
 * (a, b, c, to) → 0 with `a * b + c`, rounded once, stored at `to`; 1 when it must be computed slowly. Boldo and Melquiond,
 * "Emulation of a FMA and correctly rounded sums" (2008), where nothing overflows or gets denormal on the way.
 */
function fuseDoubles(type: Doubles): Helper {
  return defineHelper(`avx.fma.f64.${type}`, { parameters: [type, type, type, "i32"], results: ["i32"] }, (e) => {
    const [a, b, c, to] = [0, 1, 2, 3];
    const n = new Numbers(e, type);
    n.isWithin(a, 1023 - 400, 1023 + 400);
    n.isWithin(b, 1023 - 400, 1023 + 400);
    n.both("and");
    n.isWithin(c, 1023 - 800, 1023 + 900);
    n.both("and");
    n.everywhere();
    leaveUnless(e);
    const [aHigh, aLow, bHigh, bLow, uh, ul] = [n.local(), n.local(), n.local(), n.local(), n.local(), n.local()];
    const [th, tl, vh, vl] = [n.local(), n.local(), n.local(), n.local()];
    const [z, lost, result, rest] = [n.local(), n.local(), n.local(), n.local()];
    for (const [whole, high, low] of [
      [a, aHigh, aLow],
      [b, bHigh, bLow],
    ] as const) {
      n.get(whole).constant(SPLITTER).op("mul").set(high);
      n.get(high).get(high).get(whole).op("sub").op("sub").set(high);
      n.get(whole).get(high).op("sub").set(low);
    }
    n.get(a).get(b).op("mul").set(uh);
    n.get(aHigh).get(bHigh).op("mul").get(uh).op("sub");
    n.get(aHigh).get(bLow).op("mul").op("add");
    n.get(aLow).get(bHigh).op("mul").op("add");
    n.get(aLow).get(bLow).op("mul").op("add").set(ul);
    n.twoSum(c, ul, th, tl);
    n.twoSum(uh, th, vh, vl);
    n.twoSum(tl, vl, z, lost);
    n.roundToOdd(z, lost);
    n.twoSum(vh, z, result, rest);
    // Beside a product of zero, which is exact, what is added decides: its sign would get lost above.
    e.get(to).get(uh).get(c);
    n.op("add").get(result);
    n.isZero(uh);
    if (type === "f64") e.op("select").mem("f64_store");
    else e.simd("v128_bitselect").simdMem("v128_store");
    finish(e, () => {
      n.isZero(rest);
      n.isZero(lost);
      n.both("and");
      n.everywhere();
    });
  });
}

/** Pushes two singles of the v128 or the one f32 parameter as doubles. */
function pushWide(e: CodeEmitter, type: Doubles, parameter: number, upper: boolean): void {
  e.get(parameter);
  if (type === "f64") e.op("f64_promote_f32");
  else {
    if (upper) e.get(parameter).shuffle(UPPER);
    e.simd("f64x2_promote_low_f32x4");
  }
}
const UPPER = [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7];
const LOWER_HALVES = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];

/** The same for a single, or four: their products are exact in doubles. */
function fuseSingles(type: Doubles): Helper {
  const single = type === "f64" ? "f32" : "v128";
  return defineHelper(`avx.fma.f32.${type}`, { parameters: [single, single, single, "i32"], results: ["i32"] }, (e) => {
    const to = 3;
    const n = new Numbers(e, type);
    const steps = type === "f64" ? [false] : [false, true];
    const inexact = n.local();
    const narrow = steps.map(() => e.local(single));
    const [product, sum, lost, back] = [n.local(), n.local(), n.local(), n.local()];
    const wide = [n.local(), n.local(), n.local()];
    steps.forEach((upper, step) => {
      // Zero or normal.
      wide.forEach((local, parameter) => {
        pushWide(e, type, parameter, upper);
        e.set(local);
        n.isWithin(local, 1023 - 126, 1023 + 127);
        if (parameter > 0) n.both("and");
      });
      n.everywhere();
      leaveUnless(e);
      n.get(wide[0]!).get(wide[1]!).op("mul").set(product);
      n.twoSum(product, wide[2]!, sum, lost);
      n.roundToOdd(sum, lost);
      e.get(sum);
      if (type === "f64") e.op("f32_demote_f64").tee(narrow[step]!).op("f64_promote_f32").set(back);
      else e.simd("f32x4_demote_f64x2_zero").tee(narrow[step]!).simd("f64x2_promote_low_f32x4").set(back);
      // The least normal result may have been tiny before it was rounded; zero must be exact.
      n.isWithin(back, 1023 - 125, 1023 + 127);
      n.isZero(back);
      n.isZero(sum);
      if (type === "f64") e.op("i32_eq");
      else e.simd("i64x2_eq");
      n.both("and");
      n.everywhere();
      leaveUnless(e);
      // What both steps lost, as one number that is zero if there is none: differences are exact or not zero.
      n.get(back).get(sum).op("sub").set(back);
      e.get(back);
      if (type === "f64") e.op("f64_abs").get(lost).op("f64_abs");
      else e.simd("f64x2_abs").get(lost).simd("f64x2_abs");
      n.op("add").get(inexact).op("add").set(inexact);
    });
    e.get(to).get(narrow[0]!);
    if (type === "f64") e.mem("f32_store");
    else e.get(narrow[1]!).shuffle(LOWER_HALVES).simdMem("v128_store");
    finish(e, () => {
      n.isZero(inexact);
      n.everywhere();
    });
  });
}
const FUSE: Readonly<Record<FloatType, Readonly<Record<"scalar" | "vector", Helper>>>> = {
  f32: { scalar: fuseSingles("f64"), vector: fuseSingles("v128") },
  f64: { scalar: fuseDoubles("f64"), vector: fuseDoubles("v128") },
};
/** Sign bits of the lanes that `negated` names: even, odd. */
const signMask = (size: 4 | 8, negated: readonly [boolean, boolean]) =>
  Array.from({ length: 16 }, (_, i) => (i % size === size - 1 && negated[Math.floor(i / size) & 1] ? 0x80 : 0));

/** Operands of each order as factor, factor, addend. */
const ORDERS: Readonly<Record<string, readonly [number, number, number]>> = {
  "132": [0, 2, 1],
  "213": [1, 0, 2],
  "231": [1, 2, 0],
};
/** Whether the product is negated, and whether the addend is in even and in odd lanes. */
interface Signs {
  readonly product: boolean;
  readonly addend: readonly [even: boolean, odd: boolean];
}
const SIGNS: Readonly<Record<string, Signs>> = {
  fmadd: { product: false, addend: [false, false] },
  fmsub: { product: false, addend: [true, true] },
  fnmadd: { product: true, addend: [false, false] },
  fnmsub: { product: true, addend: [true, true] },
  fmaddsub: { product: false, addend: [true, false] },
  fmsubadd: { product: false, addend: [false, true] },
};

/** A fused multiplication and addition: what it is called and what it does, for the definition and for JavaScript. */
export interface Fused {
  readonly name: string;
  readonly kind: Kind;
  readonly order: readonly [number, number, number];
  readonly signs: Signs;
}

/** All of FMA3. */
export const FUSED: readonly Fused[] = Object.entries(SIGNS).flatMap(([operation, signs]) =>
  KINDS.filter((kind) => !isScalar(kind) || signs.addend[0] === signs.addend[1]).flatMap((kind) =>
    Object.entries(ORDERS).map(([digits, order]) => ({ name: `v${operation}${digits}${kind}`, kind, order, signs })),
  ),
);

function fused({ name, kind, order, signs }: Fused): Definition {
  const type = typeOf(kind);
  const scalar = isScalar(kind);
  const size = type === "f32" ? 4 : 8;
  const shapes = scalar ? ["xxx", `xxm${size}`] : ["xxx", "xxm16", "yyy", "yym32"];
  return vex(name, shapes, "brr", (c, operands, shape) => {
    const { e } = c;
    const destination = operands[0]!;
    byHalves(
      c,
      destination,
      halvesOf(shape),
      (target, half) => {
        const [a, b, addend] = order.map((index) => (scalar ? operands[index]! : half.of(operands[index]!)));
        unless(
          c,
          () => {
            const push = (place: Place, negated: readonly [boolean, boolean]) => {
              if (scalar) {
                place.lane(type, 0);
                if (negated[0]) e.op(`${type}_neg`);
                return;
              }
              place.vector();
              if (negated[0] || negated[1]) e.v128(signMask(size, negated)).simd("v128_xor");
            };
            push(a!, [signs.product, signs.product]);
            push(b!, [false, false]);
            push(addend!, signs.addend);
            e.i32(ENGINE.lanes);
            c.call(FUSE[type][scalar ? "scalar" : "vector"]);
          },
          () => {
            if (scalar) storeLane(e, target, type, 0, () => e.i32(ENGINE.lanes).mem(`${type}_load`));
            else target.storeVector(() => e.i32(ENGINE.lanes).simdMem("v128_load"));
          },
        );
      },
      scalar ? { initial: destination } : {},
    );
  });
}

/** FMA and F16C. */
export function avxFloatDefinitions(): readonly Definition[] {
  return [
    ...FUSED.map(fused),
    vexService("vcvtph2ps", ["xx", "xm8", "yx", "ym16"]),
    vexService("vcvtps2ph", ["xxi", "m8xi", "xyi", "m16yi"]),
  ];
}
