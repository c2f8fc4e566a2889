import type { Engine } from "./engine.ts";
import { ACCESS, ENGINE, RECORD, WATCH } from "./layout.ts";

/** What became of an instruction that JavaScript executed. */
export const SERVICE_RESULT = {
  /** Done; the next instruction follows. */
  NEXT: 0,
  /** Done; control goes to `ENGINE.nextRip`. */
  JUMP: 1,
  /** A fault was set. */
  FAULT: 2,
  /** The exit was filled; RIP stays at the instruction. */
  LEAVE: 3,
  /** The exit was filled; RIP moves on. */
  LEAVE_AFTER: 4,
} as const;

/** Sizes of x87 environments and states in 16-bit form. */
const SHORT_ENVIRONMENT = 14;
const SHORT_FORMS = new Set([SHORT_ENVIRONMENT, 94]);

/**
 * Machine address of a long memory operand, 0 with the fault set. AMD's processors look at its two ends before they begin, as
 * CR2 tells: the last byte first for FXSAVE and FXRSTOR, the first one for x87 state. Call `commit` after writing.
 */
export function longOperand(
  engine: Engine,
  record: number,
  size: number,
  access: number,
  first: "begin" | "end" = "begin",
): number {
  const begin = engine.exports.operandAddress(record);
  const end = operandByte(engine, record, size - 1);
  const { words } = engine.memory;
  const { translate } = engine.exports;
  // The first access is to a control word, in its 16- or 32-bit form.
  if (first === "begin" && translate(begin, SHORT_FORMS.has(size) ? 2 : 4, access) === 0) return 0;
  if (translate(end, 1, access) === 0) return 0;
  const watch = words[ENGINE.watch / 4]!;
  // Words are all that the 16-bit environment is read as.
  if (access === ACCESS.READ && size === SHORT_ENVIRONMENT) words[ENGINE.watch / 4] = watch & ~WATCH.ALIGNMENT;
  const at = engine.operand(record, size, access);
  words[ENGINE.watch / 4] = watch;
  return at;
}

/** Linear address of byte `index` of the record's memory operand: the offset wraps as the address size demands. */
export function operandByte(engine: Engine, record: number, index: number): bigint {
  const { words, quads } = engine.memory;
  const base = quads[words[(record + RECORD.segment) / 4]! / 8]!;
  const offset = engine.exports.operandAddress(record) - base + BigInt(index);
  return engine.wrapStack((offset & quads[(record + RECORD.addressMask) / 8]!) + base);
}

/** Executes the instruction at `record` in JavaScript; returns a {@link SERVICE_RESULT}. */
export type Service = (engine: Engine, record: number) => number;
