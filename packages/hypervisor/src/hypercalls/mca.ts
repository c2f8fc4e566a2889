import { HYPERVISOR, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

const { EPERM } = XEN_ERRNO;

/** Machine checks, the first of the architecture's own calls. */
export const mca: Hypercall = {
  number: HYPERVISOR.arch_0,
  name: "mca",
  support: "full",
  note: "-EPERM for a domU.",
  handle: () => -EPERM,
};
