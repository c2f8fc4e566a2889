import { FLAT, layout, VGCF, XEN_ERRNO } from "@paravirt/xen-abi";
import { writeDebug } from "./debug-registers.ts";
import type { HypercallContext } from "./hypercall.ts";
import { isCanonical, REGISTER_NAMES } from "./traps.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

const context = layout("vcpu_guest_context", "x86_64");
const trap = layout("trap_info", "x86_64");
const RFLAGS_IF = 0x200n;
const RFLAGS_IOPL = 0x3000n;

const registerOffsets: readonly number[] = REGISTER_NAMES.map((name) => context.offsetOf(`user_regs.${name}`));

/**
 * VCPUOP_initialise: gives a VCPU that never ran its registers and PV state from the guest's `vcpu_guest_context`
 * (Xen's arch_set_info_guest). 0 or `-errno`; a refused context leaves the VCPU uninitialised.
 */
export function loadGuestContext(call: HypercallContext, vcpu: VirtualCpu, address: bigint): number {
  const { domain, machine } = call;
  if (vcpu.infoAt === machine.dummyInfoAt) return -XEN_ERRNO.EINVAL;
  if (!call.load(address, context.size)) return -XEN_ERRNO.EFAULT;
  if (vcpu.initialised) return -XEN_ERRNO.EEXIST;
  const { view, bytes } = call;
  const at = context.offsets;
  const wide = (offset: number): bigint => view.getBigUint64(offset, true);
  const entries = call.field(at.gdt_ents);
  const ldtBase = wide(at.ldt_base);
  const ldtEntries = call.field(at.ldt_ents);
  for (const base of [wide(at.fs_base), wide(at.gs_base_kernel), wide(at.gs_base_user)]) {
    if (!isCanonical(base)) return -XEN_ERRNO.EINVAL;
  }
  for (const callback of [at.event_callback_eip, at.failsafe_callback_eip, at.syscall_callback_eip]) {
    if (!isCanonical(wide(callback))) return -XEN_ERRNO.EINVAL;
  }
  if (ldtEntries > 8192 || (ldtEntries > 0 && ((ldtBase & 0xfffn) !== 0n || !isCanonical(ldtBase))))
    return -XEN_ERRNO.EINVAL;
  const frames: number[] = [];
  for (let i = 0; i < Math.min(16, Math.ceil(entries / 512)); i++) frames.push(call.field(at.gdt_frames + i * 8));
  let status = machine.paging.getGdtFrames(domain.memory, frames, entries);
  if (status !== 0) return status;
  // CR3 and, in CR1's place, the user's table; both in the form mfn << 12.
  const kernel = Number(wide(at.ctrlreg + 3 * 8) >> 12n);
  const user = Number(wide(at.ctrlreg + 1 * 8) >> 12n);
  status = machine.paging.setKernelRoot(domain.memory, vcpu.roots, kernel);
  if (status === 0 && user !== 0) status = machine.paging.setUserRoot(domain.memory, vcpu.roots, user);
  if (status !== 0) {
    for (const mfn of frames) machine.paging.putDescriptorPage(mfn);
    machine.paging.releaseRoots(vcpu.roots);
    return status;
  }

  vcpu.resetRegisters();
  const { cpu } = vcpu;
  const flags = view.getUint32(at.flags, true);
  if ((flags & VGCF.i387_valid) !== 0) cpu.loadFpu(bytes.slice(at.fpu_ctxt, at.fpu_ctxt + 512));
  registerOffsets.forEach((offset, index) => {
    cpu.regs[index] = wide(offset);
  });
  cpu.rip = wide(context.offsetOf("user_regs.rip"));
  const rflags = wide(context.offsetOf("user_regs.rflags"));
  // IOPL of the context is the virtual one; Linux gives its other CPUs theirs so, not by PHYSDEVOP_set_iopl.
  vcpu.iopl = Number((rflags & RFLAGS_IOPL) >> 12n);
  cpu.rflags = (rflags & ~RFLAGS_IOPL & 0xffffffffn) | RFLAGS_IF | 2n;
  const selector = (name: string): number => view.getUint16(context.offsetOf(`user_regs.${name}`), true);
  cpu.selectors[1] = selector("cs") | 3;
  cpu.selectors[2] = selector("ss") | 3;
  vcpu.kernelMode = (flags & VGCF.in_kernel) !== 0;
  cpu.mode = cpu.selectors[1] === FLAT.RING3_CS32 ? 32 : 64;
  vcpu.gdtFrames.splice(0, vcpu.gdtFrames.length, ...frames);
  vcpu.gdtEntries = entries;
  vcpu.gate.forget();
  vcpu.ldtBase = ldtBase;
  vcpu.ldtEntries = ldtEntries;
  vcpu.loadRoot();
  for (const [segment, name] of [
    [3, "ds"],
    [0, "es"],
    [4, "fs"],
    [5, "gs"],
  ] as const) {
    if (!cpu.loadSegment(segment, selector(name))) cpu.loadSegment(segment, 0);
  }
  cpu.fsBase = wide(at.fs_base);
  const kernelGs = wide(at.gs_base_kernel);
  const userGs = wide(at.gs_base_user);
  cpu.gsBase = vcpu.kernelMode ? kernelGs : userGs;
  vcpu.otherGsBase = vcpu.kernelMode ? userGs : kernelGs;
  for (let vector = 0; vector < 256; vector++) {
    const entry = at.trap_ctxt + vector * trap.size;
    vcpu.trapAddress[vector] = wide(entry + trap.offsets.address);
    vcpu.trapCs[vector] = view.getUint16(entry + trap.offsets.cs, true) | 3;
    vcpu.trapFlags[vector] = view.getUint8(entry + trap.offsets.flags);
  }
  vcpu.kernelSs = (view.getUint16(at.kernel_ss, true) & 0xffff) | 3;
  vcpu.kernelSp = wide(at.kernel_sp);
  vcpu.event.address = wide(at.event_callback_eip);
  vcpu.failsafe.address = wide(at.failsafe_callback_eip);
  vcpu.failsafe.masksEvents = (flags & VGCF.failsafe_disables_events) !== 0;
  vcpu.syscall.address = wide(at.syscall_callback_eip);
  vcpu.syscall.masksEvents = (flags & VGCF.syscall_disables_events) !== 0;
  // As Xen does, values that it wouldn't take are dropped; DR4 and DR5 of the structure mean nothing.
  for (const register of [0, 1, 2, 3, 6, 7]) writeDebug(vcpu, register, wide(at.debugreg + register * 8));
  vcpu.setTaskSwitched((wide(at.ctrlreg) & 8n) !== 0n);
  vcpu.initialised = true;
  return 0;
}
