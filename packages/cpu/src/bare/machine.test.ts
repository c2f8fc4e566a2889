import { assemble } from "@paravirt/x86";
import { describe, expect, test } from "vitest";
import { type BareMachineOptions, createBareMachine } from "./machine.ts";

const CODE = 0x400000n;

function machineWith(source: string, options: BareMachineOptions = {}) {
  const { bytes, symbols } = assemble(source, { address: CODE, mode: options.mode ?? 64 });
  const machine = createBareMachine({ memoryBytes: 1 << 20, ...options });
  machine.map(CODE, bytes.length, { writable: false });
  machine.write(CODE, bytes);
  machine.vcpu.rip = CODE;
  return { machine, symbols };
}

describe("functions", () => {
  test("arguments arrive in registers and on the stack, the result comes back", () => {
    const { machine } = machineWith("lea rax, [rdi+rsi*2]\nadd rax, [rsp+8]\nadd rax, [rsp+16]\nret");
    expect(machine.call(CODE, [1, 20n, 0, 0, 0, 0, 300, 4000])).toEqual({ reason: "return", value: 4341n });
    expect(machine.call(CODE, [-1, 0, 0, 0, 0, 0, 0, 0])).toEqual({ reason: "return", value: 2n ** 64n - 1n });
  });

  test("32-bit functions take all arguments from the stack", () => {
    const { machine } = machineWith("mov eax, [esp+4]\nsub eax, [esp+8]\nret", { mode: 32 });
    expect(machine.call(CODE, [1, 2])).toEqual({ reason: "return", value: 0xffffffffn });
  });

  test("an endless function stops at the limit, and goes on from there", () => {
    const { machine } = machineWith("again: inc rax\njmp again");
    expect(machine.call(CODE, [], 1000)).toEqual({ reason: "limit" });
    expect(machine.vcpu.instructions).toBeLessThan(1100);
    expect(machine.run(1000)).toEqual({ reason: "limit" });
  });
});

describe("ports", () => {
  test("IN and OUT reach the callbacks at each size, and AL leaves the rest of RAX alone", () => {
    const seen: unknown[] = [];
    const ports = {
      read: (port: number, size: number) => {
        seen.push(["in", port, size]);
        return 0x11223344;
      },
      write: (port: number, size: number, value: number) => {
        seen.push(["out", port, size, value]);
      },
    };
    const { machine } = machineWith(
      "mov rax, -1\nmov edx, 0x3f8\nin al, 0x60\nout dx, ax\nin eax, dx\nout 0x80, eax\nhlt",
      { ports },
    );
    expect(machine.run()).toEqual({ reason: "halt" });
    expect(seen).toEqual([
      ["in", 0x60, 1],
      ["out", 0x3f8, 2, 0xff44],
      ["in", 0x3f8, 4],
      ["out", 0x80, 4, 0x11223344],
    ]);
    expect(machine.vcpu.regs[0]).toBe(0x11223344n);
  });

  test("repeated string forms move memory, and start again where a page was missing", () => {
    let next = 0;
    const written: number[] = [];
    const missing: bigint[] = [];
    const { machine } = machineWith(
      "mov edx, 5\nmov edi, 0x500ffe\nmov ecx, 3\nrep insw\nmov esi, 0x500ffe\nmov ecx, 6\nrep outsb\nhlt",
      {
        ports: { read: () => ++next, write: (_port, _size, value) => void written.push(value) },
        onFault: (fault, self) => {
          missing.push(fault.address);
          expect(fault.errorCode).toBe(6);
          self.map(fault.address, 1);
          return "resume";
        },
      },
    );
    expect(machine.run()).toEqual({ reason: "halt" });
    expect(missing).toEqual([0x500ffen, 0x501000n]);
    expect(written).toEqual([1, 0, 2, 0, 3, 0]);
  });

  test("without callbacks they are faults", () => {
    const { machine } = machineWith("in al, dx");
    expect(machine.run()).toEqual({ reason: "fault", fault: { vector: 13, errorCode: 0, address: 0n, rip: CODE } });
  });
});

describe("faults and pages", () => {
  test("a fault is resumed after its cause is gone, skipped, or stops the machine", () => {
    const vectors: number[] = [];
    const { machine } = machineWith("mov dword ptr [0x600000], 7\nud2\nxor ecx, ecx\ndiv ecx\nhlt", {
      onFault: (fault, self) => {
        vectors.push(fault.vector);
        if (fault.vector === 14) {
          self.map(fault.address, 4);
          return "resume";
        }
        return fault.vector === 6 ? "skip" : "stop";
      },
    });
    expect(machine.run()).toMatchObject({ reason: "fault", fault: { vector: 0 } });
    expect(vectors).toEqual([14, 6, 0]);
    expect(machine.read(0x600000n, 4)).toEqual(Uint8Array.of(7, 0, 0, 0));
  });

  test("rights hold, and change", () => {
    const { machine } = machineWith("mov [rdi], rdi\nhlt");
    machine.map(0x600000n, 4096, { writable: false });
    machine.vcpu.regs[7] = 0x600008n;
    expect(machine.run()).toMatchObject({ reason: "fault", fault: { vector: 14, errorCode: 7, address: 0x600008n } });
    machine.map(0x600000n, 4096, { executable: false });
    expect(machine.run()).toEqual({ reason: "halt" });
    machine.vcpu.rip = 0x600000n;
    expect(machine.run()).toMatchObject({ reason: "fault", fault: { vector: 14, errorCode: 21 } });
    machine.unmap(0x600000n, 4096);
    expect(machine.run()).toMatchObject({ reason: "fault", fault: { vector: 14, errorCode: 20 } });
  });

  test("pages that are taken away are used again", () => {
    const { machine } = machineWith("hlt");
    for (let i = 0; i < 2000; i++) {
      machine.map(0x600000n, 65536);
      machine.unmap(0x600000n, 65536);
    }
    expect(() => machine.map(0n, 2 << 20)).toThrow(/frames of the machine are in use/);
    expect(() => machine.map(1n << 47n, 1)).toThrow(/2\^47/);
    expect(() => machine.read(0x700000n, 1)).toThrow(/nothing is mapped at 0x700000/);
  });
});

test("interrupts and system calls go to their callbacks, and stop without", () => {
  const { machine } = machineWith("int 0x21\nsyscall\nint3", {
    onInterrupt: (vector, self) => {
      self.vcpu.regs[3] = BigInt(vector);
      return vector === 3 ? "stop" : "resume";
    },
  });
  expect(machine.run()).toEqual({ reason: "syscall" });
  expect(machine.vcpu.regs[3]).toBe(0x21n);
  expect(machine.run()).toEqual({ reason: "interrupt", vector: 3 });
});

test("a callback stops the machine", () => {
  const { machine } = machineWith("again: out 1, al\ninc al\njmp again", {
    ports: { read: () => 0, write: (_port, _size, value) => value === 9 && machine.stop() },
  });
  expect(machine.run()).toEqual({ reason: "stopped" });
  expect(machine.vcpu.regs[0]).toBe(9n);
});
