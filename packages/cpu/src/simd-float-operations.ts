import {
  add,
  compare,
  convert,
  DOUBLE,
  defaultNan,
  divide,
  type FloatContext,
  type Format,
  fromInteger,
  infinity,
  minimum,
  multiply,
  multiplyAdd,
  ORDER,
  quiet,
  ROUND,
  roundToIntegral,
  SINGLE,
  squareRoot,
  toInteger,
  unpack,
  zero,
} from "./soft-float.ts";

/** Operands of one instruction: `a` the destination, `b` the source, 16 readable bytes each. */
export interface FloatOperands {
  readonly context: FloatContext;
  readonly a: DataView;
  readonly b: DataView;
  readonly out: DataView;
  readonly immediate: number;
  /** Bits of the general register operand. */
  readonly size: number;
}
/** Bytes of `out` that go to the destination, or the status flags to load. */
export interface FloatResult {
  readonly bytes: number;
  readonly flags?: number;
}
export type FloatOperation = (operands: FloatOperands) => FloatResult;

const get = (view: DataView, format: Format, lane: number): bigint =>
  format.bits === 32 ? BigInt(view.getUint32(lane * 4, true)) : view.getBigUint64(lane * 8, true);
const put = (view: DataView, format: Format, lane: number, value: bigint): void => {
  if (format.bits === 32) view.setUint32(lane * 4, Number(value), true);
  else view.setBigUint64(lane * 8, value, true);
};

const KINDS = [
  ["ps", SINGLE, 4],
  ["pd", DOUBLE, 2],
  ["ss", SINGLE, 1],
  ["sd", DOUBLE, 1],
] as const;

type Lanewise = (context: FloatContext, format: Format, a: bigint, b: bigint, immediate: number) => bigint;

/** One operation on every lane, or on lane 0 of scalars. */
function lanewise(operation: Lanewise, format: Format, lanes: number): FloatOperation {
  return ({ context, a, b, out, immediate }) => {
    for (let lane = 0; lane < lanes; lane++)
      put(out, format, lane, operation(context, format, get(a, format, lane), get(b, format, lane), immediate));
    return { bytes: (lanes * format.bits) / 8 };
  };
}

/**
 * The predicate is in the low `bits` bits of the immediate: in two which relation, then whether it is negated, whether
 * unordered operands answer the opposite, whether quiet NaNs raise the opposite.
 */
const comparePredicate =
  (bits: 3 | 5): Lanewise =>
  (context, format, a, b, immediate) => {
    const control = immediate & ((1 << bits) - 1);
    const predicate = control & 3;
    const order = compare(context, format, a, b, (predicate === 0 || predicate === 3) === ((control & 16) === 0));
    const unordered = order === ORDER.UNORDERED;
    const holds =
      predicate === 0
        ? order === ORDER.EQUAL
        : predicate === 1
          ? order === ORDER.LESS
          : predicate === 2
            ? order === ORDER.LESS || order === ORDER.EQUAL
            : unordered;
    const negated = (control & 4) > 0 !== (unordered && (control & 8) > 0);
    return holds !== negated ? (1n << BigInt(format.bits)) - 1n : 0n;
  };

/**
 * RCPxx and RSQRTxx look 12 bits of the operand up in a table of 13-bit results; the tables differ from one processor to the
 * next. Here it is the middle of the operand's interval whose result is rounded: within the 1.5 * 2 ** -12 that SDM and APM
 * grant. They raise nothing and take denormals, as operands and results, for zeros.
 */
const TABLE_BITS = 12;
const RESULT_BITS = 13;
const float = new DataView(new ArrayBuffer(4));
/** The middle of the interval of positive singles that share the highest bits with `bits`. */
function middleOf(bits: number): number {
  const below = 23 - TABLE_BITS;
  float.setUint32(0, ((bits >> below) << below) | (1 << (below - 1)));
  return float.getFloat32(0);
}
function tableResult(value: number): bigint {
  const drop = 24 - RESULT_BITS;
  // Doubles hold the value well enough to be rounded once: to the nearest multiple of the last bit kept.
  const unit = 2 ** (Math.floor(Math.log2(value)) - RESULT_BITS + 1);
  float.setFloat32(0, Math.round(value / unit) * unit);
  const rounded = (float.getUint32(0) >>> drop) << drop;
  return (rounded & 0x7f800000) === 0 ? 0n : BigInt(rounded);
}
const approximate =
  (root: boolean): Lanewise =>
  (context, format, _a, b) => {
    const x = unpack(context, format, b);
    if (x.kind === "nan") return quiet(format, b);
    if (x.denormal || (x.kind === "number" && x.mantissa === 0n)) return infinity(format, x.negative);
    if (root && x.negative) return defaultNan(format);
    if (x.kind === "infinity") return zero(format, x.negative);
    const middle = middleOf(Number(b & 0x7fffffffn));
    return zero(format, x.negative) | tableResult(1 / (root ? Math.sqrt(middle) : middle));
  };

