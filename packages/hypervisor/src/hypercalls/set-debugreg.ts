import { HYPERVISOR } from "@paravirt/xen-abi";
import { writeDebug } from "../debug-registers.ts";
import type { Hypercall } from "../hypercall.ts";

/** Sets a debug register. */
export const setDebugreg: Hypercall = {
  number: HYPERVISOR.set_debugreg,
  name: "set_debugreg",
  support: "full",
  handle: (call) => writeDebug(call.vcpu, call.u32(0), call.arg(1)),
};
