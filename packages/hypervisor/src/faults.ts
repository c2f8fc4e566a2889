import type { Exit } from "@paravirt/cpu";
import { VMASST } from "@paravirt/xen-abi";
import { noteDebugException } from "./debug-registers.ts";
import { emulateForced, emulatePrivileged } from "./emulate.ts";
import { emulatePageTableWrite } from "./page-table-write.ts";
import { injectPageFault, injectTrap, NO_ERROR_CODE, VECTOR } from "./traps.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

const CR0_TS = 8n;
/** Error code of the #GP that a gate's DPL causes: vector * 8, and the IDT flag. */
const IDT_ERROR = 2;

/** Handles a fault of guest code: what Xen does itself first, the guest's own handler otherwise. */
export function handleFault(vcpu: VirtualCpu, exit: Exit): void {
  // The exit record is overwritten by whatever runs next.
  const { vector, errorCode, address, debugStatus: status } = exit;
  const code = exit.hasErrorCode ? errorCode : NO_ERROR_CODE;
  switch (vector) {
    case VECTOR.PF:
      if (emulatePageTableWrite(vcpu, address, errorCode)) return;
      injectPageFault(vcpu, address, errorCode);
      return;
    case VECTOR.GP:
      if (errorCode === 0 && emulatePrivileged(vcpu)) return;
      break;
    case VECTOR.UD:
      if (emulateForced(vcpu)) return;
      break;
    case VECTOR.NM:
      // Xen clears TS for the guest as it tells it (do_device_not_available).
      if ((vcpu.cr0 & CR0_TS) !== 0n) vcpu.setTaskSwitched(false);
      break;
    case VECTOR.DB:
      noteDebugException(vcpu, status);
      break;
    default:
      break;
  }
  injectTrap(vcpu, vector, code);
}

/**
 * Handles `int n`, which Xen sees as a #GP that names the gate: the guest's own gate decides by its DPL. int3, into and
 * int1 have gates of Xen's that anyone may use.
 */
export function handleSoftwareInterrupt(vcpu: VirtualCpu, vector: number, length: number): void {
  const { cpu } = vcpu;
  if (!mayInterrupt(vcpu, vector)) {
    injectTrap(vcpu, VECTOR.GP, vector * 8 + IDT_ERROR);
    return;
  }
  cpu.rip = (cpu.rip + BigInt(length)) & 0xffff_ffff_ffff_ffffn;
  injectTrap(vcpu, vector, NO_ERROR_CODE);
}

function mayInterrupt(vcpu: VirtualCpu, vector: number): boolean {
  if (vector === VECTOR.BP || vector === VECTOR.OF || vector === VECTOR.DB) return true;
  const dpl = (vcpu.trapFlags[vector] as number) & 3;
  if (!vcpu.kernelMode) return dpl >= 3;
  return (vcpu.domain.vmAssist & (1 << VMASST.architectural_iopl)) !== 0 || dpl >= 1;
}
