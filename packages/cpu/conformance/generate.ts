import { decode, Instruction, OPCODES } from "@paravirt/x86";
import { groupOf } from "./groups.ts";
import { makeInstruction } from "./instructions.ts";
import { type MadeCase, makeCase } from "./make-case.ts";
import type { CasePage } from "./processor-state.ts";
import { hasUndefinedResult } from "./undefined.ts";
import { Random } from "./values.ts";

/** Cases in 64-bit mode for each one in compatibility mode. */
const WIDE_SHARE = 2;
/** Of so many cases one has random bytes, not a row of the table. */
const RANDOM_BYTES_SHARE = 16;
/** The group of the cases with random bytes. */
export const RANDOM_BYTES = "random bytes";

/** A case and the group that it counts in. */
export interface GroupedCase {
  readonly group: string;
  readonly test: MadeCase;
}

/** What {@link generate} makes. */
export interface GenerateOptions {
  readonly rows: readonly number[];
  readonly count: number;
  readonly seed: number;
  readonly pages: readonly CasePage[];
  /** Only groups whose name contains it. */
  readonly group?: string | undefined;
  /** Whether some cases have random bytes; `true` when left out. */
  readonly randomBytes?: boolean;
}

/** Makes about `count` cases, as many for each row and mode, in the order of the table; with random bytes at the end. */
export function* generate({
  rows,
  count,
  seed,
  pages,
  group,
  randomBytes = true,
}: GenerateOptions): Generator<GroupedCase> {
  const random = new Random(seed);
  const instruction = new Instruction({ amd: true });
  const wanted = rows.filter((index) => group === undefined || groupOf(OPCODES[index]!).includes(group));
  const others =
    randomBytes && (group === undefined || RANDOM_BYTES.includes(group)) ? Math.ceil(count / RANDOM_BYTES_SHARE) : 0;
  const weight = wanted.reduce((sum, index) => sum + shareOf(index, 64) + shareOf(index, 32), 0);
  for (const index of wanted) {
    for (const bits of [64, 32] as const) {
      const number = Math.ceil(((count - others) * shareOf(index, bits)) / weight);
      for (let i = 0; i < number; i++) {
        const code = makeInstruction(random, index, bits, instruction);
        if (code === undefined) break;
        const test = makeCase(code, random.word() >>> 0, bits, pages);
        if (!hasUndefinedResult(test)) yield { group: groupOf(OPCODES[index]!), test };
      }
    }
  }
  for (let made = 0; made < others; ) {
    const bits = random.below(WIDE_SHARE + 1) ? 64 : 32;
    const code = makeRandomBytes(random, bits, instruction, rows);
    if (code === undefined) continue;
    made++;
    const test = makeCase(code, random.word() >>> 0, bits, pages);
    if (!hasUndefinedResult(test)) yield { group: RANDOM_BYTES, test };
  }
}

function shareOf(index: number, bits: 64 | 32): number {
  const { only } = OPCODES[index]!;
  if (only !== 0 && only !== bits) return 0;
  return bits === 64 ? WIDE_SHARE : 1;
}

const PREFIXES = [0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65];
const LONGEST = 15;
/** First bytes whose instructions are EVEX's or XOP's: not in the table, which the processor may have all the same. */
const UNKNOWN_ENCODINGS = new Set([0x62, 0x8f]);

/** Random bytes; `undefined` where an instruction begins that isn't compared. */
function makeRandomBytes(
  random: Random,
  bits: 64 | 32,
  instruction: Instruction,
  rows: readonly number[],
): Uint8Array | undefined {
  const code = new Uint8Array(LONGEST);
  for (let i = 0; i < code.length; i++) code[i] = random.below(256);
  let at = 0;
  while (at < 14 && random.once(3)) code[at++] = random.pick(PREFIXES);
  if (bits === 64 && random.once(2)) code[at++] = 0x40 + random.below(16);
  if (at < 13 && random.below(3)) code[at++] = 0x0f;
  if (UNKNOWN_ENCODINGS.has(code[at]!) || entersKernel(code)) return undefined;
  const length = decode(code, 0, code.length, bits, instruction);
  // With so many prefixes what is no instruction may also be too long: #GP or #UD.
  if (length === 0) {
    if (at > 6 || isAlternativeControl(code)) return undefined;
    // LOCK before an instruction that isn't compared: some of them mind, others don't.
    const rest = code.slice(0, at).includes(0xf0) ? code.filter((byte, i) => i >= at || byte !== 0xf0) : code;
    const locked = decode(rest, 0, rest.length, bits, instruction) > 0 && !rows.includes(instruction.row);
    return locked ? undefined : code;
  }
  return rows.includes(instruction.row) ? code.slice(0, length) : undefined;
}

/** LOCK MOV CR0 is AMD's way to CR8 outside of 64-bit mode: privileged, where others have no such instruction. */
function isAlternativeControl(code: Uint8Array): boolean {
  const at = code.indexOf(0x0f);
  return code.indexOf(0xf0) < at && (code[at + 1] === 0x20 || code[at + 1] === 0x22);
}

/** SYSCALL, SYSENTER, INT, VMCALL or VMMCALL may hide wherever the two decoders disagree on a length. */
function entersKernel(code: Uint8Array): boolean {
  return code.some(
    (byte, i) =>
      byte === 0xcd ||
      (byte === 0x0f &&
        (code[i + 1] === 0x05 ||
          code[i + 1] === 0x34 ||
          (code[i + 1] === 0x01 && (code[i + 2] === 0xc1 || code[i + 2] === 0xd9)))),
  );
}
