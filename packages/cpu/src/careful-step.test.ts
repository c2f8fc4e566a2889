import { assemble } from "@paravirt/x86";
import { expect, test } from "vitest";
import { LAYOUT, pageImage } from "../conformance/cases.ts";
import { ConformanceMachine } from "../conformance/machine.ts";
import { EXIT } from "./vcpu.ts";

const DATA = BigInt(LAYOUT.data);
const ENTRY = BigInt(LAYOUT.entry);

const machine = new ConformanceMachine(pageImage(1), pageImage(2));

/** The machine, reset, with `lines` at the entry, RBX at the data page, RSP in the stack page. */
function machineWith(lines: string) {
  const { engine, vcpu } = machine;
  const { bytes, labels } = assembled(lines);
  vcpu.setDebugRegister(7, 0n);
  vcpu.write(DATA, pageImage(1));
  vcpu.regs.fill(0n);
  vcpu.rflags = 2n;
  expect(vcpu.write(ENTRY, bytes)).toBe(true);
  vcpu.rip = ENTRY;
  vcpu.regs[3] = DATA;
  vcpu.regs[4] = BigInt(LAYOUT.stack + 0x800);
  return { engine, vcpu, labels };
}

/** Machine code, and the address of each line. */
function assembled(text: string): { bytes: Uint8Array; labels: bigint[] } {
  const labels: bigint[] = [];
  const lines = text.split("; ");
  let at = ENTRY;
  for (const [index] of lines.entries()) {
    labels.push(at);
    at = ENTRY + BigInt(assemble(lines.slice(0, index + 1).join("\n"), { address: ENTRY }).bytes.length);
  }
  return { bytes: assemble(lines.join("\n"), { address: ENTRY }).bytes, labels: [...labels, at] };
}

/** Runs until something that is not a slice's end. */
function go({ vcpu }: ReturnType<typeof machineWith>) {
  let exit = vcpu.run(1000);
  for (let turns = 0; exit.reason === EXIT.BUDGET && turns < 1000; turns++) exit = vcpu.run(1000);
  return { reason: exit.reason, vector: exit.vector, status: exit.debugStatus, rip: vcpu.rip };
}

test("POPF that sets TF traps after the next instruction, then after each", () => {
  const machine = machineWith("push 0x302; popfq; nop; mov eax, 1; int3");
  const { vcpu, labels } = machine;
  expect(go(machine)).toEqual({ reason: EXIT.FAULT, vector: 1, status: 0x4000, rip: labels[3] });
  expect(go(machine)).toEqual({ reason: EXIT.FAULT, vector: 1, status: 0x4000, rip: labels[4] });
  expect(vcpu.regs[0]).toBe(1n);
  // POPF clears it: it is the last that traps.
  vcpu.rip = ENTRY;
  vcpu.write(ENTRY, assembled("push 0x202; popfq; nop; int3").bytes);
  expect(go(machine).status).toBe(0x4000);
  expect(go(machine).status).toBe(0x4000);
  expect(go(machine)).toMatchObject({ reason: EXIT.INTERRUPT, vector: 3 });
});

test("with TF a repeated string instruction traps after each repetition, RIP at it until the last", () => {
  const machine = machineWith("lea rdi, [rbx+16]; mov ecx, 3; rep stosb; int3");
  const { vcpu, labels } = machine;
  expect(vcpu.step().reason).toBe(EXIT.BUDGET);
  expect(vcpu.step().reason).toBe(EXIT.BUDGET);
  vcpu.rflags = 0x102n;
  const seen: unknown[] = [];
  for (let i = 0; i < 3; i++) seen.push([go(machine).rip, vcpu.regs[1]]);
  expect(seen).toEqual([
    [labels[2], 2n],
    [labels[2], 1n],
    [labels[3], 0n],
  ]);
  // Compares stop early.
  vcpu.write(ENTRY, assembled("repne scasb; int3").bytes);
  vcpu.write(DATA, Uint8Array.from([5, 7, 9]));
  vcpu.regs[0] = 7n;
  vcpu.regs[1] = 9n;
  vcpu.regs[7] = DATA;
  vcpu.rip = ENTRY;
  expect([go(machine).rip, go(machine).rip, vcpu.regs[1]]).toEqual([ENTRY, ENTRY + 2n, 7n]);
});

test("MOV SS holds the trap back until the next instruction is done", () => {
  const machine = machineWith("mov ss, eax; nop; int3");
  const flat = 0x00cff3000000ffffn;
  Object.assign(machine.engine.ports, { readDescriptor: () => flat });
  machine.vcpu.rflags = 0x102n;
  machine.vcpu.regs[0] = 0x2bn;
  expect(go(machine)).toEqual({ reason: EXIT.FAULT, vector: 1, status: 0x4000, rip: machine.labels[2] });
});

