import type { CodeEmitter, SimdName } from "@paravirt/wasm-emit";
import type { Definition } from "../definition.ts";
import type { Lowering, Place } from "../lowering.ts";
import { byHalves, type Half, halvesOf, vex } from "./avx-operands.ts";
import { IOTA } from "./simd-integer.ts";
import { pushChosenLane, pushImmediate, pushZero } from "./simd-operands.ts";

const LANES = { 1: ["u8", "i8x16"], 2: ["u16", "i16x8"], 4: ["i32", "i32x4"], 8: ["i64", "i64x2"] } as const;

/** Repeats the source's lowest lane. */
function broadcast(name: string, size: 1 | 2 | 4 | 8): Definition {
  const [lane, vector] = LANES[size];
  return vex(name, ["xx", `xm${size}`, "yx", `ym${size}`], "wr", (c, [d, s], shape) => {
    const value = c.e.temporary("v128");
    s!.lane(lane, 0);
    c.e.simd(`${vector}_splat`).set(value);
    storeBoth(c, d!, halvesOf(shape), value);
  });
}

/** Stores the v128 local `value`, which is given back, in both halves or in the lower one alone. */
function storeBoth(c: Lowering, destination: Place, halves: 1 | 2, value: number): void {
  destination.storeVector(() => c.e.get(value));
  destination.upper().storeVector(() => {
    if (halves === 2) c.e.get(value);
    else pushZero(c.e);
  });
  c.e.release("v128", value);
}

const broadcastHalf = (name: string): Definition =>
  vex(name, ["ym16"], "wr", (c, [d, s]) => {
    const value = c.e.temporary("v128");
    s!.vector();
    c.e.set(value);
    storeBoth(c, d!, 2, value);
  });

/** Stores two v128 locals, which are given back. */
function storePair(c: Lowering, destination: Place, low: number, high: number): void {
  destination.storeVector(() => c.e.get(low));
  destination.upper().storeVector(() => c.e.get(high));
  c.e.release("v128", low, high);
}

/** Pushes all ones in every lane if bit `bit` of the immediate is set, else zero. */
function pushImmediateMask(c: Lowering, bit: number): void {
  c.e.i32(0);
  pushImmediate(c, bit, 1);
  c.e.op("i32_sub").simd("i32x4_splat");
}

/** VINSERTF128: one half is replaced. */
const insert = (name: string): Definition =>
  vex(name, ["yyxi", "yym16i"], "wrr", (c, [d, a, s]) => {
    const { e } = c;
    const [low, high] = [e.temporary("v128"), e.temporary("v128")];
    for (const [local, place, first] of [
      [low, a!, false],
      [high, a!.upper(), true],
    ] as const) {
      (first ? s! : place).vector();
      (first ? place : s!).vector();
      pushImmediateMask(c, 0);
      e.simd("v128_bitselect").set(local);
    }
    storePair(c, d!, low, high);
  });

/** VEXTRACTF128: one half in a register or memory. */
const extract = (name: string): Definition =>
  vex(name, ["xyi", "m16yi"], "wr", (c, [d, s], { memory }) => {
    const { e } = c;
    const value = e.temporary("v128");
    s!.upper().vector();
    s!.vector();
    pushImmediateMask(c, 0);
    e.simd("v128_bitselect").set(value);
    if (memory === 0) {
      d!.storeVector(() => e.get(value));
      e.release("v128", value);
    } else storeBoth(c, d!, 1, value);
  });

/** VPERM2F128: four bits of the immediate for each half choose one of four halves, or zero. */
const permuteHalves = (name: string): Definition =>
  vex(name, ["yyyi", "yym32i"], "wrr", (c, [d, a, b]) => {
    const { e } = c;
    const locals = [0, 4].map((shift) => {
      const local = e.temporary("v128");
      const pair = (place: Place) => {
        place.upper().vector();
        place.vector();
        pushImmediateMask(c, shift);
        e.simd("v128_bitselect");
      };
      pair(b!);
      pair(a!);
      pushImmediateMask(c, shift + 1);
      e.simd("v128_bitselect");
      pushImmediateMask(c, shift + 3);
      e.simd("v128_andnot").set(local);
      return local;
    });
    storePair(c, d!, locals[0]!, locals[1]!);
  });

