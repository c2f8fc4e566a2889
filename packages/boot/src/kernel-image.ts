import { ParavirtError } from "@paravirt/core";
import { type BzImage, isBzImage, readBzImage } from "./bzimage.ts";
import { type Compression, detectCompression, unpack } from "./decompress/unpack.ts";
import { type ElfFile, isElf, readElf } from "./elf.ts";
import { readXenKernelInfo, type XenKernelInfo } from "./xen-notes.ts";

/** A kernel, unpacked and read; nothing in it is copied but the unpacked payload. */
export interface KernelImage {
  /** What the file was: an ELF file, a bzImage, or an ELF file packed as a whole. */
  readonly format: "elf" | "bzimage" | "compressed-elf";
  /** How its payload was packed; `undefined` for a plain ELF file. */
  readonly compression: Compression | undefined;
  /** The bzImage's setup header. */
  readonly bzImage: BzImage | undefined;
  /** The kernel proper. */
  readonly elf: ElfFile;
  /** What it says to Xen; `undefined` when it isn't a Xen kernel. */
  readonly xen: XenKernelInfo | undefined;
}

/** Options of {@link readKernelImage}. */
export interface ReadKernelOptions {
  /** Most bytes that a payload may unpack to; 512 MiB when left out. */
  readonly limit?: number;
  /** A payload unpacked before (a cache); used instead of unpacking when its size fits the image's header. */
  readonly unpacked?: Uint8Array;
}

/** Most bytes that a kernel may unpack to, when nothing else is said: 512 MiB. */
export const DEFAULT_KERNEL_LIMIT: number = 512 * 1024 * 1024;

/**
 * Reads a kernel: an ELF file, or a bzImage whose payload is unpacked (gzip, xz, zstd, lz4, lzma, bzip2).
 * Throws `BAD_IMAGE` for what is neither, truncated or corrupt; `UNSUPPORTED` for other payloads, by name.
 */
export function readKernelImage(bytes: Uint8Array, options: ReadKernelOptions = {}): KernelImage {
  const limit = options.limit ?? DEFAULT_KERNEL_LIMIT;
  if (isElf(bytes)) {
    const elf = readElf(bytes);
    return { format: "elf", compression: undefined, bzImage: undefined, elf, xen: readXenKernelInfo(elf) };
  }
  if (isBzImage(bytes)) {
    const bzImage = readBzImage(bytes);
    const payload = bzImagePayload(bytes, bzImage);
    const compression = detectCompression(payload);
    if (compression === undefined && !isElf(payload)) throw unknownPayload(payload);
    const cached = options.unpacked;
    const unpacked =
      cached !== undefined && cached.length === bzImage.unpackedSize
        ? cached
        : compression === undefined
          ? payload
          : unpack(payload, { limit, size: bzImage.unpackedSize, sizeTrailer: true });
    if (!isElf(unpacked)) throw new ParavirtError("BAD_IMAGE", "the bzImage's payload unpacks to no ELF file");
    const elf = readElf(unpacked);
    return { format: "bzimage", compression, bzImage, elf, xen: readXenKernelInfo(elf) };
  }
  const compression = detectCompression(bytes);
  if (compression !== undefined) {
    const unpacked = unpack(bytes, { limit });
    if (!isElf(unpacked)) throw new ParavirtError("BAD_IMAGE", `a ${compression} file that unpacks to no ELF file`);
    const elf = readElf(unpacked);
    return { format: "compressed-elf", compression, bzImage: undefined, elf, xen: readXenKernelInfo(elf) };
  }
  if (bytes.length === 0) throw new ParavirtError("BAD_IMAGE", "an empty file is no kernel");
  throw new ParavirtError("BAD_IMAGE", `neither an ELF file nor a bzImage: it starts with ${hexBytes(bytes)}`);
}

/** The compressed payload of a bzImage, a view on it. */
export function bzImagePayload(bytes: Uint8Array, bzImage: BzImage): Uint8Array {
  return bytes.subarray(bzImage.payloadOffset, bzImage.payloadOffset + bzImage.payloadLength);
}

function unknownPayload(payload: Uint8Array): ParavirtError {
  return new ParavirtError("UNSUPPORTED", `a payload of unknown compression: it starts with ${hexBytes(payload)}`);
}

function hexBytes(bytes: Uint8Array): string {
  return [...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}
