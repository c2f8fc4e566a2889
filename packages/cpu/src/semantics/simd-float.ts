import type { SimdName } from "@paravirt/wasm-emit";
import type { Definition } from "../definition.ts";
import { STATE } from "../layout.ts";
import { FACT, type Lowering, type Place } from "../lowering.ts";
import { type Arithmetic, arithmeticChecks, type FloatType, unusualChecks } from "./simd-float-checks.ts";
import { type InlineOperand, inlineArithmetic, pushUnusualInline, pushUnusualLanes } from "./simd-float-inline.ts";
import { pushImmediate, simd, storeLane } from "./simd-operands.ts";

/** The four kinds of SSE arithmetic: packed or scalar, single or double. */
export type Kind = "ps" | "pd" | "ss" | "sd";
export const KINDS = ["ps", "pd", "ss", "sd"] as const;
export const typeOf = (kind: Kind): FloatType => (kind[1] === "s" ? "f32" : "f64");
export const isScalar = (kind: Kind): boolean => kind[0] === "s";
const laneCount = (kind: Kind) => (isScalar(kind) ? 1 : kind === "ps" ? 4 : 2);
const sizeOf = (kind: Kind) => (kind === "ss" ? 4 : kind === "sd" ? 8 : 16);
/** What is known of a register all whose lanes of this kind are zero or normal: see {@link Place.facts}. */
const FACTS: Readonly<Record<Kind, number>> = { ss: FACT.f32[0], ps: FACT.f32[1], sd: FACT.f64[0], pd: FACT.f64[1] };
/** Operand forms of an instruction of this kind. */
export const shapesOf = (kind: Kind, suffix: string = ""): string[] => [`xx${suffix}`, `xm${sizeOf(kind)}${suffix}`];
const vectorType = (kind: Kind) => (typeOf(kind) === "f32" ? "f32x4" : "f64x2");

/** Pushes float number `index` of a vector or memory operand. */
export function pushFloat(_c: Lowering, place: Place, type: FloatType, index: number = 0): void {
  place.lane(type, index);
}

/** Lets JavaScript execute the instruction if the i32 that `pushSlow` leaves is not 0. */
export function unless(c: Lowering, pushSlow: () => void, fast: () => void): void {
  pushSlow();
  c.e.if();
  c.service();
  c.e.end();
  c.reachable();
  fast();
}

/** Pushes the disjunction of `check` on each of `count` lanes. */
export function anyLane(c: Lowering, count: number, check: (lane: number) => void): void {
  for (let lane = 0; lane < count; lane++) {
    check(lane);
    if (lane > 0) c.e.op("i32_or");
  }
}

function arithmetic(op: Arithmetic, kind: Kind): Definition {
  const type = typeOf(kind);
  const check = arithmeticChecks[op][type];
  const emit: Definition["emit"] = (c, [d, s]) => {
    const { e } = c;
    const first = op === "sqrt" ? s! : d!;
    const pushFirst = (lane: number) => pushFloat(c, first, type, lane);
    const pushSlow = () =>
      anyLane(c, laneCount(kind), (lane) => {
        pushFirst(lane);
        pushFloat(c, s!, type, lane);
        c.call(check);
      });
    if (c.floatBound) {
      const scalar = isScalar(kind);
      const facts = FACTS[kind];
      const operand = (place: Place): InlineOperand => ({
        push: () => (scalar ? pushFloat(c, place, type) : place.vector()),
        ordinary: (place.facts & facts) === facts,
      });
      const result = inlineArithmetic(c, op, type, !scalar, {
        a: operand(first),
        b: op === "sqrt" ? undefined : operand(s!),
        pushSlow,
      });
      // The operands passed, too; a scalar leaves the rest of its register alone.
      s!.facts |= facts;
      const after = scalar ? d!.facts | facts : facts;
      if (scalar) storeLane(e, d!, type, 0, () => e.get(result));
      else d!.storeVector(() => e.get(result));
      d!.facts = after;
      e.release(scalar ? type : "v128", result);
      return;
    }
    unless(c, pushSlow, () => {
      if (isScalar(kind)) {
        storeLane(e, d!, type, 0, () => {
          pushFirst(0);
          if (op !== "sqrt") pushFloat(c, s!, type);
          e.op(`${type}_${op}`);
        });
        return;
      }
      d!.storeVector(() => {
        if (op !== "sqrt") d!.vector();
        s!.vector();
        e.simd(`${vectorType(kind)}_${op}` as SimdName);
      });
    });
  };
  return simd(`${op}${kind}`, shapesOf(kind), "br", emit, {
    floats: `${type}.${isScalar(kind) ? "scalar" : "vector"}`,
  });
}

