import { HYPERVISOR, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

const { EPERM } = XEN_ERRNO;

/** Xen's own file system of settings. */
export const hypfsOp: Hypercall = {
  number: HYPERVISOR.hypfs_op,
  name: "hypfs_op",
  support: "full",
  note: "-EPERM for a domU.",
  handle: () => -EPERM,
};
