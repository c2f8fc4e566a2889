// `npm run bench:disk [-- OPTIONS]`: what a guest's disk costs in paravirt and in QEMU's TCG with virtio, on the same image:
// Debian's dd and fio in Debian's kernel, processor time of the whole machine process. README.md beside this says how.
import { spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { basename, join } from "node:path";
import { joinArchives, moduleName, writeCpio } from "@paravirt/boot";
import { debianGuest, hostFileArchive, MODULE_PARAMETERS, XEN_MODULES } from "@paravirt/host-node";
import { CACHE, installPackages } from "./lib/debian.mjs";
import { DEVICE_ENGINES, deviceMachine, MIB, printRows, runnable, workFolder } from "./lib/device-bench.mjs";
import { runMachine } from "./lib/measure.mjs";
import { deviceBenchOptions, refuse } from "./lib/options.mjs";
import { median } from "./lib/rows.mjs";

const COMMAND = "bench:disk";
const IMAGE_MIB = 1024;
/** MiB of each machine: fio and its hundred libraries take 90, and what is left must not hold the image. */
const MEMORY = 512;

const fio = (pattern, options) =>
  `/usr/bin/fio --name=row --filename=$D --rw=${pattern} --bs=4k --direct=1 --randseed=7 --norandommap ${options} --minimal`;

/**
 * The rows: the command, given its amount (MiB for dd, operations for fio), and the row whose time is its program's
 * start. `unit` is what is counted.
 */
const ROWS = {
  "dd-start": { make: () => "/usr/bin/dd if=$D of=/dev/null bs=1M count=0" },
  "fio-start": { make: () => fio("randread", "--io_size=4k --ioengine=libaio --iodepth=32") },
  read: { unit: "MB", amount: 512, start: "dd-start", make: (n) => `/usr/bin/dd if=$D of=/dev/null bs=1M count=${n}` },
  "read-direct": {
    unit: "MB",
    amount: 1024,
    start: "dd-start",
    make: (n) => `/usr/bin/dd if=$D of=/dev/null bs=1M count=${n} iflag=direct`,
  },
  write: {
    unit: "MB",
    amount: 512,
    start: "dd-start",
    make: (n) => `/usr/bin/dd if=/dev/zero of=$D bs=1M count=${n} conv=fsync`,
  },
  "write-direct": {
    unit: "MB",
    amount: 1024,
    start: "dd-start",
    make: (n) => `/usr/bin/dd if=/dev/zero of=$D bs=1M count=${n} oflag=direct conv=fsync`,
  },
  "randread-1": {
    unit: "op",
    amount: 16384,
    start: "fio-start",
    make: (n) => fio("randread", `--io_size=${4 * n}k --ioengine=psync`),
  },
  "randread-32": {
    unit: "op",
    amount: 32768,
    start: "fio-start",
    make: (n) => fio("randread", `--io_size=${4 * n}k --ioengine=libaio --iodepth=32`),
  },
  "randwrite-1": {
    unit: "op",
    amount: 16384,
    start: "fio-start",
    make: (n) => fio("randwrite", `--io_size=${4 * n}k --ioengine=psync`),
  },
  "randwrite-32": {
    unit: "op",
    amount: 32768,
    start: "fio-start",
    make: (n) => fio("randwrite", `--io_size=${4 * n}k --ioengine=libaio --iodepth=32`),
  },
};

/** What the machines need of Debian's kernel package, and how each gets the image. */
const ENGINES = {
  paravirt: {
    modules: XEN_MODULES.filter((name) => name.includes("blk")),
    devices: (image) => ["--disk", `${image},format=raw`],
  },
  tcg: {
    modules: ["virtio_pci", "virtio_blk"],
    devices: (image) => ["-nic", "none", "-drive", `file=${image},format=raw,if=virtio`],
  },
};

/** An image without holes, so that no machine reads zeros that nobody stored. */
function makeImage(path) {
  const file = openSync(path, "w");
  const piece = Buffer.alloc(MIB);
  for (let at = 0; at < IMAGE_MIB; at++) {
    for (let word = 0; word < MIB; word += 4) piece.writeUInt32LE((word * 2654435761 + at * 40503) >>> 0, word);
    writeSync(file, piece);
  }
  closeSync(file);
}

async function initramfs({ guest, modules, plan }) {
  const file = (path, data, mode = 0o755) => ({ path, type: "file", mode, data });
  const text = (string) => new TextEncoder().encode(string);
  const programs = hostFileArchive([
    { hostPath: program("dd"), guestPath: "/usr/bin/dd" },
    { hostPath: program("fio"), guestPath: "/usr/bin/fio" },
  ]);
  return joinArchives([
    writeCpio([
      ...["bin", "dev", "proc", "sys", "tmp", "bench", "modules"].map((path) => ({
        path,
        type: "directory",
        mode: 0o755,
      })),
      { path: "dev/console", type: "character", mode: 0o600, device: [5, 1] },
      { path: "dev/null", type: "character", mode: 0o666, device: [1, 3] },
      file("bin/busybox", readFileSync(join(guest.folder, "busybox"))),
      { path: "bin/sh", type: "symlink", mode: 0o777, target: "busybox" },
      file("init", readFileSync(new URL("disk/init", import.meta.url))),
      file("bench/plan", text(plan.map(([name, command]) => `${name} ${command}\n`).join("")), 0o644),
      file("modules/order", text(modules.map(({ name, parameters }) => `${name} ${parameters}\n`).join("")), 0o644),
      ...modules.map(({ name, data }) => file(`modules/${name}`, data, 0o644)),
    ]),
    programs,
  ]);
}

function program(name) {
  const found = spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim();
  if (found === "") refuse(`${COMMAND}: ${name} isn't installed`);
  return found;
}

/** The modules of the guest's folder that `wanted` ones need, each after those it depends on. */
function modulesOf(guest, wanted) {
  const manifest = JSON.parse(readFileSync(join(guest.folder, "manifest.json"), "utf8"));
  const order = [];
  const visit = (name) => {
    const known = manifest.modules[name];
    if (known === undefined || order.includes(name)) return;
    for (const need of known.depends) visit(moduleName(need));
    order.push(name);
  };
  for (const name of wanted) visit(moduleName(name));
  return order.map((name) => ({
    name: basename(manifest.modules[name].file),
    data: readFileSync(join(guest.folder, manifest.modules[name].file)),
    parameters: MODULE_PARAMETERS[name] ?? "",
  }));
}

async function measure({ engine, guest, folder, image, plan }) {
  const { modules, devices } = ENGINES[engine];
  const initrd = join(folder, `initrd-${engine}`);
  writeFileSync(initrd, await initramfs({ guest, modules: modulesOf(guest, modules), plan }));
  const machine = deviceMachine({ engine, guest, initrd, devices: devices(image), memory: MEMORY });
  return runMachine({ ...machine, label: engine, total: plan.length });
}

async function main() {
  const chosen = deviceBenchOptions({
    command: COMMAND,
    about: "a guest's disk in paravirt and in QEMU's TCG, with Debian's dd and fio",
    rows: Object.keys(ROWS).filter((name) => ROWS[name].unit !== undefined),
    engines: DEVICE_ENGINES,
  });
  const missing = installPackages(["fio"]);
  if (missing !== undefined) refuse(`${COMMAND}: ${missing}`);
  chosen.engines = runnable(chosen.engines);
  const folder = workFolder();
  // Modules that no guest of ours needs: a cache of its own keeps them from coming and going in everybody's.
  const guest = await debianGuest({
    cacheFolder: join(CACHE, "disk"),
    modules: Object.values(ENGINES).flatMap(({ modules }) => modules),
    onProgress: ({ what }) => console.error(what),
  });
  const image = join(folder, "disk.img");
  makeImage(image);
  const amount = (name) => Math.max(1, Math.round((ROWS[name].amount * chosen.scale) / 100));
  const starts = [...new Set(chosen.rows.map((name) => ROWS[name].start))];
  const plan = [...starts, ...chosen.rows].flatMap((name) =>
    Array.from({ length: chosen.reps }, () => [
      name,
      ROWS[name].make(ROWS[name].unit === undefined ? 0 : amount(name)),
    ]),
  );
  const answer = { rows: {}, boot: {} };
  const failures = [];
  for (const engine of chosen.engines) {
    const result = await measure({ engine, guest, folder, image, plan });
    if (result.failure !== undefined) failures.push(`${engine}: ${result.failure}`);
    answer.boot[engine] = result.boot;
    for (const name of chosen.rows) {
      const runs = result.runs[name] ?? [];
      const failed = runs.find(([, output]) => !output.startsWith("ok"));
      if (failed !== undefined) failures.push(`${engine}: ${name}: ${failed[1].trim()}`);
      const began = result.runs[ROWS[name].start] ?? [];
      if (runs.length === 0 || began.length === 0) continue;
      const cpu = median(runs.map(([seconds]) => seconds)) - median(began.map(([seconds]) => seconds));
      // MB of a million bytes, as dd says it.
      const done = ROWS[name].unit === "MB" ? (amount(name) * MIB) / 1e6 : amount(name);
      answer.rows[name] ??= {};
      answer.rows[name][engine] = { cpu: round(cpu), perCpuSecond: round(done / cpu), unit: ROWS[name].unit };
    }
  }
  const units = Object.fromEntries(chosen.rows.map((name) => [name, ROWS[name].unit]));
  printRows({ rows: answer.rows, units, engines: chosen.engines });
  if (chosen.json !== undefined) writeFileSync(chosen.json, `${JSON.stringify(answer, null, 2)}\n`);
  for (const line of failures) console.error(`${COMMAND}: ${line}`);
  if (failures.length > 0) process.exitCode = 1;
}

const round = (value) => Number(value.toPrecision(4));

await main();
