import { arcTangent, expMinusOne, FRACTION, ln2, log2OnePlus, ONE, pi, sineCosine } from "./elementary.ts";
import type { Engine } from "./engine.ts";
import { FSW, SPECIAL } from "./semantics/x87-state.ts";
import { SERVICE_RESULT, type Service } from "./service.ts";
import {
  isDenormal,
  isInfinite,
  isNegative,
  isSignalling,
  isUnsupported,
  isZero,
  normalized,
  propagate,
  X87Unit,
  type X87Value,
} from "./x87-unit.ts";

/**
 * The transcendental instructions, each correctly rounded to 64 bits in the current rounding mode. Processors are within
 * one unit in the last place of that; which results are off by one differs between makers and models.
 */

const { NEXT } = SERVICE_RESULT;
/** Numbers smaller than 2^TINY are handled by the first term of their series. */
const TINY = -100;
const BITS = BigInt(FRACTION);
const ONE_VALUE: X87Value = { significand: 1n << 63n, signExponent: 0x3fff };
const INFINITY = (negative: boolean): X87Value => ({
  significand: 1n << 63n,
  signExponent: SPECIAL | (negative ? 0x8000 : 0),
});
const ZERO = (negative: boolean): X87Value => ({ significand: 0n, signExponent: negative ? 0x8000 : 0 });

/** A finite number in fixed point; its magnitude. */
function fixed(value: X87Value): bigint {
  const { significand, power } = normalized(value);
  const shift = BigInt(FRACTION + power);
  return shift >= 0n ? significand << shift : significand >> -shift;
}

/** Exponent of the leading bit of a finite number other than zero. */
function magnitudeOf(value: X87Value): number {
  return normalized(value).power + 63;
}

/** One operand in ST(0), replaced by the result. */
function unary(compute: (unit: X87Unit, x: X87Value) => void): Service {
  return (engine) => {
    const unit = new X87Unit(engine);
    if (!unit.isValid(0)) {
      if (!unit.raise(FSW.IE | FSW.SF)) unit.writeIndefinite(0);
      return NEXT;
    }
    const x = unit.read(0);
    if (isUnsupported(x)) {
      if (!unit.raise(FSW.IE)) unit.writeIndefinite(0);
      return NEXT;
    }
    const nan = propagate(x, x);
    if (nan) {
      if (!unit.raise(isSignalling(x) ? FSW.IE : 0)) unit.write(0, nan);
      return NEXT;
    }
    compute(unit, x);
    return NEXT;
  };
}

/** Operands in ST(0) and ST(1); the result replaces ST(1), then ST(0) is popped. */
function binary(compute: (unit: X87Unit, x: X87Value, y: X87Value) => boolean): Service {
  return (engine) => {
    const unit = new X87Unit(engine);
    const finish = (write: () => void) => {
      write();
      unit.pop();
      return NEXT;
    };
    if (!unit.isValid(0) || !unit.isValid(1))
      return unit.raise(FSW.IE | FSW.SF) ? NEXT : finish(() => unit.writeIndefinite(1));
    const x = unit.read(0);
    const y = unit.read(1);
    if (isUnsupported(x) || isUnsupported(y)) return unit.raise(FSW.IE) ? NEXT : finish(() => unit.writeIndefinite(1));
    const nan = propagate(y, x);
    if (nan)
      return unit.raise(isSignalling(x) || isSignalling(y) ? FSW.IE : 0) ? NEXT : finish(() => unit.write(1, nan));
    if (compute(unit, x, y)) unit.pop();
    return NEXT;
  };
}

function deliver(unit: X87Unit, index: number, value: X87Value): true {
  unit.raise(0);
  unit.write(index, value);
  return true;
}

function invalid(unit: X87Unit, index: number): boolean {
  if (unit.raise(FSW.IE)) return false;
  unit.writeIndefinite(index);
  return true;
}

