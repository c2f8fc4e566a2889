import { ParavirtError } from "@paravirt/core";

/** Numbers of the NBD protocol (NetworkBlockDevice/nbd, doc/proto.md); all are big-endian on the wire. */
export const NBD = {
  magic: 0x4e42444d41474943n,
  optionMagic: 0x49484156454f5054n,
  oldStyleMagic: 0x00420281861253n,
  replyMagic: 0x0003e889045565a9n,
  requestMagic: 0x25609513,
  simpleReplyMagic: 0x67446698,
  structuredReplyMagic: 0x668e33ef,
} as const;

/** Handshake flags of either side. */
export const HANDSHAKE = { fixedNewStyle: 1, noZeroes: 2 } as const;
/** Options that the client asks for. */
export const OPTION = { exportName: 1, abort: 2, go: 7, structuredReply: 8 } as const;
/** Answers to options. */
export const REPLY = { ack: 1, info: 3, error: 0x80000000, unsupported: 0x80000001 } as const;
/** Pieces of information within an answer to `go`. */
export const INFO = { export: 0, blockSize: 3 } as const;
/** What an export can do. */
export const TRANSMISSION = { readOnly: 2, flush: 4, trim: 32, writeZeroes: 64 } as const;
/** Requests. */
export const COMMAND = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, writeZeroes: 6 } as const;
/** Kinds of pieces that a structured reply consists of, and its flag for the last one. */
export const CHUNK = { none: 0, data: 1, hole: 2, error: 0x8000, done: 1 } as const;

const OPTION_ERRORS = [
  "",
  "doesn't know the option",
  "doesn't allow it",
  "takes the option for invalid",
  "can't do it on its platform",
  "wants TLS, which isn't there",
  "knows no such export",
  "is about to end",
  "wants to be told a block size",
  "takes the request for too big",
];

/** What a server's refusal of an option means. */
export function optionError(type: number): string {
  return OPTION_ERRORS[type - REPLY.error] ?? `answers with error ${type - REPLY.error}`;
}

/** The failure behind an error number of a reply (Linux's numbers, as proto.md lists them). */
export function requestError(error: number, what: string): ParavirtError {
  const name = {
    1: "EPERM",
    5: "EIO",
    12: "ENOMEM",
    22: "EINVAL",
    28: "ENOSPC",
    75: "EOVERFLOW",
    95: "ENOTSUP",
    108: "ESHUTDOWN",
  }[error];
  return new ParavirtError(
    error === 1 ? "DENIED" : "IO",
    `the NBD server failed to ${what}: ${name ?? `error ${error}`}`,
  );
}

/** One option of the handshake. */
export function encodeOption(option: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(16 + data.length);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, NBD.optionMagic);
  view.setUint32(8, option);
  view.setUint32(12, data.length);
  bytes.set(data, 16);
  return bytes;
}

/** The data of `go`: an export's name, and that block sizes are of interest. */
export function encodeGo(name: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + name.length + 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, name.length);
  bytes.set(name, 4);
  view.setUint16(4 + name.length, 1);
  view.setUint16(6 + name.length, INFO.blockSize);
  return bytes;
}

/** A request's header; a write's data follow. */
export function encodeRequest(command: number, cookie: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(28);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, NBD.requestMagic);
  view.setUint16(6, command);
  view.setBigUint64(8, BigInt(cookie));
  view.setBigUint64(16, BigInt(offset));
  view.setUint32(24, length);
  return bytes;
}
