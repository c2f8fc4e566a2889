// `npm run bench:share [-- --json FILE]`: MB that go between a guest and a shared folder in a CPU second of the machine's
// process, each way, and small files; paravirt with its 9pfs device, QEMU's TCG with virtio-9p, side by side.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { joinArchives, writeCpio } from "@paravirt/boot";
import { debianGuest, GUEST_MODULES, XEN_MODULES } from "@paravirt/host-node";
import { COMMAND_LINES, MEMORY } from "./lib/engines.mjs";
import { runMachine } from "./lib/measure.mjs";
import { refuse, whole } from "./lib/options.mjs";
import { median } from "./lib/rows.mjs";

const COMMAND = "bench:share";
/** What a row moves: MiB, or files that are made, listed and removed. */
const ROWS = { write: 200, read: 200, read4k: 20, files: 200 };
const MIB = 1024 * 1024;
const CLI = new URL("../packages/paravirt/bin/paravirt.js", import.meta.url).pathname;

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        json: { type: "string" },
        reps: { type: "string", default: "3" },
        scale: { type: "string", default: "100" },
        engines: { type: "string", default: "paravirt,tcg" },
        mount: { type: "string", default: "cache=mmap,msize=262144" },
      },
    });
    return {
      json: values.json,
      reps: whole(values.reps, 1, 100, "--reps", COMMAND),
      scale: whole(values.scale, 1, 1000, "--scale", COMMAND),
      engines: values.engines.split(","),
      mount: values.mount,
    };
  } catch (error) {
    return refuse(`${COMMAND}: ${error.message}`);
  }
}

function benchArchive({ guest, plan }) {
  const file = (path, data, mode = 0o644) => ({ path, type: "file", mode, data: new TextEncoder().encode(data) });
  return joinArchives([
    guest.initramfs,
    writeCpio([
      { path: "bench", type: "directory", mode: 0o755 },
      file("bench/init", readFileSync(new URL("share/init", import.meta.url), "utf8"), 0o755),
      file("bench/plan", plan.map((line) => `${line.join(" ")}\n`).join("")),
    ]),
  ]);
}

function engines({ guest, initrd, mount }) {
  const line = (console, transport) =>
    `${console} rdinit=/bench/init bench.mount=trans=${transport},version=9p2000.L,${mount}`;
  return {
    paravirt: {
      command: process.execPath,
      args: [
        ...[CLI, "run", "--memory", String(MEMORY), "--append", line(COMMAND_LINES.paravirt, "xen")],
        ...["--kernel", join(guest.folder, "vmlinux"), "--initrd", initrd, "--share", `${shared("paravirt")}:bench`],
      ],
    },
    tcg: {
      command: "qemu-system-x86_64",
      args: [
        ...["-accel", "tcg", "-m", String(MEMORY), "-nographic", "-no-reboot"],
        ...["-virtfs", `local,path=${shared("tcg")},mount_tag=bench,security_model=none`],
        ...["-append", line(COMMAND_LINES.pc, "virtio"), "-kernel", join(guest.folder, "vmlinuz"), "-initrd", initrd],
      ],
    },
  };
}

/** A folder of each machine's own, on the same file system. */
function shared(name) {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
}

const { json, reps, scale, engines: chosen, mount } = readOptions();
const folder = mkdtempSync(join(tmpdir(), "paravirt-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));

const modules = [...XEN_MODULES, ...GUEST_MODULES.share, "virtio_pci", "9pnet_virtio"];
const guest = await debianGuest({ modules, onProgress: ({ what }) => console.error(what) });
const amounts = Object.fromEntries(
  Object.entries(ROWS).map(([name, amount]) => [name, Math.max(1, Math.round((amount * scale) / 100))]),
);
const plan = Array.from({ length: reps }, () => Object.entries(amounts)).flat();
const initrd = join(folder, "initrd");
writeFileSync(initrd, benchArchive({ guest, plan }));

const wrong = [];
const rows = Object.fromEntries(Object.keys(ROWS).map((name) => [name, {}]));
for (const [name, { command, args }] of Object.entries(engines({ guest, initrd, mount }))) {
  if (!chosen.includes(name)) continue;
  if (name === "tcg" && spawnSync(command, ["--version"]).status !== 0) {
    console.error(`${command} is not installed (Debian package qemu-system-x86): paravirt alone`);
    continue;
  }
  const result = await runMachine({ command, args, label: name, total: plan.length });
  if (result.failure !== undefined) wrong.push(`${name}: ${result.failure}`);
  for (const [row, amount] of Object.entries(amounts)) {
    const expected = row === "files" ? String(amount) : `${amount} MiB`;
    const runs = result.runs[row] ?? [];
    for (const [, said] of runs) if (said !== expected) wrong.push(`${row}: ${name} said "${said}", not ${expected}`);
    if (runs.length === 0) continue;
    const cpu = median(runs.map(([seconds]) => seconds));
    const moved = row === "files" ? amount : (amount * MIB) / 1e6;
    rows[row][name] = { cpu: Number(cpu.toFixed(3)), perCpuSecond: Number((moved / cpu).toPrecision(4)) };
  }
}

console.log(`${"each CPU second".padEnd(20)}${"paravirt".padStart(12)}${"tcg".padStart(12)}${"ratio".padStart(9)}`);
for (const [row, { paravirt, tcg }] of Object.entries(rows)) {
  const title = `${row} (${row === "files" ? "files" : "MB"})`;
  const cell = (engine) => (engine === undefined ? "-" : engine.perCpuSecond.toFixed(1)).padStart(12);
  const ratio =
    paravirt === undefined || tcg === undefined ? "-" : (paravirt.perCpuSecond / tcg.perCpuSecond).toFixed(2);
  console.log(`${title.padEnd(20)}${cell(paravirt)}${cell(tcg)}${ratio.padStart(9)}`);
}
if (json !== undefined) writeFileSync(json, `${JSON.stringify({ amounts, rows }, null, 2)}\n`);
for (const line of wrong) console.error(`${COMMAND}: ${line}`);
if (wrong.length > 0) process.exitCode = 1;
