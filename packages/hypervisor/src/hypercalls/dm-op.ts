import { DOMID, HYPERVISOR, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

const { EINVAL, EPERM, ESRCH } = XEN_ERRNO;

/** Device models of HVM domains. */
export const dmOp: Hypercall = {
  number: HYPERVISOR.dm_op,
  name: "dm_op",
  support: "full",
  note: "-EPERM for itself, -ESRCH or -EINVAL for others: there are no HVM domains.",
  handle(call) {
    const domid = call.u32(0) & 0xffff;
    if (domid === call.domain.id || domid === DOMID.SELF) return -EPERM;
    return call.machine.domain(domid) === undefined ? -ESRCH : -EINVAL;
  },
};
