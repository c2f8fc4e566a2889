import type { Definition } from "../definition.ts";
import { STATE } from "../layout.ts";
import type { Lowering, Place } from "../lowering.ts";
import { anyLane, isScalar, KINDS, type Kind, pushFloat, shapesOf, typeOf, unless } from "./simd-float.ts";
import {
  type FloatType,
  fromIntegerChecks,
  integralCheck,
  narrowCheck,
  toIntegerChecks,
  unusualChecks,
} from "./simd-float-checks.ts";
import {
  pushFromIntegerInline,
  pushNarrowInline,
  pushToIntegerInline,
  pushUnusualInline,
} from "./simd-float-inline.ts";
import { pushHalf, pushImmediate, simd, storeLane, storeMmx } from "./simd-operands.ts";

/** CVTSI2SS and CVTSI2SD. */
function scalarFromInteger(type: FloatType, size: 4 | 8): Definition {
  const name = type === "f32" ? "cvtsi2ss" : "cvtsi2sd";
  return simd(name, [`xr${size}`, `xm${size}`], "br", (c, [d, s]) => {
    const value = c.e.temporary("i64");
    s!.signed(size);
    c.e.set(value);
    unless(
      c,
      () => {
        const slow = () => {
          c.e.get(value);
          c.call(fromIntegerChecks[type]);
        };
        if (size === 4 && type === "f64") c.e.i32(0);
        else if (c.whole) slow();
        else pushFromIntegerInline(c, slow);
      },
      () => storeLane(c.e, d!, type, 0, () => c.e.get(value).op(`${type}_convert_i64_s`)),
    );
    c.e.release("i64", value);
  });
}

/** Pushes float `lane` of `place` as a double. */
function pushDouble(c: Lowering, place: Place, type: FloatType, lane: number = 0): void {
  pushFloat(c, place, type, lane);
  if (type === "f32") c.e.op("f64_promote_f32");
}

/** CVTxx2SI and CVTTxx2SI. */
function scalarToInteger(type: FloatType, truncate: boolean, size: 4 | 8): Definition {
  const name = `cvt${truncate ? "t" : ""}${type === "f32" ? "ss" : "sd"}2si`;
  return simd(name, [`r${size}x`, `r${size}m${type === "f32" ? 4 : 8}`], "wr", (c, [d, s]) =>
    unless(
      c,
      () => {
        const limit = size === 4 ? 2 ** 31 : 2 ** 63;
        const slow = () => {
          pushDouble(c, s!, type);
          c.e.f64(limit);
          c.call(toIntegerChecks[truncate ? "truncate" : "round"]);
        };
        if (c.whole) slow();
        else pushToIntegerInline(c, truncate, limit, () => pushDouble(c, s!, type), slow);
      },
      () =>
        d!.store(size, () => {
          pushDouble(c, s!, type);
          c.e.op(truncate ? "f64_trunc" : "f64_nearest").truncSat("i64_trunc_sat_f64_s");
        }),
    ),
  );
}

/** What becomes of the vector that a packed conversion makes: an XMM register, or the low half in an MMX register. */
function store(c: Lowering, place: Place, mmx: boolean, push: () => void): void {
  if (mmx) storeMmx(c.e, place, push);
  else place.storeVector(push);
}

/** Packed floats to 32-bit integers. */
function packedToInteger(name: string, type: FloatType, truncate: boolean): Definition {
  const mmx = name.endsWith("pi");
  const memory = mmx && type === "f32" ? 8 : 16;
  const lanes = type === "f32" && !mmx ? 4 : 2;
  return simd(
    name,
    mmx ? ["qx", `qm${memory}`] : ["xx", `xm${memory}`],
    "wr",
    (c, [d, s]) =>
      unless(
        c,
        () =>
          anyLane(c, lanes, (lane) => {
            pushDouble(c, s!, type, lane);
            c.e.f64(2 ** 31);
            c.call(toIntegerChecks[truncate ? "truncate" : "round"]);
          }),
        () =>
          store(c, d!, mmx, () => {
            if (memory === 8) pushHalf(c.e, s!);
            else s!.vector();
            if (type === "f32") {
              if (!truncate) c.e.simd("f32x4_nearest");
              c.e.simd("i32x4_trunc_sat_f32x4_s");
            } else {
              if (!truncate) c.e.simd("f64x2_nearest");
              c.e.simd("i32x4_trunc_sat_f64x2_s_zero");
            }
          }),
      ),
    { mmx },
  );
}

/** Pushes 32-bit integer `lane` of `place`, sign-extended to 64 bits. */
function pushInteger32(c: Lowering, place: Place, lane: number): void {
  place.lane("i32", lane);
  c.e.op("i64_extend_i32_s");
}

const fromIntegers: readonly Definition[] = [
  simd("cvtdq2ps", ["xx", "xm16"], "wr", (c, [d, s]) =>
    unless(
      c,
      () =>
        anyLane(c, 4, (lane) => {
          pushInteger32(c, s!, lane);
          c.call(fromIntegerChecks.f32);
        }),
      () =>
        d!.storeVector(() => {
          s!.vector();
          c.e.simd("f32x4_convert_i32x4_s");
        }),
    ),
  ),
  simd("cvtdq2pd", ["xx", "xm8"], "wr", (c, [d, s]) =>
    d!.storeVector(() => {
      pushHalf(c.e, s!);
      c.e.simd("f64x2_convert_low_i32x4_s");
    }),
  ),
  ...["xq", "xm8"].flatMap((shape) => [
    simd(
      "cvtpi2pd",
      [shape],
      "wr",
      (c, [d, s]) =>
        d!.storeVector(() => {
          pushHalf(c.e, s!);
          c.e.simd("f64x2_convert_low_i32x4_s");
        }),
      // Memory operands leave the x87 state alone (SDM 2A, CVTPI2PD).
      { mmx: shape === "xq" },
    ),
    simd(
      "cvtpi2ps",
      [shape],
      "br",
      (c, [d, s]) =>
        unless(
          c,
          () =>
            anyLane(c, 2, (lane) => {
              pushInteger32(c, s!, lane);
              c.call(fromIntegerChecks.f32);
            }),
          () =>
            storeLane(c.e, d!, "i64", 0, () => {
              pushHalf(c.e, s!);
              c.e.simd("f32x4_convert_i32x4_s").lane("i64x2_extract_lane", 0);
            }),
        ),
      { mmx: shape === "xq" },
    ),
  ]),
];

