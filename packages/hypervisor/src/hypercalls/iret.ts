import { HYPERVISOR } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";
import { iret as leaveKernel } from "../traps.ts";

/** Leaves the guest's kernel. */
export const iret: Hypercall = {
  number: HYPERVISOR.iret,
  name: "iret",
  support: "full",
  handle(call) {
    leaveKernel(call.vcpu);
    return undefined;
  },
};
