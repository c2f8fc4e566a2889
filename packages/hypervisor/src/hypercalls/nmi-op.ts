import { HYPERVISOR, layout, XEN_ERRNO, XENNMI } from "@paravirt/xen-abi";
import { setNmiHandler } from "../callbacks.ts";
import type { Hypercall } from "../hypercall.ts";

const nmiCallback = layout("xennmi_callback", "x86_64");

/** Registers the NMI handler. */
export const nmiOp: Hypercall = {
  number: HYPERVISOR.nmi_op,
  name: "nmi_op",
  support: "full",
  operations: [
    { number: XENNMI.register_callback, name: "register_callback", support: "full" },
    { number: XENNMI.unregister_callback, name: "unregister_callback", support: "full" },
  ],
  handle(call) {
    switch (call.u32(0)) {
      case XENNMI.register_callback: {
        const request = call.fetch(nmiCallback, call.arg(1));
        if (request === undefined) return -XEN_ERRNO.EFAULT;
        return setNmiHandler(call.vcpu, request.handler_address);
      }
      case XENNMI.unregister_callback:
        return setNmiHandler(call.vcpu, 0n);
      default:
        return -XEN_ERRNO.ENOSYS;
    }
  },
};
