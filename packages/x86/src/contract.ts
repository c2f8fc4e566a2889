// What @paravirt/x86 exports beside Instruction; packages/cpu codes against these names.
// The file that implements a name replaces its line here; this file goes away when all are there.
import type { Instruction } from "./instruction.ts";

/**
 * Rows of the opcode table as others read them. `name` is the base name without condition ("add", "j", "set",
 * "cmov", "movs", "paddb", "fld"); `conditional` rows add the condition to it in text ("je", "setne").
 */
export interface OpcodeRow {
  readonly name: string;
  readonly conditional?: boolean;
  readonly lockable?: boolean;
  readonly feature?: string;
}
/** All rows; `instruction.row` indexes this. */
export declare const OPCODES: readonly OpcodeRow[];
/** All mnemonics as text; `instruction.mnemonic` indexes this. */
export declare const MNEMONICS: readonly string[];
/**
 * Decodes one instruction at `code[offset]`, reading no byte at or past `end`.
 * Returns its length, or 0 with `into.invalid` set. Nothing is allocated.
 */
export declare function decode(code: Uint8Array, offset: number, end: number, mode: 16 | 32 | 64, into: Instruction): number;
