/** What an {@link AssemblerError} is about. */
export type AssemblerErrorCode =
  | "SYNTAX"
  | "NO_SUCH_INSTRUCTION"
  | "NO_SUCH_FORM"
  | "UNDEFINED_SYMBOL"
  | "OUT_OF_RANGE";

/** Thrown by the assembler for source that it cannot assemble; `line` counts from 1, `code` tells the kind. */
export class AssemblerError extends Error {
  /** `AssemblerError`. */
  override readonly name = "AssemblerError";
  /** What is wrong. */
  readonly code: AssemblerErrorCode;
  /** Line of the source, from 1; 0 where it is not known. */
  readonly line: number;
  constructor(code: AssemblerErrorCode, message: string, line = 0) {
    super(line > 0 ? `line ${line}: ${message}` : message);
    this.code = code;
    this.line = line;
  }
}
