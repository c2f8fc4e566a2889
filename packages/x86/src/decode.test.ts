import fc from "fast-check";
import { expect, test } from "vitest";
import {
  BASE_RIP,
  decode,
  formatIntel,
  INVALID,
  Instruction,
  joinText,
  MNEMONICS,
  type Mode,
  NO_REGISTER,
  OPCODES,
  OPERAND,
  PREFIX,
  REGISTER_CLASS,
  SEGMENT,
} from "./index.ts";

const bytesOf = (hex: string): Uint8Array =>
  Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

function decoded(hex: string, mode: Mode = 64): Instruction {
  const instruction = new Instruction();
  const bytes = bytesOf(hex);
  decode(bytes, 0, bytes.length, mode, instruction);
  return instruction;
}

const text = (hex: string, mode: Mode = 64): string => joinText(formatIntel(decoded(hex, mode), 0x1000n));

test("every field of a memory operand is readable", () => {
  const mov = decoded("48 8b 84 8b 10 00 00 80".replaceAll(" ", ""));
  expect(mov).toMatchObject({ length: 8, operandSize: 8, addressSize: 8, operandCount: 2 });
  expect(mov).toMatchObject({ base: 3, index: 1, scale: 2, displacement: -0x7ffffff0, displacementHigh: -1 });
  expect(mov).toMatchObject({ segment: SEGMENT.DS, opcodeOffset: 1, displacementOffset: 4, immediateOffset: 0 });
  expect([...mov.kinds]).toEqual([OPERAND.REGISTER, OPERAND.MEMORY, 0, 0]);
  expect(mov.classes[0]).toBe(REGISTER_CLASS.GPR64);
  expect(mov.registers[0]).toBe(0);
  expect([...mov.sizes]).toEqual([8, 8, 0, 0]);
  expect(OPCODES[mov.row]).toMatchObject({ name: "mov", operands: ["Gv", "Ev"], access: ["write", "read"] });
  expect(MNEMONICS[mov.mnemonic]).toBe("mov");
});

test("the default segment is SS for RSP and RBP and DS for R12 and R13", () => {
  expect(decoded("8b0424").segment).toBe(SEGMENT.SS);
  expect(decoded("8b4500").segment).toBe(SEGMENT.SS);
  expect(decoded("418b0424").segment).toBe(SEGMENT.DS);
  expect(decoded("418b4500").segment).toBe(SEGMENT.DS);
});

test("ES, CS, SS and DS overrides count in 32-bit mode and not in 64-bit mode, nor do they undo FS", () => {
  expect(decoded("268b00", 32)).toMatchObject({ segment: SEGMENT.ES, prefixes: PREFIX.SEGMENT_OVERRIDE });
  expect(decoded("268b00").segment).toBe(SEGMENT.DS);
  expect(decoded("64268b00").segment).toBe(SEGMENT.FS);
});

test("RIP-relative addresses say so, with either address size", () => {
  expect(decoded("8b0510000000")).toMatchObject({ base: BASE_RIP, index: NO_REGISTER, displacement: 0x10 });
  expect(text("678b0510000000")).toBe("mov eax, dword ptr [eip+0x10]");
});

test("8-bit registers 4 to 7 are high bytes without REX and SPL to DIL with any", () => {
  expect(text("88e0")).toBe("mov al, ah");
  expect(text("4088e0")).toBe("mov al, spl");
  expect(text("b401")).toBe("mov ah, 0x1");
});

test("REX counts only right before the opcode", () => {
  expect(text("486689d8")).toBe("mov ax, bx");
  expect(text("664889d8")).toBe("mov rax, rbx");
});

test("the last of F2 and F3 is the mandatory prefix, before 66", () => {
  expect(text("66f20f58c1")).toBe("addsd xmm0, xmm1");
  expect(text("f2f30f58c1")).toBe("addss xmm0, xmm1");
  expect(decoded("f30f58c1").prefixes & PREFIX.REP).toBe(0);
  expect(decoded("f3a4").prefixes & PREFIX.REP).toBe(PREFIX.REP);
});

test("immediates are extended to the size of the operation", () => {
  expect(decoded("4883c0ff")).toMatchObject({ immediate: -1, immediateHigh: -1, immediateOffset: 3 });
  expect(decoded("48b8efcdab8967452301")).toMatchObject({ immediate: -0x76543211, immediateHigh: 0x01234567 });
  expect(decoded("c8000102")).toMatchObject({ immediate: 0x100, immediate2: 2 });
  expect(decoded("cd80").immediate).toBe(0x80);
});

test("a branch displacement is relative to the next instruction", () => {
  expect(decoded("e8fbffffff")).toMatchObject({ immediate: -5, length: 5 });
  expect(text("e8fbffffff")).toBe("call 0x1000");
});

test("a 64-bit absolute address is in the two halves of the displacement", () => {
  expect(decoded("48a1efcdab8967452301")).toMatchObject({ displacement: -0x76543211, displacementHigh: 0x01234567 });
});

