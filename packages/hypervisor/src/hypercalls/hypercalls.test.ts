import {
  DOMID,
  EVTCHNOP,
  HYPERVISOR,
  layout,
  PHYSDEVOP,
  VCPUOP,
  VMASST,
  VMASST_CMD,
  XENMEM,
  XENVER,
} from "@paravirt/xen-abi";
import { beforeEach, describe, expect, test } from "vitest";
import { ARGUMENTS, at, FakeGuest, PAGES, testHypervisor } from "../../test/fake-guest.ts";

let guest: FakeGuest;
beforeEach(() => {
  guest = new FakeGuest(testHypervisor());
});

describe("xen_version", () => {
  test("answers as Xen 4.17.7 recorded", () => {
    expect(guest.call(HYPERVISOR.xen_version, XENVER.version)).toBe(0x40011n);
    expect(guest.call(HYPERVISOR.xen_version, XENVER.extraversion, at(ARGUMENTS))).toBe(0n);
    expect(String.fromCharCode(...guest.page(ARGUMENTS).subarray(0, 3))).toBe(".7\0");
    guest.put(new Uint8Array(8));
    expect(guest.call(HYPERVISOR.xen_version, XENVER.get_features, at(ARGUMENTS))).toBe(0n);
    expect(guest.view(ARGUMENTS).getUint32(4, true)).toBe(0x220f0);
    expect(guest.call(HYPERVISOR.xen_version, XENVER.build_id, at(ARGUMENTS))).toBe(-1n);
    expect(guest.call(HYPERVISOR.xen_version, XENVER.pagesize, 0)).toBe(4096n);
    expect(guest.call(HYPERVISOR.xen_version, XENVER.pagesize, 1)).toBe(-22n);
    expect(guest.call(HYPERVISOR.xen_version, 77)).toBe(-38n);
  });
});

describe("the table", () => {
  test("an unknown number is answered -ENOSYS and counted", () => {
    expect(guest.call(63)).toBe(-38n);
    expect(guest.call((2n ** 40n) as never)).toBe(-38n);
    const report = guest.domain.statistics.report([]);
    expect(report["hypercall 63"]?.calls).toBe(1);
    expect(report.unknown?.calls).toBe(1);
  });

  test("what a domU may not do answers as Xen does", () => {
    guest.put(new Uint8Array(256));
    expect(guest.call(HYPERVISOR.console_io, 0, 2, guest.put([104, 105]))).toBe(-1n);
    expect(guest.call(HYPERVISOR.xenpmu_op, 4, at(ARGUMENTS))).toBe(-95n);
    expect(guest.call(HYPERVISOR.kexec_op, 0, 0)).toBe(-1n);
    guest.view(ARGUMENTS).setUint32(4, 0x03000000, true);
    expect(guest.call(HYPERVISOR.platform_op, at(ARGUMENTS))).toBe(-1n);
    expect(guest.call(HYPERVISOR.platform_op, 0)).toBe(-14n);
    guest.view(ARGUMENTS).setUint32(4, 0x99, true);
    expect(guest.call(HYPERVISOR.sysctl, at(ARGUMENTS))).toBe(-13n);
    guest.view(ARGUMENTS).setUint32(4, 0x15, true);
    guest.view(ARGUMENTS).setUint16(8, 77, true);
    expect(guest.call(HYPERVISOR.domctl, at(ARGUMENTS))).toBe(-3n);
  });
});