function pushUnusual(c: Lowering, kind: Kind, ...places: Place[]): void {
  const type = typeOf(kind);
  if (!c.whole) {
    places.forEach((place, index) => {
      if (isScalar(kind)) pushUnusualInline(c.e, type, () => pushFloat(c, place, type));
      else pushUnusualLanes(c.e, type, () => place.vector());
      if (index > 0) c.e.op("i32_or");
    });
    return;
  }
  anyLane(c, laneCount(kind) * places.length, (index) => {
    pushFloat(c, places[index % places.length]!, type, Math.floor(index / places.length));
    c.call(unusualChecks[type]);
  });
}

/** The source, unless the destination is truly less (greater): what WebAssembly calls pseudo-minimum, operands swapped. */
function extremum(op: "min" | "max", kind: Kind): Definition {
  const type = typeOf(kind);
  return simd(`${op}${kind}`, shapesOf(kind), "br", (c, [d, s]) =>
    unless(
      c,
      () => pushUnusual(c, kind, d!, s!),
      () => {
        if (isScalar(kind)) {
          storeLane(c.e, d!, type, 0, () => {
            pushFloat(c, d!, type);
            pushFloat(c, s!, type);
            pushFloat(c, d!, type);
            pushFloat(c, s!, type);
            c.e.op(`${type}_${op === "min" ? "lt" : "gt"}`).op("select");
          });
          return;
        }
        d!.storeVector(() => {
          s!.vector();
          d!.vector();
          c.e.simd(`${vectorType(kind)}_p${op}` as SimdName);
        });
      },
    ),
  );
}

/** CMPxx: predicate in the immediate's low three bits; from 4 on the negations of 0 to 3. */
function comparison(kind: Kind): Definition {
  const lanes = vectorType(kind);
  const type = typeOf(kind);
  return simd(`cmp${kind}`, shapesOf(kind, "i"), "br", (c, [d, s]) => {
    const { e } = c;
    unless(
      c,
      () => pushUnusual(c, kind, d!, s!),
      () => {
        const [a, b] = [e.temporary("v128"), e.temporary("v128")];
        const predicate = e.temporary("i32");
        d!.vector();
        e.set(a);
        if (isScalar(kind)) {
          s!.low(type === "f32" ? 4 : 8);
        } else s!.vector();
        e.set(b);
        pushImmediate(c, 0, 7);
        e.set(predicate);
        const result = e.temporary("v128");
        // Without NaNs: equal, less, less or equal, never.
        const pushIf = (value: number) =>
          e.i32(0).get(predicate).i32(3).op("i32_and").i32(value).op("i32_eq").op("i32_sub").simd("i32x4_splat");
        (["eq", "lt", "le"] as const).forEach((op, value) => {
          e.get(a)
            .get(b)
            .simd(`${lanes}_${op}` as SimdName);
          pushIf(value);
          e.simd("v128_and");
          if (value > 0) e.simd("v128_or");
        });
        e.i32(0).get(predicate).i32(2).op("i32_shr_u").op("i32_sub").simd("i32x4_splat").simd("v128_xor").set(result);
        if (isScalar(kind)) {
          storeLane(e, d!, type === "f32" ? "i32" : "i64", 0, () =>
            e.get(result).lane(type === "f32" ? "i32x4_extract_lane" : "i64x2_extract_lane", 0),
          );
        } else d!.storeVector(() => e.get(result));
        e.release("v128", a, b, result);
        e.release("i32", predicate);
      },
    );
  });
}