const LANEWISE: Readonly<Record<string, Lanewise>> = {
  add: (context, format, a, b) => add(context, format, a, b),
  sub: (context, format, a, b) => add(context, format, a, b, true),
  mul: multiply,
  div: divide,
  sqrt: (context, format, _a, b) => squareRoot(context, format, b),
  min: (context, format, a, b) => minimum(context, format, a, b, ORDER.LESS),
  max: (context, format, a, b) => minimum(context, format, a, b, ORDER.GREATER),
  cmp: comparePredicate(3),
  round: (context, format, _a, b, immediate) =>
    roundToIntegral(context, format, b, immediate & 4 ? context.rounding : immediate & 3, (immediate & 8) !== 0),
};

function flagComparison(format: Format, quietNans: boolean): FloatOperation {
  return ({ context, a, b }) => {
    const order = compare(context, format, get(a, format, 0), get(b, format, 0), quietNans);
    const flags = order === ORDER.UNORDERED ? 0x45 : order === ORDER.EQUAL ? 0x40 : order === ORDER.LESS ? 1 : 0;
    return { bytes: 0, flags };
  };
}

/** `lanes` integers of 32 bits from floats; the rest of 16 bytes (8 for MMX) becomes zero. */
function toIntegers(format: Format, lanes: number, truncate: boolean, bytes: number): FloatOperation {
  return ({ context, b, out }) => {
    for (let lane = 0; lane < lanes; lane++) {
      const value = toInteger(context, format, get(b, format, lane), 32, truncate ? ROUND.ZERO : context.rounding);
      out.setUint32(lane * 4, Number(value), true);
    }
    return { bytes };
  };
}

function toGeneral(format: Format, truncate: boolean): FloatOperation {
  return ({ context, b, out, size }) => {
    out.setBigUint64(
      0,
      toInteger(context, format, get(b, format, 0), size, truncate ? ROUND.ZERO : context.rounding),
      true,
    );
    return { bytes: 8 };
  };
}

function fromGeneral(format: Format): FloatOperation {
  return ({ context, b, out, size }) => {
    const value = size === 64 ? b.getBigInt64(0, true) : BigInt(b.getInt32(0, true));
    put(out, format, 0, fromInteger(context, format, value));
    return { bytes: format.bits / 8 };
  };
}

function fromIntegers(lanes: number): FloatOperation {
  return ({ context, b, out }) => {
    for (let lane = 0; lane < lanes; lane++)
      put(out, SINGLE, lane, fromInteger(context, SINGLE, BigInt(b.getInt32(lane * 4, true))));
    return { bytes: lanes * 4 };
  };
}

function conversion(from: Format, to: Format, lanes: number, bytes: number): FloatOperation {
  return ({ context, b, out }) => {
    for (let lane = 0; lane < lanes; lane++) put(out, to, lane, convert(context, from, to, get(b, from, lane)));
    return { bytes };
  };
}

type Pick = (lane: number, lanes: number) => readonly [subtract: boolean, a: number, b: number];
/** Sums of chosen lanes: 0 and up the destination's, then the source's. */
function sums(format: Format, lanes: number, pick: Pick): FloatOperation {
  return ({ context, a, b, out }) => {
    const value = (index: number) => get(index < lanes ? a : b, format, index % lanes);
    for (let lane = 0; lane < lanes; lane++) {
      const [subtract, x, y] = pick(lane, lanes);
      put(out, format, lane, add(context, format, value(x), value(y), subtract));
    }
    return { bytes: 16 };
  };
}

/** Operands and result of a half: see {@link dotProducts}. */
interface DotOperands {
  readonly a: DataView;
  readonly b: DataView;
  readonly out: DataView;
}

/**
 * DPPS and DPPD: products of the chosen lanes, added in pairs, to the chosen lanes of each half. Exceptions of one step, in
 * all halves, end the instruction before the next: then `false`.
 */
