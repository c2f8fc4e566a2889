import type { SimdName } from "@paravirt/wasm-emit";
import type { Definition } from "../definition.ts";
import {
  mmxBinary,
  type Operation,
  pushChosenLane,
  pushHalf,
  pushImmediate,
  pushZero,
  simd,
  single,
  storeMmx,
  xmmBinary,
  xmmUnary,
} from "./simd-operands.ts";

/** Instructions of which each lane depends on the same lanes of the operands only: MMX and XMM forms. */
const BOTH: readonly (readonly [string, SimdName])[] = [
  ["pxor", "v128_xor"],
  ["por", "v128_or"],
  ["pand", "v128_and"],
  ["paddb", "i8x16_add"],
  ["paddw", "i16x8_add"],
  ["paddd", "i32x4_add"],
  ["paddq", "i64x2_add"],
  ["psubb", "i8x16_sub"],
  ["psubw", "i16x8_sub"],
  ["psubd", "i32x4_sub"],
  ["psubq", "i64x2_sub"],
  ["paddsb", "i8x16_add_sat_s"],
  ["paddsw", "i16x8_add_sat_s"],
  ["paddusb", "i8x16_add_sat_u"],
  ["paddusw", "i16x8_add_sat_u"],
  ["psubsb", "i8x16_sub_sat_s"],
  ["psubsw", "i16x8_sub_sat_s"],
  ["psubusb", "i8x16_sub_sat_u"],
  ["psubusw", "i16x8_sub_sat_u"],
  ["pcmpeqb", "i8x16_eq"],
  ["pcmpeqw", "i16x8_eq"],
  ["pcmpeqd", "i32x4_eq"],
  ["pcmpgtb", "i8x16_gt_s"],
  ["pcmpgtw", "i16x8_gt_s"],
  ["pcmpgtd", "i32x4_gt_s"],
  ["pminub", "i8x16_min_u"],
  ["pmaxub", "i8x16_max_u"],
  ["pminsw", "i16x8_min_s"],
  ["pmaxsw", "i16x8_max_s"],
  ["pavgb", "i8x16_avgr_u"],
  ["pavgw", "i16x8_avgr_u"],
  ["pmullw", "i16x8_mul"],
  ["pmaddwd", "i32x4_dot_i16x8_s"],
];
/** XMM forms only. */
const XMM: readonly (readonly [string, SimdName])[] = [
  ["xorps", "v128_xor"],
  ["xorpd", "v128_xor"],
  ["orps", "v128_or"],
  ["orpd", "v128_or"],
  ["andps", "v128_and"],
  ["andpd", "v128_and"],
  ["packsswb", "i8x16_narrow_i16x8_s"],
  ["packuswb", "i8x16_narrow_i16x8_u"],
  ["packssdw", "i16x8_narrow_i32x4_s"],
  ["packusdw", "i16x8_narrow_i32x4_u"],
  ["pcmpeqq", "i64x2_eq"],
  ["pcmpgtq", "i64x2_gt_s"],
  ["pminsb", "i8x16_min_s"],
  ["pminsd", "i32x4_min_s"],
  ["pminuw", "i16x8_min_u"],
  ["pminud", "i32x4_min_u"],
  ["pmaxsb", "i8x16_max_s"],
  ["pmaxsd", "i32x4_max_s"],
  ["pmaxuw", "i16x8_max_u"],
  ["pmaxud", "i32x4_max_u"],
  ["pmulld", "i32x4_mul"],
];
const HOT = new Set(["pxor", "por", "pand", "pcmpeqb", "pminub", "paddd", "paddq", "xorps", "psubb"]);

const andNot: Operation = (e, a, b) => {
  b();
  a();
  e.simd("v128_andnot");
};

const highHalves = [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31];
/** High halves of the 16-bit products. */
const multiplyHigh =
  (low: SimdName, high: SimdName): Operation =>
  (e, a, b) => {
    a();
    b();
    e.simd(low);
    a();
    b();
    e.simd(high).shuffle(highHalves);
  };

const EVEN_DOUBLEWORDS = [0, 1, 2, 3, 8, 9, 10, 11, 0, 0, 0, 0, 0, 0, 0, 0];
/** Products of the doublewords 0 and 2. */
const multiplyEven =
  (name: SimdName): Operation =>
  (e, a, b) => {
    a();
    a();
    e.shuffle(EVEN_DOUBLEWORDS);
    b();
    b();
    e.shuffle(EVEN_DOUBLEWORDS).simd(name);
  };