const f2xm1 = unary((unit, x) => {
  if (isZero(x)) return void deliver(unit, 0, x);
  const negative = isNegative(x);
  if (isInfinite(x)) return void deliver(unit, 0, negative ? { significand: 1n << 63n, signExponent: 0xbfff } : x);
  if (isDenormal(x) && unit.raise(FSW.DE)) return;
  const magnitude = magnitudeOf(x);
  // 2^±1 − 1 is exact; beyond, the result is undefined: the processors that were asked leave the operand.
  if (magnitude >= 0) {
    if (x.significand === 1n << 63n && magnitude === 0)
      deliver(unit, 0, negative ? { significand: 1n << 63n, signExponent: 0xbffe } : x);
    else unit.raise(FSW.PE);
    return;
  }
  if (magnitude < TINY) {
    const { significand, power } = normalized(x);
    unit.round(0, negative, significand * ln2(), FRACTION - power, true);
    return;
  }
  const argument = (fixed(x) * ln2()) >> BITS;
  const result = expMinusOne(negative ? -argument : argument);
  unit.round(0, negative, negative ? -result : result, FRACTION, true);
});

/** y × `log`, a fixed-point logarithm that isn't zero, to ST(1). */
function scaled(unit: X87Unit, y: X87Value, log: bigint, fraction: number, exact: boolean): true {
  const { significand, power } = normalized(y);
  const negative = log < 0n;
  unit.round(1, isNegative(y) !== negative, significand * (negative ? -log : log), fraction - power, !exact);
  return true;
}

const fyl2x = binary((unit, x, y) => {
  const negative = isNegative(y);
  if (isZero(x)) {
    if (isZero(y)) return invalid(unit, 1);
    if (isInfinite(y)) return deliver(unit, 1, INFINITY(!negative));
    if (unit.raise(FSW.ZE)) return false;
    unit.write(1, INFINITY(!negative));
    return true;
  }
  if (isNegative(x)) return invalid(unit, 1);
  const one = x.significand === 1n << 63n && x.signExponent === 0x3fff;
  if ((isInfinite(x) && isZero(y)) || (isInfinite(y) && one)) return invalid(unit, 1);
  if ((isDenormal(x) || isDenormal(y)) && unit.raise(FSW.DE)) return false;
  if (isInfinite(x)) return deliver(unit, 1, INFINITY(negative));
  const below = magnitudeOf(x) < 0;
  if (isInfinite(y)) return deliver(unit, 1, INFINITY(negative !== below));
  if (one || isZero(y)) return deliver(unit, 1, ZERO(one ? negative : negative !== below));
  const { significand } = normalized(x);
  const whole = magnitudeOf(x);
  if (significand === 1n << 63n) return scaled(unit, y, BigInt(whole), 0, true);
  // Near 1 from below the fraction is taken against 1, so that nothing cancels.
  const log =
    whole === -1
      ? log2OnePlus((significand << (BITS - 64n)) - ONE)
      : BigInt(whole) * ONE + log2OnePlus((significand << (BITS - 63n)) - ONE);
  return scaled(unit, y, log, FRACTION, false);
});

const fyl2xp1 = binary((unit, x, y) => {
  const negative = isNegative(y) !== isNegative(x);
  if (isInfinite(x) || isInfinite(y)) {
    if (isZero(x) || isZero(y)) return invalid(unit, 1);
    if (isInfinite(x) && isNegative(x)) return invalid(unit, 1);
    if ((isDenormal(x) || isDenormal(y)) && unit.raise(FSW.DE)) return false;
    return deliver(unit, 1, INFINITY(isInfinite(x) ? isNegative(y) : negative));
  }
  if ((isDenormal(x) || isDenormal(y)) && unit.raise(FSW.DE)) return false;
  if (isZero(x) || isZero(y)) return deliver(unit, 1, ZERO(negative));
  const magnitude = magnitudeOf(x);
  if (magnitude < TINY) {
    const { significand, power } = normalized(x);
    const linear = (significand << (BITS * 2n)) / ln2();
    return scaled(unit, y, isNegative(x) ? -linear : linear, FRACTION - power, false);
  }
  // The operand is defined up to 1 − √½; from −1 down there is no logarithm, and processors give the operand back.
  if (magnitude >= 0 && isNegative(x)) {
    unit.raise(FSW.PE);
    unit.write(1, x);
    return true;
  }
  if (magnitude >= -1) {
    // From −1 to −½ and beyond 1: brought between 1 and 2 first.
    const sum = isNegative(x) ? ONE - fixed(x) : ONE + fixed(x);
    const whole = BigInt(sum.toString(2).length - 1 - FRACTION);
    const reduced = whole >= 0n ? sum >> whole : sum << -whole;
    return scaled(unit, y, whole * ONE + log2OnePlus(reduced - ONE), FRACTION, false);
  }
  return scaled(unit, y, log2OnePlus(isNegative(x) ? -fixed(x) : fixed(x)), FRACTION, false);
});

