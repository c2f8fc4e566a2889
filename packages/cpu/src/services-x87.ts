import type { Engine } from "./engine.ts";
import { ACCESS, STATE } from "./layout.ts";
import {
  CONTROL_ALWAYS,
  CONTROL_BITS,
  FSW,
  INITIAL_CONTROL,
  SIGN,
  SPECIAL,
  summarized,
} from "./semantics/x87-state.ts";
import { longOperand, SERVICE_RESULT, type Service } from "./service.ts";
import {
  isDenormal,
  isInfinite,
  isNan,
  isNegative,
  isUnsupported,
  isZero,
  normalized,
  X87Unit,
  type X87Value,
} from "./x87-unit.ts";

const { NEXT, FAULT } = SERVICE_RESULT;
/** Packed decimals have 18 digits. */
const DECIMAL_LIMIT = 10n ** 18n;
const DECIMAL_INDEFINITE = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];
const ENVIRONMENT = { 14: 2, 28: 4 } as const;

/** Remembers the instruction and its operand, as every waiting instruction that isn't a control instruction does. */
function remember(engine: Engine, record: number): void {
  engine.memory.quads[STATE.fip / 8] = engine.ripOf(record);
  engine.memory.quads[STATE.fdp / 8] = BigInt.asUintN(64, engine.exports.operandAddress(record));
}

const fbld: Service = (engine, record) => {
  const at = engine.operand(record, 10, ACCESS.READ);
  if (at === 0) return FAULT;
  remember(engine, record);
  const unit = new X87Unit(engine);
  const { bytes } = engine.memory;
  if (unit.isValid(-1)) {
    if (unit.raise(FSW.IE | FSW.SF | FSW.C1)) return NEXT;
    unit.move(-1);
    unit.writeIndefinite(0);
    return NEXT;
  }
  let value = 0n;
  for (let i = 8; i >= 0; i--) value = value * 100n + BigInt((bytes[at + i]! >> 4) * 10 + (bytes[at + i]! & 15));
  const sign = bytes[at + 9]! & 0x80 ? SIGN : 0;
  unit.raise(0);
  unit.move(-1);
  if (value === 0n) unit.write(0, { significand: 0n, signExponent: sign });
  // Digits beyond 9 count for what they are; even so 60 bits are enough.
  else unit.round(0, sign !== 0, value, 0, false);
  return NEXT;
};

/** `value` rounded to an integer as the control word says. */
function rounded(
  unit: X87Unit,
  value: X87Value,
): { readonly magnitude: bigint; readonly inexact: boolean; readonly up: boolean } {
  const { significand, power } = normalized(value);
  if (power >= 0) return { magnitude: significand << BigInt(power), inexact: false, up: false };
  const shift = BigInt(Math.min(-power, 200));
  const magnitude = significand >> shift;
  const rest = significand - (magnitude << shift);
  const half = 1n << (shift - 1n);
  const control = unit.roundingControl;
  const negative = isNegative(value);
  const nearest = rest > half || (rest === half && (magnitude & 1n) === 1n);
  const up = control === 0 ? nearest : rest !== 0n && ((control === 1 && negative) || (control === 2 && !negative));
  return { magnitude: magnitude + (up ? 1n : 0n), inexact: rest !== 0n, up };
}

const fbstp: Service = (engine, record) => {
  const at = engine.operand(record, 10, ACCESS.WRITE);
  if (at === 0) return FAULT;
  remember(engine, record);
  const unit = new X87Unit(engine);
  const { bytes } = engine.memory;
  const finish = (flags: number, digits: ArrayLike<number>) => {
    if (!unit.raise(flags) || flags === FSW.PE || flags === (FSW.PE | FSW.C1)) {
      bytes.set(digits, at);
      unit.pop();
    }
    engine.commit();
    return NEXT;
  };
  if (!unit.isValid(0)) return finish(FSW.IE | FSW.SF, DECIMAL_INDEFINITE);
  const value = unit.read(0);
  if (isUnsupported(value) || isNan(value) || isInfinite(value) || (value.signExponent & SPECIAL) > 0x3fff + 63)
    return finish(FSW.IE, DECIMAL_INDEFINITE);
  const { magnitude, inexact, up } = isZero(value)
    ? { magnitude: 0n, inexact: false, up: false }
    : rounded(unit, value);
  if (magnitude >= DECIMAL_LIMIT) return finish(FSW.IE, DECIMAL_INDEFINITE);
  const digits = new Uint8Array(10);
  let left = magnitude;
  for (let i = 0; i < 9; i++) {
    const pair = Number(left % 100n);
    digits[i] = (Math.floor(pair / 10) << 4) | (pair % 10);
    left /= 100n;
  }
  digits[9] = isNegative(value) ? 0x80 : 0;
  return finish((inexact ? FSW.PE : 0) | (up ? FSW.C1 : 0), digits);
};

/** The full tag word: 0 valid, 1 zero, 2 special, 3 empty, by physical register. */
export function fullTags(unit: X87Unit): number {
  let tags = 0;
  const top = unit.physical(0);
  for (let number = 0; number < 8; number++) {
    const index = (number - top) & 7;
    let tag = 3;
    if (unit.isValid(index)) {
      const value = unit.read(index);
      const special = isUnsupported(value) || isDenormal(value) || (value.signExponent & SPECIAL) === SPECIAL;
      tag = isZero(value) ? 1 : special ? 2 : 0;
    }
    tags |= tag << (number * 2);
  }
  return tags;
}

/**
 * The opcode's last 11 bits, which are kept for unmasked exceptions only: read again from where the instruction was,
 * or 0 when it isn't there any more.
 */
