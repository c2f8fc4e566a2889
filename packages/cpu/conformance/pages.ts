import { type CasePage, PAGE_ACCESS } from "./processor-state.ts";
import { fill, Random } from "./values.ts";

const { READ_ONLY, READ_WRITE, EXECUTE } = PAGE_ACCESS;

/**
 * Where the pages of a case lie. What isn't named is missing: the page before `pair`, those after `code`, `readOnly`, `pair`
 * and `stack`. `userEnd` is the last page that Linux gives, below a missing one and the canonical border; `fourGiB` ends where
 * 32-bit addresses do.
 */
export const PLACE = {
  code: 0xc00000,
  codeEnd: 0xc02000,
  data: 0xa00000,
  readOnly: 0xa01000,
  pair: 0xa04000,
  pairEnd: 0xa06000,
  stack: 0xb00000,
  stackEnd: 0xb02000,
  fourGiB: 0xfffff000,
  userEnd: 0x7fffffffe000,
} as const;

/** Numbers, floats and bytes in turns: what instructions read there should mean something. */
function contents(random: Random): Uint8Array {
  const image = new Uint8Array(4096);
  for (let at = 0; at < 4096; at += 32) fill(random, image.subarray(at, at + 32), random.below(4));
  return image;
}

/** The pages of all cases. Breakpoints stand wherever no instruction does. */
export function casePages(): CasePage[] {
  const random = new Random(20);
  const code = new Uint8Array(4096).fill(0xcc);
  const page = (address: number, access: CasePage["access"], image: Uint8Array = contents(random)) => ({
    address,
    access,
    image,
  });
  return [
    page(PLACE.code, EXECUTE, code),
    page(PLACE.code + 4096, EXECUTE, code),
    page(PLACE.data, READ_WRITE),
    page(PLACE.readOnly, READ_ONLY),
    page(PLACE.pair, READ_WRITE),
    page(PLACE.pair + 4096, READ_WRITE),
    page(PLACE.stack, READ_WRITE),
    page(PLACE.stack + 4096, READ_WRITE),
    page(PLACE.fourGiB, READ_WRITE),
    page(PLACE.userEnd, READ_WRITE),
  ];
}
