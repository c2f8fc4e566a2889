import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";

const CLI = new URL("../bin/paravirt.js", import.meta.url).pathname;
const SOURCE = new URL("../test/debugging.c", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "paravirt-debugging-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a debugger in the guest finds watchpoints, breakpoints, single step and alignment checks as on a processor", () => {
  const program = join(folder, "debugging");
  execFileSync("gcc", ["-O1", "-static", "-o", program, SOURCE]);
  const { stdout, status } = spawnSync(
    process.execPath,
    [CLI, "run", "debian", "--initrd-add", `${program}:/debugging`, "--", "/debugging"],
    { timeout: 110_000 },
  );
  expect(stdout.toString().split("\n")).toEqual([
    "watchpoint: signal 5, DR6 1, value 5",
    "breakpoint: signal 5, at target 1, argument 3",
    "breakpoint: signal 5, at target 1, argument 4",
    "single steps: many, then exit 7",
    "alignment: SIGBUS",
    "",
  ]);
  expect(status).toBe(0);
});
