import { ParavirtError } from "@paravirt/core";
import { type Ipv4, parseEthernetAddress, readIpv4 } from "./addresses.ts";
import { getLong, getWord } from "./bytes.ts";
import { readIpv6 } from "./ipv6-address.ts";
import { ETHERNET_HEADER, ETHERTYPE } from "./transport.ts";

/** Who a card is, for a filter. */
export interface GuestIdentity {
  readonly mac: Uint8Array;
  /** Any when `undefined`. */
  readonly ipv4: ReadonlySet<Ipv4> | undefined;
  /** Any when `undefined`; 16 bytes each. */
  readonly ipv6: readonly Uint8Array[] | undefined;
}

const ARP_LENGTH = 28;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const ICMPV6 = 58;
/** Neighbour discovery (RFC 4861): solicitations and advertisements of routers and neighbours, redirects. */
const ROUTER_ADVERTISEMENT = 134;
const NEIGHBOUR_SOLICITATION = 135;
const NEIGHBOUR_ADVERTISEMENT = 136;
const REDIRECT = 137;
const SOURCE_LINK_ADDRESS = 1;
const TARGET_LINK_ADDRESS = 2;
const DHCP_SERVER = 67;
const DHCPV6_SERVER = 547;
const UDP = 17;

/** Reads who a card is. Throws `BAD_ARGUMENT` naming what is no address. */
export function readIdentity(mac: string, addresses: readonly string[] | undefined): GuestIdentity {
  const card = parseEthernetAddress(mac);
  if (addresses === undefined) return { mac: card, ipv4: undefined, ipv6: undefined };
  const ipv4 = new Set<Ipv4>();
  // What a card makes of its own address it may always have (RFC 4291 2.5.1).
  const ipv6 = [linkLocalAddress(card)];
  for (const text of addresses) {
    const four = readIpv4(text);
    const six = four === undefined ? readIpv6(text) : undefined;
    if (four !== undefined) ipv4.add(four);
    else if (six !== undefined) ipv6.push(six);
    else throw new ParavirtError("BAD_ARGUMENT", `${text} is neither an IPv4 nor an IPv6 address`);
  }
  return { mac: card, ipv4, ipv6 };
}

function linkLocalAddress(mac: Uint8Array): Uint8Array {
  const address = new Uint8Array(16);
  address.set([0xfe, 0x80], 0);
  address.set([mac[0]! ^ 2, mac[1]!, mac[2]!, 0xff, 0xfe, mac[3]!, mac[4]!, mac[5]!], 8);
  return address;
}

/**
 * Whether a card may send a frame: from its own Ethernet address, about its own addresses in ARP and neighbour discovery,
 * from its own IP addresses. With addresses given it may not play the router or the DHCP server either.
 */
export function allowsFrame(identity: GuestIdentity, frame: Uint8Array): boolean {
  if (!isMac(identity, frame, 6)) return false;
  switch (getWord(frame, 12)) {
    case ETHERTYPE.arp:
      return allowsArp(identity, frame);
    case ETHERTYPE.ipv4:
      return allowsIpv4(identity, frame);
    case ETHERTYPE.ipv6:
      return allowsIpv6(identity, frame);
    default:
      return false;
  }
}

function allowsArp(identity: GuestIdentity, frame: Uint8Array): boolean {
  const at = ETHERNET_HEADER;
  if (frame.length < at + ARP_LENGTH || getWord(frame, at) !== 1 || getWord(frame, at + 2) !== ETHERTYPE.ipv4)
    return false;
  if (getWord(frame, at + 4) !== 0x0604 || !isMac(identity, frame, at + 8)) return false;
  const sender = getLong(frame, at + 14);
  // 0 asks whether an address is free (RFC 5227).
  return sender === 0 || identity.ipv4 === undefined || identity.ipv4.has(sender);
}

function allowsIpv4({ ipv4 }: GuestIdentity, frame: Uint8Array): boolean {
  const at = ETHERNET_HEADER;
  if (frame.length < at + IPV4_HEADER || frame[at]! >> 4 !== 4) return false;
  if (ipv4 === undefined) return true;
  const transport = at + (frame[at]! & 15) * 4;
  const isUdp = frame[at + 9] === UDP && frame.length >= transport + 8;
  const source = getLong(frame, at + 12);
  if (source === 0) return isUdp && getWord(frame, transport) === 68 && getWord(frame, transport + 2) === DHCP_SERVER;
  if (isUdp && getWord(frame, transport) === DHCP_SERVER) return false;
  return ipv4.has(source);
}

function allowsIpv6(identity: GuestIdentity, frame: Uint8Array): boolean {
  const at = ETHERNET_HEADER;
  if (frame.length < at + IPV6_HEADER || frame[at]! >> 4 !== 6) return false;
  const { ipv6 } = identity;
  const protocol = frame[at + 6]!;
  const payload = at + IPV6_HEADER;
  if (protocol === ICMPV6 && frame.length > payload && !allowsDiscovery(identity, frame, payload)) return false;
  if (ipv6 === undefined) return true;
  // Behind an extension header there is what isn't looked at; multicast reports have one that is known.
  if (protocol === 0 && !isMulticastReport(frame, payload)) return false;
  if (protocol === 43 || protocol === 44 || protocol === 60) return false;
  if (protocol === UDP && frame.length >= payload + 8 && getWord(frame, payload) === DHCPV6_SERVER) return false;
  const source = frame.subarray(at + 8, at + 24);
  return source.every((byte) => byte === 0) || isOne(ipv6, source);
}

/** Neighbour discovery: link addresses in it must be the card's, and a target that it claims one of its own. */
function allowsDiscovery(identity: GuestIdentity, frame: Uint8Array, at: number): boolean {
  const { ipv6 } = identity;
  const type = frame[at]!;
  if (type === ROUTER_ADVERTISEMENT || type === REDIRECT) return ipv6 === undefined;
  if (type < 133 || type > NEIGHBOUR_ADVERTISEMENT) return true;
  const hasTarget = type === NEIGHBOUR_SOLICITATION || type === NEIGHBOUR_ADVERTISEMENT;
  const options = at + (hasTarget ? 24 : 8);
  if (options > frame.length) return false;
  if (type === NEIGHBOUR_ADVERTISEMENT && ipv6 !== undefined && !isOne(ipv6, frame.subarray(at + 8, at + 24)))
    return false;
  for (let option = options; option + 8 <= frame.length; ) {
    const kind = frame[option]!;
    if ((kind === SOURCE_LINK_ADDRESS || kind === TARGET_LINK_ADDRESS) && !isMac(identity, frame, option + 2))
      return false;
    const length = frame[option + 1]! * 8;
    // RFC 4861 4.6: a length of 0 makes the whole packet void.
    if (length === 0) return false;
    option += length;
  }
  return true;
}

/** A hop-by-hop header with the router alert of an MLD report, and nothing behind it but ICMPv6. */
function isMulticastReport(frame: Uint8Array, at: number): boolean {
  if (frame.length < at + 9 || frame[at] !== ICMPV6 || frame[at + 1] !== 0) return false;
  const type = frame[at + 8]!;
  return type === 131 || type === 132 || type === 143;
}

function isMac({ mac }: GuestIdentity, frame: Uint8Array, at: number): boolean {
  for (let byte = 0; byte < 6; byte++) if (frame[at + byte] !== mac[byte]) return false;
  return true;
}

function isOne(addresses: readonly Uint8Array[], address: Uint8Array): boolean {
  return addresses.some((one) => one.every((byte, index) => byte === address[index]));
}
