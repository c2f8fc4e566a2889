import { HYPERVISOR, layout } from "@paravirt/xen-abi";
import { beforeEach, describe, expect, test } from "vitest";
import { ARGUMENTS, at, FakeGuest, testHypervisor } from "../test/fake-guest.ts";

let guest: FakeGuest;
const HANDLER = at(4);

beforeEach(() => {
  guest = new FakeGuest(testHypervisor());
  const info = layout("trap_info", "x86_64");
  guest.put(new Uint8Array(256));
  for (const [index, vector] of [6, 13, 14].entries()) {
    info.write(guest.view(ARGUMENTS), index * info.size, { vector, cs: 0xe033, address: HANDLER });
  }
  expect(guest.call(HYPERVISOR.set_trap_table, at(ARGUMENTS))).toBe(0n);
});

/** Puts code at pfn 0 and has it fault there; answers whether it was emulated. */
function run(code: number[], vector = 13): boolean {
  guest.page(0).set(code);
  guest.cpu.rip = at(0);
  guest.fault(vector, vector === 6 ? undefined : 0);
  if (guest.cpu.rip === HANDLER) return false;
  expect(guest.cpu.rip).toBe(at(0, code.length));
  return true;
}

function registers(rax: bigint, rcx: bigint, rdx: bigint): void {
  guest.cpu.regs.set([rax, rcx, rdx], 0);
}

const RDMSR = [0x0f, 0x32];
const WRMSR = [0x0f, 0x30];

