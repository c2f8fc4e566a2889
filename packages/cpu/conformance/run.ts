/**
 * `npm run conformance`: makes cases for every row of the opcode table that the engine claims, executes each on the processor
 * below and in both tiers, and prints where they differ. Exit status 1 when any does.
 */
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { OPCODES } from "@paravirt/x86";
import { isAvx } from "../src/features.ts";
import { differences, isLastBit, TRANSCENDENTAL } from "./compare.ts";
import { CaseMachine } from "./engine-machine.ts";
import { type GroupedCase, generate } from "./generate.ts";
import { selectRows } from "./groups.ts";
import { hostFeatures, hostName, NativeProcessor } from "./oracle.ts";
import { casePages } from "./pages.ts";
import { COMPLETED, type Outcome, SYSTEM_CALL, TIMED_OUT } from "./processor-state.ts";
import { concatenate, Recording } from "./recorded.ts";
import { Report } from "./report.ts";
import { undefinedFlagsByRow } from "./undefined.ts";

const USAGE = `Usage: npm run conformance -- [options]
  --count N    cases, 200000 when left out
  --seed S     another set of cases, 1 when left out
  --group G    only groups whose name contains G
  --tier T     0 (interpreter) or 1 (translated code), both when left out
  --list N     most differing cases that are listed, 40 when left out
  --json FILE  numbers and all differing cases
  --record     write the recorded sets that "npm test" replays; with --group avx that of AVX alone`;
const BATCH = 4000;
/** npm runs this in the package. */
const ORACLE = resolve("conformance/oracle.c");
const VECTORS = resolve("src/__vectors__");
/** Cases in the recorded set. */
const RECORDED = 72_000;
const RECORDED_TRANSCENDENTAL = 2_400;
/** Cases of AVX and what belongs to it, in a set of their own. */
const RECORDED_AVX = 7_000;

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "210000" },
    seed: { type: "string", default: "1" },
    group: { type: "string" },
    tier: { type: "string" },
    list: { type: "string", default: "40" },
    json: { type: "string" },
    record: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

function number(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  console.error(`--${name} takes a number, not "${text}"\n\n${USAGE}`);
  process.exit(2);
}

/** Tier 1 goes on behind the instruction: it must not come back into it. */
function comesBack({ test }: GroupedCase, { vector, state }: Outcome): boolean {
  return vector === COMPLETED && state.rip >= test.state.rip && state.rip < test.state.rip + BigInt(test.code.length);
}

function check(
  report: Report,
  machine: CaseMachine,
  tiers: readonly (0 | 1)[],
  item: GroupedCase,
  native: Outcome,
): void {
  const { group, test } = item;
  const count = report.group(group);
  if (native.vector === SYSTEM_CALL || native.vector === TIMED_OUT) {
    count.skipped++;
    return;
  }
  count.cases++;
  for (const tier of tiers) {
    if (tier === 1 && comesBack(item, native)) continue;
    const outcome = machine.run(test, tier);
    if (outcome === undefined) continue;
    if (tier === 1) count.translated++;
    const what = differences(test, native, outcome);
    if (what.length === 0) continue;
    if (!isLastBit(test, native, outcome)) report.differs(group, tier, test, what);
    else if (tier === 0) count.lastBit++;
  }
}

/** Makes a recorded set anew: what the processor does, without the cases that the engine gets wrong. */
function record(name: string, items: Iterable<GroupedCase>, native: NativeProcessor, machine: CaseMachine): number {
  const recording = new Recording();
  let batch: GroupedCase[] = [];
  const flush = () => {
    const outcomes = native.run(batch.map(({ test }) => test));
    batch.forEach((item, index) => {
      const outcome = outcomes[index]!;
      if (outcome.vector !== SYSTEM_CALL && outcome.vector !== TIMED_OUT) recording.add(item, outcome, machine);
    });
    batch = [];
  };
  for (const item of items) {
    batch.push(item);
    if (batch.length === BATCH) flush();
  }
  flush();
  const { cases, transcendental, different } = recording;
  writeFileSync(join(VECTORS, `${name}.bin`), concatenate(cases));
  if (transcendental.length > 0) writeFileSync(join(VECTORS, "transcendental.bin"), concatenate(transcendental));
  console.log(`${cases.length} cases and ${transcendental.length} transcendental functions recorded`);
  if (different.length === 0) return 0;
  console.log(`${different.length} left out because the engine differs:\n${different.join("\n")}`);
  return 1;
}

/** Prints what was not compared: rows by reason, and flags by row. */
function printExceptions(rows: readonly number[], skipped: ReadonlyMap<string, string>): void {
  const reasons = new Map<string, string[]>();
  for (const [name, reason] of skipped) reasons.set(reason, [...(reasons.get(reason) ?? []), name]);
  console.log("\nNot compared:");
  for (const [reason, names] of reasons) console.log(`  ${names.join(" ")}: ${reason}`);
  console.log("\nUndefined flags, not compared:");
  const undefinedFlags = undefinedFlagsByRow(rows.map((index) => OPCODES[index]!));
  for (const [flags, names] of undefinedFlags) console.log(`  ${flags}: ${names.join(" ")}`);
}

function main(): number {
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const tiers: readonly (0 | 1)[] = values.tier === undefined ? [0, 1] : [number("tier", values.tier) === 1 ? 1 : 0];
  const count = number("count", values.count);
  const seed = number("seed", values.seed);
  const pages = casePages();
  const { rows, skipped } = selectRows(hostFeatures());
  const native = new NativeProcessor(ORACLE, pages);
  const machine = new CaseMachine(pages);
  const report = new Report();
  console.log(`Processor: ${hostName()}\n${rows.length} rows of the opcode table, seed ${seed}\n`);
  try {
    if (values.record) {
      const transcendental = rows.filter((index) => TRANSCENDENTAL.test(OPCODES[index]!.name));
      const vectors = rows.filter((index) => isAvx(OPCODES[index]!));
      const others = rows.filter((index) => !isAvx(OPCODES[index]!));
      const avx = generate({ rows: vectors, count: RECORDED_AVX, seed, pages, randomBytes: false });
      const status = record("avx", avx, native, machine);
      if (values.group === "avx") return status;
      return (
        record(
          "processor",
          [
            ...generate({ rows: others, count: RECORDED, seed, pages }),
            ...generate({ rows: transcendental, count: RECORDED_TRANSCENDENTAL, seed, pages, randomBytes: false }),
          ],
          native,
          machine,
        ) || status
      );
    }
    let batch: GroupedCase[] = [];
    const flush = () => {
      const outcomes = native.run(batch.map(({ test }) => test));
      batch.forEach((item, index) => {
        check(report, machine, tiers, item, outcomes[index]!);
      });
      batch = [];
    };
    for (const item of generate({ rows, count, seed, pages, group: values.group })) {
      batch.push(item);
      if (batch.length === BATCH) flush();
    }
    flush();
  } finally {
    native.close();
  }
  console.log(report.table());
  printExceptions(rows, skipped);
  if (values.json !== undefined) report.writeJson(resolve(process.env.INIT_CWD ?? ".", values.json));
  const { differences: found } = report.total;
  if (found[0] + found[1] === 0) return 0;
  console.log(`\nDiffering cases, expected/got:\n${report.listing(number("list", values.list))}`);
  return 1;
}

process.exitCode = main();
