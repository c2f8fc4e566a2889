import { expect, test } from "vitest";
import { LAYOUT, pageImage } from "../conformance/cases.ts";
import { ConformanceMachine } from "../conformance/machine.ts";
import { arcTangent, FRACTION, log2OnePlus, ONE, pi, sineCosine } from "./elementary.ts";
import { STATE } from "./layout.ts";
import { EXIT } from "./vcpu.ts";

const newMachine = (): ConformanceMachine => new ConformanceMachine(pageImage(1), pageImage(2));

test("π, sin², cos², atan and log2 hold to 300 bits", () => {
  const tolerance = 1n << BigInt(FRACTION - 300);
  const near = (a: bigint, b: bigint) => expect(a - b < tolerance && b - a < tolerance).toBe(true);
  // The first 192 bits of π's fraction, as they are known from elsewhere.
  expect((pi() - 3n * ONE) >> BigInt(FRACTION - 192)).toBe(0x243f6a8885a308d313198a2e03707344a4093822299f31d0n);
  for (let i = 1n; i <= 25n; i++) {
    const x = (ONE * i) / 32n;
    const [sine, cosine] = sineCosine(x);
    near((sine * sine + cosine * cosine) >> BigInt(FRACTION), ONE);
    if (sine < cosine) near(arcTangent((sine << BigInt(FRACTION)) / cosine), x);
    // log2(a) + log2(b) = log2(ab)
    const y = x / 4n;
    const product = x + y + ((x * y) >> BigInt(FRACTION));
    if (product <= ONE) near(log2OnePlus(x) + log2OnePlus(y), log2OnePlus(product));
  }
});

/** Executes `code` once with the given RAX, RBX at the data page. */
function step(machine: ConformanceMachine, code: number[], rax: bigint = 7n, offset: number = 0): number {
  const { vcpu } = machine;
  const bytes = new Uint8Array(16).fill(0xcc);
  bytes.set(code);
  vcpu.write(BigInt(LAYOUT.entry), bytes);
  vcpu.regs[0] = rax;
  vcpu.regs[2] = 0n;
  vcpu.regs[3] = BigInt(LAYOUT.data + offset);
  vcpu.rip = BigInt(LAYOUT.entry);
  const exit = vcpu.step();
  return exit.reason === EXIT.FAULT ? exit.vector : -1;
}

const SAVES = {
  xsave: [0x48, 0x0f, 0xae, 0x23],
  xsaveopt: [0x48, 0x0f, 0xae, 0x33],
  xsavec: [0x48, 0x0f, 0xc7, 0x23],
};
const XRSTOR = [0x48, 0x0f, 0xae, 0x2b];
const FXSAVE = [0x48, 0x0f, 0xae, 0x03];
const FXRSTOR = [0x48, 0x0f, 0xae, 0x0b];

/** A machine with XSAVE enabled and every part of the state filled. */
function filledMachine(): { machine: ConformanceMachine; state: () => Uint8Array } {
  const machine = newMachine();
  const { vcpu, engine } = machine;
  vcpu.cr4 = 0x40600n;
  vcpu.xcr0 = 7n;
  vcpu.write(BigInt(LAYOUT.data), new Uint8Array(1024));
  const { bytes, words } = engine.memory;
  for (let i = 0; i < 8; i++) for (let j = 0; j < 10; j++) bytes[STATE.st + i * 16 + j] = 1 + i * 10 + j;
  for (let i = 0; i < 512; i++) bytes[STATE.xmm + i] = 1 + (i % 255);
  words[STATE.fcw / 4] = 0x27f;
  words[STATE.fsw / 4] = 0x1800;
  words[STATE.ftw / 4] = 0xf8;
  words[STATE.mxcsr / 4] = 0x1fa0;
  const state = () => concat(bytes.slice(STATE.mxcsr, STATE.ftw + 4), bytes.slice(STATE.st, STATE.xmm + 512));
  return { machine, state };
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** Puts the unit and the vector registers back to their initial state, but for MXCSR. */
function forget(machine: ConformanceMachine): void {
  const { bytes, words } = machine.engine.memory;
  bytes.fill(0, STATE.st, STATE.xmm + 512);
  words[STATE.fcw / 4] = 0x37f;
  words[STATE.fsw / 4] = 0;
  words[STATE.ftw / 4] = 0;
  words[STATE.mxcsr / 4] = 0x1f80;
}

test.each(Object.entries(SAVES))("what %s saves, XRSTOR brings back", (_name, save) => {
  const { machine, state } = filledMachine();
  const before = state();
  expect(step(machine, save)).toBe(-1);
  forget(machine);
  expect(step(machine, XRSTOR)).toBe(-1);
  expect(state()).toEqual(before);
});

test("FXSAVE and FXRSTOR keep x87 and SSE state, and need 16-byte alignment", () => {
  const { machine } = filledMachine();
  const { bytes } = machine.engine.memory;
  const before = [bytes.slice(STATE.st, STATE.st + 128), bytes.slice(STATE.xmm, STATE.xmm + 16)];
  expect(step(machine, FXSAVE)).toBe(-1);
  forget(machine);
  expect(step(machine, FXRSTOR)).toBe(-1);
  expect([bytes.slice(STATE.st, STATE.st + 128), bytes.slice(STATE.xmm, STATE.xmm + 16)]).toEqual(before);
  expect(step(machine, FXSAVE, 0n, 8)).toBe(13);
});

test("XRSTOR puts components that the image lacks into their initial state", () => {
  const { machine } = filledMachine();
  expect(step(machine, XRSTOR)).toBe(-1);
  const { bytes, words } = machine.engine.memory;
  expect(words[STATE.fcw / 4]).toBe(0x37f);
  expect(bytes.slice(STATE.st, STATE.xmm + 512).every((byte) => byte === 0)).toBe(true);
});

test("XSAVE and XRSTOR refuse what the processor refuses", () => {
  const { machine } = filledMachine();
  const { vcpu } = machine;
  const image = (offset: number, byte: number) => {
    const header = new Uint8Array(576);
    header[offset] = byte;
    vcpu.write(BigInt(LAYOUT.data), header);
  };
  expect(step(machine, SAVES.xsave, 7n, 32)).toBe(13); // 64-byte alignment
  image(512, 8); // a component that XCR0 does not enable
  expect(step(machine, XRSTOR)).toBe(13);
  image(528, 1); // reserved bytes of the header
  expect(step(machine, XRSTOR)).toBe(13);
  image(26, 1); // reserved bits of MXCSR
  expect(step(machine, XRSTOR)).toBe(13);
  vcpu.cr4 = 0x600n;
  expect(step(machine, SAVES.xsave)).toBe(6);
});

test("an unmasked exception is reported by the next waiting instruction, not before", () => {
  const machine = newMachine();
  const { words } = machine.engine.memory;
  forget(machine);
  words[STATE.fcw / 4] = 0x37b; // ZE unmasked
  for (const code of [
    [0xd9, 0xe8],
    [0xd9, 0xee],
    [0xde, 0xf9],
  ])
    expect(step(machine, code)).toBe(-1); // 1 ÷ 0
  expect(step(machine, [0xdf, 0xe0])).toBe(-1); // fnstsw
  expect(machine.vcpu.regs[0]! & 0x8084n).toBe(0x8084n);
  expect(step(machine, [0x9b])).toBe(16);
  expect(step(machine, [0xd9, 0xe8])).toBe(16);
  expect(step(machine, [0xdb, 0xe2])).toBe(-1); // fnclex
  expect(step(machine, [0x9b])).toBe(-1);
});