/** COMISx and UCOMISx: they differ in what quiet NaNs raise only. */
function flagComparison(name: string, kind: "ss" | "sd"): Definition {
  const type = typeOf(kind);
  return simd(`${name}${kind}`, shapesOf(kind), "rr", (c, [a, b]) => {
    const { e } = c;
    unless(
      c,
      () => pushUnusual(c, kind, a!, b!),
      () => {
        // Ordered: SF, OF, AF and PF are 0. Any odd number has a parity of 0, also a zero that the delta turns into one.
        const equal = e.temporary("i64");
        const different = e.temporary("i64");
        const push = (op: "eq" | "lt") => {
          pushFloat(c, a!, type);
          pushFloat(c, b!, type);
          e.op(`${type}_${op}`).op("i64_extend_i32_u");
        };
        push("eq");
        e.tee(equal).i64(1).op("i64_xor").set(different);
        const pushLess = () => {
          push("lt");
          e.i64(63).op("i64_shl");
        };
        c.flags.explicit(
          pushLess,
          () => e.i64(0),
          () => e.i64(0),
          different,
        );
        c.state.set64(STATE.flagDelta, () => e.get(equal));
        e.release("i64", equal, different);
      },
    );
  });
}

/** HADDPx, HSUBPx, ADDSUBPx: `pick` names the operands of each lane: 0 and up the destination's, from `count` on the source's. */
function mixed(
  name: string,
  kind: "ps" | "pd",
  pick: (lane: number, count: number) => { readonly op: "add" | "sub"; readonly a: number; readonly b: number },
): Definition {
  const type = typeOf(kind);
  const count = laneCount(kind);
  return simd(`${name}${kind}`, shapesOf(kind), "br", (c, [d, s]) => {
    const { e } = c;
    const push = (index: number) => pushFloat(c, index < count ? d! : s!, type, index % count);
    unless(
      c,
      () =>
        anyLane(c, count, (lane) => {
          const { op, a, b } = pick(lane, count);
          push(a);
          push(b);
          c.call(arithmeticChecks[op][type]);
        }),
      () =>
        d!.storeVector(() => {
          for (let lane = 0; lane < count; lane++) {
            const { op, a, b } = pick(lane, count);
            push(a);
            push(b);
            e.op(`${type}_${op}`);
            if (lane === 0) e.simd(`${vectorType(kind)}_splat` as SimdName);
            else e.lane(type === "f32" ? "f32x4_replace_lane" : "f64x2_replace_lane", lane);
          }
        }),
    );
  });
}

/** Instructions that JavaScript always executes: approximations and dot products. */
const inJavaScript: readonly Definition[] = [
  ...["rcp", "rsqrt"].flatMap((name) =>
    (["ps", "ss"] as const).map((kind) => simd(`${name}${kind}`, shapesOf(kind), "br", (c) => c.service())),
  ),
  ...(["ps", "pd"] as const).map((kind) => simd(`dp${kind}`, shapesOf(kind, "i"), "br", (c) => c.service())),
];

/** Floating-point arithmetic and comparisons. */
export const simdFloatDefinitions: readonly Definition[] = [
  ...(["add", "sub", "mul", "div", "sqrt"] as const).flatMap((op) => KINDS.map((kind) => arithmetic(op, kind))),
  ...(["min", "max"] as const).flatMap((op) => KINDS.map((kind) => extremum(op, kind))),
  ...KINDS.map(comparison),
  ...["comi", "ucomi"].flatMap((name) => (["ss", "sd"] as const).map((kind) => flagComparison(name, kind))),
  ...(["ps", "pd"] as const).flatMap((kind) => [
    mixed("hadd", kind, (lane) => ({ op: "add", a: lane * 2, b: lane * 2 + 1 })),
    mixed("hsub", kind, (lane) => ({ op: "sub", a: lane * 2, b: lane * 2 + 1 })),
    mixed("addsub", kind, (lane, count) => ({ op: lane & 1 ? "add" : "sub", a: lane, b: count + lane })),
  ]),
  ...inJavaScript,
];