describe("memory_op", () => {
  test("the memory map is one entry of RAM as large as the reservation", () => {
    guest.put(new Uint8Array(64));
    const map = layout("xen_memory_map", "x86_64");
    map.write(guest.view(ARGUMENTS), 0, { nr_entries: 8, buffer: at(ARGUMENTS, 64) });
    expect(guest.call(HYPERVISOR.memory_op, XENMEM.memory_map, at(ARGUMENTS))).toBe(0n);
    expect(map.read(guest.view(ARGUMENTS), 0)).toEqual({ nr_entries: 1, buffer: at(ARGUMENTS, 64) });
    expect(layout("e820entry", "x86_64").read(guest.view(ARGUMENTS), 64)).toEqual({
      addr: 0n,
      size: BigInt((PAGES + 16) * 4096),
      type: 1,
    });
  });

  test("ballooning out and in keeps the account", () => {
    const owned = guest.domain.memory.ownedFrames;
    guest.put(new Uint8Array(64));
    const reservation = layout("xen_memory_reservation", "x86_64");
    // A page that the guest has unmapped, as the balloon driver does first.
    const pfn = 40;
    guest.hypervisor.paging.updateVaMapping(guest.domain.memory, guest.root, at(pfn), 0, 0, 0n, DOMID.SELF, () => 0);
    reservation.write(guest.view(ARGUMENTS), 0, {
      extent_start: at(ARGUMENTS, 64),
      nr_extents: 1n,
      domid: DOMID.SELF,
    });
    guest.view(ARGUMENTS).setBigUint64(64, BigInt(guest.frames[pfn] as number), true);
    expect(guest.call(HYPERVISOR.memory_op, XENMEM.decrease_reservation, at(ARGUMENTS))).toBe(1n);
    expect(guest.domain.memory.ownedFrames).toBe(owned - 1);
    guest.view(ARGUMENTS).setBigUint64(64, BigInt(pfn), true);
    expect(guest.call(HYPERVISOR.memory_op, XENMEM.populate_physmap, at(ARGUMENTS))).toBe(1n);
    const mfn = Number(guest.view(ARGUMENTS).getBigUint64(64, true));
    expect(guest.hypervisor.paging.machineToPhys(mfn)).toBe(pfn);
    expect(guest.domain.memory.ownedFrames).toBe(owned);
  });

  test("an argument that cannot be read counts as nothing done", () => {
    expect(guest.call(HYPERVISOR.memory_op, XENMEM.populate_physmap, 0x1000)).toBe(0n);
    expect(guest.call(HYPERVISOR.memory_op, XENMEM.memory_map, 0x1000)).toBe(-14n);
  });
});

describe("mmu_update and update_va_mapping", () => {
  test("counts what was done before the entry that is refused", () => {
    const bytes = new Uint8Array(48);
    const view = new DataView(bytes.buffer);
    const entry = (pfn: number): bigint => BigInt(guest.l1 * 4096 + pfn * 8);
    const value = (pfn: number): bigint => (BigInt(guest.frames[pfn] as number) << 12n) | 0x65n;
    view.setBigUint64(0, entry(30), true);
    view.setBigUint64(8, value(31), true);
    view.setBigUint64(16, entry(32), true);
    // Frame 1 is the engine's: nobody may map it.
    view.setBigUint64(24, 0x1067n, true);
    guest.put(bytes);
    expect(guest.call(HYPERVISOR.mmu_update, at(ARGUMENTS), 2, at(ARGUMENTS, 128), DOMID.SELF)).toBe(-16n);
    expect(guest.view(ARGUMENTS).getUint32(128, true)).toBe(1);
    expect(guest.cpu.translate(at(30), false)).toBe((guest.frames[31] as number) * 4096);
  });

  test("a long batch is continued until it is all done", () => {
    const pages = 20;
    for (let pfn = 16; pfn < 16 + pages; pfn++) {
      const view = guest.view(pfn);
      for (let i = 0; i < 256; i++) {
        // MMU_MACHPHYS_UPDATE of the guest's own frame.
        view.setBigUint64(i * 16, BigInt((guest.frames[60] as number) * 4096 + 1), true);
        view.setBigUint64(i * 16 + 8, BigInt(i), true);
      }
    }
    const rip = guest.cpu.rip;
    guest.queueCall(HYPERVISOR.mmu_update, at(16), pages * 256, at(ARGUMENTS), DOMID.SELF);
    // The processor issues the same instruction again where RIP says so.
    guest.cpu.scripts.push((cpu) => {
      expect(cpu.rip).toBe(rip);
      cpu.rip += 2n;
      return { reason: 3 };
    });
    guest.hypervisor.runVcpu(guest.vcpu, 1000);
    expect(guest.cpu.regs[0]).toBe(0n);
    expect(guest.view(ARGUMENTS).getUint32(0, true)).toBe(pages * 256);
  });

  test("update_va_mapping of a page table's own frame as writable is refused", () => {
    const value = (BigInt(guest.l1) << 12n) | 0x67n;
    expect(guest.call(HYPERVISOR.update_va_mapping, at(33), value, 0)).toBe(-16n);
    expect(guest.call(HYPERVISOR.update_va_mapping, at(33), value & ~2n, 0)).toBe(0n);
  });
});

