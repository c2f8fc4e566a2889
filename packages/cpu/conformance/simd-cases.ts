import { Instruction, OPCODES, OPERAND, REGISTER_CLASS } from "@paravirt/x86";
import { STATE } from "../src/layout.ts";
import { type Case, digest, makeCase, type Outcome, Random } from "./cases.ts";
import type { ConformanceMachine } from "./machine.ts";

/** Vector, SSE control and x87 state around an instruction. */
export interface VectorState {
  /** XMM0 to XMM15, 16 bytes each. */
  readonly xmm: Uint8Array;
  readonly mxcsr: number;
  readonly controlWord: number;
  readonly statusWord: number;
  readonly tags: number;
  /** ST(0) to ST(7), 10 bytes each. */
  readonly st: Uint8Array;
}

/** State before one SIMD instruction. */
export interface SimdCase {
  readonly base: Case;
  readonly vectors: VectorState;
}

/** What became of it. */
export interface SimdOutcome {
  readonly base: Outcome;
  readonly vectors: VectorState;
}

/** Features whose instructions are recorded. */
export const SIMD_FEATURES: ReadonlySet<string> = new Set(
  "mmx sse sse2 sse3 ssse3 sse4.1 sse4.2 aes pclmulqdq sha".split(" "),
);
/** Not recorded: approximations that differ from one processor to the next, and what only orders memory. */
const NOT_RECORDED = /^(rcp|rsqrt|ldmxcsr|clflush|.fence)/;

const SINGLES = [
  0, 1, 2, 0x7fffff, 0x7ffffe, 0x800000, 0x800001, 0xffffff, 0x1000000, 0x7f7fffff, 0x7f800000, 0x7fc00000, 0x7f800001,
  0x7fffffff, 0x3f800000, 0x3f000000, 0x3fc00000, 0x40200000, 0x4b000000, 0x4b7fffff, 0x4effffff, 0x4f000000,
  0x5f000000, 0x3effffff, 0x00400000,
];
const DOUBLES = [
  0n,
  1n,
  2n,
  2n ** 52n - 1n,
  2n ** 51n,
  2n ** 52n,
  2n ** 52n + 1n,
  2n ** 53n,
  0x7fefffffffffffffn,
  0x7ff0000000000000n,
  0x7ff8000000000000n,
  0x7ff0000000000001n,
  0x7fffffffffffffffn,
  0x3ff0000000000000n,
  0x3fe0000000000000n,
  0x3ff8000000000000n,
  0x4004000000000000n,
  0x41dfffffffc00000n,
  0x41dfffffffe00000n,
  0x41e0000000000000n,
  0x41e0000000100000n,
  0x43e0000000000000n,
  0x43dfffffffffffffn,
  0x4330000000000001n,
  0x380fffffffffffffn,
  0x3810000000000000n,
  0x36a0000000000000n,
  0x369fffffffffffffn,
  0x47efffffefffffffn,
  0x47effffff0000000n,
  0x3fdfffffffffffffn,
];

function pick<T>(random: Random, list: readonly T[]): T {
  return list[random.below(list.length)]!;
}

/** A double whose exponent is near `center`; with few fraction bits every other time. */
function double(random: Random, center: number): bigint {
  const sign = BigInt(random.below(2)) << 63n;
  const kind = random.below(8);
  if (kind < 2) return sign | pick(random, DOUBLES);
  const fraction = random.below(2) ? random.next() & (2n ** 52n - 1n) : BigInt(random.below(8)) << 49n;
  const exponent = Math.min(2046, Math.max(0, center - 2 + random.below(5)));
  return kind === 2 ? random.next() : sign | (BigInt(exponent) << 52n) | fraction;
}

function single(random: Random, center: number): number {
  const sign = random.below(2) * 2 ** 31;
  const kind = random.below(8);
  if (kind < 2) return sign + pick(random, SINGLES);
  if (kind === 2) return Number(random.next() & 0xffffffffn);
  const exponent = Math.min(254, Math.max(0, center - 2 + random.below(5)));
  const fraction = random.below(2) ? random.below(2 ** 23) : random.below(8) * 2 ** 20;
  return sign + exponent * 2 ** 23 + fraction;
}

/** Fills with floats of one size (or bytes, or small integers) that have something to do with each other. */
function fill(random: Random, bytes: Uint8Array, kind: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const center64 = pick(random, [1023, 1023, 1023, 1023 + 31, 1023 + 52, 1, 2046, 512, 1023 - 126, 1023 + 127]);
  const center32 = pick(random, [127, 127, 127, 127 + 31, 127 + 23, 1, 254, 64]);
  const mask = random.below(2) ? 0xff : 0x83;
  for (let at = 0; at < bytes.length; at += 8) {
    if (kind === 0) view.setBigUint64(at, double(random, center64), true);
    else if (kind === 1) {
      view.setUint32(at, single(random, center32), true);
      view.setUint32(at + 4, single(random, center32), true);
    } else for (let i = 0; i < 8; i++) bytes[at + i] = random.below(256) & mask;
  }
}

const isDouble = (name: string): boolean => /(pd|sd|pd2..|sd2..)$/.test(name);
const isSingle = (name: string): boolean => /(ps|ss|ps2..|ss2..)$/.test(name);

/** The data page: doubles, singles and bytes in turns. */
export function simdPageImage(seed: number): Uint8Array {
  const random = new Random(seed);
  const image = new Uint8Array(4096);
  for (let at = 0; at < 4096; at += 32) fill(random, image.subarray(at, at + 32), random.below(3));
  return image;
}

