import { assemble } from "@paravirt/x86";
import fc from "fast-check";
import { expect, test } from "vitest";
import { LAYOUT, pageImage } from "../conformance/cases.ts";
import { ConformanceMachine } from "../conformance/machine.ts";
import { STATE } from "./layout.ts";

const xmm = fc.nat(7).map((number) => `xmm${number}`);
const general = fc.constantFrom("eax", "edx", "esi", "edi", "r8d", "r9d");
const memory = (align: number) => fc.nat(63).map((index) => `[rbx+${index * align}]`);
const byte = fc.nat(255);
const words = (list: string) => fc.constantFrom(...list.split(" "));
const operation = (names: string, align: number) =>
  fc.tuple(words(names), xmm, fc.oneof(xmm, xmm, memory(align))).map(([name, a, b]) => `${name} ${a}, ${b}`);

/** One line; arithmetic meets NaNs, infinities and denormals often, since everything feeds everything. */
const line = fc.oneof(
  operation(
    "paddd psubw pxor pand pandn pmaddwd punpcklbw pcmpgtd pmullw psadbw pmuludq movaps cvtdq2ps cvttps2dq",
    16,
  ),
  operation("addps mulps subps divps minps maxps sqrtps addpd subpd mulpd divpd sqrtpd unpcklps andps", 16),
  operation("addsd subsd mulsd divsd sqrtsd minsd maxsd cvtsd2ss movsd ucomisd comisd", 8),
  operation("addss subss mulss divss sqrtss minss maxss cvtss2sd movss ucomiss", 4),
  fc.tuple(words("cvtsi2sd cvtsi2ss movd"), xmm, general).map(([name, a, b]) => `${name} ${a}, ${b}`),
  fc.tuple(words("cvttsd2si cvtss2si movd pmovmskb"), general, xmm).map(([name, a, b]) => `${name} ${a}, ${b}`),
  fc
    .tuple(words("pshufd shufps cmppd cmpss"), xmm, xmm, byte)
    .map(([name, a, b, n]) => `${name} ${a}, ${b}, ${name[0] === "c" ? n & 7 : n}`),
  fc.tuple(words("psrld pslldq psraw"), xmm, fc.nat(34)).map(([name, a, n]) => `${name} ${a}, ${n}`),
  fc.tuple(memory(16), xmm).map(([at, a]) => `movaps ${at}, ${a}`),
  words("a b e p ne ae").map((condition) => `set${condition} al`),
);
const program = fc.array(
  fc.tuple(fc.array(line, { minLength: 1, maxLength: 8 }), words("a b e p ne np s"), fc.nat(2)),
  { minLength: 1, maxLength: 5 },
);

const machines = [false, true].map(
  (translate) => new ConformanceMachine(pageImage(1), pageImage(2), { translate, sampleInterval: 50 }),
);

function execute(machine: ConformanceMachine, code: Uint8Array, mxcsr: number, vectors: readonly bigint[]) {
  const { engine } = machine;
  const { view } = engine.memory;
  view.setUint32(STATE.mxcsr, mxcsr, true);
  const half = (index: number) => STATE.xmm + (index >> 1) * 32 + (index & 1) * 8;
  vectors.forEach((value, index) => {
    view.setBigUint64(half(index), value, true);
  });
  const { instructions, blocksTranslated } = engine.stats;
  const outcome = machine.execute(code, [1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n]);
  return {
    ...outcome,
    instructions: engine.stats.instructions - instructions,
    mxcsr: view.getUint32(STATE.mxcsr, true),
    vectors: vectors.map((_, index) => view.getBigUint64(half(index), true)),
    translated: engine.stats.blocksTranslated - blocksTranslated,
  };
}

test("random SIMD programs end in the same state in both tiers, MXCSR included", () => {
  let translated = 0;
  fc.assert(
    fc.property(
      program,
      // Exceptions seen or not, rounding up, denormals and tiny results flushed.
      fc.constantFrom(0x1f80, 0x1fa0, 0x1fa0, 0x5fa0, 0x9fc0),
      fc.array(fc.oneof(fc.double(), fc.double({ min: -1e3, max: 1e3, noNaN: true })), {
        minLength: 16,
        maxLength: 16,
      }),
      (blocks, mxcsr, numbers) => {
        const lines = ["mov r15d, 300", "again:"];
        // Fresh numbers each time round: else NaNs take over, and what leaves for JavaScript is never found hot.
        for (let number = 0; number < 6; number++) lines.push(`cvtdq2pd xmm${number}, [rbx+${1024 + number * 8}]`);
        blocks.forEach(([body, condition, skip], index) => {
          lines.push(`block${index}:`, ...body, `j${condition} block${Math.min(blocks.length, index + 1 + skip)}`);
        });
        lines.push(`block${blocks.length}:`, "dec r15d", "jnz again", "int3");
        const { bytes } = assemble(lines.join("\n"), { address: BigInt(LAYOUT.entry) });
        const vectors = [...new BigUint64Array(Float64Array.from(numbers).buffer)];
        const [interpreted, compiled] = machines.map((machine) => execute(machine, bytes, mxcsr, vectors));
        translated += compiled!.translated;
        expect({ ...compiled, translated: 0 }).toEqual(interpreted);
      },
    ),
    { numRuns: 60 },
  );
  expect(translated).toBeGreaterThan(5);
});

test("a misaligned vector in an unmapped first page faults in translated code, too", () => {
  // The address bits that misalignment adds to the page must not look like an empty TLB entry.
  for (let offset = 0; offset < 16; offset++) {
    const lines = ["mov r15d, 3000", "again:", "dec r15d", "jz last", "movaps xmm0, [rbx]", "jmp again"];
    lines.push("last:", `movaps [rdi+${offset}], xmm0`, "int3");
    const { bytes } = assemble(lines.join("\n"), { address: BigInt(LAYOUT.entry) });
    const [interpreted, compiled] = machines.map((machine) => machine.execute(bytes, [1n, 2n, 3n, 4n, 0n]));
    expect(compiled!.rip).toBe(BigInt(LAYOUT.entry + bytes.length - 1) - BigInt(offset === 0 ? 3 : 4));
    expect({ ...compiled, instructions: 0 }).toEqual({ ...interpreted, instructions: 0 });
  }
});
