import { HYPERVISOR } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

/** Profiling. */
export const xenoprofOp: Hypercall = {
  number: HYPERVISOR.xenoprof_op,
  name: "xenoprof_op",
  support: "none",
  note: "-ENOSYS, as a Xen without xenoprof.",
};
