import type { CodeEmitter, SimdName } from "@paravirt/wasm-emit";
import type { Definition } from "../definition.ts";
import type { Lowering, Place } from "../lowering.ts";
import { IOTA, PAIR } from "./simd-integer.ts";
import {
  mmxBinary,
  pushChosenLane,
  pushHalf,
  pushImmediate,
  pushInteger,
  pushQuarter,
  pushZero,
  shuffled,
  simd,
  storeMmx,
  storeMmxInteger,
  xmmBinary,
  xmmUnary,
} from "./simd-operands.ts";

/** Lanes of `width` bytes from byte `first` on, alternating between destination and source. */
function interleaved(width: number, first: number): number[] {
  return Array.from({ length: 16 }, (_, i) => {
    const lane = Math.floor(i / width);
    return first + (lane >> 1) * width + (i % width) + (lane & 1) * 16;
  });
}

const UNPACK = [
  ["bw", 1],
  ["wd", 2],
  ["dq", 4],
] as const;
const unpack: readonly Definition[] = [
  ...UNPACK.flatMap(([suffix, width]) => [
    xmmBinary(`punpckl${suffix}`, shuffled(interleaved(width, 0))),
    xmmBinary(`punpckh${suffix}`, shuffled(interleaved(width, 8))),
    mmxBinary(`punpckl${suffix}`, shuffled(interleaved(width, 0)), ["qq", "qm4"]),
    mmxBinary(`punpckh${suffix}`, shuffled(interleaved(width, 4))),
  ]),
  xmmBinary("punpcklqdq", shuffled(interleaved(8, 0)), { hot: ["xx"] }),
  xmmBinary("punpckhqdq", shuffled(interleaved(8, 8))),
  xmmBinary("unpcklps", shuffled(interleaved(4, 0))),
  xmmBinary("unpckhps", shuffled(interleaved(4, 8))),
  xmmBinary("unpcklpd", shuffled(interleaved(8, 0))),
  xmmBinary("unpckhpd", shuffled(interleaved(8, 8))),
];

const duplicates: readonly Definition[] = [
  ...(
    [
      ["movsldup", 0],
      ["movshdup", 4],
    ] as const
  ).map(([name, first]) =>
    xmmUnary(name, (e, a) => {
      a();
      a();
      e.shuffle(Array.from({ length: 16 }, (_, i) => (i & 8) + first + (i & 3)));
    }),
  ),
  simd("movddup", ["xx", "xm8"], "wr", (c, [d, s]) =>
    d!.storeVector(() => {
      pushInteger(c.e, s!);
      c.e.simd("i64x2_splat");
    }),
  ),
];

/** Numbers of the bytes of four lanes, `width` bytes wide, that two bits each of `order` choose from the first 16 bytes. */
function ordered(order: number, width: 2 | 4, first: number = 0): number[] {
  return Array.from({ length: 4 * width }, (_, i) => {
    const lane = Math.floor(i / width);
    return (first + ((order >> (2 * lane)) & 3)) * width + (i % width);
  });
}