/** VPERMQ: each quadword is one of four, as two bits of the immediate say. */
const permuteQuadwords = (name: string): Definition =>
  vex(name, ["yyi", "ym32i"], "wr", (c, [d, s]) => {
    const { e } = c;
    const locals = [0, 4].map((first) => {
      const local = e.temporary("v128");
      for (let lane = 0; lane < 2; lane++) {
        const shift = first + lane * 2;
        if (c.known !== undefined) {
          const chosen = (c.known >> shift) & 3;
          (chosen < 2 ? s! : s!.upper()).lane("i64", chosen & 1);
        } else pushChosenLane(c, s!, "i64", { shift, count: 4 });
        if (lane === 0) e.simd("i64x2_splat");
        else e.lane("i64x2_replace_lane", 1);
      }
      e.set(local);
      return local;
    });
    storePair(c, d!, locals[0]!, locals[1]!);
  });

const REPEAT_LOWEST = IOTA.map((i) => i & 12);
const byteOffsets = (width: number) => IOTA.map((i) => i % width);
/** Pushes numbers of bytes for the lanes' numbers in the v128 on the stack: 32-bit lanes with numbers below 2 ** 28. */
function pushByteNumbers(e: CodeEmitter): void {
  const numbers = e.temporary("v128");
  e.i32(2).simd("i32x4_shl").set(numbers);
  e.get(numbers).get(numbers).shuffle(REPEAT_LOWEST).v128(byteOffsets(4)).simd("v128_or");
  e.release("v128", numbers);
}

/** VPERMD: each doubleword is one of eight, as the other operand's lanes say. */
const permuteDoublewords = (name: string): Definition =>
  vex(name, ["yyy", "yym32"], "wrr", (c, [d, numbers, s]) =>
    byHalves(c, d!, 2, (target, half) => {
      const { e } = c;
      const bytes = e.temporary("v128");
      half.of(numbers!).vector();
      e.v128(IOTA.map((i) => (i % 4 === 0 ? 7 : 0))).simd("v128_and");
      pushByteNumbers(e);
      e.set(bytes);
      target.storeVector(() => {
        s!.vector();
        e.get(bytes).simd("i8x16_swizzle");
        s!.upper().vector();
        e.get(bytes)
          .v128(IOTA.map(() => 16))
          .simd("i8x16_sub")
          .simd("i8x16_swizzle")
          .simd("v128_or");
      });
      e.release("v128", bytes);
    }),
  );

const PACKED = ["xxx", "xxm16", "yyy", "yym32"];
const UNARY_IMMEDIATE = ["xxi", "xm16i", "yyi", "ym32i"];

/** VPERMILPS: lanes of the same half, chosen by the other operand. */
const permuteSingles = vex("vpermilps", PACKED, "wrr", (c, [d, s, numbers], shape) =>
  byHalves(c, d!, halvesOf(shape), (target, half) =>
    target.storeVector(() => {
      half.of(s!).vector();
      half.of(numbers!).vector();
      c.e.v128(IOTA.map((i) => (i % 4 === 0 ? 3 : 0))).simd("v128_and");
      pushByteNumbers(c.e);
      c.e.simd("i8x16_swizzle");
    }),
  ),
);
const permuteSinglesImmediate = vex("vpermilps", UNARY_IMMEDIATE, "wr", (c, [d, s], shape) =>
  byHalves(c, d!, halvesOf(shape), (target, half) => {
    const source = half.of(s!);
    target.storeVector(() => {
      for (let lane = 0; lane < 4; lane++) {
        pushChosenLane(c, source, "i32", { shift: 2 * lane, count: 4 });
        if (lane === 0) c.e.simd("i32x4_splat");
        else c.e.lane("i32x4_replace_lane", lane);
      }
    });
  }),
);

/** VPERMILPD: bit 1 of the other operand's lanes chooses. */
const permuteDoubles = vex("vpermilpd", PACKED, "wrr", (c, [d, s, numbers], shape) =>
  byHalves(c, d!, halvesOf(shape), (target, half) => {
    const source = half.of(s!);
    target.storeVector(() => {
      source.lane("i64", 1);
      c.e.simd("i64x2_splat");
      source.lane("i64", 0);
      c.e.simd("i64x2_splat");
      half.of(numbers!).vector();
      c.e.i32(62).simd("i64x2_shl").i32(63).simd("i64x2_shr_s").simd("v128_bitselect");
    });
  }),
);
const permuteDoublesImmediate = vex("vpermilpd", UNARY_IMMEDIATE, "wr", (c, [d, s], shape) =>
  byHalves(
    c,
    d!,
    halvesOf(shape),
    (target, half) => {
      const source = half.of(s!);
      target.storeVector(() => {
        for (let lane = 0; lane < 2; lane++) {
          pushChosenLane(half.c, source, "i64", { shift: lane, count: 2 });
          if (lane === 0) c.e.simd("i64x2_splat");
          else c.e.lane("i64x2_replace_lane", 1);
        }
      });
    },
    { immediateBits: 2 },
  ),
);