describe("privileged instructions in guest-kernel mode", () => {
  test("cli and sti do nothing where IOPL allows them, and #GP otherwise", () => {
    expect(run([0xfa])).toBe(false);
    guest.vcpu.iopl = 1;
    expect(run([0xfa])).toBe(true);
    expect(run([0xfb])).toBe(true);
    expect(guest.cpu.rflags & 0x200n).toBe(0x200n);
  });

  test("hlt, invlpg, lgdt, lidt, ltr, swapgs and rdpmc are the guest's #GP, as on Xen", () => {
    guest.vcpu.iopl = 1;
    for (const code of [
      [0xf4],
      [0x0f, 0x01, 0x38],
      [0x0f, 0x01, 0x10],
      [0x0f, 0x01, 0x18],
      [0x0f, 0x00, 0xd8],
      [0x0f, 0x01, 0xf8],
      [0x0f, 0x33],
    ]) {
      expect(run(code)).toBe(false);
    }
  });

  test("segment bases are read and written, KERNEL_GS_BASE being user space's", () => {
    registers(0x1000n, 0xc0000101n, 0xffff_ffffn);
    expect(run(WRMSR)).toBe(true);
    expect(guest.cpu.gsBase).toBe(0xffff_ffff_0000_1000n);
    registers(0n, 0xc0000101n, 0n);
    expect(run(RDMSR)).toBe(true);
    expect([guest.cpu.regs[0], guest.cpu.regs[2]]).toEqual([0x1000n, 0xffff_ffffn]);
    guest.vcpu.otherGsBase = 0x77n;
    registers(0n, 0xc0000102n, 0n);
    expect(run(RDMSR)).toBe(true);
    expect(guest.cpu.regs[0]).toBe(0x77n);
    registers(0n, 0xc0000101n, 0x0001_0000n);
    expect(run(WRMSR)).toBe(false);
  });

  test.each([
    ["EFER", 0xc0000080n, 0xd01n],
    ["APIC_BASE on VCPU 0", 0x1bn, 0xfee00900n],
    ["PAT, Xen's own", 0x277n, 0x0000_0501_0007_0406n],
    ["MCG_CAP", 0x179n, 2n],
    ["DE_CFG", 0xc0011029n, 2n],
    ["MC0_CTL", 0x400n, 0n],
    ["PERFCTR3", 0xc0010007n, 0n],
    ["microcode revision", 0x8bn, 0n],
  ])("rdmsr %s", (_name, msr, value) => {
    registers(0n, msr, 0n);
    expect(run(RDMSR)).toBe(true);
    expect((guest.cpu.regs[0] as bigint) | ((guest.cpu.regs[2] as bigint) << 32n)).toBe(value);
  });

  test("an unknown MSR is #GP, but 0 for a guest that has no #GP handler yet", () => {
    registers(0n, 0x12345n, 0n);
    expect(run(RDMSR)).toBe(false);
    guest.vcpu.trapAddress[13] = 0n;
    registers(9n, 0x12345n, 9n);
    expect(run(RDMSR)).toBe(true);
    expect([guest.cpu.regs[0], guest.cpu.regs[2]]).toEqual([0n, 0n]);
  });

  test("control registers: CR0 with TS only to change, CR3, CR4's own bits", () => {
    expect(run([0x0f, 0x20, 0xc0])).toBe(true);
    expect(guest.cpu.regs[0]).toBe(0x80050033n);
    registers(0x8005003bn, 0n, 0n);
    expect(run([0x0f, 0x22, 0xc0])).toBe(true);
    expect(guest.vcpu.cr0 & 8n).toBe(8n);
    expect(run([0x0f, 0x06])).toBe(true);
    expect(guest.vcpu.cr0 & 8n).toBe(0n);
    registers(0x33n, 0n, 0n);
    expect(run([0x0f, 0x22, 0xc0])).toBe(false);
    expect(run([0x0f, 0x20, 0xd9])).toBe(true);
    expect(guest.cpu.regs[1]).toBe(BigInt(guest.root) << 12n);
    registers(0xffn, 0n, 0n);
    expect(run([0x0f, 0x22, 0xe0])).toBe(true);
    expect(guest.vcpu.cr4).toBe(0x66cn);
  });

  test("wrmsr TSC_AUX gives the processor what rdtscp and rdpid answer", () => {
    registers(0x1234n, 0xc0000103n, 0n);
    expect(run([0x0f, 0x30])).toBe(true);
    expect(guest.cpu.tscAux).toBe(0x1234);
    registers(0n, 0xc0000103n, 1n);
    expect(run([0x0f, 0x30])).toBe(false);
  });

  test("in reads all ones, the PCI latch reads back, port 0x42 reads 0", () => {
    guest.vcpu.iopl = 1;
    registers(0x1122_3344_5566_7788n, 0n, 0x60n);
    expect(run([0xec])).toBe(true);
    expect(guest.cpu.regs[0]).toBe(0x1122_3344_5566_77ffn);
    registers(0x1122_3344_5566_7788n, 0n, 0x60n);
    expect(run([0x66, 0xed])).toBe(true);
    expect(guest.cpu.regs[0]).toBe(0x1122_3344_5566_ffffn);
    registers(0x80000000n, 0n, 0xcf8n);
    expect(run([0xef])).toBe(true);
    registers(0n, 0n, 0xcf8n);
    expect(run([0xed])).toBe(true);
    expect(guest.cpu.regs[0]).toBe(0x80000000n);
    registers(0xffn, 0n, 0n);
    expect(run([0xe4, 0x42])).toBe(true);
    expect(guest.cpu.regs[0]).toBe(0n);
  });

  test("rep insb fills memory, and faults on what isn't mapped", () => {
    guest.vcpu.iopl = 1;
    registers(0n, 5n, 0x60n);
    guest.cpu.regs[7] = at(20, 0xffe);
    expect(run([0xf3, 0x6c])).toBe(true);
    expect(guest.cpu.regs[7]).toBe(at(21, 3));
    expect(guest.cpu.regs[1]).toBe(0n);
    expect([...guest.page(21).subarray(0, 4)]).toEqual([255, 255, 255, 0]);
    guest.cpu.regs[1] = 5n;
    guest.cpu.regs[7] = at(64) - 2n;
    expect(run([0xf3, 0x6c])).toBe(false);
    // RCX in the frame: two of five elements were written.
    expect(guest.stack(1)[0]).toBe(3n);
  });

  test("user mode may use none of them", () => {
    guest.vcpu.iopl = 1;
    guest.hypervisor.paging.setUserRoot(guest.domain.memory, guest.vcpu.roots, guest.root);
    for (const code of [[0xfa], RDMSR, WRMSR, [0xec], [0x0f, 0x20, 0xc0], [0x0f, 0x06]]) {
      if (guest.vcpu.kernelMode) guest.vcpu.toggleMode();
      guest.vcpu.kernelSp = at(13);
      expect(run(code)).toBe(false);
    }
  });
});

