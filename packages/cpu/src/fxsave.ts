import { STATE } from "./layout.ts";

/** Bytes of an FXSAVE image that are defined; the rest up to 512 stays as it was. */
export const FXSAVE_BYTES = 416;
/** MXCSR bits that may be set: all but the reserved ones, misaligned-exception mask excluded. */
export const MXCSR_MASK = 0xffff;

const TOP_SHIFT = 11;
const IMAGE = { fcw: 0, fsw: 2, ftw: 4, fop: 6, fip: 8, fdp: 16, mxcsr: 24, mxcsrMask: 28, st: 32, xmm: 160 } as const;

/** Writes x87, MMX and SSE state in FXSAVE's 64-bit format (SDM 1, 10.5.1) at `at` of the same memory. */
export function saveFxsave(bytes: Uint8Array, view: DataView, at: number): void {
  view.setUint16(at + IMAGE.fcw, view.getUint16(STATE.fcw, true), true);
  view.setUint16(at + IMAGE.fsw, view.getUint16(STATE.fsw, true), true);
  bytes[at + IMAGE.ftw] = bytes[STATE.ftw]!;
  bytes[at + IMAGE.ftw + 1] = 0;
  view.setUint16(at + IMAGE.fop, view.getUint16(STATE.fop, true), true);
  view.setBigUint64(at + IMAGE.fip, view.getBigUint64(STATE.fip, true), true);
  view.setBigUint64(at + IMAGE.fdp, view.getBigUint64(STATE.fdp, true), true);
  view.setUint32(at + IMAGE.mxcsr, view.getUint32(STATE.mxcsr, true), true);
  view.setUint32(at + IMAGE.mxcsrMask, MXCSR_MASK, true);
  const top = (view.getUint16(STATE.fsw, true) >> TOP_SHIFT) & 7;
  for (let i = 0; i < 8; i++) {
    const from = STATE.st + ((top + i) & 7) * 16;
    bytes.copyWithin(at + IMAGE.st + i * 16, from, from + 10);
    bytes.fill(0, at + IMAGE.st + i * 16 + 10, at + IMAGE.st + i * 16 + 16);
  }
  for (let i = 0; i < 16; i++) bytes.copyWithin(at + IMAGE.xmm + i * 16, STATE.xmm + i * 32, STATE.xmm + i * 32 + 16);
}

/** Loads state from an FXSAVE image at `at`; `false`, with nothing changed, when MXCSR has reserved bits set. */
export function loadFxsave(bytes: Uint8Array, view: DataView, at: number): boolean {
  const mxcsr = view.getUint32(at + IMAGE.mxcsr, true);
  if ((mxcsr & ~MXCSR_MASK) !== 0) return false;
  view.setUint32(STATE.fcw, view.getUint16(at + IMAGE.fcw, true), true);
  const fsw = view.getUint16(at + IMAGE.fsw, true);
  view.setUint32(STATE.fsw, fsw, true);
  view.setUint32(STATE.ftw, bytes[at + IMAGE.ftw]!, true);
  view.setUint32(STATE.fop, view.getUint16(at + IMAGE.fop, true) & 0x7ff, true);
  view.setBigUint64(STATE.fip, view.getBigUint64(at + IMAGE.fip, true), true);
  view.setBigUint64(STATE.fdp, view.getBigUint64(at + IMAGE.fdp, true), true);
  view.setUint32(STATE.mxcsr, mxcsr, true);
  const top = (fsw >> TOP_SHIFT) & 7;
  for (let i = 0; i < 8; i++) {
    const from = at + IMAGE.st + i * 16;
    bytes.copyWithin(STATE.st + ((top + i) & 7) * 16, from, from + 10);
  }
  for (let i = 0; i < 16; i++)
    bytes.copyWithin(STATE.xmm + i * 32, at + IMAGE.xmm + i * 16, at + IMAGE.xmm + i * 16 + 16);
  return true;
}
