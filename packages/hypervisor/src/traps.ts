import { FLAT, VGCF, VMASST } from "@paravirt/xen-abi";
import { VCPU_INFO } from "./abi.ts";
import { isLoadableCode, isLoadableStack, isLongMode, readDescriptor } from "./descriptors.ts";
import { isHypervisorStack } from "./gate.ts";
import { guestLoad, guestStore } from "./guest-memory.ts";
import type { Callback, VirtualCpu } from "./virtual-cpu.ts";

/** Register numbers in {@link @paravirt/cpu!Vcpu.regs}. */
export const REG = {
  RAX: 0,
  RCX: 1,
  RDX: 2,
  RBX: 3,
  RSP: 4,
  RBP: 5,
  RSI: 6,
  RDI: 7,
  R8: 8,
  R9: 9,
  R10: 10,
  R11: 11,
} as const;

/** General registers by number, as `cpu_user_regs` of the public headers names them. */
export const REGISTER_NAMES = [
  "rax",
  "rcx",
  "rdx",
  "rbx",
  "rsp",
  "rbp",
  "rsi",
  "rdi",
  "r8",
  "r9",
  "r10",
  "r11",
  "r12",
  "r13",
  "r14",
  "r15",
] as const;

/** Exception vectors. */
export const VECTOR = {
  DB: 1,
  NMI: 2,
  BP: 3,
  OF: 4,
  UD: 6,
  NM: 7,
  DF: 8,
  TS: 10,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  AC: 17,
} as const;

const RFLAGS = {
  TF: 0x100n,
  IF: 0x200n,
  DF: 0x400n,
  IOPL: 0x3000n,
  NT: 0x4000n,
  RF: 0x10000n,
  VM: 0x20000n,
  AC: 0x40000n,
} as const;
/** Cleared on every entry into the guest's kernel. */
const CLEARED_ON_ENTRY = RFLAGS.AC | RFLAGS.VM | RFLAGS.RF | RFLAGS.NT | RFLAGS.TF;
const LOW_32 = 0xffffffffn;
const VGCF_IN_SYSCALL = BigInt(VGCF.in_syscall);
const PF_USER = 4;

/** Longest frame: RCX R11, DS ES FS GS, error code, RIP CS RFLAGS RSP SS. */
const frame = new BigUint64Array(12);
const frameBytes = new Uint8Array(frame.buffer);

/** No error code. */
export const NO_ERROR_CODE = -1;

/**
 * Enters the guest's kernel at `address` with Xen's frame on its stack (create_bounce_frame in x86_64/entry.S).
 * A stack that cannot be written, or no address, crashes the domain; `what` then names the entry.
 */
export function bounce(
  vcpu: VirtualCpu,
  address: bigint,
  masksEvents: boolean,
  errorCode: number,
  failsafe: boolean,
  what: string,
): void {
  const { cpu, domain } = vcpu;
  const fromUser = !vcpu.kernelMode;
  if (fromUser) vcpu.toggleMode();
  const regs = cpu.regs;
  const rsp = regs[REG.RSP] as bigint;
  let stack = (fromUser ? vcpu.kernelSp : rsp) & ~15n;
  if (isHypervisorStack(stack)) {
    domain.crash(vcpu, `${what}: stack ${hex(stack)} lies in the hypervisor's address range`);
    return;
  }
  const mask = domain.machine.memory.bytes[vcpu.infoAt + VCPU_INFO.upcallMask] as number;
  let rflags = cpu.rflags & ~(RFLAGS.IF | RFLAGS.IOPL);
  if (mask === 0) rflags |= RFLAGS.IF;
  if ((domain.vmAssist & (1 << VMASST.architectural_iopl)) !== 0) rflags |= BigInt(vcpu.iopl) << 12n;
  const { selectors } = cpu;
  let count = 0;
  frame[count++] = regs[REG.RCX] as bigint;
  frame[count++] = regs[REG.R11] as bigint;
  if (failsafe) {
    frame[count++] = BigInt(selectors[3] as number);
    frame[count++] = BigInt(selectors[0] as number);
    frame[count++] = BigInt(selectors[4] as number);
    frame[count++] = BigInt(selectors[5] as number);
  }
  if (errorCode !== NO_ERROR_CODE) frame[count++] = BigInt(errorCode >>> 0);
  frame[count++] = cpu.rip;
  const cs = selectors[1] as number;
  // The guest tells kernel from user by CS's low bits; the saved event mask rides in bits 32 to 39.
  frame[count++] = BigInt((fromUser ? cs : cs & 0xfffc) + mask * 0x1_0000_0000);
  frame[count++] = rflags;
  frame[count++] = rsp;
  frame[count++] = BigInt(selectors[2] as number);
  const size = count * 8;
  stack -= BigInt(size);
  const first = cpu.translate(stack, true);
  const { machine } = domain;
  if (first !== 0 && (first & 4095) <= 4096 - size) {
    const { quads } = machine.memory;
    const at = first / 8;
    for (let i = 0; i < count; i++) quads[at + i] = frame[i] as bigint;
    machine.engine.frames.written(first >>> 12);
  } else if (!guestStore(vcpu, stack, frameBytes, size)) {
    domain.crash(vcpu, `${what}: fault while writing the frame to the guest's stack at ${hex(stack)}`);
    return;
  }
  if (address === 0n) {
    domain.crash(vcpu, `${what}: the guest registered no handler`);
    return;
  }
  if (masksEvents) vcpu.upcallMasked = true;
  const after = (cpu.rflags & ~CLEARED_ON_ENTRY) | RFLAGS.IF;
  cpu.rflags = after;
  selectors[1] = FLAT.KERNEL_CS;
  selectors[2] = FLAT.KERNEL_SS;
  cpu.mode = 64;
  cpu.rip = address;
  const now = cpu.regs;
  now[REG.RSP] = stack;
  // Xen returns to the handler by SYSRET, which leaves these two.
  now[REG.RCX] = address;
  now[REG.R11] = after;
}

