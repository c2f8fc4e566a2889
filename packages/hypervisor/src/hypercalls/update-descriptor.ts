import { HYPERVISOR } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

/** Writes one descriptor at a machine address. */
export const updateDescriptor: Hypercall = {
  number: HYPERVISOR.update_descriptor,
  name: "update_descriptor",
  support: "full",
  handle(call) {
    const { words } = call;
    // Any VCPU's GDT may have it.
    for (const vcpu of call.domain.vcpus) vcpu.gate.forget();
    return call.machine.paging.updateDescriptor(
      call.domain.memory,
      call.whole(0),
      words[2] as number,
      words[3] as number,
    );
  },
};
