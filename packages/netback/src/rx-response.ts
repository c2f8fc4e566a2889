import { NETIF_EXTRA_TYPE, NETIF_GSO_TYPE, NETIF_RSP, NETRXF } from "@paravirt/xen-abi";

/** Bytes of a receive ring's slot: `netif_rx_request` and `netif_rx_response` of `io/netif.h`. */
export const RX_SLOT = 8;

/** A page that the guest offers for a piece of a frame. */
export interface RxBuffer {
  /** The guest's own number of it, which the answer repeats. */
  readonly id: number;
  /** The grant. */
  readonly ref: number;
}

/** Reads a `netif_rx_request`. */
export function decodeRxRequest(slot: DataView): RxBuffer {
  return { id: slot.getUint16(0, true), ref: slot.getUint32(4, true) };
}

/** Writes a `netif_rx_response`; `status` is the number of bytes, or a `NETIF_RSP` number below 0. */
export function encodeRxResponse(into: DataView, answer: { id: number; flags: number; status: number }): void {
  into.setUint16(0, answer.id, true);
  into.setUint16(2, 0, true); // offset of the data in the page
  into.setUint16(4, answer.flags, true);
  into.setInt16(6, answer.status, true);
}

/** Writes the extra slot that says how a large segment is to be cut. */
export function encodeGsoExtra(into: DataView, gso: { segmentSize: number; ipv6: boolean }): void {
  into.setUint8(0, NETIF_EXTRA_TYPE.GSO);
  into.setUint8(1, 0); // no further extra slot
  into.setUint16(2, gso.segmentSize, true);
  into.setUint8(4, gso.ipv6 ? NETIF_GSO_TYPE.TCPV6 : NETIF_GSO_TYPE.TCPV4);
  into.setUint8(5, 0);
  into.setUint16(6, 0, true); // no further features
}

/** Flags of a piece's response. */
export function rxFlags(piece: { first: boolean; last: boolean; partialChecksum: boolean; gso: boolean }): number {
  let flags = piece.last ? 0 : NETRXF.more_data;
  if (piece.first && piece.partialChecksum) flags |= NETRXF.csum_blank | NETRXF.data_validated;
  if (piece.first && piece.gso) flags |= NETRXF.extra_info;
  return flags;
}

/** The status of a page that wasn't granted as it should be. */
export const RX_ERROR: number = NETIF_RSP.ERROR;
