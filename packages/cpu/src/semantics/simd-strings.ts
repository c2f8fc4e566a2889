import type { Definition } from "../definition.ts";
import type { Lowering, Place } from "../lowering.ts";
import { pushImmediate, pushZero, simd } from "./simd-operands.ts";

const SHAPES = ["xxi", "xm16i"];
const RCX = 1;
/** Bits of the immediate that say "compare each byte with the other string's at its place", and what they are then. */
const KIND = { mask: 0x0d, equalEach: 8 } as const;
const POLARITY = { negative: 1, maskedNegative: 3 } as const;
const HIGHEST = 0x40;
const ALL = 0xffff;

/** Pushes the bytes' bits of a vector that are before the first zero byte; `zeros` gets those of all zero bytes. */
function pushValid(c: Lowering, place: Place, zeros: number): void {
  const { e } = c;
  const ended = e.temporary("i32");
  place.vector();
  pushZero(e);
  e.simd("i8x16_eq").simd("i8x16_bitmask").tee(zeros);
  e.i32(ALL + 1)
    .op("i32_or")
    .tee(ended);
  e.i32(0).get(ended).op("i32_sub").op("i32_and").i32(1).op("i32_sub");
  e.release("i32", ended);
}

/** Pushes bits that the polarity inverts, `valid` being those of the second string's bytes. */
function pushInverted(c: Lowering, valid: number): void {
  const { e } = c;
  if (c.known !== undefined) {
    const polarity = (c.known >> 4) & 3;
    if (polarity === POLARITY.maskedNegative) e.get(valid);
    else e.i32(polarity === POLARITY.negative ? ALL : 0);
    return;
  }
  e.get(valid).i32(ALL).i32(0);
  pushImmediate(c, 4, 3);
  e.i32(POLARITY.negative).op("i32_eq").op("select");
  pushImmediate(c, 4, 3);
  e.i32(POLARITY.maskedNegative).op("i32_eq").op("select");
}

/** PCMPISTRI: what STRCMP does, byte by byte, is done here; JavaScript does the other comparisons. */
const implicitIndex = simd(
  "pcmpistri",
  SHAPES,
  "rr",
  (c, [a, b]) => {
    const { e } = c;
    if (c.known === undefined) {
      pushImmediate(c, 0, KIND.mask);
      e.i32(KIND.equalEach).op("i32_ne").if();
      c.service();
      e.end();
      c.reachable();
    } else if ((c.known & KIND.mask) !== KIND.equalEach) {
      c.service();
      return;
    }
    const [validA, validB, zerosA, zerosB, bits] = [
      e.temporary("i32"),
      e.temporary("i32"),
      e.temporary("i32"),
      e.temporary("i32"),
      e.temporary("i32"),
    ];
    pushValid(c, a!, zerosA);
    e.set(validA);
    pushValid(c, b!, zerosB);
    e.set(validB);
    // Equal where both strings go on, and past the ends of both.
    a!.vector();
    b!.vector();
    e.simd("i8x16_eq").simd("i8x16_bitmask").get(validA).op("i32_and").get(validB).op("i32_and");
    e.get(validA).get(validB).op("i32_or").i32(ALL).op("i32_xor").op("i32_or");
    pushInverted(c, validB);
    e.op("i32_xor").set(bits);
    c.register(RCX).store(8, () => {
      e.i32(31).get(bits).op("i32_clz").op("i32_sub");
      e.get(bits)
        .i32(ALL + 1)
        .op("i32_or")
        .op("i32_ctz");
      pushImmediate(c, 0, HIGHEST);
      e.i32(0).op("i32_ne").get(bits).i32(0).op("i32_ne").op("i32_and");
      e.op("select").op("i64_extend_i32_u");
    });
    const image = e.temporary("i64");
    const flag = (local: number, bit: number) => e.get(local).i32(0).op("i32_ne").i32(bit).op("i32_shl");
    flag(bits, 0);
    flag(zerosB, 6);
    e.op("i32_or");
    flag(zerosA, 7);
    e.op("i32_or");
    e.get(bits).i32(1).op("i32_and").i32(11).op("i32_shl").op("i32_or").op("i64_extend_i32_u").set(image);
    c.flags.load(image);
    e.release("i64", image);
    e.release("i32", validA, validB, zerosA, zerosB, bits);
  },
  { unaligned: true },
);

/** PCMPxSTRx: JavaScript compares; the memory operand needs no alignment. */
export const simdStringDefinitions: readonly Definition[] = [
  implicitIndex,
  ...["pcmpestrm", "pcmpestri", "pcmpistrm"].map((name) =>
    simd(name, SHAPES, "rr", (c) => c.service(), { unaligned: true }),
  ),
];
