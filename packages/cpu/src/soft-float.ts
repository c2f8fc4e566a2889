/**
 * IEEE 754 arithmetic on bit patterns, as SSE does it: every rounding mode, denormals-are-zeros, flush-to-zero and the six
 * exceptions (SDM 1, 11.5). Exact and slow: compiled code takes the ordinary cases by itself.
 */

/** A binary format. */
export interface Format {
  readonly bits: number;
  /** Bits of the fraction field. */
  readonly fraction: number;
  readonly bias: number;
  /** Masks of the fields, and the highest bit of the fraction. */
  readonly fractionMask: bigint;
  readonly infinity: bigint;
  readonly sign: bigint;
  readonly quiet: bigint;
}
function makeFormat(bits: number, fraction: number): Format {
  const exponentBits = bits - 1 - fraction;
  return {
    bits,
    fraction,
    bias: 2 ** (exponentBits - 1) - 1,
    fractionMask: (1n << BigInt(fraction)) - 1n,
    infinity: ((1n << BigInt(exponentBits)) - 1n) << BigInt(fraction),
    sign: 1n << BigInt(bits - 1),
    quiet: 1n << BigInt(fraction - 1),
  };
}
export const SINGLE: Format = makeFormat(32, 23);
export const DOUBLE: Format = makeFormat(64, 52);
const HALF: Format = makeFormat(16, 10);

/** Exception flags of MXCSR. */
export const FLAG = { IE: 1, DE: 2, ZE: 4, OE: 8, UE: 16, PE: 32 } as const;
/** Rounding control of MXCSR. */
export const ROUND = { NEAREST: 0, DOWN: 1, UP: 2, ZERO: 3 } as const;
const ROUNDING_CONTROL = 0x6000;
const DAZ = 0x40;
const FTZ = 0x8000;
const MASKS = 0x1f80;
const EXCEPTIONS = 0x3f;
/** Invalid operation, denormal operand, division by zero: known before anything is computed. */
const PRECOMPUTATION = 7;

/** The modes of one instruction and the exceptions that it raised. */
export class FloatContext {
  readonly mxcsr: number;
  /** Raised by the step that goes on. */
  flags = 0;
  /** Raised by earlier steps of an instruction that has several. */
  settled = 0;
  constructor(mxcsr: number) {
    this.mxcsr = mxcsr;
  }
  /** Raised, not masked: the instruction faults. */
  get unmasked(): number {
    return (this.flags | this.settled) & ~(this.mxcsr >> 7) & EXCEPTIONS;
  }
  /** Everything that MXCSR shows afterwards: an unmasked exception of operands hides what computing would have raised. */
  get seen(): number {
    return this.settled | (this.unmasked & PRECOMPUTATION ? this.flags & PRECOMPUTATION : this.flags);
  }
  /** Ends a step; `false` when the instruction goes no further. */
  settle(): boolean {
    if (this.unmasked !== 0) return false;
    this.settled |= this.flags;
    this.flags = 0;
    return true;
  }
  get rounding(): number {
    return (this.mxcsr >> 13) & 3;
  }
  get denormalsAreZeros(): boolean {
    return (this.mxcsr & DAZ) !== 0;
  }
  isMasked(flag: number): boolean {
    return ((this.mxcsr >> 7) & flag) !== 0;
  }
  get flushToZero(): boolean {
    return (this.mxcsr & FTZ) !== 0;
  }
}

/** A number taken apart: its value is `mantissa * 2 ** exponent`. */
export interface Unpacked {
  readonly kind: "nan" | "infinity" | "number";
  readonly negative: boolean;
  readonly mantissa: bigint;
  readonly exponent: number;
  readonly signalling: boolean;
  readonly denormal: boolean;
}

const signBit = (format: Format, negative: boolean) => (negative ? format.sign : 0n);

/** Positive or negative zero. */
export function zero(format: Format, negative: boolean): bigint {
  return signBit(format, negative);
}
export function infinity(format: Format, negative: boolean): bigint {
  return signBit(format, negative) | format.infinity;
}
/** What invalid operations answer: the negative quiet NaN without a payload. */
export function defaultNan(format: Format): bigint {
  return signBit(format, true) | format.infinity | format.quiet;
}
export function quiet(format: Format, bits: bigint): bigint {
  return bits | format.quiet;
}

