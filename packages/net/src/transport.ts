/** EtherTypes (IEEE 802) that frames are looked at for. */
export const ETHERTYPE = {
  /** Internet Protocol, version 4. */
  ipv4: 0x0800,
  /** Address resolution. */
  arp: 0x0806,
  /** A VLAN tag, with the type of what it is about behind it. */
  vlan: 0x8100,
  /** Internet Protocol, version 6. */
  ipv6: 0x86dd,
} as const;
/** IP protocol numbers of what has a checksum that may be left to others. */
export const IP_PROTOCOL = {
  /** Transmission Control Protocol. */
  tcp: 6,
  /** User Datagram Protocol. */
  udp: 17,
} as const;

/** Bytes of an Ethernet header. */
export const ETHERNET_HEADER = 14;

/** Where the headers of a TCP segment or UDP datagram lie in a frame. */
export interface TransportPlace {
  /** Whether the network layer is IPv6 rather than IPv4. */
  readonly ipv6: boolean;
  /** First byte of the IP header. */
  readonly network: number;
  /** 6 for TCP, 17 for UDP. */
  readonly protocol: number;
  /** First byte of the TCP or UDP header. */
  readonly transport: number;
  /** First byte of the data. */
  readonly payload: number;
  /** The end of the datagram as its IP header says; the frame may be longer (padding). */
  readonly end: number;
}

const IPV6_HEADER = 40;
const TCP_HEADER = 20;
const UDP_HEADER = 8;
/**
 * Extension headers of IPv6 that lead on to the transport header: hop-by-hop and destination options (RFC 8200). With a
 * routing header the checksum is about another address than the one in the IP header, so it isn't one of them.
 */
const EXTENSIONS: readonly number[] = [0, 60];
const MAX_EXTENSIONS = 8;

/**
 * Finds the transport header of a frame that is a whole TCP segment or UDP datagram over IPv4 or IPv6, with a VLAN tag or
 * without; `undefined` for anything else: fragments, other protocols, headers that are cut off or contradict the length.
 */
export function findTransport(frame: Uint8Array): TransportPlace | undefined {
  let network = ETHERNET_HEADER;
  let type = word(frame, 12);
  if (type === ETHERTYPE.vlan) {
    type = word(frame, 16);
    network += 4;
  }
  if (type === ETHERTYPE.ipv4) return findInIpv4(frame, network);
  return type === ETHERTYPE.ipv6 ? findInIpv6(frame, network) : undefined;
}

function findInIpv4(frame: Uint8Array, network: number): TransportPlace | undefined {
  if (network + 20 > frame.length || frame[network]! >> 4 !== 4) return undefined;
  const transport = network + (frame[network]! & 15) * 4;
  const end = network + word(frame, network + 2);
  if (transport < network + 20 || end > frame.length) return undefined;
  // A fragment has only a part of what its checksum is about.
  if ((word(frame, network + 6) & 0x3fff) !== 0) return undefined;
  return withPayload(frame, { ipv6: false, network, protocol: frame[network + 9]!, transport, end });
}

function findInIpv6(frame: Uint8Array, network: number): TransportPlace | undefined {
  let transport = network + IPV6_HEADER;
  if (transport > frame.length || frame[network]! >> 4 !== 6) return undefined;
  const end = transport + word(frame, network + 4);
  if (end > frame.length) return undefined;
  let protocol = frame[network + 6]!;
  for (let count = 0; EXTENSIONS.includes(protocol); count++) {
    if (count === MAX_EXTENSIONS || transport + 8 > end) return undefined;
    protocol = frame[transport]!;
    transport += (frame[transport + 1]! + 1) * 8;
  }
  return withPayload(frame, { ipv6: true, network, protocol, transport, end });
}

function withPayload(frame: Uint8Array, place: Omit<TransportPlace, "payload">): TransportPlace | undefined {
  const { protocol, transport, end } = place;
  if (protocol === IP_PROTOCOL.udp) {
    const payload = transport + UDP_HEADER;
    return payload > end ? undefined : { ...place, payload };
  }
  if (protocol !== IP_PROTOCOL.tcp || transport + TCP_HEADER > end) return undefined;
  const payload = transport + (frame[transport + 12]! >> 4) * 4;
  return payload < transport + TCP_HEADER || payload > end ? undefined : { ...place, payload };
}

function word(bytes: Uint8Array, at: number): number {
  return at + 1 < bytes.length ? (bytes[at]! << 8) | bytes[at + 1]! : -1;
}
