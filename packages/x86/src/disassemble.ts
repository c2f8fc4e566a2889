import { decode, type Mode } from "./decode.ts";
import { Instruction } from "./instruction.ts";
import { formatAtt } from "./text/att.ts";
import type { InstructionText } from "./text/common.ts";
import { formatIntel } from "./text/intel.ts";

/** How instructions are written: as Intel's manuals do, or as GNU's assembler does. */
export type Syntax = "intel" | "att";

/** Options of {@link disassemble}. */
export interface DisassembleOptions {
  /** Mode of the code; 64 unless told. */
  readonly mode?: Mode;
  /** Address of the first byte; 0 unless told. */
  readonly address?: bigint;
  /** `"intel"` unless told. */
  readonly syntax?: Syntax;
}

/** One line of a listing. */
export interface DisassembledLine extends InstructionText {
  /** Where in the bytes it stands. */
  readonly offset: number;
  /** Address of its first byte. */
  readonly address: bigint;
  /** Bytes that it takes: 1 for a byte that begins no instruction. */
  readonly length: number;
  /** Whether it is an instruction; otherwise `mnemonic` is `(bad)`. */
  readonly valid: boolean;
  /** Mnemonic and operands, a space between. */
  readonly text: string;
}

/** The text of a decoded instruction that stands at `address`. */
export function formatInstruction(
  instruction: Instruction,
  address: bigint,
  syntax: Syntax = "intel",
): InstructionText {
  return syntax === "att" ? formatAtt(instruction, address) : formatIntel(instruction, address);
}

/** Mnemonic and operands in one string. */
export function joinText(text: InstructionText): string {
  return text.operands === "" ? text.mnemonic : `${text.mnemonic} ${text.operands}`;
}

/** Disassembles `code` from its first byte to its last; a byte that begins no instruction is a line `(bad)` of length 1. */
export function* disassemble(code: Uint8Array, options: DisassembleOptions = {}): Generator<DisassembledLine> {
  const { mode = 64, address = 0n, syntax = "intel" } = options;
  const instruction = new Instruction();
  for (let offset = 0; offset < code.length; ) {
    const length = decode(code, offset, code.length, mode, instruction);
    const here = address + BigInt(offset);
    const text = formatInstruction(instruction, here, syntax);
    yield { ...text, offset, address: here, length: length || 1, valid: length > 0, text: joinText(text) };
    offset += length || 1;
  }
}