/** The angle of the point (x, y), to ST(1): SDM 2A, FPATAN. */
const fpatan = binary((unit, x, y) => {
  const negative = isNegative(y);
  const left = isNegative(x);
  const angle = (value: bigint, fraction: number): true => {
    unit.round(1, negative, value, fraction, true);
    return true;
  };
  if (isInfinite(y)) {
    if (isDenormal(x) && unit.raise(FSW.DE)) return false;
    return isInfinite(x) ? angle((left ? 3n : 1n) * pi(), FRACTION + 2) : angle(pi(), FRACTION + 1);
  }
  if ((isDenormal(x) || isDenormal(y)) && unit.raise(FSW.DE)) return false;
  if (isZero(y) || isInfinite(x)) return left ? angle(pi(), FRACTION) : deliver(unit, 1, ZERO(negative));
  if (isZero(x)) return angle(pi(), FRACTION + 1);
  const [a, b] = [normalized(y), normalized(x)];
  const distance = a.power - b.power;
  if (distance < TINY) {
    if (left) return angle(pi() - 1n, FRACTION);
    // The arc tangent of a small ratio is a little less than the ratio.
    const quotient = (a.significand << 256n) / b.significand;
    return angle(quotient - 1n, 256 - distance);
  }
  if (distance > -TINY) return angle(left ? pi() / 2n + 1n : pi() / 2n - 1n, FRACTION);
  const [high, low] =
    distance > 0
      ? [a.significand << BigInt(distance), b.significand]
      : [a.significand, b.significand << BigInt(-distance)];
  const steep = high > low;
  const base = steep ? arcTangent((low << BITS) / high) : arcTangent((high << BITS) / low);
  const first = steep ? pi() / 2n - base : base;
  return angle(left ? pi() - first : first, FRACTION);
});

/** Sine and cosine of ST(0) in fixed point; `undefined` when it is too large and C2 says so, or an exception is unmasked. */
interface Circular {
  readonly sine: bigint;
  readonly cosine: bigint;
}

/** Processors reduce with π cut to 66 bits (SDM 1, 8.3.8): results near its multiples show that. */
const HALF_PI = 0xc90fdaa22168c234cn << (BITS - 67n);

function circular(x: X87Value): Circular {
  const argument = isNegative(x) ? -fixed(x) : fixed(x);
  const half = HALF_PI;
  const turns = (2n * argument + half) / (2n * half) - (2n * argument + half < 0n ? 1n : 0n);
  const [sine, cosine] = sineCosine(argument - turns * half);
  switch (Number(turns & 3n)) {
    case 0:
      return { sine, cosine };
    case 1:
      return { sine: cosine, cosine: -sine };
    case 2:
      return { sine: -sine, cosine: -cosine };
    default:
      return { sine: -cosine, cosine: sine };
  }
}

function store(unit: X87Unit, index: number, value: bigint): void {
  unit.round(index, value < 0n, value < 0n ? -value : value, FRACTION, true);
}

/** Rounds x, made smaller or larger in magnitude by a trifle. */
function nearly(unit: X87Unit, x: X87Value, larger: boolean): void {
  const { significand, power } = normalized(x);
  unit.round(0, isNegative(x), (significand << 128n) + (larger ? 1n : -1n), 128 - power, true);
}

