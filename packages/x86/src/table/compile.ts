/** The opcode table compiled into flat typed arrays that the decoder walks: an opcode when it is first met. */
import { OPERAND, REGISTER_CLASS } from "../instruction.ts";
import { GENERAL } from "./general.ts";
import { FROM, type OperandShape, operandShape } from "./operand.ts";
import { type OpcodeRow, parseRows } from "./parse.ts";
import { SSE } from "./sse.ts";
import { SYSTEM } from "./system.ts";
import { VEX } from "./vex.ts";
import { X87 } from "./x87.ts";

/** All rows of the opcode table; `Instruction.row` indexes it. Row 0 stands for "no instruction" (`(bad)`). */
export const OPCODES: readonly OpcodeRow[] = parseRows(`ff | (bad) | |\n${GENERAL}${SYSTEM}${X87}${SSE}${VEX}`);

/** Condition codes in opcode order. */
export const CONDITIONS: readonly string[] = "o no b ae e ne be a s ns p np l ge le g".split(" ");

/** Bits of a row's word {@link INFO.FLAGS}. */
export const ROW = {
  MODRM: 1,
  LOCKABLE: 2,
  /** In 64-bit mode the operand size is 64 unless 66 makes it 16. */
  D64: 4,
  /** In 64-bit mode the operand size is 64 whatever the prefixes say. */
  F64: 8,
  /** ModRM.rm is a register whatever ModRM.mod says. */
  MODREG: 16,
  EATS_66: 32,
  EATS_F3: 64,
  EATS_F2: 128,
  CONDITIONAL: 256,
  /** VEX.vvvv names an operand. */
  VVVV: 512,
  VSIB: 1024,
  /** 66 belongs to the opcode and yet selects the operand size. */
  OPSIZE_TOO: 2048,
  /** ModRM.reg names a register of a file of eight: REX.R does not count. */
  REG_LOW3: 4096,
  RM_LOW3: 8192,
  /** 8-bit registers, in ModRM.reg, ModRM.rm, the opcode: without REX 4 to 7 are AH CH DH BH. */
  REG_BYTE: 16384,
  RM_BYTE: 32768,
  OPCODE_BYTE: 65536,
  /** Not every register number in ModRM.reg exists: {@link INFO.REG_CLASS} tells the class. */
  REG_CHECKED: 131072,
  /** MOV to CS does not exist. */
  NO_CS: 262144,
  /** 66 beside the mandatory F3 makes it undefined. */
  NO_66: 524288,
  /** A register of the address size holds an address. */
  ADDRESS_REG: 1048576,
  /** A near branch: on AMD's processors 66 makes it 16 bits wide in 64-bit mode, too. */
  NEAR: 2097152,
  /** Memory holds a far pointer: AMD's processors know none of 64 bits. */
  FAR_POINTER: 4194304,
  /** AMD's processors have no such instruction. */
  NOT_AMD: 8388608,
} as const;

/** Columns of {@link INFO_TABLE}, a record for each variant of each row. */
export const INFO = {
  FLAGS: 0,
  /** `Instruction.kinds` of four operands, a byte each, when ModRM.rm is memory. */
  KINDS_MEMORY: 1,
  /** The same when ModRM.rm is a register. */
  KINDS_REGISTER: 2,
  CLASSES: 3,
  SIZES: 4,
  /** Sizes of the third and fourth operand. */
  SIZES_HIGH: 5,
  /** `Instruction.registers` where they are fixed. */
  REGISTERS: 6,
  /** 1, 1 << 8, 1 << 16 or 1 << 24 for the operand slot that ModRM.reg fills; 0 for none. */
  REG_SLOT: 7,
  RM_SLOT: 8,
  VVVV_SLOT: 9,
  /** Slot of the opcode's register; for VEX rows of the one in the immediate. */
  OPCODE_SLOT: 10,
  /** A {@link FROM} value: which immediates follow. */
  IMMEDIATE: 11,
  COUNT: 12,
  SIZE: 13,
  MNEMONIC: 14,
  REG_CLASS: 15,
  /** Length of a record. */
  LENGTH: 16,
} as const;

