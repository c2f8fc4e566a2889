import { expect, test } from "vitest";
import { runAgreement } from "../agreement/runner.ts";

test("random programs end in the same state however they are executed", () => {
  const report = runAgreement({ seed: 1, count: 250 });
  expect(report.failure).toBeUndefined();
  expect(report.programs).toBe(250);
  // Else the comparison would say little.
  expect(report.translated).toBeGreaterThan(2500);
});
