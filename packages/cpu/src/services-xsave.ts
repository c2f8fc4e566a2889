import type { Engine } from "./engine.ts";
import { clearVector, copyVector, loadX87, loadXmm, mxcsrOf, saveMxcsr, saveX87, saveXmm } from "./fxsave.ts";
import { ACCESS, STATE } from "./layout.ts";
import { INITIAL_CONTROL } from "./semantics/x87-state.ts";
import { SERVICE_RESULT, type Service } from "./service.ts";
import { lastOpcode } from "./services-x87.ts";

/** State components, by their bits in XCR0 (SDM 1, 13.1); none above them exists. */
const X87 = 1;
const SSE = 2;
const AVX = 4;
const UNDEFINED = 6;
const GENERAL_PROTECTION = 13;
const OSXSAVE = 1n << 18n;
/** Bit 63 of XCOMP_BV, in its upper word. */
const COMPACTED = 0x80000000;
const INITIAL_MXCSR = 0x1f80;
const HEADER = 512;
const COMPACTION = 520;
/** Where the high halves of the YMM registers are; the compacted format has them there too, nothing lies between. */
const YMM = 576;
const SIZE = 832;
const LEGACY_AND_HEADER = 576;

/** What the instruction was asked to move. */
function requested(engine: Engine): number {
  return engine.registerWords[0]! & engine.memory.words[STATE.xcr0 / 4]!;
}

/** Whether the words from `from` to `to`, both divisible by four, are all zero. */
function isZero(words: Uint32Array, from: number, to: number): boolean {
  for (let at = from >>> 2; at < to >>> 2; at++) if (words[at] !== 0) return false;
  return true;
}

/** The components that differ from their initial state (SDM 1, 13.6). */
function componentsInUse({ words }: Engine["memory"]): number {
  let used = 0;
  const x87 =
    words[STATE.fcw / 4] !== INITIAL_CONTROL ||
    words[STATE.fsw / 4] !== 0 ||
    words[STATE.ftw / 4] !== 0 ||
    !isZero(words, STATE.fip, STATE.fip + 8) ||
    !isZero(words, STATE.fdp, STATE.fdp + 8) ||
    !isZero(words, STATE.st, STATE.st + 128);
  if (x87) used |= X87;
  for (let at: number = STATE.xmm; at < STATE.xmm + 512; at += 32) {
    if ((used & SSE) === 0 && !isZero(words, at, at + 16)) used |= SSE;
    if ((used & AVX) === 0 && !isZero(words, at + 16, at + 32)) used |= AVX;
  }
  return used;
}

/** {@link componentsInUse} as XGETBV gives it. */
export function inUse(engine: Engine): bigint {
  return BigInt(componentsInUse(engine.memory));
}

/** Checks that CR4.OSXSAVE is set and the operand aligned; then its machine address, or 0 with the fault set. */
function area(engine: Engine, record: number, components: number, access: number): number {
  if ((engine.current.cr4 & OSXSAVE) === 0n) {
    engine.setFault(UNDEFINED, 0);
    return 0;
  }
  if ((engine.exports.operandAddress(record) & 63n) !== 0n) {
    engine.setFault(GENERAL_PROTECTION, 0);
    return 0;
  }
  return engine.operand(record, components & AVX ? SIZE : LEGACY_AND_HEADER, access);
}

