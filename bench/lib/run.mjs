// What the benchmark commands have in common: programs, native runs, one boot per engine, comparison, report.
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { debianGuest } from "@paravirt/host-node";
import { miniGuest } from "@paravirt/vmm";
import { buildPrograms } from "./build.mjs";
import { benchInitramfs } from "./initramfs.mjs";
import { openNative, summarize } from "./native.mjs";
import { makePlan, nativeRounds } from "./plan.mjs";
import { compare, printTable, writeJson } from "./report.mjs";

/**
 * Runs the benchmark and sets the process's exit status: 1 when an engine failed or a checksum differs from the native
 * one. `engines` has, by name, functions of `{ guest, folder }` that answer `{ bits, busybox?, run }` or `{ missing }`, a
 * line that says why the engine is left out. `run({ initrd, total, label })` answers what `createRecorder` collects.
 */
export async function runBenchmark({ command, options, engines }) {
  const folder = mkdtempSync(join(tmpdir(), "paravirt-bench-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));
  try {
    const guest = await debianGuest({ onProgress: ({ what }) => console.error(what) });
    const { machines, worlds, leftOut } = await open({ engines, options, guest, folder });
    const measured = await measure({ machines, worlds, options, folder });
    report({ command, options, machines, leftOut, ...measured });
  } catch (error) {
    console.error(`${command}: ${error.message}`);
    process.exitCode = 1;
  }
}

/** Programs of one word size, and the host as their engine. */
export function openWorld({ bits, cachedBusybox, folder, tool }) {
  const programs = buildPrograms(bits);
  // The cache's own is not executable.
  const busybox = join(folder, `busybox${bits}`);
  copyFileSync(cachedBusybox, busybox);
  chmodSync(busybox, 0o755);
  const native = openNative({ busybox, programs, tool: tool ?? programs, label: `native, ${bits} bits` });
  return { busybox, programs, native };
}

async function open({ engines, options, guest, folder }) {
  const worlds = { 64: openWorld({ bits: 64, cachedBusybox: join(guest.folder, "busybox"), folder }) };
  worlds[64].plan = makePlan({ ...options, native: worlds[64].native });
  const machines = {};
  const leftOut = [];
  for (const name of options.engines) {
    if (name === "native") continue;
    const machine = await engines[name]({ guest, folder });
    let { missing } = machine;
    if (missing === undefined && worlds[machine.bits] === undefined) {
      try {
        const world = openWorld({ ...machine, cachedBusybox: machine.busybox, folder, tool: worlds[64].programs });
        world.plan = makePlan({ ...options, native: world.native });
        worlds[machine.bits] = world;
      } catch (error) {
        missing = error.message;
      }
    }
    if (missing === undefined) machines[name] = machine;
    else {
      leftOut.push(`${name}: ${missing}`);
      console.error(`left out: ${name}: ${missing}`);
    }
  }
  return { machines, worlds, leftOut };
}

async function measure({ machines, worlds, options, folder }) {
  const summaries = { native: undefined };
  const boots = {};
  const failures = [];
  const initrd = join(folder, "initrd");
  for (const [name, machine] of Object.entries(machines)) {
    const { busybox, programs, plan } = worlds[machine.bits];
    const run = async (rows) => {
      writeFileSync(initrd, benchInitramfs({ busybox: readFileSync(busybox), programs, plan: rows }));
      const result = await machine.run({ initrd, total: rows.length, label: name });
      if (result.failure !== undefined) failures.push(`${name}: ${result.failure}`);
      return result;
    };
    boots[name] = {};
    if (options.boots.includes("start") && machine.takesAnyKernel) {
      const kernel = join(folder, "kernel");
      writeFileSync(kernel, miniGuest());
      boots[name].start = (await machine.run({ kernel, label: name })).start;
    }
    if (options.boots.includes("boot")) Object.assign(boots[name], (await run([])).boot);
    summaries[name] = options.rows.length === 0 ? {} : summarize((await run(plan.plan)).runs);
  }
  // The host once more: when the machine gets slower or faster meanwhile, both halves see it.
  const natives = {};
  for (const [bits, { native, plan }] of Object.entries(worlds)) {
    nativeRounds({ native, plan });
    natives[bits] = native.summary();
    native.close();
  }
  summaries.native = natives[64];
  const baselines = { native: natives[64] };
  for (const [name, { bits }] of Object.entries(machines)) baselines[name] = natives[bits];
  return { names: options.rows, summaries, baselines, boots, failures };
}

function report({ command, options, machines, leftOut, names, summaries, baselines, boots, failures }) {
  const engines = ["native", ...Object.keys(machines)];
  const { rows, wrong } = compare({ names, summaries, baselines });
  printTable({ rows, engines, boots });
  for (const line of leftOut) console.log(`left out: ${line}`);
  if (options.json !== undefined) writeJson({ file: options.json, rows, engines, boots });
  for (const line of [...failures, ...wrong]) console.error(`${command}: ${line}`);
  if (failures.length + wrong.length > 0) process.exitCode = 1;
}
