/** UTF-8 bytes of `text`; lone surrogates become U+FFFD. (`TextEncoder` isn't in the language, but in its hosts.) */
export function utf8Encode(text: string): Uint8Array {
  const out = new Uint8Array(text.length * 3);
  let at = 0;
  for (const character of text) {
    let code = character.codePointAt(0)!;
    if (code >= 0xd800 && code < 0xe000) code = 0xfffd;
    if (code < 0x80) out[at++] = code;
    else if (code < 0x800) {
      out[at++] = 0xc0 | (code >> 6);
      out[at++] = 0x80 | (code & 63);
    } else if (code < 0x10000) {
      out[at++] = 0xe0 | (code >> 12);
      out[at++] = 0x80 | ((code >> 6) & 63);
      out[at++] = 0x80 | (code & 63);
    } else {
      out[at++] = 0xf0 | (code >> 18);
      out[at++] = 0x80 | ((code >> 12) & 63);
      out[at++] = 0x80 | ((code >> 6) & 63);
      out[at++] = 0x80 | (code & 63);
    }
  }
  return out.slice(0, at);
}

/** Text of UTF-8 `bytes`; what is no UTF-8 becomes U+FFFD, a byte each. */
export function utf8Decode(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const lead = bytes[at]!;
    const more = lead < 0x80 ? 0 : lead >= 0xf0 && lead < 0xf5 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc2 ? 1 : -1;
    let code = more === 0 ? lead : more > 0 ? lead & (0x3f >> more) : 0xfffd;
    let used = 1;
    for (; used <= more; used++) {
      const byte = bytes[at + used];
      if (byte === undefined || (byte & 0xc0) !== 0x80) break;
      code = (code << 6) | (byte & 0x3f);
    }
    if (more > 0 && used <= more) {
      code = 0xfffd;
      used = 1;
    }
    const overlong = (more === 2 && code < 0x800) || (more === 3 && (code < 0x10000 || code > 0x10ffff));
    text += overlong || (code >= 0xd800 && code < 0xe000) ? "\ufffd" : String.fromCodePoint(code);
    at += used;
  }
  return text;
}
