import { OPERAND, SEGMENT } from "@paravirt/x86";
import type { Engine } from "./engine.ts";
import { ACCESS, RECORD, STATE } from "./layout.ts";
import { operandByte, SERVICE_RESULT, type Service } from "./service.ts";

const { NEXT, FAULT } = SERVICE_RESULT;
const DIVIDE_ERROR = 0;
const BOUND_RANGE = 5;
const GENERAL_PROTECTION = 13;
const FLAG = { carry: 1n, parity: 4n, adjust: 0x10n, zero: 0x40n, sign: 0x80n } as const;
const RESULT_FLAGS = FLAG.parity | FLAG.zero | FLAG.sign;
const RSP = 4;

function accumulator(engine: Engine): number {
  return engine.memory.view.getUint16(STATE.gpr, true);
}

/** Stores AX, and the flags: CF and AF as given, SF, ZF and PF from AL if `result` says so. */
function finish(engine: Engine, ax: number, carry: boolean, adjust: boolean, result: boolean): number {
  engine.memory.view.setUint16(STATE.gpr, ax & 0xffff, true);
  const al = ax & 0xff;
  let flags = engine.exports.readFlags() & ~(FLAG.carry | FLAG.adjust);
  if (carry) flags |= FLAG.carry;
  if (adjust) flags |= FLAG.adjust;
  if (result) {
    flags &= ~RESULT_FLAGS;
    if (al === 0) flags |= FLAG.zero;
    if (al & 0x80) flags |= FLAG.sign;
    let ones = al ^ (al >> 4);
    ones ^= ones >> 2;
    if (((ones ^ (ones >> 1)) & 1) === 0) flags |= FLAG.parity;
  }
  engine.exports.loadFlags(flags);
  return NEXT;
}

/** AAA and AAS: SDM 2A. The carry out of AL goes to AH by 16-bit arithmetic, as processors since the 286 do. */
function adjustAscii(direction: 1 | -1): Service {
  return (engine) => {
    const ax = accumulator(engine);
    const adjusts = (ax & 15) > 9 || (engine.exports.readFlags() & FLAG.adjust) !== 0n;
    const value = adjusts ? ax + direction * 0x106 : ax;
    return finish(engine, value & 0xff0f, adjusts, adjusts, true);
  };
}

/** DAA and DAS: SDM 2A. */
function adjustDecimal(direction: 1 | -1): Service {
  return (engine) => {
    const ax = accumulator(engine);
    const old = ax & 0xff;
    const flags = engine.exports.readFlags();
    const oldCarry = (flags & FLAG.carry) !== 0n;
    const low = (old & 15) > 9 || (flags & FLAG.adjust) !== 0n;
    const high = old > 0x99 || oldCarry;
    const al = old + direction * ((low ? 6 : 0) + (high ? 0x60 : 0));
    // DAS keeps the borrow of its first step; in DAA a carry there implies the second.
    const borrow = direction === -1 && low && old < 6;
    return finish(engine, (ax & 0xff00) | (al & 0xff), high || borrow, low, true);
  };
}

const aam: Service = (engine, record) => {
  const base = engine.memory.bytes[record + RECORD.immediate]!;
  if (base === 0) return engine.setFault(DIVIDE_ERROR, 0);
  const al = accumulator(engine) & 0xff;
  return finish(engine, (Math.floor(al / base) << 8) | (al % base), false, false, true);
};

const aad: Service = (engine, record) => {
  const ax = accumulator(engine);
  const al = ((ax & 0xff) + (ax >> 8) * engine.memory.bytes[record + RECORD.immediate]!) & 0xff;
  return finish(engine, al, false, false, true);
};

/** PUSHA: eight registers, with RSP as it was before. A fault in the middle leaves RSP there. */
const pusha: Service = (engine, record) => {
  const size = engine.decodeRecord(record).operandSize;
  const before = engine.memory.quads.slice(STATE.gpr / 8, STATE.gpr / 8 + 8);
  for (let number = 0; number < 8; number++) {
    if (engine.push(before[number]!, size)) continue;
    engine.memory.quads[STATE.gpr / 8 + RSP] = before[RSP]!;
    return FAULT;
  }
  return NEXT;
};

/** POPA: the value for RSP is skipped. A fault in the middle leaves the registers that were popped, and RSP as it was. */
const popa: Service = (engine, record) => {
  const size = engine.decodeRecord(record).operandSize;
  for (let i = 0; i < 8; i++) {
    const value = engine.peek(i * size, size);
    if (value === undefined) return FAULT;
    const number = 7 - i;
    const at = STATE.gpr + number * 8;
    if (number === RSP) continue;
    if (size === 2) engine.memory.view.setUint16(at, Number(value), true);
    else engine.memory.quads[at / 8] = value;
  }
  engine.dropStack(size * 8);
  return NEXT;
};

/** BOUND: #BR when the signed register is outside of the two bounds in memory. */
const bound: Service = (engine, record) => {
  const size = engine.decodeRecord(record).operandSize;
  const lower = engine.readLinear(engine.exports.operandAddress(record), size);
  if (lower === undefined) return FAULT;
  const upper = engine.readLinear(operandByte(engine, record, size), size);
  if (upper === undefined) return FAULT;
  const signed = (value: bigint) => BigInt.asIntN(size * 8, value);
  const value = signed(engine.memory.quads[engine.memory.words[(record + RECORD.a) / 4]! / 8]!);
  return value < signed(lower) || value > signed(upper) ? engine.setFault(BOUND_RANGE, 0) : NEXT;
};

/** ARPL: raises the destination's RPL to the source's; ZF tells whether it did. */
const arpl: Service = (engine, record) => {
  const instruction = engine.decodeRecord(record);
  const { view, words } = engine.memory;
  const memory = instruction.kinds[0] === OPERAND.MEMORY;
  let at = memory ? engine.operand(record, 2, ACCESS.READ) : words[(record + RECORD.a) / 4]!;
  if (at === 0) return FAULT;
  const destination = view.getUint16(at, true);
  const level = view.getUint16(words[(record + RECORD.b) / 4]!, true) & 3;
  const raises = (destination & 3) < level;
  if (raises) {
    // Only what changes must be writable; code segments aren't.
    if (memory && instruction.segment === SEGMENT.CS) return engine.setFault(GENERAL_PROTECTION, 0);
    if (memory) at = engine.operand(record, 2, ACCESS.WRITE);
    if (at === 0) return FAULT;
    view.setUint16(at, (destination & ~3) | level, true);
    if (memory) engine.commit();
  }
  const flags = engine.exports.readFlags();
  engine.exports.loadFlags(raises ? flags | FLAG.zero : flags & ~FLAG.zero);
  return NEXT;
};

/** Instructions that 64-bit mode no longer has: decimal adjustment, PUSHA and POPA, BOUND, ARPL. */
export const LEGACY_SERVICES: Readonly<Record<string, Service>> = {
  aaa: adjustAscii(1),
  aas: adjustAscii(-1),
  daa: adjustDecimal(1),
  das: adjustDecimal(-1),
  aam,
  aad,
  pusha,
  popa,
  bound,
  arpl,
};
