/**
 * Xen's PV console backend.
 * @packageDocumentation
 */
export {};
