import { ParavirtError } from "@paravirt/core";
import type { Answer } from "../answer.ts";

/**
 * Compression, handed in by the host since a library has none of its own: Node's zlib, a browser's `DecompressionStream`,
 * `unpack` of `@paravirt/boot`. What is missing is refused by name where it is needed.
 */
export interface Codecs {
  /** Unpacks raw deflate data, which end somewhere in `data`, to at most `size` bytes. */
  inflateRaw?(data: Uint8Array, size: number): Answer<Uint8Array>;
  /** Unpacks `data`, one zstd frame, to at most `size` bytes. */
  unzstd?(data: Uint8Array, size: number): Answer<Uint8Array>;
  /** Packs to raw deflate with a window of 4096 bytes (2^12), the largest that QEMU unpacks. */
  deflateRaw?(data: Uint8Array): Answer<Uint8Array>;
}

/** Unpacks one cluster. Throws `UNSUPPORTED` without the codec, `BAD_IMAGE` when the data aren't right. */
export function unpackCluster(
  codecs: Codecs | undefined,
  compression: "zlib" | "zstd",
  data: Uint8Array,
  size: number,
): Answer<Uint8Array> {
  const name = compression === "zstd" ? "unzstd" : "inflateRaw";
  const unpack = codecs?.[name];
  if (unpack === undefined)
    throw new ParavirtError("UNSUPPORTED", `a cluster compressed with ${compression} needs the codec ${name}`);
  const failed = (error: unknown): never => {
    const why = error instanceof Error ? error.message : String(error);
    throw new ParavirtError("BAD_IMAGE", `a compressed cluster can't be unpacked: ${why}`, { cause: error });
  };
  const check = (bytes: Uint8Array): Uint8Array => {
    if (bytes.length !== size) failed(new Error(`it has ${bytes.length} bytes instead of ${size}`));
    return bytes;
  };
  let answer: Answer<Uint8Array>;
  try {
    answer = unpack.call(codecs, compression === "zstd" ? data.subarray(0, zstdFrameLength(data)) : data, size);
  } catch (error) {
    return failed(error);
  }
  return answer instanceof Promise ? answer.catch(failed).then(check) : check(answer);
}

/**
 * Bytes of the zstd frame that `data` begins with (RFC 8878, 3.1.1): an entry counts sectors, so the next cluster's data may
 * follow, and decoders take them for another frame.
 */
export function zstdFrameLength(data: Uint8Array): number {
  const descriptor = data[4] ?? 0;
  const isSingle = (descriptor & 0x20) !== 0;
  const contentBytes = [isSingle ? 1 : 0, 2, 4, 8][descriptor >> 6]!;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!;
  let at = 5 + (isSingle ? 0 : 1) + dictionaryBytes + contentBytes;
  for (;;) {
    if (at + 3 > data.length) throw new Error("the zstd frame is cut off");
    const block = data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16);
    // Type 1 is one byte, repeated.
    at += 3 + (((block >> 1) & 3) === 1 ? 1 : block >> 3);
    if ((block & 1) !== 0) break;
  }
  at += (descriptor & 4) !== 0 ? 4 : 0;
  if (at > data.length) throw new Error("the zstd frame is cut off");
  return at;
}