/** The case for `code` and `seed`, or `undefined` when such a case can't try the instruction. */
export function makeSimdCase(code: Uint8Array, seed: number): SimdCase | undefined {
  const instruction = new Instruction();
  const base = makeCase(code, seed, instruction);
  if (base === undefined) return undefined;
  const row = OPCODES[instruction.row]!;
  if (!SIMD_FEATURES.has(row.feature) || NOT_RECORDED.test(row.name)) return undefined;
  const random = new Random(seed ^ 0x5bd1e995);
  const registers = base.registers.slice();
  for (let i = 0; i < instruction.operandCount; i++) {
    // Most 16-byte operands are aligned.
    if (instruction.kinds[i] !== OPERAND.MEMORY || instruction.sizes[i] !== 16 || random.below(12) === 0) continue;
    const position = instruction.index >= 0 ? registers[instruction.index]! << BigInt(instruction.scale) : 0n;
    const address = registers[instruction.base]! + position + BigInt(instruction.displacement);
    registers[instruction.base] = BigInt.asUintN(64, registers[instruction.base]! - (address & 15n));
  }
  if (row.name.startsWith("maskmov")) registers[7] = BigInt(0xa00000 + random.below(4070));
  if (row.name.startsWith("pcmpestr"))
    for (const number of [0, 2])
      if (random.below(2)) registers[number] = BigInt.asUintN(64, BigInt(random.below(40) - 20));
  const xmm = new Uint8Array(256);
  const kind =
    random.below(8) === 0 ? random.below(3) : isDouble(row.name) ? 0 : isSingle(row.name) ? 1 : random.below(4);
  fill(random, xmm, kind);
  const strings = row.name.startsWith("pcmp") && row.name.includes("str");
  if (strings) for (let i = 0; i < 256; i++) xmm[i] = random.below(12) === 0 ? 0 : 0x61 + random.below(4);
  // Some registers are nearly the same.
  if (random.below(4) === 0)
    for (let i = 16; i < 256; i++)
      xmm[i] = xmm[i % 16]! ^ (i % 8 === 7 && random.below(2) ? 0x80 : i % 8 === 0 ? random.below(2) : 0);
  let mxcsr = 0x1f80 | (random.below(2) ? 0x20 : random.below(64));
  if (random.below(2)) {
    mxcsr = random.below(64) | (random.below(4) << 13);
    mxcsr |= random.below(3) ? 0x1f80 : random.below(64) << 7;
    if (random.below(3) === 0) mxcsr |= 0x40;
    if (random.below(3) === 0) mxcsr |= 0x8000;
  }
  const usesMmx = instruction.classes.some(
    (registerClass, i) => instruction.kinds[i] === OPERAND.REGISTER && registerClass === REGISTER_CLASS.MMX,
  );
  const st = new Uint8Array(80);
  const mm = new Uint8Array(64);
  fill(random, mm, kind);
  for (let i = 0; i < 8; i++) {
    st.set(mm.subarray(i * 8, i * 8 + 8), i * 10);
    st.set([0xff, 0xff], i * 10 + 8);
    if (random.below(4) === 0) st.set([random.below(256), random.below(256)], i * 10 + 8);
  }
  let controlWord = 0x37f;
  let statusWord = random.below(8) << 11;
  if (usesMmx && random.below(16) === 0) {
    controlWord = 0x37e;
    statusWord |= 0x8081;
  }
  const vectors = { xmm, mxcsr, controlWord, statusWord, tags: random.below(256), st };
  return { base: { ...base, registers }, vectors };
}

/** Executes the case on the engine. */
export function runSimd(machine: ConformanceMachine, test: SimdCase, tier: 0 | 1 = 0): SimdOutcome | undefined {
  const { memory } = machine.engine;
  const { vectors } = test;
  const slot = (statusWord: number, index: number) => STATE.st + (((statusWord >> 11) + index) & 7) * 16;
  for (let i = 0; i < 16; i++) memory.bytes.set(vectors.xmm.subarray(i * 16, i * 16 + 16), STATE.xmm + i * 32);
  memory.words[STATE.mxcsr / 4] = vectors.mxcsr;
  memory.words[STATE.fcw / 4] = vectors.controlWord;
  memory.words[STATE.fsw / 4] = vectors.statusWord;
  memory.words[STATE.ftw / 4] = vectors.tags;
  for (let i = 0; i < 8; i++) memory.bytes.set(vectors.st.subarray(i * 10, i * 10 + 10), slot(vectors.statusWord, i));
  const base = machine.run(test.base, tier);
  if (base === undefined) return undefined;
  const xmm = new Uint8Array(256);
  for (let i = 0; i < 16; i++) xmm.set(memory.bytes.subarray(STATE.xmm + i * 32, STATE.xmm + i * 32 + 16), i * 16);
  const statusWord = memory.words[STATE.fsw / 4]!;
  const st = new Uint8Array(80);
  for (let i = 0; i < 8; i++) st.set(memory.bytes.subarray(slot(statusWord, i), slot(statusWord, i) + 10), i * 10);
  return {
    base,
    vectors: {
      xmm,
      mxcsr: memory.words[STATE.mxcsr / 4]!,
      controlWord: memory.words[STATE.fcw / 4]!,
      statusWord,
      tags: memory.words[STATE.ftw / 4]!,
      st,
    },
  };
}

/** A 32-bit digest of everything in an outcome. */
export function digestSimd(test: SimdCase, outcome: SimdOutcome): number {
  let hash = digest(test.base, outcome.base);
  const mix = (byte: number) => {
    hash = Math.imul(hash ^ byte, 0x01000193);
  };
  const { xmm, mxcsr, controlWord, statusWord, tags, st } = outcome.vectors;
  for (const byte of xmm) mix(byte);
  for (const byte of st) mix(byte);
  for (const word of [mxcsr, controlWord, statusWord, tags]) {
    mix(word & 0xff);
    mix((word >> 8) & 0xff);
  }
  return hash >>> 0;
}
