/**
 * Operand codes: a letter for where the operand is encoded, then a suffix for its size.
 *
 * Letters: E ModRM.rm, general register or memory; M memory only; R ModRM.rm, general register only; G ModRM.reg;
 * B VEX.vvvv general register; V ModRM.reg, W ModRM.rm, U ModRM.rm register only, H VEX.vvvv, L immediate bits 7:4: vector;
 * P ModRM.reg, Q ModRM.rm, N ModRM.rm register only: MMX; S segment, C control, D debug register in ModRM.reg;
 * Z register in the opcode; I immediate; J branch; A far pointer; O absolute address; X DS:rSI; Y ES:rDI.
 * Suffixes: {@link SIZES}; beyond the SDM's: `vw` means a register of size v but memory of size w, and so on.
 */
import { REGISTER_CLASS } from "../instruction.ts";

/** Where an operand comes from; the decoder switches on it. */
export const FROM = {
  NONE: 0,
  REG: 1,
  REG8: 2,
  REG_LOW3: 3,
  RM: 4,
  RM8: 5,
  RM_LOW3: 6,
  OPCODE: 7,
  OPCODE8: 8,
  FIXED: 9,
  VVVV: 10,
  IS4: 11,
  IMM8_SIGNED: 12,
  IMM8: 13,
  IMM16_SIGNED: 14,
  IMM16: 15,
  IMM32: 16,
  IMM64: 17,
  IMM8_SECOND: 18,
  REL8: 19,
  REL16: 20,
  REL32: 21,
  FAR16: 22,
  FAR32: 23,
  MOFFS: 24,
  SOURCE: 25,
  DESTINATION: 26,
  ONE: 27,
  SEGMENT: 28,
  CONTROL: 29,
  DEBUG: 30,
  /** The byte at rBX + AL of XLAT. */
  XLAT: 31,
  /** Both immediates of ENTER. */
  IMM16_IMM8: 32,
  /** Both immediates of EXTRQ and INSERTQ. */
  IMM8_IMM8: 33,
} as const;

/** Sizes in bytes of each suffix for operand sizes 16, 32, 64. */
const SIZES: Readonly<Record<string, readonly [number, number, number]>> = {
  b: [1, 1, 1],
  w: [2, 2, 2],
  d: [4, 4, 4],
  q: [8, 8, 8],
  v: [2, 4, 8],
  z: [2, 4, 4],
  y: [4, 4, 8],
  p: [4, 6, 10],
  s: [6, 6, 10],
  a: [4, 8, 8],
  t: [10, 10, 10],
  n: [0, 0, 0],
  dbl: [8, 8, 16],
  dq: [16, 16, 16],
  qq: [32, 32, 32],
  ss: [4, 4, 4],
  sd: [8, 8, 8],
  fx: [512, 512, 512],
  env: [14, 28, 28],
  st: [94, 108, 108],
  64: [64, 64, 64],
};
/** Sizes in bytes of the suffixes that follow VEX.L: whole, half, fourth, eighth of the vector. */
const VECTOR_SIZES: Readonly<Record<string, readonly [number, number]>> = {
  x: [16, 32],
  h: [8, 16],
  f: [4, 8],
  e: [2, 4],
};

/** What the decoder does for one operand of one variant of a row. */
export interface OperandShape {
  readonly from: number;
  readonly registerClass: number;
  readonly size: number;
  readonly number: number;
}

const shape = (from: number, registerClass: number, size: number, number = 0): OperandShape => ({
  from,
  registerClass,
  size,
  number,
});

const FIXED: Readonly<Record<string, OperandShape>> = {
  AL: shape(FROM.FIXED, REGISTER_CLASS.GPR8, 1, 0),
  CL: shape(FROM.FIXED, REGISTER_CLASS.GPR8, 1, 1),
  AX: shape(FROM.FIXED, REGISTER_CLASS.GPR16, 2, 0),
  DX: shape(FROM.FIXED, REGISTER_CLASS.GPR16, 2, 2),
  ES: shape(FROM.FIXED, REGISTER_CLASS.SEGMENT, 2, 0),
  CS: shape(FROM.FIXED, REGISTER_CLASS.SEGMENT, 2, 1),
  SS: shape(FROM.FIXED, REGISTER_CLASS.SEGMENT, 2, 2),
  DS: shape(FROM.FIXED, REGISTER_CLASS.SEGMENT, 2, 3),
  FS: shape(FROM.FIXED, REGISTER_CLASS.SEGMENT, 2, 4),
  GS: shape(FROM.FIXED, REGISTER_CLASS.SEGMENT, 2, 5),
  ST0: shape(FROM.FIXED, REGISTER_CLASS.ST, 10, 0),
  STi: shape(FROM.RM_LOW3, REGISTER_CLASS.ST, 10),
  XMM0: shape(FROM.FIXED, REGISTER_CLASS.XMM, 16, 0),
  ONE: shape(FROM.ONE, 0, 1),
  XLAT: shape(FROM.XLAT, 0, 1),
};

/** Class of a general register of `size` bytes. */
export function gprClass(size: number): number {
  if (size === 1) return REGISTER_CLASS.GPR8;
  if (size === 2) return REGISTER_CLASS.GPR16;
  return size === 8 ? REGISTER_CLASS.GPR64 : REGISTER_CLASS.GPR32;
}

