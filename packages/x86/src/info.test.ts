import {
  Decoder,
  DecoderOptions,
  Instruction as IcedInstruction,
  InstructionInfoFactory,
  OpAccess,
  RflagsBits,
} from "iced-x86";
import { expect, test } from "vitest";
import { LIBC, textSection } from "../test/corpus.ts";
import {
  type Access,
  decode,
  formatIntel,
  Instruction,
  type InstructionInfo,
  instructionInfo,
  joinText,
} from "./index.ts";

function infoOf(hex: string): InstructionInfo | undefined {
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  const instruction = new Instruction();
  decode(bytes, 0, bytes.length, 64, instruction);
  return instructionInfo(instruction, 0x1000n);
}

test("ADD to memory reads and writes it, and sets the six arithmetic flags", () => {
  expect(infoOf("480144 8b08".replace(" ", ""))).toMatchObject({
    reads: ["rbx", "rcx", "rax"],
    writes: [],
    memory: "readwrite",
    flags: { modified: "oszapc", tested: "" },
    feature: "general",
    flow: "next",
  });
});

test("a conditional branch tells the flags it reads and where it goes", () => {
  expect(infoOf("7efe")).toMatchObject({ flow: "branch", target: 0x1000n, flags: { tested: "zso" } });
});

test("implicit operands are there: DIV, PUSH, REP MOVSB", () => {
  expect(infoOf("48f7f3")).toMatchObject({ reads: ["rax", "rdx", "rbx"], writes: ["rax", "rdx"] });
  expect(infoOf("53")).toMatchObject({ reads: ["rsp", "rbx"], writes: ["rsp"] });
  expect(infoOf("f3a4")).toMatchObject({
    reads: ["rsi", "rdi", "rcx"],
    writes: ["rsi", "rdi", "rcx"],
    memory: "readwrite",
  });
});

test("LEA uses an address and no memory; MOV to a part of a register depends on the rest", () => {
  expect(infoOf("488d0418")).toMatchObject({ reads: ["rax", "rbx"], writes: ["rax"], memory: "address" });
  expect(infoOf("b001")).toMatchObject({ reads: ["rax"], writes: ["rax"] });
});

test("features and privilege", () => {
  expect(infoOf("c5f5fec2")).toMatchObject({ feature: "avx2", writes: ["ymm0"], reads: ["ymm1", "ymm2"] });
  expect(infoOf("0f22d8")).toMatchObject({ privileged: true });
  expect(infoOf("f30fb8c1")).toMatchObject({ feature: "popcnt", flags: { modified: "z", cleared: "osapc" } });
  expect(infoOf("0f0a")).toBeUndefined();
});

const FLAG_LETTERS: readonly (readonly [number, string])[] = [
  [RflagsBits.OF, "o"],
  [RflagsBits.DF, "d"],
  [RflagsBits.IF, "i"],
  [RflagsBits.SF, "s"],
  [RflagsBits.ZF, "z"],
  [RflagsBits.AF, "a"],
  [RflagsBits.PF, "p"],
  [RflagsBits.CF, "c"],
];
const lettersOf = (bits: number): string =>
  FLAG_LETTERS.filter(([bit]) => bits & bit)
    .map(([, letter]) => letter)
    .join("");
const sorted = (letters: string): string =>
  FLAG_LETTERS.map(([, letter]) => letter)
    .filter((letter) => letters.includes(letter))
    .join("");

/** iced's accesses that are the same as ours. */
const SAME_ACCESS: Readonly<Record<Access, readonly OpAccess[]>> = {
  read: [OpAccess.Read, OpAccess.CondRead],
  write: [OpAccess.Write, OpAccess.CondWrite],
  readwrite: [OpAccess.ReadWrite, OpAccess.ReadCondWrite],
  conditional: [OpAccess.CondWrite, OpAccess.ReadCondWrite],
  address: [OpAccess.NoMemAccess, OpAccess.None],
};

/**
 * Differences on purpose: iced knows that XOR, SUB, PXOR, PCMPGT and the like of a register with itself do not read it and
 * that the overflow flag of a shift depends on its count; prefetches and CLFLUSH read nothing for us; UD1 does nothing.
 */
const KNOWN = /^v?(?:p?xor|p?sub|pcmp|pandn|andn|shl|shr|sar|rol|ror|rcl|rcr|shld|shrd|cmov|clflush|prefetch|ud)/;

test("iced reads the same flags and operand accesses out of the C library's code", () => {
  const bytes = textSection(LIBC).bytes.subarray(0, 300_000);
  const decoder = new Decoder(64, bytes, DecoderOptions.None);
  const factory = new InstructionInfoFactory();
  const theirs = new IcedInstruction();
  const ours = new Instruction();
  const differences = new Set<string>();
  for (let offset = 0; offset < bytes.length; ) {
    decoder.position = offset;
    decoder.decodeOut(theirs);
    const length = decode(bytes, offset, bytes.length, 64, ours);
    offset += length || 1;
    const info = instructionInfo(ours);
    if (info === undefined || theirs.length !== length) continue;
    const text = joinText(formatIntel(ours));
    if (KNOWN.test(text)) continue;
    const { flags } = info;
    const mine = [flags.tested, flags.modified, flags.cleared, flags.set, flags.undefined].map(sorted).join("|");
    const { rflagsRead, rflagsWritten, rflagsCleared, rflagsSet, rflagsUndefined } = theirs;
    const other = [rflagsRead, rflagsWritten, rflagsCleared, rflagsSet, rflagsUndefined].map(lettersOf).join("|");
    if (mine !== other) differences.add(`${text}: flags ${mine}, iced ${other}`);
    if (theirs.opCount === ours.operandCount) {
      const used = factory.info(theirs);
      const accesses = [used.op0Access, used.op1Access, used.op2Access, used.op3Access];
      info.operands.forEach((operand, slot) => {
        if (!SAME_ACCESS[operand.access].includes(accesses[slot]!))
          differences.add(`${text}: operand ${slot} ${operand.access}, iced ${OpAccess[accesses[slot]!]}`);
      });
      used.free();
    }
  }
  decoder.free();
  expect([...differences].slice(0, 20)).toEqual([]);
});