/** Lanes chosen by the immediate: one shuffle where it is known, else they are read one by one. */
const chosen: readonly Definition[] = [
  simd(
    "pshufd",
    ["xxi", "xm16i"],
    "wr",
    (c, [d, s]) =>
      d!.storeVector(() => {
        if (c.known !== undefined) {
          s!.vector();
          s!.vector();
          c.e.shuffle(ordered(c.known, 4));
          return;
        }
        for (let i = 0; i < 4; i++) {
          pushChosenLane(c, s!, "i32", { shift: 2 * i, count: 4 });
          if (i === 0) c.e.simd("i32x4_splat");
          else c.e.lane("i32x4_replace_lane", i);
        }
      }),
    { hot: ["xxi"] },
  ),
  simd("shufps", ["xxi", "xm16i"], "br", (c, [d, s]) =>
    d!.storeVector(() => {
      if (c.known !== undefined) {
        d!.vector();
        s!.vector();
        c.e.shuffle(ordered(c.known, 4).map((byte, i) => (i < 8 ? byte : byte + 16)));
        return;
      }
      for (let i = 0; i < 4; i++) {
        pushChosenLane(c, i < 2 ? d! : s!, "i32", { shift: 2 * i, count: 4 });
        if (i === 0) c.e.simd("i32x4_splat");
        else c.e.lane("i32x4_replace_lane", i);
      }
    }),
  ),
  simd("shufpd", ["xxi", "xm16i"], "br", (c, [d, s]) =>
    d!.storeVector(() => {
      if (c.known !== undefined) {
        const { known } = c;
        d!.vector();
        s!.vector();
        c.e.shuffle(IOTA.map((i) => (i < 8 ? (known & 1) * 8 + i : 16 + ((known >> 1) & 1) * 8 + (i & 7))));
        return;
      }
      pushChosenLane(c, d!, "i64", { shift: 0, count: 2 });
      c.e.simd("i64x2_splat");
      pushChosenLane(c, s!, "i64", { shift: 1, count: 2 });
      c.e.lane("i64x2_replace_lane", 1);
    }),
  ),
  ...(
    [
      ["pshuflw", 0],
      ["pshufhw", 4],
    ] as const
  ).map(([name, first]) =>
    simd(name, ["xxi", "xm16i"], "wr", (c, [d, s]) =>
      d!.storeVector(() => {
        s!.vector();
        if (c.known !== undefined) {
          s!.vector();
          const half = ordered(c.known, 2, first);
          c.e.shuffle(first === 0 ? [...half, ...IOTA.slice(8)] : [...IOTA.slice(0, 8), ...half]);
          return;
        }
        for (let i = 0; i < 4; i++) {
          pushChosenLane(c, s!, "u16", { shift: 2 * i, count: 4, first });
          c.e.lane("i16x8_replace_lane", first + i);
        }
      }),
    ),
  ),
  simd(
    "pshufw",
    ["qqi", "qm8i"],
    "wr",
    (c, [d, s]) =>
      storeMmx(c.e, d!, () => {
        pushZero(c.e);
        for (let i = 0; i < 4; i++) {
          pushChosenLane(c, s!, "u16", { shift: 2 * i, count: 4 });
          c.e.lane("i16x8_replace_lane", i);
        }
      }),
    { mmx: true },
  ),
];

const byteMask = (value: number) => IOTA.map(() => value);
const shuffleBytes: readonly Definition[] = [
  xmmBinary("pshufb", (e, a, b) => {
    a();
    b();
    e.v128(byteMask(0x8f)).simd("v128_and").simd("i8x16_swizzle");
  }),
  mmxBinary("pshufb", (e, a, b) => {
    a();
    b();
    e.v128(byteMask(0x87)).simd("v128_and").simd("i8x16_swizzle");
  }),
];

/** Numbers of the bytes from `from` on of a vector of 16 bytes and a second one behind it; 31 past the end, the second is zero. */
const bytesFrom = (from: number) => IOTA.map((i) => (i + from < 0 || i + from > 31 ? 31 : i + from));

/** Pushes byte numbers that go up from the immediate; past 255 they stay there. */
function pushRising(c: Lowering): void {
  c.e.v128(IOTA);
  pushImmediate(c);
  c.e.simd("i8x16_splat").simd("i8x16_add_sat_u");
}

