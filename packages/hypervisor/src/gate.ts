import type { GatePlan } from "@paravirt/cpu";
import { FLAT, HYPERVISOR, VIRT_X86_64, VMASST } from "@paravirt/xen-abi";
import { VCPU_INFO } from "./abi.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

const FLAT_PAIR = FLAT.KERNEL_CS | (FLAT.KERNEL_SS << 16);
const HYPERVISOR_START = VIRT_X86_64.HYPERVISOR_VIRT_START;
const HYPERVISOR_END = VIRT_X86_64.HYPERVISOR_VIRT_END;
/** Bytes below a stack's top that Xen's check allows for. */
const STACK_MARGIN = 60n;
/** No pair of selectors has RPL 0. */
const NO_PAIR = 0;
/** TI of either selector. */
const LDT_BITS = 0x0004_0004;

/**
 * What the engine needs to know to carry out a PV guest's system calls and returns by itself: `bounceSyscall` and `iret`
 * in `traps.ts` say what that means, and do whatever the engine leaves.
 */
export class KernelGate implements GatePlan {
  inKernel = true;
  kernelRoot = 0;
  userRoot = 0;
  otherGsBase = 0n;
  kernelStack = 0n;
  /** Whether {@link KernelGate.kernelStack} lies in the hypervisor's part of the address space. */
  badStack = false;
  entry = 0n;
  readonly returnNumber: number = HYPERVISOR.iret;
  readonly flatSelectors: number = FLAT_PAIR >>> 0;
  knownSelectors: number = NO_PAIR;
  maskAt = 0;
  pendingAt = 0;

  /** Notes that `iret` found these selectors to name 64-bit user segments in the GDT. */
  know(cs: number, ss: number): void {
    const pair = (cs | (ss << 16)) >>> 0;
    if ((pair & LDT_BITS) === 0) this.knownSelectors = pair;
  }

  /** A descriptor may have changed. */
  forget(): void {
    this.knownSelectors = NO_PAIR;
  }
}

/** Arms the gate for `vcpu`'s next run, unless it has to deliver or do something that only JavaScript does. */
export function armGate(vcpu: VirtualCpu): void {
  if (vcpu.nmiPending || vcpu.nmiMasked || (vcpu.domain.vmAssist & (1 << VMASST.architectural_iopl)) !== 0) return;
  const { gate } = vcpu;
  gate.inKernel = vcpu.kernelMode;
  gate.kernelRoot = vcpu.kernelRoot;
  gate.userRoot = vcpu.userRoot;
  gate.otherGsBase = vcpu.otherGsBase;
  if (gate.kernelStack !== vcpu.kernelSp) {
    gate.kernelStack = vcpu.kernelSp;
    gate.badStack = isHypervisorStack(vcpu.kernelSp);
  }
  // An entry that leaves events unmasked may have to deliver one at once.
  gate.entry = vcpu.syscall.masksEvents && !gate.badStack ? vcpu.syscall.address : 0n;
  gate.maskAt = vcpu.infoAt + VCPU_INFO.upcallMask;
  gate.pendingAt = vcpu.infoAt + VCPU_INFO.upcallPending;
  vcpu.cpu.armGate(gate);
}

/** Takes over what went through the gate since it was armed, and shuts it. */
export function closeGate(vcpu: VirtualCpu): void {
  const through = vcpu.cpu.closeGate();
  if (through === undefined) return;
  vcpu.kernelMode = through.inKernel;
  vcpu.otherGsBase = through.otherGsBase;
  vcpu.domain.statistics.countMany(HYPERVISOR.iret, through.returns);
}

/** Whether a frame on this stack would lie in the hypervisor's part of the address space. */
export function isHypervisorStack(stack: bigint): boolean {
  const aligned = stack & ~15n;
  return aligned >= HYPERVISOR_START && aligned < HYPERVISOR_END + STACK_MARGIN;
}
