import type { SimdName } from "@paravirt/wasm-emit";
import type { Definition } from "../definition.ts";
import type { Lowering, Place } from "../lowering.ts";

const D: Definition[] = [];
const def = (name: string, shapes: string[], access: string, emit: Definition["emit"], hot: string[] = []) =>
  D.push({ name, shapes, access, emit, hot });
for (const n of [
  "movups",
  "movupd",
  "movaps",
  "movapd",
  "movdqa",
  "movdqu",
  "lddqu",
  "movntdq",
  "movntps",
  "movntpd",
  "movntdqa",
])
  def(n, ["xx", "xm16", "m16x"], "wr", (_c, [d, s]) => d!.storeVector(() => s!.vector()), ["xx", "xm16", "m16x"]);
const bin = (name: string, op: SimdName, swap = false) =>
  def(
    name,
    ["xx", "xm16"],
    "br",
    (c, [d, s]) =>
      d!.storeVector(() => {
        if (swap) {
          s!.vector();
          d!.vector();
        } else {
          d!.vector();
          s!.vector();
        }
        c.e.simd(op);
      }),
    name === "pxor" || name === "pcmpeqb" ? ["xx", "xm16"] : [],
  );
const B: [string, SimdName][] = [
  ["pxor", "v128_xor"],
  ["xorps", "v128_xor"],
  ["xorpd", "v128_xor"],
  ["por", "v128_or"],
  ["orps", "v128_or"],
  ["orpd", "v128_or"],
  ["pand", "v128_and"],
  ["andps", "v128_and"],
  ["andpd", "v128_and"],
  ["paddb", "i8x16_add"],
  ["paddw", "i16x8_add"],
  ["paddd", "i32x4_add"],
  ["paddq", "i64x2_add"],
  ["psubb", "i8x16_sub"],
  ["psubw", "i16x8_sub"],
  ["psubd", "i32x4_sub"],
  ["psubq", "i64x2_sub"],
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
  ["pmullw", "i16x8_mul"],
  ["paddusb", "i8x16_add_sat_u"],
  ["paddusw", "i16x8_add_sat_u"],
  ["psubusb", "i8x16_sub_sat_u"],
  ["psubusw", "i16x8_sub_sat_u"],
  ["paddsb", "i8x16_add_sat_s"],
  ["paddsw", "i16x8_add_sat_s"],
  ["pavgb", "i8x16_avgr_u"],
  ["pavgw", "i16x8_avgr_u"],
  ["packsswb", "i8x16_narrow_i16x8_s"],
  ["packuswb", "i8x16_narrow_i16x8_u"],
  ["packssdw", "i16x8_narrow_i32x4_s"],
  ["pmaddwd", "i32x4_dot_i16x8_s"],
  ["addps", "f32x4_add"],
  ["addpd", "f64x2_add"],
  ["mulpd", "f64x2_mul"],
  ["mulps", "f32x4_mul"],
  ["subpd", "f64x2_sub"],
  ["subps", "f32x4_sub"],
  ["divpd", "f64x2_div"],
  ["divps", "f32x4_div"],
  ["pmulld", "i32x4_mul"],
];
for (const [n, o] of B) bin(n, o);
for (const n of ["pandn", "andnps", "andnpd"]) bin(n, "v128_andnot", true);
const shuf = (name: string, lanes: number[]) =>
  def(name, ["xx", "xm16"], "br", (c, [d, s]) =>
    d!.storeVector(() => {
      d!.vector();
      s!.vector();
      c.e.shuffle(lanes);
    }),
  );
const il = (w: number, hi: boolean) => {
  const out: number[] = [];
  for (let i = 0; i < 16 / w / 2; i++) {
    const b = (hi ? 8 : 0) + i * w;
    for (let k = 0; k < w; k++) out.push(b + k);
    for (let k = 0; k < w; k++) out.push(16 + b + k);
  }
  return out;
};
for (const [n, w, h] of [
  ["punpcklbw", 1, false],
  ["punpcklwd", 2, false],
  ["punpckldq", 4, false],
  ["punpcklqdq", 8, false],
  ["punpckhbw", 1, true],
  ["punpckhwd", 2, true],
  ["punpckhdq", 4, true],
  ["punpckhqdq", 8, true],
  ["unpcklps", 4, false],
  ["unpcklpd", 8, false],
  ["unpckhps", 4, true],
  ["unpckhpd", 8, true],
] as const)
  shuf(n, il(w, h));
