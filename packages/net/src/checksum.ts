/**
 * The one's complement sum of RFC 1071 over `bytes[from..to)`, not folded to its complement: pass it on as `sum` to go on
 * summing, or give it to {@link finishChecksum}. A piece that isn't the last must have an even length.
 */
export function addToSum(sum: number, bytes: Uint8Array, from: number, to: number): number {
  let total = sum;
  let at = from;
  // 64 KiB of 16-bit words stay below 2^32: no folding on the way is needed for a frame.
  for (const last = to - 15; at < last; at += 16) {
    total +=
      ((bytes[at]! << 8) | bytes[at + 1]!) +
      ((bytes[at + 2]! << 8) | bytes[at + 3]!) +
      ((bytes[at + 4]! << 8) | bytes[at + 5]!) +
      ((bytes[at + 6]! << 8) | bytes[at + 7]!) +
      ((bytes[at + 8]! << 8) | bytes[at + 9]!) +
      ((bytes[at + 10]! << 8) | bytes[at + 11]!) +
      ((bytes[at + 12]! << 8) | bytes[at + 13]!) +
      ((bytes[at + 14]! << 8) | bytes[at + 15]!);
  }
  for (; at + 1 < to; at += 2) total += (bytes[at]! << 8) | bytes[at + 1]!;
  if (at < to) total += bytes[at]! << 8;
  return total;
}

/** Folds a sum of {@link addToSum} to 16 bits, without the complement. */
export function foldSum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return folded;
}

/** The checksum that belongs into a header: the complement of the folded sum. */
export function finishChecksum(sum: number): number {
  return ~foldSum(sum) & 0xffff;
}
