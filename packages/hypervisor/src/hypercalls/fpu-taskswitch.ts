import { HYPERVISOR } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

/** Sets or clears CR0.TS. */
export const fpuTaskswitch: Hypercall = {
  number: HYPERVISOR.fpu_taskswitch,
  name: "fpu_taskswitch",
  support: "full",
  handle(call) {
    call.vcpu.setTaskSwitched(call.u32(0) !== 0);
    return 0;
  },
};
