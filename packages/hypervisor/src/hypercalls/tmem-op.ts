import { HYPERVISOR } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

/** Transcendent memory, which Xen removed in 4.13. */
export const tmemOp: Hypercall = {
  number: HYPERVISOR.tmem_op,
  name: "tmem_op",
  support: "none",
  note: "-ENOSYS, as Xen since 4.13.",
};
