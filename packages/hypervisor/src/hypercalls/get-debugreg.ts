import { HYPERVISOR, XEN_ERRNO } from "@paravirt/xen-abi";
import { readDebug } from "../debug-registers.ts";
import type { Hypercall } from "../hypercall.ts";

/** Reads a debug register. */
export const getDebugreg: Hypercall = {
  number: HYPERVISOR.get_debugreg,
  name: "get_debugreg",
  support: "full",
  handle: (call) => readDebug(call.vcpu, call.u32(0)) ?? -XEN_ERRNO.ENODEV,
};
