import { assemble } from "@paravirt/x86";
import { expect, test } from "vitest";
import { LAYOUT, pageImage } from "../conformance/cases.ts";
import { ConformanceMachine } from "../conformance/machine.ts";
import { EXIT } from "./vcpu.ts";

const ENTRY = BigInt(LAYOUT.entry);
const machine = new ConformanceMachine(pageImage(1), pageImage(2));
const { engine, vcpu } = machine;
/** A segment over the data page: base, limit in bytes, type (2 writable data, 0 read-only, 6 expand-down). */
const segment = (limit: number, type: number, base: number = LAYOUT.data, pages = false) =>
  (BigInt((base >>> 24) & 255) << 56n) |
  (BigInt(pages ? 0xc0f0 : 0x40f0) << 40n) |
  (BigInt(type) << 40n) |
  (BigInt(base & 0xffffff) << 16n) |
  BigInt(limit);
let descriptor = 0n;
Object.assign(engine.ports, { readDescriptor: () => descriptor });

/** Loads segment register `name` with the descriptor in compatibility mode, executes `line`, tells how that ended. */
function outcome(name: string, loaded: bigint, line: string, change: () => void = () => {}): string {
  descriptor = loaded;
  vcpu.mode = 32;
  vcpu.regs.fill(0n);
  vcpu.rflags = 2n;
  vcpu.regs[4] = BigInt(LAYOUT.stack + 0x800);
  expect(vcpu.loadSegment(["es", "cs", "ss", "ds", "fs", "gs"].indexOf(name), 0x2b)).toBe(true);
  change();
  vcpu.write(ENTRY, assemble(`${line}\nint3`, { mode: 32, address: ENTRY }).bytes);
  vcpu.rip = ENTRY;
  let exit = vcpu.run(1000);
  while (exit.reason === EXIT.BUDGET) exit = vcpu.run(1000);
  // The next test begins with flat segments.
  descriptor = 0x00cff3000000ffffn;
  for (const number of [0, 2, 3]) vcpu.loadSegment(number, 0x2b);
  return exit.reason === EXIT.FAULT ? `${exit.vector} ${exit.errorCode}` : "done";
}

test("a segment's limit ends accesses with #GP(0), byte for byte, and its base is added", () => {
  const small = segment(0xfff, 2);
  expect(outcome("ds", small, "mov eax, [0xffc]")).toBe("done");
  expect(outcome("ds", small, "mov eax, [0xffd]")).toBe("13 0");
  expect(outcome("ds", small, "mov al, [0xfff]")).toBe("done");
  expect(outcome("ds", small, "mov al, [0x1000]")).toBe("13 0");
  expect(outcome("ds", small, "lea eax, [0x1000]")).toBe("done");
  vcpu.write(BigInt(LAYOUT.data + 0x10), Uint8Array.from([1, 2, 3, 4]));
  outcome("ds", small, "mov eax, [0x10]");
  expect(vcpu.regs[0]).toBe(0x04030201n);
});

test("read-only segments refuse writes, expand-down ones what lies below", () => {
  expect(outcome("ds", segment(0xfff, 0), "mov eax, [4]")).toBe("done");
  expect(outcome("ds", segment(0xfff, 0), "mov [4], eax")).toBe("13 0");
  expect(outcome("ds", segment(0x7ff, 6), "mov [0x800], eax")).toBe("done");
  expect(outcome("ds", segment(0x7ff, 6), "mov [0x7ff], eax")).toBe("13 0");
});

test("the stack's limit is #SS(0), for what instructions push by themselves too", () => {
  const stack = segment(LAYOUT.stack >> 12, 2, 0, true);
  const at = (top: bigint) => () => {
    vcpu.regs[4] = top;
  };
  expect(outcome("ss", stack, "push eax", at(BigInt(LAYOUT.stack + 0x1000)))).toBe("done");
  expect(outcome("ss", stack, "push eax", at(BigInt(LAYOUT.stack + 0x1001)))).toBe("12 0");
  expect(outcome("ss", stack, "pop eax", at(BigInt(LAYOUT.stack + 0xffd)))).toBe("12 0");
});

test("string instructions are checked repetition by repetition", () => {
  const destination = () => {
    vcpu.regs[7] = 0xff0n;
    vcpu.regs[1] = 64n;
  };
  expect(outcome("es", segment(0xfff, 2), "rep stosb", destination)).toBe("13 0");
  expect([vcpu.regs[7], vcpu.regs[1]]).toEqual([0x1000n, 48n]);
});

test("flat segments are no reason to look at each instruction", () => {
  expect(outcome("ds", 0x00cff3000000ffffn, "nop")).toBe("done");
  expect(vcpu.careful).toBe(false);
  vcpu.mode = 64;
});
