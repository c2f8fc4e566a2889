import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createRandom, randomInstruction } from "../../test/corpus.ts";
import {
  AssemblerError,
  assemble,
  decode,
  disassemble,
  formatIntel,
  Instruction,
  joinText,
  type Mode,
  OPERAND,
} from "../index.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

test.each([
  ["nop", "90"],
  ["mov rax, 0x1122334455667788", "48b88877665544332211"],
  ["mov rax, -1", "48c7c0ffffffff"],
  ["mov eax, -1", "b8ffffffff"],
  ["mov qword ptr [rsp+8], 5", "48c744240805000000"],
  ["mov r9, gs:[0]", "654c8b0c2500000000"],
  ["lea rsi, [rbx+rcx*4-0x80]", "488d748b80"],
  ["add rsp, 8", "4883c408"],
  ["xchg [rdi], al", "8607"],
  ["lock xadd qword ptr [rdi], rax", "f0480fc107"],
  ["lock cmpxchg [rdi], edx", "f00fb117"],
  ["push r12", "4154"],
  ["push 0x1000", "6800100000"],
  ["rep movsb", "f3a4"],
  ["rep stosq", "f348ab"],
  ["syscall", "0f05"],
  ["vmcall", "0f01c1"],
  ["pause", "f390"],
  ["xchg eax, eax", "87c0"],
  ["setne al", "0f95c0"],
  ["cmovz rax, rbx", "480f44c3"],
  ["movzx eax, byte ptr [rsi]", "0fb606"],
  ["shl rax, 12", "48c1e00c"],
  ["movaps xmm8, xmmword ptr [rdi]", "440f2807"],
  ["vpaddd ymm0, ymm1, ymm2", "c5f5fec2"],
  ["jmp qword ptr [rax*8+0x1000]", "ff24c500100000"],
  ["jmp far fword ptr [rax]", "ff28"],
  ["in al, dx", "ec"],
])("%s is %s", (source, expected) => {
  expect(hex(assemble(source).bytes)).toBe(expected);
});

test("branches are short where they reach, and long where they do not", () => {
  const near = assemble("start: jmp start\n je start\n call start");
  expect(hex(near.bytes)).toBe("ebfe74fce8f7ffffff");
  const far = assemble("jne away\n.zero 200\naway: ret");
  expect(hex(far.bytes.subarray(0, 6))).toBe("0f85c8000000");
  expect(far.symbols.get("away")).toBe(206n);
  // 127 bytes reach, 128 do not.
  expect(assemble("jmp away\n.zero 127\naway:").bytes.length).toBe(129);
  expect(assemble("jmp away\n.zero 128\naway:").bytes.length).toBe(133);
});

test("labels are addresses: in immediates, RIP-relative, in data, and across each other", () => {
  const { bytes, symbols } = assemble(
    `
    LENGTH = end - text        ; used before it is known
      mov rdi, text
      lea rsi, [rip+text]
      mov edx, LENGTH
      mov rax, [rip + text + 1]
      ret
      .align 16, 0x90
    text:
      .ascii "hello\\n"        // six bytes
    end:
      .quad text, 'A', HYPERCALL_PAGE + 17*32
      .byte 1, 2, "ab", ~0 & 0xff
      .asciz "z"
    `,
    { address: 0xffffffff81000000n, symbols: { HYPERCALL_PAGE: 0xffffffff82000000n } },
  );
  const at = symbols.get("text")!;
  expect(at % 16n).toBe(0n);
  expect(symbols.get("LENGTH")).toBe(6n);
  const lines = [...disassemble(bytes.subarray(0, 26), { address: 0xffffffff81000000n })].map((line) => line.text);
  expect(lines[0]).toBe("mov rdi, 0xffffffff81000020");
  expect(lines[1]).toBe("lea rsi, [rip+0x12]");
  expect(lines[2]).toBe("mov edx, 0x6");
  const data = new DataView(bytes.buffer, Number(at - 0xffffffff81000000n));
  expect(data.getBigUint64(6, true)).toBe(at);
  expect(data.getBigUint64(22, true)).toBe(0xffffffff82000220n);
  expect(hex(bytes.subarray(bytes.length - 7))).toBe("01026162ff7a00");
});

