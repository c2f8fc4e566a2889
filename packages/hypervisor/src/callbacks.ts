import { CALLBACKTYPE, FLAT, XEN_ERRNO } from "@paravirt/xen-abi";
import { isCanonical, VECTOR } from "./traps.ts";
import type { Callback, VirtualCpu } from "./virtual-cpu.ts";

/** The callback of a type, undefined for the NMI's and unknown ones. */
export function callbackOf(vcpu: VirtualCpu, type: number): Callback | undefined {
  switch (type) {
    case CALLBACKTYPE.event:
      return vcpu.event;
    case CALLBACKTYPE.failsafe:
      return vcpu.failsafe;
    case CALLBACKTYPE.syscall:
      return vcpu.syscall;
    case CALLBACKTYPE.syscall32:
      return vcpu.syscall32;
    case CALLBACKTYPE.sysenter:
    case CALLBACKTYPE.sysenter_deprecated:
      return vcpu.sysenter;
    default:
      return undefined;
  }
}

/** Sets the NMI handler, which is entry 2 of the virtual IDT whoever sets it; 0 or `-errno`. */
export function setNmiHandler(vcpu: VirtualCpu, address: bigint): number {
  if (!isCanonical(address)) return -XEN_ERRNO.EINVAL;
  vcpu.trapAddress[VECTOR.NMI] = address;
  vcpu.trapCs[VECTOR.NMI] = FLAT.KERNEL_CS;
  vcpu.trapFlags[VECTOR.NMI] = 0;
  return 0;
}
