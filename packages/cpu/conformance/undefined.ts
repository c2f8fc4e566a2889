import { OPERAND, type OpcodeRow } from "@paravirt/x86";
import type { MadeCase } from "./make-case.ts";

/**
 * What the architecture leaves undefined, and what isn't compared for other reasons: the one home of every exception to
 * "bit for bit". Which flags a row leaves undefined stands in the opcode table (`u=`); here is what depends on operands.
 */
const FLAG_BITS: Readonly<Record<string, bigint>> = { o: 0x800n, s: 0x80n, z: 0x40n, a: 0x10n, p: 4n, c: 1n };
const ALL = 0x8d5n;
const SHIFTS = /^(shl|shr|sar|rol|ror|rcl|rcr)$/;
const DOUBLE_SHIFTS = /^sh[lr]d$/;
const RCX = 1;

/** The count of a shift or rotation, masked as the processor does. */
function countOf(test: MadeCase): number {
  const { instruction } = test;
  const last = instruction.operandCount - 1;
  const count =
    instruction.kinds[last] === OPERAND.ONE
      ? 1
      : instruction.kinds[last] === OPERAND.IMMEDIATE
        ? instruction.immediate
        : Number(test.state.general[RCX]! & 0xffn);
  return count & (instruction.sizes[0] === 8 ? 63 : 31);
}

/** Flags that the processor leaves undefined after the instruction of `test` (SDM 2, AMD APM 3). */
export function undefinedFlags(test: MadeCase): bigint {
  const { row, instruction } = test;
  let flags = 0n;
  for (const letter of row.flagsUndefined) flags |= FLAG_BITS[letter] ?? 0n;
  const shift = SHIFTS.test(row.name);
  const double = DOUBLE_SHIFTS.test(row.name);
  if (!shift && !double) return flags;
  const count = countOf(test);
  const size = instruction.sizes[0]! * 8;
  if (count === 0) return 0n;
  if (double && count > size) return ALL;
  // OF tells something for a count of 1 only; CF nothing when SHL or SHR move all bits out.
  if (count === 1) flags &= ~FLAG_BITS.o!;
  else flags |= FLAG_BITS.o!;
  if ((row.name === "shl" || row.name === "shr") && count >= size) flags |= FLAG_BITS.c!;
  return flags;
}

/** What {@link undefinedFlags} leaves out: flags to the names of the rows that leave them undefined, for reports. */
export function undefinedFlagsByRow(rows: readonly OpcodeRow[]): ReadonlyMap<string, readonly string[]> {
  const names = new Map<string, Set<string>>();
  const add = (flags: string, name: string) => names.set(flags, (names.get(flags) ?? new Set()).add(name));
  for (const { name, flagsUndefined } of rows) {
    if (flagsUndefined !== "") add(flagsUndefined, name);
    if (SHIFTS.test(name) || DOUBLE_SHIFTS.test(name)) add("o unless the count is 1", name);
    if (name === "shl" || name === "shr") add("c from a count of the operand's bits on", name);
    if (DOUBLE_SHIFTS.test(name)) add("all beyond a count of the operand's bits, and the result", name);
  }
  return new Map(Array.from(names, ([flags, set]) => [flags, [...set]]));
}

/** Whether even the result is undefined: SHLD and SHRD of 16 bits by more than 16. */
export function hasUndefinedResult(test: MadeCase): boolean {
  return DOUBLE_SHIFTS.test(test.row.name) && countOf(test) > test.instruction.sizes[0]! * 8;
}

/** Names of rows that can't be compared with native execution in user mode, and why. */
export const NOT_COMPARED: ReadonlyMap<string, string> = new Map(
  Object.entries({
    "syscall sysenter": "enter the host's kernel",
    "int int3 int1 into": "the host's kernel answers; the engine hands them to its embedder",
    "cpuid rdtsc rdtscp rdpid rdpru rdpmc xgetbv rdpkru wrpkru": "the answer is the embedder's, not the instruction's",
    "rdrand rdseed": "random",
    "sgdt sidt sldt str smsw": "the host's kernel emulates them under UMIP",
    "lar lsl verr verw": "the host's descriptor tables",
    "in out ins outs": "the host's I/O permissions",
    "rcpps rcpss rsqrtps rsqrtss vrcpps vrcpss vrsqrtps vrsqrtss":
      "approximations whose last bits differ from one processor to the next",
    "clflush clflushopt clwb cldemote": "caches of a guest are the host's",
    "xsaves xrstors": "the engine has no XSAVES",
    "xsave xsaveopt xsavec xrstor": "the image depends on the components that the host enables and tracks",
  }).flatMap(([names, reason]) => names.split(" ").map((name): [string, string] => [name, reason])),
);