describe("multicall", () => {
  test("carries out each entry and writes its result", () => {
    const entry = layout("multicall_entry", "x86_64");
    guest.put(new Uint8Array(256));
    const view = guest.view(ARGUMENTS);
    entry.write(view, 0, { op: BigInt(HYPERVISOR.xen_version), args: [0n, 0n] });
    entry.write(view, 64, { op: 61n, args: [0n] });
    entry.write(view, 128, { op: BigInt(HYPERVISOR.multicall), args: [at(ARGUMENTS), 1n] });
    expect(guest.call(HYPERVISOR.multicall, at(ARGUMENTS), 3)).toBe(0n);
    expect(BigInt.asIntN(64, entry.read(view, 0).result)).toBe(0x40011n);
    expect(BigInt.asIntN(64, entry.read(view, 64).result)).toBe(-38n);
    expect(BigInt.asIntN(64, entry.read(view, 128).result)).toBe(-22n);
    expect(guest.domain.statistics.report([])[`hypercall ${HYPERVISOR.xen_version}`]?.calls).toBe(1);
  });
});

describe("vcpu_op", () => {
  test("VCPUs that don't exist are -ENOENT, and only brought-up ones are up", () => {
    const smp = new FakeGuest(guest.hypervisor, { vcpus: 2 });
    expect(smp.call(HYPERVISOR.vcpu_op, VCPUOP.is_up, 0, 0)).toBe(1n);
    expect(smp.call(HYPERVISOR.vcpu_op, VCPUOP.is_up, 1, 0)).toBe(0n);
    expect(smp.call(HYPERVISOR.vcpu_op, VCPUOP.is_up, 2, 0)).toBe(-2n);
    expect(smp.call(HYPERVISOR.vcpu_op, VCPUOP.up, 1, 0)).toBe(-22n);
  });

  test("a second VCPU runs from the context it is given", () => {
    const woken: number[] = [];
    const hypervisor = testHypervisor({ scheduler: { wake: (vcpu) => woken.push(vcpu.id), sleep() {} } });
    const smp = new FakeGuest(hypervisor, { vcpus: 2 });
    const context = layout("vcpu_guest_context", "x86_64");
    const bytes = new Uint8Array(context.size);
    context.write(new DataView(bytes.buffer), 0, {
      flags: 4n,
      user_regs: { rip: at(3), rsp: at(STACK_OF_CPU1), rdi: 5n, cs: 0xe033, ss: 0xe02b, rflags: 0x1202n },
      gdt_ents: 0n,
      kernel_sp: at(STACK_OF_CPU1),
      ctrlreg: [0n, 0n, 0n, BigInt(smp.root) << 12n],
      gs_base_kernel: at(5),
      event_callback_eip: at(2),
    });
    for (let page = 0; page * 4096 < bytes.length; page++) {
      smp.page(20 + page).set(bytes.subarray(page * 4096, page * 4096 + 4096));
    }
    expect(smp.call(HYPERVISOR.vcpu_op, VCPUOP.initialise, 1, at(20))).toBe(0n);
    expect(smp.call(HYPERVISOR.vcpu_op, VCPUOP.initialise, 1, at(20))).toBe(-17n);
    expect(smp.call(HYPERVISOR.vcpu_op, VCPUOP.up, 1, 0)).toBe(0n);
    expect(woken).toContain(1);
    const second = smp.domain.vcpus[1];
    expect(second?.runnable).toBe(true);
    expect(second?.cpu.rip).toBe(at(3));
    expect(second?.cpu.regs[7]).toBe(5n);
    expect(second?.cpu.gsBase).toBe(at(5));
    expect(second?.cpu.rflags).toBe(0x202n);
    expect(second?.iopl).toBe(1);
    expect(second?.cpu.root).toBe(smp.root);
    expect(smp.call(HYPERVISOR.vcpu_op, VCPUOP.down, 1, 0)).toBe(0n);
    expect(second?.runnable).toBe(false);
    expect(smp.domain.shutdown).toBeUndefined();
    smp.call(HYPERVISOR.vcpu_op, VCPUOP.down, 0, 0);
    expect(smp.domain.shutdown).toEqual({ reason: 0 });
  });
  const STACK_OF_CPU1 = 30;

  test("register_vcpu_info moves the structure once, and marks everything pending", () => {
    const register = layout("vcpu_register_vcpu_info", "x86_64");
    const request = (offset: number): bigint => {
      guest.put(new Uint8Array(16));
      register.write(guest.view(ARGUMENTS), 0, { mfn: guest.frames[20] as number, offset });
      return at(ARGUMENTS);
    };
    expect(guest.call(HYPERVISOR.vcpu_op, VCPUOP.register_vcpu_info, 0, request(4040))).toBe(-6n);
    expect(guest.call(HYPERVISOR.vcpu_op, VCPUOP.register_vcpu_info, 0, request(64))).toBe(0n);
    expect(guest.call(HYPERVISOR.vcpu_op, VCPUOP.register_vcpu_info, 0, request(128))).toBe(-22n);
    const info = layout("vcpu_info", "x86_64").read(guest.view(20), 64);
    expect(info.evtchn_upcall_mask).toBe(1);
    expect(info.evtchn_upcall_pending).toBe(1);
    expect(info.evtchn_pending_sel).toBe(2n ** 64n - 1n);
    expect(info.time.tsc_to_system_mul).not.toBe(0);
    expect(info.time.version % 2).toBe(0);
  });

  test("a singleshot timer in the past is -ETIME only when the guest asks for that", () => {
    const timer = (timeout: bigint, flags: number): bigint => {
      guest.put(new Uint8Array(16));
      layout("vcpu_set_singleshot_timer", "x86_64").write(guest.view(ARGUMENTS), 0, { timeout_abs_ns: timeout, flags });
      return at(ARGUMENTS);
    };
    expect(guest.call(HYPERVISOR.vcpu_op, VCPUOP.set_singleshot_timer, 0, timer(5n, 1))).toBe(-62n);
    expect(guest.call(HYPERVISOR.vcpu_op, VCPUOP.set_singleshot_timer, 0, timer(5n, 0))).toBe(0n);
    expect(guest.hypervisor.nextDeadline()).toBe(5n);
    expect(guest.call(HYPERVISOR.vcpu_op, VCPUOP.stop_singleshot_timer, 0, 0)).toBe(0n);
    expect(guest.hypervisor.nextDeadline()).toBe(-1n);
  });
});