const BITS = [1, 2, 4, 8];
/** VPBLENDD: four bits of the immediate for each half. */
const blend = vex("vpblendd", ["xxxi", "xxm16i", "yyyi", "yym32i"], "wrr", (c, [d, a, b], shape) =>
  byHalves(
    c,
    d!,
    halvesOf(shape),
    (target, half) =>
      target.storeVector(() => {
        half.of(b!).vector();
        half.of(a!).vector();
        pushImmediate(half.c);
        c.e
          .simd("i32x4_splat")
          .v128(IOTA.map((i) => (i % 4 === 0 ? BITS[i / 4]! : 0)))
          .simd("v128_and");
        pushZero(c.e);
        c.e.simd("i32x4_ne").simd("v128_bitselect");
      }),
    { immediateBits: 4 },
  ),
);

/** Each lane is shifted by its own count; counts beyond the width leave nothing, or the sign. */
function shiftEach(name: string, size: 4 | 8, op: "shl" | "shr_u" | "shr_s"): Definition {
  const [lane, vector] = LANES[size] as (typeof LANES)[4 | 8];
  const type = lane as "i32" | "i64";
  const bits = size * 8;
  const constant = (e: CodeEmitter, value: number) => (type === "i32" ? e.i32(value) : e.i64(value));
  const shifted = (c: Lowering, half: Half, value: Place, counts: Place) => {
    const { e } = c;
    const count = e.temporary(type);
    for (let index = 0; index < 16 / size; index++) {
      half.of(counts).lane(type, index);
      e.set(count);
      half.of(value).lane(type, index);
      if (op === "shr_s") {
        e.get(count);
        constant(e, bits - 1);
        e.get(count);
        constant(e, bits);
        e.op(`${type}_lt_u`).op("select").op(`${type}_shr_s`);
      } else {
        e.get(count).op(`${type}_${op}`);
        constant(e, 0);
        e.get(count);
        constant(e, bits);
        e.op(`${type}_lt_u`).op("select");
      }
      if (index === 0) e.simd(`${vector}_splat` as SimdName);
      else e.lane(`${vector}_replace_lane` as "i32x4_replace_lane", index);
    }
    e.release(type, count);
  };
  return vex(name, PACKED, "wrr", (c, [d, value, counts], shape) =>
    byHalves(c, d!, halvesOf(shape), (target, half) => target.storeVector(() => shifted(c, half, value!, counts!))),
  );
}

/** What AVX and AVX2 add: broadcasts, permutations, halves, shifts by counts of their own. */
export function avxPermuteDefinitions(): readonly Definition[] {
  return [
    broadcast("vbroadcastss", 4),
    broadcast("vbroadcastsd", 8),
    broadcast("vpbroadcastb", 1),
    broadcast("vpbroadcastw", 2),
    broadcast("vpbroadcastd", 4),
    broadcast("vpbroadcastq", 8),
    broadcastHalf("vbroadcastf128"),
    broadcastHalf("vbroadcasti128"),
    insert("vinsertf128"),
    insert("vinserti128"),
    extract("vextractf128"),
    extract("vextracti128"),
    permuteHalves("vperm2f128"),
    permuteHalves("vperm2i128"),
    permuteQuadwords("vpermq"),
    permuteQuadwords("vpermpd"),
    permuteDoublewords("vpermd"),
    permuteDoublewords("vpermps"),
    permuteSingles,
    permuteSinglesImmediate,
    permuteDoubles,
    permuteDoublesImmediate,
    blend,
    shiftEach("vpsrlvd", 4, "shr_u"),
    shiftEach("vpsrlvq", 8, "shr_u"),
    shiftEach("vpsravd", 4, "shr_s"),
    shiftEach("vpsllvd", 4, "shl"),
    shiftEach("vpsllvq", 8, "shl"),
  ];
}
