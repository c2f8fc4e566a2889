import { ParavirtError } from "@paravirt/core";

/** An Ethernet address as six bytes. */
export type MacBytes = Uint8Array;

/** Reads `00:16:3e:11:22:33`, with colons or dashes. Throws `BAD_ARGUMENT` for anything else, and for a group's address. */
export function parseMac(text: string): MacBytes {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text))
    throw new ParavirtError("BAD_ARGUMENT", `${text} is not a MAC address: six bytes in hex with colons`);
  const bytes = Uint8Array.from(text.split(/[:-]/), (byte) => Number.parseInt(byte, 16));
  if (isGroupAddress(bytes, 0))
    throw new ParavirtError("BAD_ARGUMENT", `${text} is the address of a group, not of one card`);
  return bytes;
}

/** Writes an address in lower case with colons, as xenstore has it. */
export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, 6), (byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/**
 * A static address for a card: in Xen's own range, `00:16:3e:00:00:00` to `00:16:3e:7f:ff:ff` as xl takes them, the rest
 * a hash of `seed`. The same seed (a domain's name and the card's number, say) gets the same address each time.
 */
export function generateMac(seed: string): string {
  // FNV-1a, 32 bits: well spread, and the same everywhere.
  let hash = 0x811c9dc5;
  for (let at = 0; at < seed.length; at++) hash = Math.imul(hash ^ seed.charCodeAt(at), 0x01000193);
  // The last characters reach the high bits only after another round.
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  hash ^= hash >>> 13;
  return formatMac(Uint8Array.of(0x00, 0x16, 0x3e, (hash >>> 16) & 0x7f, (hash >>> 8) & 0xff, hash & 0xff));
}

/** Whether the address at `at` is that of a group: multicast or broadcast. */
export function isGroupAddress(frame: Uint8Array, at: number): boolean {
  return (frame[at]! & 1) !== 0;
}

/** Whether the address at `at` is ff:ff:ff:ff:ff:ff. */
export function isBroadcast(frame: Uint8Array, at: number): boolean {
  for (let byte = 0; byte < 6; byte++) if (frame[at + byte] !== 0xff) return false;
  return true;
}
