// The benchmark guest's files.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { joinArchives, writeCpio } from "@paravirt/boot";
import { SOURCES } from "./build.mjs";
import { ROWS, START } from "./rows.mjs";

/**
 * An initramfs that boots to guest/init, which works through `plan`: rows as [name, scale], in this order.
 * `programs` is the folder of their programs, `busybox` a static one of the same kind.
 */
export function benchInitramfs({ busybox, programs, plan }) {
  const names = new Set([START, "gen"]);
  for (const [name] of plan) if (!name.startsWith("t_")) names.add(name);
  const file = (path, data, mode = 0o755) => ({ path, type: "file", mode, data });
  const folder = (path) => ({ path, type: "directory", mode: 0o755 });
  return joinArchives([
    writeCpio([
      ...["bin", "dev", "proc", "sys", "tmp", "bench"].map(folder),
      // The kernel opens /dev/console for the first process before anything can be mounted.
      { path: "dev/console", type: "character", mode: 0o600, device: [5, 1] },
      { path: "dev/null", type: "character", mode: 0o666, device: [1, 3] },
      file("bin/busybox", busybox),
      { path: "bin/sh", type: "symlink", mode: 0o777, target: "busybox" },
      file("init", readFileSync(join(SOURCES, "init"))),
      file("bench/rows.sh", readFileSync(join(SOURCES, "rows.sh"))),
      file("bench/plan", new TextEncoder().encode(plan.map((line) => `${line.join(" ")}\n`).join(""))),
      ...[START, "gen", ...ROWS]
        .filter((name) => names.has(name))
        .map((name) => file(`bench/${name}`, readFileSync(join(programs, name)))),
    ]),
  ]);
}
