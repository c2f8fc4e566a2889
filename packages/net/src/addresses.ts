import { ParavirtError } from "@paravirt/core";

/** An IPv4 address as a number below 2^32: `10.0.2.15` is `0x0a00020f`. */
export type Ipv4 = number;

/** Reads `10.0.2.15`; `undefined` for anything else. */
export function readIpv4(text: string): Ipv4 | undefined {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (parts === null) return undefined;
  let address = 0;
  for (const part of parts.slice(1)) {
    const byte = Number(part);
    if (byte > 255 || (part.length > 1 && part.startsWith("0"))) return undefined;
    address = address * 256 + byte;
  }
  return address;
}

/** Reads `10.0.2.15`. Throws `BAD_ARGUMENT` for anything else. */
export function parseIpv4(text: string): Ipv4 {
  const address = readIpv4(text);
  if (address === undefined)
    throw new ParavirtError("BAD_ARGUMENT", `${text} is not an IPv4 address: four numbers of 0 to 255 with dots`);
  return address;
}

/** Writes an address as four numbers with dots. */
export function formatIpv4(address: Ipv4): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** A range of IPv4 addresses that share their first `bits` bits. */
export interface Ipv4Network {
  /** The first address of it. */
  readonly address: Ipv4;
  /** 0 to 32. */
  readonly bits: number;
}

/** Reads `10.0.2.0/24`, or a single address as one of 32 bits; `undefined` for anything else. */
export function readIpv4Network(text: string): Ipv4Network | undefined {
  const [first, length = "32", ...rest] = text.split("/");
  const address = readIpv4(first!);
  const bits = /^\d{1,2}$/.test(length) ? Number(length) : 33;
  if (address === undefined || bits > 32 || rest.length > 0) return undefined;
  return { address: (address & networkMask(bits)) >>> 0, bits };
}

/** The mask of a network with so many bits. */
export function networkMask(bits: number): Ipv4 {
  return bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0;
}

/** Whether `address` is in `network`. */
export function isInNetwork(address: Ipv4, network: Ipv4Network): boolean {
  return (address & networkMask(network.bits)) >>> 0 === network.address;
}

/** Reads an Ethernet address `52:55:0a:00:02:02`. Throws `BAD_ARGUMENT` for anything else. */
export function parseEthernetAddress(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text))
    throw new ParavirtError("BAD_ARGUMENT", `${text} is not an Ethernet address: six bytes in hex with colons`);
  return Uint8Array.from(text.split(/[:-]/), (byte) => Number.parseInt(byte, 16));
}