function sizeOf(suffix: string, sizeIndex: number, l: number): number {
  const vector = VECTOR_SIZES[suffix];
  if (vector) return vector[l]!;
  const size = SIZES[suffix];
  if (!size) throw new Error(`BUG: no operand size "${suffix}"`);
  return size[sizeIndex]!;
}

/** The shape of operand `code` at operand size index 0 (16), 1 (32) or 2 (64) and vector length `l` (0 or 1). */
export function operandShape(code: string, sizeIndex: number, l: number): OperandShape {
  const fixed = FIXED[code];
  if (fixed) return fixed;
  if (code === "rAX" || code === "eAX") {
    const size = sizeOf(code === "rAX" ? "v" : "z", sizeIndex, l);
    return shape(FROM.FIXED, gprClass(size), size, 0);
  }
  const letter = code[0]!;
  const suffix = code.slice(1);
  switch (letter) {
    case "E":
    case "R": {
      // GPR64 here; the decoder counts down from it to the address size.
      if (suffix === "adr") return shape(FROM.RM, REGISTER_CLASS.GPR64, 0);
      // Two letters: the register's size, then memory's.
      const split = suffix.length === 2;
      const size = sizeOf(split ? suffix[1]! : suffix, sizeIndex, l);
      const registerSize = split ? sizeOf(suffix[0]!, sizeIndex, l) : size;
      if (registerSize === 1) return shape(FROM.RM8, REGISTER_CLASS.GPR8, size);
      return shape(FROM.RM, gprClass(registerSize), size);
    }
    case "M":
      return shape(FROM.RM, REGISTER_CLASS.GPR32, sizeOf(suffix, sizeIndex, l));
    case "G": {
      if (suffix === "adr") return shape(FROM.REG, REGISTER_CLASS.GPR64, 0);
      const size = sizeOf(suffix, sizeIndex, l);
      return size === 1 ? shape(FROM.REG8, REGISTER_CLASS.GPR8, 1) : shape(FROM.REG, gprClass(size), size);
    }
    case "B": {
      const size = sizeOf(suffix, sizeIndex, l);
      return shape(FROM.VVVV, gprClass(size), size);
    }
    case "V":
    case "H":
    case "L": {
      const from = letter === "V" ? FROM.REG : letter === "H" ? FROM.VVVV : FROM.IS4;
      return vector(from, suffix, sizeOf(suffix, sizeIndex, l));
    }
    case "W":
    case "U":
      return vector(FROM.RM, suffix, sizeOf(suffix, sizeIndex, l));
    case "P":
      return shape(FROM.REG_LOW3, REGISTER_CLASS.MMX, 8);
    case "Q":
    case "N":
      return shape(FROM.RM_LOW3, REGISTER_CLASS.MMX, sizeOf(suffix, sizeIndex, l));
    case "S":
      return shape(FROM.SEGMENT, REGISTER_CLASS.SEGMENT, 2);
    case "C":
      return shape(FROM.CONTROL, REGISTER_CLASS.CONTROL, sizeOf(suffix, sizeIndex, l));
    case "D":
      return shape(FROM.DEBUG, REGISTER_CLASS.DEBUG, sizeOf(suffix, sizeIndex, l));
    case "Z": {
      const size = sizeOf(suffix, sizeIndex, l);
      return size === 1 ? shape(FROM.OPCODE8, REGISTER_CLASS.GPR8, 1) : shape(FROM.OPCODE, gprClass(size), size);
    }
    case "I":
      return immediate(suffix, sizeIndex);
    case "J":
      if (suffix === "b") return shape(FROM.REL8, 0, 1);
      return sizeIndex === 0 ? shape(FROM.REL16, 0, 2) : shape(FROM.REL32, 0, 4);
    case "A":
      return sizeIndex === 0 ? shape(FROM.FAR16, 0, 4) : shape(FROM.FAR32, 0, 6);
    case "O":
      return shape(FROM.MOFFS, 0, sizeOf(suffix, sizeIndex, l));
    case "X":
      return shape(FROM.SOURCE, 0, sizeOf(suffix, sizeIndex, l));
    case "Y":
      return shape(FROM.DESTINATION, 0, sizeOf(suffix, sizeIndex, l));
  }
  throw new Error(`BUG: no operand code "${code}"`);
}

function vector(from: number, suffix: string, size: number): OperandShape {
  const wide = suffix === "qq" || (suffix === "x" && size === 32);
  return shape(from, wide ? REGISTER_CLASS.YMM : REGISTER_CLASS.XMM, size);
}

function immediate(suffix: string, sizeIndex: number): OperandShape {
  switch (suffix) {
    case "b":
      return shape(FROM.IMM8_SIGNED, 0, 1);
    case "ub":
      return shape(FROM.IMM8, 0, 1);
    case "bs":
      return shape(FROM.IMM8_SIGNED, 0, [2, 4, 8][sizeIndex]!);
    case "b2":
      return shape(FROM.IMM8_SECOND, 0, 1);
    case "w":
      return shape(FROM.IMM16, 0, 2);
    case "z":
      return sizeIndex === 0 ? shape(FROM.IMM16_SIGNED, 0, 2) : shape(FROM.IMM32, 0, sizeIndex === 2 ? 8 : 4);
    case "v":
      if (sizeIndex === 0) return shape(FROM.IMM16_SIGNED, 0, 2);
      return sizeIndex === 1 ? shape(FROM.IMM32, 0, 4) : shape(FROM.IMM64, 0, 8);
  }
  throw new Error(`BUG: no immediate "I${suffix}"`);
}