/** Bits of a cell of {@link DISPATCH}: what else than the opcode selects the row. */
export const SELECT = {
  PREFIX: 1,
  /** ModRM.mod is 3, and ModRM.reg: 16 cells. */
  REG: 2,
  /** The whole ModRM byte: 256 cells. */
  MODRM: 4,
  ADDRESS: 8,
  MODE: 16,
  W: 32,
  L: 64,
} as const;

/** Rows of one opcode, by {@link SELECT}; `DISPATCH[(vex ? 4 : 0) + map << 8 | opcode]` is base << 8 | select. */
export const DISPATCH: Int32Array = new Int32Array(8 * 256);
/** Row numbers; 0 where there is no instruction. */
export const CELLS: Uint16Array = new Uint16Array(16384);
/** Variants of a row: by operand size (3) or by VEX.W and VEX.L (4). */
export const VARIANTS = 4;
/** {@link INFO} records, at (row * VARIANTS + variant) * INFO.LENGTH. */
export const INFO_TABLE: Int32Array = new Int32Array(OPCODES.length * VARIANTS * INFO.LENGTH);

const mnemonics: string[] = [];
const mnemonicNumbers = new Map<string, number>();
/** All mnemonics in text; `Instruction.mnemonic` indexes it. */
export const MNEMONICS: readonly string[] = mnemonics;

function mnemonicOf(text: string, conditional: boolean): number {
  const key = conditional ? `${text}*` : text;
  let number = mnemonicNumbers.get(key);
  if (number === undefined) {
    number = mnemonics.length;
    mnemonicNumbers.set(key, number);
    if (conditional) for (const condition of CONDITIONS) mnemonics.push(text + condition);
    else mnemonics.push(text);
  }
  return number;
}

const OPERAND_KINDS: Readonly<Record<number, number>> = {
  [FROM.IMM8_SECOND]: OPERAND.IMMEDIATE2,
  [FROM.REL8]: OPERAND.RELATIVE,
  [FROM.REL16]: OPERAND.RELATIVE,
  [FROM.REL32]: OPERAND.RELATIVE,
  [FROM.FAR16]: OPERAND.FAR,
  [FROM.FAR32]: OPERAND.FAR,
  [FROM.MOFFS]: OPERAND.MEMORY,
  [FROM.XLAT]: OPERAND.MEMORY,
  [FROM.SOURCE]: OPERAND.STRING_SOURCE,
  [FROM.DESTINATION]: OPERAND.STRING_DESTINATION,
  [FROM.ONE]: OPERAND.ONE,
};

function operandKind(from: number): number {
  if (from >= FROM.IMM8_SIGNED && from <= FROM.IMM64) return OPERAND.IMMEDIATE;
  return OPERAND_KINDS[from] ?? OPERAND.REGISTER;
}

const ATTRIBUTE_FLAGS: readonly (readonly [string, number])[] = [
  ["lock", ROW.LOCKABLE],
  ["d64", ROW.D64],
  ["f64", ROW.F64],
  ["modreg", ROW.MODREG],
  ["nocs", ROW.NO_CS],
  ["no66", ROW.NO_66],
  ["opsize", ROW.OPSIZE_TOO],
  ["cc", ROW.CONDITIONAL],
  ["vsib", ROW.VSIB],
  ["notamd", ROW.NOT_AMD],
];

function rowFlags(row: OpcodeRow): number {
  let flags = row.hasModrm ? ROW.MODRM : 0;
  if (row.attributes.size > 0)
    for (const [attribute, flag] of ATTRIBUTE_FLAGS) if (row.attributes.has(attribute)) flags |= flag;
  if (row.prefix === "66") flags |= ROW.EATS_66;
  else if (row.prefix === "f3") flags |= ROW.EATS_F3;
  else if (row.prefix === "f2") flags |= ROW.EATS_F2;
  if (flags & ROW.F64 && row.flow !== "next") flags |= ROW.NEAR;
  for (const code of row.operands) {
    if (code[0] === "H" || code[0] === "B") flags |= ROW.VVVV;
    else if (code.endsWith("adr")) flags |= ROW.ADDRESS_REG;
    else if (code === "Mp") flags |= ROW.FAR_POINTER;
  }
  return flags;
}

