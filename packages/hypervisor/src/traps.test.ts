import { EXIT } from "@paravirt/cpu";
import { CALLBACKTYPE, HYPERVISOR, layout, VMASST } from "@paravirt/xen-abi";
import { beforeEach, describe, expect, test } from "vitest";
import { ARGUMENTS, at, FakeGuest, STACK, testHypervisor } from "../test/fake-guest.ts";
import { VCPU_INFO } from "./abi.ts";
import { injectTrap, NO_ERROR_CODE } from "./traps.ts";

let guest: FakeGuest;
const USER_RIP = 0x401000n;
const USER_RSP = 0x7fff_f000n;

function trapTable(entries: { vector: number; flags: number; address: bigint }[]): void {
  const info = layout("trap_info", "x86_64");
  guest.put(new Uint8Array(4096));
  for (const [index, entry] of entries.entries())
    info.write(guest.view(ARGUMENTS), index * info.size, { ...entry, cs: 0xe033 });
  expect(guest.call(HYPERVISOR.set_trap_table, at(ARGUMENTS))).toBe(0n);
}

function callback(type: number, address: bigint, flags = 0): void {
  guest.put(new Uint8Array(64));
  layout("callback_register", "x86_64").write(guest.view(ARGUMENTS), 0, { type, flags, address });
  expect(guest.call(HYPERVISOR.callback_op, 0, at(ARGUMENTS))).toBe(0n);
}

/** Puts an iret frame on the stack and issues HYPERVISOR_iret. */
function iret(
  fields: Partial<Record<"rax" | "r11" | "rcx" | "flags" | "rip" | "cs" | "rflags" | "rsp" | "ss", bigint>>,
): void {
  const frame = layout("iret_context", "x86_64");
  frame.write(guest.view(STACK), 0, {
    rax: 0n,
    r11: 0n,
    rcx: 0n,
    flags: 0n,
    rip: at(0),
    cs: 0xe030n,
    rflags: 0x202n,
    rsp: at(STACK + 1),
    ss: 0xe02bn,
    ...fields,
  });
  guest.queueCall(HYPERVISOR.iret);
  const script = guest.cpu.scripts.pop();
  guest.cpu.scripts.push((cpu, budget) => {
    const exit = script?.(cpu, budget) ?? {};
    cpu.regs[4] = at(STACK);
    return exit;
  });
  guest.hypervisor.runVcpu(guest.vcpu, 100);
}

/** Gives the guest a user address space (its own kernel tables serve) and goes to it. */
function enterUser(): void {
  guest.hypervisor.paging.setUserRoot(guest.domain.memory, guest.vcpu.roots, guest.root);
  iret({ rip: USER_RIP, cs: 0xe033n, rsp: USER_RSP, rflags: 0x246n });
}

beforeEach(() => {
  guest = new FakeGuest(testHypervisor());
  guest.vcpu.upcallMasked = true;
});

