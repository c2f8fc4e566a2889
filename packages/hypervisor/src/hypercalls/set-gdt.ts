import { FIRST_RESERVED_GDT_ENTRY, HYPERVISOR, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

/** Gives the frames of the guest's GDT. */
export const setGdt: Hypercall = {
  number: HYPERVISOR.set_gdt,
  name: "set_gdt",
  support: "full",
  handle(call) {
    const { domain, vcpu } = call;
    const { paging } = call.machine;
    const entries = call.u32(1);
    if (entries > FIRST_RESERVED_GDT_ENTRY) return -XEN_ERRNO.EINVAL;
    const count = Math.ceil(entries / 512);
    if (!call.load(call.arg(0), count * 8)) return -XEN_ERRNO.EFAULT;
    const frames: number[] = [];
    for (let i = 0; i < count; i++) frames.push(call.field(i * 8));
    const status = paging.getGdtFrames(domain.memory, frames, entries);
    if (status !== 0) return status;
    for (const mfn of vcpu.gdtFrames) paging.putDescriptorPage(mfn);
    vcpu.gdtFrames.splice(0, vcpu.gdtFrames.length, ...frames);
    vcpu.gdtEntries = entries;
    vcpu.gate.forget();
    return 0;
  },
};
