import { writeFileSync } from "node:fs";
import { formatIntel, joinText } from "@paravirt/x86";
import type { MadeCase } from "./make-case.ts";

/** Counts of one group. */
export interface GroupCount {
  /** Cases that the processor ran. */
  cases: number;
  /** Cases that it ended in a way that isn't compared (a system call, a loop without end). */
  skipped: number;
  /** Cases that differ, by tier. */
  readonly differences: [number, number];
  /** Cases that ran in translated code. */
  translated: number;
  /** Transcendental functions whose last bit differs, in tier 0. */
  lastBit: number;
}

/** One case that differs. */
export interface Difference {
  readonly group: string;
  readonly tier: 0 | 1;
  readonly bits: number;
  readonly code: string;
  readonly seed: number;
  readonly text: string;
  /** `what expected/got`, hexadecimal. */
  readonly what: readonly string[];
}

/** Where a run's numbers gather. */
export class Report {
  readonly groups: Map<string, GroupCount> = new Map();
  readonly differences: Difference[] = [];

  group(name: string): GroupCount {
    let count = this.groups.get(name);
    if (count === undefined) {
      count = { cases: 0, skipped: 0, differences: [0, 0], translated: 0, lastBit: 0 };
      this.groups.set(name, count);
    }
    return count;
  }

  /** Notes that `test` ended otherwise in `tier` than on the processor. */
  differs(group: string, tier: 0 | 1, test: MadeCase, what: readonly string[]): void {
    this.group(group).differences[tier]++;
    const code = Array.from(test.code, (byte) => byte.toString(16).padStart(2, "0")).join("");
    const text = test.length > 0 ? joinText(formatIntel(test.instruction, test.state.rip)) : "(bad)";
    this.differences.push({ group, tier, bits: test.bits, code, seed: test.seed, text, what });
  }

  get total(): GroupCount {
    const total: GroupCount = { cases: 0, skipped: 0, differences: [0, 0], translated: 0, lastBit: 0 };
    for (const count of this.groups.values()) {
      total.cases += count.cases;
      total.skipped += count.skipped;
      total.translated += count.translated;
      total.lastBit += count.lastBit;
      total.differences[0] += count.differences[0];
      total.differences[1] += count.differences[1];
    }
    return total;
  }

  /** The table, a line for each group. */
  table(): string {
    const line = (name: string, { cases, skipped, differences, translated, lastBit }: GroupCount) =>
      name.padEnd(22) + [cases, skipped, differences[0], lastBit, translated, differences[1]].map(cell).join("");
    const cell = (value: number | string) => String(value).padStart(14);
    const head =
      "group".padEnd(22) +
      ["cases", "skipped", "differ tier 0", "last bit", "translated", "differ tier 1"].map(cell).join("");
    return [head, ...Array.from(this.groups, ([name, count]) => line(name, count)), line("all", this.total)].join("\n");
  }

  /** The first differing cases of each group, up to `most` in all. */
  listing(most: number): string {
    const shown = new Map<string, number>();
    const lines: string[] = [];
    for (const { group, tier, bits, code, seed, text, what } of this.differences) {
      const key = `${text.split(" ")[0]} ${tier} ${bits} ${what.map((part) => part.split(" ")[0]).join()}`;
      const count = (shown.get(key) ?? 0) + 1;
      shown.set(key, count);
      if (count > 1 || lines.length >= most) continue;
      lines.push(
        `${group}, tier ${tier}, ${bits} bits: ${code} (${text}), seed ${seed}\n    ${what.join("; ").slice(0, 400)}`,
      );
    }
    return lines.join("\n");
  }

  /** Writes everything to `file`. */
  writeJson(file: string): void {
    const groups = Object.fromEntries(this.groups);
    writeFileSync(file, `${JSON.stringify({ groups, total: this.total, differences: this.differences }, null, 1)}\n`);
  }
}
