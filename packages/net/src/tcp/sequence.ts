// Sequence numbers wrap at 2^32 (RFC 9293 3.4); what is compared lies within 2^31 of each other.

/** `a - b`, negative when `a` is older. */
export function distance(a: number, b: number): number {
  return (a - b) | 0;
}

/** The number so many bytes on. */
export function advance(sequence: number, by: number): number {
  return (sequence + by) >>> 0;
}
