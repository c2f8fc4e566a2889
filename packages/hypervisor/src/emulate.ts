import { Instruction, OPCODES, OPERAND, PREFIX, REGISTER_CLASS, SEGMENT } from "@paravirt/x86";
import { VCPU_INFO } from "./abi.ts";
import { readDebug, writeDebug } from "./debug-registers.ts";
import { mayDisableInterrupts, mayUsePort, readPort, writePort } from "./io-ports.ts";
import { readMsr, writeMsr } from "./msrs.ts";
import { injectPageFault, injectTrap, NO_ERROR_CODE, REG, VECTOR } from "./traps.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

const LOW_32 = 0xffffffffn;
const MASK_64 = 0xffff_ffff_ffff_ffffn;
const CR0_TS = 8n;
const RFLAGS_TF = 0x100n;
const RFLAGS_RF = 0x10000n;
const RFLAGS_DF = 0x400n;
/** Iterations of a repeated string I/O instruction done before the guest is entered again. */
const MAX_REPEATS = 1024;

type Emulation = (vcpu: VirtualCpu, instruction: Instruction) => boolean;

/** The instructions that Xen carries out for a PV guest (validate() in pv/emul-priv-op.c); all others get their #GP. */
const EMULATIONS: { readonly [name: string]: Emulation } = {
  cli: interruptFlag,
  sti: interruptFlag,
  in: portIn,
  out: portOut,
  ins: stringIn,
  outs: stringOut,
  rdmsr: emulateRdmsr,
  wrmsr: emulateWrmsr,
  mov: moveControl,
  clts(vcpu) {
    if (!vcpu.kernelMode) return false;
    vcpu.setTaskSwitched(false);
    return true;
  },
  wbinvd: (vcpu) => vcpu.kernelMode,
  xsetbv,
  rdtsc: emulateRdtsc,
  rdtscp(vcpu) {
    emulateRdtsc(vcpu);
    vcpu.cpu.regs[REG.RCX] = BigInt(vcpu.cpu.tscAux);
    return true;
  },
  cpuid: (vcpu) => emulateCpuid(vcpu, false),
};

const byRow: readonly (Emulation | undefined)[] = OPCODES.map((row) => EMULATIONS[row.name]);
const instruction = new Instruction({ amd: true });
const answer = new Uint32Array(4);

/**
 * Carries out the privileged instruction at RIP as Xen does for a PV guest; `false` when it is none that Xen emulates,
 * or not allowed: the guest then gets its #GP.
 */
export function emulatePrivileged(vcpu: VirtualCpu): boolean {
  const { cpu } = vcpu;
  if (!cpu.fetch(instruction)) return false;
  const emulate = byRow[instruction.row];
  if (emulate === undefined) return false;
  const rip = cpu.rip;
  if (!emulate(vcpu, instruction)) return false;
  // An emulation that moved RIP itself entered a trap handler or wants to be repeated.
  if (cpu.rip === rip && !repeating) {
    cpu.rip = (rip + BigInt(instruction.length)) & MASK_64;
    finish(vcpu);
  }
  repeating = false;
  return true;
}

let repeating = false;

function finish(vcpu: VirtualCpu): void {
  const { cpu } = vcpu;
  const singleStep = (cpu.rflags & RFLAGS_TF) !== 0n;
  cpu.rflags &= ~RFLAGS_RF;
  if (!singleStep) return;
  vcpu.debug[6] = (vcpu.debug[6] as bigint) | 0x4000n;
  injectTrap(vcpu, VECTOR.DB, NO_ERROR_CODE);
}

const signature = new Uint8Array(7);
/** `ud2; .ascii "xen"; cpuid`. */
const FORCED_CPUID: readonly number[] = [0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2];

/** Carries out CPUID behind Xen's forced-emulation prefix; `false` when RIP is at another undefined instruction. */
export function emulateForced(vcpu: VirtualCpu): boolean {
  const { cpu } = vcpu;
  if (!cpu.read(cpu.rip, signature)) return false;
  for (let i = 0; i < 7; i++) if (signature[i] !== FORCED_CPUID[i]) return false;
  emulateCpuid(vcpu, true);
  cpu.rip = (cpu.rip + 7n) & MASK_64;
  finish(vcpu);
  return true;
}

