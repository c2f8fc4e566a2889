import type { SimdName } from "@paravirt/wasm-emit";
import type { Definition } from "../definition.ts";
import { STATE } from "../layout.ts";
import type { Lowering, Place } from "../lowering.ts";
import { byHalves, halvesOf, requireAvx, shapeFor, vex, vexService } from "./avx-operands.ts";
import { simdConvertDefinitions } from "./simd-convert.ts";
import { pushInteger, pushZero } from "./simd-operands.ts";

const ALIGNED = ["movaps", "movapd", "movdqa", "movntdq", "movntps", "movntpd", "movntdqa"];
const UNALIGNED = ["movups", "movupd", "movdqu", "lddqu"];

/** Stores both halves of a vector in memory. */
function storeHalves(c: Lowering, memory: Place, source: Place, halves: 1 | 2): void {
  const { e } = c;
  memory.storeVector(() => source.vector());
  if (halves === 2) {
    const upper = e.temporary("v128");
    source.upper().vector();
    e.set(upper);
    memory.upper().storeVector(() => e.get(upper));
    e.release("v128", upper);
  }
}

function whole(name: string): Definition {
  return vex(
    `v${name}`,
    ["xx", "xm16", "m16x", "yy", "ym32", "m32y"],
    "wr",
    (c, [d, s], shape) => {
      const halves = shape.sizes[shape.memory] === 32 ? 2 : halvesOf(shape);
      if (shape.memory === 0) storeHalves(c, d!, s!, halves);
      else byHalves(c, d!, halves, (target, half) => target.storeVector(() => half.of(s!).vector()));
    },
    { aligned: ALIGNED.includes(name) },
  );
}

/** MOVMSKPS and its like: the signs of all lanes, those of the upper half above the lower one's. */
function mask(name: string, bitmask: SimdName, lanes: number): Definition {
  return vex(name, ["r4x", "r8x", "r4y", "r8y"], "wr", (c, [d, s], shape) =>
    d!.store(8, () => {
      const { e } = c;
      s!.vector();
      e.simd(bitmask).op("i64_extend_i32_u");
      if (halvesOf(shape) === 1) return;
      s!.upper().vector();
      e.simd(bitmask).op("i64_extend_i32_u").i64(lanes).op("i64_shl").op("i64_or");
    }),
  );
}

const ZERO_FLAG = 6;
/** VPTEST, and VTESTPS and VTESTPD of `signs` only: ZF without a common bit, CF when the source has none that the destination lacks. */
function test(name: string, signs: readonly number[] | undefined): Definition {
  return vex(name, ["xx", "xm16", "yy", "ym32"], "rr", (c, [d, s], shape) => {
    const { e } = c;
    const halves = halvesOf(shape);
    const image = e.temporary("i64");
    const pushNone = (op: "v128_and" | "v128_andnot") => {
      for (let half = 0; half < halves; half++) {
        const [a, b] = half === 0 ? [s!, d!] : [s!.upper(), d!.upper()];
        a.vector();
        b.vector();
        e.simd(op);
        if (half > 0) e.simd("v128_or");
      }
      if (signs) e.v128(signs).simd("v128_and");
      e.simd("v128_any_true").op("i32_eqz");
    };
    pushNone("v128_and");
    e.i32(ZERO_FLAG).op("i32_shl");
    pushNone("v128_andnot");
    e.op("i32_or").op("i64_extend_i32_u").set(image);
    c.flags.load(image);
    e.release("i64", image);
  });
}
const signBytes = (width: number) => Array.from({ length: 16 }, (_, i) => (i % width === width - 1 ? 0x80 : 0));

const convert = (name: string) => simdConvertDefinitions.find((definition) => definition.name === name)!.operation!;
const CONVERSION_SHAPES = { xx: shapeFor("xx"), xm8: shapeFor("xm8"), xm16: shapeFor("xm16") } as const;

/** Conversions whose results are twice as wide as their sources. */
function widen(name: string): Definition {
  return vex(`v${name}`, ["xx", "xm8", "yx", "ym16"], "wr", (c, [d, s], shape) =>
    byHalves(c, d!, halvesOf(shape), (target, half) =>
      convert(name).emit(c, [target, half.of(s!, 8)], CONVERSION_SHAPES[shape.memory < 0 ? "xx" : "xm8"]),
    ),
  );
}

/** Conversions whose results are half as wide as their sources: those of both halves end in one XMM register. */
function narrow(name: string): Definition {
  return vex(`v${name}`, ["xx", "xm16", "xy", "xm32"], "wr", (c, [d, s], shape) => {
    const { e } = c;
    const { emit } = convert(name);
    const legacy = CONVERSION_SHAPES[shape.memory < 0 ? "xx" : "xm16"];
    if (shape.letters[1] !== "y" && shape.sizes[1] !== 32) {
      byHalves(c, d!, 1, (target) => emit(c, [target, s!], legacy));
      return;
    }
    const low = e.temporary("v128");
    byHalves(c, d!, 1, (target) => {
      emit(c, [target, s!], legacy);
      target.vector();
      e.set(low);
      emit(c, [target, s!.upper()], legacy);
      target.storeVector(() => {
        e.get(low);
        target.lane("i64", 0);
        e.lane("i64x2_replace_lane", 1);
      });
    });
    e.release("v128", low);
  });
}

/** VMOVDDUP on 256 bits repeats the lower quadword of each half. */
const movddup = vex("vmovddup", ["xx", "xm8", "yy", "ym32"], "wr", (c, [d, s], shape) =>
  byHalves(c, d!, halvesOf(shape), (target, half) =>
    target.storeVector(() => {
      pushInteger(c.e, half.of(s!));
      c.e.simd("i64x2_splat");
    }),
  ),
);

/** Clears registers: 16 of them in 64-bit mode, eight in compatibility mode. */
function clear(name: string, all: boolean): Definition {
  return {
    name,
    shapes: [""],
    access: "",
    translated: true,
    emit(c) {
      requireAvx(c);
      const { e } = c;
      const clearFrom = (first: number) => {
        for (let number = first; number < first + 8; number++) {
          const place = c.vectorRegister(number);
          if (all) place.storeVector(() => pushZero(e));
          place.upper().storeVector(() => pushZero(e));
        }
      };
      clearFrom(0);
      c.state.get64(STATE.linearMask);
      e.i64(-1).op("i64_eq").if();
      clearFrom(8);
      e.end();
    },
  };
}

/** Moves, conversions of another width, tests and what clears registers. */
export function avxMoveDefinitions(): readonly Definition[] {
  return [
    ...[...ALIGNED, ...UNALIGNED].map(whole),
    movddup,
    mask("vpmovmskb", "i8x16_bitmask", 16),
    mask("vmovmskps", "i32x4_bitmask", 4),
    mask("vmovmskpd", "i64x2_bitmask", 2),
    test("vptest", undefined),
    test("vtestps", signBytes(4)),
    test("vtestpd", signBytes(8)),
    widen("cvtps2pd"),
    widen("cvtdq2pd"),
    narrow("cvtpd2ps"),
    narrow("cvtpd2dq"),
    narrow("cvttpd2dq"),
    clear("vzeroupper", false),
    clear("vzeroall", true),
    vexService("vmaskmovdqu", ["xx"]),
  ];
}