describe("bounce frames", () => {
  test("a trap in kernel mode pushes RCX R11 RIP CS RFLAGS RSP SS on the current stack", () => {
    trapTable([{ vector: 3, flags: 3, address: at(2) }]);
    const { cpu } = guest;
    cpu.regs[1] = 0x11n;
    cpu.regs[11] = 0x22n;
    cpu.rip = at(0, 0x123);
    cpu.rflags = 0x50302n;
    cpu.regs[4] = at(STACK, 0x88);
    injectTrap(guest.vcpu, 3, NO_ERROR_CODE);
    // Aligned down to 16 first.
    expect(cpu.regs[4]).toBe(at(STACK, 0x80 - 56));
    // RPL 0 says kernel, bits 32 to 39 that events were masked, and so IF is clear.
    expect(guest.stack(7)).toEqual([0x11n, 0x22n, at(0, 0x123), 0x1_0000_e030n, 0x50102n, at(STACK, 0x88), 0xe02bn]);
    expect(cpu.rip).toBe(at(2));
    // TF, RF, AC are cleared; the real IF stays.
    expect(cpu.rflags).toBe(0x202n);
    expect([cpu.selectors[1], cpu.selectors[2]]).toEqual([0xe033, 0xe02b]);
  });

  test("flag bit 2 of a trap masks events, an error code comes before RIP", () => {
    trapTable([{ vector: 13, flags: 4, address: at(2) }]);
    guest.vcpu.upcallMasked = false;
    guest.cpu.rip = at(0);
    guest.cpu.regs[4] = at(STACK, 0x100);
    guest.fault(13, 0x18);
    expect(guest.stack(4)[2]).toBe(0x18n);
    // Not masked at entry: the byte is 0 and IF is set.
    expect(guest.stack(8).slice(3, 6)).toEqual([at(0), 0xe030n, 0x202n]);
    expect(guest.vcpu.upcallMasked).toBe(true);
  });

  test("from user mode the kernel's stack, page tables and GS base are used, and CS keeps RPL 3", () => {
    trapTable([{ vector: 6, flags: 0, address: at(2) }]);
    guest.call(HYPERVISOR.stack_switch, 0xe02b, at(STACK + 2));
    guest.call(HYPERVISOR.set_segment_base, 2, 0x1111n);
    guest.call(HYPERVISOR.set_segment_base, 1, 0x2222n);
    enterUser();
    expect(guest.vcpu.kernelMode).toBe(false);
    expect([guest.cpu.rip, guest.cpu.regs[4], guest.cpu.gsBase]).toEqual([USER_RIP, USER_RSP, 0x2222n]);
    guest.fault(6, undefined);
    expect(guest.vcpu.kernelMode).toBe(true);
    expect(guest.cpu.gsBase).toBe(0x1111n);
    expect(guest.cpu.regs[4]).toBe(at(STACK + 2) - 56n);
    expect(guest.stack(7).slice(2)).toEqual([USER_RIP, 0xe033n, 0x246n, USER_RSP, 0xe02bn]);
  });

  test("a frame may cross a page", () => {
    trapTable([{ vector: 6, flags: 0, address: at(2) }]);
    guest.cpu.regs[4] = at(STACK, 0x10);
    guest.fault(6, undefined);
    expect(guest.cpu.regs[4]).toBe(at(STACK, 0x10) - 56n);
    expect(guest.stack(7)[6]).toBe(0xe02bn);
  });

  test("no handler, a stack that isn't mapped, and one in Xen's range crash the domain and nobody else", () => {
    const other = new FakeGuest(guest.hypervisor);
    guest.fault(6, undefined);
    expect(guest.domain.shutdown?.reason).toBe(3);
    expect(guest.domain.shutdown?.crash?.reason).toContain("no handler");
    for (const stack of [0x1000n, 0xffff_8000_0000_1000n]) {
      const bad = new FakeGuest(guest.hypervisor);
      guest = bad;
      trapTable([{ vector: 6, flags: 0, address: at(2) }]);
      bad.cpu.regs[4] = stack;
      bad.fault(6, undefined);
      expect(bad.domain.shutdown?.crash?.reason).toContain("stack");
    }
    expect(other.domain.running).toBe(true);
  });
});

describe("page faults", () => {
  test("CR2 goes to vcpu_info, and U is clear in kernel mode", () => {
    trapTable([{ vector: 14, flags: 4, address: at(2) }]);
    guest.fault(14, 6, 0xdead_b000n);
    expect(guest.hypervisor.memory.view.getBigUint64(guest.vcpu.infoAt + VCPU_INFO.cr2, true)).toBe(0xdead_b000n);
    expect(guest.stack(3)[2]).toBe(2n);
  });

  test("U is set in user mode", () => {
    trapTable([{ vector: 14, flags: 4, address: at(2) }]);
    guest.call(HYPERVISOR.stack_switch, 0xe02b, at(STACK + 2));
    enterUser();
    guest.fault(14, 6, 0xdead_b000n);
    expect(guest.stack(3)[2]).toBe(6n);
  });
});

