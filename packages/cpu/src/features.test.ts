import { assemble, OPCODES } from "@paravirt/x86";
import { expect, test } from "vitest";
import { LAYOUT, pageImage } from "../conformance/cases.ts";
import { ConformanceMachine } from "../conformance/machine.ts";
import { CPU_MODELS, implementedFeatures, isAvx } from "./features.ts";
import { avxDefinitions } from "./semantics/avx.ts";
import { EXIT } from "./vcpu.ts";

const machines = new Map<readonly string[] | undefined, ConformanceMachine>();
function made(features: readonly string[] | undefined): ConformanceMachine {
  const machine = new ConformanceMachine(pageImage(1), pageImage(2), features === undefined ? {} : { features });
  machines.set(features, machine);
  return machine;
}

/** How one instruction ends on a processor with these features: the vector, or -1, and RAX. */
function outcome(features: readonly string[] | undefined, code: string | readonly number[], mode: 64 | 32 = 64) {
  const { vcpu } = machines.get(features) ?? made(features);
  const address = BigInt(LAYOUT.entry);
  vcpu.write(address, typeof code === "string" ? assemble(code, { address }).bytes : Uint8Array.from(code));
  vcpu.mode = mode;
  vcpu.regs.fill(0n);
  vcpu.rip = address;
  vcpu.regs[1] = 0x100n;
  vcpu.regs[3] = BigInt(LAYOUT.data);
  const exit = vcpu.step();
  return [exit.reason === EXIT.FAULT ? exit.vector : -1, vcpu.regs[0]];
}

test("a processor model's hidden instructions raise #UD, and what it has is executed", () => {
  const inV2 = [
    "popcnt rax, rcx",
    "cmpxchg16b [rbx]",
    "pcmpgtq xmm0, xmm1",
    "pshufb xmm0, xmm1",
    "haddps xmm0, xmm1",
    "crc32 eax, ecx",
  ];
  const beyond = [
    "movbe eax, [rbx]",
    "andn rax, rcx, rcx",
    "pdep rax, rcx, rcx",
    "adcx rax, rcx",
    "aesenc xmm0, xmm1",
    "rdrand rax",
    "rdtscp",
    "rdfsbase rax",
    "sha1nexte xmm0, xmm1",
  ];
  for (const line of [...inV2, ...beyond]) {
    expect([line, outcome(CPU_MODELS["x86-64-v1"], line)[0]]).toEqual([line, 6]);
    expect([line, outcome(CPU_MODELS["x86-64-v2"], line)[0]]).toEqual([line, beyond.includes(line) ? 6 : -1]);
    expect([line, outcome(undefined, line)[0]]).toEqual([line, -1]);
  }

  expect(outcome(CPU_MODELS["x86-64-v1"], "cmpxchg8b [rbx]")[0]).toBe(-1);
});

test("TZCNT and LZCNT are BSF and BSR where they are hidden; LAHF always exists in compatibility mode", () => {
  expect(outcome(undefined, "lzcnt rax, rcx")).toEqual([-1, 55n]);
  expect(outcome(CPU_MODELS["x86-64-v2"], "lzcnt rax, rcx")).toEqual([-1, 8n]);
  expect(outcome(CPU_MODELS["x86-64-v2"], "tzcnt rax, rcx")).toEqual([-1, 8n]);
  expect(outcome(CPU_MODELS["x86-64-v1"], [0x9f])[0]).toBe(6);
  expect(outcome(CPU_MODELS["x86-64-v1"], [0x9f], 32)[0]).toBe(-1);
});

test("AVX needs its features, those of its legacy form, and CR4 and XCR0 that enable it", () => {
  const enabled = (features: readonly string[] | undefined, on: boolean) => {
    const { vcpu } = machines.get(features) ?? made(features);
    vcpu.cr4 = on ? 0x40000n : 0n;
    vcpu.xcr0 = on ? 7n : 1n;
  };
  const [v2, v3] = [CPU_MODELS["x86-64-v2"], CPU_MODELS["x86-64-v3"]];
  for (const line of [
    "vaddps ymm0, ymm1, ymm2",
    "vpaddd ymm0, ymm1, ymm2",
    "vfmadd231pd xmm0, xmm1, xmm2",
    "vcvtph2ps xmm0, xmm1",
    "vzeroupper",
    "andn rax, rcx, rcx",
  ]) {
    for (const features of [v2, v3, undefined]) {
      enabled(features, true);
      expect([line, features?.length, outcome(features, line)[0]]).toEqual([
        line,
        features?.length,
        features === v2 ? 6 : -1,
      ]);
    }
    enabled(v3, false);
    expect([line, outcome(v3, line)[0]]).toEqual([line, line.startsWith("v") ? 6 : -1]);
  }
  enabled(v3, true);
  expect(outcome(v3, "vaesenc xmm0, xmm1, xmm2")[0]).toBe(6);
  enabled(undefined, true);
  expect(outcome(undefined, "vaesenc ymm0, ymm1, ymm2")[0]).toBe(-1);
});

test("the engine has all that x86-64-v2 asks for, and the models are among what it has", () => {
  const features = implementedFeatures();
  for (const model of Object.values(CPU_MODELS)) expect(model.filter((name) => !features.includes(name))).toEqual([]);
  for (const name of words(
    "bmi1 bmi2 adx abm movbe aes pclmulqdq sha_ni rdrand rdseed fsgsbase rdtscp xsave xsaveopt xsavec avx avx2 fma f16c vaes vpclmulqdq",
  ))
    expect(features).toContain(name);
  expect(new Set(features).size).toBe(features.length);
  const defined = new Set(avxDefinitions().map(({ name }) => name));
  const rows = OPCODES.filter((row) => isAvx(row) && features.includes(row.feature));
  expect(rows.map(({ name }) => name).filter((name) => !defined.has(name))).toEqual([]);
});

function words(text: string): string[] {
  return text.split(" ");
}
