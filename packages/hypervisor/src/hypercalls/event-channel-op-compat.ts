import { EVTCHNOP, HYPERVISOR, layout, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";
import { performEventChannelOp } from "./event-channel-op.ts";

const evtchnOp = layout("evtchn_op", "x86_64");
const { EFAULT, ENOSYS } = XEN_ERRNO;

/** The older form, with the operation in the structure. */
export const eventChannelOpCompat: Hypercall = {
  number: HYPERVISOR.event_channel_op_compat,
  name: "event_channel_op_compat",
  support: "full",
  handle(call) {
    const address = call.arg(0);
    if (!call.load(address, evtchnOp.size)) return -EFAULT;
    const command = call.view.getUint32(0, true);
    if (command > EVTCHNOP.unmask) return -ENOSYS;
    return performEventChannelOp(call, command, address + BigInt(evtchnOp.offsets.u));
  },
};