describe("page-table writes (ptwr)", () => {
  const TABLE_PFN = 50;
  /** Maps the guest's own L1 table read-only, as Linux sees its tables. */
  function mapTable(): bigint {
    trapTable([{ vector: 14, flags: 4, address: at(2) }]);
    guest.domain.vmAssist = 1 << VMASST.writable_pagetables;
    const value = (BigInt(guest.l1) << 12n) | 0x61n;
    expect(guest.call(HYPERVISOR.update_va_mapping, at(TABLE_PFN), value | 4n, 0)).toBe(0n);
    return at(TABLE_PFN, 40 * 8);
  }

  test("a write of a valid entry takes effect, and the instruction is done", () => {
    const entry = mapTable();
    guest.cpu.overlaid = (page) => {
      new DataView(page.buffer, page.byteOffset).setBigUint64(
        40 * 8,
        (BigInt(guest.frames[41] as number) << 12n) | 0x65n,
        true,
      );
      guest.cpu.rip += 4n;
      return { reason: EXIT.BUDGET };
    };
    const rip = guest.cpu.rip;
    guest.fault(14, 7, entry);
    expect(guest.cpu.rip).toBe(rip + 4n);
    expect(guest.cpu.translate(at(40), false)).toBe((guest.frames[41] as number) * 4096);
    expect(guest.cpu.translate(at(40), true)).toBe(0);
  });

  test("a refused entry is the guest's page fault, with its registers as they were", () => {
    const entry = mapTable();
    guest.cpu.regs[3] = 7n;
    const rip = guest.cpu.rip;
    guest.cpu.overlaid = (page) => {
      // A writable mapping of the page table itself.
      new DataView(page.buffer, page.byteOffset).setBigUint64(40 * 8, (BigInt(guest.l1) << 12n) | 0x67n, true);
      guest.cpu.rip += 4n;
      guest.cpu.regs[3] = 99n;
      return { reason: EXIT.BUDGET };
    };
    guest.fault(14, 7, entry);
    expect(guest.cpu.rip).toBe(at(2));
    expect(guest.cpu.regs[3]).toBe(7n);
    expect(guest.stack(4).slice(2)).toEqual([3n, rip]);
    expect(guest.cpu.translate(at(40), false)).toBe((guest.frames[40] as number) * 4096);
  });

  test("without the assist, in user mode, and on a page that is no table, the guest gets its fault", () => {
    const entry = mapTable();
    guest.cpu.overlaid = () => {
      throw new Error("must not be stepped");
    };
    guest.domain.vmAssist = 0;
    guest.fault(14, 7, entry);
    expect(guest.cpu.rip).toBe(at(2));
    guest.domain.vmAssist = 4;
    guest.fault(14, 7, at(20));
    expect(guest.domain.running).toBe(true);
  });
});

describe("iret", () => {
  test("restores all registers of the frame and the event mask", () => {
    iret({ rax: 1n, rcx: 2n, r11: 3n, rip: at(0, 8), rflags: 0x3097n, rsp: at(STACK, 64) });
    const { cpu } = guest;
    expect([cpu.regs[0], cpu.regs[1], cpu.regs[11], cpu.regs[4], cpu.rip]).toEqual([
      1n,
      2n,
      3n,
      at(STACK, 64),
      at(0, 8),
    ]);
    // IOPL goes, IF is always on, and the guest's own IF is its event mask.
    expect(cpu.rflags).toBe(0x297n);
    expect(guest.vcpu.upcallMasked).toBe(true);
    iret({ rflags: 0x202n });
    expect(guest.vcpu.upcallMasked).toBe(false);
  });

  test("with VGCF_in_syscall RCX and R11 are what SYSRET leaves", () => {
    iret({ rcx: 2n, r11: 3n, flags: 0x100n, rip: at(0, 8), rflags: 0x202n });
    expect([guest.cpu.regs[1], guest.cpu.regs[11]]).toEqual([at(0, 8), 0x202n]);
  });

  test("to user mode without user page tables crashes the domain", () => {
    iret({ cs: 0xe033n, rip: USER_RIP });
    expect(guest.domain.shutdown?.crash?.reason).toContain("user page tables");
  });

  test("a bad selector or address calls the failsafe callback with the segments in the frame", () => {
    for (const bad of [
      { cs: 0x1230n, rip: at(0, 0x10) },
      { cs: 0xe030n, rip: 0x0001_0000_0000_0000n },
      { cs: 0xe030n, ss: 0x1230n },
    ]) {
      guest = new FakeGuest(guest.hypervisor);
      guest.vcpu.upcallMasked = true;
      callback(CALLBACKTYPE.failsafe, at(6), 1);
      guest.cpu.selectors[3] = 0x2b;
      iret({ rsp: at(STACK + 2), rflags: 2n, ...bad });
      expect(guest.cpu.rip).toBe(at(6));
      const frame = guest.stack(11);
      expect(frame.slice(2, 6)).toEqual([0x2bn, 0n, 0n, 0n]);
      expect(frame[9]).toBe(at(STACK + 2));
    }
  });

  test("a frame that cannot be read crashes the domain", () => {
    guest.cpu.scripts.push((cpu) => {
      cpu.regs[0] = BigInt(HYPERVISOR.iret);
      cpu.regs[4] = 0x1000n;
      return { reason: EXIT.SYSCALL };
    });
    guest.hypervisor.runVcpu(guest.vcpu, 10);
    expect(guest.domain.shutdown?.crash?.reason).toContain("iret frame");
  });
});

