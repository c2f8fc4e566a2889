// The parts of the benchmark commands that decide what is right and what is counted.
import { expect, test } from "vitest";
// @ts-expect-error plain JavaScript, as all of bench/
import { createMarkReader } from "../bench/lib/measure.mjs";
// @ts-expect-error plain JavaScript
import { summarize } from "../bench/lib/native.mjs";
// @ts-expect-error plain JavaScript
import { compare } from "../bench/lib/report.mjs";
// @ts-expect-error plain JavaScript
import { checksumOf, mean } from "../bench/lib/rows.mjs";

test("marks are found wherever the console's output is cut, with carriage returns or without", () => {
  const text = "noise\r\n@@BOOT\r\n@@S fib\r\nfib 0.5 abc 7\r\n@@E\n@@S t_sort\nd41d  -\n@@E\n@@DONE\n";
  for (let size = 1; size <= text.length; size++) {
    const seen: string[] = [];
    const read = createMarkReader({
      onBoot: () => seen.push("boot"),
      onStart: (name: string) => seen.push(`start ${name}`),
      onEnd: (name: string, checksum: string) => seen.push(`end ${name} ${checksum}`),
      onDone: () => seen.push("done"),
    });
    for (let at = 0; at < text.length; at += size) read(text.slice(at, at + size));
    expect(seen).toEqual(["boot", "start fib", "end fib abc", "start t_sort", "end t_sort d41d -", "done"]);
  }
});

test("of a program's line the checksum counts, of a tool's output all", () => {
  expect(checksumOf("fib", "fib 0.123 ffee 40\n")).toBe("ffee");
  expect(checksumOf("t_gzip", "  5375002\n")).toBe("5375002");
  expect(checksumOf("fib", "Segmentation fault\n")).toBe("Segmentation fault");
});

test("a row is the median of its runs, less the cost of starting a program", () => {
  const rows = summarize({ empty: [[0.1, "0"]], fib: [[1.1, "a"], [0.6, "a"], [5, "a"]] }); // biome-ignore format: runs
  expect(rows.fib.cpu).toBeCloseTo(1);
  expect(rows.fib.checksum).toBe("a");
  expect(summarize({ fib: [[1, "a"], [1, "b"]] }).fib.checksum).toBe("a or b"); // biome-ignore format: runs
});

test("a checksum that differs from the native one and a missing row are named", () => {
  const native = { fib: { cpu: 1, checksum: "a" }, div: { cpu: 1, checksum: "c" } };
  const paravirt = { fib: { cpu: 3, checksum: "b" } };
  const { rows, wrong } = compare({
    names: ["fib", "div"],
    summaries: { native, paravirt },
    baselines: { native, paravirt: native },
  });
  expect(wrong).toEqual([`fib: paravirt's checksum is "b", natively it is "a"`, "div: paravirt has no result"]);
  expect(rows.fib.paravirt).toEqual({ cpu: 3, slowdown: 3, checksum: "b" });
  expect(rows.div.paravirt).toBeUndefined();
});

test("means are geometric, over what was measured", () => {
  const rows = { fib: { tcg: { slowdown: 2 } }, div: { tcg: { slowdown: 8 } } };
  expect(mean(rows, "tcg", ["fib", "div", "sieve"])).toBeCloseTo(4);
  expect(mean(rows, "tcg", ["sieve"])).toBeNull();
});
