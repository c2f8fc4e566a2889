import type { CodeEmitter, SimdName } from "@paravirt/wasm-emit";
import type { Definition } from "../definition.ts";
import { Int32, type Local32, Script } from "../expressions.ts";
import { defineHelper } from "../helpers.ts";
import type { Lowering } from "../lowering.ts";
import { type Operation, pushImmediate, simd, xmmBinary } from "./simd-operands.ts";

function rotateLeft(value: Int32, by: number, e: CodeEmitter): Int32 {
  return new Int32(e, () => {
    value.push();
    e.i32(by).op("i32_rotl");
  });
}

/** A local for lane `lane` of the v128 parameter `vector`. */
function lane(s: Script, vector: number, index: number): Local32 {
  const local = s.local32();
  s.e.get(vector).lane("i32x4_extract_lane", index).set(local.index);
  return local;
}

/** Leaves a vector of four values, the highest lane first as the manual writes them. */
function pushLanes(e: CodeEmitter, values: readonly Int32[]): void {
  values.forEach((value, index) => {
    value.push();
    if (index === 0) e.simd("i32x4_splat");
    else e.lane("i32x4_replace_lane", 3 - index);
  });
}

const SHA1_CONSTANTS = [0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6].map((value) => value | 0);

/** (ABCD, words with E added to the first, kind of round) → ABCD four rounds later. */
const sha1Rounds = defineHelper(
  "sha1.rounds",
  { parameters: ["v128", "v128", "i32"], results: ["v128"] },
  (e, call) => {
    const s = new Script(e, call);
    let [a, b, c, d] = [3, 2, 1, 0].map((index) => lane(s, 0, index)) as [Local32, Local32, Local32, Local32];
    const words = [3, 2, 1, 0].map((index) => lane(s, 1, index));
    const kind = s.parameter32(2);
    const constant = s.local32();
    constant.set(SHA1_CONSTANTS[0]!);
    for (const number of [1, 2, 3]) constant.set(kind.eq(number).choose(s.i32(SHA1_CONSTANTS[number]!), constant));
    const choice = s.local32();
    const pushed = s.local32();
    let last: Local32 | undefined;
    for (const word of words) {
      // Rounds 0–19 choose, 40–59 take the majority, the others the parity.
      choice.set(b.and(c).xor(b.xor(-1).and(d)));
      choice.set(kind.eq(2).choose(b.and(c).xor(b.and(d)).xor(c.and(d)), choice));
      choice.set(kind.and(1).choose(b.xor(c).xor(d), choice));
      pushed.set(
        choice
          .add(rotateLeft(a, 5, e))
          .add(word)
          .add(constant),
      );
      if (last) pushed.set(pushed.add(last));
      const next = s.local32();
      next.set(pushed);
      const turned = s.local32();
      turned.set(rotateLeft(b, 30, e));
      last = d;
      [a, b, c, d] = [next, a, turned, c];
    }
    pushLanes(e, [a, b, c, d]);
  },
);

/** (previous words, words before) → SHA-1's next four message words. */
const sha1Message2 = defineHelper("sha1.message2", { parameters: ["v128", "v128"], results: ["v128"] }, (e, call) => {
  const s = new Script(e, call);
  const next: Local32[] = [];
  for (let i = 0; i < 4; i++) {
    const word = s.local32();
    const other = i < 3 ? lane(s, 1, 2 - i) : next[0]!;
    word.set(rotateLeft(lane(s, 0, 3 - i).xor(other), 1, e));
    next.push(word);
  }
  pushLanes(e, next);
});

/** (CDGH, ABEF, words with constants added) → ABEF two rounds later. */
const sha256Rounds = defineHelper(
  "sha256.rounds",
  { parameters: ["v128", "v128", "v128"], results: ["v128"] },
  (e, call) => {
    const s = new Script(e, call);
    type Eight = [Local32, Local32, Local32, Local32, Local32, Local32, Local32, Local32];
    const from = (vector: number) => [3, 2, 1, 0].map((index) => lane(s, vector, index));
    const [c0, d0, g0, h0] = from(0) as unknown as Eight;
    const [a0, b0, e0, f0] = from(1) as unknown as Eight;
    let [a, b, c, d, x, f, g, h]: Eight = [a0, b0, c0, d0, e0, f0, g0, h0];
    const big = (value: Int32, ...turns: number[]) =>
      turns.map((turn) => rotateLeft(value, 32 - turn, e)).reduce((left, right) => left.xor(right));
    for (const index of [0, 1]) {
      const sum = s.local32();
      sum.set(
        x
          .and(f)
          .xor(x.xor(-1).and(g))
          .add(big(x, 6, 11, 25))
          .add(lane(s, 2, index))
          .add(h),
      );
      const nextA = s.local32();
      nextA.set(sum.add(a.and(b).xor(a.and(c)).xor(b.and(c))).add(big(a, 2, 13, 22)));
      const nextE = s.local32();
      nextE.set(sum.add(d));
      [a, b, c, d, x, f, g, h] = [nextA, a, b, c, nextE, x, f, g];
    }
    pushLanes(e, [a, b, x, f]);
  },
);

