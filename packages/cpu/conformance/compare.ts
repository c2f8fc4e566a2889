import { registerName } from "@paravirt/x86";
import { isAvx } from "../src/features.ts";
import type { MadeCase } from "./make-case.ts";
import { COMPLETED, FX, type Outcome } from "./processor-state.ts";
import { undefinedFlags } from "./undefined.ts";

/** Status flags, DF, NT, AC, ID. */
const COMPARED_FLAGS = 0x244cd5n;
const TRAP_FLAG = 0x100n;
/** Exceptions that push an error code. */
const WITH_ERROR_CODE = new Set([8, 10, 11, 12, 13, 14, 17]);
const PAGE_FAULT = 14;
const PRESENT = 1;
/** From here on Linux tells user mode that a page is present, whatever it is. */
const TASK_SIZE = 0x7ffffffff000n;

/** C1 tells which way a result was rounded, PE that it was: an exact one may come out inexact. */
const ROUNDING = 0x220;
/** Processors themselves are within one unit in the last place; which results are off differs between models. */
export const TRANSCENDENTAL: RegExp = /^(f2xm1|fyl2x|fyl2xp1|fptan|fpatan|fsin|fcos|fsincos)$/;

const hex = (value: bigint | number): string => value.toString(16);
const bytesHex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Flags that count after the instruction of `test`: TF where it is popped, else single step is the oracle's. */
function flagMask(test: MadeCase, { vector }: Outcome): bigint {
  const storesTrap = vector === COMPLETED && (test.row.name === "popf" || test.row.name === "iret");
  return (storesTrap ? COMPARED_FLAGS | TRAP_FLAG : COMPARED_FLAGS) & ~undefinedFlags(test);
}

/** The error code as far as Linux tells it. */
function errorOf({ vector, error, cr2 }: Outcome): number {
  if (!WITH_ERROR_CODE.has(vector)) return 0;
  return vector === PAGE_FAULT && cr2 >= TASK_SIZE ? error & ~PRESENT : error;
}

/** A null selector's RPL is lost on the way through the host's kernel: IRET clears it. */
const selectorOf = (selector: number): number => (selector < 4 ? 0 : selector);

/** Everything in which two outcomes differ, as text: `what expected/got`. Empty when they agree. */
export function differences(test: MadeCase, expected: Outcome, got: Outcome): string[] {
  const found: string[] = [];
  const check = (name: string, a: bigint | number, b: bigint | number) => {
    if (a !== b) found.push(`${name} ${hex(a)}/${hex(b)}`);
  };
  const name = (vector: number) => (vector === COMPLETED ? "none" : `#${vector}`);
  if (expected.vector !== got.vector) found.push(`exception ${name(expected.vector)}/${name(got.vector)}`);
  check("error", errorOf(expected), errorOf(got));
  check("cr2", expected.cr2, got.cr2);
  const a = expected.state;
  const b = got.state;
  check("rip", a.rip, b.rip);
  for (let i = 0; i < 16; i++) check(registerName(4, i), a.general[i]!, b.general[i]!);
  const mask = flagMask(test, expected);
  check("rflags", a.flags & mask, b.flags & mask);
  check("fsbase", a.fsBase, b.fsBase);
  check("gsbase", a.gsBase, b.gsBase);
  ["ds", "es", "fs", "gs", "cs", "ss"].forEach((segment, i) => {
    check(segment, selectorOf(a.selectors[i]!), selectorOf(b.selectors[i]!));
  });
  compareFpu(a.fx, b.fx, found);
  for (let i = 0; i < 16; i++) {
    const [wanted, had] = [a.upper.subarray(i * 16, i * 16 + 16), b.upper.subarray(i * 16, i * 16 + 16)];
    if (wanted.some((byte, at) => byte !== had[at])) found.push(`ymm${i} upper ${bytesHex(wanted)}/${bytesHex(had)}`);
  }
  compareChanges(changesOf(test, expected), changesOf(test, got), found);
  return found;
}

/** Changed bytes without those that may differ. */
function changesOf({ ignored }: MadeCase, { changes }: Outcome): readonly number[] {
  return ignored.length === 0 ? changes : changes.filter((change) => !ignored.includes(Math.floor(change / 256)));
}

