/** Which kind of operand stands in a slot of an {@link Instruction}. */
export const OPERAND = {
  /** No operand. */
  NONE: 0,
  /** A register: `classes[i]` is its {@link REGISTER_CLASS}, `registers[i]` its number. */
  REGISTER: 1,
  /** The instruction's one memory operand: base, index, scale, displacement, segment. */
  MEMORY: 2,
  /** `immediate` / `immediateHigh`, already extended to the size that the operation uses. */
  IMMEDIATE: 3,
  /** `immediate2`: the second immediate of ENTER, EXTRQ, INSERTQ. */
  IMMEDIATE2: 4,
  /** A branch target: `immediate` is the displacement from the next instruction, sign-extended to 32 bits. */
  RELATIVE: 5,
  /** A far pointer: `immediate` is the offset, `immediate2` the selector. */
  FAR: 6,
  /** A string operand at DS:rSI (or the overriding segment). */
  STRING_SOURCE: 7,
  /** A string operand at ES:rDI. */
  STRING_DESTINATION: 8,
  /** The constant 1 of the D0/D1 shifts. */
  ONE: 9,
} as const;

/** Register files; `registers[i]` is the number in its file. */
export const REGISTER_CLASS = {
  /** 8-bit, numbers 0–15: AL CL DL BL SPL BPL SIL DIL R8L… */
  GPR8: 0,
  /** AH CH DH BH as numbers 0–3. */
  GPR8_HIGH: 1,
  /** AX CX DX BX SP BP SI DI R8W…, numbers 0–15. */
  GPR16: 2,
  /** EAX ECX … R15D, 0–15. */
  GPR32: 3,
  /** RAX RCX … R15, 0–15. */
  GPR64: 4,
  /** ES CS SS DS FS GS as 0–5. */
  SEGMENT: 5,
  /** CR0 to CR8. */
  CONTROL: 6,
  /** DR0 to DR7. */
  DEBUG: 7,
  /** The x87 stack, ST(0) to ST(7). */
  ST: 8,
  /** MM0 to MM7. */
  MMX: 9,
  /** XMM0 to XMM15. */
  XMM: 10,
  /** YMM0 to YMM15. */
  YMM: 11,
  /** BND0 to BND3; MPX is not decoded. */
  BOUND: 12,
} as const;

/** Segment register numbers, as in the ModRM reg field of MOV Sreg. */
export const SEGMENT = {
  /** Extra. */
  ES: 0,
  /** Code. */
  CS: 1,
  /** Stack. */
  SS: 2,
  /** Data. */
  DS: 3,
  /** FS. */
  FS: 4,
  /** GS. */
  GS: 5,
} as const;

/** Bits of {@link Instruction.prefixes}. */
export const PREFIX = {
  /** F0. */
  LOCK: 1,
  /** F3 present and not consumed as a mandatory prefix. */
  REP: 2,
  /** F2 present and not consumed as a mandatory prefix. */
  REPNE: 4,
  /** 66 present and not consumed as a mandatory prefix. */
  OPERAND_SIZE: 8,
  /** 67. */
  ADDRESS_SIZE: 16,
  /** A REX prefix that counts. */
  REX: 32,
  /** REX.W or VEX.W. */
  REX_W: 64,
  /** A VEX prefix. */
  VEX: 128,
  /** A segment prefix that counts. */
  SEGMENT_OVERRIDE: 256,
  /** The last segment prefix was CS (2E): on a conditional branch the hint "not taken". */
  CS: 512,
  /** The last segment prefix was DS (3E): the hint "taken", and NOTRACK on an indirect branch. */
  DS: 1024,
  /** VEX.L: 256-bit vectors. */
  VEX_L: 2048,
} as const;

/** `base` and `index` when there is none, and `base` for RIP-relative addressing. */
export const NO_REGISTER = -1;
/** `base` of a RIP-relative memory operand; the displacement counts from the next instruction. */
export const BASE_RIP = 16;