/** {@link INFO} records of the four variants of rows with the same operands, without what else distinguishes rows. */
const templates = new Map<readonly string[], { legacy?: Int32Array; vex?: Int32Array }>();

function templateOf(row: OpcodeRow): Int32Array {
  let entry = templates.get(row.operands);
  if (entry === undefined) {
    entry = {};
    templates.set(row.operands, entry);
  }
  const known = row.vex ? entry.vex : entry.legacy;
  if (known !== undefined) return known;
  const template = new Int32Array(VARIANTS * INFO.LENGTH);
  for (let variant = 0; variant < VARIANTS; variant++) compileVariant(row, variant, template);
  if (row.vex) entry.vex = template;
  else entry.legacy = template;
  return template;
}

const sizeIndexOf = (row: OpcodeRow, variant: number): number => (row.vex ? 1 + (variant & 1) : Math.min(variant, 2));

function compileVariant(row: OpcodeRow, variant: number, template: Int32Array): void {
  const sizeIndex = sizeIndexOf(row, variant);
  const l = row.vex ? variant >> 1 : 0;
  const info = template.subarray(variant * INFO.LENGTH, (variant + 1) * INFO.LENGTH);
  info[INFO.COUNT] = row.operands.length;
  let general = 0;
  let vector = 0;
  row.operands.forEach((code, slot) => {
    const shape = operandShape(code, sizeIndex, l);
    placeOperand(info, shape, slot);
    const { registerClass, size } = shape;
    if ("VWUHLPQN".includes(code[0]!)) vector = Math.max(vector, vectorSize(registerClass));
    else if (!NO_DATUM.test(code) && size <= 8) general = Math.max(general, size);
  });
  info[INFO.SIZE] = vector || general || 2 << sizeIndex;
}

function vectorSize(registerClass: number): number {
  if (registerClass === REGISTER_CLASS.MMX) return 8;
  return registerClass === REGISTER_CLASS.YMM ? 32 : 16;
}

function compileRow(row: OpcodeRow, index: number): void {
  const start = index * VARIANTS * INFO.LENGTH;
  INFO_TABLE.set(templateOf(row), start);
  const flags = rowFlags(row);
  let text = "";
  let mnemonic = 0;
  for (let variant = 0; variant < VARIANTS; variant++) {
    const at = start + variant * INFO.LENGTH;
    const variantText = row.texts[sizeIndexOf(row, variant)]!;
    if (variantText !== text) {
      text = variantText;
      mnemonic = mnemonicOf(text, row.conditional);
    }
    INFO_TABLE[at + INFO.FLAGS]! |= flags;
    INFO_TABLE[at + INFO.MNEMONIC] = mnemonic;
  }
}

/** Operands whose size is not that of the operation: immediates, branches, segments, control registers, far pointers. */
const NO_DATUM = /^([IJSCD]|[EFG]S$|Ap|M[psa]$)/;

