import type { OpcodeRow } from "@paravirt/x86";
import { FX, UPPER_BYTES } from "./processor-state.ts";
import { CONTENT, extended, fill, integer, type Random } from "./values.ts";

const VECTOR_FEATURES = /^(sse|ssse|v?aes|v?pclmulqdq|sha|gfni|avx|fma|f16c)/;
const DEFAULT_MXCSR = 0x1f80;
const DEFAULT_CONTROL_WORD = 0x37f;

/** Which parts of the FPU an instruction's row looks at. */
export function fpuUse(row: OpcodeRow): { readonly x87: boolean; readonly vectors: boolean } {
  const mmx = row.operands.some((code) => /^[PQN]/.test(code)) || row.feature === "mmx";
  const whole = /^(fxsr|xsave)$/.test(row.feature);
  return { x87: row.feature === "x87" || mmx || whole, vectors: VECTOR_FEATURES.test(row.feature) || whole };
}

/** Kind of number that the row's name speaks of. */
function contentOf(row: OpcodeRow, random: Random): number {
  if (random.once(8)) return random.below(4);
  if (/str[im]$/.test(row.name)) return CONTENT.TEXT;
  if (/(pd|sd|pd2..|sd2..)$/.test(row.name)) return CONTENT.DOUBLES;
  if (/(ps|ss|ps2..|ss2..)$/.test(row.name)) return CONTENT.SINGLES;
  return random.below(4);
}

/** MXCSR: half of the time all masked and rounding to nearest, else everything by chance. */
function mxcsr(random: Random): number {
  if (random.below(2)) return DEFAULT_MXCSR | (random.below(2) ? 0x20 : random.below(64));
  let value = random.below(64) | (random.below(4) << 13) | (random.below(3) ? 0x1f80 : random.below(64) << 7);
  if (random.once(3)) value |= 0x40;
  if (random.once(3)) value |= 0x8000;
  return value;
}

/** Fills the SSE part. */
function vectors(random: Random, fx: Uint8Array, view: DataView, row: OpcodeRow): void {
  const xmm = fx.subarray(FX.xmm, FX.xmm + 256);
  fill(random, xmm, contentOf(row, random));
  // Some registers are nearly the same.
  if (random.once(4))
    for (let i = 16; i < 256; i++)
      xmm[i] = xmm[i % 16]! ^ (i % 8 === 7 && random.below(2) ? 0x80 : i % 8 === 0 ? random.below(2) : 0);
  view.setUint32(FX.mxcsr, mxcsr(random), true);
}

/** Control and status word, tags and registers as x87 code meets them: all precisions, roundings, masks, waiting exceptions. */
function stack(random: Random, view: DataView): void {
  const masks = random.below(3) ? 0x3f : random.below(64);
  const precision = random.below(2) ? 3 : random.below(4);
  const rounding = random.below(2) ? 0 : random.below(4);
  let statusWord = (random.below(8) << 11) | (random.below(4) ? 0 : random.below(64) & masks);
  if (random.once(3)) statusWord |= random.pick([0x100, 0x200, 0x400, 0x4000, 0x4700, 0x40]);
  // An exception that waits: flags that aren't masked, with ES and B.
  if (random.once(40) && masks !== 0x3f) statusWord |= (~masks & 0x3f) | 0x8080;
  view.setUint16(FX.controlWord, 0x40 | masks | (precision << 8) | (rounding << 10), true);
  view.setUint16(FX.statusWord, statusWord, true);
  const top = (statusWord >> 11) & 7;
  view.setUint8(FX.tags, random.below(3) ? (random.below(2) ? 0xff : 0x7f << (top + 1)) : random.below(256));
  const registers = Array.from({ length: 8 }, () => extended(random));
  const [significand, signExponent] = registers[0]!;
  const relation = random.below(3);
  // Operands that are nearly the same, or whose exponents are close, reach the interesting cases.
  if (relation === 0)
    for (let i = 1; i < 8; i++)
      registers[i] = [significand ^ BigInt(random.below(2)), signExponent ^ (random.below(2) << 15)];
  else if (relation === 1 && (signExponent & 0x7fff) > 70 && (signExponent & 0x7fff) < 0x7f00)
    for (let i = 1; i < 8; i++)
      registers[i] = [registers[i]![0], ((signExponent & 0x7fff) - 68 + random.below(136)) | (random.below(2) << 15)];
  registers.forEach(([bits, exponent], i) => {
    view.setBigUint64(FX.st + i * 16, bits, true);
    view.setUint16(FX.st + i * 16 + 8, exponent, true);
  });
}

/** MMX registers: integers under the exponent that MMX instructions leave, or any other. */
function multimedia(random: Random, fx: Uint8Array, view: DataView, row: OpcodeRow): void {
  const kind = contentOf(row, random);
  for (let i = 0; i < 8; i++) {
    fill(random, fx.subarray(FX.st + i * 16, FX.st + i * 16 + 8), kind);
    view.setUint16(FX.st + i * 16 + 8, random.once(4) ? random.below(65536) : 0xffff, true);
  }
  view.setUint16(FX.statusWord, random.below(8) << 11, true);
  view.setUint8(FX.tags, random.below(256));
  if (random.once(16)) {
    // An exception waits: MMX instructions report it.
    view.setUint16(FX.controlWord, DEFAULT_CONTROL_WORD & ~1, true);
    view.setUint16(FX.statusWord, view.getUint16(FX.statusWord, true) | 0x8081, true);
  }
}

