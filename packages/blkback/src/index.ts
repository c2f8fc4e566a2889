/**
 * Xen's PV block backend: serves a guest's virtual disk from any {@link @paravirt/core!Disk}.
 * @packageDocumentation
 */
export { blockDeviceName, blockDeviceNumber } from "./device-number.ts";
export { type Blkback, type BlkbackOptions, createBlkback } from "./vbd.ts";