function placeOperand(info: Int32Array, shape: OperandShape, slot: number): void {
  const { from, registerClass, size, number } = shape;
  const byte = slot * 8;
  const one = 1 << byte;
  const kind = operandKind(from);
  const isRm = from === FROM.RM || from === FROM.RM8 || from === FROM.RM_LOW3;
  info[INFO.KINDS_REGISTER]! |= kind << byte;
  info[INFO.KINDS_MEMORY]! |= (isRm ? OPERAND.MEMORY : kind) << byte;
  info[INFO.CLASSES]! |= registerClass << byte;
  info[slot < 2 ? INFO.SIZES : INFO.SIZES_HIGH]! |= size << ((slot & 1) * 16);
  switch (from) {
    case FROM.REG8:
      info[INFO.FLAGS]! |= ROW.REG_BYTE;
      info[INFO.REG_SLOT] = one;
      return;
    case FROM.SEGMENT:
      info[INFO.FLAGS]! |= ROW.REG_LOW3 | ROW.REG_CHECKED;
      info[INFO.REG_SLOT] = one;
      info[INFO.REG_CLASS] = registerClass;
      return;
    case FROM.CONTROL:
    case FROM.DEBUG:
      info[INFO.FLAGS]! |= ROW.REG_CHECKED;
      info[INFO.REG_SLOT] = one;
      info[INFO.REG_CLASS] = registerClass;
      return;
    case FROM.REG_LOW3:
      info[INFO.FLAGS]! |= ROW.REG_LOW3;
      info[INFO.REG_SLOT] = one;
      return;
    case FROM.REG:
      info[INFO.REG_SLOT] = one;
      return;
    case FROM.RM8:
      info[INFO.FLAGS]! |= ROW.RM_BYTE;
      info[INFO.RM_SLOT] = one;
      return;
    case FROM.RM_LOW3:
      info[INFO.FLAGS]! |= ROW.RM_LOW3;
      info[INFO.RM_SLOT] = one;
      return;
    case FROM.RM:
      info[INFO.RM_SLOT] = one;
      return;
    case FROM.OPCODE8:
      info[INFO.FLAGS]! |= ROW.OPCODE_BYTE;
      info[INFO.OPCODE_SLOT] = one;
      return;
    case FROM.OPCODE:
      info[INFO.OPCODE_SLOT] = one;
      return;
    case FROM.IS4:
      info[INFO.OPCODE_SLOT] = one;
      info[INFO.IMMEDIATE] = from;
      return;
    case FROM.VVVV:
      info[INFO.VVVV_SLOT] = one;
      return;
    case FROM.FIXED:
      info[INFO.REGISTERS]! |= number << byte;
      return;
    case FROM.IMM8_SECOND:
      // Behind a first immediate: ENTER's 16 bits or EXTRQ's 8.
      info[INFO.IMMEDIATE] = info[INFO.IMMEDIATE] === FROM.IMM16 ? FROM.IMM16_IMM8 : FROM.IMM8_IMM8;
      return;
    case FROM.SOURCE:
    case FROM.DESTINATION:
    case FROM.ONE:
      return;
    default:
      info[INFO.IMMEDIATE] = from;
  }
}

/** The prefix slots (0 none, 1 66, 2 F3, 3 F2) that a row takes; see {@link specificity}. */
const PREFIX_SLOTS: Readonly<Record<OpcodeRow["prefix"], readonly number[]>> = {
  any: [0, 1, 2, 3],
  np: [0],
  66: [1],
  f3: [2],
  f2: [3],
};

/** Of two rows that fit a cell, the one that asks for more takes it. */
function specificity(row: OpcodeRow): number {
  return (
    (row.modrm >= 0 ? 32 : 0) +
    (row.digit >= 0 ? 8 : 0) +
    (row.mod !== 0 ? 8 : 0) +
    (row.prefix !== "any" ? 4 : 0) +
    (row.span === 1 ? 1 : 0) +
    (row.addressSize > 0 ? 1 : 0) +
    (row.only > 0 ? 1 : 0) +
    (row.w >= 0 ? 1 : 0) +
    (row.l >= 0 ? 1 : 0)
  );
}

function selectorsOf(rows: readonly OpcodeRow[]): number {
  let select = 0;
  for (const row of rows) {
    if (row.prefix !== "any") select |= SELECT.PREFIX;
    if (row.modrm >= 0) select |= SELECT.MODRM;
    else if (row.digit >= 0 || (row.mod !== 0 && !row.attributes.has("modreg"))) select |= SELECT.REG;
    if (row.addressSize > 0) select |= SELECT.ADDRESS;
    if (row.only > 0) select |= SELECT.MODE;
    if (row.w >= 0) select |= SELECT.W;
    if (row.l >= 0) select |= SELECT.L;
  }
  return select & SELECT.MODRM ? select & ~SELECT.REG : select;
}

const modrmLists = new Map<number, readonly number[]>();

/** Which of the 16 (ModRM.mod is 3, ModRM.reg) or 256 (ModRM) cells of an opcode a row takes, if they were free. */
function modrmCells(row: OpcodeRow, modrms: number): readonly number[] {
  if (modrms === 1) return PREFIX_SLOTS.np;
  if (row.modrm >= 0) return [row.modrm];
  const key = (modrms << 8) | ((row.digit + 1) << 4) | row.mod;
  let list = modrmLists.get(key);
  if (list === undefined) {
    const cells: number[] = [];
    for (let cell = 0; cell < modrms; cell++) {
      const reg = modrms === 256 ? (cell >> 3) & 7 : cell & 7;
      const register = modrms === 256 ? cell >= 0xc0 : cell >= 8;
      if ((row.digit < 0 || row.digit === reg) && (row.mod === 0 || register === (row.mod === 2))) cells.push(cell);
    }
    list = cells;
    modrmLists.set(key, list);
  }
  return list;
}

