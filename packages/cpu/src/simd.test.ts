import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CASE_BYTES, pageImage } from "../conformance/cases.ts";
import { ConformanceMachine } from "../conformance/machine.ts";
import { digestSimd, makeSimdCase, runSimd, simdPageImage } from "../conformance/simd-cases.ts";

const recorded = new Uint8Array(readFileSync(new URL("./__vectors__/simd.bin", import.meta.url)));
const view = new DataView(recorded.buffer);

/** Runs every `stride`th recorded case; returns how many ran and which differed from the processor. */
function replay(tier: 0 | 1, stride: number): { count: number; differences: string[] } {
  const machine = new ConformanceMachine(simdPageImage(3), pageImage(2));
  const differences: string[] = [];
  let count = 0;
  for (let at = 0; at < recorded.length; at += CASE_BYTES * stride) {
    const code = recorded.slice(at + 1, at + 1 + recorded[at]!);
    const made = makeSimdCase(code, view.getUint32(at + 16, true));
    if (made === undefined) throw new Error(`case ${at / CASE_BYTES} can't be made any more`);
    const outcome = runSimd(machine, made, tier);
    if (outcome === undefined) continue;
    count++;
    if (digestSimd(made, outcome) !== view.getUint32(at + 20, true))
      differences.push(`${made.base.name} ${Array.from(code, (byte) => byte.toString(16).padStart(2, "0")).join("")}`);
  }
  return { count, differences };
}

test("24,000 recorded SIMD instructions end as they did on a real processor: registers, memory, MXCSR, x87 state, faults", () => {
  expect(replay(0, 1)).toEqual({ count: 24_000, differences: [] });
});

test("translated SIMD code ends as the processor did, too", () => {
  const { count, differences } = replay(1, 2);
  expect(differences).toEqual([]);
  expect(count).toBeGreaterThan(500);
});
