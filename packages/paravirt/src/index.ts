/**
 * The paravirt command line: boots Debian's own kernel as a Xen guest, without KVM or root.
 * @packageDocumentation
 */
export { renderCommandLine } from "./command-line-doc.ts";
export { main, STATUS } from "./main.ts";
