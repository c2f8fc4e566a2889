import { assemble } from "@paravirt/x86";
import fc from "fast-check";
import { expect, test } from "vitest";
import { LAYOUT, pageImage } from "../conformance/cases.ts";
import { ConformanceMachine } from "../conformance/machine.ts";
import { STATE } from "./layout.ts";

const words = (list: string) => fc.constantFrom(...list.split(" "));
const stack = fc.nat(7).map((index) => `st(${index})`);
const memory = (size: "dword" | "qword" | "tbyte") => fc.nat(31).map((index) => `${size} ptr [rbx+${index * 16}]`);
const operation = (names: string, operands: fc.Arbitrary<string>) =>
  fc.tuple(words(names), operands).map(([name, a]) => `${name} ${a}`);

/** Numbers of every kind; most programs keep the stack half full, some run over. */
const line = fc.oneof(
  operation("fld", fc.oneof(stack, memory("dword"), memory("qword"), memory("tbyte"))),
  operation("fild", fc.oneof(memory("dword"), memory("qword"))),
  operation("fstp", fc.oneof(stack, memory("dword"), memory("qword"), memory("tbyte"))),
  operation("fst", fc.oneof(stack, memory("qword"))),
  operation("fistp", memory("qword")),
  { weight: 2, arbitrary: operation("fxch", stack) },
  operation("fadd fsub fsubr fmul fdiv fdivr", fc.oneof(memory("dword"), memory("qword"))),
  {
    weight: 4,
    arbitrary: fc
      .tuple(words("fadd fsub fsubr fmul fdiv fdivr"), stack, fc.boolean())
      .map(([name, at, first]) => (first ? `${name} st(0), ${at}` : `${name} ${at}, st(0)`)),
  },
  fc.tuple(words("faddp fsubp fmulp fdivrp"), stack).map(([name, at]) => `${name} ${at}, st(0)`),
  fc
    .tuple(words("fcomi fucomi fcomip fucomip fcmovb fcmovne fcmovnbe fcmovu"), stack)
    .map(([name, at]) => `${name} st(0), ${at}`),
  operation("fucom fcomp", stack),
  { weight: 2, arbitrary: words("fld1 fldz fldpi fchs fabs fsqrt frndint fxam ftst fincstp") },
  operation("ffree", stack),
  words("fnclex emms fninit").map((name) => name),
  fc.constantFrom(
    "fnstsw ax",
    "paddd mm1, mm2",
    "movq mm3, mm0",
    "setb al",
    "sete cl",
    "add edx, 3",
    "mov esi, [rbx+8]",
  ),
);
const program = fc.array(
  fc.tuple(fc.array(line, { minLength: 1, maxLength: 12 }), words("a b e p ne np s"), fc.nat(2)),
  { minLength: 1, maxLength: 5 },
);

const machines = [false, true].map(
  (translate) => new ConformanceMachine(pageImage(1), pageImage(2), { translate, sampleInterval: 50 }),
);

function execute(machine: ConformanceMachine, code: Uint8Array, control: number, loops: readonly number[]) {
  const { engine } = machine;
  const { view, words: state, bytes } = engine.memory;
  state[STATE.fcw / 4] = control;
  state[STATE.fsw / 4] = 0x1800;
  state[STATE.ftw / 4] = 0x78;
  for (let i = 0; i < 8; i++) {
    view.setBigUint64(STATE.st + i * 16, (1n << 63n) | BigInt(loops[i]! * 0x10001), true);
    view.setBigUint64(STATE.st + i * 16 + 8, BigInt(0x3ff0 + i * 3 + (i & 1 ? 0x8000 : 0)), true);
  }
  const { instructions, blocksTranslated } = engine.stats;
  const outcome = machine.execute(code, [1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n]);
  return {
    ...outcome,
    instructions: engine.stats.instructions - instructions,
    words: [STATE.fcw, STATE.fsw, STATE.ftw].map((address) => state[address / 4]),
    registers87: Array.from(bytes.subarray(STATE.st, STATE.st + 128)),
    pointers: [STATE.fip, STATE.fdp].map((address) => view.getBigUint64(address, true)),
    translated: engine.stats.blocksTranslated - blocksTranslated,
  };
}

test("random x87 programs end in the same state in both tiers, words, tags and pointers included", () => {
  let translated = 0;
  fc.assert(
    fc.property(
      program,
      // Full precision, all masked; other precision and rounding; unmasked exceptions.
      fc.constantFrom(0x37f, 0x37f, 0x37f, 0x27f, 0xb7f, 0x35f, 0x37e),
      fc.array(fc.nat(0x7fff), { minLength: 8, maxLength: 8 }),
      (blocks, control, loops) => {
        const lines = ["mov r15d, 200", "again:"];
        blocks.forEach(([body, condition, skip], index) => {
          lines.push(`block${index}:`, ...body, `j${condition} block${Math.min(blocks.length, index + 1 + skip)}`);
        });
        lines.push(`block${blocks.length}:`, "dec r15d", "jnz again", "int3");
        const { bytes } = assemble(lines.join("\n"), { address: BigInt(LAYOUT.entry) });
        const [interpreted, compiled] = machines.map((machine) => execute(machine, bytes, control, loops));
        translated += compiled!.translated;
        expect({ ...compiled, translated: 0 }).toEqual(interpreted);
      },
    ),
    { numRuns: 150 },
  );
  expect(translated).toBeGreaterThan(20);
});