test("a breakpoint on execution faults before the instruction, once RF is set it doesn't", () => {
  const machine = machineWith("mov eax, 1; mov ecx, 2; int3");
  const { vcpu, labels } = machine;
  vcpu.setDebugRegister(0, labels[1]!);
  vcpu.setDebugRegister(7, 1n);
  const hit = { reason: EXIT.FAULT, vector: 1, status: 1, rip: labels[1] };
  expect(go(machine)).toEqual(hit);
  expect([vcpu.regs[0], vcpu.regs[1]]).toEqual([1n, 0n]);
  expect(go(machine)).toEqual(hit);
  vcpu.rflags |= 0x10000n;
  expect(go(machine)).toMatchObject({ reason: EXIT.INTERRUPT, vector: 3 });
  expect([vcpu.regs[1], vcpu.rflags & 0x10000n]).toEqual([2n, 0n]);
});

test("data breakpoints trap after writes, or any access, that touch their bytes; other bytes and kinds don't", () => {
  const lines = "mov rax, [rbx+8]; mov [rbx+12], eax; mov byte ptr [rbx+16], 1; push qword ptr [rbx+8]; int3";
  const trapsAt = (address: bigint, control: bigint) => {
    const machine = machineWith(lines);
    machine.vcpu.setDebugRegister(2, address);
    machine.vcpu.setDebugRegister(7, control);
    const seen: number[] = [];
    for (let found = go(machine); found.reason === EXIT.FAULT; found = go(machine)) {
      expect([found.vector, found.status]).toEqual([1, 4]);
      seen.push(machine.labels.indexOf(found.rip) - 1);
    }
    return seen;
  };
  const control = (kind: bigint, length: bigint) => 0x10n | ((kind | (length << 2n)) << 24n);
  expect(trapsAt(DATA + 12n, control(3n, 3n))).toEqual([0, 1, 3]);
  expect(trapsAt(DATA + 12n, control(1n, 3n))).toEqual([1]);
  // Eight bytes, aligned down: bytes 8 to 15.
  expect(trapsAt(DATA + 15n, control(1n, 2n))).toEqual([1]);
  expect(trapsAt(DATA + 16n, control(1n, 0n))).toEqual([2]);
  expect(trapsAt(DATA + 17n, control(3n, 0n))).toEqual([]);
  expect(trapsAt(BigInt(LAYOUT.stack + 0x7f8), control(1n, 2n))).toEqual([3]);
  // Enabled by no bit, or watching ports.
  expect(trapsAt(DATA + 12n, control(3n, 3n) & ~0xffn)).toEqual([]);
  expect(trapsAt(DATA + 12n, control(2n, 3n))).toEqual([]);
});

test("a data breakpoint within a repeated string instruction traps after the repetition that touched it", () => {
  const machine = machineWith("lea rdi, [rbx+16]; mov ecx, 5; rep stosb; int3");
  machine.vcpu.setDebugRegister(1, DATA + 18n);
  machine.vcpu.setDebugRegister(7, 0x100004n);
  expect(go(machine)).toEqual({ reason: EXIT.FAULT, vector: 1, status: 2, rip: machine.labels[2] });
  expect(machine.vcpu.regs[1]).toBe(2n);
  expect(go(machine).reason).toBe(EXIT.INTERRUPT);
});

test("without an enabled breakpoint hot code is translated again, and other debug registers don't exist", () => {
  const machine = machineWith("mov ecx, 300000; again: dec ecx; jnz again; int3".replace("again: dec", "again:\ndec"));
  const { vcpu, engine } = machine;
  vcpu.setDebugRegister(0, ENTRY);
  vcpu.setDebugRegister(7, 1n);
  vcpu.setDebugRegister(7, 0n);
  expect([vcpu.debugRegister(0), vcpu.debugRegister(7)]).toEqual([ENTRY, 0n]);
  expect(go(machine).reason).toBe(EXIT.INTERRUPT);
  expect(engine.stats.blocksTranslated).toBeGreaterThan(0);
  expect(() => vcpu.setDebugRegister(6, 0n)).toThrow("debug register 6: 0 to 3 and 7");
});

test("AC faults misaligned accesses with vector 17 and error 0 where CR0.AM is set, stack included", () => {
  const machine = machineWith("push 0x40202; popfq; mov eax, [rbx+4]; mov eax, [rbx+2]; int3");
  const { vcpu, labels } = machine;
  const check = { reason: EXIT.FAULT, vector: 17, rip: labels[3] };
  expect(go(machine)).toMatchObject(check);
  vcpu.rflags = 0x202n;
  expect(go(machine).reason).toBe(EXIT.INTERRUPT);
  vcpu.rflags = 0x40202n;
  vcpu.rip = labels[3]!;
  vcpu.cr0 &= ~0x40000n;
  expect(go(machine).reason).toBe(EXIT.INTERRUPT);
  vcpu.cr0 |= 0x40000n;
  vcpu.regs[4] = BigInt(LAYOUT.stack + 0x804);
  vcpu.rip = ENTRY;
  expect(go(machine)).toMatchObject({ vector: 17, rip: ENTRY });
});