/** Enters a callback that the guest registered. */
export function bounceCallback(vcpu: VirtualCpu, callback: Callback, what: string): void {
  bounce(vcpu, callback.address, callback.masksEvents, NO_ERROR_CODE, false, what);
}

/** Gives the guest an exception or a software interrupt through its virtual IDT (Xen's pv_inject_event). */
export function injectTrap(vcpu: VirtualCpu, vector: number, errorCode: number): void {
  bounce(
    vcpu,
    vcpu.trapAddress[vector] as bigint,
    ((vcpu.trapFlags[vector] as number) & 4) !== 0,
    errorCode,
    false,
    `trap ${vector}${errorCode === NO_ERROR_CODE ? "" : `, error code ${hex(errorCode)}`}`,
  );
}

/** Gives the guest a page fault: CR2 goes to vcpu_info, and the U bit says whether its user space ran. */
export function injectPageFault(vcpu: VirtualCpu, address: bigint, errorCode: number): void {
  vcpu.domain.machine.memory.view.setBigUint64(vcpu.infoAt + VCPU_INFO.cr2, address, true);
  const code = vcpu.kernelMode ? errorCode & ~PF_USER : errorCode | PF_USER;
  if (vcpu.trapAddress[VECTOR.PF] === 0n) {
    vcpu.domain.crash(
      vcpu,
      `page fault at ${hex(address)}, error code ${hex(code)}, and the guest registered no handler`,
    );
    return;
  }
  injectTrap(vcpu, VECTOR.PF, code);
}

/** `syscall` in the guest's user space: enters its kernel as if by an interrupt without a vector. */
export function bounceSyscall(vcpu: VirtualCpu): void {
  const { cpu } = vcpu;
  const compat = cpu.selectors[1] === FLAT.RING3_CS32 || cpu.mode === 32;
  const callback = compat && vcpu.syscall32.address !== 0n ? vcpu.syscall32 : vcpu.syscall;
  if (callback.address === 0n) {
    cpu.rip -= 2n;
    injectTrap(vcpu, VECTOR.UD, NO_ERROR_CODE);
    return;
  }
  cpu.setSyscallRegisters();
  cpu.selectors[1] = compat ? FLAT.RING3_CS32 : FLAT.KERNEL_CS;
  cpu.selectors[2] = FLAT.KERNEL_SS;
  bounceCallback(vcpu, callback, "syscall");
  cpu.rflags &= ~RFLAGS.DF;
}

/** `sysenter`: Xen knows neither the return address nor the stack, and says so in the frame. */
export function bounceSysenter(vcpu: VirtualCpu): void {
  const { cpu } = vcpu;
  cpu.selectors[2] = FLAT.KERNEL_SS;
  cpu.selectors[1] = 3;
  cpu.rip = 0n;
  if (vcpu.sysenter.address === 0n) injectTrap(vcpu, VECTOR.GP, 0);
  else bounceCallback(vcpu, vcpu.sysenter, "sysenter");
}

const iretBytes = new Uint8Array(72);
const iretFrame = new BigUint64Array(iretBytes.buffer);

