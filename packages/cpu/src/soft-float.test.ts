import fc from "fast-check";
import { expect, test } from "vitest";
import { FLOAT_OPERATIONS } from "./simd-float-operations.ts";
import { add, convert, DOUBLE, divide, FLAG, FloatContext, multiply, ROUND, SINGLE, squareRoot } from "./soft-float.ts";

const MASKED = 0x1f80;
const view = new DataView(new ArrayBuffer(16));
const bitsOf = (value: number): bigint => {
  view.setFloat64(0, value);
  return view.getBigUint64(0);
};
const doubleOf = (bits: bigint): number => {
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
};
const finite = fc.double({ noNaN: true, noDefaultInfinity: true });

test("doubles are added, multiplied, divided and rooted as the host does it", () => {
  fc.assert(
    fc.property(finite, finite, (x, y) => {
      const [a, b] = [bitsOf(x), bitsOf(y)];
      const context = new FloatContext(MASKED);
      expect(doubleOf(add(context, DOUBLE, a, b))).toBe(x + y);
      expect(doubleOf(add(context, DOUBLE, a, b, true))).toBe(x - y);
      expect(doubleOf(multiply(context, DOUBLE, a, b))).toBe(x * y);
      if (y !== 0) expect(doubleOf(divide(context, DOUBLE, a, b))).toBe(x / y);
      if (!Object.is(x, -0))
        expect(doubleOf(squareRoot(context, DOUBLE, bitsOf(Math.abs(x))))).toBe(Math.sqrt(Math.abs(x)));
      expect(convert(context, DOUBLE, SINGLE, a)).toBe(BigInt(singleBits(x)));
    }),
  );
});

function singleBits(value: number): number {
  view.setFloat32(0, value);
  return view.getUint32(0);
}

test("directed rounding brackets the exact sum, and meets only where nothing was lost", () => {
  fc.assert(
    fc.property(
      fc.double({ min: -1e300, max: 1e300, noNaN: true }),
      fc.double({ min: -1e300, max: 1e300, noNaN: true }),
      (x, y) => {
        const at = (rounding: number) => {
          const context = new FloatContext(MASKED | (rounding << 13));
          const result = doubleOf(add(context, DOUBLE, bitsOf(x), bitsOf(y)));
          return { result, inexact: (context.flags & FLAG.PE) !== 0 };
        };
        const [down, near, up] = [at(ROUND.DOWN), at(ROUND.NEAREST), at(ROUND.UP)];
        expect(down.result <= near.result && near.result <= up.result).toBe(true);
        expect(down.result === up.result).toBe(!near.inexact);
      },
    ),
  );
});

test("RCPSS and RSQRTSS stay within 1.5 * 2 ** -12 of the true value", () => {
  const approximate = (name: string, x: number): number => {
    const [b, out] = [new DataView(new ArrayBuffer(16)), new DataView(new ArrayBuffer(16))];
    b.setFloat32(0, x, true);
    FLOAT_OPERATIONS[name]!({ context: new FloatContext(MASKED), a: b, b, out, immediate: 0, size: 0 });
    return out.getFloat32(0, true);
  };
  fc.assert(
    fc.property(fc.float({ min: Math.fround(1e-30), max: Math.fround(1e30), noNaN: true }), (x) => {
      expect(Math.abs(approximate("rcpss", x) * x - 1)).toBeLessThan(1.5 * 2 ** -12);
      expect(Math.abs(approximate("rsqrtss", x) * Math.sqrt(x) - 1)).toBeLessThan(1.5 * 2 ** -12);
    }),
  );
});
