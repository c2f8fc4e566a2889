// `npm run bench:boot [-- --json FILE]`: CPU seconds and peak memory from process start to /init's first output, for
// paravirt and for QEMU's TCG where it is installed, with the same kernel and initramfs.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { joinArchives, writeCpio } from "@paravirt/boot";
import { debianGuest } from "@paravirt/host-node";

const ROUNDS = Number(argument("--rounds") ?? 3);
const MARK = "paravirt-bench: init";
const TICKS = Number(spawnSync("getconf", ["CLK_TCK"], { encoding: "utf8" }).stdout) || 100;

function argument(name) {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
}

/** CPU seconds of a running process, all threads, and its largest resident size in MiB. */
function usage(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return { cpu: (Number(fields[11]) + Number(fields[12])) / TICKS, memory: Math.round(Number(peak?.[1] ?? 0) / 1024) };
}

/** Starts a process and measures it at the moment when its output contains the mark. */
function measure(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    let seen = "";
    let result;
    const timer = setTimeout(() => child.kill("SIGKILL"), 300_000);
    const watch = (data) => {
      seen = (seen + data).slice(-4096);
      if (result !== undefined || !seen.includes(MARK)) return;
      result = usage(child.pid);
      child.kill("SIGKILL");
    };
    child.stdout.on("data", watch);
    child.stderr.on("data", watch);
    child.on("error", reject);
    child.on("close", () => {
      clearTimeout(timer);
      if (result === undefined) reject(new Error(`${command} ended before /init spoke: ${seen.slice(-300)}`));
      else resolve(result);
    });
  });
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

// An /init of its own, so that both machines say the same thing at the same moment, whatever console they have.
const INIT = `#!/bin/busybox sh\n/bin/busybox echo "${MARK}" > /dev/console\n/bin/busybox poweroff -f\n`;

const folder = mkdtempSync(join(tmpdir(), "paravirt-bench-"));
try {
  const guest = await debianGuest({ onProgress: ({ what }) => console.error(what) });
  const initrd = join(folder, "initrd");
  const init = writeCpio([{ path: "bench-init", type: "file", mode: 0o755, data: new TextEncoder().encode(INIT) }]);
  writeFileSync(initrd, joinArchives([guest.initramfs, init]));
  const cli = new URL("../packages/paravirt/bin/paravirt.js", import.meta.url).pathname;
  const append = (console) => `console=${console} quiet rdinit=/bench-init`;
  const engines = {
    // The kernel as run debian boots it: unpacked once, into the cache.
    paravirt: () =>
      measure(process.execPath, [
        cli,
        "run",
        "--kernel",
        join(guest.folder, "vmlinux"),
        "--initrd",
        initrd,
        "--append",
        append("hvc0"),
      ]),
  };
  if (spawnSync("qemu-system-x86_64", ["--version"]).status === 0) {
    const machine = ["-accel", "tcg", "-m", "256", "-nographic", "-no-reboot"];
    engines.tcg = () =>
      measure("qemu-system-x86_64", [
        ...machine,
        "-kernel",
        join(guest.folder, "vmlinuz"),
        "-initrd",
        initrd,
        "-append",
        append("ttyS0"),
      ]);
  } else console.error("qemu-system-x86_64 is not installed: paravirt alone");

  const rows = {};
  for (const [name, start] of Object.entries(engines)) {
    const runs = [];
    for (let round = 0; round < ROUNDS; round++) runs.push(await start());
    rows[name] = { cpu: median(runs.map((run) => run.cpu)), memory: median(runs.map((run) => run.memory)) };
  }
  console.log("boot of Debian's kernel to /init, 256 MiB, median of", ROUNDS);
  for (const [name, row] of Object.entries(rows)) {
    const ratio =
      rows.tcg === undefined || name === "tcg"
        ? ""
        : `   ${(row.cpu / rows.tcg.cpu).toFixed(2)} times TCG's CPU, ${(row.memory / rows.tcg.memory).toFixed(2)} times its memory`;
    console.log(
      `${name.padEnd(9)} ${row.cpu.toFixed(2).padStart(7)} CPU s  ${String(row.memory).padStart(5)} MiB${ratio}`,
    );
  }
  const file = argument("--json");
  if (file) writeFileSync(file, `${JSON.stringify({ rows }, null, 2)}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
