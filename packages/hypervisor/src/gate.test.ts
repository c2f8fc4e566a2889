import { createEngine } from "@paravirt/cpu";
import { createTableBuilder } from "@paravirt/paging";
import { FLAT, HYPERVISOR } from "@paravirt/xen-abi";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testClock } from "../test/fake-guest.ts";
import { VCPU_INFO } from "./abi.ts";
import { Hypervisor, type VirtualCpu } from "./index.ts";

const KERNEL = 0xffff_ffff_8000_0000n;
const USER = 0x40_0000n;
const ENTRY = KERNEL + 0x40n;
const FRAME = KERNEL + 0x1800n;
const KERNEL_STACK = KERNEL + 0x1400n;
const USER_CS = 0x33;
const USER_SS = 0x2b;
const CODE_DESCRIPTOR = 0x00af_fb00_0000_ffffn;
const DATA_DESCRIPTOR = 0x00cf_f300_0000_ffffn;
const ROUNDS = 20;
const STATUS_AND_MORE = 0x44cd5;
const IF = 0x200;

const wide = (value: bigint): number[] =>
  Array.from({ length: 8 }, (_, i) => Number((BigInt.asUintN(64, value) >> BigInt(i * 8)) & 255n));
const SYSCALL = [0x0f, 0x05];
const IRET = [0xb8, HYPERVISOR.iret, 0, 0, 0, ...SYSCALL];
/** mov rsp, FRAME; mov eax, iret; syscall */
const TO_USER = [0x48, 0xbc, ...wide(FRAME), ...IRET];
/** add rbx, rcx; dec r15; jz +2; syscall; ud2 */
const USER_CODE = [0x48, 0x01, 0xcb, 0x49, 0xff, 0xcf, 0x74, 0x02, ...SYSCALL, 0x0f, 0x0b];

interface Case {
  readonly registers: readonly bigint[];
  readonly rflags: number;
  readonly flat: boolean;
  readonly stack: bigint;
  readonly masksEvents: boolean;
  readonly pending: boolean;
  readonly unmasked: boolean;
  readonly inSyscall: boolean;
}

const cases: fc.Arbitrary<Case> = fc.record({
  registers: fc.array(fc.bigInt(0n, (1n << 64n) - 1n), { minLength: 4, maxLength: 4 }),
  rflags: fc.integer({ min: 0, max: 0xffffff }).map((bits) => (bits & STATUS_AND_MORE) | 2),
  flat: fc.boolean(),
  // Some of them cross into the page of code, which can't be written.
  stack: fc.integer({ min: 0, max: 0x400 }).map((offset) => KERNEL_STACK - BigInt(offset)),
  masksEvents: fc.boolean(),
  pending: fc.boolean(),
  unmasked: fc.boolean(),
  inSyscall: fc.boolean(),
});

