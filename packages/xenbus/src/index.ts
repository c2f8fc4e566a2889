/**
 * The xenbus device state machine and Xen's shared rings, both ends.
 * @packageDocumentation
 */
export {};
