/**
 * Networks for virtual machines: uplinks behind one packet port, and tools for Ethernet frames.
 * @packageDocumentation
 */

export type { Ipv4, Ipv4Network } from "./addresses.ts";
export { addToSum, finishChecksum, foldSum } from "./checksum.ts";
export { type FrameStream, type StreamPort, type StreamPortOptions, streamPort } from "./frame-stream.ts";
export {
  createHub,
  type Hub,
  type HubOptions,
  type HubPort,
  type HubPortOptions,
  type HubPortStatistics,
} from "./hub.ts";
export { type AllowRule, parseAllowRule } from "./nat/allow-list.ts";
export {
  createNat,
  type Nat,
  type NatAddresses,
  type NatOptions,
  type NatStatistics,
  type PublishOptions,
} from "./nat/nat.ts";
export type {
  HostConnection,
  HostConnectionHandler,
  HostDatagramListener,
  HostDatagrams,
  HostDatagramsHandler,
  HostFailure,
  HostListener,
  HostPeer,
  NetworkHost,
} from "./network-host.ts";
export {
  finishFrame,
  isOffloadValid,
  MIN_SEGMENT_SIZE,
  pseudoHeaderSum,
  writePartialChecksum,
  writeTransportChecksum,
} from "./offload.ts";
export { createPcapWriter, type PcapOptions, teePcap } from "./pcap.ts";
export { ETHERNET_HEADER, ETHERTYPE, findTransport, IP_PROTOCOL, type TransportPlace } from "./transport.ts";
export { connectRelay, type Relay, type RelayOptions, type WebSocketLike } from "./web-socket.ts";
