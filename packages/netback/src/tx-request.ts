import type { PacketOffload } from "@paravirt/core";
import { NETIF_EXTRA_TYPE, NETIF_GSO_TYPE, NETTXF, XEN_NETIF_EXTRA_FLAG_MORE } from "@paravirt/xen-abi";
import type { BackRing } from "@paravirt/xenbus";

/** Bytes of a transmit ring's slot: `netif_tx_request` of `io/netif.h`. */
export const TX_SLOT = 12;
/**
 * Data slots that a frame may have. A frontend may take `XEN_NETIF_NR_SLOTS_MIN` (18) and one for its headers; Linux's
 * backend bears 20 before it closes the device.
 */
export const MAX_TX_SLOTS = 20;
const PAGE = 4096;
const ETHERNET_HEADER = 14;
const MULTICAST_ADDRESS = 6;

/** A piece of a frame in a page that the guest granted. */
export interface TxPiece {
  /** The grant. */
  readonly ref: number;
  /** First byte in the page. */
  readonly offset: number;
  /** Bytes; the piece ends in the same page. */
  readonly length: number;
}

/** One slot that was taken and must be answered: the request's id, or an extra slot, whose answer is empty. */
export type TxAnswer = number | "extra";

/** A frame that a guest sends, checked; or why not. */
export interface TxPacket {
  /** The slots that it took, in order, all to be answered. */
  readonly answers: readonly TxAnswer[];
  /** What is wanted. */
  readonly action:
    | {
        readonly kind: "send";
        readonly pieces: readonly TxPiece[];
        readonly length: number;
        readonly offload: PacketOffload;
        /** Whether the guest left the pseudo-header's sum in place of the checksum. */
        readonly checksumIsBlank: boolean;
      }
    | { readonly kind: "join" | "leave"; readonly group: Uint8Array }
    /** A frame that can't be sent; the guest is told, and goes on. */
    | { readonly kind: "refuse"; readonly reason: string };
}

/** A ring that can't be understood any more: the device has to be closed. */
export interface TxBroken {
  /** Why, for the device's error node. */
  readonly broken: string;
}

interface Slot {
  readonly ref: number;
  readonly offset: number;
  readonly flags: number;
  readonly id: number;
  readonly size: number;
}

interface Extras {
  segmentSize?: number;
  join?: Uint8Array;
  leave?: Uint8Array;
  refused?: string;
}

/**
 * Takes the next frame's slots (io/netif.h: a request, its extra slots, further requests while `NETTXF_more_data` says
 * so) off a transmit ring and checks them. `undefined` when the ring is empty.
 *
 * A frontend publishes all slots of a frame at once. One that doesn't, whose chains don't end, or whose pieces cross the
 * border of a page is broken, as it is for Linux's backend.
 */
export function takeTxPacket(ring: BackRing): TxPacket | TxBroken | undefined {
  const first = takeSlot(ring);
  if (first === undefined) return ring.broken ? RING_BROKEN : undefined;
  const answers: TxAnswer[] = [first.id];
  const extras: Extras = {};
  if ((first.flags & NETTXF.extra_info) !== 0) {
    const broken = takeExtras(ring, answers, extras);
    if (broken !== undefined) return broken;
  }
  const slots = [first];
  for (let flags = first.flags; (flags & NETTXF.more_data) !== 0; ) {
    if (slots.length === MAX_TX_SLOTS) return { broken: `a frame of more than ${MAX_TX_SLOTS} slots` };
    const slot = takeSlot(ring);
    if (slot === undefined) return ring.broken ? RING_BROKEN : { broken: "a frame's last slot is missing" };
    answers.push(slot.id);
    slots.push(slot);
    flags = slot.flags;
  }
  return describePacket(slots, answers, extras);
}

const RING_BROKEN: TxBroken = { broken: "more transmit requests than the ring has slots" };

function takeSlot(ring: BackRing): Slot | undefined {
  const slot = ring.take();
  if (slot === undefined) return undefined;
  return {
    ref: slot.getUint32(0, true),
    offset: slot.getUint16(4, true),
    flags: slot.getUint16(6, true),
    id: slot.getUint16(8, true),
    size: slot.getUint16(10, true),
  };
}

function takeExtras(ring: BackRing, answers: TxAnswer[], extras: Extras): TxBroken | undefined {
  for (let more = true; more; ) {
    const slot = ring.take();
    if (slot === undefined) return ring.broken ? RING_BROKEN : { broken: "a frame's extra slot is missing" };
    answers.push("extra");
    const type = slot.getUint8(0);
    if (type === NETIF_EXTRA_TYPE.GSO) readGso(slot, extras);
    else if (type === NETIF_EXTRA_TYPE.MCAST_ADD) extras.join = groupOf(slot);
    else if (type === NETIF_EXTRA_TYPE.MCAST_DEL) extras.leave = groupOf(slot);
    // A hash is the guest's own word for a flow; nothing here needs one.
    else if (type !== NETIF_EXTRA_TYPE.HASH) return { broken: `extra slot of unknown type ${type}` };
    more = (slot.getUint8(1) & XEN_NETIF_EXTRA_FLAG_MORE) !== 0;
  }
  return undefined;
}

function readGso(slot: DataView, extras: Extras): void {
  const size = slot.getUint16(2, true);
  const type = slot.getUint8(4);
  if (type !== NETIF_GSO_TYPE.TCPV4 && type !== NETIF_GSO_TYPE.TCPV6)
    extras.refused = `segmentation of unknown type ${type}`;
  else if (size === 0) extras.refused = "segments of no bytes";
  else extras.segmentSize = size;
}

function groupOf(slot: DataView): Uint8Array {
  return new Uint8Array(slot.buffer, slot.byteOffset + 2, MULTICAST_ADDRESS).slice();
}

function describePacket(
  slots: readonly Slot[],
  answers: readonly TxAnswer[],
  { segmentSize, join, leave, refused }: Extras,
): TxPacket | TxBroken {
  const [first] = slots as [Slot];
  // A dummy request that carries a group has no data of its own.
  const group = join ?? leave;
  if (group !== undefined) return { answers, action: { kind: join === undefined ? "leave" : "join", group } };
  // The first slot's size is the frame's, the others' are their own.
  let firstLength = first.size;
  for (const slot of slots.slice(1)) {
    if (slot.offset + slot.size > PAGE) return { broken: crossing(slot) };
    firstLength -= slot.size;
  }
  const refuse = (reason: string): TxPacket => ({ answers, action: { kind: "refuse", reason } });
  if (firstLength < 0) return refuse(`slots of more than the frame's ${first.size} bytes`);
  if (first.offset + firstLength > PAGE) return { broken: crossing({ offset: first.offset, size: firstLength }) };
  if (first.size < ETHERNET_HEADER) return refuse(`a frame of ${first.size} bytes`);
  if (refused !== undefined) return refuse(refused);
  const pieces = slots.map(
    ({ ref, offset, size }, index): TxPiece => ({ ref, offset, length: index === 0 ? firstLength : size }),
  );
  const checksumIsBlank = (first.flags & NETTXF.csum_blank) !== 0;
  const offload: PacketOffload = {
    // What is to be cut gets its checksums then.
    ...(checksumIsBlank || segmentSize !== undefined ? { partialChecksum: true } : {}),
    ...(segmentSize === undefined ? {} : { segmentSize }),
  };
  return { answers, action: { kind: "send", pieces, length: first.size, offload, checksumIsBlank } };
}

function crossing({ offset, size }: { readonly offset: number; readonly size: number }): string {
  return `${size} bytes at ${offset} leave their page`;
}