const scratch = new DataView(new ArrayBuffer(8));

/** Takes `bits` apart; a denormal is a zero where MXCSR says so. */
export function unpack(context: FloatContext, format: Format, bits: bigint): Unpacked {
  // Exponents are taken out of 32-bit numbers: small BigInts would cost more than the rest.
  scratch.setBigUint64(0, bits);
  const single = format.bits === 32;
  const word = scratch.getUint32(single ? 4 : 0);
  const negative = word >>> 31 === 1;
  const field = single ? (word >>> 23) & 0xff : (word >>> 20) & 0x7ff;
  const fraction = bits & format.fractionMask;
  const least = 1 - format.bias - format.fraction;
  let kind: Unpacked["kind"] = "number";
  let signalling = false;
  let denormal = false;
  let mantissa = 0n;
  let exponent = 0;
  if (field === format.bias * 2 + 1) {
    if (fraction === 0n) kind = "infinity";
    else {
      kind = "nan";
      signalling = (fraction & format.quiet) === 0n;
    }
  } else if (field > 0) {
    mantissa = fraction | (format.quiet << 1n);
    exponent = least + field - 1;
  } else if (fraction !== 0n && !context.denormalsAreZeros) {
    denormal = true;
    mantissa = fraction;
    exponent = least;
  }
  return { kind, negative, mantissa, exponent, signalling, denormal };
}

/** Bits up to the highest one. */
function lengthOf(value: bigint): number {
  let length = 0;
  let rest = value;
  while (rest > 0xffffffffffffffffn) {
    rest >>= 64n;
    length += 64;
  }
  scratch.setBigUint64(0, rest);
  const high = scratch.getUint32(0);
  return length + (high !== 0 ? 64 - Math.clz32(high) : 32 - Math.clz32(scratch.getUint32(4)));
}

/** `mantissa / 2 ** shift` rounded to an integer. */
function shiftRounded(
  mantissa: bigint,
  shift: number,
  negative: boolean,
  rounding: number,
): { value: bigint; exact: boolean } {
  if (shift <= 0) return { value: mantissa << BigInt(-shift), exact: true };
  const value = mantissa >> BigInt(shift);
  const rest = mantissa - (value << BigInt(shift));
  if (rest === 0n) return { value, exact: true };
  const half = 1n << BigInt(shift - 1);
  const up =
    rounding === ROUND.NEAREST
      ? rest > half || (rest === half && (value & 1n) === 1n)
      : rounding === (negative ? ROUND.DOWN : ROUND.UP);
  return { value: up ? value + 1n : value, exact: false };
}

/** Rounds `mantissa * 2 ** exponent` to the format. The lowest bit of a long mantissa may stand for all that follow it. */
export function round(
  context: FloatContext,
  format: Format,
  negative: boolean,
  mantissa: bigint,
  exponent: number,
): bigint {
  if (mantissa === 0n) return zero(format, negative);
  const { rounding } = context;
  const precision = format.fraction + 1;
  const least = 1 - format.bias;
  const shift = lengthOf(mantissa) - precision;
  const free = shiftRounded(mantissa, shift, negative, rounding);
  const top = exponent + shift + lengthOf(free.value) - 1;
  if (top < least) {
    // Tiny after rounding as if the exponent had no end.
    if (!context.isMasked(FLAG.UE)) {
      context.flags |= FLAG.UE | (free.exact ? 0 : FLAG.PE);
      return zero(format, negative);
    }
    if (context.flushToZero) {
      context.flags |= FLAG.UE | FLAG.PE;
      return zero(format, negative);
    }
    const bound = shiftRounded(mantissa, least - format.fraction - exponent, negative, rounding);
    if (!bound.exact) context.flags |= FLAG.UE | FLAG.PE;
    return signBit(format, negative) | bound.value;
  }
  if (top > format.bias) {
    context.flags |= FLAG.OE;
    if (context.isMasked(FLAG.OE) || !free.exact) context.flags |= FLAG.PE;
    const away = rounding === ROUND.NEAREST || rounding === (negative ? ROUND.DOWN : ROUND.UP);
    return away ? infinity(format, negative) : infinity(format, negative) - 1n;
  }
  if (!free.exact) context.flags |= FLAG.PE;
  const aligned = lengthOf(free.value) > precision ? free.value >> 1n : free.value;
  return (
    signBit(format, negative) | (BigInt(top + format.bias) << BigInt(format.fraction)) | (aligned & format.fractionMask)
  );
}

