import { HYPERVISOR } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

/** Security modules. */
export const xsmOp: Hypercall = {
  number: HYPERVISOR.xsm_op,
  name: "xsm_op",
  support: "none",
  note: "-ENOSYS, as without a security module.",
};
