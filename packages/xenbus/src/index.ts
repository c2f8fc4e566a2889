/**
 * The xenbus device state machine and Xen's shared rings, both ends.
 * @packageDocumentation
 */

export {
  type ByteRingPlace,
  type ByteRingReader,
  type ByteRingWriter,
  createByteRingReader,
  createByteRingWriter,
  type RingPort,
} from "@paravirt/xenstore";
export { type BackRing, createBackRing } from "./back-ring.ts";
export { createXenbusBackend, type XenbusBackend, type XenbusBackendOptions } from "./backend.ts";
export type { Device, DeviceContext, EventChannelEnd, GrantedPage, GuestPort } from "./device.ts";
export { openXenbusEnd, type XenbusEnd, type XenbusEndOptions, type XenbusStore } from "./end.ts";
export { createFrontRing, type FrontRing } from "./front-ring.ts";
export { createXenbusFrontend, type XenbusFrontend, type XenbusFrontendOptions } from "./frontend.ts";
export type { SharedRingOptions } from "./ring-memory.ts";
export { isXenbusTransition, parseXenbusState, type XenbusState, xenbusStateName } from "./state.ts";