const align: readonly Definition[] = [
  simd("palignr", ["xxi", "xm16i"], "br", (c, [d, s]) =>
    d!.storeVector(() => {
      if (c.known !== undefined && (c.known & 0xff) <= 16) {
        s!.vector();
        d!.vector();
        c.e.shuffle(bytesFrom(c.known & 0xff));
        return;
      }
      s!.vector();
      pushRising(c);
      c.e.simd("i8x16_swizzle");
      d!.vector();
      pushRising(c);
      // Numbers below 16 wrap to more than any lane's: those bytes are the source's.
      c.e.v128(byteMask(16)).simd("i8x16_sub").simd("i8x16_swizzle").simd("v128_or");
    }),
  ),
  simd(
    "palignr",
    ["qqi", "qm8i"],
    "br",
    (c, [d, s]) =>
      storeMmx(c.e, d!, () => {
        pushHalf(c.e, s!);
        pushHalf(c.e, d!);
        c.e.shuffle(PAIR);
        pushRising(c);
        c.e.simd("i8x16_swizzle");
      }),
    { mmx: true },
  ),
  simd("psrldq", ["xi"], "b", (c, [d]) =>
    d!.storeVector(() => {
      d!.vector();
      if (c.known !== undefined) {
        pushZero(c.e);
        c.e.shuffle(bytesFrom(Math.min(c.known & 0xff, 16)));
        return;
      }
      pushRising(c);
      c.e.simd("i8x16_swizzle");
    }),
  ),
  simd("pslldq", ["xi"], "b", (c, [d]) =>
    d!.storeVector(() => {
      d!.vector();
      if (c.known !== undefined) {
        pushZero(c.e);
        c.e.shuffle(bytesFrom(-Math.min(c.known & 0xff, 16)));
        return;
      }
      // Below the count the numbers wrap to more than any lane's.
      c.e.v128(IOTA);
      c.e.i32(16);
      pushImmediate(c);
      pushImmediate(c);
      c.e.i32(16).op("i32_gt_u").op("select");
      c.e.simd("i8x16_splat").simd("i8x16_sub").simd("i8x16_swizzle");
    }),
  ),
];

/** Shifts of every lane by one count: an immediate, or the low 64 bits of the source. */
function shift(name: string, lanes: string, bits: number, op: "shl" | "shr_u" | "shr_s"): Definition[] {
  const value = (c: Lowering, source: Place, immediate: boolean, push: () => void) => {
    const { e } = c;
    if (immediate && c.known !== undefined) {
      const count = c.known & 0xff;
      if (count >= bits && op !== "shr_s") pushZero(e);
      else {
        push();
        e.i32(Math.min(count, bits - 1)).simd(`${lanes}_${op}` as SimdName);
      }
      return;
    }
    const count = e.temporary("i64");
    if (immediate) {
      pushImmediate(c);
      e.op("i64_extend_i32_u");
    } else pushInteger(e, source);
    e.set(count);
    push();
    e.get(count)
      .i64(bits - 1)
      .get(count)
      .i64(bits)
      .op("i64_lt_u")
      .op("select")
      .op("i32_wrap_i64");
    e.simd(`${lanes}_${op}` as SimdName);
    if (op !== "shr_s") {
      // WebAssembly takes counts modulo the width; x86 shifts everything out.
      e.i32(0).get(count).i64(bits).op("i64_lt_u").op("i32_sub").simd("i32x4_splat").simd("v128_and");
    }
    e.release("i64", count);
  };
  return [
    simd(name, ["xi", "xx", "xm16"], "br", (c, [d, s], { letters }) =>
      d!.storeVector(() => value(c, s!, letters[1] === "i", () => d!.vector())),
    ),
    simd(
      name,
      ["qi", "qq", "qm8"],
      "br",
      (c, [d, s], { letters }) => storeMmx(c.e, d!, () => value(c, s!, letters[1] === "i", () => pushHalf(c.e, d!))),
      { mmx: true },
    ),
  ];
}

const shifts: readonly Definition[] = (
  [
    ["w", "i16x8", 16],
    ["d", "i32x4", 32],
    ["q", "i64x2", 64],
  ] as const
).flatMap(([suffix, lanes, bits]) => [
  ...shift(`psll${suffix}`, lanes, bits, "shl"),
  ...shift(`psrl${suffix}`, lanes, bits, "shr_u"),
  ...(bits === 64 ? [] : shift(`psra${suffix}`, lanes, bits, "shr_s")),
]);

/** Stores the i64 that `push` leaves, `size` bytes of it, in the lane that the immediate chooses. */
function storeChosenLane(c: Lowering, place: Place, size: 1 | 2 | 4 | 8, lanes: number, push: () => void): void {
  const { e } = c;
  if (c.known !== undefined && lanes * size === 16) {
    const lane = c.known & (lanes - 1);
    place.storeVector(() => {
      place.vector();
      push();
      if (size < 8) e.op("i32_wrap_i64");
      e.lane(REPLACE[size], lane);
    });
    return;
  }
  place.address();
  pushImmediate(c, 0, lanes - 1);
  e.i32(Math.log2(size)).op("i32_shl").op("i32_add");
  push();
  e.mem(NARROW_STORE[size]);
}
const REPLACE = {
  1: "i8x16_replace_lane",
  2: "i16x8_replace_lane",
  4: "i32x4_replace_lane",
  8: "i64x2_replace_lane",
} as const;
const NARROW_STORE = { 1: "i64_store8", 2: "i64_store16", 4: "i64_store32", 8: "i64_store" } as const;
const LANE = { 1: "u8", 2: "u16", 4: "i32", 8: "i64" } as const;