const LOW_DOUBLEWORDS = [255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0];
const sumOfDifferences: Operation = (e, a, b) => {
  const sums = e.temporary("v128");
  a();
  b();
  e.simd("i8x16_max_u");
  a();
  b();
  e.simd("i8x16_min_u").simd("i8x16_sub");
  e.simd("i16x8_extadd_pairwise_i8x16_u").simd("i32x4_extadd_pairwise_i16x8_u").set(sums);
  e.get(sums).get(sums).i32(32).simd("i64x2_shr_u").simd("i64x2_add").v128(LOW_DOUBLEWORDS).simd("v128_and");
  e.release("v128", sums);
};

/** Unsigned bytes of the destination times signed bytes of the source, neighbours added with saturation. */
const multiplyAddBytes: Operation = (e, a, b) => {
  a();
  e.i32(8).simd("i16x8_shl").i32(8).simd("i16x8_shr_u");
  b();
  e.i32(8).simd("i16x8_shl").i32(8).simd("i16x8_shr_s").simd("i16x8_mul");
  a();
  e.i32(8).simd("i16x8_shr_u");
  b();
  e.i32(8).simd("i16x8_shr_s").simd("i16x8_mul").simd("i16x8_add_sat_s");
};

const words = (value: number) => Array.from({ length: 16 }, (_, i) => (value >> ((i & 1) * 8)) & 0xff);
/** WebAssembly saturates -1 times -1, x86 does not. */
const multiplyRounded: Operation = (e, a, b) => {
  a();
  b();
  e.simd("i16x8_q15mulr_sat_s");
  a();
  e.v128(words(0x8000)).simd("i16x8_eq");
  b();
  e.v128(words(0x8000)).simd("i16x8_eq").simd("v128_and").simd("v128_xor");
};

/** The destination with the signs of the source applied; zero where that is zero. */
const sign =
  (lanes: "i8x16" | "i16x8" | "i32x4", bits: number): Operation =>
  (e, a, b) => {
    const signs = e.temporary("v128");
    b();
    e.i32(bits - 1)
      .simd(`${lanes}_shr_s`)
      .set(signs);
    a();
    e.get(signs).simd("v128_xor").get(signs).simd(`${lanes}_sub`);
    b();
    pushZero(e);
    e.simd(`${lanes}_eq`).simd("v128_andnot");
    e.release("v128", signs);
  };

const every = (width: number, odd: boolean): number[] =>
  Array.from({ length: 16 }, (_, i) => Math.floor(i / width) * width * 2 + (i % width) + (odd ? width : 0));
/** Neighbours of the destination, then of the source, combined. */
const horizontal =
  (width: number, name: SimdName): Operation =>
  (e, a, b) => {
    a();
    b();
    e.shuffle(every(width, false));
    a();
    b();
    e.shuffle(every(width, true)).simd(name);
  };

/** The low halves of two vectors. */
export const PAIR: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
/** An operation that reads across lanes, on MMX: both operands side by side in one vector stand for each of them. */
const sideBySide =
  (operation: Operation): Operation =>
  (e, a, b) => {
    const both = e.temporary("v128");
    a();
    b();
    e.shuffle(PAIR).set(both);
    operation(
      e,
      () => e.get(both),
      () => e.get(both),
    );
    e.release("v128", both);
  };

const special: readonly (readonly [string, Operation])[] = [
  ["pandn", andNot],
  ["pmulhw", multiplyHigh("i32x4_extmul_low_i16x8_s", "i32x4_extmul_high_i16x8_s")],
  ["pmulhuw", multiplyHigh("i32x4_extmul_low_i16x8_u", "i32x4_extmul_high_i16x8_u")],
  ["pmuludq", multiplyEven("i64x2_extmul_low_i32x4_u")],
  ["psadbw", sumOfDifferences],
  ["pmaddubsw", multiplyAddBytes],
  ["pmulhrsw", multiplyRounded],
  ["psignb", sign("i8x16", 8)],
  ["psignw", sign("i16x8", 16)],
  ["psignd", sign("i32x4", 32)],
];
const across: readonly (readonly [string, Operation])[] = [
  ["phaddw", horizontal(2, "i16x8_add")],
  ["phaddd", horizontal(4, "i32x4_add")],
  ["phaddsw", horizontal(2, "i16x8_add_sat_s")],
  ["phsubw", horizontal(2, "i16x8_sub")],
  ["phsubd", horizontal(4, "i32x4_sub")],
  ["phsubsw", horizontal(2, "i16x8_sub_sat_s")],
];

