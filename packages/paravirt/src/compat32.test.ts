import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";

// A real process on the built packages: `npm test` builds them first.
const CLI = new URL("../bin/paravirt.js", import.meta.url).pathname;
const SOURCE = new URL("../test/compat32.c", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "paravirt-compat32-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const program = join(folder, "compat32");
const built = spawnSync("gcc", ["-m32", "-static", "-O2", "-o", program, SOURCE, "-lm", "-lpthread"]).status === 0;
const native = built ? spawnSync(program, { encoding: "utf8" }) : undefined;
const isUsable = native?.status === 3;
const name = isUsable
  ? "a static 32-bit program does in the guest what it does outside"
  : `a static 32-bit program: ${built ? "the machine's kernel runs none" : "gcc -m32 doesn't work, install gcc-multilib"}`;

test.skipIf(!isUsable)(name, () => {
  const guest = spawnSync(
    process.execPath,
    [CLI, "run", "debian", "--initrd-add", `${program}:/compat32`, "--", "/compat32"],
    { encoding: "utf8", input: "", timeout: 110_000 },
  );
  expect(guest.stderr).toBe("");
  expect(guest.stdout).toBe(native?.stdout);
  expect(guest.status).toBe(3);
});