/** The NaN that an operation on these operands answers: the first one's, else the second's; `undefined` without any. */
function nanOf(
  context: FloatContext,
  format: Format,
  a: bigint,
  x: Unpacked,
  b: bigint,
  y: Unpacked,
): bigint | undefined {
  if (x.signalling || y.signalling) context.flags |= FLAG.IE;
  if (x.kind === "nan") return quiet(format, a);
  return y.kind === "nan" ? quiet(format, b) : undefined;
}

function invalid(context: FloatContext, format: Format): bigint {
  context.flags |= FLAG.IE;
  return defaultNan(format);
}

function noteDenormals(context: FloatContext, x: Unpacked, y: Unpacked): void {
  if (x.denormal || y.denormal) context.flags |= FLAG.DE;
}

/** `a + b`, or `a - b`. */
export function add(context: FloatContext, format: Format, a: bigint, b: bigint, subtract: boolean = false): bigint {
  const x = unpack(context, format, a);
  const y = unpack(context, format, b);
  const nan = nanOf(context, format, a, x, b, y);
  if (nan !== undefined) return nan;
  const negativeY = y.negative !== subtract;
  if (x.kind === "infinity" && y.kind === "infinity" && x.negative !== negativeY) return invalid(context, format);
  noteDenormals(context, x, y);
  if (x.kind === "infinity") return infinity(format, x.negative);
  if (y.kind === "infinity") return infinity(format, negativeY);
  const exponent = Math.min(x.mantissa === 0n ? y.exponent : x.exponent, y.mantissa === 0n ? x.exponent : y.exponent);
  const scaled = (value: Unpacked, negative: boolean) => {
    if (value.mantissa === 0n) return 0n;
    const magnitude = value.mantissa << BigInt(value.exponent - exponent);
    return negative ? -magnitude : magnitude;
  };
  const sum = scaled(x, x.negative) + scaled(y, negativeY);
  if (sum === 0n) {
    const bothZero = x.mantissa === 0n && y.mantissa === 0n && x.negative === negativeY;
    return zero(format, bothZero ? x.negative : context.rounding === ROUND.DOWN);
  }
  return round(context, format, sum < 0n, sum < 0n ? -sum : sum, exponent);
}

export function multiply(context: FloatContext, format: Format, a: bigint, b: bigint): bigint {
  const x = unpack(context, format, a);
  const y = unpack(context, format, b);
  const nan = nanOf(context, format, a, x, b, y);
  if (nan !== undefined) return nan;
  const negative = x.negative !== y.negative;
  const isZero = (value: Unpacked) => value.kind === "number" && value.mantissa === 0n;
  if ((x.kind === "infinity" && isZero(y)) || (y.kind === "infinity" && isZero(x))) return invalid(context, format);
  noteDenormals(context, x, y);
  if (x.kind === "infinity" || y.kind === "infinity") return infinity(format, negative);
  return round(context, format, negative, x.mantissa * y.mantissa, x.exponent + y.exponent);
}

