import { HYPERVISOR, SCHEDOP, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";
import { block } from "./sched-op.ts";

/** The form before Xen 3.0.2: yield, block, and shutdown with its reason in the register. */
export const schedOpCompat: Hypercall = {
  number: HYPERVISOR.sched_op_compat,
  name: "sched_op_compat",
  support: "full",
  operations: [
    { number: SCHEDOP.yield, name: "yield", support: "full" },
    { number: SCHEDOP.block, name: "block", support: "full" },
    { number: SCHEDOP.shutdown, name: "shutdown", support: "full" },
  ],
  handle(call) {
    switch (call.s32(0)) {
      case SCHEDOP.yield:
        call.vcpu.yielded = true;
        return 0;
      case SCHEDOP.block:
        return block(call.vcpu);
      case SCHEDOP.shutdown:
        call.domain.guestShutDown(call.vcpu, call.u32(1) & 0xff);
        return 0;
      default:
        return -XEN_ERRNO.ENOSYS;
    }
  },
};
