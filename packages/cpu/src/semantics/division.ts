import { type Definition, sized } from "../definition.ts";
import { Local32, Local64, Script } from "../expressions.ts";
import { type Lowering, type Size, signExtend, zeroExtend } from "../lowering.ts";
import { divideWide } from "./wide.ts";

const DIVIDE_ERROR = 0;

/**
 * DIV and IDIV. #DE for a zero divisor and for a quotient that doesn't fit, before anything is written.
 * Flags are undefined and stay. 128 by 64 bits takes two steps of 32 bits unless the high half is only an extension.
 */
function divide(name: "div" | "idiv"): Definition {
  const signed = name === "idiv";
  return {
    name,
    shapes: sized(["r#", "m#"], [1, 2, 4, 8]),
    hot: ["r4", "r8"],
    access: "r",
    emit(c, [divisor], shape) {
      const size = shape.sizes[0] as Size;
      if (size === 8) divide128(c, divisor!, signed);
      else divideNarrow(c, divisor!, size, signed);
    },
  };
}

type Source = { signed(size: Size): void; unsigned(size: Size): void };

function divideNarrow(c: Lowering, source: Source, size: Size, signed: boolean): void {
  const { e } = c;
  const rax = c.register(0);
  const rdx = c.register(2);
  const [dividend, divisor, quotient] = [e.temporary("i64"), e.temporary("i64"), e.temporary("i64")];
  if (signed) source.signed(size);
  else source.unsigned(size);
  e.tee(divisor).op("i64_eqz");
  c.faultIf(DIVIDE_ERROR, 0);
  if (size === 1) {
    if (signed) rax.signed(2);
    else rax.unsigned(2);
  } else {
    rax.unsigned(size);
    if (signed) rdx.signed(size);
    else rdx.unsigned(size);
    e.i64(size * 8)
      .op("i64_shl")
      .op("i64_or");
  }
  e.set(dividend);
  if (signed) {
    // The one case in which wasm's own division would trap: 2^63 / -1. Its quotient doesn't fit anyway.
    e.get(dividend)
      .i64Halves(0, 0x80000000 | 0)
      .op("i64_eq")
      .get(divisor)
      .i64(-1)
      .op("i64_eq")
      .op("i32_and");
    c.faultIf(DIVIDE_ERROR, 0);
  }
  e.get(dividend)
    .get(divisor)
    .op(signed ? "i64_div_s" : "i64_div_u")
    .tee(quotient);
  e.get(quotient);
  if (signed) signExtend(e, size);
  else zeroExtend(e, size);
  e.op("i64_ne");
  c.faultIf(DIVIDE_ERROR, 0);
  const remainder = e.temporary("i64");
  e.get(dividend).get(quotient).get(divisor).op("i64_mul").op("i64_sub").set(remainder);
  if (size === 1)
    rax.store(2, () => {
      e.get(quotient).i64(0xff).op("i64_and").get(remainder).i64(0xff).op("i64_and").i64(8).op("i64_shl").op("i64_or");
    });
  else {
    rax.store(size, () => e.get(quotient));
    rdx.store(size, () => e.get(remainder));
  }
  e.release("i64", dividend, divisor, quotient, remainder);
}

function divide128(c: Lowering, source: Source, signed: boolean): void {
  const { e } = c;
  const rax = c.register(0);
  const rdx = c.register(2);
  const t = () => e.temporary("i64");
  const [low, high, divisor, quotient, remainder] = [t(), t(), t(), t(), t()];
  source.signed(8);
  e.tee(divisor).op("i64_eqz");
  c.faultIf(DIVIDE_ERROR, 0);
  rax.signed(8);
  e.set(low);
  rdx.signed(8);
  e.set(high);

  // Common case: the dividend is a 64-bit number.
  e.get(high);
  if (signed) e.get(low).i64(63).op("i64_shr_s");
  else e.i64(0);
  e.op("i64_eq");
  if (signed) e.get(divisor).i64(-1).op("i64_ne").op("i32_and");
  e.if();
  e.get(low)
    .get(divisor)
    .op(signed ? "i64_div_s" : "i64_div_u")
    .tee(quotient);
  e.get(divisor).op("i64_mul").set(remainder);
  e.get(low).get(remainder).op("i64_sub").set(remainder);
  e.else();
  wideDivision(c, { low, high, divisor, quotient, remainder }, signed);
  e.end();

  rax.store(8, () => e.get(quotient));
  rdx.store(8, () => e.get(remainder));
  e.release("i64", low, high, divisor, quotient, remainder);
}

/** Division of high:low by divisor on magnitudes; signs are put back at the end. */
function wideDivision(
  c: Lowering,
  v: { low: number; high: number; divisor: number; quotient: number; remainder: number },
  signed: boolean,
): void {
  const { e } = c;
  const { low, high, divisor, quotient, remainder } = v;
  const [magnitude, quotientSign, remainderSign] = [e.temporary("i64"), e.temporary("i64"), e.temporary("i64")];
  e.get(divisor).set(magnitude);
  if (signed) {
    e.get(high).i64(63).op("i64_shr_s").set(remainderSign);
    e.get(divisor).i64(63).op("i64_shr_s").get(remainderSign).op("i64_xor").set(quotientSign);
    e.get(divisor)
      .get(divisor)
      .i64(63)
      .op("i64_shr_s")
      .tee(magnitude)
      .op("i64_xor")
      .get(magnitude)
      .op("i64_sub")
      .set(magnitude);
    // Negate high:low if negative.
    e.get(remainderSign).i64(0).op("i64_ne").if();
    e.get(high).i64(-1).op("i64_xor").get(low).op("i64_eqz").op("i64_extend_i32_u").op("i64_add").set(high);
    e.i64(0).get(low).op("i64_sub").set(low);
    e.end();
  }
  // The quotient fits in 64 bits only if the high half is below the divisor.
  e.get(high).get(magnitude).op("i64_ge_u");
  c.faultIf(DIVIDE_ERROR, 0);
  // Both are shifted until the divisor's highest bit is 1; the remainder is shifted back.
  const script = new Script(e, (helper) => c.call(helper));
  const [q, r, d] = [quotient, remainder, magnitude].map((index) => new Local64(e, index)) as [
    Local64,
    Local64,
    Local64,
  ];
  const dividend = { high: new Local64(e, high), low: new Local64(e, low) };
  const shift = new Local32(e, e.temporary("i32"));
  shift.set(d.leadingZeros());
  d.set(d.shl(shift));
  q.set(dividend.high.shl(shift).or(dividend.low.shr(1).shr(script.i32(63).sub(shift))));
  r.set(dividend.low.shl(shift));
  divideWide(script, q, r, d);
  r.set(r.shr(shift));
  e.release("i32", shift.index);
  if (signed) {
    // A magnitude above 2^63 - 1 fits only as -2^63.
    e.get(quotient).i64(0).op("i64_lt_s");
    e.get(quotientSign)
      .op("i64_eqz")
      .get(quotient)
      .i64Halves(0, 0x80000000 | 0)
      .op("i64_ne")
      .op("i32_or")
      .op("i32_and");
    c.faultIf(DIVIDE_ERROR, 0);
    e.get(quotient).get(quotientSign).op("i64_xor").get(quotientSign).op("i64_sub").set(quotient);
    e.get(remainder).get(remainderSign).op("i64_xor").get(remainderSign).op("i64_sub").set(remainder);
  }
  e.release("i64", magnitude, quotientSign, remainderSign);
}

/** Division. */
export const divisionDefinitions: readonly Definition[] = [divide("div"), divide("idiv")];