export function dotProducts(
  context: FloatContext,
  format: Format,
  immediate: number,
  halves: readonly DotOperands[],
): boolean {
  const lanes = 128 / format.bits;
  const terms = halves.map(({ a, b }) =>
    Array.from({ length: lanes }, (_, lane) =>
      (immediate >> (4 + lane)) & 1 ? multiply(context, format, get(a, format, lane), get(b, format, lane)) : 0n,
    ),
  );
  if (!context.settle()) return false;
  let sums = terms.map(([first, second]) => add(context, format, first!, second!));
  if (lanes === 4) {
    const others = terms.map((all) => add(context, format, all[2]!, all[3]!));
    if (!context.settle()) return false;
    sums = sums.map((sum, half) => add(context, format, sum, others[half]!));
  }
  halves.forEach(({ out }, half) => {
    for (let lane = 0; lane < lanes; lane++) put(out, format, lane, (immediate >> lane) & 1 ? sums[half]! : 0n);
  });
  return true;
}

const dotProduct =
  (format: Format): FloatOperation =>
  ({ context, immediate, ...operands }) =>
    dotProducts(context, format, immediate, [operands]) ? { bytes: 16 } : { bytes: 0 };

/** Floating-point instructions by name, every case of them. */
export const FLOAT_OPERATIONS: Readonly<Record<string, FloatOperation>> = {
  ...Object.fromEntries(
    Object.entries(LANEWISE).flatMap(([name, operation]) =>
      KINDS.map(([kind, format, lanes]) => [`${name}${kind}`, lanewise(operation, format, lanes)]),
    ),
  ),
  rcpps: lanewise(approximate(false), SINGLE, 4),
  rcpss: lanewise(approximate(false), SINGLE, 1),
  rsqrtps: lanewise(approximate(true), SINGLE, 4),
  rsqrtss: lanewise(approximate(true), SINGLE, 1),
  comiss: flagComparison(SINGLE, false),
  comisd: flagComparison(DOUBLE, false),
  ucomiss: flagComparison(SINGLE, true),
  ucomisd: flagComparison(DOUBLE, true),
  cvtps2dq: toIntegers(SINGLE, 4, false, 16),
  cvttps2dq: toIntegers(SINGLE, 4, true, 16),
  cvtpd2dq: toIntegers(DOUBLE, 2, false, 16),
  cvttpd2dq: toIntegers(DOUBLE, 2, true, 16),
  cvtps2pi: toIntegers(SINGLE, 2, false, 8),
  cvttps2pi: toIntegers(SINGLE, 2, true, 8),
  cvtpd2pi: toIntegers(DOUBLE, 2, false, 8),
  cvttpd2pi: toIntegers(DOUBLE, 2, true, 8),
  cvtss2si: toGeneral(SINGLE, false),
  cvttss2si: toGeneral(SINGLE, true),
  cvtsd2si: toGeneral(DOUBLE, false),
  cvttsd2si: toGeneral(DOUBLE, true),
  cvtsi2ss: fromGeneral(SINGLE),
  cvtsi2sd: fromGeneral(DOUBLE),
  cvtdq2ps: fromIntegers(4),
  cvtpi2ps: fromIntegers(2),
  cvtss2sd: conversion(SINGLE, DOUBLE, 1, 8),
  cvtsd2ss: conversion(DOUBLE, SINGLE, 1, 4),
  cvtps2pd: conversion(SINGLE, DOUBLE, 2, 16),
  cvtpd2ps: conversion(DOUBLE, SINGLE, 2, 16),
  ...Object.fromEntries(
    KINDS.slice(0, 2).flatMap(([kind, format, lanes]) => [
      [`hadd${kind}`, sums(format, lanes, (lane) => [false, lane * 2, lane * 2 + 1])],
      [`hsub${kind}`, sums(format, lanes, (lane) => [true, lane * 2, lane * 2 + 1])],
      [`addsub${kind}`, sums(format, lanes, (lane, count) => [(lane & 1) === 0, lane, count + lane])],
      [`dp${kind}`, dotProduct(format)],
    ]),
  ),
};

/** VCMPxx, by the legacy names: 32 predicates. */
export const VEX_COMPARISONS: Readonly<Record<string, FloatOperation>> = Object.fromEntries(
  KINDS.map(([kind, format, lanes]) => [`cmp${kind}`, lanewise(comparePredicate(5), format, lanes)]),
);

/** `a * b + c` on `lanes` lanes, with the signs that the instruction wants. */
export function fusedOperation(operands: {
  readonly context: FloatContext;
  readonly format: Format;
  readonly lanes: number;
  readonly signs: { readonly product: boolean; readonly addend: readonly [even: boolean, odd: boolean] };
  readonly a: DataView;
  readonly b: DataView;
  readonly c: DataView;
  readonly out: DataView;
}): void {
  const { context, format, lanes, signs, a, b, c, out } = operands;
  for (let lane = 0; lane < lanes; lane++) {
    const values = [get(a, format, lane), get(b, format, lane), get(c, format, lane)] as const;
    put(out, format, lane, multiplyAdd(context, format, values, signs.product, signs.addend[lane & 1]!));
  }
}