/** Pushes σ0 or σ1 of SHA-256 of every lane of the v128 local: two rotations and a shift to the right. */
function pushSmallSigma(e: CodeEmitter, value: number, first: number, second: number, shift: number): void {
  const shifted = (name: SimdName, by: number) => e.get(value).i32(by).simd(name);
  shifted("i32x4_shr_u", shift);
  for (const turn of [first, second]) {
    shifted("i32x4_shr_u", turn);
    e.simd("v128_xor");
    shifted("i32x4_shl", 32 - turn);
    e.simd("v128_xor");
  }
}

const sha256Message1: Operation = (e, a, b) => {
  const words = e.temporary("v128");
  a();
  b();
  e.shuffle([4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]).set(words);
  a();
  pushSmallSigma(e, words, 7, 18, 3);
  e.simd("i32x4_add");
  e.release("v128", words);
};

/** The first two new words enter the sums of the last two. */
const sha256Message2: Operation = (e, a, b) => {
  const words = e.temporary("v128");
  const low = e.temporary("v128");
  b();
  e.i32(0).simd("i32x4_splat").shuffle([8, 9, 10, 11, 12, 13, 14, 15, 16, 16, 16, 16, 16, 16, 16, 16]).set(words);
  a();
  pushSmallSigma(e, words, 17, 19, 10);
  e.simd("i32x4_add").set(low);
  e.i32(0).simd("i32x4_splat").get(low).shuffle([0, 0, 0, 0, 0, 0, 0, 0, 16, 17, 18, 19, 20, 21, 22, 23]).set(words);
  e.get(low);
  pushSmallSigma(e, words, 17, 19, 10);
  e.simd("i32x4_add");
  e.release("v128", words, low);
};

const sha1Message1: Operation = (e, a, b) => {
  a();
  b();
  e.shuffle([24, 25, 26, 27, 28, 29, 30, 31, 0, 1, 2, 3, 4, 5, 6, 7]);
  a();
  e.simd("v128_xor");
};

/** The source, with A of four rounds ago, turned, added to its highest word. */
const sha1NextE: Operation = (e, a, b) => {
  const source = e.temporary("v128");
  b();
  e.tee(source).get(source).lane("i32x4_extract_lane", 3);
  a();
  e.lane("i32x4_extract_lane", 3).i32(30).op("i32_rotl").op("i32_add").lane("i32x4_replace_lane", 3);
  e.release("v128", source);
};

const binary = (c: Lowering, helper: Parameters<Lowering["call"]>[0], push: readonly (() => void)[]) => {
  for (const argument of push) argument();
  c.call(helper);
};

/** AMD's processors take these at any address. */
const UNALIGNED = { unaligned: true } as const;

/** SHA-1 and SHA-256 rounds and message schedules (FIPS 180-4). */
export const simdShaDefinitions: readonly Definition[] = [
  xmmBinary("sha1msg1", sha1Message1, UNALIGNED),
  xmmBinary("sha1nexte", sha1NextE, UNALIGNED),
  xmmBinary("sha256msg1", sha256Message1, UNALIGNED),
  xmmBinary("sha256msg2", sha256Message2, UNALIGNED),
  simd(
    "sha1msg2",
    ["xx", "xm16"],
    "br",
    (c, [d, s]) => d!.storeVector(() => binary(c, sha1Message2, [() => d!.vector(), () => s!.vector()])),
    UNALIGNED,
  ),
  simd(
    "sha1rnds4",
    ["xxi", "xm16i"],
    "br",
    (c, [d, s]) =>
      d!.storeVector(() => binary(c, sha1Rounds, [() => d!.vector(), () => s!.vector(), () => pushImmediate(c, 0, 3)])),
    UNALIGNED,
  ),
  simd(
    "sha256rnds2",
    ["xxx", "xm16x"],
    "brr",
    (c, [d, s, words]) =>
      d!.storeVector(() => binary(c, sha256Rounds, [() => d!.vector(), () => s!.vector(), () => words!.vector()])),
    UNALIGNED,
  ),
];