/** Lane moves between vector registers and general registers or memory. */
const single: readonly Definition[] = [
  ...(["pinsrw", "pinsrb"] as const).map((name) => {
    const size = name === "pinsrw" ? 2 : 1;
    return simd(name, [`xr4i`, `xr${size}i`, `xm${size}i`], "br", (c, [d, s]) =>
      storeChosenLane(c, d!, size, 16 / size, () => s!.unsigned(size)),
    );
  }),
  ...([4, 8] as const).map((size) =>
    simd("pinsrd", [`xr${size}i`, `xm${size}i`], "br", (c, [d, s]) =>
      storeChosenLane(c, d!, size, 16 / size, () => s!.unsigned(size)),
    ),
  ),
  simd(
    "pinsrw",
    ["qr4i", "qr2i", "qm2i"],
    "br",
    (c, [d, s]) => {
      const word = c.e.temporary("i64");
      s!.unsigned(2);
      c.e.set(word);
      storeChosenLane(c, d!, 2, 4, () => c.e.get(word));
      storeMmxInteger(c.e, d!, () => pushInteger(c.e, d!));
      c.e.release("i64", word);
    },
    { mmx: true },
  ),
  ...([1, 2, 4, 8] as const).flatMap((size) => {
    const name = size === 1 ? "pextrb" : size === 2 ? "pextrw" : "pextrd";
    const value = (c: Lowering, s: Place) => {
      pushChosenLane(c, s, LANE[size], { shift: 0, count: 16 / size });
      if (size < 8) c.e.op("i64_extend_i32_u");
    };
    const registers = size < 4 ? ["r4xi", "r8xi", `r${size}xi`] : [`r${size}xi`];
    return [
      simd(name, registers, "wr", (c, [d, s]) => d!.store(8, () => value(c, s!))),
      simd(name, [`m${size}xi`], "wr", (c, [d, s]) => d!.store(size, () => value(c, s!))),
    ];
  }),
  simd(
    "pextrw",
    ["r4qi", "r8qi"],
    "wr",
    (c, [d, s]) =>
      d!.store(8, () => {
        pushChosenLane(c, s!, "u16", { shift: 0, count: 4 });
        c.e.op("i64_extend_i32_u");
      }),
    { mmx: true },
  ),
  simd("extractps", ["r4xi", "r8xi", "m4xi"], "wr", (c, [d, s], { memory }) =>
    d!.store(memory === 0 ? 4 : 8, () => {
      pushChosenLane(c, s!, "i32", { shift: 0, count: 4 });
      c.e.op("i64_extend_i32_u");
    }),
  ),
];

const lanesOf = (width: number, values: readonly number[]) =>
  Array.from({ length: 16 }, (_, i) => (i % width === 0 ? (values[i / width] ?? 0) : 0));
const BITS = [1, 2, 4, 8, 16, 32, 64, 128];
/** Pushes all ones in the lanes whose bit is set in the immediate. */
function pushLaneMask(c: Lowering, lanes: "i16x8" | "i32x4" | "i64x2", width: number): void {
  pushImmediate(c);
  if (lanes === "i64x2") c.e.op("i64_extend_i32_u");
  c.e.simd(`${lanes}_splat`).v128(lanesOf(width, BITS)).simd("v128_and");
  pushZero(c.e);
  c.e.simd(`${lanes}_ne`);
}

const insertps = simd("insertps", ["xxi", "xm4i"], "br", (c, [d, s], { memory }) =>
  d!.storeVector(() => {
    if (memory < 0) pushChosenLane(c, s!, "i32", { shift: 6, count: 4 });
    else s!.lane("i32", 0);
    c.e.simd("i32x4_splat");
    d!.vector();
    pushImmediate(c, 4, 3);
    c.e
      .simd("i32x4_splat")
      .v128(lanesOf(4, [0, 1, 2, 3]))
      .simd("i32x4_eq")
      .simd("v128_bitselect");
    pushLaneMask(c, "i32x4", 4);
    c.e.simd("v128_andnot");
  }),
);

