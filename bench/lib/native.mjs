// The rows as host processes: what all slowdowns are relative to.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SOURCES } from "./build.mjs";
import { checksumOf, median, START } from "./rows.mjs";

/**
 * Opens the host as an engine. `busybox` is the path of a static busybox of the same kind as `programs`.
 * `tool` is a folder with cpu-time for this host.
 */
export function openNative({ busybox, programs, tool, label }) {
  const folder = mkdtempSync(join(tmpdir(), "paravirt-native-"));
  const runs = {};
  const env = { ...process.env, B: busybox, P: programs, T: folder };
  const step = (name, scale, what, prefix = []) => {
    const words = [...prefix, busybox, "sh", join(SOURCES, "native.sh"), what, name, String(scale)];
    const result = spawnSync(words[0], words.slice(1), {
      env,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe", "pipe"],
    });
    if (result.error !== undefined || result.status !== 0) {
      const why = result.error?.message ?? `status ${result.status} ${result.stderr.trim()}`;
      throw new Error(`${label}: ${name} can't be run: ${why}`);
    }
    return result;
  };
  return {
    /** Runs a row once and answers its processor seconds. */
    run(name, scale) {
      step(name, scale, "prepare");
      const result = step(name, scale, "measured", [join(tool, "cpu-time")]);
      const cpu = Number(result.output[3]) / 1e9;
      console.error(`${label}: ${name} ${cpu.toFixed(3)} s`);
      runs[name] ??= [];
      runs[name].push([cpu, checksumOf(name, result.stdout)]);
      return cpu;
    },
    /** Each row's median and checksum, without the cost of starting a program. */
    summary: () => summarize(runs),
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/**
 * The median run of each row, less the median cost of starting a program. Rows whose own runs disagree about the result
 * have all results, joined, as their checksum.
 */
export function summarize(runs) {
  const start = median((runs[START] ?? [[0]]).map(([cpu]) => cpu));
  const rows = {};
  for (const [name, list] of Object.entries(runs)) {
    if (name === START) continue;
    rows[name] = {
      cpu: Math.max(median(list.map(([cpu]) => cpu)) - start, 0),
      checksum: [...new Set(list.map(([, checksum]) => checksum))].join(" or "),
    };
  }
  return rows;
}
