/**
 * The paravirt command line: boots Debian's own kernel as a Xen guest, without KVM or root.
 * @packageDocumentation
 */
export { renderCommandLine } from "./command-line-doc.ts";
export { createDebianVm, type DebianVm, type DebianVmOptions } from "./debian-vm.ts";
export { main } from "./main.ts";
export { STATUS } from "./status.ts";
