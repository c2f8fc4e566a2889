import * as zlib from "node:zlib";
import { unpack } from "@paravirt/boot";
import type { Codecs } from "@paravirt/disk";

/** Node.js has zstd from 22.15 on; older ones unpack with our own. */
const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (data: Uint8Array, options: object) => Uint8Array };

/** Compression for disk images, on this thread. */
export const diskCodecs: Codecs = {
  inflateRaw: (data, size) => zlib.inflateRawSync(data, { maxOutputLength: size }),
  unzstd: (data, size) =>
    zstdDecompressSync === undefined
      ? unpack(data, { limit: size })
      : zstdDecompressSync(data, { maxOutputLength: size }),
  // A window of 4096 bytes, since QEMU unpacks with no larger one.
  deflateRaw: (data) => zlib.deflateRawSync(data, { windowBits: 12, memLevel: 9 }),
};