/** A guest with a kernel and a user space that go back and forth {@link ROUNDS} times, then end in #UD without a handler. */
function play(the: Case, gated: boolean) {
  const hypervisor = new Hypervisor({
    createEngine: (ports) => createEngine({ memoryBytes: 16 * 2 ** 20, ports }),
    clock: testClock(),
  });
  const { memory, paging } = hypervisor;
  const domain = hypervisor.createDomain({ maxPages: 64 });
  let pfn = 0;
  const frame = (): number => paging.populatePhysmap(domain.memory, 0, pfn++);
  const [kernelRoot, userRoot, code, data, user, gdt] = Array.from({ length: 6 }, frame) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const kernel = createTableBuilder({ memory, root: kernelRoot, allocateTable: frame });
  kernel.map(KERNEL, code, 0x65);
  kernel.map(KERNEL + 0x1000n, data, 0x67);
  createTableBuilder({ memory, root: userRoot, allocateTable: frame }).map(USER, user, 0x67);
  memory.bytes.set(IRET, code * 4096);
  memory.bytes.set(TO_USER, code * 4096 + 0x40);
  memory.bytes.set(USER_CODE, user * 4096);
  memory.quads[gdt * 512 + (USER_SS >> 3)] = DATA_DESCRIPTOR;
  memory.quads[gdt * 512 + (USER_CS >> 3)] = CODE_DESCRIPTOR;
  const [rax, r11, rcx, rsp] = the.registers as [bigint, bigint, bigint, bigint];
  const values = [
    rax,
    r11,
    rcx,
    the.inSyscall ? 0x100n : 0n,
    USER,
    BigInt(the.flat ? FLAT.KERNEL_CS : USER_CS),
    BigInt(the.rflags | (the.unmasked ? IF : 0)),
    rsp,
    BigInt(the.flat ? FLAT.KERNEL_SS : USER_SS),
  ];
  for (const [index, value] of values.entries()) memory.quads[data * 512 + 0x100 + index] = value;
  for (const root of [kernelRoot, userRoot]) expect(paging.pin(domain.memory, 4, root)).toBe(0);
  const vcpu = domain.vcpus[0] as VirtualCpu;
  vcpu.startPv({ entry: KERNEL, stack: FRAME, startInfo: 0n, root: kernelRoot });
  expect(paging.setUserRoot(domain.memory, vcpu.roots, userRoot)).toBe(0);
  expect(paging.getDescriptorPage(domain.memory, gdt)).toBe(0);
  vcpu.gdtFrames.push(gdt);
  vcpu.gdtEntries = 512;
  vcpu.kernelSp = the.stack;
  vcpu.syscall.address = ENTRY;
  vcpu.syscall.masksEvents = the.masksEvents;
  vcpu.otherGsBase = 0x1234n;
  vcpu.cpu.gsBase = 0x5678n;
  vcpu.cpu.regs[15] = BigInt(ROUNDS);
  vcpu.upcallMasked = true;
  // An event that is let through would come again and again.
  memory.bytes[vcpu.infoAt + VCPU_INFO.upcallPending] = the.pending && !the.unmasked ? 1 : 0;
  if (!gated) vcpu.cpu.armGate = () => {};
  domain.unpause();
  let reason = hypervisor.runVcpu(vcpu, 100_000);
  // The slice ends early where the guest leaves single step.
  for (let slice = 0; slice < 4 * ROUNDS && reason === "budget"; slice++) reason = hypervisor.runVcpu(vcpu, 100_000);
  const { cpu } = vcpu;
  return {
    exits: hypervisor.engine.stats.exits.syscall as number,
    end: {
      reason,
      crash: domain.shutdown?.crash?.reason,
      regs: [...cpu.regs],
      rip: cpu.rip,
      rflags: cpu.rflags,
      selectors: [...cpu.selectors],
      mode: cpu.mode,
      gsBase: cpu.gsBase,
      otherGsBase: vcpu.otherGsBase,
      kernelMode: vcpu.kernelMode,
      root: cpu.root,
      info: [...memory.bytes.subarray(vcpu.infoAt, vcpu.infoAt + 2)],
      data: memory.bytes.slice(data * 4096, data * 4096 + 4096).join(),
      calls: hypervisor.hypercallCounts(domain).iret?.calls,
    },
  };
}

describe("the gate", () => {
  test("leaves all as system calls and returns in JavaScript do", () => {
    fc.assert(
      fc.property(cases, (the) => {
        expect(play(the, true).end).toEqual(play(the, false).end);
      }),
      { numRuns: 15 },
    );
  });

  test.each([true, false])("is used for what is common; flat segments: %s", (flat) => {
    const the: Case = {
      registers: [1n, 2n, 3n, 4n],
      rflags: 2,
      flat,
      stack: KERNEL_STACK,
      masksEvents: true,
      pending: false,
      unmasked: true,
      inSyscall: false,
    };
    const slow = play(the, false);
    const fast = play(the, true);
    expect(fast.end).toEqual(slow.end);
    expect(slow.end.calls).toBe(ROUNDS);
    expect(slow.exits).toBe(2 * ROUNDS - 1);
    expect(fast.exits).toBeLessThan(4);
  });

  test("a descriptor that changes closes it to selectors known before", () => {
    const { gate } = ((): VirtualCpu => {
      const hypervisor = new Hypervisor({
        createEngine: (ports) => createEngine({ memoryBytes: 16 * 2 ** 20, ports }),
        clock: testClock(),
      });
      return hypervisor.createDomain({ maxPages: 4 }).vcpus[0] as VirtualCpu;
    })();
    gate.know(USER_CS, USER_SS);
    expect(gate.knownSelectors).toBe(USER_CS | (USER_SS << 16));
    gate.forget();
    expect(gate.knownSelectors).toBe(0);
    // The LDT can change without a hypercall.
    gate.know(0x37, USER_SS);
    expect(gate.knownSelectors).toBe(0);
  });
});
