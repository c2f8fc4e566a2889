import { HVMOP, HYPERVISOR, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

const { EFAULT, EINVAL, ENOSYS } = XEN_ERRNO;

/** Parameters of HVM domains. */
export const hvmOp: Hypercall = {
  number: HYPERVISOR.hvm_op,
  name: "hvm_op",
  support: "full",
  note: "-EINVAL or -ENOSYS: nothing of it is for PV domains.",
  handle(call) {
    switch (call.u32(0)) {
      case HVMOP.set_param:
      case HVMOP.get_param:
        if (!call.load(call.arg(1), 16)) return -EFAULT;
        return -EINVAL;
      case HVMOP.set_evtchn_upcall_vector:
        return call.load(call.arg(1), 8) ? -EINVAL : -EFAULT;
      default:
        return -ENOSYS;
    }
  },
};
