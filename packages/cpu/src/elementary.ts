/**
 * Elementary functions in fixed point, exact to far more bits than x87 registers hold: a number is a bigint times 2^-FRACTION.
 * The last few dozen bits of a result may be wrong; callers use 128 at most.
 */

/** Fraction bits of every fixed-point number here. */
export const FRACTION = 320;
const SCALE = BigInt(FRACTION);
export const ONE: bigint = 1n << SCALE;

function multiply(a: bigint, b: bigint): bigint {
  return (a * b) >> SCALE;
}

function lazily(compute: () => bigint): () => bigint {
  let value: bigint | undefined;
  return () => (value ??= compute());
}

/** Σ z^(2k+1)/(2k+1), with alternating signs for the arc tangent. */
function oddSeries(z: bigint, alternating: boolean): bigint {
  const square = alternating ? -multiply(z, z) : multiply(z, z);
  let power = z;
  let sum = 0n;
  for (let k = 1n; power !== 0n && power !== -1n; k += 2n) {
    sum += power / k;
    power = multiply(power, square);
  }
  return sum;
}

/** π, by Machin's formula. */
export const pi: () => bigint = lazily(() => {
  const guard = 32n;
  const inverse = (n: bigint) => {
    let power = (ONE << guard) / n;
    let sum = 0n;
    for (let k = 1n; power !== 0n; k += 2n) {
      sum += (k & 2n ? -power : power) / k;
      power /= n * n;
    }
    return sum;
  };
  return (16n * inverse(5n) - 4n * inverse(239n)) >> guard;
});

/** ln 2 = 2 artanh(1/3). */
export const ln2: () => bigint = lazily(() => oddSeries(ONE / 3n, false) * 2n);

/** 1 / ln 2. */
const log2e: () => bigint = lazily(() => (ONE << SCALE) / ln2());

/** e^x − 1 for |x| below about 1. */
export function expMinusOne(x: bigint): bigint {
  let term = x;
  let sum = 0n;
  for (let k = 2n; term !== 0n && term !== -1n; k++) {
    sum += term;
    term = multiply(term, x) / k;
  }
  return sum;
}

/** A table of `compute(index)` that is filled as it is asked. */
function table(compute: (index: number) => bigint): (index: number) => bigint {
  const values: (bigint | undefined)[] = [];
  return (index) => {
    const known = values[index];
    if (known !== undefined) return known;
    const value = compute(index);
    values[index] = value;
    return value;
  };
}

/** Arguments are first brought near a multiple of 1/32, where the functions are tabulated. */
const STEPS = 32n;
const steps = (index: number): bigint => (BigInt(index) * ONE) / STEPS;
const logOfStep = table((index) => 2n * oddSeries(((steps(index) - ONE) << SCALE) / (steps(index) + ONE), false));

/** log2 of 1 + x, for x from −½ to 1. */
export function log2OnePlus(x: bigint): bigint {
  // With c near 1/(1 + x): ln(1 + x) = ln(c(1 + x)) − ln c; near 0 nothing is divided out, to keep all digits.
  const small = x < ONE / 64n && x > -ONE / 64n;
  if (small) return multiply(2n * oddSeries((x << SCALE) / (2n * ONE + x), false), log2e());
  const inverse = ((ONE * ONE) / (ONE + x)) * STEPS;
  const index = Number((inverse + ONE / 2n) >> SCALE);
  const reduced = multiply(steps(index), ONE + x) - ONE;
  return multiply(2n * oddSeries((reduced << SCALE) / (2n * ONE + reduced), false) - logOfStep(index), log2e());
}

const atanOfStep = table((index) => 2n * arcTangentHalved(steps(index)));

/** Arc tangent of x, 0 to 1. */
export function arcTangent(x: bigint): bigint {
  const index = Number((x * STEPS + ONE / 2n) >> SCALE);
  if (index === 0) return oddSeries(x, true);
  const c = steps(index);
  return atanOfStep(index) + oddSeries(((x - c) << SCALE) / (ONE + multiply(x, c)), true);
}

/** Half of the arc tangent of x, through tan(a/2) = tan a / (1 + √(1 + tan² a)). */
function arcTangentHalved(x: bigint): bigint {
  const root = squareRoot((ONE + multiply(x, x)) << SCALE);
  return oddSeries((x << SCALE) / (ONE + root), true);
}

function squareRoot(n: bigint): bigint {
  let root = 1n << BigInt((n.toString(16).length * 4) / 2 + 1);
  for (;;) {
    const next = (root + n / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

/** Sine and cosine of x, −π/4 to π/4. */
export function sineCosine(x: bigint): readonly [bigint, bigint] {
  const square = -multiply(x, x);
  let sine = 0n;
  let cosine = 0n;
  let term = ONE;
  for (let k = 0n; ; k += 2n) {
    cosine += term;
    const odd = multiply(term, x) / (k + 1n);
    sine += odd;
    term = multiply(term, square) / ((k + 1n) * (k + 2n));
    if (term === 0n || term === -1n) return [sine, cosine];
  }
}
