import { expect, test } from "vitest";
import { MNEMONICS, OPCODES } from "../index.ts";
import { CELLS, compileAll, DISPATCH } from "./compile.ts";
import { GENERAL } from "./general.ts";
import { SSE } from "./sse.ts";
import { SYSTEM } from "./system.ts";
import { VEX } from "./vex.ts";
import { X87 } from "./x87.ts";

test("every row can be reached by some bytes", () => {
  compileAll();
  const reached = new Set(CELLS);
  // 8F /0 and the like stand alone; a row that no cell names is shadowed by another: a mistake in the table.
  const lost = OPCODES.map((row, index) => ({ row, index }))
    .filter(({ index }) => index > 0 && !reached.has(index))
    .map(({ row }) => `${row.vex ? "vex " : ""}${row.prefix} ${row.map} ${row.opcode.toString(16)} ${row.name}`);
  expect(lost).toEqual([]);
});

test("no two rows say the same key", () => {
  const keys = new Map<string, string>();
  const twice: string[] = [];
  for (const row of OPCODES.slice(1)) {
    const { vex, map, opcode, span, prefix, digit, modrm, mod, only, addressSize, w, l } = row;
    const key = [vex, map, opcode, span, prefix, digit, modrm, mod, only, addressSize, w, l].join();
    if (keys.has(key)) twice.push(`${keys.get(key)} and ${row.name}: ${key}`);
    keys.set(key, row.name);
  }
  expect(twice).toEqual([]);
});

test("mnemonics are lower case and every operand has an access", () => {
  expect(MNEMONICS.filter((mnemonic) => !/^[a-z][a-z0-9_]*$|^\(bad\)$/.test(mnemonic))).toEqual([]);
  for (const row of OPCODES) expect(row.access.length).toBe(row.operands.length);
  expect(DISPATCH.length).toBe(2048);
});

test("every line of the table's text is a row or a feature", () => {
  const lines = (GENERAL + SYSTEM + X87 + SSE + VEX).split("\n").filter((line) => line !== "" && !line.startsWith("["));
  // Row 0 is "no instruction".
  expect(OPCODES.length).toBe(lines.length + 1);
});
