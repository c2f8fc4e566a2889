/** Whether `byte` can be the top byte of a near call's displacement. */
const isNear = (byte: number): boolean => byte === 0x00 || byte === 0xff;
// Which histories of the last three bytes allow a conversion, and how many bytes back the earlier E8/E9 was.
const ALLOWED = [true, true, true, false, true, false, false, false] as const;
const BACK = [0, 1, 2, 2, 3, 3, 3, 3] as const;

/**
 * Offset of the next byte from `at` on that is E8 or E9, the opcodes of `call` and `jmp`, or `limit`. Nearly all bytes
 * are neither, so four are looked at in one step: the time of the whole filter is here.
 */
function nextBranch(bytes: Uint8Array, words: Uint32Array, from: number, limit: number): number {
  let at = from;
  const base = bytes.byteOffset;
  while (at < limit && ((base + at) & 3) !== 0) {
    if ((bytes[at]! & 0xfe) === 0xe8) return at;
    at++;
  }
  let word = (base + at) >> 2;
  const lastWord = (base + limit) >> 2;
  while (word < lastWord) {
    const difference = (words[word]! & 0xfefefefe) ^ 0xe8e8e8e8;
    // Not zero exactly when one of the four bytes is.
    if (((difference - 0x01010101) & ~difference & 0x80808080) !== 0) break;
    word++;
  }
  // Byte order does not matter: whichever byte it was, it is found from the word's first on.
  at = Math.max(at, (word << 2) - base);
  while (at < limit && (bytes[at]! & 0xfe) !== 0xe8) at++;
  return Math.min(at, limit);
}

/**
 * Undoes xz's x86 filter in place: turns the absolute targets of `call` and `jmp` back into displacements.
 * `startOffset` is the filter's own option, 0 in practice.
 */
export function unfilterX86(bytes: Uint8Array, start: number, end: number, startOffset = 0): void {
  const limit = end - 4;
  const words = new Uint32Array(bytes.buffer, 0, bytes.buffer.byteLength >> 2);
  let history = 0;
  let last = start - 1;
  let at = start;
  for (; ; at++) {
    at = nextBranch(bytes, words, at, limit);
    if (at >= limit) return;
    const distance = at - last;
    last = at;
    if (distance > 3) history = 0;
    else {
      history = (history << (distance - 1)) & 7;
      if (history !== 0 && (!ALLOWED[history]! || isNear(bytes[at + 4 - BACK[history]!]!))) {
        history = ((history << 1) & 7) | 1;
        continue;
      }
    }
    if (!isNear(bytes[at + 4]!)) {
      history = ((history << 1) & 7) | 1;
      continue;
    }
    let value = bytes[at + 1]! | (bytes[at + 2]! << 8) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 24);
    const next = (startOffset + at - start + 5) | 0;
    for (;;) {
      value = (value - next) | 0;
      if (history === 0) break;
      const shift = BACK[history]! * 8;
      if (!isNear((value >>> (24 - shift)) & 0xff)) break;
      value ^= (1 << (32 - shift)) - 1;
    }
    // Bits 24 to 31 become the sign of bit 24.
    value = (value << 7) >> 7;
    bytes[at + 1] = value;
    bytes[at + 2] = value >> 8;
    bytes[at + 3] = value >> 16;
    bytes[at + 4] = value >> 24;
    at += 4;
  }
}
