import { BASE_RIP, INVALID, type Instruction, NO_REGISTER, OPERAND, REGISTER_CLASS } from "../instruction.ts";
import { CONDITIONS } from "../table/compile.ts";
import type { OpcodeRow } from "../table/parse.ts";
import {
  branchTarget,
  exchangedByNop,
  hexOfSize,
  type InstructionText,
  indexName,
  isAbsolute,
  mnemonicOf,
  prefixWords,
  pseudoMnemonic,
  rowOf,
  shownSegment,
} from "./common.ts";
import { addressClass, registerName } from "./registers.ts";

const REPEATS = { repe: "repz", repne: "repnz" };
const SUFFIX: Readonly<Record<number, string>> = { 1: "b", 2: "w", 4: "l", 8: "q" };
/** Mnemonics that AT&T calls otherwise, by our row name: for operand sizes 16, 32, 64. */
const RENAMED: Readonly<Record<string, readonly [string, string, string]>> = {
  cbw: ["cbtw", "cwtl", "cltq"],
  cwd: ["cwtd", "cltd", "cqto"],
  pushf: ["pushfw", "pushf", "pushf"],
  popf: ["popfw", "popf", "popf"],
  iret: ["iretw", "iret", "iretq"],
  retf: ["lretw", "lret", "lretq"],
  sysret: ["sysretl", "sysretl", "sysretq"],
  sysexit: ["sysexitl", "sysexitl", "sysexitq"],
};
/** The SysV assembler exchanged these where the destination is not the top of the stack, and everyone follows. */
const X87_EXCHANGED: Readonly<Record<string, string>> = {
  fsub: "fsubr",
  fsubr: "fsub",
  fdiv: "fdivr",
  fdivr: "fdiv",
  fsubp: "fsubrp",
  fsubrp: "fsubp",
  fdivp: "fdivrp",
  fdivrp: "fdivp",
};

/**
 * The AT&T text of an instruction that stands at `address`, as GNU objdump writes it: `mov 0x10(%rbx,%rcx,4),%rax`.
 * The mnemonic has a size suffix where memory's size is not told by a register.
 */
export function formatAtt(instruction: Instruction, address: bigint = 0n): InstructionText {
  if (instruction.invalid !== INVALID.VALID) return { mnemonic: "(bad)", operands: "" };
  const row = rowOf(instruction);
  const prefixes = prefixWords(instruction, row, REPEATS);
  const exchanged = exchangedByNop(instruction, row);
  if (exchanged !== undefined) return { mnemonic: `${prefixes}xchg`, operands: `%${exchanged},%${exchanged}` };
  const pseudo = pseudoMnemonic(instruction, row);
  const count = instruction.operandCount - (pseudo === undefined ? 0 : 1);
  const operands: string[] = [];
  for (let slot = 0; slot < count; slot++) {
    if (instruction.kinds[slot] === OPERAND.ONE) continue;
    operands.push(operand(instruction, row, slot, address));
  }
  // ENTER and BOUND keep Intel's order.
  if (row.name !== "enter" && row.name !== "bound") operands.reverse();
  const far = row.attributes.has("far") ? "l" : "";
  return { mnemonic: prefixes + far + (pseudo ?? mnemonic(instruction, row)), operands: operands.join(",") };
}

function mnemonic(instruction: Instruction, row: OpcodeRow): string {
  const { name } = row;
  const size = instruction.operandSize;
  const sizeIndex = size === 8 ? 2 : size === 4 ? 1 : 0;
  const renamed = RENAMED[name];
  if (renamed) return renamed[sizeIndex]!;
  if (name === "movzx" || name === "movsx")
    return `mov${name[3]}${SUFFIX[instruction.sizes[1]!]}${SUFFIX[instruction.sizes[0]!]}`;
  if (name === "movsxd") return size === 8 ? "movslq" : "movsxd";
  if (isWideMove(instruction, row)) return "movabs";
  if (row.attributes.has("rep") || row.attributes.has("repe")) return stringMnemonic(instruction, row);
  if (row.feature === "x87") return x87Mnemonic(instruction, row);
  const text = row.conditional ? row.name + CONDITIONS[instruction.condition]! : mnemonicOf(instruction);
  return text + sizeSuffix(instruction, row);
}

function stringMnemonic(instruction: Instruction, row: OpcodeRow): string {
  // The accumulator or DX tells the size only for LODS, STOS and SCAS.
  const told = row.name === "lods" || row.name === "stos" || row.name === "scas";
  return row.name + (told ? "" : SUFFIX[instruction.operandSize]!);
}