describe("CPUID", () => {
  function cpuid(leaf: number, subleaf = 0): number[] {
    registers(BigInt(leaf), BigInt(subleaf), 0n);
    expect(run([0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2], 6)).toBe(true);
    return [0, 3, 1, 2].map((register) => Number(guest.cpu.regs[register]));
  }

  test("Xen's leaves say Xen 4.17 and what a PV guest may use", () => {
    expect(cpuid(0x40000000)).toEqual([0x40000005, 0x566e6558, 0x65584d4d, 0x4d4d566e]);
    expect(cpuid(0x40000001)).toEqual([0x00040011, 0, 0, 0]);
    expect(cpuid(0x40000002)).toEqual([1, 0x40000000, 1, 0]);
    expect(cpuid(0x40000003)).toEqual([2, 0, 1_000_000, 0]);
    expect(cpuid(0x40000004)).toEqual([0, 0, 0, 0]);
    expect(cpuid(0x40000005)[1]).toBe(23);
  });

  test("the base leaves are those recorded, with the features that were asked for", () => {
    expect(cpuid(0)).toEqual([0xd, 0x68747541, 0x444d4163, 0x69746e65]);
    const [eax, ebx, ecx, edx] = cpuid(1) as [number, number, number, number];
    expect(eax).toBe(0x60fb1);
    expect(ebx).toBe(0x00020800);
    expect(ecx >>> 31).toBe(1);
    // Nothing that Xen hides from PV guests: VME PSE SEP MTRR PGE PSE36.
    expect(edx & ((1 << 1) | (1 << 3) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 17))).toBe(0);
    expect((cpuid(0x80000001)[3] as number) & ((1 << 11) | (1 << 20) | (1 << 29))).toBe(
      ((1 << 11) | (1 << 20) | (1 << 29)) >>> 0,
    );
    expect(cpuid(0x12345678)).toEqual([0, 0, 0, 0]);
  });

  test("features are trimmed by the list that is passed in", () => {
    const trimmed = new FakeGuest(
      testHypervisor({ cpuid: { features: ["fpu", "lm", "hypervisor", "pclmul", "sha"] } }),
    );
    const out = new Uint32Array(4);
    trimmed.hypervisor.cpuid.answer(trimmed.vcpu, 1, 0, out);
    expect([out[3], out[2]]).toEqual([1, 0x80000002]);
    trimmed.hypervisor.cpuid.answer(trimmed.vcpu, 7, 0, out);
    expect(out[1]).toBe(1 << 29);
    expect(() => testHypervisor({ cpuid: { features: ["smep"] } })).toThrow('"smep"');
  });

  test("XSAVE is described as it is: sizes by XCR0, OSXSAVE by CR4, and early to the kernel's forced CPUID", () => {
    const features = ["fpu", "lm", "xsave", "xsaveopt", "xsavec", "xgetbv1"];
    const other = new FakeGuest(testHypervisor({ cpuid: { features } }));
    const { vcpu } = other;
    const policy = other.hypervisor.cpuid;
    const out = new Uint32Array(4);
    const leaf = (number: number, subleaf: number, isForced = false) => {
      policy.answer(vcpu, number, subleaf, out, isForced);
      return [...out];
    };
    const OSXSAVE = 1 << 27;
    expect(leaf(0xd, 0)).toEqual([3, 576, 576, 0]);
    expect(leaf(0xd, 1)).toEqual([7, 576, 0, 0]);
    expect(leaf(0xd, 2)).toEqual([0, 0, 0, 0]);
    expect((leaf(1, 0)[2] as number) & OSXSAVE).toBe(0);
    // Linux decides about XSAVE before it sets CR4.OSXSAVE, by what Xen shows it here.
    expect((leaf(1, 0, true)[2] as number) & OSXSAVE).toBe(OSXSAVE);
    expect([policy.xcr0, policy.guestCr4 & 0x40000n]).toEqual([3n, 0x40000n]);
    vcpu.cr4 |= 0x40000n;
    expect((leaf(1, 0)[2] as number) & OSXSAVE).toBe(OSXSAVE);
    // With AVX the upper halves of 16 registers follow, once they are enabled.
    const wide = new FakeGuest(testHypervisor({ cpuid: { features: [...features, "avx", "avx2", "fma", "f16c"] } }));
    const wideLeaf = (number: number, subleaf: number) => {
      wide.hypervisor.cpuid.answer(wide.vcpu, number, subleaf, out);
      return [...out];
    };
    expect(wideLeaf(0xd, 0)).toEqual([7, 576, 832, 0]);
    wide.vcpu.cpu.xcr0 = 7n;
    expect(wideLeaf(0xd, 0)).toEqual([7, 832, 832, 0]);
    expect(wideLeaf(0xd, 2)).toEqual([256, 576, 0, 0]);
    expect((wideLeaf(1, 0)[2] as number) & 0x30001000).toBe(0x30001000);
    expect(wideLeaf(7, 0)[1]).toBe(1 << 5);
    // Without the feature there is none of it.
    guest.hypervisor.cpuid.answer(guest.vcpu, 0xd, 0, out);
    expect([...out]).toEqual([0, 0, 0, 0]);
    guest.hypervisor.cpuid.answer(guest.vcpu, 1, 0, out, true);
    expect((out[2] as number) & OSXSAVE).toBe(0);
  });

  test("another undefined instruction is the guest's #UD", () => {
    expect(run([0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0x0b], 6)).toBe(false);
  });
});
