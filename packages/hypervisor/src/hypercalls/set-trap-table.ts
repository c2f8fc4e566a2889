import { HYPERVISOR, layout, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

const trapInfo = layout("trap_info", "x86_64");

/** Sets entries of the virtual IDT from an array that ends with address 0; a null pointer clears all of them. */
export const setTrapTable: Hypercall = {
  number: HYPERVISOR.set_trap_table,
  name: "set_trap_table",
  support: "full",
  handle(call) {
    const { vcpu } = call;
    let address = call.arg(0);
    if (address === 0n) {
      vcpu.trapAddress.fill(0n);
      vcpu.trapCs.fill(0);
      vcpu.trapFlags.fill(0);
      return 0;
    }
    // A table that never ends would keep Xen preempting and resuming; 256 vectors are all that can matter.
    for (let entry = 0; entry < 4096; entry++) {
      const trap = call.fetch(trapInfo, address);
      if (trap === undefined) return -XEN_ERRNO.EFAULT;
      if (trap.address === 0n) return 0;
      vcpu.trapAddress[trap.vector] = trap.address;
      vcpu.trapCs[trap.vector] = trap.cs | 3;
      vcpu.trapFlags[trap.vector] = trap.flags;
      address += BigInt(trapInfo.size);
    }
    call.args[0] = address;
    call.again = true;
    return undefined;
  },
};
