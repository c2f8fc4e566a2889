import type { CodeEmitter } from "@paravirt/wasm-emit";
import type { Definition } from "../definition.ts";
import { defineHelper, type Helper } from "../helpers.ts";
import type { Lowering, Place } from "../lowering.ts";
import { IOTA } from "./simd-integer.ts";
import { pushChosenLane, pushImmediate, simd } from "./simd-operands.ts";

const POLYNOMIAL = 0x11b;

/** The S-box of FIPS 197, 5.1.1: inverses in GF(2^8), then an affine map. 3 generates the field's units, 0xf6 is its inverse. */
function makeSubstitution(): Uint8Array {
  const box = new Uint8Array(256);
  const double = (value: number) => (value << 1) ^ (value & 0x80 ? POLYNOMIAL : 0);
  const multiply = (a: number, b: number) => {
    let result = 0;
    for (let bit = 0, power = a; bit < 8; bit++, power = double(power)) if ((b >> bit) & 1) result ^= power;
    return result;
  };
  const affine = (value: number) => {
    const rotated = (by: number) => ((value << by) | (value >> (8 - by))) & 0xff;
    return value ^ rotated(1) ^ rotated(2) ^ rotated(3) ^ rotated(4) ^ 0x63;
  };
  box[0] = affine(0);
  for (let i = 0, value = 1, inverse = 1; i < 255; i++, value = multiply(value, 3), inverse = multiply(inverse, 0xf6))
    box[value] = affine(inverse);
  return box;
}
const SUBSTITUTION = makeSubstitution();
const INVERSE = new Uint8Array(256);
SUBSTITUTION.forEach((to, from) => {
  INVERSE[to] = from;
});

/** (v128) → each byte replaced: sixteen rows of the box, each answers for its bytes and zero for all others. */
function substitution(name: string, box: Uint8Array): Helper {
  return defineHelper(name, { parameters: ["v128"], results: ["v128"] }, (e) => {
    for (let row = 0; row < 16; row++) {
      e.v128(box.subarray(row * 16, row * 16 + 16)).get(0);
      if (row > 0) e.v128(IOTA.map(() => row * 16)).simd("i8x16_sub");
      e.simd("i8x16_swizzle");
      if (row > 0) e.simd("v128_or");
    }
  });
}
const substitute = substitution("aes.substitute", SUBSTITUTION);
const substituteBack = substitution("aes.substituteBack", INVERSE);

const bytes = (value: number) => IOTA.map(() => value);
/** Replaces the v128 local `value` by its bytes times x in GF(2^8). */
function double(e: CodeEmitter, value: number): void {
  e.get(value).i32(1).simd("i8x16_shl");
  e.get(value).i32(7).simd("i8x16_shr_s").v128(bytes(0x1b)).simd("v128_and").simd("v128_xor").set(value);
}
const rotated = (e: CodeEmitter, value: number, by: number) =>
  e
    .get(value)
    .get(value)
    .shuffle(IOTA.map((i) => (i & 12) + ((i + by) & 3)));

/** (v128) → MixColumns: each byte 2a ^ 3b ^ c ^ d of its column. */
const mix = defineHelper("aes.mix", { parameters: ["v128"], results: ["v128"] }, (e) => {
  const sum = e.local("v128");
  e.get(0);
  rotated(e, 0, 1);
  e.simd("v128_xor").set(sum);
  double(e, sum);
  e.get(sum);
  for (const by of [1, 2, 3]) {
    rotated(e, 0, by);
    e.simd("v128_xor");
  }
});
/** (v128) → InvMixColumns: 4(a ^ c) added to each byte, then MixColumns. */
const mixBack = defineHelper("aes.mixBack", { parameters: ["v128"], results: ["v128"] }, (e, call) => {
  const sum = e.local("v128");
  e.get(0);
  rotated(e, 0, 2);
  e.simd("v128_xor").set(sum);
  double(e, sum);
  double(e, sum);
  e.get(0).get(sum).simd("v128_xor");
  call(mix);
});

/** Bytes are in column order: row `i & 3` moves by as many columns. */
const shiftedRows = (direction: 1 | -1) => IOTA.map((i) => (i + direction * 4 * (i & 3)) & 15);

function round(name: string, encrypt: boolean, last: boolean): Definition {
  return simd(name, ["xx", "xm16"], "br", (c, [d, s]) =>
    d!.storeVector(() => {
      d!.vector();
      d!.vector();
      c.e.shuffle(shiftedRows(encrypt ? 1 : -1));
      c.call(encrypt ? substitute : substituteBack);
      if (!last) c.call(encrypt ? mix : mixBack);
      s!.vector();
      c.e.simd("v128_xor");
    }),
  );
}

const emitKeyAssist = (c: Lowering, [d, s]: readonly Place[]) => {
  const words = c.e.temporary("v128");
  s!.vector();
  c.call(substitute);
  c.e.set(words);
  d!.storeVector(() => {
    c.e.get(words).get(words).shuffle([4, 5, 6, 7, 5, 6, 7, 4, 12, 13, 14, 15, 13, 14, 15, 12]);
    pushImmediate(c);
    c.e.op("i64_extend_i32_u").i64(32).op("i64_shl").simd("i64x2_splat").simd("v128_xor");
  });
  c.e.release("v128", words);
};

const MULTIPLY_BITS = 64;
/** (a, b) → their 128-bit product over GF(2), bit by bit from the top. */
const carryless = defineHelper("simd.carryless", { parameters: ["i64", "i64"], results: ["v128"] }, (e) => {
  const [a, b] = [0, 1];
  const low = e.local("i64");
  const high = e.local("i64");
  const count = e.local("i32");
  const again = e.loop();
  e.get(high).i64(1).op("i64_shl").get(low).i64(63).op("i64_shr_u").op("i64_or").set(high);
  e.get(low).i64(1).op("i64_shl").get(b).i64(63).op("i64_shr_s").get(a).op("i64_and").op("i64_xor").set(low);
  e.get(b).i64(1).op("i64_shl").set(b);
  e.get(count).i32(1).op("i32_add").tee(count).i32(MULTIPLY_BITS).op("i32_lt_u").brIf(again);
  e.end();
  e.get(low).simd("i64x2_splat").get(high).lane("i64x2_replace_lane", 1);
});

/** Immediate bit 0 picks the destination's half, bit 4 the source's. */
const pclmulqdq = simd("pclmulqdq", ["xxi", "xm16i"], "br", (c, [d, s]) =>
  d!.storeVector(() => {
    [d!, s!].forEach((place, index) => {
      pushChosenLane(c, place, "i64", { shift: index * 4, count: 2 });
    });
    c.call(carryless);
  }),
);

/** AES rounds and key schedule, carry-less multiplication. */
export const simdAesDefinitions: readonly Definition[] = [
  round("aesenc", true, false),
  round("aesenclast", true, true),
  round("aesdec", false, false),
  round("aesdeclast", false, true),
  simd("aesimc", ["xx", "xm16"], "wr", (c, [d, s]) =>
    d!.storeVector(() => {
      s!.vector();
      c.call(mixBack);
    }),
  ),
  simd("aeskeygenassist", ["xxi", "xm16i"], "wr", emitKeyAssist),
  pclmulqdq,
];