/** HYPERVISOR_iret: leaves the guest's kernel by the frame on its stack (Xen's do_iret). */
export function iret(vcpu: VirtualCpu): void {
  const { cpu, domain } = vcpu;
  let regs = cpu.regs;
  const stack = regs[REG.RSP] as bigint;
  const at = cpu.translate(stack, false);
  const { quads } = domain.machine.memory;
  if (at !== 0 && (at & 7) === 0 && (at & 4095) <= 4096 - 72) {
    const first = at / 8;
    for (let i = 0; i < 9; i++) iretFrame[i] = quads[first + i] as bigint;
  } else if (!guestLoad(vcpu, stack, iretBytes, 72)) {
    domain.crash(vcpu, `fault while reading the iret frame at ${hex(stack)}`);
    return;
  }
  const flags = iretFrame[3] as bigint;
  const saved = iretFrame[6] as bigint;
  let cs = Number((iretFrame[5] as bigint) & 0xffffn);
  let ss = Number((iretFrame[8] as bigint) & 0xffffn);
  if ((cs & 3) === 3) {
    if (vcpu.userRoot === 0) {
      domain.crash(vcpu, "iret to user mode with no user page tables");
      return;
    }
    if (vcpu.kernelMode) vcpu.toggleMode();
    regs = cpu.regs;
  }
  cs |= 3;
  ss |= 3;
  if ((domain.vmAssist & (1 << VMASST.architectural_iopl)) !== 0) vcpu.iopl = Number((saved >> 12n) & 3n);
  const rflags = (saved & ~(RFLAGS.IOPL | RFLAGS.VM) & LOW_32) | RFLAGS.IF | 2n;
  cpu.rip = iretFrame[4] as bigint;
  cpu.rflags = rflags;
  regs[REG.RSP] = iretFrame[7] as bigint;
  regs[REG.RAX] = iretFrame[0] as bigint;
  if ((flags & VGCF_IN_SYSCALL) === 0n) {
    regs[REG.R11] = iretFrame[1] as bigint;
    regs[REG.RCX] = iretFrame[2] as bigint;
  } else {
    // Xen leaves by SYSRET then: flat selectors, RCX and R11 as that instruction has them.
    regs[REG.RCX] = iretFrame[4] as bigint;
    regs[REG.R11] = rflags;
    cs = cs === FLAT.RING3_CS32 ? cs : FLAT.KERNEL_CS;
    ss = FLAT.KERNEL_SS;
  }
  vcpu.upcallMasked = (saved & RFLAGS.IF) === 0n;
  vcpu.nmiMasked = false;
  cpu.selectors[1] = cs;
  cpu.selectors[2] = ss;
  if (cs === FLAT.KERNEL_CS && ss === FLAT.KERNEL_SS) {
    cpu.mode = 64;
    if (isCanonical(cpu.rip)) return;
  } else {
    const code = readDescriptor(vcpu, cs);
    if (code !== undefined && isLoadableCode(code)) {
      cpu.mode = isLongMode(code) ? 64 : 32;
      const stackSegment = readDescriptor(vcpu, ss);
      if (stackSegment !== undefined && isLoadableStack(stackSegment) && (cpu.mode === 32 || isCanonical(cpu.rip))) {
        if (cpu.mode === 64) vcpu.gate.know(cs, ss);
        else {
          cpu.describeSegment(1, code);
          cpu.describeSegment(2, stackSegment);
        }
        return;
      }
    }
  }
  // The processor's own iretq would have faulted here: Xen calls the failsafe callback from the state returned to.
  bounce(vcpu, vcpu.failsafe.address, vcpu.failsafe.masksEvents, NO_ERROR_CODE, true, "failsafe callback");
}

/** Delivers what waits for the guest: an NMI, then the event upcall if events are pending and not masked. */
export function deliverPending(vcpu: VirtualCpu): void {
  const { domain } = vcpu;
  if (vcpu.nmiPending && !vcpu.nmiMasked) {
    vcpu.nmiPending = false;
    if (vcpu.trapAddress[VECTOR.NMI] !== 0n) {
      vcpu.nmiMasked = true;
      injectTrap(vcpu, VECTOR.NMI, NO_ERROR_CODE);
      if (!domain.running) return;
    }
  }
  const { bytes } = domain.machine.memory;
  const at = vcpu.infoAt;
  if (bytes[at + VCPU_INFO.upcallMask] === 0 && bytes[at + VCPU_INFO.upcallPending] !== 0) {
    bounceCallback(vcpu, vcpu.event, "event callback");
  }
}

/** Whether bits 47 to 63 of an address are all equal. */
export function isCanonical(address: bigint): boolean {
  const top = address >> 47n;
  return top === 0n || top === 0x1ffffn;
}

/** `0x…` of a register value, for messages. */
export function hex(value: bigint | number): string {
  return `0x${value.toString(16)}`;
}