test.each([
  ["frob eax", "NO_SUCH_INSTRUCTION", 1],
  ["\n mov eax, bl", "NO_SUCH_FORM", 2],
  ["mov [rax], 1", "NO_SUCH_FORM", 1],
  ["lock add eax, 1", "NO_SUCH_FORM", 1],
  ["mov ah, spl", "NO_SUCH_FORM", 1],
  ["jmp nowhere", "UNDEFINED_SYMBOL", 1],
  [".byte 256", "OUT_OF_RANGE", 1],
  ["a: a:", "SYNTAX", 1],
  [".frob", "SYNTAX", 1],
  ["add al, 0x100", "NO_SUCH_FORM", 1],
  ["mov eax, [rax+rbx*3]", "SYNTAX", 1],
])("%j is refused with %s", (source, code, line) => {
  try {
    assemble(source);
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(AssemblerError);
    expect(error).toMatchObject({ code, line });
  }
});

/** The text of what `bytes` hold, and the text of what assembling it gives. */
function roundTrip(bytes: Uint8Array, mode: Mode): readonly [string, string] | undefined {
  const instruction = new Instruction();
  if (decode(bytes, 0, bytes.length, mode, instruction) === 0) return undefined;
  // A byte's reach counts from the end of the instruction: without its idle prefixes the target may be out of it.
  if (instruction.kinds[0] === OPERAND.RELATIVE && instruction.sizes[0] === 1 && instruction.immediate > 112)
    return undefined;
  const text = joinText(formatIntel(instruction, 0x1000n));
  const assembled = assemble(text, { mode, address: 0x1000n }).bytes;
  const length = decode(assembled, 0, assembled.length, mode, instruction);
  expect(length).toBe(assembled.length);
  expect(length).toBeLessThanOrEqual(15);
  // D1 /4 and C1 /4 01 do the same, FSUB ST, ST(0) and FSUB ST(0), ST too.
  const equal = (line: string): string => line.replace(/, 0x1$/, ", 1").replaceAll("st(0)", "st");
  return [equal(text), equal(joinText(formatIntel(instruction, 0x1000n)))];
}

test("law: assembling an instruction's text gives an instruction with that text", () => {
  fc.assert(
    fc.property(fc.integer(), fc.constantFrom<Mode>(64, 32, 16), (seed, mode) => {
      const random = createRandom(seed);
      const bytes = new Uint8Array(20);
      for (let round = 0; round < 100; round++) {
        randomInstruction(bytes, random);
        const texts = roundTrip(bytes, mode);
        if (texts) expect(texts[1]).toBe(texts[0]);
      }
    }),
    { numRuns: 300 },
  );
});

test("GNU as makes the same bytes of a guest's program", () => {
  const source = `
    start:
      cld
      mov rsp, 0xffffffff81008000
      mov rdi, rsi
      lea rbp, [rip+data]
      xor ebx, ebx
    again:
      mov al, [rbp+rbx]
      test al, al
      jz done
      mov [rdi+rbx*8+0x400], al
      inc ebx
      cmp ebx, 0x1000
      jb again
    done:
      mov eax, 29
      mov edi, 2
      lea rsi, [rsp-16]
      mov word ptr [rsi], 0
      lock or dword ptr [rbp+4], 0x10
      lock cmpxchg qword ptr [rbp+8], rcx
      xchg byte ptr [rbp+12], bl
      call again
      push rbx
      pop r11
      movzx ecx, word ptr [rbp]
      bts qword ptr [rbp], 5
      shl rax, 5
      imul rax, rcx, 1000
      div rcx
      rep stosq
      syscall
      mov rax, 0x123456789abcdef0
      movups xmm0, [rbp]
      paddq xmm0, xmm1
      jmp rax
      iretq
    data:
      .quad 1
      .ascii "abc"
  `;
  const folder = mkdtempSync(join(tmpdir(), "paravirt-as-"));
  try {
    writeFileSync(join(folder, "a.s"), `.intel_syntax noprefix\n${source}`);
    execFileSync("as", ["-o", join(folder, "a.o"), join(folder, "a.s")]);
    execFileSync("objcopy", ["-O", "binary", "-j", ".text", join(folder, "a.o"), join(folder, "a.bin")]);
    expect(hex(assemble(source).bytes)).toBe(hex(readFileSync(join(folder, "a.bin"))));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