function emulateCpuid(vcpu: VirtualCpu, isForced: boolean): boolean {
  const { regs } = vcpu.cpu;
  vcpu.domain.machine.cpuid.answer(
    vcpu,
    Number((regs[REG.RAX] as bigint) & LOW_32),
    Number((regs[REG.RCX] as bigint) & LOW_32),
    answer,
    isForced,
  );
  regs[REG.RAX] = BigInt(answer[0] as number);
  regs[REG.RBX] = BigInt(answer[1] as number);
  regs[REG.RCX] = BigInt(answer[2] as number);
  regs[REG.RDX] = BigInt(answer[3] as number);
  return true;
}

// Xen ignores them where the guest's IOPL allows them: the event mask is what a PV kernel uses.
function interruptFlag(vcpu: VirtualCpu): boolean {
  return mayDisableInterrupts(vcpu);
}

function emulateRdtsc(vcpu: VirtualCpu): boolean {
  const { regs } = vcpu.cpu;
  const tsc = vcpu.domain.machine.readTsc();
  regs[REG.RAX] = tsc & LOW_32;
  regs[REG.RDX] = (tsc >> 32n) & LOW_32;
  return true;
}

function emulateRdmsr(vcpu: VirtualCpu): boolean {
  if (!vcpu.kernelMode) return false;
  const { regs } = vcpu.cpu;
  const value = readMsr(vcpu, Number((regs[REG.RCX] as bigint) & LOW_32));
  if (value === undefined) return false;
  regs[REG.RAX] = value & LOW_32;
  regs[REG.RDX] = (value >> 32n) & LOW_32;
  return true;
}

function emulateWrmsr(vcpu: VirtualCpu): boolean {
  if (!vcpu.kernelMode) return false;
  const { regs } = vcpu.cpu;
  const value = (((regs[REG.RDX] as bigint) & LOW_32) << 32n) | ((regs[REG.RAX] as bigint) & LOW_32);
  return writeMsr(vcpu, Number((regs[REG.RCX] as bigint) & LOW_32), value);
}

function xsetbv(vcpu: VirtualCpu): boolean {
  if (!vcpu.kernelMode) return false;
  if (!vcpu.domain.machine.cpuid.features.has("xsave")) {
    injectTrap(vcpu, VECTOR.UD, NO_ERROR_CODE);
    return true;
  }
  const { regs } = vcpu.cpu;
  const index = (regs[REG.RCX] as bigint) & LOW_32;
  const value = (((regs[REG.RDX] as bigint) & LOW_32) << 32n) | ((regs[REG.RAX] as bigint) & LOW_32);
  // x87 state can't be left out; AVX needs SSE.
  const { xcr0 } = vcpu.domain.machine.cpuid;
  if (index !== 0n || (value & 1n) === 0n || (value & ~xcr0) !== 0n || ((value & 4n) !== 0n && (value & 2n) === 0n))
    return false;
  vcpu.cpu.xcr0 = value;
  return true;
}

function moveControl(vcpu: VirtualCpu, at: Instruction): boolean {
  if (!vcpu.kernelMode) return false;
  const { regs } = vcpu.cpu;
  const first = at.classes[0];
  const second = at.classes[1];
  if (second === REGISTER_CLASS.CONTROL) {
    const value = readControl(vcpu, at.registers[1] as number);
    if (value === undefined) return false;
    regs[at.registers[0] as number] = value;
    return true;
  }
  if (first === REGISTER_CLASS.CONTROL)
    return writeControl(vcpu, at.registers[0] as number, regs[at.registers[1] as number] as bigint);
  if (second === REGISTER_CLASS.DEBUG) {
    const value = readDebug(vcpu, at.registers[1] as number);
    if (value === undefined) return false;
    regs[at.registers[0] as number] = value;
    return true;
  }
  if (first === REGISTER_CLASS.DEBUG) {
    return writeDebug(vcpu, at.registers[0] as number, regs[at.registers[1] as number] as bigint) === 0;
  }
  return false;
}

function readControl(vcpu: VirtualCpu, register: number): bigint | undefined {
  switch (register) {
    case 0:
      return vcpu.cr0;
    case 2:
      return vcpu.domain.machine.memory.view.getBigUint64(vcpu.infoAt + VCPU_INFO.cr2, true);
    case 3:
      return BigInt(vcpu.kernelRoot) << 12n;
    case 4:
      return vcpu.cr4;
    default:
      return undefined;
  }
}

