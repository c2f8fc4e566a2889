import { putLong, putWord } from "../bytes.ts";
import { addToSum, finishChecksum } from "../checksum.ts";
import { IPV4_HEADER, PAYLOAD_AT } from "./ipv4.ts";

const ECHO_REPLY = 0;
const UNREACHABLE = 3;
const ECHO = 8;

/** Codes of "destination unreachable" (RFC 792, RFC 1812 5.2.7.1). */
export const UNREACHABLE_CODE = { host: 1, port: 3, prohibited: 13 } as const;

/** Bytes of an ICMP header. */
export const ICMP_HEADER = 8;

/** Whether the ICMP message is an echo request with the right checksum. */
export function isEcho(message: Uint8Array): boolean {
  return (
    message.length >= ICMP_HEADER &&
    message[0] === ECHO &&
    finishChecksum(addToSum(0, message, 0, message.length)) === 0
  );
}

/** Writes the answer to an echo request into `frame`, and answers its length. */
export function encodeEchoReply(frame: Uint8Array, echo: Uint8Array): number {
  frame.set(echo, PAYLOAD_AT);
  putWord(frame, PAYLOAD_AT, ECHO_REPLY << 8);
  writeChecksum(frame, echo.length);
  return echo.length;
}

/**
 * Writes "destination unreachable" into `frame`, about a datagram whose IP header and first 8 bytes are in `about`, and
 * answers its length.
 */
export function encodeUnreachable(frame: Uint8Array, code: number, about: Uint8Array): number {
  putLong(frame, PAYLOAD_AT, (UNREACHABLE << 24) | (code << 16));
  putLong(frame, PAYLOAD_AT + 4, 0);
  const quoted = about.subarray(0, IPV4_HEADER + 8);
  frame.set(quoted, PAYLOAD_AT + ICMP_HEADER);
  writeChecksum(frame, ICMP_HEADER + quoted.length);
  return ICMP_HEADER + quoted.length;
}

function writeChecksum(frame: Uint8Array, length: number): void {
  putWord(frame, PAYLOAD_AT + 2, 0);
  putWord(frame, PAYLOAD_AT + 2, finishChecksum(addToSum(0, frame, PAYLOAD_AT, PAYLOAD_AT + length)));
}
