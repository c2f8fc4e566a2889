import { CONSOLEIO, HYPERVISOR, XEN_ERRNO } from "@paravirt/xen-abi";
import type { Hypercall } from "../hypercall.ts";

/** Bytes of a message that are kept for the log. */
const MAX_BYTES = 4096;

/** The hypervisor's own console: refused to a domU by a release build, but kept for the log. */
export const consoleIo: Hypercall = {
  number: HYPERVISOR.console_io,
  name: "console_io",
  support: "full",
  note: "-EPERM for a domU, as a release Xen answers; what it wanted to write goes to the hypervisor's log.",
  operations: [
    { number: CONSOLEIO.write, name: "write", support: "full" },
    { number: CONSOLEIO.read, name: "read", support: "full" },
  ],
  handle(call) {
    if (call.s32(0) === CONSOLEIO.write) {
      const length = Math.min(call.u32(1), MAX_BYTES);
      if (call.load(call.arg(2), length)) {
        let text = "";
        for (let i = 0; i < length; i++) text += String.fromCharCode(call.bytes[i] as number);
        call.machine.log(call.domain.id, text);
      }
    }
    return -XEN_ERRNO.EPERM;
  },
};
