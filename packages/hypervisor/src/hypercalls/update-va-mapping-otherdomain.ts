import { HYPERVISOR } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";
import { updateVa } from "./update-va-mapping.ts";

/** The same, for a frame of another domain: a domU has none that it may name. */
export const updateVaMappingOtherdomain: Hypercall = {
  number: HYPERVISOR.update_va_mapping_otherdomain,
  name: "update_va_mapping_otherdomain",
  support: "full",
  handle: (call) => updateVa(call, call.u32(3) & 0xffff),
};