const blends: readonly Definition[] = [
  ...(
    [
      ["pblendw", "i16x8", 2],
      ["blendps", "i32x4", 4],
      ["blendpd", "i64x2", 8],
    ] as const
  ).map(([name, lanes, width]) =>
    simd(name, ["xxi", "xm16i"], "br", (c, [d, s]) =>
      d!.storeVector(() => {
        s!.vector();
        d!.vector();
        pushLaneMask(c, lanes, width);
        c.e.simd("v128_bitselect");
      }),
    ),
  ),
  ...(
    [
      ["pblendvb", "i8x16", 7],
      ["blendvps", "i32x4", 31],
      ["blendvpd", "i64x2", 63],
    ] as const
  ).map(([name, lanes, sign]) =>
    simd(name, ["xxx", "xm16x"], "brr", (c, [d, s, mask]) =>
      d!.storeVector(() => {
        s!.vector();
        d!.vector();
        mask!.vector();
        c.e.i32(sign).simd(`${lanes}_shr_s`).simd("v128_bitselect");
      }),
    ),
  ),
];

type Extension = readonly SimdName[];
const step = (from: number, signed: boolean): SimdName => {
  const suffix = signed ? "s" : "u";
  return (
    from === 1
      ? `i16x8_extend_low_i8x16_${suffix}`
      : from === 2
        ? `i32x4_extend_low_i16x8_${suffix}`
        : `i64x2_extend_low_i32x4_${suffix}`
  ) as SimdName;
};
/** PMOVSX and PMOVZX: the lowest lanes of the source, widened. */
function extension(letter: "s" | "z", from: "b" | "w" | "d", to: "w" | "d" | "q"): Definition {
  const widths = { b: 1, w: 2, d: 4, q: 8 };
  const steps: Extension = [1, 2, 4]
    .filter((width) => width >= widths[from] && width < widths[to])
    .map((width) => step(width, letter === "s"));
  const size = (16 * widths[from]) / widths[to];
  return simd(`pmov${letter}x${from}${to}`, ["xx", `xm${size}`], "wr", (c, [d, s], { memory }) =>
    d!.storeVector(() => {
      if (memory < 0) s!.vector();
      else pushLow(c.e, s!, size);
      for (const name of steps) c.e.simd(name);
    }),
  );
}
function pushLow(e: CodeEmitter, place: Place, size: number): void {
  if (size === 8) pushHalf(e, place);
  else if (size === 4) pushQuarter(e, place);
  else {
    place.address();
    e.simdMem("v128_load16_splat");
  }
}
const extensions: readonly Definition[] = (["s", "z"] as const).flatMap((letter) => [
  extension(letter, "b", "w"),
  extension(letter, "b", "d"),
  extension(letter, "b", "q"),
  extension(letter, "w", "d"),
  extension(letter, "w", "q"),
  extension(letter, "d", "q"),
]);

const ZERO_FLAG = 6;
/** ZF: source and destination have no bit in common; CF: the source has none that the destination lacks. */
const ptest = simd("ptest", ["xx", "xm16"], "rr", (c, [d, s]) => {
  const { e } = c;
  const image = e.temporary("i64");
  s!.vector();
  d!.vector();
  e.simd("v128_and").simd("v128_any_true").op("i32_eqz").i32(ZERO_FLAG).op("i32_shl");
  s!.vector();
  d!.vector();
  e.simd("v128_andnot").simd("v128_any_true").op("i32_eqz").op("i32_or").op("i64_extend_i32_u").set(image);
  c.flags.load(image);
  e.release("i64", image);
});

/** Shuffles, shifts, lane moves, blends and widening. */
export const simdShuffleDefinitions: readonly Definition[] = [
  ...unpack,
  ...duplicates,
  ...chosen,
  ...shuffleBytes,
  ...align,
  ...shifts,
  ...single,
  insertps,
  ...blends,
  ...extensions,
  ptest,
];