/** Why {@link Instruction.length} is 0. */
export const INVALID = {
  /** It is not: there is an instruction. */
  VALID: 0,
  /** The bytes end inside the instruction. */
  TRUNCATED: 1,
  /** No such instruction in this mode: the processor raises #UD. */
  UNDEFINED: 2,
  /** More than 15 bytes: the processor raises #GP. */
  TOO_LONG: 3,
} as const;

/**
 * One decoded instruction, reused from call to call so that decoding allocates nothing.
 * All fields are plain numbers. Operands are in Intel order, implicit ones left out.
 */
export class Instruction {
  /** Whether `decode` does as AMD's processors where they differ from Intel's (AMD APM 3, appendix B). */
  amd: boolean;
  /** Bytes, 1–15; 0 when {@link Instruction.invalid} says why there is none. */
  length = 0;
  /** An {@link INVALID} value. */
  invalid = 0;
  /** 16, 32 or 64. */
  mode = 64;
  /** Index into the opcode table: the row that matched. */
  row = 0;
  /** Index into `MNEMONICS`. */
  mnemonic = 0;
  /** Effective operand size in bytes: 1, 2, 4, 8 (general instructions); for SIMD the vector's 8, 16 or 32. */
  operandSize = 4;
  /** Effective address size in bytes: 2, 4 or 8. */
  addressSize = 8;
  /** {@link PREFIX} bits. */
  prefixes = 0;
  /** The condition of Jcc, SETcc, CMOVcc: the opcode's low four bits. */
  condition = 0;
  /** Segment that the memory (or string source) operand uses, override or default: a {@link SEGMENT} value. */
  segment = 3;
  /** Base register number 0–15, {@link BASE_RIP} or {@link NO_REGISTER}. */
  base = -1;
  /** Index register number 0–15 or {@link NO_REGISTER}; a vector register for gathers. */
  index = -1;
  /** log2 of the scale: 0–3. */
  scale = 0;
  /** Low 32 bits of the displacement, as a signed number; sign-extend to the address size. */
  displacement = 0;
  /** High 32 bits of a 64-bit moffs displacement; the sign of `displacement` otherwise. */
  displacementHigh = 0;
  /**
   * Low 32 bits of the immediate, as a signed number. Sign-extended from its bytes where it is an operand of arithmetic or
   * a move (`add al, 0xff` has -1), zero-extended where it is a count, selector, port, vector or size (`int 0x80` has 0x80).
   */
  immediate = 0;
  /** High 32 bits of the immediate (sign-extended unless MOV r64, imm64). */
  immediateHigh = 0;
  /** The second immediate, or the selector of a far pointer. */
  immediate2 = 0;
  /** Bytes before the opcode, or before the VEX prefix. */
  opcodeOffset = 0;
  /** Where in the instruction the displacement stands; 0 when there is none. */
  displacementOffset = 0;
  /** Where in the instruction the immediate stands; 0 when there is none. */
  immediateOffset = 0;
  /** Explicit operands, 0–4. */
  operandCount = 0;
  /** {@link OPERAND} value of each operand; {@link OPERAND.NONE} past the last. */
  readonly kinds: Uint8Array;
  /** {@link REGISTER_CLASS} of register operands. */
  readonly classes: Uint8Array;
  /** Number of register operands in their class. */
  readonly registers: Uint8Array;
  /**
   * Operand sizes in bytes (10 for m80, 512 for FXSAVE …; 0 where memory has no size, as for LEA). For a register the
   * part that takes part: 1 for the source of MOVZX r32, r8, 4 for that of ADDSS.
   */
  readonly sizes: Uint16Array;
  /**
   * The four arrays above as six 32-bit words, which the decoder fills: kinds, classes, registers, a spare, sizes.
   * @internal
   */
  readonly words: Int32Array;

  /** `amd` tells whose processor decodes; Intel's when left out. */
  constructor(options: { readonly amd?: boolean } = {}) {
    this.amd = options.amd ?? false;
    const buffer = new ArrayBuffer(24);
    this.words = new Int32Array(buffer);
    this.kinds = new Uint8Array(buffer, 0, 4);
    this.classes = new Uint8Array(buffer, 4, 4);
    this.registers = new Uint8Array(buffer, 8, 4);
    this.sizes = new Uint16Array(buffer, 16, 4);
  }
}
