import { HYPERVISOR } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

/** Messages between domains. */
export const argoOp: Hypercall = {
  number: HYPERVISOR.argo_op,
  name: "argo_op",
  support: "none",
  note: "-ENOSYS, as a Xen without argo.",
};
