import { BASE_RIP, INVALID, type Instruction, NO_REGISTER, OPERAND, REGISTER_CLASS } from "../instruction.ts";
import {
  branchTarget,
  exchangedByNop,
  hex64,
  hexOfSize,
  type InstructionText,
  indexName,
  isAbsolute,
  isHidden,
  isUnsized,
  mnemonicOf,
  prefixWords,
  pseudoMnemonic,
  rowOf,
  shownSegment,
  sizeWord,
} from "./common.ts";
import { addressClass, registerName } from "./registers.ts";

const SIZE_WORDS: Readonly<Record<number, string>> = {
  1: "byte",
  2: "word",
  4: "dword",
  6: "fword",
  8: "qword",
  10: "tbyte",
  16: "xmmword",
  32: "ymmword",
};
const REPEATS = { repe: "repe", repne: "repne" };

/**
 * The Intel text of an instruction that stands at `address`: lower case, `mov rax, qword ptr [rbx+rcx*4+0x10]`.
 * Numbers are hexadecimal with `0x`; immediates unsigned in their operand's size, displacements signed, branch targets
 * absolute. Memory always has its size, except where it is a structure. A segment appears only where it is not the usual
 * one, a scale only when it isn't 1, the accumulator of a string instruction never.
 */
export function formatIntel(instruction: Instruction, address: bigint = 0n): InstructionText {
  if (instruction.invalid !== INVALID.VALID) return { mnemonic: "(bad)", operands: "" };
  const row = rowOf(instruction);
  const prefixes = prefixWords(instruction, row, REPEATS);
  const exchanged = exchangedByNop(instruction, row);
  if (exchanged !== undefined) return { mnemonic: `${prefixes}xchg`, operands: `${exchanged}, ${exchanged}` };
  const pseudo = pseudoMnemonic(instruction, row);
  const count = instruction.operandCount - (pseudo === undefined ? 0 : 1);
  let operands = row.attributes.has("far") ? "far " : "";
  let separator = "";
  for (let slot = 0; slot < count; slot++) {
    if (isHidden(instruction, row, slot)) continue;
    operands += separator + operand(instruction, slot, address);
    separator = ", ";
  }
  return { mnemonic: sizeWord(instruction, row) + prefixes + (pseudo ?? mnemonicOf(instruction)), operands };
}

function operand(instruction: Instruction, slot: number, address: bigint): string {
  const size = instruction.sizes[slot]!;
  switch (instruction.kinds[slot]) {
    case OPERAND.REGISTER: {
      const registerClass = instruction.classes[slot]!;
      if (registerClass === REGISTER_CLASS.ST && rowOf(instruction).operands[slot] === "ST0") return "st";
      return registerName(registerClass, instruction.registers[slot]!);
    }
    case OPERAND.MEMORY:
      return sizeWords(instruction, slot) + memory(instruction);
    case OPERAND.IMMEDIATE:
      return hexOfSize(instruction.immediateHigh, instruction.immediate, size);
    case OPERAND.IMMEDIATE2:
      return `0x${instruction.immediate2.toString(16)}`;
    case OPERAND.RELATIVE:
      return `0x${branchTarget(instruction, address).toString(16)}`;
    case OPERAND.FAR:
      return `0x${instruction.immediate2.toString(16)}:${hex64(0, instruction.immediate)}`;
    case OPERAND.STRING_SOURCE: {
      const segment = shownSegment(instruction, true);
      const register = registerName(addressClass(instruction.addressSize), 6);
      return `${SIZE_WORDS[size]} ptr ${segment === undefined ? "" : `${segment}:`}[${register}]`;
    }
    case OPERAND.STRING_DESTINATION:
      return `${SIZE_WORDS[size]} ptr [${registerName(addressClass(instruction.addressSize), 7)}]`;
    default:
      return "1";
  }
}

function sizeWords(instruction: Instruction, slot: number): string {
  return isUnsized(instruction, rowOf(instruction), slot) ? "" : `${SIZE_WORDS[instruction.sizes[slot]!]} ptr `;
}

function memory(instruction: Instruction): string {
  const { base, index, scale, displacement, addressSize } = instruction;
  const segment = shownSegment(instruction, false);
  let text = segment === undefined ? "[" : `${segment}:[`;
  if (isAbsolute(instruction)) return `${text}${hexOfSize(instruction.displacementHigh, displacement, addressSize)}]`;
  if (base === BASE_RIP) text += addressSize === 8 ? "rip" : "eip";
  else if (base !== NO_REGISTER) text += registerName(addressClass(addressSize), base);
  if (index !== NO_REGISTER) {
    if (base !== NO_REGISTER) text += "+";
    text += indexName(instruction);
    if (scale !== 0 || base === NO_REGISTER) text += `*${1 << scale}`;
  }
  if (displacement > 0) text += `+0x${displacement.toString(16)}`;
  else if (displacement < 0) text += `-0x${(-displacement).toString(16)}`;
  return `${text}]`;
}
