import { HYPERVISOR, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

const { EPERM } = XEN_ERRNO;

/** Loading of another kernel. */
export const kexecOp: Hypercall = {
  number: HYPERVISOR.kexec_op,
  name: "kexec_op",
  support: "full",
  note: "-EPERM for a domU.",
  handle: () => -EPERM,
};
