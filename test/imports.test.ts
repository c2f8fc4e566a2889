import { spawnSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { afterEach, expect, test } from "vitest";

const cruise = () =>
  spawnSync("npx", ["depcruise", "packages", "--config", ".dependency-cruiser.cjs"], { encoding: "utf8" });
const planted: string[] = [];

function plant(path: string, text: string): void {
  writeFileSync(path, text);
  planted.push(path);
}

afterEach(() => {
  for (const path of planted.splice(0)) rmSync(path, { force: true });
});

test("imports go down only, without cycles, and libraries import nothing of Node's", () => {
  const { status, stdout } = cruise();
  expect(stdout).toContain("no dependency violations found");
  expect(status).toBe(0);
});

test.each([
  [
    "an upward import",
    "packages/x86/src/planted.ts",
    'export { createEngine } from "@paravirt/cpu";\n',
    "no-upward-import-from-x86",
  ],
  [
    "a node: import in a library",
    "packages/xenstore/src/planted.ts",
    'export { readFileSync } from "node:fs";\n',
    "no-node-in-libraries",
  ],
  [
    "an import that can't be resolved",
    "packages/boot/src/planted.ts",
    'export { nothing } from "@paravirt/nothing";\n',
    "not-resolvable",
  ],
])("%s fails the check", (_what, path, text, rule) => {
  plant(path, text);
  const { status, stdout } = cruise();
  expect(stdout).toContain(rule);
  expect(status).not.toBe(0);
});

test("a cycle fails the check", () => {
  plant("packages/core/src/planted-a.ts", 'import { b } from "./planted-b.ts";\nexport const a: number = b + 1;\n');
  plant("packages/core/src/planted-b.ts", 'import { a } from "./planted-a.ts";\nexport const b: number = a + 1;\n');
  const { status, stdout } = cruise();
  expect(stdout).toContain("no-circular");
  expect(status).not.toBe(0);
});