describe("syscall and int n", () => {
  test("syscall in user mode enters the registered callback, DF cleared", () => {
    callback(CALLBACKTYPE.syscall, at(7), 1);
    guest.call(HYPERVISOR.stack_switch, 0xe02b, at(STACK + 2));
    enterUser();
    guest.vcpu.upcallMasked = false;
    guest.cpu.rflags = 0x602n;
    guest.cpu.scripts.push((cpu) => {
      cpu.rip += 2n;
      return { reason: EXIT.SYSCALL };
    });
    guest.hypervisor.runVcpu(guest.vcpu, 10);
    expect(guest.cpu.rip).toBe(at(7));
    expect(guest.stack(7)).toEqual([USER_RIP + 2n, 0x602n, USER_RIP + 2n, 0xe033n, 0x602n, USER_RSP, 0xe02bn]);
    expect(guest.cpu.rflags & 0x400n).toBe(0n);
    expect(guest.vcpu.upcallMasked).toBe(true);
  });

  test("int n needs a gate whose DPL allows it", () => {
    trapTable([
      { vector: 0x80, flags: 3, address: at(3) },
      { vector: 13, flags: 0, address: at(4) },
    ]);
    const interrupt = (vector: number): void => {
      guest.cpu.scripts.push(() => ({ reason: EXIT.INTERRUPT, vector, length: 2 }));
      guest.hypervisor.runVcpu(guest.vcpu, 10);
    };
    const rip = guest.cpu.rip;
    interrupt(0x80);
    expect(guest.cpu.rip).toBe(at(3));
    expect(guest.stack(3)[2]).toBe(rip + 2n);
    // Vector 0x40 has no gate, so DPL 0: #GP that names it, RIP at the instruction.
    interrupt(0x40);
    expect(guest.cpu.rip).toBe(at(4));
    expect(guest.stack(4).slice(2)).toEqual([0x202n, at(3)]);
  });
});

describe("events on the way back to the guest", () => {
  test("a pending event enters the callback once, with events masked", () => {
    callback(CALLBACKTYPE.event, at(5));
    guest.vcpu.markEventsPending();
    guest.hypervisor.runVcpu(guest.vcpu, 10);
    expect(guest.cpu.rip).not.toBe(at(5));
    guest.vcpu.upcallMasked = false;
    guest.hypervisor.runVcpu(guest.vcpu, 10);
    expect(guest.cpu.rip).toBe(at(5));
    expect(guest.vcpu.upcallMasked).toBe(true);
    const stack = guest.cpu.regs[4];
    guest.hypervisor.runVcpu(guest.vcpu, 10);
    expect(guest.cpu.regs[4]).toBe(stack);
  });

  test("an NMI comes first, and not again before the next iret", () => {
    trapTable([{ vector: 2, flags: 0, address: at(9) }]);
    guest.call(HYPERVISOR.vcpu_op, 11, 0, 0);
    expect(guest.cpu.rip).toBe(at(9));
    guest.call(HYPERVISOR.vcpu_op, 11, 0, 0);
    expect(guest.vcpu.nmiPending).toBe(true);
    iret({ rip: at(0, 64) });
    expect(guest.vcpu.nmiPending).toBe(false);
    expect(guest.cpu.rip).toBe(at(9));
  });

  test("#NM clears TS before the guest's handler runs", () => {
    trapTable([{ vector: 7, flags: 0, address: at(9) }]);
    guest.call(HYPERVISOR.fpu_taskswitch, 1);
    expect(guest.cpu.cr0 & 8n).toBe(8n);
    guest.fault(7, undefined);
    expect(guest.cpu.cr0 & 8n).toBe(0n);
    expect(guest.cpu.rip).toBe(at(9));
  });
});
