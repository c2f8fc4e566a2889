import type { Engine } from "./engine.ts";
import { copyVector, loadX87, loadXmm, mxcsrOf, saveMxcsr, saveX87, saveXmm } from "./fxsave.ts";
import { ACCESS, STATE } from "./layout.ts";
import { INITIAL_CONTROL } from "./semantics/x87-state.ts";
import { SERVICE_RESULT, type Service } from "./service.ts";
import { lastOpcode } from "./services-x87.ts";

/** State components, by their bits in XCR0 (SDM 1, 13.1). */
const X87 = 1n;
const SSE = 2n;
const AVX = 4n;
const UNDEFINED = 6;
const GENERAL_PROTECTION = 13;
const OSXSAVE = 1n << 18n;
const COMPACTED = 1n << 63n;
const INITIAL_MXCSR = 0x1f80;
const HEADER = 512;
const COMPACTION = 520;
/** Where the high halves of the YMM registers are; the compacted format has them there too, nothing lies between. */
const YMM = 576;
const SIZE = 832;
const LEGACY_AND_HEADER = 576;

/** What the instruction was asked to move. */
function requested(engine: Engine): bigint {
  const { quads } = engine.memory;
  const mask = ((quads[STATE.gpr / 8 + 2]! & 0xffffffffn) << 32n) | (quads[STATE.gpr / 8]! & 0xffffffffn);
  return mask & engine.current.xcr0;
}

/** Whether the words from `from` to `to`, both divisible by four, are all zero. */
function isZero(view: DataView, from: number, to: number): boolean {
  for (let at = from; at < to; at += 4) if (view.getUint32(at, true) !== 0) return false;
  return true;
}

/** The components that differ from their initial state (SDM 1, 13.6). */
export function inUse(engine: Engine): bigint {
  const { view, quads } = engine.memory;
  let used = 0n;
  const x87 =
    view.getUint32(STATE.fcw, true) !== INITIAL_CONTROL ||
    view.getUint32(STATE.fsw, true) !== 0 ||
    view.getUint32(STATE.ftw, true) !== 0 ||
    quads[STATE.fip / 8] !== 0n ||
    quads[STATE.fdp / 8] !== 0n ||
    !isZero(view, STATE.st, STATE.st + 128);
  if (x87) used |= X87;
  for (let i = 0; i < 16; i++) {
    const at = STATE.xmm + i * 32;
    if (!isZero(view, at, at + 16)) used |= SSE;
    if (!isZero(view, at + 16, at + 32)) used |= AVX;
  }
  return used;
}

/** Checks that CR4.OSXSAVE is set and the operand aligned; then its machine address, or 0 with the fault set. */
function area(engine: Engine, record: number, components: bigint, access: number): number {
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
    const { bytes, view, words } = engine.memory;
    const compacted = kind === "xsavec";
    let used = inUse(engine);
    // For XSAVEC, MXCSR is part of the SSE state.
    if (compacted && words[STATE.mxcsr / 4] !== INITIAL_MXCSR) used |= SSE;
    const written = kind === "xsave" ? asked : asked & used;
    if (written & X87) {
      words[STATE.fop / 4] = lastOpcode(engine);
      saveX87(bytes, view, at, engine.decodeRecord(record).operandSize === 8);
    }
    if (compacted ? written & SSE : asked & (SSE | AVX)) saveMxcsr(view, at);
    if (written & SSE) saveXmm(view, at);
    if (written & AVX)
      for (let i = 0; i < 16; i++) {
        copyVector(view, at + YMM + i * 16, STATE.xmm + i * 32 + 16);
      }
    if (compacted) {
      view.setBigUint64(at + HEADER, asked & used, true);
      view.setBigUint64(at + COMPACTION, asked | COMPACTED, true);
    } else view.setBigUint64(at + HEADER, (view.getBigUint64(at + HEADER, true) & ~asked) | (asked & used), true);
    engine.commit();
    return SERVICE_RESULT.NEXT;
  };
}

const xrstor: Service = (engine, record) => {
  const asked = requested(engine);
  const at = area(engine, record, asked, ACCESS.READ);
  if (at === 0) return SERVICE_RESULT.FAULT;
  const { bytes, view, words, quads } = engine.memory;
  const present = view.getBigUint64(at + HEADER, true);
  const compaction = view.getBigUint64(at + COMPACTION, true);
  const compacted = (compaction & COMPACTED) !== 0n;
  const allowed = compacted ? compaction & ~COMPACTED : engine.current.xcr0;
  // SDM 1, 13.8: what a header may not say.
  const bad =
    (present & ~allowed) !== 0n ||
    (allowed & ~engine.current.xcr0) !== 0n ||
    (!compacted && compaction !== 0n) ||
    !isZero(view, at + COMPACTION + 8, at + (compacted ? LEGACY_AND_HEADER : COMPACTION + 16));
  if (bad) return engine.setFault(GENERAL_PROTECTION, 0);
  // In the standard format MXCSR is loaded even for a component in its initial state.
  const wantsMxcsr = compacted ? (asked & present & SSE) !== 0n : (asked & (SSE | AVX)) !== 0n;
  const mxcsr = wantsMxcsr ? mxcsrOf(view, at) : INITIAL_MXCSR;
  if (mxcsr === undefined) return engine.setFault(GENERAL_PROTECTION, 0);
  if (asked & X87) {
    if (present & X87) loadX87(bytes, view, at, engine.decodeRecord(record).operandSize === 8);
    else {
      words[STATE.fcw / 4] = INITIAL_CONTROL;
      words[STATE.fsw / 4] = 0;
      words[STATE.ftw / 4] = 0;
      words[STATE.fop / 4] = 0;
      quads[STATE.fip / 8] = 0n;
      quads[STATE.fdp / 8] = 0n;
      bytes.fill(0, STATE.st, STATE.st + 128);
    }
  }
  if (wantsMxcsr || (compacted && (asked & SSE) !== 0n)) words[STATE.mxcsr / 4] = mxcsr;
  if (asked & SSE) {
    if (present & SSE) loadXmm(view, at);
    else for (let i = 0; i < 16; i++) bytes.fill(0, STATE.xmm + i * 32, STATE.xmm + i * 32 + 16);
  }
  if (asked & AVX)
    for (let i = 0; i < 16; i++) {
      const to = STATE.xmm + i * 32 + 16;
      if (present & AVX) copyVector(view, to, at + YMM + i * 16);
      else bytes.fill(0, to, to + 16);
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
