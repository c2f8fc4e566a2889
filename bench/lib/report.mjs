// The table and the JSON answer.
import { writeFileSync } from "node:fs";
import { GROUPS, MEANS, mean } from "./rows.mjs";

/**
 * Rows of all engines from their summaries; `baselines` has, for each engine, the native summary it is compared with.
 * Answers `rows` and, as sentences, what is wrong with the results.
 */
export function compare({ names, summaries, baselines }) {
  const rows = {};
  const wrong = [];
  for (const name of names) {
    rows[name] = {};
    for (const [engine, summary] of Object.entries(summaries)) {
      const base = baselines[engine][name];
      const own = summary[name];
      if (own === undefined) {
        wrong.push(`${name}: ${engine} has no result`);
        continue;
      }
      rows[name][engine] = {
        cpu: round(own.cpu),
        slowdown: base.cpu > 0 ? round(own.cpu / base.cpu) : null,
        checksum: own.checksum,
      };
      // Programs for 32 bits have a native time of their own.
      if (base !== summaries.native[name]) rows[name][engine].nativeCpu = round(base.cpu);
      if (own.checksum !== base.checksum) {
        wrong.push(`${name}: ${engine}'s checksum is "${own.checksum}", natively it is "${base.checksum}"`);
      }
    }
  }
  return { rows, wrong };
}

function round(value) {
  return Number(value.toPrecision(4));
}

const text = (value, digits) => (value == null ? "-" : value.toFixed(digits));

/** Prints the rows with CPU seconds and slowdowns of the engines side by side, and the means. */
export function printTable({ rows, engines, boots }) {
  const others = engines.filter((engine) => engine !== "native");
  const hasOwnNative = (engine) => Object.values(rows).some((row) => row[engine]?.nativeCpu !== undefined);
  const line = (title, native, cell) => {
    const cells = others.map((engine) => {
      const { base = "", cpu = "", slowdown = "" } = cell(engine);
      return (hasOwnNative(engine) ? base.padStart(12) : "") + cpu.padStart(11) + slowdown.padStart(9);
    });
    console.log(`${title.padEnd(32)}${native.padStart(8)}${cells.join("")}`.trimEnd());
  };
  line("CPU seconds, slowdown", "native", (engine) => ({ base: "native 32", cpu: engine }));
  for (const [name, row] of Object.entries(rows)) {
    line(name, text(row.native?.cpu, 3), (engine) => ({
      base: text(row[engine]?.nativeCpu, 3),
      cpu: text(row[engine]?.cpu, 3),
      slowdown: text(row[engine]?.slowdown, 2),
    }));
  }
  if (others.length === 0) return;
  if (Object.keys(rows).length > 0) console.log("geometric means");
  for (const [title, names] of Object.entries({ ...MEANS, ...GROUPS })) {
    const measured = names.filter((name) => rows[name] !== undefined).length;
    if (measured === 0) continue;
    const part = measured < names.length ? `, ${measured} of ${names.length}` : "";
    line(`${title}${part}`, "", (engine) => ({ slowdown: text(mean(rows, engine, names), 2) }));
  }
  const have = (key) => others.some((engine) => boots[engine]?.[key] !== undefined);
  if (have("start")) line("start to first output, CPU s", "", (engine) => ({ cpu: text(boots[engine]?.start, 2) }));
  if (have("cpu")) line("boot to /init, CPU s", "", (engine) => ({ cpu: text(boots[engine]?.cpu, 2) }));
  if (have("memory")) line("its peak memory, MiB", "", (engine) => ({ cpu: text(boots[engine]?.memory, 0) }));
}

/** Writes the JSON answer. */
export function writeJson({ file, rows, engines, boots }) {
  const over = (groups, engine) =>
    Object.fromEntries(Object.entries(groups).map(([title, names]) => [title, nullable(mean(rows, engine, names))]));
  const each = (make) => Object.fromEntries(engines.map((engine) => [engine, make(engine)]));
  const answer = {
    rows,
    means: each((engine) => over(MEANS, engine)),
    groups: each((engine) => over(GROUPS, engine)),
    boot: boots,
  };
  writeFileSync(file, `${JSON.stringify(answer, null, 2)}\n`);
}

function nullable(value) {
  return value === null ? null : round(value);
}
