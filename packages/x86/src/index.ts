/**
 * x86 decoder, disassembler and assembler for 16-, 32- and 64-bit code, without allocation per instruction.
 * @packageDocumentation
 */
export { decode, type Mode } from "./decode.ts";
export {
  BASE_RIP,
  Instruction,
  INVALID,
  NO_REGISTER,
  OPERAND,
  PREFIX,
  REGISTER_CLASS,
  SEGMENT,
} from "./instruction.ts";
export { CONDITIONS, MNEMONICS, OPCODES } from "./table/compile.ts";
export type { Access, Flow, MandatoryPrefix, OpcodeRow } from "./table/parse.ts";
