import type { PacketOffload } from "@paravirt/core";
import { addToSum, finishChecksum, foldSum } from "./checksum.ts";
import { findTransport, IP_PROTOCOL, type TransportPlace } from "./transport.ts";

/** Least {@link PacketOffload.segmentSize}: what Linux's TCP leaves of its smallest segment (48) when all options are used. */
export const MIN_SEGMENT_SIZE = 8;

const TCP_FIN = 0x01;
const TCP_PSH = 0x08;
const TCP_CWR = 0x80;

/** Tells whether a frame is what its offload says, so that {@link finishFrame} can finish it. */
export function isOffloadValid(frame: Uint8Array, { partialChecksum, segmentSize }: PacketOffload): boolean {
  if (partialChecksum !== true && segmentSize === undefined) return true;
  const place = findTransport(frame);
  if (place === undefined) return false;
  return segmentSize === undefined || (segmentSize >= MIN_SEGMENT_SIZE && place.protocol === IP_PROTOCOL.tcp);
}

/**
 * Does what a sender left undone: cuts a large TCP segment into frames, computes checksums. `emit` gets each finished
 * frame, valid during the call only. Answers `false`, and emits nothing, when the frame isn't what its offload says.
 *
 * A frame without an offload is passed on as it is; the given frame is never changed.
 */
export function finishFrame(
  frame: Uint8Array,
  offload: PacketOffload | undefined,
  emit: (frame: Uint8Array) => void,
): boolean {
  const { partialChecksum = false, segmentSize } = offload ?? {};
  if (!partialChecksum && segmentSize === undefined) {
    emit(frame);
    return true;
  }
  const place = findTransport(frame);
  if (place === undefined) return false;
  if (segmentSize === undefined || place.end - place.payload <= segmentSize) {
    if (segmentSize !== undefined && place.protocol !== IP_PROTOCOL.tcp) return false;
    const copy = frame.slice();
    writeTransportChecksum(copy, place);
    emit(copy);
    return true;
  }
  if (segmentSize < MIN_SEGMENT_SIZE || place.protocol !== IP_PROTOCOL.tcp) return false;
  cutSegment(frame, place, segmentSize, emit);
  return true;
}

/** Computes the checksum of the TCP segment or UDP datagram at `place` and writes it into the frame. */
export function writeTransportChecksum(frame: Uint8Array, place: TransportPlace): void {
  const { protocol, transport, end } = place;
  const at = transport + (protocol === IP_PROTOCOL.tcp ? 16 : 6);
  setWord(frame, at, 0);
  const checksum = finishChecksum(addToSum(pseudoHeaderSum(frame, place), frame, transport, end));
  // RFC 768: in UDP 0 says that there is none, so its other form is sent.
  setWord(frame, at, checksum === 0 && protocol === IP_PROTOCOL.udp ? 0xffff : checksum);
}

/**
 * Writes what {@link PacketOffload.partialChecksum} promises into the frame: the folded sum of the pseudo-header in
 * place of the checksum.
 */
export function writePartialChecksum(frame: Uint8Array, place: TransportPlace): void {
  const at = place.transport + (place.protocol === IP_PROTOCOL.tcp ? 16 : 6);
  setWord(frame, at, foldSum(pseudoHeaderSum(frame, place)));
}

/** Sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1), for {@link addToSum} to go on with. */
export function pseudoHeaderSum(
  frame: Uint8Array,
  { ipv6, network, protocol, transport, end }: TransportPlace,
): number {
  const [from, to] = ipv6 ? [network + 8, network + 40] : [network + 12, network + 20];
  return addToSum(protocol + (end - transport), frame, from, to);
}

function cutSegment(
  frame: Uint8Array,
  place: TransportPlace,
  segmentSize: number,
  emit: (frame: Uint8Array) => void,
): void {
  const { ipv6, network, transport, payload, end } = place;
  const piece = new Uint8Array(payload + segmentSize);
  piece.set(frame.subarray(0, payload));
  const view = new DataView(piece.buffer);
  const sequence = view.getUint32(transport + 4);
  const identification = ipv6 ? 0 : view.getUint16(network + 4);
  const flags = frame[transport + 13]!;
  for (let from = payload, index = 0; from < end; from += segmentSize, index++) {
    const to = Math.min(from + segmentSize, end);
    const pieceEnd = payload + to - from;
    piece.set(frame.subarray(from, to), payload);
    view.setUint32(transport + 4, sequence + (from - payload));
    // The end of the data belongs to the last piece, the answer to a congestion mark to the first (RFC 3168 6.1.2).
    piece[transport + 13] = flags & ~((to < end ? TCP_FIN | TCP_PSH : 0) | (index > 0 ? TCP_CWR : 0));
    if (ipv6) view.setUint16(network + 4, pieceEnd - network - 40);
    else {
      view.setUint16(network + 2, pieceEnd - network);
      view.setUint16(network + 4, identification + index);
      view.setUint16(network + 10, 0);
      view.setUint16(network + 10, finishChecksum(addToSum(0, piece, network, transport)));
    }
    writeTransportChecksum(piece, { ...place, end: pieceEnd });
    emit(piece.subarray(0, pieceEnd));
  }
}

function setWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}
