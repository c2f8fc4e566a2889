import { assemble } from "@paravirt/x86";
import fc from "fast-check";
import { expect, test } from "vitest";
import { LAYOUT, pageImage } from "../conformance/cases.ts";
import { ConformanceMachine } from "../conformance/machine.ts";
import { EXIT } from "./index.ts";

// RSP stays, RBX points at data, R15 and R14 count loops: the rest is free.
const FREE = ["rax", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13"];
const FREE32 = ["eax", "ecx", "edx", "esi", "edi", "ebp", "r8d", "r9d", "r10d", "r11d", "r12d", "r13d"];
const FREE8 = ["al", "cl", "dl", "sil", "dil", "bpl", "r8b", "r9b", "r10b", "r11b", "r12b", "r13b"];
const ALU = ["add", "sub", "adc", "sbb", "and", "or", "xor", "cmp", "test"];
const CONDITIONS = ["o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"];

const register = fc.integer({ min: 0, max: FREE.length - 1 });
const place = fc.integer({ min: 0, max: 500 }).map((slot) => slot * 8);

/** One line of a program; every instruction is legal whatever the registers hold. */
const line = fc.oneof(
  fc.tuple(fc.constantFrom(...ALU), register, register).map(([op, a, b]) => `${op} ${FREE[a]}, ${FREE[b]}`),
  fc.tuple(fc.constantFrom(...ALU), register, register).map(([op, a, b]) => `${op} ${FREE32[a]}, ${FREE32[b]}`),
  fc.tuple(fc.constantFrom(...ALU), register, register).map(([op, a, b]) => `${op} ${FREE8[a]}, ${FREE8[b]}`),
  fc
    .tuple(fc.constantFrom(...ALU), register, fc.integer({ min: -128, max: 127 }))
    .map(([op, a, b]) => `${op} ${FREE[a]}, ${b}`),
  fc
    .tuple(fc.constantFrom("add", "sub", "and", "or", "xor", "cmp"), place, register)
    .map(([op, at, a]) => `${op} qword ptr [rbx+${at}], ${FREE[a]}`),
  fc
    .tuple(fc.constantFrom("add", "sub", "xor", "cmp", "mov"), register, place)
    .map(([op, a, at]) => `${op} ${FREE32[a]}, dword ptr [rbx+${at}]`),
  fc.tuple(place, register).map(([at, a]) => `mov byte ptr [rbx+${at}], ${FREE8[a]}`),
  fc.tuple(fc.constantFrom("inc", "dec", "not", "neg", "bswap"), register).map(([op, a]) => `${op} ${FREE[a]}`),
  fc
    .tuple(fc.constantFrom("shl", "shr", "sar", "rol", "ror"), register, fc.integer({ min: 0, max: 70 }))
    .map(([op, a, n]) => `${op} ${FREE[a]}, ${n}`),
  fc.tuple(fc.constantFrom("shl", "sar", "rol"), register).map(([op, a]) => `${op} ${FREE32[a]}, cl`),
  fc
    .tuple(fc.constantFrom(...CONDITIONS), register, register)
    .map(([cc, a, b]) => `cmov${cc} ${FREE32[a]}, ${FREE32[b]}`),
  fc.tuple(fc.constantFrom(...CONDITIONS), register).map(([cc, a]) => `set${cc} ${FREE8[a]}`),
  fc.tuple(register, register).map(([a, b]) => `imul ${FREE[a]}, ${FREE[b]}`),
  fc.tuple(register, register).map(([a, b]) => `movzx ${FREE32[a]}, ${FREE8[b]}`),
  fc.tuple(register, register).map(([a, b]) => `movsx ${FREE[a]}, ${FREE8[b]}`),
  fc.tuple(register, register, place).map(([a, b, at]) => `lea ${FREE[a]}, [${FREE[b]}+${FREE[a]}*4+${at}]`),
  fc.tuple(register, register).map(([a, b]) => `push ${FREE[a]}\n pop ${FREE[b]}`),
  register.map((a) => `pushfq\n pop ${FREE[a]}\n and ${FREE[a]}, 0x8d5`),
  fc.constant("mul rcx"),
  fc.constant("call leaf"),
);

/** Blocks that jump forward at will, around a loop that runs them some hundred times. */
const program = fc
  .array(fc.tuple(fc.array(line, { minLength: 1, maxLength: 8 }), fc.constantFrom(...CONDITIONS), fc.nat(3)), {
    minLength: 1,
    maxLength: 7,
  })
  .map((blocks) => {
    const lines = ["mov r15d, 300", "again:"];
    blocks.forEach(([body, condition, skip], index) => {
      lines.push(`block${index}:`, ...body, `j${condition} block${Math.min(blocks.length, index + 1 + skip)}`);
    });
    lines.push(
      `block${blocks.length}:`,
      "mov r14d, 3",
      "inner:",
      "add r13, r12",
      "xor r12, rax",
      "dec r14d",
      "jnz inner",
    );
    lines.push("dec r15d", "jnz again", "int3", "leaf:", "xor rax, r9", "add r9d, 0x1234567", "ret");
    return lines.join("\n");
  });

const machines = [false, true].map(
  (translate) => new ConformanceMachine(pageImage(1), pageImage(2), { translate, sampleInterval: 50 }),
);

/** Runs code to its breakpoint; with translation, what is found a second time is compiled. */
function execute(code: Uint8Array, seeds: readonly bigint[], translate: boolean) {
  const machine = machines[translate ? 1 : 0]!;
  const before = machine.engine.stats;
  const outcome = machine.execute(code, seeds);
  const { stats } = machine.engine;
  return {
    ...outcome,
    instructions: stats.instructions - before.instructions,
    translated: stats.blocksTranslated - before.blocksTranslated,
  };
}

test("random programs end in the same state in both tiers, having executed as many instructions", () => {
  let translated = 0;
  fc.assert(
    fc.property(
      program,
      fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { minLength: 12, maxLength: 12 }),
      (source, seeds) => {
        const { bytes } = assemble(source, { address: BigInt(LAYOUT.entry) });
        const interpreted = execute(bytes, seeds, false);
        const compiled = execute(bytes, seeds, true);
        translated += compiled.translated;
        expect(interpreted.exit).toBe(EXIT.INTERRUPT);
        expect({ ...compiled, translated: 0 }).toEqual(interpreted);
      },
    ),
    { numRuns: 200 },
  );
  expect(translated).toBeGreaterThan(200);
});

