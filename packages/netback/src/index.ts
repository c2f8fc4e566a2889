/**
 * Xen's PV network backend: serves a guest's virtual interface from any `PacketPort` of `@paravirt/core`.
 * @packageDocumentation
 */
export { formatMac, generateMac, type MacBytes, parseMac } from "./mac.ts";
export { parseVifRate, type VifRate } from "./rate.ts";
export type { VifStatistics } from "./statistics.ts";
export type { VifTimer } from "./transmit.ts";
export { createVif, type Vif, type VifOptions } from "./vif.ts";
