import type { MachineMemory } from "@paravirt/core";
import type { MappedPage } from "./address-space.ts";
import type { StepChange } from "./case.ts";

const PAGE = 4096;
const WORDS = PAGE / 4;

/** The bytes of `pages`, in order of address, that differ from their images: as runs, those that touch joined. */
export function changedBytes(memory: MachineMemory, pages: readonly MappedPage[]): StepChange[] {
  const runs: { at: bigint; bytes: number[] }[] = [];
  for (const { at, frame, image, imageWords } of pages) {
    const { bytes, words } = memory;
    for (let word = 0; word < WORDS; word++) {
      if (words[frame * WORDS + word] === imageWords[word]) continue;
      for (let offset = word * 4; offset < word * 4 + 4; offset++) {
        const byte = bytes[frame * PAGE + offset]!;
        if (byte === image[offset]) continue;
        const address = at + BigInt(offset);
        const last = runs[runs.length - 1];
        if (last !== undefined && last.at + BigInt(last.bytes.length) === address) last.bytes.push(byte);
        else runs.push({ at: address, bytes: [byte] });
      }
    }
  }
  return runs.map(({ at, bytes }) => ({ at, bytes: Uint8Array.from(bytes) }));
}
