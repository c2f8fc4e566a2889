import { CALLBACKF, CALLBACKOP, CALLBACKTYPE, HYPERVISOR, layout, XEN_ERRNO } from "@paravirt/xen-abi";
import { callbackOf, setNmiHandler } from "../callbacks.ts";
import type { Hypercall } from "../hypercall.ts";
import { isCanonical } from "../traps.ts";

const register = layout("callback_register", "x86_64");
const unregister = layout("callback_unregister", "x86_64");

/** Registers the entries for events, failed returns, syscall, sysenter and NMIs. */
export const callbackOp: Hypercall = {
  number: HYPERVISOR.callback_op,
  name: "callback_op",
  support: "full",
  operations: [
    { number: CALLBACKOP.register, name: "register", support: "full" },
    { number: CALLBACKOP.unregister, name: "unregister", support: "full" },
  ],
  handle(call) {
    const { vcpu } = call;
    switch (call.s32(0)) {
      case CALLBACKOP.register: {
        const request = call.fetch(register, call.arg(1));
        if (request === undefined) return -XEN_ERRNO.EFAULT;
        if (!isCanonical(request.address)) return -XEN_ERRNO.EINVAL;
        if (request.type === CALLBACKTYPE.nmi) return setNmiHandler(vcpu, request.address);
        const callback = callbackOf(vcpu, request.type);
        if (callback === undefined) return -XEN_ERRNO.ENOSYS;
        callback.address = request.address;
        // The event callback always masks events.
        if (request.type !== CALLBACKTYPE.event) callback.masksEvents = (request.flags & CALLBACKF.mask_events) !== 0;
        return 0;
      }
      case CALLBACKOP.unregister: {
        const request = call.fetch(unregister, call.arg(1));
        if (request === undefined) return -XEN_ERRNO.EFAULT;
        if (request.type === CALLBACKTYPE.nmi) return setNmiHandler(vcpu, 0n);
        return callbackOf(vcpu, request.type) === undefined ? -XEN_ERRNO.ENOSYS : -XEN_ERRNO.EINVAL;
      }
      default:
        return -XEN_ERRNO.ENOSYS;
    }
  },
};
