import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { digest, unitsApart } from "../conformance/compare.ts";
import { CaseMachine } from "../conformance/engine-machine.ts";
import type { MadeCase } from "../conformance/make-case.ts";
import { casePages } from "../conformance/pages.ts";
import { COMPLETED, FX, type Outcome } from "../conformance/processor-state.ts";
import { decodeRecorded, decodeTranscendental, RECORDED_BYTES } from "../conformance/recorded.ts";

/** Recorded on an AMD EPYC processor of family 19h by `npm run conformance -- --record`. */
const vectors = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`./__vectors__/${name}.bin`, import.meta.url)));
const pages = casePages();
const machine = new CaseMachine(pages);
const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const describe = ({ row, bits, code, seed }: MadeCase): string => `${row.name} ${bits} ${hex(code)} seed ${seed}`;

test.each([
  ["processor", 60_000],
  ["avx", 6_000],
])(
  "recorded instructions of every row end as they did on a real processor, state, memory and faults: %s",
  (name, least) => {
    const recorded = vectors(name);
    const differences: string[] = [];
    for (const { test, digest: expected } of decodeRecorded(recorded, pages))
      if (digest(test, machine.run(test)!) !== expected) differences.push(describe(test));
    expect(differences).toEqual([]);
    expect(recorded.length / RECORDED_BYTES).toBeGreaterThan(least);
  },
);

/** Whether control comes back into the instruction: translated code would execute it again. */
function comesBack({ state, code }: MadeCase, outcome: Outcome): boolean {
  const distance = outcome.state.rip - state.rip;
  return outcome.vector === COMPLETED && distance >= 0n && distance < BigInt(code.length);
}

test.each([
  ["processor", 9, 3000],
  ["avx", 3, 1500],
])("translated code ends as the processor did, too: %s", (name, stride, least) => {
  const differences: string[] = [];
  let count = 0;
  for (const { test, digest: expected } of decodeRecorded(vectors(name), pages, stride)) {
    if (comesBack(test, machine.run(test)!)) continue;
    const outcome = machine.run(test, 1);
    if (outcome === undefined) continue;
    count++;
    if (digest(test, outcome) !== expected) differences.push(describe(test));
  }
  expect(differences).toEqual([]);
  expect(count).toBeGreaterThan(least);
});

test("transcendental functions are within one unit in the last place of a real processor, and mostly the same", () => {
  let count = 0;
  let same = 0;
  const differences: string[] = [];
  for (const { test, statusWord, registers } of decodeTranscendental(vectors("transcendental"), pages)) {
    const { vector, state } = machine.run(test)!;
    const view = new DataView(state.fx.buffer);
    let distance = 0n;
    // C1 and PE tell how the result was rounded: they differ wherever the last bit does.
    if (vector !== COMPLETED || ((view.getUint16(FX.statusWord, true) ^ statusWord) & ~0x220) !== 0) distance = 99n;
    registers.forEach((bytes, i) => {
      const apart = unitsApart(bytes, state.fx.subarray(FX.st + i * 16, FX.st + i * 16 + 10));
      if (apart > distance) distance = apart;
    });
    count++;
    if (distance === 0n) same++;
    else if (distance > 1n) differences.push(describe(test));
  }
  expect(differences).toEqual([]);
  expect(count).toBeGreaterThan(2000);
  expect(same / count).toBeGreaterThan(0.95);
});
