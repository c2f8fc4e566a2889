import { HYPERVISOR, SEGBASE, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";
import { isCanonical } from "../traps.ts";

const GS = 5;

/** Sets FS or GS base, or the selector of the user's GS. */
export const setSegmentBase: Hypercall = {
  number: HYPERVISOR.set_segment_base,
  name: "set_segment_base",
  support: "full",
  operations: [
    { number: SEGBASE.FS, name: "FS", support: "full" },
    { number: SEGBASE.GS_USER, name: "GS_USER", support: "full" },
    { number: SEGBASE.GS_KERNEL, name: "GS_KERNEL", support: "full" },
    { number: SEGBASE.GS_USER_SEL, name: "GS_USER_SEL", support: "full" },
  ],
  handle(call) {
    const { vcpu } = call;
    const { cpu } = vcpu;
    const base = call.arg(1);
    const which = call.u32(0);
    if (which === SEGBASE.GS_USER_SEL) {
      const kernel = cpu.gsBase;
      const selector = call.u32(1) & 0xffff;
      // A selector that cannot be loaded becomes the null selector, whose base is 0.
      if (!cpu.loadSegment(GS, selector)) cpu.loadSegment(GS, 0);
      vcpu.otherGsBase = (cpu.selectors[GS] as number) <= 3 ? 0n : cpu.gsBase;
      cpu.gsBase = kernel;
      return 0;
    }
    if (which > SEGBASE.GS_USER_SEL || !isCanonical(base)) return -XEN_ERRNO.EINVAL;
    if (which === SEGBASE.FS) cpu.fsBase = base;
    else if (which === SEGBASE.GS_USER) vcpu.otherGsBase = base;
    else cpu.gsBase = base;
    return 0;
  },
};
