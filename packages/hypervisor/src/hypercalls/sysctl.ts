import { HYPERVISOR, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

const { EACCES, EFAULT, EPERM } = XEN_ERRNO;

const SYSCTL_VERSION = 0x15;
const SYSCTL_BYTES = 136;

/** Control of the hypervisor. */
export const sysctl: Hypercall = {
  number: HYPERVISOR.sysctl,
  name: "sysctl",
  support: "full",
  note: "-EPERM for a domU.",
  handle(call) {
    if (!call.load(call.arg(0), SYSCTL_BYTES)) return -EFAULT;
    return call.view.getUint32(4, true) === SYSCTL_VERSION ? -EPERM : -EACCES;
  },
};
