import type { Abi, ScalarType } from "./layout-types.ts";

/** How one scalar lies in memory. */
export interface ScalarCodec {
  readonly size: number;
  readonly align: number;
  read(view: DataView, at: number): number | bigint;
  write(view: DataView, at: number, value: never): void;
  /** What is wrong with `value`, or `undefined`. */
  check(value: unknown): string | undefined;
}

function checkNumber(low: number, high: number): (value: unknown) => string | undefined {
  return (value) => {
    if (typeof value !== "number" || !Number.isInteger(value)) return `takes an integer number, not ${String(value)}`;
    return value < low || value > high ? `${value} is not within ${low} to ${high}` : undefined;
  };
}

function checkBigint(low: bigint, high: bigint): (value: unknown) => string | undefined {
  return (value) => {
    if (typeof value !== "bigint") return `takes a bigint, not ${String(value)}`;
    return value < low || value > high ? `${value} is not within ${low} to ${high}` : undefined;
  };
}

const u8: ScalarCodec = {
  size: 1,
  align: 1,
  read: (view, at) => view.getUint8(at),
  write: (view, at, value) => view.setUint8(at, value),
  check: checkNumber(0, 0xff),
};
const s8: ScalarCodec = {
  size: 1,
  align: 1,
  read: (view, at) => view.getInt8(at),
  write: (view, at, value) => view.setInt8(at, value),
  check: checkNumber(-0x80, 0x7f),
};
const u16: ScalarCodec = {
  size: 2,
  align: 2,
  read: (view, at) => view.getUint16(at, true),
  write: (view, at, value) => view.setUint16(at, value, true),
  check: checkNumber(0, 0xffff),
};
const s16: ScalarCodec = {
  size: 2,
  align: 2,
  read: (view, at) => view.getInt16(at, true),
  write: (view, at, value) => view.setInt16(at, value, true),
  check: checkNumber(-0x8000, 0x7fff),
};
const u32: ScalarCodec = {
  size: 4,
  align: 4,
  read: (view, at) => view.getUint32(at, true),
  write: (view, at, value) => view.setUint32(at, value, true),
  check: checkNumber(0, 0xffffffff),
};
const s32: ScalarCodec = {
  size: 4,
  align: 4,
  read: (view, at) => view.getInt32(at, true),
  write: (view, at, value) => view.setInt32(at, value, true),
  check: checkNumber(-0x80000000, 0x7fffffff),
};
/** `unsigned long` of a 32-bit guest, kept as a bigint so that both ABIs decode to one type. */
const ulong32: ScalarCodec = {
  size: 4,
  align: 4,
  read: (view, at) => BigInt(view.getUint32(at, true)),
  write: (view, at, value) => view.setUint32(at, Number(value), true),
  check: checkBigint(0n, 0xffffffffn),
};
const u64: ScalarCodec = {
  size: 8,
  align: 8,
  read: (view, at) => view.getBigUint64(at, true),
  write: (view, at, value) => view.setBigUint64(at, value, true),
  check: checkBigint(0n, 0xffffffffffffffffn),
};
const s64: ScalarCodec = {
  size: 8,
  align: 8,
  read: (view, at) => view.getBigInt64(at, true),
  write: (view, at, value) => view.setBigInt64(at, value, true),
  check: checkBigint(-0x8000000000000000n, 0x7fffffffffffffffn),
};
const frame64: ScalarCodec = {
  size: 8,
  align: 8,
  // Two halves instead of a bigint: exact up to 2^53, and above that still larger than any frame.
  read: (view, at) => view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x100000000,
  write(view, at, value: number) {
    view.setUint32(at, value % 0x100000000, true);
    view.setUint32(at + 4, Math.floor(value / 0x100000000), true);
  },
  check: checkNumber(0, Number.MAX_SAFE_INTEGER),
};

/** The i386 System V ABI aligns 64-bit integers to 4 bytes inside structures. */
function on32(codec: ScalarCodec): ScalarCodec {
  return { ...codec, align: 4 };
}

function both(codec: ScalarCodec): Readonly<Record<Abi, ScalarCodec>> {
  return { x86_64: codec, x86_32: codec.align === 8 ? on32(codec) : codec };
}

/** Every scalar in both ABIs. */
export const scalarCodecs: Readonly<Record<ScalarType, Readonly<Record<Abi, ScalarCodec>>>> = {
  u8: both(u8),
  s8: both(s8),
  u16: both(u16),
  s16: both(s16),
  u32: both(u32),
  s32: both(s32),
  u64: both(u64),
  s64: both(s64),
  ulong: { x86_64: u64, x86_32: ulong32 },
  pointer: { x86_64: u64, x86_32: ulong32 },
  frame: { x86_64: frame64, x86_32: u32 },
  frame64: both(frame64),
};
