import { ParavirtError } from "@paravirt/core";

/** The error of every decompressor: what is wrong with the stream, never where in our code. */
export function corrupt(format: string, what: string): ParavirtError {
  return new ParavirtError("BAD_IMAGE", `corrupt ${format} data: ${what}`);
}

/** The error for a stream that ends early. */
export function truncated(format: string, length: number): ParavirtError {
  return new ParavirtError("BAD_IMAGE", `corrupt ${format} data: it ends after ${length} bytes, before its end mark`);
}

/** Refuses an output of `bytes` over `limit`, before anything is allocated. */
export function checkOutputSize(format: string, bytes: number, limit: number): void {
  if (bytes > limit) {
    throw new ParavirtError("OUT_OF_RANGE", `${format} data unpacks to ${bytes} bytes, over the limit of ${limit}`);
  }
}
