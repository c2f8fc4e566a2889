// What the benchmarks of devices have in common: the two machines, a plan that both work off, the table of both.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { COMMAND_LINES, MEMORY } from "./engines.mjs";
import { runMachine } from "./measure.mjs";
import { median } from "./rows.mjs";

const CLI = new URL("../../packages/paravirt/bin/paravirt.js", import.meta.url).pathname;
const QEMU = "qemu-system-x86_64";
export const MIB = 1024 * 1024;

/** The machines that are compared. */
export const DEVICE_ENGINES = ["paravirt", "tcg"];

/** A folder that goes away with this process. */
export function workFolder() {
  const folder = mkdtempSync(join(tmpdir(), "paravirt-bench-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(130));
  return folder;
}

/** Those of `chosen` that can run here; what can't is named on standard error. */
export function runnable(chosen) {
  if (!chosen.includes("tcg") || spawnSync(QEMU, ["--version"]).status === 0) return chosen;
  console.error(`left out: tcg: ${QEMU} is not installed (Debian package qemu-system-x86)`);
  return chosen.filter((name) => name !== "tcg");
}

/**
 * The command that runs `engine` with `devices`, which are its own options. `append` is put behind the kernel's usual
 * command line; `memory` is in MiB.
 */
export function deviceMachine({ engine, guest, initrd, devices, append = "", memory = MEMORY }) {
  const words = (line) => ["-append", [line, append].filter(Boolean).join(" ")];
  if (engine === "paravirt") {
    const [, line] = words(COMMAND_LINES.paravirt);
    const kernel = ["--kernel", join(guest.folder, "vmlinux"), "--initrd", initrd];
    return {
      command: process.execPath,
      args: [CLI, "run", "--memory", String(memory), "--append", line, ...kernel, ...devices],
    };
  }
  const kernel = ["-kernel", join(guest.folder, "vmlinuz"), "-initrd", initrd];
  return {
    command: QEMU,
    args: [
      ...["-accel", "tcg", "-m", String(memory), "-nographic", "-no-reboot"],
      ...devices,
      ...words(COMMAND_LINES.pc),
      ...kernel,
    ],
  };
}

/** `percent` of each row's amount, 1 at least. */
export function scaled(rows, percent) {
  return Object.fromEntries(
    Object.entries(rows).map(([name, amount]) => [name, Math.max(1, Math.round((amount * percent) / 100))]),
  );
}

/**
 * Lets each machine of `machines` ({name: command}) work off every row `reps` times. `units` says of each row whether its
 * amount is in "MB", MiB that is, or what else is counted; the guest says it back. Answers the medians, as processor
 * seconds and as MB or things in each of them, and what was wrong.
 */
export async function runRows({ machines, amounts, units, reps }) {
  const wrong = [];
  const rows = Object.fromEntries(Object.keys(amounts).map((name) => [name, {}]));
  const total = reps * Object.keys(amounts).length;
  for (const [name, machine] of Object.entries(machines)) {
    const result = await runMachine({ ...machine, label: name, total });
    if (result.failure !== undefined) wrong.push(`${name}: ${result.failure}`);
    for (const [row, amount] of Object.entries(amounts)) {
      const isData = units[row] === "MB";
      const expected = isData ? `${amount} MiB` : String(amount);
      const runs = result.runs[row] ?? [];
      for (const [, said] of runs) if (said !== expected) wrong.push(`${row}: ${name} said "${said}", not ${expected}`);
      if (runs.length === 0) continue;
      const cpu = median(runs.map(([seconds]) => seconds));
      const done = isData ? (amount * MIB) / 1e6 : amount;
      rows[row][name] = { cpu: Number(cpu.toFixed(3)), perCpuSecond: Number((done / cpu).toPrecision(4)) };
    }
  }
  return { rows, wrong };
}

/** The plan that {@link runRows} expects the guest to work off, as its text. */
export function planText({ amounts, reps }) {
  const plan = Array.from({ length: reps }, () => Object.entries(amounts)).flat();
  return plan.map((line) => `${line.join(" ")}\n`).join("");
}

/** Prints what the machines do in a processor second, side by side. */
export function printRows({ rows, units, engines }) {
  const both = DEVICE_ENGINES.every((name) => engines.includes(name));
  const heads = engines.map((name) => name.padStart(12)).join("");
  console.log(`${"per CPU second".padEnd(24)}${heads}${both ? "paravirt/tcg".padStart(14) : ""}`);
  for (const [name, row] of Object.entries(rows)) {
    const cells = engines.map((engine) => number(row[engine]?.perCpuSecond).padStart(12));
    const ratio = row.paravirt && row.tcg ? (row.paravirt.perCpuSecond / row.tcg.perCpuSecond).toFixed(2) : "-";
    console.log(`${`${name}, ${units[name]}`.padEnd(24)}${cells.join("")}${both ? ratio.padStart(14) : ""}`);
  }
}

function number(value) {
  if (value === undefined) return "-";
  return value < 100 ? value.toFixed(1) : value.toFixed(0);
}
