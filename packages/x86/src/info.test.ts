import { expect, test } from "vitest";
import { decode, Instruction, type InstructionInfo, instructionInfo } from "./index.ts";

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
