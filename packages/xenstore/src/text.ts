/*
 * Text as bytes without TextEncoder, which a library without a DOM does not have. Paths and tokens travel as Latin-1,
 * which keeps every byte that a guest may send; values are UTF-8 where a caller asks for a string.
 */

/** One byte for each character; a character above U+00FF loses its upper bits, so check first where that can happen. */
export function latin1Encode(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

/** One character for each byte of `bytes` from `start` up to `end`. */
export function latin1Decode(bytes: Uint8Array, start = 0, end: number = bytes.length): string {
  let text = "";
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at]!);
  return text;
}

/** UTF-8; a lone surrogate becomes U+FFFD. */
export function utf8Encode(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of text) {
    let code = character.codePointAt(0)!;
    if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else {
      bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    }
  }
  return Uint8Array.from(bytes);
}

/** Text of UTF-8 bytes; each byte that belongs to no valid sequence becomes U+FFFD. */
export function utf8Decode(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at]!;
    const length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    const code = decodeSequence(bytes, at, length);
    text += code === undefined ? "\ufffd" : String.fromCodePoint(code);
    at += code === undefined ? 1 : length;
  }
  return text;
}

const SMALLEST = [0, 0, 0x80, 0x800, 0x10000];

function decodeSequence(bytes: Uint8Array, at: number, length: number): number | undefined {
  if (length === 0 || at + length > bytes.length) return undefined;
  if (length === 1) return bytes[at];
  let code = bytes[at]! & (0x7f >> length);
  for (let next = 1; next < length; next++) {
    const byte = bytes[at + next]!;
    if ((byte & 0xc0) !== 0x80) return undefined;
    code = (code << 6) | (byte & 63);
  }
  const surrogate = code >= 0xd800 && code <= 0xdfff;
  return code < SMALLEST[length]! || code > 0x10ffff || surrogate ? undefined : code;
}
