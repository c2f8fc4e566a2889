import type { Definition } from "../definition.ts";
import { STATE } from "../layout.ts";
import type { Size } from "../lowering.ts";
import {
  enterMmx,
  pushHalf,
  pushInteger,
  pushQuarter,
  pushZero,
  simd,
  storeLane,
  storeMmx,
  storeMmxInteger,
} from "./simd-operands.ts";
import { faultIfPending } from "./x87-state.ts";

const ALIGNED = ["movaps", "movapd", "movdqa", "movntdq", "movntps", "movntpd", "movntdqa"];
const UNALIGNED = ["movups", "movupd", "movdqu", "lddqu"];
const HOT = new Set(["movaps", "movdqa", "movups", "movdqu"]);

function whole(name: string): Definition {
  const shapes = ["xx", "xm16", "m16x"];
  return simd(name, shapes, "wr", (_c, [d, s]) => d!.storeVector(() => s!.vector()), {
    hot: HOT.has(name) ? shapes : [],
    unaligned: UNALIGNED.includes(name),
  });
}

/** MOVD and MOVQ between general registers (or memory) and vector registers. */
function movd(size: 4 | 8): Definition[] {
  return [
    simd(
      "movd",
      [`xr${size}`, `xm${size}`],
      "wr",
      (c, [d, s]) =>
        d!.storeVector(() => {
          pushZero(c.e);
          s!.unsigned(size);
          c.e.lane("i64x2_replace_lane", 0);
        }),
      { hot: [`xr${size}`] },
    ),
    simd("movd", [`r${size}x`, `m${size}x`], "wr", (c, [d, s]) => d!.store(size, () => pushInteger(c.e, s!)), {
      hot: [`r${size}x`],
    }),
    simd("movd", [`qr${size}`, `qm${size}`], "wr", (c, [d, s]) => storeMmxInteger(c.e, d!, () => s!.unsigned(size)), {
      mmx: true,
    }),
    simd("movd", [`r${size}q`, `m${size}q`], "wr", (c, [d, s]) => d!.store(size, () => pushInteger(c.e, s!)), {
      mmx: true,
    }),
  ];
}

const movq: readonly Definition[] = [
  simd("movq", ["xx", "xm8"], "wr", (c, [d, s]) => d!.storeVector(() => pushHalf(c.e, s!)), { hot: ["xx", "xm8"] }),
  simd("movq", ["m8x"], "wr", (c, [d, s]) => d!.store(8, () => pushInteger(c.e, s!)), { hot: ["m8x"] }),
  simd("movq", ["qq", "qm8"], "wr", (c, [d, s]) => storeMmx(c.e, d!, () => pushHalf(c.e, s!)), { mmx: true }),
  ...["movq", "movntq"].map((name) =>
    simd(name, ["m8q"], "wr", (c, [d, s]) => d!.store(8, () => pushInteger(c.e, s!)), { mmx: true }),
  ),
  simd("movq2dq", ["xq"], "wr", (c, [d, s]) => d!.storeVector(() => pushHalf(c.e, s!)), { mmx: true }),
  simd("movdq2q", ["qx"], "wr", (c, [d, s]) => storeMmx(c.e, d!, () => pushHalf(c.e, s!)), { mmx: true }),
];

/** MOVLPS and its like: one half of a register and memory; the other half stays. */
function half(name: string, offset: 0 | 8): Definition[] {
  const hot = name === "movhps" || name === "movlps";
  return [
    simd(name, ["xm8"], "br", (c, [d, s]) => storeLane(c.e, d!, "i64", offset / 8, () => pushInteger(c.e, s!)), {
      hot: hot ? ["xm8"] : [],
    }),
    simd(name, ["m8x"], "wr", (c, [d, s]) => d!.store(8, () => pushInteger(c.e, s!, offset)), {
      hot: hot ? ["m8x"] : [],
    }),
  ];
}

function betweenHalves(name: string, from: 0 | 8, to: 0 | 8): Definition {
  return simd(name, ["xx"], "br", (c, [d, s]) => storeLane(c.e, d!, "i64", to / 8, () => pushInteger(c.e, s!, from)));
}

/** MOVSS and MOVSD: between registers the rest stays, a load clears it. */
function scalar(name: string, size: 4 | 8): Definition[] {
  return [
    simd(name, ["xx"], "br", (c, [d, s]) =>
      storeLane(c.e, d!, size === 4 ? "f32" : "f64", 0, () => {
        s!.lane(size === 4 ? "f32" : "f64", 0);
      }),
    ),
    simd(
      name,
      [`xm${size}`],
      "wr",
      (c, [d, s]) => d!.storeVector(() => (size === 4 ? pushQuarter(c.e, s!) : pushHalf(c.e, s!))),
      { hot: size === 8 ? ["xm8"] : [] },
    ),
    simd(name, [`m${size}x`], "wr", (c, [d, s]) => d!.store(size as Size, () => pushInteger(c.e, s!)), {
      hot: size === 8 ? ["m8x"] : [],
    }),
  ];
}

const masks: readonly Definition[] = [
  ...(
    [
      ["pmovmskb", "i8x16_bitmask"],
      ["movmskps", "i32x4_bitmask"],
      ["movmskpd", "i64x2_bitmask"],
    ] as const
  ).map(([name, bitmask]) =>
    simd(
      name,
      ["r4x", "r8x"],
      "wr",
      (c, [d, s]) =>
        d!.store(8, () => {
          s!.vector();
          c.e.simd(bitmask).op("i64_extend_i32_u");
        }),
      { hot: name === "pmovmskb" ? ["r4x"] : [] },
    ),
  ),
  simd(
    "pmovmskb",
    ["r4q", "r8q"],
    "wr",
    (c, [d, s]) =>
      d!.store(8, () => {
        pushHalf(c.e, s!);
        c.e.simd("i8x16_bitmask").op("i64_extend_i32_u");
      }),
    { mmx: true },
  ),
];

const emms: Definition = {
  name: "emms",
  shapes: [""],
  access: "",
  emit(c) {
    c.x87?.sync();
    faultIfPending(c);
    enterMmx(c);
    c.state.set32(STATE.ftw, () => c.e.i32(0));
  },
};

/** Bytes chosen by a mask go to DS:rDI: the address is no operand, so JavaScript does it. */
const maskedStores: readonly Definition[] = [
  simd("maskmovq", ["qq"], "", (c) => c.service(), { mmx: true }),
  simd("maskmovdqu", ["xx"], "", (c) => c.service()),
];

/** Moves of whole vectors, halves, scalars and masks. */
export const simdMoveDefinitions: readonly Definition[] = [
  ...[...ALIGNED, ...UNALIGNED].map(whole),
  ...movd(4),
  ...movd(8),
  ...movq,
  ...half("movlps", 0),
  ...half("movlpd", 0),
  ...half("movhps", 8),
  ...half("movhpd", 8),
  betweenHalves("movhlps", 8, 0),
  betweenHalves("movlhps", 0, 8),
  ...scalar("movss", 4),
  ...scalar("movsd", 8),
  ...masks,
  emms,
  ...maskedStores,
];
