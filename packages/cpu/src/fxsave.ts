import type { MachineMemory } from "@paravirt/core";
import { STATE } from "./layout.ts";
import { CONTROL_ALWAYS, CONTROL_BITS, summarized } from "./semantics/x87-state.ts";

/** Bytes of an FXSAVE image that are defined; the rest up to 512 stays as it was. */
export const FXSAVE_BYTES = 416;
/** MXCSR bits that may be set: all but the reserved ones, misaligned-exception mask excluded. */
export const MXCSR_MASK = 0xffff;

const TOP_SHIFT = 11;
const IMAGE = { fcw: 0, fsw: 2, ftw: 4, fop: 6, fip: 8, fdp: 16, mxcsr: 24, mxcsrMask: 28, st: 32, xmm: 160 } as const;

/** Writes x87 state where FXSAVE and XSAVE have it. Unless `wide`, pointers have 32 bits; their selectors are 0. */
export function saveX87({ bytes, view, words }: MachineMemory, at: number, wide: boolean): void {
  view.setUint16(at + IMAGE.fcw, view.getUint16(STATE.fcw, true), true);
  view.setUint16(at + IMAGE.fsw, view.getUint16(STATE.fsw, true), true);
  bytes[at + IMAGE.ftw] = bytes[STATE.ftw]!;
  bytes[at + IMAGE.ftw + 1] = 0;
  view.setUint16(at + IMAGE.fop, view.getUint16(STATE.fop, true), true);
  copyPointer(words, at + IMAGE.fip, STATE.fip, wide);
  copyPointer(words, at + IMAGE.fdp, STATE.fdp, wide);
  const top = (view.getUint16(STATE.fsw, true) >> TOP_SHIFT) & 7;
  for (let i = 0; i < 8; i++) {
    const from = STATE.st + ((top + i) & 7) * 16;
    copyRegister(words, at + IMAGE.st + i * 16, from);
  }
}

/** Reads what {@link saveX87} writes. */
export function loadX87({ bytes, view, words }: MachineMemory, at: number, wide: boolean): void {
  const fcw = (view.getUint16(at + IMAGE.fcw, true) & CONTROL_BITS) | CONTROL_ALWAYS;
  const fsw = summarized(view.getUint16(at + IMAGE.fsw, true), fcw);
  view.setUint32(STATE.fcw, fcw, true);
  view.setUint32(STATE.fsw, fsw, true);
  view.setUint32(STATE.ftw, bytes[at + IMAGE.ftw]!, true);
  view.setUint32(STATE.fop, view.getUint16(at + IMAGE.fop, true) & 0x7ff, true);
  copyPointer(words, STATE.fip, at + IMAGE.fip, wide);
  copyPointer(words, STATE.fdp, at + IMAGE.fdp, wide);
  const top = (fsw >> TOP_SHIFT) & 7;
  for (let i = 0; i < 8; i++) {
    const from = at + IMAGE.st + i * 16;
    const to = STATE.st + ((top + i) & 7) * 16;
    copyRegister(words, to, from);
  }
}

/** Copies a pointer of 64 bits, or of 32. */
function copyPointer(words: Uint32Array, to: number, from: number, wide: boolean): void {
  words[to >>> 2] = words[from >>> 2]!;
  words[(to >>> 2) + 1] = wide ? words[(from >>> 2) + 1]! : 0;
}

// Word by word: a kernel does this at every context switch, and a call of copyWithin costs more than it moves. Images are
// aligned to 16 bytes at least.

/** Copies an x87 register's ten bytes, and clears the six behind them. */
function copyRegister(words: Uint32Array, to: number, from: number): void {
  const [into, out] = [to >>> 2, from >>> 2];
  words[into] = words[out]!;
  words[into + 1] = words[out + 1]!;
  words[into + 2] = words[out + 2]! & 0xffff;
  words[into + 3] = 0;
}

/** Copies the 16 bytes of a vector register or of its high half. */
export function copyVector(words: Uint32Array, to: number, from: number): void {
  const [into, out] = [to >>> 2, from >>> 2];
  words[into] = words[out]!;
  words[into + 1] = words[out + 1]!;
  words[into + 2] = words[out + 2]!;
  words[into + 3] = words[out + 3]!;
}

/** Clears the 16 bytes of a vector register or of its high half. */
export function clearVector(words: Uint32Array, at: number): void {
  const first = at >>> 2;
  words[first] = 0;
  words[first + 1] = 0;
  words[first + 2] = 0;
  words[first + 3] = 0;
}

/** Writes the first `count` XMM registers: compatibility mode knows eight. */
export function saveXmm(words: Uint32Array, at: number, count: number = 16): void {
  for (let i = 0; i < count; i++) copyVector(words, at + IMAGE.xmm + i * 16, STATE.xmm + i * 32);
}

/** Reads the first `count` XMM registers. */
export function loadXmm(words: Uint32Array, at: number, count: number = 16): void {
  for (let i = 0; i < count; i++) copyVector(words, STATE.xmm + i * 32, at + IMAGE.xmm + i * 16);
}

/** Writes MXCSR and its mask. */
export function saveMxcsr(view: DataView, at: number): void {
  view.setUint32(at + IMAGE.mxcsr, view.getUint32(STATE.mxcsr, true), true);
  view.setUint32(at + IMAGE.mxcsrMask, MXCSR_MASK, true);
}

/** The image's MXCSR; `undefined` when it has reserved bits set. */
export function mxcsrOf(view: DataView, at: number): number | undefined {
  const mxcsr = view.getUint32(at + IMAGE.mxcsr, true);
  return (mxcsr & ~MXCSR_MASK) === 0 ? mxcsr : undefined;
}

/** Writes x87, MMX and SSE state (`count` XMM registers) in FXSAVE's format (SDM 1, 10.5.1) at `at` of the same memory. */
export function saveFxsave(memory: MachineMemory, at: number, wide: boolean = true, count: number = 16): void {
  saveX87(memory, at, wide);
  saveMxcsr(memory.view, at);
  saveXmm(memory.words, at, count);
}

/** Loads state from an FXSAVE image at `at`; `false`, with nothing changed, when MXCSR has reserved bits set. */
export function loadFxsave(memory: MachineMemory, at: number, wide: boolean = true, count: number = 16): boolean {
  const mxcsr = mxcsrOf(memory.view, at);
  if (mxcsr === undefined) return false;
  loadX87(memory, at, wide);
  memory.view.setUint32(STATE.mxcsr, mxcsr, true);
  loadXmm(memory.words, at, count);
  return true;
}
