import { ParavirtError } from "@paravirt/core";

// File names are bytes on Linux, nearly always UTF-8. In JavaScript they are strings here: UTF-8 is decoded, and each byte
// that isn't part of any becomes a lone surrogate U+DC80 to U+DCFF, so that every name survives the way there and back.

const ESCAPE = 0xdc00;

/** Bytes of a name or a link's target as a string; what isn't UTF-8 becomes lone surrogates U+DC80 to U+DCFF. */
export function decodeName(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const byte = bytes[at]!;
    if (byte < 0x80) {
      text += String.fromCharCode(byte);
      at++;
      continue;
    }
    const length = sequenceLength(bytes, at);
    if (length === 0) {
      text += String.fromCharCode(ESCAPE + byte);
      at++;
      continue;
    }
    let point = byte & (0x7f >> length);
    for (let index = 1; index < length; index++) point = point * 64 + (bytes[at + index]! & 0x3f);
    text += String.fromCodePoint(point);
    at += length;
  }
  return text;
}

/** Bytes of the well-formed sequence that starts with a byte from 0x80 on; 0 when there is none (Unicode, table 3-7). */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length === 0 || at + length > bytes.length) return 0;
  for (let index = 1; index < length; index++) if ((bytes[at + index]! & 0xc0) !== 0x80) return 0;
  const second = bytes[at + 1]!;
  // Too long for what they say, surrogates, and beyond U+10FFFF.
  if ((first === 0xe0 && second < 0xa0) || (first === 0xed && second > 0x9f)) return 0;
  if ((first === 0xf0 && second < 0x90) || (first === 0xf4 && second > 0x8f)) return 0;
  return length;
}

/** The bytes that {@link decodeName} made `name` of. Throws `BAD_ARGUMENT` for other lone surrogates. */
export function encodeName(name: string): Uint8Array {
  // At most three bytes for each unit of UTF-16.
  const bytes = new Uint8Array(name.length * 3);
  let at = 0;
  for (let index = 0; index < name.length; index++) {
    const point = name.codePointAt(index)!;
    if (point < 0x80) bytes[at++] = point;
    else if (point < 0x800) {
      bytes[at++] = 0xc0 | (point >> 6);
      bytes[at++] = 0x80 | (point & 0x3f);
    } else if (point >= ESCAPE + 0x80 && point <= ESCAPE + 0xff) bytes[at++] = point - ESCAPE;
    else if (point < 0x10000) {
      if (point >= 0xd800 && point < 0xe000)
        throw new ParavirtError("BAD_ARGUMENT", `a name with the lone surrogate U+${point.toString(16).toUpperCase()}`);
      bytes[at++] = 0xe0 | (point >> 12);
      bytes[at++] = 0x80 | ((point >> 6) & 0x3f);
      bytes[at++] = 0x80 | (point & 0x3f);
    } else {
      index++;
      bytes[at++] = 0xf0 | (point >> 18);
      bytes[at++] = 0x80 | ((point >> 12) & 0x3f);
      bytes[at++] = 0x80 | ((point >> 6) & 0x3f);
      bytes[at++] = 0x80 | (point & 0x3f);
    }
  }
  return bytes.subarray(0, at);
}