def(
  "pmovmskb",
  ["r4x", "r8x"],
  "wr",
  (c, [d, s]) =>
    d!.store(8, () => {
      s!.vector();
      c.e.simd("i8x16_bitmask").op("i64_extend_i32_u");
    }),
  ["r4x"],
);
def("movmskpd", ["r4x", "r8x"], "wr", (c, [d, s]) =>
  d!.store(8, () => {
    s!.vector();
    c.e.simd("i64x2_bitmask").op("i64_extend_i32_u");
  }),
);
def("movmskps", ["r4x", "r8x"], "wr", (c, [d, s]) =>
  d!.store(8, () => {
    s!.vector();
    c.e.simd("i32x4_bitmask").op("i64_extend_i32_u");
  }),
);
// movd/movq
for (const sz of [4, 8] as const) {
  def(
    "movd",
    [`xr${sz}`, `xm${sz}`],
    "wr",
    (c, [d, s]) =>
      d!.storeVector(() => {
        c.e.v128(new Uint8Array(16));
        s!.unsigned(sz);
        c.e.lane("i64x2_replace_lane", 0);
      }),
    [`xr${sz}`],
  );
  def(
    "movd",
    [`r${sz}x`, `m${sz}x`],
    "wr",
    (c, [d, s]) =>
      d!.store(sz, () => {
        s!.address();
        c.e.mem(sz === 8 ? "i64_load" : "i64_load32_u");
      }),
    [`r${sz}x`],
  );
}
def(
  "movq",
  ["xx", "xm8"],
  "wr",
  (c, [d, s]) =>
    d!.storeVector(() => {
      s!.address();
      c.e.simdMem("v128_load64_zero");
    }),
  ["xx", "xm8"],
);
def(
  "movq",
  ["m8x"],
  "wr",
  (c, [d, s]) => {
    d!.address();
    s!.address();
    c.e.mem("i64_load").mem("i64_store");
  },
  ["m8x"],
);
const half = (name: string, off: number) => {
  def(
    name,
    ["xm8"],
    "br",
    (c, [d, s]) => {
      d!.address();
      s!.address();
      c.e.mem("i64_load").mem("i64_store", off);
    },
    ["xm8"],
  );
  def(name, ["m8x"], "wr", (c, [d, s]) => {
    d!.address();
    s!.address();
    c.e.mem("i64_load", off).mem("i64_store");
  });
};
half("movlps", 0);
half("movlpd", 0);
half("movhps", 8);
half("movhpd", 8);
def("movhlps", ["xx"], "br", (c, [d, s]) => {
  d!.address();
  s!.address();
  c.e.mem("i64_load", 8).mem("i64_store");
});
def("movlhps", ["xx"], "br", (c, [d, s]) => {
  d!.address();
  s!.address();
  c.e.mem("i64_load").mem("i64_store", 8);
});
def("movss", ["xx"], "br", (c, [d, s]) => {
  d!.address();
  s!.address();
  c.e.mem("i32_load").mem("i32_store");
});
def("movss", ["xm4"], "wr", (c, [d, s]) =>
  d!.storeVector(() => {
    s!.address();
    c.e.simdMem("v128_load32_zero");
  }),
);
def("movss", ["m4x"], "wr", (c, [d, s]) => {
  d!.address();
  s!.address();
  c.e.mem("i32_load").mem("i32_store");
});
def("movsd", ["xx"], "br", (c, [d, s]) => {
  d!.address();
  s!.address();
  c.e.mem("i64_load").mem("i64_store");
});
def("movsd", ["xm8"], "wr", (c, [d, s]) =>
  d!.storeVector(() => {
    s!.address();
    c.e.simdMem("v128_load64_zero");
  }),
);
def("movsd", ["m8x"], "wr", (c, [d, s]) => {
  d!.address();
  s!.address();
  c.e.mem("i64_load").mem("i64_store");
});
// dynamic shuffles by immediate (runtime): build via scalar loads
const pick32 = (c: Lowering, src: Place, im: Place, i: number) => {
  src.address();
  im.unsigned(1);
  c.e
    .op("i32_wrap_i64")
    .i32(2 * i)
    .op("i32_shr_u")
    .i32(3)
    .op("i32_and")
    .i32(2)
    .op("i32_shl")
    .op("i32_add")
    .mem("i32_load");
};
def("pshufd", ["xxi", "xm16i"], "wrr", (c, [d, s, im]) =>
  d!.storeVector(() => {
    pick32(c, s!, im!, 0);
    c.e.simd("i32x4_splat");
    for (let i = 1; i < 4; i++) {
      pick32(c, s!, im!, i);
      c.e.lane("i32x4_replace_lane", i);
    }
  }),
);
def("shufps", ["xxi", "xm16i"], "brr", (c, [d, s, im]) =>
  d!.storeVector(() => {
    pick32(c, d!, im!, 0);
    c.e.simd("i32x4_splat");
    pick32(c, d!, im!, 1);
    c.e.lane("i32x4_replace_lane", 1);
    for (let i = 2; i < 4; i++) {
      pick32(c, s!, im!, i);
      c.e.lane("i32x4_replace_lane", i);
    }
  }),
);
def("shufpd", ["xxi", "xm16i"], "brr", (c, [d, s, im]) =>
  d!.storeVector(() => {
    const p = (x: Place, i: number) => {
      x.address();
      im!.unsigned(1);
      c.e
        .op("i32_wrap_i64")
        .i32(i)
        .op("i32_shr_u")
        .i32(1)
        .op("i32_and")
        .i32(3)
        .op("i32_shl")
        .op("i32_add")
        .mem("i64_load");
    };
    p(d!, 0);
    c.e.simd("i64x2_splat");
    p(s!, 1);
    c.e.lane("i64x2_replace_lane", 1);
  }),
);
for (const [n, base] of [
  ["pshuflw", 0],
  ["pshufhw", 4],
] as const)
  def(n, ["xxi", "xm16i"], "wrr", (c, [d, s, im]) =>
    d!.storeVector(() => {
      s!.vector();
      for (let i = 0; i < 4; i++) {
        s!.address();
        im!.unsigned(1);
        c.e
          .op("i32_wrap_i64")
          .i32(2 * i)
          .op("i32_shr_u")
          .i32(3)
          .op("i32_and")
          .i32(1)
          .op("i32_shl")
          .op("i32_add")
          .mem("i32_load16_u", base * 2)
          .lane("i16x8_replace_lane", base + i);
      }
    }),
  );
