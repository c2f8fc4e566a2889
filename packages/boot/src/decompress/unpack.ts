import { ParavirtError } from "@paravirt/core";
import { unbzip2 } from "./bzip2.ts";
import { corrupt } from "./errors.ts";
import { gunzip } from "./inflate.ts";
import { unlz4 } from "./lz4.ts";
import { unlzma } from "./lzma.ts";
import { isXz, unxz } from "./xz.ts";
import { unzstd } from "./zstd.ts";

/** The compression formats that are known by their first bytes; `lzo` is recognised to be refused by name. */
export type Compression = "gzip" | "xz" | "zstd" | "lz4" | "lzma" | "bzip2" | "lzo";

/** Options of {@link unpack}. */
export interface UnpackOptions {
  /** Most bytes that it may unpack to; over it `OUT_OF_RANGE` is thrown. */
  readonly limit: number;
  /** The unpacked size, when it is known: anything else is `BAD_IMAGE`. */
  readonly size?: number;
  /** Whether four bytes of unpacked size follow the stream, as in a Linux bzImage; gzip has them as its own. */
  readonly sizeTrailer?: boolean;
}

/** Tells a compression format by its first bytes (Linux's lib/decompress.c), or `undefined`. */
export function detectCompression(bytes: Uint8Array): Compression | undefined {
  const [a, b, c, d] = bytes;
  if (a === 0x1f && (b === 0x8b || b === 0x9e)) return "gzip";
  if (isXz(bytes)) return "xz";
  if (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) return "zstd";
  if (a === 0x02 && b === 0x21 && c === 0x4c && d === 0x18) return "lz4";
  if (a === 0x5d && b === 0x00 && c === 0x00) return "lzma";
  if (a === 0x42 && b === 0x5a && c === 0x68) return "bzip2";
  if (a === 0x89 && b === 0x4c && c === 0x5a && d === 0x4f) return "lzo";
  return undefined;
}

/**
 * Unpacks gzip, xz, zstd, lz4 (legacy frames), lzma or bzip2 data, whichever its first bytes say.
 * Throws `BAD_IMAGE` for corrupt or truncated data, `UNSUPPORTED` by name for what isn't known.
 */
export function unpack(bytes: Uint8Array, options: UnpackOptions): Uint8Array {
  const format = detectCompression(bytes);
  const { limit, size } = options;
  if (size !== undefined && size > limit) {
    throw new ParavirtError("OUT_OF_RANGE", `a payload that unpacks to ${size} bytes, over the limit of ${limit}`);
  }
  const body = options.sizeTrailer === true && format !== "gzip" ? bytes.subarray(0, bytes.length - 4) : bytes;
  let out: Uint8Array;
  switch (format) {
    case "xz":
      out = unxz(body, limit);
      break;
    case "gzip":
      out = gunzip(body, limit);
      break;
    case "zstd":
      out = unzstd(body, limit, size);
      break;
    case "lz4":
      out = unlz4(body, limit, size);
      break;
    case "lzma":
      out = unlzma(body, limit, size);
      break;
    case "bzip2":
      out = unbzip2(body, limit, size);
      break;
    case undefined:
      throw new ParavirtError("UNSUPPORTED", "data of unknown compression");
    default:
      throw new ParavirtError("UNSUPPORTED", `${format} data; gzip, xz, zstd, lz4, lzma and bzip2 are read`);
  }
  if (size !== undefined && out.length !== size) {
    throw corrupt(format, `it unpacks to ${out.length} bytes, not the ${size} that its trailer says`);
  }
  return out;
}