const absolute: readonly Definition[] = (
  [
    ["pabsb", "i8x16_abs"],
    ["pabsw", "i16x8_abs"],
    ["pabsd", "i32x4_abs"],
  ] as const
).flatMap(([name, abs]) => [
  xmmUnary(name, (e, a) => {
    a();
    e.simd(abs);
  }),
  simd(
    name,
    ["qq", "qm8"],
    "wr",
    (c, [d, s]) =>
      storeMmx(c.e, d!, () => {
        pushHalf(c.e, s!);
        c.e.simd(abs);
      }),
    { mmx: true },
  ),
]);

const indices = (first: number) => Array.from({ length: 16 }, (_, i) => (i % 4 === 0 ? first + i / 4 : 0));
/** The smallest word and where it is: words and indices are compared as one number. */
const horizontalMinimum = xmmUnary("phminposuw", (e, a) => {
  const keys = e.temporary("v128");
  a();
  e.simd("i32x4_extend_low_i16x8_u").i32(3).simd("i32x4_shl").v128(indices(0)).simd("v128_or");
  a();
  e.simd("i32x4_extend_high_i16x8_u").i32(3).simd("i32x4_shl").v128(indices(4)).simd("v128_or");
  e.simd("i32x4_min_u").set(keys);
  for (const swap of [8, 4]) {
    e.get(keys);
    e.get(keys)
      .get(keys)
      .shuffle(Array.from({ length: 16 }, (_, i) => (i + swap) % 16));
    e.simd("i32x4_min_u").set(keys);
  }
  const key = e.temporary("i32");
  e.get(keys).lane("i32x4_extract_lane", 0).set(key);
  pushZero(e);
  e.get(key).i32(3).op("i32_shr_u").lane("i16x8_replace_lane", 0);
  e.get(key).i32(7).op("i32_and").lane("i16x8_replace_lane", 1);
  e.release("i32", key);
  e.release("v128", keys);
});

/** Byte numbers. */
export const IOTA: readonly number[] = Array.from({ length: 16 }, (_, i) => i);
/** Eight sums of four absolute differences, of a sliding block of the destination and one block of the source. */
const slidingDifferences = simd("mpsadbw", ["xxi", "xm16i"], "br", (c, [d, s]) => {
  const { e } = c;
  const window = e.temporary("v128");
  const block = e.temporary("v128");
  d!.vector();
  e.v128(IOTA);
  pushImmediate(c, 0, 4);
  e.simd("i8x16_splat").simd("i8x16_add").simd("i8x16_swizzle").set(window);
  pushChosenLane(c, s!, "i32", { shift: 0, count: 4 });
  e.simd("i32x4_splat").set(block);
  d!.storeVector(() => {
    for (let j = 0; j < 4; j++) {
      const pushBoth = () => {
        e.get(window)
          .get(window)
          .shuffle(IOTA.map((i) => (i + j) % 16));
        e.get(block)
          .get(block)
          .shuffle(IOTA.map(() => j));
      };
      pushBoth();
      e.simd("i8x16_max_u");
      pushBoth();
      e.simd("i8x16_min_u").simd("i8x16_sub").simd("i16x8_extend_low_i8x16_u");
      if (j > 0) e.simd("i16x8_add");
    }
  });
  e.release("v128", window, block);
});

const packs = ["packsswb", "packuswb", "packssdw"];

/** Integer arithmetic, logic and comparisons. */
export const simdIntegerDefinitions: readonly Definition[] = [
  ...[...BOTH, ...XMM].map(([name, op]) => xmmBinary(name, single(op), { hot: HOT.has(name) ? ["xx", "xm16"] : [] })),
  ...BOTH.map(([name, op]) => mmxBinary(name, single(op))),
  ...XMM.filter(([name]) => packs.includes(name)).map(([name, op]) => mmxBinary(name, sideBySide(single(op)))),
  ...special.flatMap(([name, operation]) => [xmmBinary(name, operation), mmxBinary(name, operation)]),
  ...across.flatMap(([name, operation]) => [xmmBinary(name, operation), mmxBinary(name, sideBySide(operation))]),
  xmmBinary("andnps", andNot),
  xmmBinary("andnpd", andNot),
  xmmBinary("pmuldq", multiplyEven("i64x2_extmul_low_i32x4_s")),
  ...absolute,
  horizontalMinimum,
  slidingDifferences,
];
