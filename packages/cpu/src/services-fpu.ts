import type { Engine } from "./engine.ts";
import { loadFxsave, MXCSR_MASK, saveFxsave } from "./fxsave.ts";
import { ACCESS, ENGINE, STATE, WATCH } from "./layout.ts";
import { longOperand, SERVICE_RESULT, type Service } from "./service.ts";
import { lastOpcode } from "./services-x87.ts";
import { XSAVE_SERVICES } from "./services-xsave.ts";

const GENERAL_PROTECTION = 13;
const ALIGNMENT_CHECK = 17;

/** Machine address of an operand that must be aligned to 16 bytes, 0 with the fault set. */
function aligned(engine: Engine, record: number, size: number, access: number): number {
  const address = engine.exports.operandAddress(record);
  if (BigInt.asIntN(48, address) !== BigInt.asIntN(64, address)) return engine.operand(record, size, access);
  if ((address & 15n) !== 0n) {
    // Where alignment is checked, that of four bytes comes first.
    const checks = (engine.memory.words[ENGINE.watch / 4]! & WATCH.ALIGNMENT) !== 0 && (address & 3n) !== 0n;
    engine.setFault(checks ? ALIGNMENT_CHECK : GENERAL_PROTECTION, 0);
    return 0;
  }
  return longOperand(engine, record, size, access, "end");
}

/** XMM registers that the mode knows. */
function xmmCount(engine: Engine): number {
  return engine.current.mode === 64 ? 16 : 8;
}

/** With REX.W the pointers have 64 bits. */
function isWide(engine: Engine, record: number): boolean {
  return engine.decodeRecord(record).operandSize === 8;
}

const fxsave: Service = (engine, record) => {
  const at = aligned(engine, record, 512, ACCESS.WRITE);
  if (at === 0) return SERVICE_RESULT.FAULT;
  engine.memory.words[STATE.fop / 4] = lastOpcode(engine);
  saveFxsave(engine.memory, at, isWide(engine, record), xmmCount(engine));
  engine.commit();
  return SERVICE_RESULT.NEXT;
};

const fxrstor: Service = (engine, record) => {
  const at = aligned(engine, record, 512, ACCESS.READ);
  if (at === 0) return SERVICE_RESULT.FAULT;
  return loadFxsave(engine.memory, at, isWide(engine, record), xmmCount(engine))
    ? SERVICE_RESULT.NEXT
    : engine.setFault(GENERAL_PROTECTION, 0);
};

const ldmxcsr: Service = (engine, record) => {
  const at = engine.operand(record, 4, ACCESS.READ);
  if (at === 0) return SERVICE_RESULT.FAULT;
  const value = engine.memory.view.getUint32(at, true);
  if ((value & ~MXCSR_MASK) !== 0) return engine.setFault(GENERAL_PROTECTION, 0);
  engine.memory.view.setUint32(STATE.mxcsr, value, true);
  return SERVICE_RESULT.NEXT;
};

/** State of the FPU, SSE and AVX as a whole. */
export const FPU_SERVICES: Readonly<Record<string, Service>> = {
  fxsave,
  fxrstor,
  ldmxcsr,
  vldmxcsr: ldmxcsr,
  ...XSAVE_SERVICES,
};
