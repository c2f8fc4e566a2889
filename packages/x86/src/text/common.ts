import { type Instruction, NO_REGISTER, OPERAND, PREFIX, REGISTER_CLASS, SEGMENT } from "../instruction.ts";
import { MNEMONICS, OPCODES } from "../table/compile.ts";
import type { OpcodeRow } from "../table/parse.ts";
import { addressClass, registerName } from "./registers.ts";

/** What an instruction reads as: prefixes and mnemonic, and operands apart. */
export interface InstructionText {
  /** Mnemonic with its prefixes before it, such as `rep movsb`; `(bad)` where there is no instruction. */
  readonly mnemonic: string;
  /** Operands separated by `, `; empty when there are none. */
  readonly operands: string;
}

/** The row that an instruction matched. */
export function rowOf(instruction: Instruction): OpcodeRow {
  return OPCODES[instruction.row]!;
}

/** `0x…` of a 64-bit number in two halves. */
export function hex64(high: number, low: number): string {
  const upper = high >>> 0;
  const lower = (low >>> 0).toString(16);
  return upper === 0 ? `0x${lower}` : `0x${upper.toString(16)}${lower.padStart(8, "0")}`;
}

/** `0x…` of a number cut to `size` bytes. */
export function hexOfSize(high: number, low: number, size: number): string {
  if (size === 1) return `0x${(low & 0xff).toString(16)}`;
  if (size === 2) return `0x${(low & 0xffff).toString(16)}`;
  return hex64(size === 4 ? 0 : high, low);
}

/** Address that a RELATIVE operand names when the instruction stands at `address`. */
export function branchTarget(instruction: Instruction, address: bigint): bigint {
  const target = address + BigInt(instruction.length) + BigInt(instruction.immediate);
  if (instruction.mode === 64) return BigInt.asUintN(64, target);
  return BigInt.asUintN(instruction.operandSize === 2 ? 16 : 32, target);
}

/** Name of the segment that a memory operand has to show: only where it is not the one it would use anyway. */
export function shownSegment(instruction: Instruction, stringSource: boolean): string | undefined {
  const usesStack = !stringSource && (instruction.base === 4 || instruction.base === 5);
  const usual = usesStack ? SEGMENT.SS : SEGMENT.DS;
  return instruction.segment === usual ? undefined : registerName(REGISTER_CLASS.SEGMENT, instruction.segment);
}

/** Name of the index register. */
export function indexName(instruction: Instruction): string {
  const { attributes } = rowOf(instruction);
  if (!attributes.has("vsib")) return registerName(addressClass(instruction.addressSize), instruction.index);
  // The element indexes of the `vsibx` rows fill a register of VEX.L's length, those of VPGATHERDQ and VGATHERDPD half of it.
  const wide = attributes.has("vsibx") && (instruction.prefixes & PREFIX.VEX_L) !== 0;
  return registerName(wide ? REGISTER_CLASS.YMM : REGISTER_CLASS.XMM, instruction.index);
}

/** Prefix words before the mnemonic. */
export function prefixWords(instruction: Instruction, row: OpcodeRow, names: { repe: string; repne: string }): string {
  const { prefixes } = instruction;
  const { attributes } = row;
  let words = "";
  const toMemory = instruction.kinds[0] === OPERAND.MEMORY || instruction.kinds[1] === OPERAND.MEMORY;
  const locked = (prefixes & PREFIX.LOCK) !== 0 || (attributes.has("implicitlock") && toMemory);
  if (prefixes & PREFIX.REPNE && locked) words += "xacquire ";
  if (prefixes & PREFIX.REP && (locked || (attributes.has("xrelease") && toMemory))) words += "xrelease ";
  if (prefixes & PREFIX.LOCK) words += "lock ";
  if (attributes.has("rep") || attributes.has("repe")) {
    if (prefixes & PREFIX.REP) words += attributes.has("repe") ? `${names.repe} ` : "rep ";
    if (prefixes & PREFIX.REPNE) words += `${names.repne} `;
  }
  if (attributes.has("notrack") && prefixes & PREFIX.DS) words += "notrack ";
  if (attributes.has("bnd") && prefixes & PREFIX.REPNE) words += "bnd ";
  return words;
}

/** `data16`, `data32`, `data64` where the operand size is unusual and nothing else in the text shows it. */
export function sizeWord(instruction: Instruction, row: OpcodeRow): string {
  if (!row.attributes.has("sized")) return "";
  const { operandSize, mode } = instruction;
  if (mode === 64 && row.name === "retf") return operandSize === 2 ? "data16 " : "";
  return operandSize * 8 === mode ? "" : `data${operandSize * 8} `;
}

/** Predicates of the compares by their immediate; the first eight without VEX. */
export const PREDICATES: readonly string[] =
  "eq lt le unord neq nlt nle ord eq_uq nge ngt false neq_oq ge gt true eq_os lt_oq le_oq unord_s neq_us nlt_uq nle_uq ord_s eq_us nge_uq ngt_uq false_os neq_os ge_oq gt_oq true_us".split(
    " ",
  );
/** Which quadwords PCLMULQDQ multiplies, and its immediate for them. */
export const MULTIPLICATIONS: ReadonlyMap<string, number> = new Map([
  ["lqlq", 0],
  ["hqlq", 1],
  ["lqhq", 16],
  ["hqhq", 17],
]);

/** The mnemonic that takes in the last immediate (`cmpltps` for `cmpps` with 1), or `undefined`. */
export function pseudoMnemonic(instruction: Instruction, row: OpcodeRow): string | undefined {
  const value = instruction.immediate;
  if (row.attributes.has("cmp")) {
    if (value >= (row.vex ? 32 : 8)) return undefined;
    return `${row.name.slice(0, -2)}${PREDICATES[value]}${row.name.slice(-2)}`;
  }
  if (row.name.endsWith("pclmulqdq"))
    for (const [halves, immediate] of MULTIPLICATIONS)
      if (immediate === value) return `${row.name.slice(0, -3)}${halves}dq`;
  return undefined;
}

/** NOP with an operand size prefix is written as the exchange that it is; this gives its register. */
export function exchangedByNop(instruction: Instruction, row: OpcodeRow): string | undefined {
  if (row.name !== "nop" || instruction.operandCount !== 0) return undefined;
  if ((instruction.prefixes & (PREFIX.OPERAND_SIZE | PREFIX.REX_W)) !== PREFIX.OPERAND_SIZE) return undefined;
  return instruction.operandSize === 2 ? "ax" : "eax";
}

/** The mnemonic of the table, with its condition. */
export function mnemonicOf(instruction: Instruction): string {
  return MNEMONICS[instruction.mnemonic]!;
}

/** Whether operand `slot` stays out of the text: the accumulator of a string instruction. */
export function isHidden(instruction: Instruction, row: OpcodeRow, slot: number): boolean {
  return (
    (row.attributes.has("rep") || row.attributes.has("repe")) &&
    instruction.kinds[slot] === OPERAND.REGISTER &&
    row.operands[slot] !== "DX"
  );
}

/** Whether memory operand `slot` is shown without a size: its size names a structure, not a datum. */
export function isUnsized(instruction: Instruction, row: OpcodeRow, slot: number): boolean {
  const size = instruction.sizes[slot]!;
  return size === 0 || size > 32 || size === 14 || size === 28 || row.operands[slot] === "Ms";
}

/** Whether there is neither base nor index. */
export function isAbsolute(instruction: Instruction): boolean {
  return instruction.base === NO_REGISTER && instruction.index === NO_REGISTER;
}
