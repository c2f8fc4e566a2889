import { readFile } from "node:fs/promises";
import { HYPERVISOR } from "@paravirt/xen-abi";
import { expect, test } from "vitest";
import { HYPERCALLS, renderHypercalls } from "./index.ts";

test("docs/hypercalls.md is what the table says (scripts/generate-hypercalls-doc.mjs writes it)", async () => {
  const committed = await readFile(new URL("../../../docs/hypercalls.md", import.meta.url), "utf8");
  expect(committed).toBe(renderHypercalls());
});

test("every hypercall that Xen names is in the table, and has a file of its own", async () => {
  const known = new Set(HYPERCALLS.map((row) => row.number));
  // arch_1 to arch_7 are numbers that x86 does not use.
  const missing = Object.entries(HYPERVISOR).filter(
    ([name, number]) => !known.has(number) && !/^arch_[1-7]$/.test(name),
  );
  expect(missing).toEqual([]);
  for (const row of HYPERCALLS) {
    const file = new URL(`./hypercalls/${row.name.replaceAll("_", "-")}.ts`, import.meta.url);
    expect(await readFile(file, "utf8")).toContain("Hypercall = {");
  }
});

test("what is not full says why, and what has no handler is marked as missing", () => {
  for (const row of HYPERCALLS) {
    if (row.support !== "full") expect(row.note, row.name).toBeDefined();
    if (row.handle === undefined) expect(row.support, row.name).toBe("none");
    for (const operation of row.operations ?? []) {
      if (operation.support !== "full") expect(operation.note, `${row.name} ${operation.name}`).toBeDefined();
    }
  }
});
