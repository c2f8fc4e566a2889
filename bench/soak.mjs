// `npm run bench:soak [-- --minutes N] [--json FILE]`: mixed load in paravirt for ten minutes. Prints the resident memory
// of its process after the first minute and at the end, and fails when a row's result differs from the native one.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { debianGuest } from "@paravirt/host-node";
import { paravirtEngine } from "./lib/engines.mjs";
import { benchInitramfs } from "./lib/initramfs.mjs";
import { residentMemory } from "./lib/measure.mjs";
import { summarize } from "./lib/native.mjs";
import { refuse, whole } from "./lib/options.mjs";
import { ROWS } from "./lib/rows.mjs";
import { openWorld } from "./lib/run.mjs";

const COMMAND = "bench:soak";
/** Percent of the usual work: so little that the first minute has seen every row. */
const SCALE = 2;
/** More rounds than fit into the time. */
const ROUNDS = 2000;

function readOptions() {
  try {
    const { values } = parseArgs({ options: { minutes: { type: "string", default: "10" }, json: { type: "string" } } });
    return { minutes: whole(values.minutes, 2, 1000, "--minutes", COMMAND), json: values.json };
  } catch (error) {
    return refuse(`${COMMAND}: ${error.message}`);
  }
}

const { minutes, json } = readOptions();
const folder = mkdtempSync(join(tmpdir(), "paravirt-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));

const guest = await debianGuest({ onProgress: ({ what }) => console.error(what) });
const { busybox, programs, native } = openWorld({ bits: 64, cachedBusybox: join(guest.folder, "busybox"), folder });
for (const name of ROWS) native.run(name, SCALE);
const expected = native.summary();
native.close();

const initrd = join(folder, "initrd");
const plan = Array.from({ length: ROUNDS }, () => ROWS.map((name) => [name, SCALE])).flat();
writeFileSync(initrd, benchInitramfs({ busybox: readFileSync(busybox), programs, plan }));
/** Resident MiB at the end of each minute. */
const memory = [];
let ended = false;
const result = await paravirtEngine({ guest }).run({
  initrd,
  label: "soak",
  total: plan.length,
  onProcess(child) {
    const timer = setInterval(() => {
      memory.push(residentMemory(child.pid));
      console.error(`soak: minute ${memory.length}, ${memory.at(-1)} MiB resident`);
      if (memory.length < minutes) return;
      ended = true;
      child.kill("SIGKILL");
    }, 60_000);
    child.on("close", () => clearInterval(timer));
  },
});

const wrong = [];
if (!ended) wrong.push(result.failure ?? "the guest went through all rows before the time was over");
for (const [name, { checksum }] of Object.entries(summarize(result.runs))) {
  if (checksum !== expected[name].checksum) wrong.push(`${name}: "${checksum}", natively "${expected[name].checksum}"`);
}
const runs = Object.values(result.runs).reduce((sum, list) => sum + list.length, 0);
const rounds = Math.min(...ROWS.map((name) => result.runs[name]?.length ?? 0));
const ratio = memory.at(-1) / memory[0];
console.log(`${runs} runs, ${rounds} rounds of all ${ROWS.length} rows in ${memory.length} minutes`);
console.log(
  `resident memory: ${memory[0]} MiB after the first minute, ${memory.at(-1)} MiB at the end, ratio ${ratio.toFixed(3)}`,
);
if (json !== undefined) writeFileSync(json, `${JSON.stringify({ runs, rounds, memory, ratio }, null, 2)}\n`);
for (const line of wrong) console.error(`${COMMAND}: ${line}`);
if (wrong.length > 0) process.exitCode = 1;
