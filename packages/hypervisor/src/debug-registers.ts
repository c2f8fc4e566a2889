import { XEN_ERRNO } from "@paravirt/xen-abi";
import { isGuestRange } from "./guest-memory.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

const CR4_DE = 8n;
const DR6_RESERVED_ONE = 0xffff0ff0n;
const DR6_RESERVED_ZERO = ~0xffff_ffff_0000_1000n & 0xffff_ffff_ffff_ffffn;
const DR7_RESERVED_ONE = 0x400n;
const DR7_RESERVED_ZERO = ~0xffff_ffff_0000_d800n & 0xffff_ffff_ffff_ffffn;
const DR7_GENERAL_DETECT = 0x2000n;
const DR7_ACTIVE = 0xffn;
/** Kind of breakpoint in DR7 that watches I/O ports. */
const BREAK_ON_IO = 2n;

/** A debug register as the guest may read it, `undefined` where Xen answers -ENODEV. */
export function readDebug(vcpu: VirtualCpu, register: number): bigint | undefined {
  switch (register) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 6:
    case 7:
      return vcpu.debug[register];
    case 4:
    case 5:
      // Other names of DR6 and DR7 unless debugging extensions are on.
      return (vcpu.cr4 & CR4_DE) === 0n ? vcpu.debug[register + 2] : undefined;
    default:
      return undefined;
  }
}

/** Sets a debug register by Xen's rules (set_debugreg); 0 or `-errno`. */
export function writeDebug(vcpu: VirtualCpu, register: number, value: bigint): number {
  switch (register) {
    case 0:
    case 1:
    case 2:
    case 3:
      if (!isGuestRange(value, 8)) return -XEN_ERRNO.EPERM;
      load(vcpu, register, value);
      return 0;
    case 4:
    case 5:
      return (vcpu.cr4 & CR4_DE) === 0n ? writeDebug(vcpu, register + 2, value) : -XEN_ERRNO.ENODEV;
    case 6:
      vcpu.debug[6] = (value & DR6_RESERVED_ZERO) | DR6_RESERVED_ONE;
      return 0;
    case 7: {
      const fixed = (value & DR7_RESERVED_ZERO) | DR7_RESERVED_ONE;
      if ((fixed & DR7_ACTIVE) !== 0n) {
        if ((fixed & DR7_GENERAL_DETECT) !== 0n) return -XEN_ERRNO.EPERM;
        for (let shift = 16n; shift < 32n; shift += 4n) {
          if (((fixed >> shift) & 3n) === BREAK_ON_IO && (vcpu.cr4 & CR4_DE) === 0n) return -XEN_ERRNO.EPERM;
        }
      }
      load(vcpu, 7, fixed);
      return 0;
    }
    default:
      return -XEN_ERRNO.ENODEV;
  }
}

function load(vcpu: VirtualCpu, register: number, value: bigint): void {
  vcpu.debug[register] = value;
  vcpu.cpu.setDebugRegister(register, value);
}

/** Gives all debug registers the values that a VCPU begins with: no breakpoints. */
export function resetDebug(vcpu: VirtualCpu): void {
  for (let register = 0; register < 4; register++) load(vcpu, register, 0n);
  vcpu.debug[6] = DR6_RESERVED_ONE;
  load(vcpu, 7, DR7_RESERVED_ONE);
}

/** A debug exception of the processor's: notes in DR6 what it was for, as Xen does. */
export function noteDebugException(vcpu: VirtualCpu, status: number): void {
  vcpu.debug[6] = (vcpu.debug[6] as bigint) | BigInt(status);
}
