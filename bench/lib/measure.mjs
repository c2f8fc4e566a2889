// Processor time of processes, and of the pieces between marks in their output.
import { spawn, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { checksumOf } from "./rows.mjs";

const TICKS = Number(spawnSync("getconf", ["CLK_TCK"], { encoding: "utf8" }).stdout) || 100;
/** A machine that says nothing for so long (seconds) is given up. */
export const PATIENCE = 900;

/** Processor seconds, user and system, that a process and all its threads have taken so far. */
export function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /s, "")
    .split(" ");
  const ticks = (Number(fields[11]) + Number(fields[12])) / TICKS;
  // The same in nanoseconds, but without threads that have ended: ticks are rounded down, so the larger one is right.
  let exact = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      exact += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]) / 1e9;
    }
  } catch {
    // Kernels without schedstat, or a thread that ended just now.
  }
  return Math.max(ticks, exact);
}

/** The largest resident size of a process so far, in MiB. */
export const peakMemory = (pid) => statusMemory(pid, "VmHWM");

/** The resident size of a process now, in MiB. */
export const residentMemory = (pid) => statusMemory(pid, "VmRSS");

function statusMemory(pid, field) {
  const line = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Math.round(Number(line?.[1] ?? 0) / 1024);
}

/**
 * Takes a guest's console text in pieces and calls back at its marks (guest/init): `onBoot()`, `onStart(name)`,
 * `onEnd(name, checksum)` and `onDone()`, at the moment when the piece with the mark came.
 */
export function createMarkReader(on) {
  let rest = "";
  let name;
  let output = "";
  return (piece) => {
    const lines = (rest + piece).split("\n");
    rest = lines.pop();
    for (const raw of lines) {
      const line = raw.replaceAll("\r", "");
      const start = /@@S (\S+)$/.exec(line);
      if (start !== null) {
        name = start[1];
        output = "";
        on.onStart(name);
      } else if (/@@E$/.test(line) && name !== undefined) {
        on.onEnd(name, checksumOf(name, `${output}${line.slice(0, -3)}`));
        name = undefined;
      } else if (line.endsWith("@@BOOT")) on.onBoot();
      else if (line.endsWith("@@DONE")) on.onDone();
      else if (name !== undefined) output += `${line}\n`;
    }
  };
}

/**
 * Collects what {@link createMarkReader} reports: `start` (processor seconds to the first output), `boot` ({cpu, memory})
 * and, for each row, its runs as [cpu, checksum]. `usage()` answers the processor seconds so far, `memory()` the peak
 * memory, `go()` sends the line for which the guest waits at a row's marks.
 */
export function createRecorder({ usage, memory, go, label, total }) {
  const result = { start: undefined, boot: undefined, runs: {}, done: false, last: "its boot" };
  let started = 0;
  let count = 0;
  const readMarks = createMarkReader({
    onBoot() {
      result.boot = { cpu: usage(), memory: memory() };
      console.error(`${label}: booted, ${result.boot.cpu.toFixed(1)} CPU s`);
    },
    onStart(name) {
      result.last = name;
      started = usage();
      go();
    },
    onEnd(name, checksum) {
      const cpu = usage() - started;
      result.runs[name] ??= [];
      result.runs[name].push([cpu, checksum]);
      console.error(`${label}: ${++count}/${total} ${name} ${cpu.toFixed(3)} s`);
      go();
    },
    onDone() {
      result.done = true;
    },
  });
  const read = (text) => {
    result.start ??= usage();
    readMarks(text);
  };
  return { result, read };
}

/**
 * Runs a machine that writes its guest's console to standard output, to its "@@DONE". Answers the recorder's result,
 * with `failure` (one line) when the machine didn't get there. `onProcess` is called with the child process.
 */
export function runMachine({ command, args, label, total, onProcess }) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
    onProcess?.(child);
    const recorder = createRecorder({
      usage: () => cpuSeconds(child.pid),
      memory: () => peakMemory(child.pid),
      go: () => child.stdin.write("\n"),
      label,
      total,
    });
    const { result } = recorder;
    let tail = "";
    let timer;
    const wait = () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        result.failure ??= `nothing happened for ${PATIENCE} s in ${result.last}`;
        child.kill("SIGKILL");
      }, PATIENCE * 1000);
    };
    wait();
    child.stdout.setEncoding("utf8").on("data", (text) => {
      wait();
      tail = (tail + text).slice(-4000);
      recorder.read(text);
      // What comes after is no row's.
      if (result.done) child.kill("SIGKILL");
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      tail = (tail + text).slice(-4000);
    });
    // What can't be written to a process that has ended is no news.
    child.stdin.on("error", () => {});
    child.on("error", (error) => {
      result.failure ??= `${command}: ${error.message}`;
    });
    child.on("close", (status) => {
      clearTimeout(timer);
      if (!result.done) result.failure ??= `ended with status ${status} in ${result.last}: ${tellingLine(tail)}`;
      resolve(result);
    });
  });
}

/** The line of a process's last words that says most. */
function tellingLine(text) {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return (lines.find((line) => /^\S*(error|panic)|: error:/i.test(line)) ?? lines.at(-1) ?? "it said nothing").trim();
}