function writeControl(vcpu: VirtualCpu, register: number, value: bigint): boolean {
  const { machine } = vcpu.domain;
  switch (register) {
    case 0:
      // TS is the only bit that is the guest's.
      if (((value ^ vcpu.cr0) & ~CR0_TS) !== 0n) return false;
      vcpu.setTaskSwitched((value & CR0_TS) !== 0n);
      return true;
    case 2:
      machine.memory.view.setBigUint64(vcpu.infoAt + VCPU_INFO.cr2, value, true);
      return true;
    case 3:
      return vcpu.domain.newBasePointer(vcpu, Number((value >> 12n) & 0xf_ffff_ffffn)) === 0;
    case 4: {
      // Bits that are not the guest's stay as they are, without a fault.
      const own = machine.cpuid.guestCr4;
      vcpu.cr4 = (machine.cpuid.initialCr4 & ~own) | (value & own);
      vcpu.cpu.cr4 = vcpu.cr4;
      return true;
    }
    default:
      return false;
  }
}

function portOf(vcpu: VirtualCpu, at: Instruction, operand: number): number {
  if (at.kinds[operand] === OPERAND.IMMEDIATE) return at.immediate & 0xff;
  return Number((vcpu.cpu.regs[REG.RDX] as bigint) & 0xffffn);
}

function portIn(vcpu: VirtualCpu, at: Instruction): boolean {
  const port = portOf(vcpu, at, 1);
  const bytes = Math.min(at.sizes[0] as number, 4);
  if (!mayUsePort(vcpu, port, bytes)) return false;
  const { regs } = vcpu.cpu;
  const value = BigInt(readPort(vcpu, port, bytes));
  const old = regs[REG.RAX] as bigint;
  if (bytes === 4) regs[REG.RAX] = value;
  else if (bytes === 2) regs[REG.RAX] = (old & ~0xffffn) | value;
  else regs[REG.RAX] = (old & ~0xffn) | value;
  return true;
}

function portOut(vcpu: VirtualCpu, at: Instruction): boolean {
  const port = portOf(vcpu, at, 0);
  const bytes = Math.min(at.sizes[1] as number, 4);
  if (!mayUsePort(vcpu, port, bytes)) return false;
  writePort(vcpu, port, bytes, Number((vcpu.cpu.regs[REG.RAX] as bigint) & LOW_32));
  return true;
}

const element = new Uint8Array(4);
const elementView = new DataView(element.buffer);
const PF_WRITE_USER = 6;
const PF_USER = 4;

function stringIn(vcpu: VirtualCpu, at: Instruction): boolean {
  return stringPort(vcpu, at, REG.RDI, (port, bytes, address) => {
    elementView.setUint32(0, readPort(vcpu, port, bytes), true);
    if (vcpu.cpu.write(address, element.subarray(0, bytes))) return true;
    injectPageFault(vcpu, address, PF_WRITE_USER);
    return false;
  });
}

function stringOut(vcpu: VirtualCpu, at: Instruction): boolean {
  const base = at.segment === SEGMENT.FS ? vcpu.cpu.fsBase : at.segment === SEGMENT.GS ? vcpu.cpu.gsBase : 0n;
  return stringPort(vcpu, at, REG.RSI, (port, bytes, address) => {
    elementView.setUint32(0, 0, true);
    const linear = (address + base) & MASK_64;
    if (vcpu.cpu.read(linear, element.subarray(0, bytes))) {
      writePort(vcpu, port, bytes, elementView.getUint32(0, true));
      return true;
    }
    injectPageFault(vcpu, linear, PF_USER);
    return false;
  });
}

// One element after another, so that a fault leaves the registers at the element that faulted.
function stringPort(
  vcpu: VirtualCpu,
  at: Instruction,
  pointer: number,
  transfer: (port: number, bytes: number, address: bigint) => boolean,
): boolean {
  const { cpu } = vcpu;
  const bytes = Math.min(at.operandSize, 4);
  const port = Number((cpu.regs[REG.RDX] as bigint) & 0xffffn);
  if (!mayUsePort(vcpu, port, bytes)) return false;
  const wide = at.addressSize === 8;
  const mask = wide ? MASK_64 : LOW_32;
  const repeated = (at.prefixes & (PREFIX.REP | PREFIX.REPNE)) !== 0;
  const step = BigInt((cpu.rflags & RFLAGS_DF) !== 0n ? -bytes : bytes);
  for (let count = 0; count < MAX_REPEATS; count++) {
    if (repeated && ((cpu.regs[REG.RCX] as bigint) & mask) === 0n) return true;
    const address = (cpu.regs[pointer] as bigint) & mask;
    if (!transfer(port, bytes, address)) return true;
    cpu.regs[pointer] = (address + step) & mask;
    if (!repeated) return true;
    cpu.regs[REG.RCX] = ((cpu.regs[REG.RCX] as bigint) - 1n) & mask;
  }
  repeating = ((cpu.regs[REG.RCX] as bigint) & mask) !== 0n;
  return true;
}
