// `npm run bench:net [-- --json FILE]`: MB that go through a guest's network card in a CPU second of the machine's process,
// each way, and small requests; paravirt with its user-mode network, QEMU's TCG with virtio-net and its own, side by side.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { joinArchives, writeCpio } from "@paravirt/boot";
import { debianGuest, XEN_MODULES } from "@paravirt/host-node";
import { installPackages } from "./lib/debian.mjs";
import { COMMAND_LINES, MEMORY } from "./lib/engines.mjs";
import { runMachine } from "./lib/measure.mjs";
import { refuse, whole } from "./lib/options.mjs";
import { median } from "./lib/rows.mjs";

const COMMAND = "bench:net";
/** What a row moves: MiB, or requests. */
const ROWS = { download: 200, upload: 200, requests: 100 };
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
      },
    });
    return {
      json: values.json,
      reps: whole(values.reps, 1, 100, "--reps", COMMAND),
      scale: whole(values.scale, 1, 1000, "--scale", COMMAND),
      engines: values.engines.split(","),
    };
  } catch (error) {
    return refuse(`${COMMAND}: ${error.message}`);
  }
}

/** Starts the host's servers; they end with this process. */
async function startServer() {
  const script = new URL("net/server.mjs", import.meta.url).pathname;
  const child = spawn(process.execPath, [script], { stdio: ["pipe", "pipe", "inherit"] });
  child.unref();
  const line = await new Promise((resolve) => child.stdout.setEncoding("utf8").once("data", resolve));
  child.stdout.destroy();
  return { ...JSON.parse(line), close: () => child.kill() };
}

/** The guest's own program, built for it. */
function buildStream() {
  const missing = installPackages(["gcc", "libc6-dev"]);
  if (missing !== undefined) refuse(`${COMMAND}: ${missing}`);
  const output = join(folder, "stream");
  const source = new URL("net/stream.c", import.meta.url).pathname;
  const built = spawnSync("gcc", ["-O2", "-static", "-s", "-march=x86-64", "-o", output, source], { encoding: "utf8" });
  if (built.status !== 0) refuse(`${COMMAND}: stream.c can't be compiled: ${built.stderr}`);
  return readFileSync(output);
}

function benchArchive({ guest, server, plan }) {
  const file = (path, data, mode = 0o644) => ({ path, type: "file", mode, data: new TextEncoder().encode(data) });
  const init = readFileSync(new URL("net/init", import.meta.url), "utf8");
  return joinArchives([
    guest.initramfs,
    writeCpio([
      { path: "bench", type: "directory", mode: 0o755 },
      file("bench/init", init, 0o755),
      file("bench/server", `HTTP=${server.http} UPLOAD=${server.upload} DOWNLOAD=${server.download}\n`),
      { path: "bench/stream", type: "file", mode: 0o755, data: buildStream() },
      file("bench/plan", plan.map((line) => `${line.join(" ")}\n`).join("")),
    ]),
  ]);
}

function engines({ guest, initrd }) {
  const rdinit = "rdinit=/bench/init";
  return {
    paravirt: {
      command: process.execPath,
      args: [
        ...[CLI, "run", "--memory", String(MEMORY), "--append", `${COMMAND_LINES.paravirt} ${rdinit}`],
        ...["--kernel", join(guest.folder, "vmlinux"), "--initrd", initrd, "--net", "user,allow=*"],
      ],
    },
    tcg: {
      command: "qemu-system-x86_64",
      args: [
        ...["-accel", "tcg", "-m", String(MEMORY), "-nographic", "-no-reboot"],
        ...["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"],
        ...["-append", `${COMMAND_LINES.pc} ${rdinit}`, "-kernel", join(guest.folder, "vmlinuz"), "-initrd", initrd],
      ],
    },
  };
}

/** What a row's CPU seconds come to: MB, or requests, in a CPU second. */
function speed(name, amount, cpu) {
  return name === "requests" ? amount / cpu : (amount * MIB) / 1e6 / cpu;
}

const { json, reps, scale, engines: chosen } = readOptions();
const folder = mkdtempSync(join(tmpdir(), "paravirt-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));

const server = await startServer();
process.on("exit", () => server.close());
const modules = [...XEN_MODULES, "virtio_pci", "virtio_net"];
const guest = await debianGuest({ modules, onProgress: ({ what }) => console.error(what) });
const amounts = Object.fromEntries(
  Object.entries(ROWS).map(([name, amount]) => [name, Math.max(1, Math.round((amount * scale) / 100))]),
);
const plan = Array.from({ length: reps }, () => Object.entries(amounts)).flat();
const initrd = join(folder, "initrd");
writeFileSync(initrd, benchArchive({ guest, server, plan }));

const wrong = [];
const rows = Object.fromEntries(Object.keys(ROWS).map((name) => [name, {}]));
for (const [name, { command, args }] of Object.entries(engines({ guest, initrd }))) {
  if (!chosen.includes(name)) continue;
  if (name === "tcg" && spawnSync(command, ["--version"]).status !== 0) {
    console.error(`${command} is not installed (Debian package qemu-system-x86): paravirt alone`);
    continue;
  }
  const result = await runMachine({ command, args, label: name, total: plan.length });
  if (result.failure !== undefined) wrong.push(`${name}: ${result.failure}`);
  for (const [row, amount] of Object.entries(amounts)) {
    const expected = row === "requests" ? String(amount) : `${amount} MiB`;
    const runs = result.runs[row] ?? [];
    for (const [, said] of runs) if (said !== expected) wrong.push(`${row}: ${name} moved "${said}", not ${expected}`);
    if (runs.length === 0) continue;
    const cpu = median(runs.map(([seconds]) => seconds));
    rows[row][name] = { cpu: Number(cpu.toFixed(3)), perCpuSecond: Number(speed(row, amount, cpu).toPrecision(4)) };
  }
}

console.log(`${"each CPU second".padEnd(20)}${"paravirt".padStart(12)}${"tcg".padStart(12)}${"ratio".padStart(9)}`);
for (const [row, { paravirt, tcg }] of Object.entries(rows)) {
  const title = `${row} (${row === "requests" ? "requests" : "MB"})`;
  const cell = (engine) => (engine === undefined ? "-" : engine.perCpuSecond.toFixed(1)).padStart(12);
  const ratio =
    paravirt === undefined || tcg === undefined ? "-" : (paravirt.perCpuSecond / tcg.perCpuSecond).toFixed(2);
  console.log(`${title.padEnd(20)}${cell(paravirt)}${cell(tcg)}${ratio.padStart(9)}`);
}
if (json !== undefined) writeFileSync(json, `${JSON.stringify({ amounts, rows }, null, 2)}\n`);
for (const line of wrong) console.error(`${COMMAND}: ${line}`);
if (wrong.length > 0) process.exitCode = 1;
server.close();