/** The FXSAVE image before an instruction of `row`; the initial state where it looks at nothing there. */
export function fpuImage(random: Random, row: OpcodeRow): Uint8Array {
  const fx = new Uint8Array(FX.end);
  const view = new DataView(fx.buffer);
  view.setUint16(FX.controlWord, DEFAULT_CONTROL_WORD, true);
  view.setUint32(FX.mxcsr, DEFAULT_MXCSR, true);
  const use = fpuUse(row);
  if (use.x87) {
    if (row.feature === "x87" || row.feature === "fxsr") stack(random, view);
    else multimedia(random, fx, view, row);
  }
  if (use.vectors) vectors(random, fx, view, row);
  return fx;
}

/** The upper halves of the YMM registers: numbers as {@link fpuImage} has them, where the row looks at vectors. */
export function upperHalves(random: Random, row: OpcodeRow): Uint8Array {
  const upper = new Uint8Array(UPPER_BYTES);
  if (fpuUse(row).vectors) fill(random, upper, contentOf(row, random));
  return upper;
}

const SINGLES = [0, 1, 0x7fffff, 0x800000, 0x7f7fffff, 0x7f800000, 0x7fc00000, 0x7f800001, 0x3f800000];
const DOUBLES = [
  0n,
  1n,
  2n ** 52n - 1n,
  2n ** 52n,
  0x7fefffffffffffffn,
  0x7ffn << 52n,
  0x7ff8n << 48n,
  (0x7ffn << 52n) | 1n,
  0x3ffn << 52n,
];
const INTEGERS = [0n, 1n, -1n, 32767n, -32768n, 2n ** 31n - 1n, -(2n ** 31n), 2n ** 63n - 1n, -(2n ** 63n)];

/** Reserved bits may be set; but not AMD's misaligned-exception mask, which the engine doesn't have. */
function anyMxcsr(random: Random): number {
  return random.once(10) ? random.word() & ~0x20000 : mxcsr(random);
}

/** What an x87 or state-loading instruction finds in its memory operand of `size` bytes; `undefined` for what lies there. */
export function fpuOperand(random: Random, row: OpcodeRow, size: number): Uint8Array | undefined {
  const bytes = new Uint8Array(size > 28 ? 32 : size);
  const view = new DataView(bytes.buffer);
  const sign = BigInt(random.below(2));
  const { name } = row;
  if (name.endsWith("ldmxcsr")) view.setUint32(0, anyMxcsr(random), true);
  else if (name === "fxrstor" || name === "xrstor") {
    view.setUint16(0, DEFAULT_CONTROL_WORD ^ random.below(64), true);
    view.setUint16(2, random.below(65536) & ~0x8080, true);
    view.setUint8(4, random.below(256));
    view.setUint32(24, anyMxcsr(random), true);
  } else if (row.feature !== "x87") return undefined;
  else if (name === "fldcw") view.setUint16(0, random.below(65536), true);
  else if (name === "fldenv" || name === "frstor") {
    for (let i = 0; i < bytes.length; i++) bytes[i] = random.below(256);
    if (random.below(3) === 0) return bytes;
    const half = size === 14 || size === 94 ? 2 : 4;
    view.setUint16(0, DEFAULT_CONTROL_WORD ^ random.below(64), true);
    view.setUint16(half, (random.below(8) << 11) | random.below(64), true);
  } else if (name === "fbld")
    for (let i = 0; i < 10; i++)
      bytes[i] = random.once(12) ? random.below(256) : random.below(10) * 16 + random.below(10);
  else if (name.startsWith("fi")) {
    const value = random.below(2) ? random.pick(INTEGERS) : BigInt(random.below(1000)) - 500n;
    if (size === 2) view.setInt16(0, Number(BigInt.asIntN(16, value)), true);
    else if (size === 4) view.setInt32(0, Number(BigInt.asIntN(32, value)), true);
    else view.setBigInt64(0, value, true);
  } else if (size === 4)
    view.setUint32(0, random.below(2) ? random.pick(SINGLES) + Number(sign) * 2 ** 31 : random.word() >>> 0, true);
  else if (size === 8) {
    if (random.below(2)) view.setBigUint64(0, random.pick(DOUBLES) | (sign << 63n), true);
    else view.setBigUint64(0, (random.next() & (2n ** 56n - 1n)) | (BigInt(0x3f + Number(sign) * 0x80) << 56n), true);
  } else if (size === 10) {
    const [significand, signExponent] = extended(random);
    view.setBigUint64(0, significand, true);
    view.setUint16(8, signExponent, true);
  } else return undefined;
  return bytes;
}

/** An operand of integer instructions, as bytes. */
export function integerOperand(random: Random, size: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, integer(random), true);
  return bytes.subarray(0, Math.min(size, 8));
}
