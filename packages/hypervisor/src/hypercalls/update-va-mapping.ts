import { DOMID, HYPERVISOR } from "@paravirt/xen-abi";
import type { Hypercall, HypercallContext } from "../hypercall.ts";

/** Replaces the L1 entry of an address by one for a frame of `domid`; 0 or `-errno`. */
export function updateVa(call: HypercallContext, domid: number): number {
  const { domain, vcpu, words } = call;
  return call.machine.paging.updateVaMapping(
    domain.memory,
    vcpu.kernelRoot,
    call.arg(0),
    words[2] as number,
    words[3] as number,
    call.arg(2),
    domid,
    vcpu.mmuext.checkVcpuMask,
  );
}

/** Replaces the L1 entry of one address. */
export const updateVaMapping: Hypercall = {
  number: HYPERVISOR.update_va_mapping,
  name: "update_va_mapping",
  support: "full",
  handle: (call) => updateVa(call, DOMID.SELF),
};
