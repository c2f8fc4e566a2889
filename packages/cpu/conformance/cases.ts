import { Random } from "./values.ts";

/** Where the pages of a program lie: code, read-write data followed by a read-only page, stack; nothing else is mapped. */
export const LAYOUT = { code: 0xc00000, entry: 0xc00800, data: 0xa00000, readOnly: 0xa01000, stack: 0xb00000 } as const;

/** A page of bytes that follow from `seed`, for data or stack before a program. */
export function pageImage(seed: number): Uint8Array {
  const random = new Random(seed);
  return Uint8Array.from({ length: 4096 }, () => random.below(256));
}
