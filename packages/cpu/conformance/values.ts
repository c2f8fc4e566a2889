/** Where all values of the cases come from: a small deterministic generator (xorshift, two 32-bit halves). */
export class Random {
  private a: number;
  private b: number;

  constructor(seed: number) {
    this.a = (Math.imul(seed, 0x9e3779b1) ^ 0x2545f491) | 0 || 1;
    this.b = (Math.imul(seed ^ 0x5bd1e995, 0x85ebca6b) + 0x4f6cdd1d) | 0;
    for (let i = 0; i < 8; i++) this.word();
  }

  /** 32 random bits, as a signed number. */
  word(): number {
    // xorshift64 on halves: Marsaglia's triple 10, 13, 10 for two 32-bit words.
    let t = this.a;
    this.a = this.b;
    t ^= t << 10;
    t ^= t >>> 13;
    this.b = (this.b ^ (this.b >>> 10) ^ t) | 0;
    return Math.imul(this.b, 0x9e3779b1) ^ (this.b >>> 15);
  }

  below(limit: number): number {
    return Math.floor(((this.word() >>> 0) / 4294967296) * limit);
  }

  /** True once in `often` times. */
  once(often: number): boolean {
    return this.below(often) === 0;
  }

  next(): bigint {
    return (BigInt(this.word() >>> 0) << 32n) | BigInt(this.word() >>> 0);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

const EDGES = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0xffn,
  0x100n,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x10000n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  0x100000000n,
  0x7fffffffffffffffn,
  0x8000000000000000n,
  0xffffffffffffffffn,
  0xfffffffffffffffen,
  0xffffffff80000000n,
];

/** A general register: an edge, a small number, or bits. */
export function integer(random: Random): bigint {
  const kind = random.below(7);
  if (kind < 2) return random.pick(EDGES);
  if (kind === 2) return BigInt(random.below(66));
  if (kind === 3) return random.next() >> BigInt(random.below(64));
  if (kind === 4) return BigInt.asUintN(64, -(random.next() >> BigInt(random.below(64))));
  return random.next();
}

const SINGLES = [
  0, 1, 2, 0x7fffff, 0x7ffffe, 0x800000, 0x800001, 0xffffff, 0x1000000, 0x7f7fffff, 0x7f800000, 0x7fc00000, 0x7f800001,
  0x7fffffff, 0x7fa00000, 0x3f800000, 0x3f000000, 0x3fc00000, 0x40200000, 0x4b000000, 0x4b7fffff, 0x4effffff,
  0x4f000000, 0x5f000000, 0x3effffff, 0x00400000,
];
const DOUBLES = [
  0n,
  1n,
  2n,
  2n ** 52n - 1n,
  2n ** 51n,
  2n ** 52n,
  2n ** 52n + 1n,
  2n ** 53n,
  0x7fefffffffffffffn,
  0x7ff0000000000000n,
  0x7ff8000000000000n,
  0x7ff0000000000001n,
  0x7fffffffffffffffn,
  0x3ff0000000000000n,
  0x3fe0000000000000n,
  0x3ff8000000000000n,
  0x4004000000000000n,
  0x41dfffffffc00000n,
  0x41dfffffffe00000n,
  0x41e0000000000000n,
  0x41e0000000100000n,
  0x43e0000000000000n,
  0x43dfffffffffffffn,
  0x4330000000000001n,
  0x380fffffffffffffn,
  0x3810000000000000n,
  0x36a0000000000000n,
  0x369fffffffffffffn,
  0x47efffffefffffffn,
  0x47effffff0000000n,
  0x3fdfffffffffffffn,
];

/** A double, mostly with an exponent near `center` and few fraction bits. */
function double(random: Random, center: number): bigint {
  const sign = BigInt(random.below(2)) << 63n;
  const kind = random.below(8);
  if (kind < 2) return sign | random.pick(DOUBLES);
  if (kind === 2) return random.next();
  const fraction = random.below(2) ? random.next() & (2n ** 52n - 1n) : BigInt(random.below(8)) << 49n;
  const exponent = Math.min(2046, Math.max(0, center - 2 + random.below(5)));
  return sign | (BigInt(exponent) << 52n) | fraction;
}

function single(random: Random, center: number): number {
  const sign = random.below(2) * 2 ** 31;
  const kind = random.below(8);
  if (kind < 2) return sign + random.pick(SINGLES);
  if (kind === 2) return random.word() >>> 0;
  const exponent = Math.min(254, Math.max(0, center - 2 + random.below(5)));
  const fraction = random.below(2) ? random.below(2 ** 23) : random.below(8) * 2 ** 20;
  return sign + exponent * 2 ** 23 + fraction;
}

/** What {@link fill} writes. */
export const CONTENT = { DOUBLES: 0, SINGLES: 1, BYTES: 2, INTEGERS: 3, TEXT: 4 } as const;

/** Fills with values of one kind (a {@link CONTENT}) that have something to do with each other. */
export function fill(random: Random, bytes: Uint8Array, kind: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const center64 = random.pick([1023, 1023, 1023, 1023 + 31, 1023 + 52, 1, 2046, 512, 1023 - 126, 1023 + 127]);
  const center32 = random.pick([127, 127, 127, 127 + 31, 127 + 23, 1, 254, 64]);
  const mask = random.below(2) ? 0xff : 0x83;
  for (let at = 0; at + 8 <= bytes.length; at += 8) {
    if (kind === CONTENT.DOUBLES) view.setBigUint64(at, double(random, center64), true);
    else if (kind === CONTENT.SINGLES) {
      view.setUint32(at, single(random, center32), true);
      view.setUint32(at + 4, single(random, center32), true);
    } else if (kind === CONTENT.INTEGERS) view.setBigUint64(at, integer(random), true);
    else if (kind === CONTENT.TEXT)
      for (let i = 0; i < 8; i++) bytes[at + i] = random.once(12) ? 0 : 0x61 + random.below(4);
    else for (let i = 0; i < 8; i++) bytes[at + i] = random.below(256) & mask;
  }
}

const INTEGER_BIT = 1n << 63n;
const SIGNIFICANDS = [
  0n,
  1n,
  INTEGER_BIT,
  INTEGER_BIT | 1n,
  INTEGER_BIT - 1n,
  2n ** 64n - 1n,
  3n << 62n,
  5n << 61n,
  1n << 62n,
  INTEGER_BIT | (1n << 10n),
  INTEGER_BIT | (1n << 11n),
  INTEGER_BIT | (3n << 10n),
  INTEGER_BIT | (1n << 39n),
  2n ** 64n - (1n << 10n),
  2n ** 64n - (1n << 11n),
  2n ** 64n - (1n << 39n),
  2n ** 64n - (1n << 40n),
];
const BIAS = 16383;
const EXPONENTS = [
  0,
  1,
  2,
  0x7fff,
  0x7ffe,
  0x7ffd,
  ...[-1074, -1023, -1022, -149, -127, -126, -1, 0, 1, 14, 15, 30, 31, 62, 63, 64, 127, 128, 1023, 1024].map(
    (power) => BIAS + power,
  ),
];
const NANS = [3n << 62n, (3n << 62n) | 1n, 5n << 61n, INTEGER_BIT | 1n, 2n ** 64n - 1n];

/** An x87 register: significand, and sign with exponent; denormals and the encodings that aren't supported included. */
export function extended(random: Random): readonly [significand: bigint, signExponent: number] {
  const sign = random.below(2) << 15;
  const normal = () => random.next() | INTEGER_BIT;
  switch (random.below(8)) {
    case 0:
      return [0n, sign];
    case 1:
      return [random.below(2) ? INTEGER_BIT : random.pick(NANS), 0x7fff | sign];
    case 2:
      return [random.next() >> BigInt(random.below(64)), random.pick([0, 0, 0, 1, 0x3fff, 0x7fff]) | sign];
    case 3:
    case 4:
      return [random.pick(SIGNIFICANDS), random.pick(EXPONENTS) | sign];
    case 5:
      return [normal(), random.below(0x7ffe) + 1 + sign];
    default:
      return [
        random.below(3) ? normal() : random.pick(SIGNIFICANDS) | INTEGER_BIT,
        BIAS - 3 + random.below(random.below(2) ? 6 : 80) + sign,
      ];
  }
}
