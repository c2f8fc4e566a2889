/**
 * Networks for virtual machines: uplinks behind one packet port, and tools for Ethernet frames.
 * @packageDocumentation
 */
export { addToSum, finishChecksum, foldSum } from "./checksum.ts";
export {
  finishFrame,
  isOffloadValid,
  MIN_SEGMENT_SIZE,
  pseudoHeaderSum,
  writePartialChecksum,
  writeTransportChecksum,
} from "./offload.ts";
export { ETHERNET_HEADER, ETHERTYPE, findTransport, IP_PROTOCOL, type TransportPlace } from "./transport.ts";
export {
  type HostConnection,
  type HostConnectionHandler,
  type HostDatagrams,
  type HostDatagramsHandler,
  type HostFailure,
  type HostListener,
  type NetworkHost,
} from "./network-host.ts";
export { type AllowRule, parseAllowRule } from "./nat/allow-list.ts";
export { createNat, type Nat, type NatOptions, type PublishOptions } from "./nat/nat.ts";
export type { Ipv4, Ipv4Network } from "./addresses.ts";