/** `a * b + c`, rounded once; `negate` is for the product. */
export function multiplyAdd(
  context: FloatContext,
  format: Format,
  [a, b, c]: readonly [bigint, bigint, bigint],
  negateProduct: boolean,
  negateAddend: boolean,
): bigint {
  const x = unpack(context, format, a);
  const y = unpack(context, format, b);
  const z = unpack(context, format, c);
  const isZero = (value: Unpacked) => value.kind === "number" && value.mantissa === 0n;
  const impossible = (x.kind === "infinity" && isZero(y)) || (y.kind === "infinity" && isZero(x));
  if (x.signalling || y.signalling || z.signalling) context.flags |= FLAG.IE;
  if (x.kind === "nan") return quiet(format, a);
  if (y.kind === "nan") return quiet(format, b);
  // An addend that is a NaN hides an impossible product: measured, the manuals leave it open.
  if (z.kind === "nan") return quiet(format, c);
  if (impossible) return invalid(context, format);
  const negative = (x.negative !== y.negative) !== negateProduct;
  const negativeZ = z.negative !== negateAddend;
  const infinite = x.kind === "infinity" || y.kind === "infinity";
  if (infinite && z.kind === "infinity" && negative !== negativeZ) return invalid(context, format);
  if (x.denormal || y.denormal || z.denormal) context.flags |= FLAG.DE;
  if (infinite) return infinity(format, negative);
  if (z.kind === "infinity") return infinity(format, negativeZ);
  const product = x.mantissa * y.mantissa;
  const power = x.exponent + y.exponent;
  const exponent = Math.min(product === 0n ? z.exponent : power, z.mantissa === 0n ? power : z.exponent);
  const scaled = (mantissa: bigint, from: number, minus: boolean) => {
    if (mantissa === 0n) return 0n;
    const magnitude = mantissa << BigInt(from - exponent);
    return minus ? -magnitude : magnitude;
  };
  const sum = scaled(product, power, negative) + scaled(z.mantissa, z.exponent, negativeZ);
  if (sum === 0n) {
    const sameSign = product === 0n && z.mantissa === 0n && negative === negativeZ;
    return zero(format, sameSign ? negative : context.rounding === ROUND.DOWN);
  }
  return round(context, format, sum < 0n, sum < 0n ? -sum : sum, exponent);
}

export function divide(context: FloatContext, format: Format, a: bigint, b: bigint): bigint {
  const x = unpack(context, format, a);
  const y = unpack(context, format, b);
  const nan = nanOf(context, format, a, x, b, y);
  if (nan !== undefined) return nan;
  const negative = x.negative !== y.negative;
  if (x.kind === y.kind && (x.kind === "infinity" || (x.mantissa === 0n && y.mantissa === 0n)))
    return invalid(context, format);
  if (x.kind === "number" && y.kind === "number" && y.mantissa === 0n) {
    context.flags |= FLAG.ZE;
    return infinity(format, negative);
  }
  noteDenormals(context, x, y);
  if (x.kind === "infinity") return infinity(format, negative);
  if (y.kind === "infinity") return zero(format, negative);
  const shift = Math.max(0, format.fraction + 4 + lengthOf(y.mantissa) - lengthOf(x.mantissa));
  const dividend = x.mantissa << BigInt(shift);
  const quotient = dividend / y.mantissa;
  const sticky = quotient * y.mantissa === dividend ? 0n : 1n;
  return round(context, format, negative, (quotient << 1n) | sticky, x.exponent - y.exponent - shift - 1);
}

