import { HYPERVISOR, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

const { EACCES, EFAULT, EPERM, ESRCH } = XEN_ERRNO;

const DOMCTL_VERSION = 0x15;
const DOMCTL_BYTES = 144;

/** Control of domains. */
export const domctl: Hypercall = {
  number: HYPERVISOR.domctl,
  name: "domctl",
  support: "full",
  note: "-EPERM for a domU, -ESRCH where the domain it names doesn't exist.",
  handle(call) {
    if (!call.load(call.arg(0), DOMCTL_BYTES)) return -EFAULT;
    if (call.view.getUint32(4, true) !== DOMCTL_VERSION) return -EACCES;
    // XEN_DOMCTL_createdomain is 1, and names a domain that needn't exist yet.
    const creates = call.view.getUint32(0, true) === 1;
    return creates || call.machine.domain(call.view.getUint16(8, true)) !== undefined ? -EPERM : -ESRCH;
  },
};