/** XSAVE writes what was asked for, XSAVEOPT and XSAVEC what of it is in use. */
function save(kind: "xsave" | "xsaveopt" | "xsavec"): Service {
  return (engine, record) => {
    const asked = requested(engine);
    const at = area(engine, record, asked, ACCESS.WRITE);
    if (at === 0) return SERVICE_RESULT.FAULT;
    const { memory } = engine;
    const { view, words } = memory;
    const compacted = kind === "xsavec";
    let used = componentsInUse(memory);
    // For XSAVEC, MXCSR is part of the SSE state.
    if (compacted && words[STATE.mxcsr / 4] !== INITIAL_MXCSR) used |= SSE;
    const written = kind === "xsave" ? asked : asked & used;
    if (written & X87) {
      words[STATE.fop / 4] = lastOpcode(engine);
      saveX87(memory, at, engine.decodeRecord(record).operandSize === 8);
    }
    if (compacted ? written & SSE : asked & (SSE | AVX)) saveMxcsr(view, at);
    if (written & SSE) saveXmm(words, at);
    if (written & AVX)
      for (let i = 0; i < 16; i++) {
        copyVector(words, at + YMM + i * 16, STATE.xmm + i * 32 + 16);
      }
    const header = (at + HEADER) >>> 2;
    if (compacted) {
      words[header] = asked & used;
      words[header + 1] = 0;
      words[header + 2] = asked;
      words[header + 3] = COMPACTED;
    } else words[header] = (words[header]! & ~asked) | (asked & used);
    engine.commit();
    return SERVICE_RESULT.NEXT;
  };
}

const xrstor: Service = (engine, record) => {
  const asked = requested(engine);
  const at = area(engine, record, asked, ACCESS.READ);
  if (at === 0) return SERVICE_RESULT.FAULT;
  const { memory } = engine;
  const { bytes, view, words } = memory;
  const header = (at + HEADER) >>> 2;
  const present = words[header]!;
  const compaction = words[header + 2]!;
  const compacted = words[header + 3]! === COMPACTED;
  const supported = words[STATE.xcr0 / 4]!;
  const allowed = compacted ? compaction : supported;
  // SDM 1, 13.8: what a header may not say. No component has a bit in an upper word.
  const bad =
    words[header + 1] !== 0 ||
    (present & ~allowed) !== 0 ||
    (allowed & ~supported) !== 0 ||
    (!compacted && (compaction !== 0 || words[header + 3] !== 0)) ||
    !isZero(words, at + COMPACTION + 8, at + (compacted ? LEGACY_AND_HEADER : COMPACTION + 16));
  if (bad) return engine.setFault(GENERAL_PROTECTION, 0);
  // In the standard format MXCSR is loaded even for a component in its initial state.
  const wantsMxcsr = compacted ? (asked & present & SSE) !== 0 : (asked & (SSE | AVX)) !== 0;
  const mxcsr = wantsMxcsr ? mxcsrOf(view, at) : INITIAL_MXCSR;
  if (mxcsr === undefined) return engine.setFault(GENERAL_PROTECTION, 0);
  if (asked & X87) {
    if (present & X87) loadX87(memory, at, engine.decodeRecord(record).operandSize === 8);
    else {
      words[STATE.fcw / 4] = INITIAL_CONTROL;
      words[STATE.fsw / 4] = 0;
      words[STATE.ftw / 4] = 0;
      words[STATE.fop / 4] = 0;
      bytes.fill(0, STATE.fip, STATE.fdp + 8);
      bytes.fill(0, STATE.st, STATE.st + 128);
    }
  }
  if (wantsMxcsr || (compacted && (asked & SSE) !== 0)) words[STATE.mxcsr / 4] = mxcsr;
  if (asked & SSE) {
    if (present & SSE) loadXmm(words, at);
    else for (let i = 0; i < 16; i++) clearVector(words, STATE.xmm + i * 32);
  }
  if (asked & AVX)
    for (let i = 0; i < 16; i++) {
      const to = STATE.xmm + i * 32 + 16;
      if (present & AVX) copyVector(words, to, at + YMM + i * 16);
      else clearVector(words, to);
    }
  return SERVICE_RESULT.NEXT;
};

/** By the name of the definition. */
export const XSAVE_SERVICES: Readonly<Record<string, Service>> = {
  xsave: save("xsave"),
  xsaveopt: save("xsaveopt"),
  xsavec: save("xsavec"),
  xrstor,
};
