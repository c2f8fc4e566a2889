import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CASE_BYTES, digest, makeCase, pageImage } from "../conformance/cases.ts";
import { ConformanceMachine } from "../conformance/machine.ts";

const recorded = new Uint8Array(readFileSync(new URL("./__vectors__/integer.bin", import.meta.url)));
const view = new DataView(recorded.buffer);

/** Runs every `stride`th recorded case; returns how many ran and which differed from the processor. */
function replay(tier: 0 | 1, stride: number): { count: number; differences: string[] } {
  const machine = new ConformanceMachine(pageImage(1), pageImage(2));
  const differences: string[] = [];
  let count = 0;
  for (let at = 0; at < recorded.length; at += CASE_BYTES * stride) {
    const code = recorded.slice(at + 1, at + 1 + recorded[at]!);
    const made = makeCase(code, view.getUint32(at + 16, true));
    if (made === undefined) throw new Error(`case ${at / CASE_BYTES} can't be made any more`);
    const outcome = machine.run(made, tier);
    if (outcome === undefined) continue;
    count++;
    if (digest(made, outcome) !== view.getUint32(at + 20, true))
      differences.push(`${made.name} ${Array.from(code, (byte) => byte.toString(16).padStart(2, "0")).join("")}`);
  }
  return { count, differences };
}

test("20,000 recorded integer instructions end as they did on a real processor", () => {
  expect(replay(0, 1)).toEqual({ count: 20_000, differences: [] });
});

test("translated code ends as the processor did, too", () => {
  const { count, differences } = replay(1, 5);
  expect(differences).toEqual([]);
  expect(count).toBeGreaterThan(1000);
});
