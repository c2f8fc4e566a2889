import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";

// A real process on the built packages: `npm test` builds them first.
const CLI = new URL("../bin/paravirt.js", import.meta.url).pathname;
const SOURCE = new URL("../test/avx2.c", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "paravirt-avx2-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const program = join(folder, "avx2");
const options = ["-mavx2", "-mfma", "-mf16c", "-static", "-O2", "-o", program, SOURCE, "-lm", "-lpthread"];
const built = spawnSync("gcc", options).status === 0;
const native = built ? spawnSync(program, { encoding: "utf8" }) : undefined;
const isUsable = native?.status === 3;
const name = isUsable
  ? "a program with AVX2, FMA and F16C does in a guest of x86-64-v3 what it does outside"
  : `a program with AVX2: ${built ? "this processor has none" : "gcc can't build it"}`;

test.skipIf(!isUsable)(name, () => {
  const guest = spawnSync(
    process.execPath,
    [CLI, "run", "debian", "--cpu", "x86-64-v3", "--initrd-add", `${program}:/avx2`, "--", "/avx2"],
    { encoding: "utf8", input: "", timeout: 110_000 },
  );
  expect(guest.stderr).toBe("");
  expect(guest.stdout).toBe(native?.stdout);
  expect(guest.status).toBe(3);
});
