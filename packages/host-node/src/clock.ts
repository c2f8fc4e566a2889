import type { Clock } from "@paravirt/core";

/** A clock that runs with the host's: `process.hrtime` from the call on, which never goes back. */
export function realTimeClock(): Clock {
  const start = process.hrtime.bigint();
  return {
    wallClockBase: BigInt(Date.now()) * 1_000_000n,
    now: () => process.hrtime.bigint() - start,
  };
}
