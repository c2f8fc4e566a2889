import { HYPERVISOR, layout, PHYSDEVOP, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";
import { performPhysdevOp } from "./physdev-op.ts";

const physdevOp = layout("physdev_op", "x86_64");
const { EFAULT, ENOSYS } = XEN_ERRNO;

/** The older form, with the operation in the structure. */
export const physdevOpCompat: Hypercall = {
  number: HYPERVISOR.physdev_op_compat,
  name: "physdev_op_compat",
  support: "full",
  handle(call) {
    const address = call.arg(0);
    if (!call.load(address, physdevOp.size)) return -EFAULT;
    const command = call.view.getUint32(0, true);
    if (command > PHYSDEVOP.alloc_irq_vector) return -ENOSYS;
    return performPhysdevOp(call, command, address + BigInt(physdevOp.offsets.u));
  },
};