/** Fills the cells of one opcode from `base` on; gives the first cell behind them. */
function compileOpcode(place: number, indexes: number[], base: number): number {
  const select = selectorsOf(indexes.map((index) => OPCODES[index]!));
  const modrms = select & SELECT.MODRM ? 256 : select & SELECT.REG ? 16 : 1;
  // What follows ModRM in a cell's number: address size, mode, VEX.W and VEX.L.
  const addresses = select & SELECT.ADDRESS ? 3 : 1;
  const modes = select & SELECT.MODE ? 2 : 1;
  const ws = select & SELECT.W ? 2 : 1;
  const ls = select & SELECT.L ? 2 : 1;
  const tails = addresses * modes * ws * ls;
  if (indexes.length > 1) indexes.sort((a, b) => specificity(OPCODES[a]!) - specificity(OPCODES[b]!));
  for (const index of indexes) {
    const row = OPCODES[index]!;
    for (const prefix of select & SELECT.PREFIX ? PREFIX_SLOTS[row.prefix] : PREFIX_SLOTS.np)
      for (const modrm of modrmCells(row, modrms))
        for (let tail = 0; tail < tails; tail++) {
          const l = tail % ls;
          const w = Math.floor(tail / ls) % ws;
          const mode = Math.floor(tail / (ls * ws)) % modes;
          const address = Math.floor(tail / (ls * ws * modes));
          if (row.l >= 0 && row.l !== l) continue;
          if (row.w >= 0 && row.w !== w) continue;
          if (row.only > 0 && (row.only === 64) !== (mode === 1)) continue;
          if (row.addressSize > 0 && row.addressSize !== 2 << address) continue;
          CELLS[base + (prefix * modrms + modrm) * tails + tail] = index;
        }
  }
  DISPATCH[place] = (base << 8) | select;
  return base + (select & SELECT.PREFIX ? 4 : 1) * modrms * tails;
}

/** Rows of the opcodes that are not compiled yet, by place in {@link DISPATCH}. */
const waiting: (number[] | undefined)[] = [];
const compiled: Uint8Array = new Uint8Array(OPCODES.length);
// Cell 0 is row 0: opcodes without rows point at it.
let nextCell = 1;

/**
 * Compiles the rows of an opcode when its place in {@link DISPATCH} is 0 and decoding meets it for the first time: a
 * program uses a small part of the opcodes, and the module loads three times as fast. Tells whether there were rows.
 */
export function compilePlace(place: number): boolean {
  const indexes = waiting[place];
  if (indexes === undefined) return false;
  waiting[place] = undefined;
  for (const index of indexes) {
    if (compiled[index] === 1) continue;
    compiled[index] = 1;
    compileRow(OPCODES[index]!, index);
  }
  nextCell = compileOpcode(place, indexes, nextCell);
  if (nextCell > CELLS.length) throw new Error(`BUG: ${nextCell} dispatch cells, ${CELLS.length} allocated`);
  return true;
}

/** Compiles what is still waiting. */
export function compileAll(): void {
  for (let place = 0; place < DISPATCH.length; place++) compilePlace(place);
}

function register(row: OpcodeRow, index: number): void {
  // All mnemonics are known from the start: their list is public.
  const [text16, text32, text64] = row.texts;
  mnemonicOf(text16, row.conditional);
  if (text32 !== text16) mnemonicOf(text32, row.conditional);
  if (text64 !== text32) mnemonicOf(text64, row.conditional);
  if (index === 0) return;
  const map = ((row.vex ? 4 : 0) + row.map) << 8;
  for (let more = 0; more < row.span; more++) {
    const place = map | (row.opcode + more);
    const list = waiting[place];
    if (list) list.push(index);
    else waiting[place] = [index];
  }
}

for (let place = 0; place < DISPATCH.length; place++) waiting.push(undefined);
OPCODES.forEach(register);
