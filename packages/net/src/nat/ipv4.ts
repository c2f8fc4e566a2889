import type { Ipv4 } from "../addresses.ts";
import { getLong, getWord, putLong, putWord } from "../bytes.ts";
import { addToSum, finishChecksum } from "../checksum.ts";
import { ETHERNET_HEADER, ETHERTYPE } from "../transport.ts";

/** Bytes of an IPv4 header without options, as all that we send have. */
export const IPV4_HEADER = 20;
/** Where the payload of a frame of ours begins. */
export const PAYLOAD_AT: number = ETHERNET_HEADER + IPV4_HEADER;

/** IP protocol numbers. */
export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17 } as const;

const DONT_FRAGMENT = 0x4000;
const TIME_TO_LIVE = 64;

/** What the IPv4 header of a frame says; nothing in it points into the frame. */
export interface Ipv4Header {
  readonly source: Ipv4;
  readonly destination: Ipv4;
  readonly protocol: number;
  readonly identification: number;
  /** Bytes before this piece of the datagram. */
  readonly fragmentOffset: number;
  readonly moreFragments: boolean;
  /** Where the payload begins in the frame. */
  readonly payload: number;
  /** Where the datagram ends in the frame. */
  readonly end: number;
}

/** Reads the header of an IPv4 frame without a VLAN tag; `undefined` when it is cut off, contradicts itself, or its checksum is wrong. */
export function decodeIpv4(frame: Uint8Array): Ipv4Header | undefined {
  const at = ETHERNET_HEADER;
  if (frame.length < at + IPV4_HEADER || frame[at]! >> 4 !== 4) return undefined;
  const payload = at + (frame[at]! & 15) * 4;
  const end = at + getWord(frame, at + 2);
  if (payload < at + IPV4_HEADER || end < payload || end > frame.length) return undefined;
  if (finishChecksum(addToSum(0, frame, at, payload)) !== 0) return undefined;
  const fragment = getWord(frame, at + 6);
  return {
    source: getLong(frame, at + 12),
    destination: getLong(frame, at + 16),
    protocol: frame[at + 9]!,
    identification: getWord(frame, at + 4),
    fragmentOffset: (fragment & 0x1fff) * 8,
    moreFragments: (fragment & 0x2000) !== 0,
    payload,
    end,
  };
}

/** An IPv4 header to be written. */
export interface Ipv4Out {
  readonly source: Ipv4;
  readonly destination: Ipv4;
  readonly protocol: number;
  /** Bytes after the header. */
  readonly length: number;
  readonly identification: number;
  /** Bytes before this piece of a datagram that doesn't fit into one frame; such a frame may be fragmented. */
  readonly fragment?: { readonly offset: number; readonly more: boolean };
}

/** Writes the Ethernet and the IPv4 header to the start of `frame`. */
export function encodeIpv4(frame: Uint8Array, to: Uint8Array, from: Uint8Array, header: Ipv4Out): void {
  const at = ETHERNET_HEADER;
  frame.set(to, 0);
  frame.set(from, 6);
  putWord(frame, 12, ETHERTYPE.ipv4);
  putWord(frame, at, 0x4500);
  putWord(frame, at + 2, IPV4_HEADER + header.length);
  putWord(frame, at + 4, header.identification);
  const { fragment } = header;
  putWord(
    frame,
    at + 6,
    fragment === undefined ? DONT_FRAGMENT : (fragment.offset >> 3) | (fragment.more ? 0x2000 : 0),
  );
  frame[at + 8] = TIME_TO_LIVE;
  frame[at + 9] = header.protocol;
  putWord(frame, at + 10, 0);
  putLong(frame, at + 12, header.source);
  putLong(frame, at + 16, header.destination);
  putWord(frame, at + 10, finishChecksum(addToSum(0, frame, at, at + IPV4_HEADER)));
}

/** The pseudo-header's sum (RFC 9293 3.1, RFC 768) of a transport segment of `length` bytes. */
export function pseudoSum(source: Ipv4, destination: Ipv4, protocol: number, length: number): number {
  return (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff) + protocol + length;
}
