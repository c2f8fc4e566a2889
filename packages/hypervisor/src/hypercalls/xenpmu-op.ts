import { HYPERVISOR, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

const { EOPNOTSUPP } = XEN_ERRNO;

/** Performance counters. */
export const xenpmuOp: Hypercall = {
  number: HYPERVISOR.xenpmu_op,
  name: "xenpmu_op",
  support: "full",
  note: "-EOPNOTSUPP, as with vpmu=off, Xen's default.",
  handle: () => -EOPNOTSUPP,
};
