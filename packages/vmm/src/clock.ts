import type { Clock } from "@paravirt/core";

const MILLION = 1_000_000;

/** A clock that the machine moves: a run with it repeats exactly, whatever the host's speed. */
export interface VirtualClock extends Clock {
  /** Called by the machine with the instructions that its guests have executed. */
  advance(instructions: number): void;
  /** Jumps to `time` when nothing can run before; never back. */
  skipTo(time: bigint): void;
}

/** The host's monotonic clock, starting now; the wall clock is the host's too. */
export function realTimeClock(): Clock {
  const start = performance.now();
  return {
    now: () => BigInt(Math.round((performance.now() - start) * MILLION)),
    wallClockBase: BigInt(Date.now()) * BigInt(MILLION),
  };
}

/**
 * Makes a clock that counts instructions, one nanosecond each, and skips idle time. `wallClockBase` is what guests take
 * for the time of day at the start, in nanoseconds since 1970: 0 when left out, so that runs are equal.
 */
export function instructionClock(options: { readonly wallClockBase?: bigint } = {}): VirtualClock {
  let skipped = 0n;
  let executed = 0;
  return {
    wallClockBase: options.wallClockBase ?? 0n,
    now: () => skipped + BigInt(executed),
    advance(instructions) {
      if (instructions > executed) executed = instructions;
    },
    skipTo(time) {
      const now = skipped + BigInt(executed);
      if (time > now) skipped += time - now;
    },
  };
}

/** Whether a clock is one that the machine moves. */
export function isVirtualClock(clock: Clock): clock is VirtualClock {
  return "advance" in clock && "skipTo" in clock;
}
