/** Code to compare on: programs of the machine that the tests run on, and bytes that look like instructions. */
import { readFileSync } from "node:fs";

/** The `.text` section of a 64-bit ELF file, and its address. */
export function textSection(path: string): { bytes: Uint8Array; address: bigint } {
  const file = readFileSync(path);
  const table = Number(file.readBigUInt64LE(0x28));
  const entrySize = file.readUInt16LE(0x3a);
  const count = file.readUInt16LE(0x3c);
  const at = (index: number): number => table + index * entrySize;
  const names = Number(file.readBigUInt64LE(at(file.readUInt16LE(0x3e)) + 0x18));
  for (let index = 0; index < count; index++) {
    const entry = at(index);
    const name = file.toString("latin1", names + file.readUInt32LE(entry), names + file.readUInt32LE(entry) + 6);
    if (name !== ".text\0") continue;
    const offset = Number(file.readBigUInt64LE(entry + 0x18));
    const size = Number(file.readBigUInt64LE(entry + 0x20));
    return { bytes: new Uint8Array(file.subarray(offset, offset + size)), address: file.readBigUInt64LE(entry + 0x10) };
  }
  throw new Error(`${path} has no .text`);
}

/** Debian's C library, whatever version. */
export const LIBC = "/lib/x86_64-linux-gnu/libc.so.6";

/** Random bytes from a seed (xorshift): the same in every run. */
export function createRandom(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 8) & 255;
  };
}

const PREFIXES = [0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x2e, 0x64, 0x3e, 0x26, 0x36, 0x65];
const BUSY = [0x00, 0x01, 0xae, 0xc7, 0x18, 0x0d, 0x1e, 0x71, 0x72, 0x73, 0xba, 0xb8, 0x78, 0x79, 0x20, 0x22];

/** Fills `into` with bytes that reach all opcode maps about equally often, with prefixes, REX and VEX before them. */
export function randomInstruction(into: Uint8Array, random: () => number): void {
  let at = 0;
  while (random() < 60 && at < 5) into[at++] = PREFIXES[random() % PREFIXES.length]!;
  if (random() < 60) into[at++] = 0x40 | (random() & 15);
  switch (random() % 7) {
    case 1:
    case 2:
      into[at++] = 0x0f;
      break;
    case 3:
      into[at++] = 0x0f;
      into[at++] = random() & 1 ? 0x38 : 0x3a;
      break;
    case 4:
      into[at++] = 0xc4;
      into[at++] = (random() & 0xe0) | (random() % 4);
      into[at++] = random() & 1 ? random() | 0x78 : random();
      break;
    case 5:
      if (random() < 128) {
        into[at++] = 0xc5;
        into[at++] = random() & 1 ? random() | 0x78 : random();
      }
      break;
    case 6:
      into[at++] = 0x0f;
      into[at++] = BUSY[random() % BUSY.length]!;
  }
  while (at < into.length) into[at++] = random();
}
