import { HYPERVISOR, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

const { EACCES, EFAULT, EPERM } = XEN_ERRNO;

/** Interface version that Xen 4.17 wants to see first. */
const PLATFORM_VERSION = 0x03000000;
/** Bytes of the argument: a head, and a union of 128. */
const PLATFORM_BYTES = 136;

/** Control of the physical machine. */
export const platformOp: Hypercall = {
  number: HYPERVISOR.platform_op,
  name: "platform_op",
  support: "full",
  note: "-EPERM for a domU.",
  handle(call) {
    if (!call.load(call.arg(0), PLATFORM_BYTES)) return -EFAULT;
    return call.view.getUint32(4, true) === PLATFORM_VERSION ? -EPERM : -EACCES;
  },
};