for (const [w, lane, bits] of [
  ["w", "i16x8", 16],
  ["d", "i32x4", 32],
  ["q", "i64x2", 64],
] as const)
  for (const [k, op] of [
    ["psll", "shl"],
    ["psrl", "shr_u"],
    ["psra", "shr_s"],
  ] as const) {
    if (k === "psra" && w === "q") continue;
    const emit: Definition["emit"] = (c, [d, s], sh) => {
      const n = c.e.temporary("i64");
      if (sh.letters[1] === "i") s!.unsigned(1);
      else {
        s!.address();
        c.e.mem("i64_load");
      }
      c.e.set(n);
      d!.storeVector(() => {
        d!.vector();
        c.e
          .get(n)
          .i64(bits - 1)
          .get(n)
          .i64(bits)
          .op("i64_lt_u")
          .op("select")
          .op("i32_wrap_i64")
          .simd(`${lane}_${op}` as SimdName);
        if (k !== "psra") {
          c.e.v128(new Uint8Array(16));
          c.e.get(n).i64(bits).op("i64_lt_u").op("select");
        }
      });
      c.e.release("i64", n);
    };
    def(k + w, ["xi", "xx", "xm16"], "br", emit);
  }
for (const [n, left] of [
  ["pslldq", true],
  ["psrldq", false],
] as const)
  def(n, ["xi"], "br", (c, [d, s]) => {
    const cnt = c.e.temporary("i32");
    s!.unsigned(1);
    c.e.op("i32_wrap_i64").set(cnt);
    c.e.i32(16).get(cnt).get(cnt).i32(16).op("i32_gt_u").op("select").set(cnt);
    const B0 = 0x1c00;
    c.e.i32(0).v128(new Uint8Array(16)).simdMem("v128_store", B0);
    c.e
      .i32(0)
      .v128(new Uint8Array(16))
      .simdMem("v128_store", B0 + 32);
    c.e.i32(0);
    d!.vector();
    c.e.simdMem("v128_store", B0 + 16);
    d!.storeVector(() => {
      if (left) c.e.i32(16).get(cnt).op("i32_sub").simdMem("v128_load", B0);
      else c.e.get(cnt).simdMem("v128_load", B0 + 16);
    });
    c.e.release("i32", cnt);
  });
