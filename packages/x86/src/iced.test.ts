import {
  CpuidFeature,
  Decoder,
  DecoderOptions,
  Formatter,
  FormatterSyntax,
  Instruction as IcedInstruction,
  MemorySizeOptions,
} from "iced-x86";
import { expect, test } from "vitest";
import { createRandom, LIBC, randomInstruction, textSection } from "../test/corpus.ts";
import { ICED_TEXT, UNDECODED } from "../test/differences.ts";
import { decode, formatIntel, Instruction, joinText, type Mode } from "./index.ts";

/** iced-x86 (MIT, by someone else), with the switches of its formatter that have the same meaning as our conventions. */
const formatter = new Formatter(FormatterSyntax.Intel);
formatter.spaceAfterOperandSeparator = true;
formatter.hexPrefix = "0x";
formatter.hexSuffix = "";
formatter.uppercaseHex = false;
formatter.smallHexNumbersInDecimal = false;
formatter.memorySizeOptions = MemorySizeOptions.Always;
formatter.branchLeadingZeros = false;
formatter.leadingZeros = false;
formatter.addLeadingZeroToHexNumbers = false;
formatter.showBranchSize = false;
formatter.ripRelativeAddresses = true;

function normalized(text: string): string {
  let result = text.trim();
  for (const [pattern, replacement] of ICED_TEXT) result = result.replace(pattern, replacement);
  return result;
}

interface Findings {
  compared: number;
  undecoded: number;
  readonly differences: Map<string, string>;
}

function isUndecoded(theirs: IcedInstruction): boolean {
  const features = Array.from(theirs.cpuidFeatures(), (feature) => CpuidFeature[feature]).join("+");
  return UNDECODED.some((entry) => entry.features.test(features));
}

/** Compares one instruction; `address` is where both believe it stands. Returns the bytes that iced took. */
function compare(
  bytes: Uint8Array,
  offset: number,
  mode: Mode,
  decoder: Decoder,
  theirs: IcedInstruction,
  ours: Instruction,
  findings: Findings,
): number {
  decoder.position = offset;
  decoder.ip = BigInt(0x1000);
  decoder.decodeOut(theirs);
  const theirLength = theirs.isInvalid ? 0 : theirs.length;
  const length = decode(bytes, offset, bytes.length, mode, ours);
  findings.compared++;
  if (length === 0 && theirLength > 0 && isUndecoded(theirs)) {
    findings.undecoded++;
    return theirLength;
  }
  const hex = Array.from(bytes.subarray(offset, offset + 15), (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (length !== theirLength)
    findings.differences.set(`${mode} ${hex}`, `ours ${length} ${joinText(formatIntel(ours))}, iced ${theirLength}`);
  else if (length > 0) {
    const text = normalized(joinText(formatIntel(ours, 0x1000n)));
    const theirText = normalized(formatter.format(theirs));
    if (text !== theirText) findings.differences.set(`${mode} ${hex}`, `ours "${text}", iced "${theirText}"`);
  }
  return theirLength || 1;
}

function sweep(bytes: Uint8Array, mode: Mode): Findings {
  const findings: Findings = { compared: 0, undecoded: 0, differences: new Map() };
  const decoder = new Decoder(mode, bytes, DecoderOptions.None);
  const theirs = new IcedInstruction();
  const ours = new Instruction();
  for (let offset = 0; offset < bytes.length; ) offset += compare(bytes, offset, mode, decoder, theirs, ours, findings);
  decoder.free();
  return findings;
}

function fuzz(mode: Mode, count: number, seed: number): Findings {
  const findings: Findings = { compared: 0, undecoded: 0, differences: new Map() };
  const bytes = new Uint8Array(24);
  const random = createRandom(seed);
  const theirs = new IcedInstruction();
  const ours = new Instruction();
  for (let round = 0; round < count; round++) {
    randomInstruction(bytes, random);
    const decoder = new Decoder(mode, bytes, DecoderOptions.None);
    compare(bytes, 0, mode, decoder, theirs, ours, findings);
    decoder.free();
  }
  return findings;
}

const first = (findings: Findings): unknown => Object.fromEntries([...findings.differences].slice(0, 20));

test.each(["/bin/ls", LIBC])("iced reads the same instructions in %s", (path) => {
  const { bytes } = textSection(path);
  const findings = sweep(bytes.subarray(0, 600_000), 64);
  expect(first(findings)).toEqual({});
  expect(findings.compared).toBeGreaterThan(10_000);
});

test.each([32, 16] as const)("iced reads the same instructions in program bytes taken as %i-bit code", (mode) => {
  const findings = sweep(textSection(LIBC).bytes.subarray(0, 150_000), mode);
  expect(first(findings)).toEqual({});
});

test.each([64, 32, 16] as const)("iced reads the same instructions in random bytes, %i-bit", (mode) => {
  const findings = fuzz(mode, 120_000, 0x1234567 + mode);
  expect(first(findings)).toEqual({});
  // Most of what was compared must have been instructions that both know.
  expect(findings.undecoded).toBeLessThan(findings.compared / 50);
});

test("EVEX is (bad) whatever follows", () => {
  const ours = new Instruction();
  const random = createRandom(7);
  const bytes = new Uint8Array(20);
  for (let round = 0; round < 5000; round++) {
    for (let at = 0; at < bytes.length; at++) bytes[at] = random();
    bytes[0] = 0x62;
    expect(decode(bytes, 0, bytes.length, 64, ours)).toBe(0);
  }
});
