/** Reads an IPv6 address (RFC 4291 2.2) as 16 bytes; `undefined` for anything else. */
export function readIpv6(text: string): Uint8Array | undefined {
  const halves = text.toLowerCase().split("::");
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map(readWords);
  if (head === undefined || (halves.length === 2 && tail === undefined)) return undefined;
  const missing = 8 - head.length - (tail?.length ?? 0);
  // "::" stands for one word at least.
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const words = [...head, ...new Array<number>(halves.length === 2 ? missing : 0).fill(0), ...(tail ?? [])];
  return Uint8Array.from(words.flatMap((word) => [word >> 8, word & 0xff]));
}

function readWords(text: string): readonly number[] | undefined {
  if (text === "") return [];
  const words: number[] = [];
  for (const word of text.split(":")) {
    if (!/^[0-9a-f]{1,4}$/.test(word)) return undefined;
    words.push(Number.parseInt(word, 16));
  }
  return words;
}
