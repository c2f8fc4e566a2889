import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const DRIVER = fileURLToPath(new URL("../agreement/main.mjs", import.meta.url));

function agreement(...options: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [DRIVER, ...options], { encoding: "utf8" });
  return { status, text: stdout + stderr };
}

test("random programs end in the same state however they are executed", { timeout: 600_000 }, () => {
  const { status, text } = agreement("--in", "node", "--count", "200");
  expect(text).toContain("200 programs");
  expect(status, text).toBe(0);
  // Else the comparison would say little.
  expect(Number(/(\d+) regions translated/.exec(text)?.[1])).toBeGreaterThan(2000);
});

test("the driver refuses what it doesn't know", () => {
  expect(agreement("--count", "many")).toMatchObject({ status: 2 });
  expect(agreement("--in", "firefox").text).toContain('there is no environment "firefox"');
});
