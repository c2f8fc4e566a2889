import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
// @ts-expect-error: a plain script, shared with the check of the packed packages
import { examplesOf, expectedOutput, readmes, runExample } from "../scripts/readme-examples.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

describe.each(readmes(root) as { name: string; path: string }[])("README of $name", ({ path }) => {
  const examples: string[] = examplesOf(path);

  test("has a runnable example", () => {
    expect(examples.length).toBeGreaterThan(0);
  });

  test.each(examples.map((code) => [code]))("prints what it says", (code) => {
    const { status, lines, stderr } = runExample(code, root);
    expect(stderr).toBe("");
    expect(status).toBe(0);
    const expected: string[] = expectedOutput(code);
    expect(expected.length).toBeGreaterThan(0);
    expect(lines).toEqual(expected);
  });
});
