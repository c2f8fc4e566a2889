import { HYPERVISOR } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";
import { isCanonical } from "../traps.ts";

/** The older form: event, failsafe and syscall entries in registers. */
export const setCallbacks: Hypercall = {
  number: HYPERVISOR.set_callbacks,
  name: "set_callbacks",
  support: "full",
  handle({ vcpu, args }) {
    for (const [index, callback] of [vcpu.event, vcpu.failsafe, vcpu.syscall].entries()) {
      const address = args[index] as bigint;
      if (!isCanonical(address)) continue;
      callback.address = address;
      if (callback !== vcpu.event) callback.masksEvents = false;
    }
    return 0;
  },
};