test("a store into the running loop takes effect at once, in both tiers", () => {
  // The loop adds an immediate that it rewrites each time round: 1 + 2 + … + 200.
  const source = `
    xor eax, eax
    mov ecx, 200
    lea rdx, [rip+patch+1]
  again:
  patch:
    add eax, 1
    inc dword ptr [rdx]
    dec ecx
    jnz again
    int3`;
  // "add eax, imm32" would be the long form; the short one holds a byte, which is enough up to 127.
  const { bytes } = assemble(source.replace("add eax, 1", ".byte 0x05, 1, 0, 0, 0"), { address: BigInt(LAYOUT.entry) });
  for (const translate of [false, true]) {
    const { registers } = execute(bytes, new Array(12).fill(0n), translate);
    expect(registers[0]).toBe(BigInt((200 * 201) / 2));
  }
});

test("a repeated string instruction that pauses many times ends as if it had not", () => {
  // Downwards it moves one element at a time and pauses after each 64.
  const source = "std\nmov ecx, 0x700\nlea rdi, [rbx+0xfff]\nlea rsi, [rbx+0x6ff]\nrep movsb\ncld\nint3";
  const { bytes } = assemble(source, { address: BigInt(LAYOUT.entry) });
  const image = pageImage(1);
  for (const translate of [false, true]) {
    const { registers, exit, data } = execute(bytes, new Array(12).fill(0n), translate);
    expect(exit).toBe(EXIT.INTERRUPT);
    expect([registers[1], registers[7]]).toEqual([0n, BigInt(LAYOUT.data + 0x8ff)]);
    expect(data.slice(0x900)).toEqual(Array.from(image.subarray(0, 0x700)));
  }
});
