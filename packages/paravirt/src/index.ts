/**
 * The paravirt command line: boot Debian's own kernel as a Xen guest, without KVM or root.
 * @packageDocumentation
 */
export {};
