import { HYPERVISOR } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

/** Sets where the guest's kernel stack begins when its user space enters it. */
export const stackSwitch: Hypercall = {
  number: HYPERVISOR.stack_switch,
  name: "stack_switch",
  support: "full",
  handle({ vcpu, args, words }) {
    vcpu.kernelSs = ((words[0] as number) & 0xffff) | 3;
    vcpu.kernelSp = args[1] as bigint;
    return 0;
  },
};
