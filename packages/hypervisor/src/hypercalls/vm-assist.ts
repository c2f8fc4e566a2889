import { HYPERVISOR, VMASST, VMASST_CMD, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

/** Assists of a 64-bit PV domain below bit 32. */
const VALID =
  (1 << VMASST["4gb_segments"]) |
  (1 << VMASST["4gb_segments_notify"]) |
  (1 << VMASST.writable_pagetables) |
  (1 << VMASST.pae_extended_cr3) |
  (1 << VMASST.architectural_iopl) |
  (1 << VMASST.runstate_update_flag);

/** Turns assists on and off. */
export const vmAssist: Hypercall = {
  number: HYPERVISOR.vm_assist,
  name: "vm_assist",
  support: "full",
  operations: [
    { number: VMASST_CMD.enable, name: "enable", support: "full" },
    { number: VMASST_CMD.disable, name: "disable", support: "full" },
  ],
  handle(call) {
    const { domain } = call;
    const command = call.u32(0);
    const type = call.u32(1);
    const known = type === VMASST.m2p_strict || (type < 32 && (VALID & (1 << type)) !== 0);
    if (!known) return -XEN_ERRNO.EINVAL;
    if (command !== VMASST_CMD.enable && command !== VMASST_CMD.disable) return -XEN_ERRNO.ENOSYS;
    const on = command === VMASST_CMD.enable;
    if (type === VMASST.m2p_strict) domain.memory.strictM2p = on;
    else domain.vmAssist = on ? domain.vmAssist | (1 << type) : domain.vmAssist & ~(1 << type);
    return 0;
  },
};
