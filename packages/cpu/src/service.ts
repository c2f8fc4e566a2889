import type { Engine } from "./engine.ts";

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

/** Executes the instruction at `record` in JavaScript; returns a {@link SERVICE_RESULT}. */
export type Service = (engine: Engine, record: number) => number;