const betweenFloats: readonly Definition[] = [
  simd("cvtss2sd", ["xx", "xm4"], "br", (c, [d, s]) =>
    unless(
      c,
      () => {
        const push = () => pushFloat(c, s!, "f32");
        if (c.whole) {
          push();
          c.call(unusualChecks.f32);
        } else pushUnusualInline(c.e, "f32", push);
      },
      () => storeLane(c.e, d!, "f64", 0, () => pushDouble(c, s!, "f32")),
    ),
  ),
  simd("cvtsd2ss", ["xx", "xm8"], "br", (c, [d, s]) =>
    unless(
      c,
      () => {
        const push = () => pushFloat(c, s!, "f64");
        const slow = () => {
          push();
          c.call(narrowCheck);
        };
        if (c.whole) slow();
        else pushNarrowInline(c, push, slow);
      },
      () =>
        storeLane(c.e, d!, "f32", 0, () => {
          pushFloat(c, s!, "f64");
          c.e.op("f32_demote_f64");
        }),
    ),
  ),
  simd("cvtps2pd", ["xx", "xm8"], "wr", (c, [d, s]) =>
    unless(
      c,
      () =>
        anyLane(c, 2, (lane) => {
          pushFloat(c, s!, "f32", lane);
          c.call(unusualChecks.f32);
        }),
      () =>
        d!.storeVector(() => {
          pushHalf(c.e, s!);
          c.e.simd("f64x2_promote_low_f32x4");
        }),
    ),
  ),
  simd("cvtpd2ps", ["xx", "xm16"], "wr", (c, [d, s]) =>
    unless(
      c,
      () =>
        anyLane(c, 2, (lane) => {
          pushFloat(c, s!, "f64", lane);
          c.call(narrowCheck);
        }),
      () =>
        d!.storeVector(() => {
          s!.vector();
          c.e.simd("f32x4_demote_f64x2_zero");
        }),
    ),
  ),
];

const MODES = ["nearest", "floor", "ceil", "trunc"] as const;
/** ROUNDxx: the mode is in the immediate, or (bit 2) in MXCSR; bit 3 keeps inexact results silent. */
function roundTo(kind: Kind): Definition {
  const type = typeOf(kind);
  const lanes = isScalar(kind) ? 1 : type === "f32" ? 4 : 2;
  return simd(`round${kind}`, shapesOf(kind, "i"), isScalar(kind) ? "br" : "wr", (c, [d, s]) => {
    const { e } = c;
    const mode = e.temporary("i32");
    c.state.get32(STATE.mxcsr);
    e.i32(13).op("i32_shr_u").i32(3).op("i32_and");
    pushImmediate(c, 0, 3);
    pushImmediate(c, 0, 4);
    e.op("select").set(mode);
    const results = Array.from({ length: lanes }, () => e.temporary(type));
    results.forEach((result, lane) => {
      pushFloat(c, s!, type, lane);
      e.op(`${type}_nearest`).set(result);
      for (const [number, name] of MODES.entries()) {
        if (number === 0) continue;
        pushFloat(c, s!, type, lane);
        e.op(`${type}_${name}`).get(result).get(mode).i32(number).op("i32_eq").op("select").set(result);
      }
    });
    unless(
      c,
      () =>
        anyLane(c, lanes, (lane) => {
          pushFloat(c, s!, type, lane);
          if (type === "f32") {
            c.call(unusualChecks.f32);
            pushDouble(c, s!, type, lane);
            e.get(results[lane]!).op("f64_promote_f32");
          } else e.get(results[lane]!);
          pushImmediate(c, 0, 8);
          c.call(integralCheck);
          if (type === "f32") e.op("i32_or");
        }),
      () =>
        results.forEach((result, lane) => {
          storeLane(e, d!, type, lane, () => e.get(result));
        }),
    );
    e.release(type, ...results);
    e.release("i32", mode);
  });
}

/** Conversions between integers and floats, and rounding to integral values. */
export const simdConvertDefinitions: readonly Definition[] = [
  ...(["f32", "f64"] as const).flatMap((type) =>
    ([4, 8] as const).flatMap((size) => [
      scalarFromInteger(type, size),
      scalarToInteger(type, true, size),
      scalarToInteger(type, false, size),
    ]),
  ),
  packedToInteger("cvtps2dq", "f32", false),
  packedToInteger("cvttps2dq", "f32", true),
  packedToInteger("cvtpd2dq", "f64", false),
  packedToInteger("cvttpd2dq", "f64", true),
  packedToInteger("cvtps2pi", "f32", false),
  packedToInteger("cvttps2pi", "f32", true),
  packedToInteger("cvtpd2pi", "f64", false),
  packedToInteger("cvttpd2pi", "f64", true),
  ...fromIntegers,
  ...betweenFloats,
  ...KINDS.map(roundTo),
];