function integerRoot(value: bigint): bigint {
  let root = 1n << BigInt((lengthOf(value) + 1) >> 1);
  for (;;) {
    const next = (root + value / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

export function squareRoot(context: FloatContext, format: Format, a: bigint): bigint {
  const x = unpack(context, format, a);
  const nan = nanOf(context, format, a, x, a, x);
  if (nan !== undefined) return nan;
  if (x.kind === "number" && x.mantissa === 0n) return zero(format, x.negative);
  if (x.negative) return invalid(context, format);
  if (x.kind === "infinity") return a;
  noteDenormals(context, x, x);
  let shift = Math.max(0, 2 * (format.fraction + 4) - lengthOf(x.mantissa));
  if ((x.exponent - shift) & 1) shift++;
  const square = x.mantissa << BigInt(shift);
  const root = integerRoot(square);
  const sticky = root * root === square ? 0n : 1n;
  return round(context, format, false, (root << 1n) | sticky, (x.exponent - shift) / 2 - 1);
}

/** How two numbers compare. */
export const ORDER = { LESS: 0, EQUAL: 1, GREATER: 2, UNORDERED: 3 } as const;

/** Compares; `quietNans` says whether a quiet NaN is no invalid operation. */
export function compare(context: FloatContext, format: Format, a: bigint, b: bigint, quietNans: boolean): number {
  const x = unpack(context, format, a);
  const y = unpack(context, format, b);
  if (x.kind === "nan" || y.kind === "nan") {
    if (!quietNans || x.signalling || y.signalling) context.flags |= FLAG.IE;
    return ORDER.UNORDERED;
  }
  noteDenormals(context, x, y);
  // Patterns of one sign are ordered as integers are; denormals may count as zeros.
  const key = (value: Unpacked, bits: bigint) => {
    if (value.kind === "number" && value.mantissa === 0n) return 0n;
    const magnitude = bits & ~signBit(format, true);
    return value.negative ? -magnitude : magnitude;
  };
  const left = key(x, a);
  const right = key(y, b);
  return left < right ? ORDER.LESS : left > right ? ORDER.GREATER : ORDER.EQUAL;
}

/** MINSx and MAXSx: the second operand unless the first is truly less (greater). */
export function minimum(context: FloatContext, format: Format, a: bigint, b: bigint, wanted: number): bigint {
  const order = compare(context, format, a, b, false);
  const chosen = order === wanted ? a : b;
  const value = unpack(context, format, chosen);
  return value.kind === "number" && value.mantissa === 0n ? zero(format, value.negative) : chosen;
}

/** From an integer. */
export function fromInteger(context: FloatContext, format: Format, value: bigint): bigint {
  return round(context, format, value < 0n, value < 0n ? -value : value, 0);
}

/** To a signed integer of `bits` bits, given without sign; the most negative one where there is none. */
export function toInteger(context: FloatContext, format: Format, a: bigint, bits: number, rounding: number): bigint {
  const x = unpack(context, format, a);
  if (x.kind === "number" && x.exponent <= 64) {
    const { value, exact } = shiftRounded(x.mantissa, -x.exponent, x.negative, rounding);
    const signed = x.negative ? -value : value;
    if (BigInt.asIntN(bits, signed) === signed) {
      if (!exact) context.flags |= FLAG.PE;
      return BigInt.asUintN(bits, signed);
    }
  }
  context.flags |= FLAG.IE;
  return 1n << BigInt(bits - 1);
}

/** From one format to the other. */
export function convert(context: FloatContext, from: Format, to: Format, a: bigint): bigint {
  const x = unpack(context, from, a);
  if (x.kind === "nan") {
    if (x.signalling) context.flags |= FLAG.IE;
    const payload = a & from.fractionMask;
    const shift = BigInt(Math.abs(to.fraction - from.fraction));
    const moved = to.fraction > from.fraction ? payload << shift : payload >> shift;
    return quiet(to, infinity(to, x.negative) | moved);
  }
  if (x.kind === "infinity") return infinity(to, x.negative);
  noteDenormals(context, x, x);
  return round(context, to, x.negative, x.mantissa, x.exponent);
}

/** To an integral value of the same format. */
export function roundToIntegral(
  context: FloatContext,
  format: Format,
  a: bigint,
  rounding: number,
  suppressInexact: boolean,
): bigint {
  const x = unpack(context, format, a);
  if (x.kind === "nan") {
    if (x.signalling) context.flags |= FLAG.IE;
    return quiet(format, a);
  }
  if (x.kind === "infinity") return a;
  if (x.exponent >= 0 && x.mantissa !== 0n) return a;
  const { value, exact } = shiftRounded(x.mantissa, -x.exponent, x.negative, rounding);
  if (!exact && !suppressInexact) context.flags |= FLAG.PE;
  // An integer below 2 ** precision is exact: nothing is raised again.
  return round(new FloatContext(context.mxcsr | MASKS), format, x.negative, value, 0);
}

/** From a half, which is never taken for zero and whose denormals raise nothing (SDM 1, 14.4.1). */
export function halfToSingle(context: FloatContext, bits: number): number {
  const sign = (bits & 0x8000) * 2 ** 16;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 31) {
    if (fraction === 0) return sign + 0x7f800000;
    if ((fraction & 0x200) === 0) context.flags |= FLAG.IE;
    return sign + 0x7fc00000 + (fraction & 0x1ff) * 2 ** 13;
  }
  if (exponent > 0) return sign + (exponent + 112) * 2 ** 23 + fraction * 2 ** 13;
  if (fraction === 0) return sign;
  const shift = Math.clz32(fraction) - 21;
  return sign + (113 - shift) * 2 ** 23 + ((fraction << shift) & 0x3ff) * 2 ** 13;
}

/** To a half, rounding as told; results are never flushed to zero (SDM 1, 14.4.1). */
export function singleToHalf(context: FloatContext, bits: number, rounding: number): number {
  const own = new FloatContext((context.mxcsr & ~(ROUNDING_CONTROL | FTZ)) | (rounding << 13));
  const result = convert(own, SINGLE, HALF, BigInt(bits));
  context.flags |= own.flags;
  return Number(result);
}
