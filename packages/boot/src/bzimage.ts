import { ParavirtError } from "@paravirt/core";

/** What the setup header of a bzImage tells (Documentation/arch/x86/boot.rst). */
export interface BzImage {
  /** Boot protocol, 0x20f for 2.15. */
  readonly version: number;
  /** The kernel's version text, `undefined` when the header has none. */
  readonly kernelVersion: string | undefined;
  /** Offset of the compressed payload in the file. */
  readonly payloadOffset: number;
  /** Bytes of the payload; its last four give its unpacked size for all formats but gzip's own, equal, trailer. */
  readonly payloadLength: number;
  /** Bytes that the payload says it unpacks to. */
  readonly unpackedSize: number;
}

const HEADER_END = 0x250;
/** The first protocol with payload_offset and payload_length. */
const PAYLOAD_VERSION = 0x208;

/** Whether `bytes` look like an x86 Linux boot image: boot sector mark and `HdrS`. */
export function isBzImage(bytes: Uint8Array): boolean {
  return (
    bytes.length >= 0x206 &&
    bytes[0x1fe] === 0x55 &&
    bytes[0x1ff] === 0xaa &&
    bytes[0x202] === 0x48 &&
    bytes[0x203] === 0x64 &&
    bytes[0x204] === 0x72 &&
    bytes[0x205] === 0x53
  );
}

/** Reads the setup header of a bzImage. Throws `BAD_IMAGE` when it is none, too old or truncated. */
export function readBzImage(bytes: Uint8Array): BzImage {
  if (!isBzImage(bytes)) throw new ParavirtError("BAD_IMAGE", "not a bzImage: no boot sector mark and HdrS at 0x202");
  if (bytes.length < HEADER_END) throw short(HEADER_END, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint16(0x206, true);
  if (version < PAYLOAD_VERSION) {
    throw new ParavirtError("BAD_IMAGE", `bzImage of boot protocol ${hex(version)}, needs ${hex(PAYLOAD_VERSION)}`);
  }
  const setup = ((bytes[0x1f1]! || 4) + 1) * 512;
  const payloadOffset = setup + view.getUint32(0x248, true);
  const payloadLength = view.getUint32(0x24c, true);
  if (payloadLength < 4) throw new ParavirtError("BAD_IMAGE", `bzImage with a payload of ${payloadLength} bytes`);
  if (payloadOffset + payloadLength > bytes.length) throw short(payloadOffset + payloadLength, bytes.length);
  const text = view.getUint16(0x20e, true);
  let kernelVersion: string | undefined;
  if (text !== 0) {
    kernelVersion = "";
    for (let at = text + 0x200; at < Math.min(bytes.length, text + 0x400) && bytes[at] !== 0; at++) {
      const byte = bytes[at]!;
      kernelVersion += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "?";
    }
  }
  const unpackedSize = view.getUint32(payloadOffset + payloadLength - 4, true);
  return { version, kernelVersion, payloadOffset, payloadLength, unpackedSize };
}

function short(needed: number, length: number): ParavirtError {
  return new ParavirtError("BAD_IMAGE", `truncated bzImage: its header needs ${needed} bytes, the file has ${length}`);
}

const hex = (version: number): string => `${version >> 8}.${String(version & 0xff).padStart(2, "0")}`;