def("pinsrw", ["xr4i", "xm2i"], "brr", (c, [d, s, im]) => {
  d!.address();
  im!.unsigned(1);
  c.e.op("i32_wrap_i64").i32(7).op("i32_and").i32(1).op("i32_shl").op("i32_add");
  s!.unsigned(2);
  c.e.mem("i64_store16");
});
def("pextrw", ["r4xi"], "wrr", (c, [d, s, im]) =>
  d!.store(8, () => {
    s!.address();
    im!.unsigned(1);
    c.e.op("i32_wrap_i64").i32(7).op("i32_and").i32(1).op("i32_shl").op("i32_add").mem("i64_load16_u");
  }),
);
def("pmuludq", ["xx", "xm16"], "br", (c, [d, s]) =>
  d!.storeVector(() => {
    const L = [0, 1, 2, 3, 8, 9, 10, 11, 0, 0, 0, 0, 0, 0, 0, 0];
    d!.vector();
    d!.vector();
    c.e.shuffle(L);
    s!.vector();
    s!.vector();
    c.e.shuffle(L);
    c.e.simd("i64x2_extmul_low_i32x4_u");
  }),
);
def("psadbw", ["xx", "xm16"], "br", (c, [d, s]) => {
  const v = c.e.temporary("v128");
  d!.vector();
  s!.vector();
  c.e.simd("i8x16_max_u");
  d!.vector();
  s!.vector();
  c.e
    .simd("i8x16_min_u")
    .simd("i8x16_sub")
    .simd("i16x8_extadd_pairwise_i8x16_u")
    .simd("i32x4_extadd_pairwise_i16x8_u")
    .set(v);
  d!.storeVector(() => {
    c.e.get(v).get(v).i32(32).simd("i64x2_shr_u").simd("i64x2_add");
    c.e.v128([255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0]).simd("v128_and");
  });
  c.e.release("v128", v);
});
// scalar fp
const f64 = (c: Lowering, p: Place) => {
  p.address();
  c.e.mem("f64_load");
};
const f32 = (c: Lowering, p: Place) => {
  p.address();
  c.e.mem("f32_load");
};
for (const o of ["add", "sub", "mul", "div"] as const) {
  def(o + "sd", ["xx", "xm8"], "br", (c, [d, s]) => {
    d!.address();
    f64(c, d!);
    f64(c, s!);
    c.e.op(`f64_${o}`).mem("f64_store");
  });
  def(o + "ss", ["xx", "xm4"], "br", (c, [d, s]) => {
    d!.address();
    f32(c, d!);
    f32(c, s!);
    c.e.op(`f32_${o}`).mem("f32_store");
  });
}
for (const [o, op] of [
  ["min", "lt"],
  ["max", "gt"],
] as const)
  def(o + "sd", ["xx", "xm8"], "br", (c, [d, s]) => {
    d!.address();
    f64(c, d!);
    f64(c, s!);
    f64(c, d!);
    f64(c, s!);
    c.e.op(`f64_${op}`).op("select").mem("f64_store");
  });
