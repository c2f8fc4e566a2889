/**
 * Reads kernels (ELF, bzImage, Xen notes), unpacks their payloads, builds initramfs archives and Xen PV domains.
 * @packageDocumentation
 */
export {};