export function lastOpcode(engine: Engine): number {
  const unit = new X87Unit(engine);
  if ((unit.statusWord & FSW.ES) === 0) return engine.memory.words[STATE.fop / 4]!;
  const address = engine.memory.quads[STATE.fip / 8]!;
  for (let i = 0n; i < 14n; i++) {
    const pair = engine.readLinear(address + i, 2);
    if (pair === undefined) return 0;
    const [first, second] = [Number(pair & 0xffn), Number(pair >> 8n)];
    if (first >= 0xd8 && first <= 0xdf) return ((first & 7) << 8) | second;
  }
  return 0;
}

/** Bytes of the environment at this operand size. */
function environmentSize(engine: Engine, record: number): 14 | 28 {
  return engine.decodeRecord(record).operandSize === 2 ? 14 : 28;
}

/** Writes the environment in protected-mode format; segment selectors are 0, as CPUID.7.0:EBX bit 13 promises. */
function writeEnvironment(engine: Engine, at: number, size: 14 | 28): void {
  const { view, bytes, quads } = engine.memory;
  const unit = new X87Unit(engine);
  const step = ENVIRONMENT[size];
  const filler = step === 4 ? 0xffff : 0;
  const opcode = lastOpcode(engine);
  bytes.fill(0, at, at + size);
  [unit.controlWord, unit.statusWord, fullTags(unit)].forEach((word, index) => {
    view.setUint16(at + index * step, word, true);
    if (step === 4) view.setUint16(at + index * step + 2, filler, true);
  });
  const instruction = Number(quads[STATE.fip / 8]! & 0xffffffffn);
  const data = Number(quads[STATE.fdp / 8]! & 0xffffffffn);
  if (step === 2) {
    view.setUint16(at + 6, instruction, true);
    view.setUint16(at + 10, data, true);
    return;
  }
  view.setUint32(at + 12, instruction, true);
  view.setUint16(at + 18, opcode, true);
  view.setUint32(at + 20, data, true);
  view.setUint32(at + 24, 0xffff0000, true);
}

function loadEnvironment(engine: Engine, at: number, size: 14 | 28): void {
  const { view, words, quads } = engine.memory;
  const step = ENVIRONMENT[size];
  words[STATE.fcw / 4] = (view.getUint16(at, true) & CONTROL_BITS) | CONTROL_ALWAYS;
  words[STATE.fsw / 4] = summarized(view.getUint16(at + step, true), words[STATE.fcw / 4]!);
  const tags = view.getUint16(at + step * 2, true);
  let valid = 0;
  for (let i = 0; i < 8; i++) if (((tags >> (i * 2)) & 3) !== 3) valid |= 1 << i;
  words[STATE.ftw / 4] = valid;
  if (step === 2) {
    quads[STATE.fip / 8] = BigInt(view.getUint16(at + 6, true));
    quads[STATE.fdp / 8] = BigInt(view.getUint16(at + 10, true));
    words[STATE.fop / 4] = 0;
    return;
  }
  quads[STATE.fip / 8] = BigInt(view.getUint32(at + 12, true));
  words[STATE.fop / 4] = view.getUint16(at + 18, true) & 0x7ff;
  quads[STATE.fdp / 8] = BigInt(view.getUint32(at + 20, true));
}

const fnstenv: Service = (engine, record) => {
  const size = environmentSize(engine, record);
  const at = longOperand(engine, record, size, ACCESS.WRITE);
  if (at === 0) return FAULT;
  writeEnvironment(engine, at, size);
  engine.commit();
  // All exceptions are masked afterwards; ES follows.
  const unit = new X87Unit(engine);
  engine.memory.words[STATE.fcw / 4] = unit.controlWord | 0x3f;
  unit.statusWord &= ~(FSW.ES | FSW.B);
  return NEXT;
};

const fldenv: Service = (engine, record) => {
  const size = environmentSize(engine, record);
  const at = longOperand(engine, record, size, ACCESS.READ);
  if (at === 0) return FAULT;
  loadEnvironment(engine, at, size);
  return NEXT;
};

const fnsave: Service = (engine, record) => {
  const size = environmentSize(engine, record);
  const at = longOperand(engine, record, size + 80, ACCESS.WRITE);
  if (at === 0) return FAULT;
  const { bytes, words, quads } = engine.memory;
  const unit = new X87Unit(engine);
  writeEnvironment(engine, at, size);
  for (let i = 0; i < 8; i++) bytes.copyWithin(at + size + i * 10, unit.address(i), unit.address(i) + 10);
  engine.commit();
  words[STATE.fcw / 4] = INITIAL_CONTROL;
  words[STATE.fsw / 4] = 0;
  words[STATE.ftw / 4] = 0;
  words[STATE.fop / 4] = 0;
  quads[STATE.fip / 8] = 0n;
  quads[STATE.fdp / 8] = 0n;
  return NEXT;
};

const frstor: Service = (engine, record) => {
  const size = environmentSize(engine, record);
  const at = longOperand(engine, record, size + 80, ACCESS.READ);
  if (at === 0) return FAULT;
  loadEnvironment(engine, at, size);
  const { bytes } = engine.memory;
  const unit = new X87Unit(engine);
  for (let i = 0; i < 8; i++) {
    bytes.fill(0, unit.address(i), unit.address(i) + 16);
    bytes.copyWithin(unit.address(i), at + size + i * 10, at + size + i * 10 + 10);
  }
  return NEXT;
};

/** By the name of the definition. */
export const X87_SERVICES: Readonly<Record<string, Service>> = { fbld, fbstp, fnstenv, fldenv, fnsave, frstor };