def("sqrtsd", ["xx", "xm8"], "br", (c, [d, s]) => {
  d!.address();
  f64(c, s!);
  c.e.op("f64_sqrt").mem("f64_store");
});
for (const sz of [4, 8] as const) {
  def("cvtsi2sd", [`xr${sz}`, `xm${sz}`], "br", (c, [d, s]) => {
    d!.address();
    s!.signed(sz);
    c.e.op("f64_convert_i64_s").mem("f64_store");
  });
  def("cvtsi2ss", [`xr${sz}`, `xm${sz}`], "br", (c, [d, s]) => {
    d!.address();
    s!.signed(sz);
    c.e.op("f32_convert_i64_s").mem("f32_store");
  });
  for (const [n, near] of [
    ["cvttsd2si", false],
    ["cvtsd2si", true],
  ] as const)
    def(n, [`r${sz}x`, `r${sz}m8`], "wr", (c, [d, s]) =>
      d!.store(sz, () => {
        const v = c.e.temporary("f64");
        f64(c, s!);
        if (near) c.e.op("f64_nearest");
        c.e.set(v);
        const lim = sz === 8 ? 2 ** 63 : 2 ** 31;
        c.e.get(v).truncSat("i64_trunc_sat_f64_s");
        c.e.i64(sz === 8 ? -(2n ** 63n) : -(2 ** 31));
        if (sz === 8) c.e.get(v).f64(lim).op("f64_lt").get(v).f64(-lim).op("f64_ge").op("i32_and");
        else
          c.e
            .get(v)
            .f64(lim)
            .op("f64_lt")
            .get(v)
            .f64(-lim - 1)
            .op("f64_gt")
            .op("i32_and");
        c.e.op("select");
        c.e.release("f64", v);
      }),
    );
  def("cvttss2si", [`r${sz}x`, `r${sz}m4`], "wr", (c, [d, s]) =>
    d!.store(sz, () => {
      f32(c, s!);
      c.e.truncSat("i64_trunc_sat_f32_s");
    }),
  );
}
def("cvtss2sd", ["xx", "xm4"], "br", (c, [d, s]) => {
  d!.address();
  f32(c, s!);
  c.e.op("f64_promote_f32").mem("f64_store");
});
def("cvtsd2ss", ["xx", "xm8"], "br", (c, [d, s]) => {
  d!.address();
  f64(c, s!);
  c.e.op("f32_demote_f64").mem("f32_store");
});
def("cvtdq2pd", ["xx", "xm8"], "wr", (c, [d, s]) =>
  d!.storeVector(() => {
    s!.address();
    c.e.simdMem("v128_load64_zero").simd("f64x2_convert_low_i32x4_s");
  }),
);
def("cvtdq2ps", ["xx", "xm16"], "wr", (c, [d, s]) =>
  d!.storeVector(() => {
    s!.vector();
    c.e.simd("f32x4_convert_i32x4_s");
  }),
);
for (const n of ["ucomisd", "comisd"])
  def(n, ["xx", "xm8"], "rr", (c, [a, b]) => {
    const im = c.e.temporary("i64");
    f64(c, a!);
    f64(c, a!);
    c.e.op("f64_eq");
    f64(c, b!);
    f64(c, b!);
    c.e.op("f64_eq").op("i32_and").if();
    f64(c, a!);
    f64(c, b!);
    c.e.op("f64_eq").i32(6).op("i32_shl");
    f64(c, a!);
    f64(c, b!);
    c.e.op("f64_lt").op("i32_or").op("i64_extend_i32_u").set(im);
    c.e.else();
    c.e.i64(0x45).set(im);
    c.e.end();
    c.flags.load(im);
    c.e.release("i64", im);
  });
for (const n of ["ucomiss", "comiss"])
  def(n, ["xx", "xm4"], "rr", (c, [a, b]) => {
    const im = c.e.temporary("i64");
    f32(c, a!);
    f32(c, a!);
    c.e.op("f32_eq");
    f32(c, b!);
    f32(c, b!);
    c.e.op("f32_eq").op("i32_and").if();
    f32(c, a!);
    f32(c, b!);
    c.e.op("f32_eq").i32(6).op("i32_shl");
    f32(c, a!);
    f32(c, b!);
    c.e.op("f32_lt").op("i32_or").op("i64_extend_i32_u").set(im);
    c.e.else();
    c.e.i64(0x45).set(im);
    c.e.end();
    c.flags.load(im);
    c.e.release("i64", im);
  });
export const vectorDefinitions: readonly Definition[] = D;
def("emms", [""], "", (c) => c.state.set32(0x111c, () => c.e.i32(0)));
