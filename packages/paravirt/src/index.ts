/**
 * The paravirt command line: boots Debian's own kernel as a Xen guest, without KVM or root.
 * @packageDocumentation
 */
export { main, STATUS } from "./main.ts";