/** Operands that FSIN, FCOS, FSINCOS and FPTAN leave alone: `true` when there is nothing more to do. */
function outOfRange(unit: X87Unit, x: X87Value): boolean {
  if (exponentTooLarge(x)) {
    unit.raise(0);
    unit.statusWord |= FSW.C2;
    return true;
  }
  return isDenormal(x) && unit.raise(FSW.DE);
}

function exponentTooLarge(x: X87Value): boolean {
  return (x.signExponent & SPECIAL) >= 0x3fff + 63;
}

const isTiny = (x: X87Value): boolean => isZero(x) || magnitudeOf(x) < TINY;

/** C2 tells of an operand that is too large, and of nothing else. */
function clearingC2(service: Service): Service {
  return (engine, record) => {
    new X87Unit(engine).statusWord &= ~FSW.C2;
    return service(engine, record);
  };
}

const fsin = unary((unit, x) => {
  if (isInfinite(x)) return void invalid(unit, 0);
  if (outOfRange(unit, x)) return;
  if (isZero(x)) deliver(unit, 0, x);
  else if (isTiny(x)) nearly(unit, x, false);
  else store(unit, 0, circular(x).sine);
});

const fcos = unary((unit, x) => {
  if (isInfinite(x)) return void invalid(unit, 0);
  if (outOfRange(unit, x)) return;
  if (isZero(x)) deliver(unit, 0, ONE_VALUE);
  else if (isTiny(x)) unit.round(0, false, ONE - 1n, FRACTION, true);
  else store(unit, 0, circular(x).cosine);
});

/** FSINCOS and FPTAN replace ST(0) and push: there must be room. */
function pushing(compute: (unit: X87Unit, x: X87Value) => void): Service {
  const inner = unary(compute);
  return (engine: Engine, record) => {
    const unit = new X87Unit(engine);
    const x = unit.read(0);
    const bad = !unit.isValid(0) || unit.isValid(-1);
    const nan = propagate(x, x);
    if (!bad && !isUnsupported(x) && !isInfinite(x) && nan === undefined) return inner(engine, record);
    let flags: number = FSW.IE;
    if (!unit.isValid(0)) flags |= FSW.SF;
    else if (unit.isValid(-1)) flags |= FSW.SF | FSW.C1;
    else if (nan && !isSignalling(x)) flags = 0;
    if (unit.raise(flags)) return NEXT;
    if (!bad && nan) {
      unit.write(0, nan);
      unit.push(nan);
      return NEXT;
    }
    unit.writeIndefinite(0);
    unit.push(unit.read(0));
    return NEXT;
  };
}

const fsincos = pushing((unit, x) => {
  if (outOfRange(unit, x)) return;
  if (isZero(x)) {
    deliver(unit, 0, x);
    unit.push(ONE_VALUE);
    return;
  }
  const tiny = isTiny(x);
  const { sine, cosine } = tiny ? { sine: 0n, cosine: ONE - 1n } : circular(x);
  // C1 is the sine's.
  store(unit, -1, cosine);
  if (tiny) nearly(unit, x, false);
  else store(unit, 0, sine);
  unit.move(-1);
});

const fptan = pushing((unit, x) => {
  if (outOfRange(unit, x)) return;
  if (isZero(x)) deliver(unit, 0, x);
  else if (isTiny(x)) nearly(unit, x, true);
  else {
    const { sine, cosine } = circular(x);
    const negative = sine < 0n !== cosine < 0n;
    const quotient = (sine << BITS) / cosine;
    unit.round(0, negative, quotient < 0n ? -quotient : quotient, FRACTION, true);
  }
  unit.push(ONE_VALUE);
});

/** By the name of the definition. */
export const TRANSCENDENTAL_SERVICES: Readonly<Record<string, Service>> = {
  f2xm1,
  fyl2x,
  fyl2xp1,
  fpatan,
  fsin: clearingC2(fsin),
  fcos: clearingC2(fcos),
  fsincos: clearingC2(fsincos),
  fptan: clearingC2(fptan),
};
