import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createRandom, LIBC, randomInstruction } from "../test/corpus.ts";
import {
  OBJDUMP_ATT_TEXT,
  OBJDUMP_LENIENT,
  OBJDUMP_PREFIXES_ALONE,
  OBJDUMP_TEXT,
  OBJDUMP_UNDECODED,
} from "../test/differences.ts";
import { decode, formatInstruction, Instruction, joinText, type Mode, type Syntax } from "./index.ts";

interface Line {
  readonly address: bigint;
  readonly bytes: Uint8Array;
  readonly text: string;
}

/** Runs GNU objdump and gives its instructions. */
function objdump(parameters: readonly string[]): Line[] {
  const output = execFileSync("objdump", ["-w", "-z", ...parameters], { maxBuffer: 1 << 30, encoding: "latin1" });
  const lines: Line[] = [];
  for (const line of output.split("\n")) {
    const match = /^\s*([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*\t?(.*)$/.exec(line);
    if (!match) continue;
    const bytes = Uint8Array.from(match[2]!.trim().split(" "), (byte) => Number.parseInt(byte, 16));
    lines.push({ address: BigInt(`0x${match[1]}`), bytes, text: match[3]!.replace(/\s+/g, " ").trim() });
  }
  return lines;
}

function normalize(text: string, rules: readonly (readonly [RegExp, string, string])[]): string {
  let result = text.trim();
  for (const [pattern, replacement] of rules) result = result.replace(pattern, replacement);
  return result.replace(/\s+/g, " ").trim();
}

/** `[rip+0xffff…]` as the negative number that it is. */
const signedRip = (text: string): string =>
  text.replace(/\[rip\+0x(f{8}[0-9a-f]{8})\]/, (_, digits: string) => {
    const distance = BigInt.asIntN(64, BigInt(`0x${digits}`));
    return `[rip-0x${(-distance).toString(16)}]`;
  });

function theirText(text: string, syntax: Syntax): string {
  if (syntax === "att") return normalize(text, OBJDUMP_ATT_TEXT);
  return normalize(signedRip(normalize(text.toLowerCase(), OBJDUMP_TEXT)), []);
}

function ourText(instruction: Instruction, address: bigint, syntax: Syntax): string {
  const text = joinText(formatInstruction(instruction, address, syntax)).replaceAll(", ", ",");
  return syntax === "att" ? normalize(text, OBJDUMP_ATT_TEXT) : normalize(text, OBJDUMP_TEXT);
}

test.each([
  ["/bin/ls", "intel"],
  ["/bin/ls", "att"],
  [LIBC, "intel"],
  [LIBC, "att"],
] as const)("objdump writes the same for every instruction of %s in %s syntax", (path, syntax) => {
  const instruction = new Instruction();
  const differences: Record<string, string> = {};
  const lines = objdump(["-d", "-M", syntax === "att" ? "att" : "intel", path]);
  for (const { address, bytes, text } of lines) {
    const length = decode(bytes, 0, bytes.length, 64, instruction);
    if (length === 0 && OBJDUMP_UNDECODED.test(text)) continue;
    const expected = theirText(text, syntax);
    const got = ourText(instruction, address, syntax);
    if (length !== bytes.length || got !== expected)
      differences[Buffer.from(bytes).toString("hex")] = `ours ${length} "${got}", objdump "${expected}"`;
  }
  expect(Object.fromEntries(Object.entries(differences).slice(0, 20))).toEqual({});
  expect(lines.length).toBeGreaterThan(10_000);
});

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "paravirt-x86-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const MACHINES: Readonly<Record<Mode, readonly string[]>> = {
  64: ["-M", "intel,intel64", "-m", "i386:x86-64"],
  32: ["-M", "intel", "-m", "i386"],
  16: ["-M", "intel", "-m", "i8086"],
};

test.each([64, 32, 16] as const)("objdump takes the same bytes for instructions, %i-bit random ones", (mode) => {
  const count = 20_000;
  const bytes = new Uint8Array(count * 16).fill(0x90);
  const random = createRandom(4242 + mode);
  for (let at = 0; at < bytes.length; at += 16) randomInstruction(bytes.subarray(at, at + 12), random);
  const file = join(folder, `random-${mode}.bin`);
  writeFileSync(file, bytes);
  const instruction = new Instruction();
  const differences: Record<string, string> = {};
  let compared = 0;
  for (const { address, bytes: taken, text } of objdump(["-D", "-b", "binary", ...MACHINES[mode], file])) {
    const offset = Number(address);
    if (offset + 16 > bytes.length || OBJDUMP_PREFIXES_ALONE.test(text)) continue;
    const theirLength = text.includes("(bad)") || text === "" ? 0 : taken.length;
    const length = decode(bytes, offset, bytes.length, mode, instruction);
    compared++;
    if (length === theirLength) continue;
    if (length === 0 && OBJDUMP_UNDECODED.test(text)) continue;
    const ours = joinText(formatInstruction(instruction, address));
    const hex = Buffer.from(taken).toString("hex");
    const lenient = OBJDUMP_LENIENT.some(
      (entry) => entry.objdump.test(text) && entry.ours.test(ours) && (entry.bytes?.test(hex) ?? true),
    );
    if (!lenient) differences[hex] = `ours ${length} "${ours}", objdump ${theirLength} "${text}"`;
  }
  expect(Object.fromEntries(Object.entries(differences).slice(0, 20))).toEqual({});
  expect(compared).toBeGreaterThan(count);
});