test.each([
  ["f00108", "lock add dword ptr [rax], ecx"],
  ["f001c8", "(bad)"],
  ["f08b00", "(bad)"],
  ["f03808", "(bad)"],
  ["f0c70001000000", "(bad)"],
  ["f00fa300", "(bad)"],
  ["f00fab00", "lock bts dword ptr [rax], eax"],
])("LOCK is legal only where memory is the destination: %s", (hex, expected) => {
  expect(text(hex)).toBe(expected);
});

test.each(["66c5f877", "f3c5f877", "48c5f877", "f0c5f877", "c5f077", "c4e27c18c0", "c4e37904c0"])(
  "VEX with a prefix, field or mode that the instruction does not have is (bad): %s",
  (hex) => {
    expect(text(hex)).toBe("(bad)");
  },
);

test.each(["06", "27", "60", "82c001", "9a0000000000", "c400", "ce", "d401", "ea000000000000", "62000000"])(
  "%s exists in 32-bit mode only",
  (hex) => {
    expect(decoded(`${hex}00000000`).invalid).toBe(INVALID.UNDEFINED);
    expect(decoded(`${hex}00000000`, 32).invalid).toBe(INVALID.VALID);
  },
);

test("why there is no instruction: undefined, cut off or too long", () => {
  expect(decoded("0f0a").invalid).toBe(INVALID.UNDEFINED);
  expect(decoded("0f").invalid).toBe(INVALID.TRUNCATED);
  expect(decoded("").invalid).toBe(INVALID.TRUNCATED);
  expect(decoded(`${"66".repeat(14)}90`)).toMatchObject({ length: 15, invalid: INVALID.VALID });
  expect(decoded(`${"66".repeat(15)}90`).invalid).toBe(INVALID.TOO_LONG);
  expect(decoded("66".repeat(15)).invalid).toBe(INVALID.TOO_LONG);
  expect(decoded("66".repeat(14)).invalid).toBe(INVALID.TRUNCATED);
  expect(decoded("2e2e2e2e2e2e48b88877665544332211").invalid).toBe(INVALID.TOO_LONG);
});

const modes = fc.constantFrom<Mode>(64, 32, 16);

test("law: an instruction cut anywhere is TRUNCATED, and whole again in any bytes after it", () => {
  const whole = new Instruction();
  const part = new Instruction();
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 15, maxLength: 15 }),
      modes,
      fc.uint8Array({ maxLength: 60 }),
      (bytes, mode, tail) => {
        const length = decode(bytes, 0, 15, mode, whole);
        if (length === 0) return;
        for (let end = 0; end < length; end++) {
          expect(decode(bytes, 0, end, mode, part)).toBe(0);
          expect(part.invalid).toBe(INVALID.TRUNCATED);
        }
        const longer = Uint8Array.of(1, 2, 3, ...bytes.subarray(0, length), ...tail);
        expect(decode(longer, 3, longer.length, mode, part)).toBe(length);
        expect(part).toEqual(whole);
      },
    ),
    { numRuns: 3000 },
  );
});

test("with `amd` set, decoding follows AMD's processors: measured on family 19h", () => {
  const length = (hex: string, amd: boolean) =>
    decode(bytesOf(hex.padEnd(32, "0")), 0, 16, 64, new Instruction({ amd }));
  expect(length("66e81234", false)).toBe(6); // a near call ignores 66 …
  expect(length("66e81234", true)).toBe(4); // … or has a 16-bit target
  expect(length("0f0dc0", false)).toBe(3); // PREFETCH of a register: a hint …
  expect(length("0f0dc0", true)).toBe(0); // … or undefined
  const pointer = new Instruction({ amd: true });
  decode(bytesOf("480fb400"), 0, 4, 64, pointer); // lfs rax, [rax]: no 64-bit far pointers
  expect(pointer.sizes[0]).toBe(4);
});

test("no byte at or past the end is read", () => {
  const instruction = new Instruction();
  const read: number[] = [];
  const guarded = new Proxy(bytesOf("488b"), {
    get(target, key) {
      if (typeof key === "string" && /^\d+$/.test(key)) read.push(Number(key));
      return Reflect.get(target, key, target) as unknown;
    },
  });
  expect(decode(guarded, 0, 2, 64, instruction)).toBe(0);
  expect(Math.max(...read)).toBeLessThan(2);
});

test("decoding allocates nothing", () => {
  const instruction = new Instruction();
  const bytes = bytesOf(
    "488b848b100000800f58c1f00108e8fbffffff48b8efcdab8967452301c4e27d18c0f3a46640e3".padEnd(200, "90"),
  );
  const run = (rounds: number): void => {
    for (let round = 0; round < rounds; round++)
      for (let at = 0; at < bytes.length; ) at += decode(bytes, at, bytes.length, 64, instruction) || 1;
  };
  run(20_000);
  const before = process.memoryUsage().heapUsed;
  run(40_000);
  // Nearly three million instructions: one object of 16 bytes each would be 40 MB.
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(4_000_000);
});