function compareFpu(a: Uint8Array, b: Uint8Array, found: string[]): void {
  const part = (name: string, from: number, length: number) => {
    for (let i = from; i < from + length; i++)
      if (a[i] !== b[i]) {
        found.push(`${name} ${bytesHex(a.subarray(from, from + length))}/${bytesHex(b.subarray(from, from + length))}`);
        return;
      }
  };
  part("fcw", FX.controlWord, 2);
  part("fsw", FX.statusWord, 2);
  part("ftw", FX.tags, 1);
  part("mxcsr", FX.mxcsr, 4);
  for (let i = 0; i < 8; i++) part(`st${i}`, FX.st + i * 16, 10);
  for (let i = 0; i < 16; i++) part(`xmm${i}`, FX.xmm + i * 16, 16);
}

function compareChanges(a: readonly number[], b: readonly number[], found: string[]): void {
  if (a.length === b.length && a.every((change, i) => change === b[i])) return;
  const show = (list: readonly number[]) => `[${list.length}] ${list.slice(0, 8).map(hex).join(" ")}`;
  found.push(`memory ${show(a)}/${show(b)}`);
}

/** Whether the instruction is one whose last bit is the processor's own. */
export function isTranscendental(test: MadeCase): boolean {
  return TRANSCENDENTAL.test(test.row.name);
}

/** How many numbers of the 80-bit format lie between two, plus one; 2⁸⁰ where the signs differ. */
export function unitsApart(a: Uint8Array, b: Uint8Array): bigint {
  const order = (bytes: Uint8Array) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return (BigInt(view.getUint16(8, true) & 0x7fff) << 63n) | BigInt.asUintN(63, view.getBigUint64(0, true));
  };
  if (((a[9]! ^ b[9]!) & 0x80) !== 0) return 1n << 80n;
  const difference = order(a) - order(b);
  return difference < 0n ? -difference : difference;
}

/** Whether outcomes differ in nothing but the last bit of ST(0) and ST(1), and in what tells how that was rounded. */
export function isLastBit(test: MadeCase, expected: Outcome, got: Outcome): boolean {
  if (!isTranscendental(test)) return false;
  const near = got.state.fx.slice();
  const view = new DataView(near.buffer);
  const wanted = new DataView(expected.state.fx.buffer, expected.state.fx.byteOffset);
  view.setUint16(
    FX.statusWord,
    (wanted.getUint16(FX.statusWord, true) & ROUNDING) | (view.getUint16(FX.statusWord, true) & ~ROUNDING),
    true,
  );
  for (const at of [FX.st, FX.st + 16]) {
    const distance = unitsApart(expected.state.fx.subarray(at, at + 10), got.state.fx.subarray(at, at + 10));
    if (distance <= 1n) near.set(expected.state.fx.subarray(at, at + 10), at);
  }
  return differences(test, expected, { ...got, state: { ...got.state, fx: near } }).length === 0;
}

/** A 32-bit digest (FNV-1a) of everything that {@link differences} compares. */
export function digest(test: MadeCase, outcome: Outcome): number {
  let hash = 0x811c9dc5;
  const mix = (value: bigint): void => {
    let rest = BigInt.asUintN(64, value);
    for (let i = 0; i < 8; i++, rest >>= 8n) hash = Math.imul(hash ^ Number(rest & 0xffn), 0x01000193);
  };
  const { state } = outcome;
  mix(BigInt(outcome.vector) | (BigInt(errorOf(outcome)) << 32n));
  for (const quad of [outcome.cr2, state.rip, ...state.general]) mix(quad);
  for (const quad of [state.flags & flagMask(test, outcome), state.fsBase, state.gsBase]) mix(quad);
  for (const selector of state.selectors) mix(BigInt(selectorOf(selector)));
  for (const [from, length] of FPU_PARTS)
    for (let i = from; i < from + length; i++) hash = Math.imul(hash ^ state.fx[i]!, 0x01000193);
  // Sets were recorded before there were upper halves.
  if (isAvx(test.row)) for (const byte of state.upper) hash = Math.imul(hash ^ byte, 0x01000193);
  for (const change of changesOf(test, outcome)) mix(BigInt(change));
  return hash >>> 0;
}

const FPU_PARTS: readonly (readonly [from: number, length: number])[] = [
  [FX.controlWord, 5],
  [FX.mxcsr, 4],
  ...Array.from({ length: 8 }, (_, i) => [FX.st + i * 16, 10] as const),
  [FX.xmm, 256],
];
