import { expect, test } from "vitest";
import { realTimeClock } from "./clock.ts";

test("the clock starts near zero, goes forward, and its base is the time of day", () => {
  const clock = realTimeClock();
  const first = clock.now();
  const second = clock.now();
  expect(first >= 0n && second >= first && first < 1_000_000_000n).toBe(true);
  expect(Math.abs(Number(clock.wallClockBase / 1_000_000n) - Date.now())).toBeLessThan(5000);
});