describe("small ones", () => {
  test("set_iopl takes 0 to 3", () => {
    expect(guest.call(HYPERVISOR.physdev_op, PHYSDEVOP.set_iopl, guest.put([1, 0, 0, 0]))).toBe(0n);
    expect(guest.vcpu.iopl).toBe(1);
    expect(guest.call(HYPERVISOR.physdev_op, PHYSDEVOP.set_iopl, guest.put([4, 0, 0, 0]))).toBe(-22n);
    expect(guest.call(HYPERVISOR.physdev_op, PHYSDEVOP.map_pirq, at(ARGUMENTS))).toBe(-1n);
    expect(guest.call(HYPERVISOR.physdev_op, 200, at(ARGUMENTS))).toBe(-38n);
  });

  test("vm_assist knows its six assists", () => {
    for (const type of [0, 2, 3, 5]) expect(guest.call(HYPERVISOR.vm_assist, VMASST_CMD.enable, type)).toBe(0n);
    expect(guest.domain.vmAssist).toBe(0x2d);
    expect(guest.call(HYPERVISOR.vm_assist, VMASST_CMD.disable, VMASST.pae_extended_cr3)).toBe(0n);
    expect(guest.domain.vmAssist).toBe(0x25);
    expect(guest.call(HYPERVISOR.vm_assist, VMASST_CMD.enable, 6)).toBe(-22n);
    expect(guest.call(HYPERVISOR.vm_assist, 7, 0)).toBe(-38n);
  });

  test("set_segment_base refuses addresses that are not canonical", () => {
    expect(guest.call(HYPERVISOR.set_segment_base, 0, 0x7fff_0000n)).toBe(0n);
    expect(guest.cpu.fsBase).toBe(0x7fff_0000n);
    expect(guest.call(HYPERVISOR.set_segment_base, 1, 0x1234n)).toBe(0n);
    expect(guest.vcpu.otherGsBase).toBe(0x1234n);
    expect(guest.call(HYPERVISOR.set_segment_base, 2, 0x0001_0000_0000_0000n)).toBe(-22n);
    expect(guest.call(HYPERVISOR.set_segment_base, 4, 0)).toBe(-22n);
  });

  test("set_gdt takes the frames only when they are all the guest's and not writable anywhere", () => {
    const list = new Uint8Array(8);
    const view = new DataView(list.buffer);
    view.setBigUint64(0, BigInt(guest.frames[40] as number), true);
    // Still mapped writable.
    expect(guest.call(HYPERVISOR.set_gdt, guest.put(list), 512)).toBe(-22n);
    const readOnly = (BigInt(guest.frames[40] as number) << 12n) | 0x65n;
    expect(guest.call(HYPERVISOR.update_va_mapping, at(40), readOnly, 0)).toBe(0n);
    expect(guest.call(HYPERVISOR.set_gdt, guest.put(list), 512)).toBe(0n);
    expect(guest.call(HYPERVISOR.set_gdt, guest.put(list), 7169)).toBe(-22n);
    expect(guest.vcpu.gdtEntries).toBe(512);
  });

  test("debug registers: 4 and 5 stand for 6 and 7, breakpoints must be the guest's addresses", () => {
    expect(guest.call(HYPERVISOR.set_debugreg, 0, at(1))).toBe(0n);
    expect(BigInt.asUintN(64, guest.call(HYPERVISOR.get_debugreg, 0))).toBe(at(1));
    expect(guest.call(HYPERVISOR.set_debugreg, 1, 0xffff_8000_0000_0000n)).toBe(-1n);
    expect(guest.call(HYPERVISOR.get_debugreg, 6)).toBe(0xffff0ff0n);
    expect(guest.call(HYPERVISOR.get_debugreg, 5)).toBe(0x400n);
    expect(guest.call(HYPERVISOR.get_debugreg, 9)).toBe(-19n);
    // The processor has what the guest has.
    expect(guest.call(HYPERVISOR.set_debugreg, 7, 0x1n)).toBe(0n);
    expect([guest.vcpu.cpu.debugRegister(0), guest.vcpu.cpu.debugRegister(7)]).toEqual([at(1), 0x401n]);
  });

  test("event_channel_op in its older form", () => {
    guest.put(new Uint8Array(64));
    guest.view(ARGUMENTS).setUint32(0, EVTCHNOP.bind_ipi, true);
    expect(guest.call(HYPERVISOR.event_channel_op_compat, at(ARGUMENTS))).toBe(0n);
    expect(guest.view(ARGUMENTS).getUint32(8, true)).toBe(1);
  });
});
