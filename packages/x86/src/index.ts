/**
 * x86 decoder, disassembler and assembler for 16-, 32- and 64-bit code, without allocation per instruction.
 * @packageDocumentation
 */
export { type Assembled, type AssembleOptions, assemble } from "./assembler/assemble.ts";
export { AssemblerError, type AssemblerErrorCode } from "./assembler/errors.ts";
export { decode, type Mode } from "./decode.ts";
export {
  type DisassembledLine,
  type DisassembleOptions,
  disassemble,
  formatInstruction,
  joinText,
  type Syntax,
} from "./disassemble.ts";
export { type FlagsInfo, type InstructionInfo, instructionInfo, type OperandInfo } from "./info.ts";
export {
  BASE_RIP,
  INVALID,
  Instruction,
  NO_REGISTER,
  OPERAND,
  PREFIX,
  REGISTER_CLASS,
  SEGMENT,
} from "./instruction.ts";
export { CONDITIONS, MNEMONICS, OPCODES } from "./table/compile.ts";
export type { Access, Flow, MandatoryPrefix, OpcodeRow } from "./table/parse.ts";
export { formatAtt } from "./text/att.ts";
export { branchTarget, type InstructionText } from "./text/common.ts";
export { formatIntel } from "./text/intel.ts";
export { registerName } from "./text/registers.ts";