function isWideMove(instruction: Instruction, row: OpcodeRow): boolean {
  if (row.name !== "mov" || row.vex) return false;
  if (row.operands.some((code) => code[0] === "O")) return instruction.addressSize === 8;
  return row.operands[1] === "Iv" && instruction.operandSize === 8;
}

function x87Mnemonic(instruction: Instruction, row: OpcodeRow): string {
  const { name } = row;
  if (instruction.kinds[0] !== OPERAND.MEMORY) return row.operands[1] === "ST0" ? (X87_EXCHANGED[name] ?? name) : name;
  const size = instruction.sizes[0]!;
  if (/cw$|sw$|env$|save$|rstor$|^fb/.test(name)) return name;
  const integer = name.startsWith("fi");
  if (integer) return name + (size === 2 ? "s" : size === 4 ? "l" : "ll");
  return name + (size === 4 ? "s" : size === 8 ? "l" : "t");
}

/** `b w l q` where memory is an operand and no general register tells the size. */
function sizeSuffix(instruction: Instruction, row: OpcodeRow): string {
  let memorySize = 0;
  for (let slot = 0; slot < instruction.operandCount; slot++) {
    const kind = instruction.kinds[slot];
    if (kind === OPERAND.MEMORY) memorySize = instruction.sizes[slot]!;
    else if (kind === OPERAND.REGISTER && row.operands[slot] !== "CL") {
      const converts = row.name.includes("cvtsi2s");
      if (!converts) return "";
    }
  }
  const sized = /^[EM][bvzy]$/;
  const code = row.operands.find((operandCode) => operandCode[0] === "E" || operandCode[0] === "M") ?? "";
  if (!sized.test(code) || row.attributes.has("f64") || row.attributes.has("d64") || row.name === "set") return "";
  if (row.name.startsWith("prefetch") || /^(invlpg|clflush|clflushopt|clwb|cldemote)$/.test(row.name)) return "";
  return SUFFIX[memorySize] ?? "";
}

function operand(instruction: Instruction, row: OpcodeRow, slot: number, address: bigint): string {
  switch (instruction.kinds[slot]) {
    case OPERAND.REGISTER: {
      const registerClass = instruction.classes[slot]!;
      const name = registerName(registerClass, instruction.registers[slot]!);
      if (registerClass === REGISTER_CLASS.ST && row.operands[slot] === "ST0") return "%st";
      if (registerClass === REGISTER_CLASS.DEBUG) return `%db${instruction.registers[slot]}`;
      if (row.operands[slot] === "DX") return "(%dx)";
      return `${isIndirectBranch(row) ? "*" : ""}%${name}`;
    }
    case OPERAND.MEMORY:
      return (isIndirectBranch(row) ? "*" : "") + memory(instruction);
    case OPERAND.IMMEDIATE:
      return `$${hexOfSize(instruction.immediateHigh, instruction.immediate, instruction.sizes[slot]!)}`;
    case OPERAND.IMMEDIATE2:
      return `$0x${instruction.immediate2.toString(16)}`;
    case OPERAND.RELATIVE:
      return `0x${branchTarget(instruction, address).toString(16)}`;
    case OPERAND.FAR:
      return `$0x${instruction.immediate2.toString(16)},$0x${(instruction.immediate >>> 0).toString(16)}`;
    case OPERAND.STRING_SOURCE:
      return `%${shownSegment(instruction, true) ?? "ds"}:(%${registerName(addressClass(instruction.addressSize), 6)})`;
    default:
      return `%es:(%${registerName(addressClass(instruction.addressSize), 7)})`;
  }
}

function isIndirectBranch(row: OpcodeRow): boolean {
  return (row.flow === "jump" || row.flow === "call") && /^[EM]/.test(row.operands[0] ?? "");
}

function memory(instruction: Instruction): string {
  const { base, index, scale, displacement, addressSize } = instruction;
  const segment = shownSegment(instruction, false);
  const prefix = segment === undefined ? "" : `%${segment}:`;
  if (isAbsolute(instruction)) return prefix + hexOfSize(instruction.displacementHigh, displacement, addressSize);
  let text = prefix;
  if (displacement > 0) text += `0x${displacement.toString(16)}`;
  else if (displacement < 0) text += `-0x${(-displacement).toString(16)}`;
  else if (instruction.displacementOffset !== 0) text += "0x0";
  text += "(";
  if (base === BASE_RIP) text += addressSize === 8 ? "%rip" : "%eip";
  else if (base !== NO_REGISTER) text += `%${registerName(addressClass(addressSize), base)}`;
  if (index !== NO_REGISTER) {
    text += `,%${indexName(instruction)}`;
    if (addressSize !== 2) text += `,${1 << scale}`;
  }
  return `${text})`;
}
