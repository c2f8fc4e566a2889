import type { Engine } from "./engine.ts";
import { STATE } from "./layout.ts";
import { FSW, SIGN, SPECIAL, TOP_MASK } from "./semantics/x87-state.ts";

const EXCEPTIONS = 0x3f;
const QUIET = 1n << 62n;
const INTEGER = 1n << 63n;
const INDEFINITE: X87Value = { significand: 3n << 62n, signExponent: SIGN | SPECIAL };
const FULL_PRECISION = 3;

/** A register's contents. */
export interface X87Value {
  readonly significand: bigint;
  readonly signExponent: number;
}

/** The x87 unit of the active VCPU as services see it; the same rules as the helpers of the semantics. */
export class X87Unit {
  private readonly engine: Engine;
  constructor(engine: Engine) {
    this.engine = engine;
  }

  get controlWord(): number {
    return this.engine.memory.words[STATE.fcw / 4]!;
  }
  get statusWord(): number {
    return this.engine.memory.words[STATE.fsw / 4]!;
  }
  set statusWord(value: number) {
    this.engine.memory.words[STATE.fsw / 4] = value;
  }
  get tags(): number {
    return this.engine.memory.words[STATE.ftw / 4]!;
  }
  set tags(value: number) {
    this.engine.memory.words[STATE.ftw / 4] = value;
  }
  get roundingControl(): number {
    return (this.controlWord >> 10) & 3;
  }

  physical(index: number): number {
    return ((this.statusWord >> 11) + index) & 7;
  }
  /** Address of ST(index). */
  address(index: number): number {
    return STATE.st + this.physical(index) * 16;
  }
  isValid(index: number): boolean {
    return ((this.tags >> this.physical(index)) & 1) === 1;
  }

  read(index: number): X87Value {
    const at = this.address(index);
    return {
      significand: this.engine.memory.view.getBigUint64(at, true),
      signExponent: this.engine.memory.view.getUint16(at + 8, true),
    };
  }
  /** Stores ST(index) and marks it valid. */
  write(index: number, value: X87Value): void {
    const at = this.address(index);
    this.engine.memory.view.setBigUint64(at, value.significand, true);
    this.engine.memory.view.setBigUint64(at + 8, BigInt(value.signExponent), true);
    this.tags |= 1 << this.physical(index);
  }
  writeIndefinite(index: number): void {
    this.write(index, INDEFINITE);
  }

  /** Moves TOP: down makes room for a push, up is the end of a pop. */
  move(by: 1 | -1): void {
    this.statusWord = (this.statusWord & ~TOP_MASK) | ((this.statusWord + by * 0x800) & TOP_MASK);
  }
  pop(): void {
    this.tags &= ~(1 << this.physical(0));
    this.move(1);
  }
  push(value: X87Value): void {
    this.move(-1);
    this.write(0, value);
  }

  /** Sets flags, and C1 as given; whether one of them is unmasked. */
  raise(flags: number): boolean {
    const unmasked = flags & EXCEPTIONS & ~this.controlWord;
    this.statusWord = (this.statusWord & ~FSW.C1) | flags | (unmasked ? FSW.ES | FSW.B : 0);
    return unmasked !== 0;
  }

  /** Rounds `magnitude` × 2^-fraction, which is greater than zero, into ST(index). `inexact` if it is cut off. */
  round(index: number, negative: boolean, magnitude: bigint, fraction: number, inexact: boolean): void {
    const bits = bitLength(magnitude);
    const shift = BigInt(128 - bits);
    const wide = shift >= 0n ? magnitude << shift : magnitude >> -shift;
    const lost = inexact || (shift < 0n && wide << -shift !== magnitude);
    const low = BigInt.asUintN(64, wide) | (lost ? 1n : 0n);
    const exponent = 16383 + bits - 1 - fraction;
    this.tags |= 1 << this.physical(index);
    this.engine.exports.x87Round(
      this.address(index),
      negative ? SIGN : 0,
      exponent,
      BigInt.asIntN(64, wide >> 64n),
      BigInt.asIntN(64, low),
      FULL_PRECISION,
    );
  }
}

/** Bits of a positive bigint. */
export function bitLength(value: bigint): number {
  const text = value.toString(16);
  return text.length * 4 - Math.clz32(Number.parseInt(text[0]!, 16)) + 28;
}

export function exponentOf(value: X87Value): number {
  return value.signExponent & SPECIAL;
}
export function isNegative(value: X87Value): boolean {
  return (value.signExponent & SIGN) !== 0;
}
export function isZero(value: X87Value): boolean {
  return value.significand === 0n && exponentOf(value) === 0;
}
export function isInfinite(value: X87Value): boolean {
  return exponentOf(value) === SPECIAL && value.significand === INTEGER;
}
export function isNan(value: X87Value): boolean {
  return exponentOf(value) === SPECIAL && value.significand > INTEGER;
}
export function isSignalling(value: X87Value): boolean {
  return isNan(value) && (value.significand & QUIET) === 0n;
}
export function isUnsupported(value: X87Value): boolean {
  return exponentOf(value) !== 0 && value.significand < INTEGER;
}
export function isDenormal(value: X87Value): boolean {
  return exponentOf(value) === 0 && value.significand !== 0n;
}

/** The NaN that two operands give, as SDM 1 table 4-7; `undefined` when neither is one. */
export function propagate(a: X87Value, b: X87Value): X87Value | undefined {
  if (!isNan(a) && !isNan(b)) return undefined;
  let chosen = isNan(a) ? a : b;
  if (isNan(a) && isNan(b)) {
    if (isSignalling(a) !== isSignalling(b)) chosen = isSignalling(a) ? b : a;
    else if (a.significand === b.significand) chosen = a.signExponent < b.signExponent ? a : b;
    else chosen = a.significand > b.significand ? a : b;
  }
  return { significand: chosen.significand | QUIET, signExponent: chosen.signExponent };
}

/** A finite number as `significand` × 2^`power`, normalized. */
export function normalized(value: X87Value): { readonly significand: bigint; readonly power: number } {
  const bits = bitLength(value.significand);
  const exponent = Math.max(exponentOf(value), 1);
  return { significand: value.significand << BigInt(64 - bits), power: exponent - 16383 - 63 - (64 - bits) };
}
