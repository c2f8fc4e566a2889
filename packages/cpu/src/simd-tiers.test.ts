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
const ymm = fc.nat(7).map((number) => `ymm${number}`);
/** Three operands, all of them YMM or all XMM registers, or memory at the end; legacy instructions between them. */
const wide = (names: string, suffix = "") =>
  fc
    .oneof(
      fc.tuple(words(names), ymm, ymm, fc.oneof(ymm, ymm, memory(32))),
      fc.tuple(words(names), xmm, xmm, fc.oneof(xmm, xmm, memory(16))),
    )
    .map(([name, a, b, c]) => `${name} ${a}, ${b}, ${c}${suffix}`);
const avxLine = fc.oneof(
  line,
  wide("vpaddd vpsubw vpxor vpand vpandn vpmaddwd vpunpcklbw vpcmpgtd vpmullw vpshufb vpsllvd vpsravd vpermilps"),
  wide("vaddps vmulps vsubps vdivps vminps vmaxps vaddpd vsubpd vmulpd vdivpd vunpcklps vandps vhaddpd vaddsubps"),
  wide("vfmadd231ps vfmadd213pd vfnmadd132ps vfmsub231pd vfmaddsub213ps vfmadd132pd"),
  wide("vshufps vshufpd vblendps vpalignr vpblendd", ", 0x95"),
  fc
    .tuple(words("vaddsd vmulsd vdivsd vfmadd231sd vminsd vsqrtsd"), xmm, xmm, fc.oneof(xmm, memory(8)))
    .map(([name, a, b, c]) => `${name} ${a}, ${b}, ${c}`),
  fc
    .tuple(words("vsqrtps vcvtdq2ps vcvtps2dq vpabsb vmovaps vmovdqu"), ymm, ymm)
    .map(([name, a, b]) => `${name} ${a}, ${b}`),
  fc.tuple(words("vpermd vpermps"), ymm, ymm, ymm).map(([name, a, b, c]) => `${name} ${a}, ${b}, ${c}`),
  fc
    .tuple(words("vperm2f128 vperm2i128"), ymm, ymm, ymm, byte)
    .map(([name, a, b, c, n]) => `${name} ${a}, ${b}, ${c}, ${n}`),
  fc.tuple(words("vpmovzxbw vpmovsxdq vcvtps2pd vpbroadcastd"), ymm, xmm).map(([name, a, b]) => `${name} ${a}, ${b}`),
  fc.tuple(words("vcvtpd2ps vcvttpd2dq"), xmm, ymm).map(([name, a, b]) => `${name} ${a}, ${b}`),
  fc.tuple(ymm, xmm, fc.nat(1)).map(([a, b, n]) => `vinserti128 ${a}, ${a}, ${b}, ${n}`),
  fc.tuple(xmm, ymm, fc.nat(1)).map(([a, b, n]) => `vextractf128 ${a}, ${b}, ${n}`),
  fc.tuple(memory(32), ymm).map(([at, a]) => `vmovups ${at}, ${a}`),
  fc.tuple(ymm, ymm, memory(32)).map(([a, b, at]) => `vpmaskmovd ${a}, ${b}, ${at}`),
  fc.tuple(ymm, ymm, memory(32)).map(([a, b, at]) => `vmaskmovps ${at}, ${a}, ${b}`),
  fc.tuple(general, ymm).map(([a, b]) => `vpmovmskb ${a}, ${b}`),
  fc.tuple(ymm, ymm).map(([a, b]) => `vptest ${a}, ${b}`),
  fc.constant("vzeroupper"),
  fc
    .tuple(words("vpgatherdd vgatherdps"), ymm)
    .map(([name, a]) => `vpsrld ymm7, ${a}, 24\n${name} ymm5, [rbx+ymm7*4], ymm6`),
  fc
    .tuple(words("vpgatherqd vgatherqps"), ymm)
    .map(([name, a]) => `vpsrlq ymm7, ${a}, 56\n${name} xmm5, [rbx+ymm7*8], xmm6`),
);
const program = (lines: fc.Arbitrary<string>) =>
  fc.array(fc.tuple(fc.array(lines, { minLength: 1, maxLength: 8 }), words("a b e p ne np s"), fc.nat(2)), {
    minLength: 1,
    maxLength: 5,
  });

const machines = [false, true].map((translate) => {
  const machine = new ConformanceMachine(pageImage(1), pageImage(2), { translate, sampleInterval: 50 });
  machine.vcpu.cr4 |= 0x40000n;
  machine.vcpu.xcr0 = 7n;
  return machine;
});

function execute(machine: ConformanceMachine, code: Uint8Array, mxcsr: number, vectors: readonly bigint[]) {
  const { engine } = machine;
  const { view } = engine.memory;
  view.setUint32(STATE.mxcsr, mxcsr, true);
  const half = (index: number) => STATE.xmm + index * 8;
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

test.each([
  ["SSE", line],
  ["AVX", avxLine],
])("random %s programs end in the same state in both tiers, MXCSR and upper halves included", (_name, lines) => {
  let translated = 0;
  fc.assert(
    fc.property(
      program(lines),
      // Exceptions seen or not, rounding up, denormals and tiny results flushed.
      fc.constantFrom(0x1f80, 0x1fa0, 0x1fa0, 0x5fa0, 0x9fc0),
      fc.array(fc.oneof(fc.double(), fc.double({ min: -1e3, max: 1e3, noNaN: true })), {
        minLength: 32,
        maxLength: 32,
      }),
      (blocks, mxcsr, numbers) => {
        const text = ["mov r15d, 300", "again:"];
        // Fresh numbers each time round: else NaNs take over, and what leaves for JavaScript is never found hot.
        for (let number = 0; number < 6; number++) text.push(`cvtdq2pd xmm${number}, [rbx+${1024 + number * 8}]`);
        blocks.forEach(([body, condition, skip], index) => {
          text.push(`block${index}:`, ...body, `j${condition} block${Math.min(blocks.length, index + 1 + skip)}`);
        });
        text.push(`block${blocks.length}:`, "dec r15d", "jnz again", "int3");
        const { bytes } = assemble(text.join("\n"), { address: BigInt(LAYOUT.entry) });
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
