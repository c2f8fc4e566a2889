import { type Int32, type Int64, Local32, Local64, Script } from "../expressions.ts";
import { defineHelper, type Helper } from "../helpers.ts";
import type { Lowering, X87Registers } from "../lowering.ts";
import { divideWide, multiplyWide } from "./wide.ts";
import { DOUBLE, SINGLE, shiftRightSticky } from "./x87-round.ts";
import { BIAS, controlWord, FSW, INTEGER_BIT, SIGN, SPECIAL, scriptOf } from "./x87-state.ts";

/**
 * The usual case of x87 instructions in translated code, where registers live in locals: normal numbers and zeros, rounding
 * to nearest at full precision with the precision exception masked, results in range. Everything else is left to the
 * interpreter.
 */

/** What a fast helper answers instead of a result's sign and exponent when the usual case it is not. */
const UNUSUAL = -1;
const USUAL_CONTROL = 0x300 | FSW.PE;
const CONTROL_MASK = 0xf00 | FSW.PE;
/** A result's flags of the status word are above its sign and exponent. */
const FLAGS_SHIFT = 16;

/** Operands of a fast operation, normalized; `finish` rounds, stores and ends the helper. */
interface Fast {
  readonly s: Script;
  readonly significandA: Local64;
  readonly significandB: Local64;
  readonly exponentA: Local32;
  readonly exponentB: Local32;
  readonly signA: Local32;
  readonly signB: Local32;
  readonly high: Local64;
  readonly low: Local64;
}

/**
 * (a, b) → the result's significand; its sign and exponent with PE and C1 above them, or -1. `core` leaves the normalized
 * magnitude in `high`:`low`, its sign in `signA` and its exponent in `exponentA`; `zeros` answers for one operand that is
 * zero while the other one is zero or normal, or does nothing.
 */
function fastOperation(
  name: string,
  zeros: (fast: Fast, zeroA: Local32, zeroB: Local32) => void,
  core: (fast: Fast) => void,
): Helper {
  return defineHelper(
    `x87.fast.${name}`,
    { parameters: ["i64", "i32", "i64", "i32"], results: ["i64", "i32"] },
    (e, call) => {
      const s = new Script(e, call);
      const [a, b] = [s.parameter32(1), s.parameter32(3)];
      const fast: Fast = {
        s,
        significandA: s.parameter64(0),
        significandB: s.parameter64(2),
        exponentA: s.local32(),
        exponentB: s.local32(),
        signA: s.local32(),
        signB: s.local32(),
        high: s.local64(),
        low: s.local64(),
      };
      const { exponentA, exponentB, signA, signB, high, low, significandA, significandB } = fast;
      const unusual = () => s.return(s.i64(0), UNUSUAL);
      exponentA.set(a.and(SPECIAL));
      exponentB.set(b.and(SPECIAL));
      signA.set(a.and(SIGN));
      signB.set(b.and(SIGN));
      s.if(controlWord(s).and(CONTROL_MASK).ne(USUAL_CONTROL), unusual);
      const normal = (exponent: Int32) => exponent.sub(1).below(SPECIAL - 1);
      s.if(normal(exponentA).and(normal(exponentB)).and(significandA.and(significandB).negative()).not(), () => {
        const [zeroA, zeroB] = [s.local32(), s.local32()];
        zeroA.set(exponentA.not().and(significandA.isZero()));
        zeroB.set(exponentB.not().and(significandB.isZero()));
        s.if(
          zeroA
            .or(normal(exponentA).and(significandA.negative()))
            .and(zeroB.or(normal(exponentB).and(significandB.negative()))),
          () => zeros(fast, zeroA, zeroB),
        );
        unusual();
      });
      core(fast);
      const increment = s.local32();
      increment.set(low.above(INTEGER_BIT).or(low.eq(INTEGER_BIT).and(high.narrow().and(1))));
      high.set(high.add(increment.wide()));
      // Only the increment can have made it zero.
      s.if(high.isZero(), () => {
        high.set(INTEGER_BIT);
        exponentA.set(exponentA.add(1));
      });
      s.if(
        exponentA
          .sub(2)
          .below(SPECIAL - 2)
          .not(),
        unusual,
      );
      high.push();
      exponentA
        .or(signA)
        .or(low.notZero().shl(FLAGS_SHIFT + 5))
        .or(increment.shl(FLAGS_SHIFT + 9))
        .push();
    },
  );
}

function fastAddition(name: string, subtract: boolean): Helper {
  const zeros = (
    { s, significandA, significandB, exponentA, exponentB, signA, signB }: Fast,
    a: Local32,
    b: Local32,
  ) => {
    s.if(b.and(a.not()), () => s.return(significandA, exponentA.or(signA)));
    s.if(a.and(b.not()), () => s.return(significandB, exponentB.or(subtract ? signB.xor(SIGN) : signB)));
  };
  return fastOperation(name, zeros, (fast) => {
    const { s, significandA, significandB, exponentA, exponentB, signA, signB, high, low } = fast;
    const [difference, shift, sign] = [s.local32(), s.local32(), s.local32()];
    const other = s.local64();
    if (subtract) signB.set(signB.xor(SIGN));
    difference.set(exponentA.sub(exponentB));
    s.if(
      difference.less(0).or(difference.not().and(significandA.below(significandB))),
      () => {
        high.set(significandB);
        other.set(significandA);
        sign.set(signB);
        exponentA.set(exponentB);
        difference.set(s.i32(0).sub(difference));
      },
      () => {
        high.set(significandA);
        other.set(significandB);
        sign.set(signA);
      },
    );
    s.if(difference, () => shiftRightSticky(s, other, low, difference));
    s.if(
      signA.eq(signB),
      () => {
        high.set(high.add(other));
        s.if(high.below(other), () => {
          low.set(low.shr(1).or(low.and(1)).or(high.shl(63)));
          high.set(high.shr(1).or(INTEGER_BIT));
          exponentA.set(exponentA.add(1));
        });
      },
      () => {
        high.set(high.sub(other).sub(low.notZero().wide()));
        low.set(s.i64(0).sub(low));
        s.if(high.negative().not(), () => {
          s.if(high.isZero(), () => {
            s.if(low.isZero(), () => s.return(s.i64(0), 0));
            high.set(low);
            low.set(0);
            exponentA.set(exponentA.sub(64));
          });
          shift.set(high.leadingZeros());
          s.if(shift, () => {
            high.set(high.shl(shift).or(low.shr(s.i32(64).sub(shift))));
            low.set(low.shl(shift));
            exponentA.set(exponentA.sub(shift));
          });
        });
      },
    );
    signA.set(sign);
  });
}

const fastMultiply = fastOperation(
  "multiply",
  ({ s, signA, signB }) => s.return(s.i64(0), signA.xor(signB)),
  (fast) => {
    const { s, significandA, significandB, exponentA, exponentB, signA, signB, high, low } = fast;
    multiplyWide(s, significandA, significandB, high, low);
    exponentA.set(exponentA.add(exponentB).sub(BIAS - 1));
    s.if(high.negative().not(), () => {
      high.set(high.shl(1).or(low.shr(63)));
      low.set(low.shl(1));
      exponentA.set(exponentA.sub(1));
    });
    signA.set(signA.xor(signB));
  },
);

const fastDivide = fastOperation(
  "divide",
  ({ s, signA, signB }, _zeroA, zeroB) => s.if(zeroB.not(), () => s.return(s.i64(0), signA.xor(signB))),
  (fast) => {
    const { s, significandA, significandB, exponentA, exponentB, signA, signB, high, low } = fast;
    const rest = s.local64();
    exponentA.set(exponentA.sub(exponentB).add(BIAS));
    s.if(
      significandA.below(significandB),
      () => {
        high.set(significandA);
        exponentA.set(exponentA.sub(1));
      },
      () => {
        high.set(significandA.shr(1));
        low.set(significandA.shl(63));
      },
    );
    divideWide(s, high, low, significandB);
    // The discarded part of the quotient against a half: twice the remainder against the divisor.
    rest.set(significandB.sub(low));
    s.if(low.notZero(), () =>
      s.if(
        low.eq(rest),
        () => low.set(INTEGER_BIT),
        () => low.set(low.above(rest).chooseWide(s.i64(3n << 62n), s.i64(1))),
      ),
    );
    signA.set(signA.xor(signB));
  },
);

/** The fast helper of each arithmetic operation. */
export const FAST: Readonly<Record<"add" | "sub" | "mul" | "div", Helper>> = {
  add: fastAddition("add", false),
  sub: fastAddition("subtract", true),
  mul: fastMultiply,
  div: fastDivide,
};

/** (a, b) → what a comparison leaves in CF, PF and ZF, bits 0, 2 and 6; -1 when one is neither zero nor a normal number. */
const fastCompare: Helper = defineHelper(
  "x87.fast.compare",
  { parameters: ["i64", "i32", "i64", "i32"], results: ["i32"] },
  (e, call) => {
    const s = new Script(e, call);
    const [significandA, a, significandB, b] = [s.parameter64(0), s.parameter32(1), s.parameter64(2), s.parameter32(3)];
    const normal = (word: Int32) =>
      word
        .and(SPECIAL)
        .sub(1)
        .below(SPECIAL - 1);
    s.if(normal(a).and(normal(b)).and(significandA.and(significandB).negative()).not(), () => {
      for (const [significand, word] of [
        [significandA, a],
        [significandB, b],
      ] as const)
        s.if(normal(word).and(significand.negative()).not(), () => {
          s.if(word.and(SPECIAL).or(significand.notZero()), () => s.return(UNUSUAL));
          // Both zeros are the positive one.
          word.set(0);
        });
    });
    s.if(a.eq(b).and(significandA.eq(significandB)), () => s.return(0x40));
    s.if(a.xor(b).and(SIGN), () => s.return(a.and(SIGN).ne(0)));
    // Of negative numbers the larger magnitude is less.
    a.and(SPECIAL)
      .less(b.and(SPECIAL))
      .or(a.eq(b).and(significandA.below(significandB)))
      .xor(a.and(SIGN).ne(0))
      .push();
  },
);

/** Leaves the instruction to the interpreter if `condition` isn't zero. */
function leaveIf(c: Lowering, condition: Int32): void {
  condition.push();
  c.faultIf(0, 0);
}

type Part = Int32 | Int64;

/** Computes into ST(`to`); `a` and `b` are significands, signs and exponents. */
function compute(
  c: Lowering,
  x87: X87Registers,
  operation: keyof typeof FAST,
  parts: { readonly to: number; readonly a: readonly [Part, Part]; readonly b: readonly [Part, Part] },
): void {
  const { e } = c;
  const word = new Local32(e, e.temporary("i32"));
  const significand = new Local64(e, e.temporary("i64"));
  for (const part of [...parts.a, ...parts.b]) part.push();
  c.call(FAST[operation]);
  e.set(word.index).set(significand.index);
  leaveIf(c, word.less(0));
  const result = x87.target(parts.to);
  result.significand.set(significand);
  result.signExponent.set(word.and(0xffff));
  x87.conclude(word.shr(FLAGS_SHIFT));
  e.release("i32", word.index);
  e.release("i64", significand.index);
}

/** `ST(to) = ST(to) operation ST(from)`, operands exchanged when `reversed`. */
export function emitFastRegisters(
  c: Lowering,
  x87: X87Registers,
  operation: keyof typeof FAST,
  operands: { readonly to: number; readonly from: number; readonly reversed: boolean },
): void {
  const { to, from, reversed } = operands;
  x87.require(c, to, true);
  x87.require(c, from, true);
  const [first, second] = (reversed ? [from, to] : [to, from]).map((index) => x87.value(index)) as [
    ReturnType<X87Registers["value"]>,
    ReturnType<X87Registers["value"]>,
  ];
  compute(c, x87, operation, {
    to,
    a: [first.significand, first.signExponent],
    b: [second.significand, second.signExponent],
  });
}

/** A normal single or double, or zero, in memory as 80-bit number. */
function extended(
  s: Script,
  bits: Local64,
  size: 4 | 8,
): { readonly significand: Int64; readonly word: Int32; readonly usual: Int32 } {
  const format = size === 4 ? SINGLE : DOUBLE;
  const exponent = bits
    .shr(63 - format.drop)
    .narrow()
    .and(format.maximum);
  const zero = bits.shl(65 - size * 8).isZero();
  const sign = bits
    .shr(size * 8 - 16)
    .narrow()
    .and(SIGN);
  return {
    significand: zero.chooseWide(s.i64(0), bits.shl(format.drop).or(INTEGER_BIT)),
    word: zero.choose(s.i32(0), exponent.add(format.rebias)).or(sign),
    usual: exponent
      .sub(1)
      .below(format.maximum - 1)
      .or(zero),
  };
}

/** `ST(0) = ST(0) operation memory`, operands exchanged when `reversed`; `bits` are those of the single or double. */
export function emitFastMemory(
  c: Lowering,
  x87: X87Registers,
  operation: keyof typeof FAST,
  operand: { readonly bits: Int64; readonly size: 4 | 8; readonly reversed: boolean },
): void {
  const { e } = c;
  const bits = new Local64(e, e.temporary("i64"));
  bits.set(operand.bits);
  x87.require(c, 0, true);
  const { significand, word, usual } = extended(scriptOf(c), bits, operand.size);
  leaveIf(c, usual.not());
  const top = x87.value(0);
  const register = [top.significand, top.signExponent] as const;
  const memory = [significand, word] as const;
  compute(c, x87, operation, {
    to: 0,
    a: operand.reversed ? memory : register,
    b: operand.reversed ? register : memory,
  });
  e.release("i64", bits.index);
}

/** Compares ST(0) with ST(`index`): `answer` becomes CF, PF and ZF at their places in RFLAGS. */
export function emitFastCompare(c: Lowering, x87: X87Registers, index: number, answer: Local32): void {
  x87.require(c, 0, true);
  x87.require(c, index, true);
  for (const { significand, signExponent } of [x87.value(0), x87.value(index)]) {
    significand.push();
    signExponent.push();
  }
  c.call(fastCompare);
  c.e.set(answer.index);
  leaveIf(c, answer.less(0));
}

/** Pushes a value onto the x87 stack that needs no checks but for room. */
export function emitFastPush(c: Lowering, x87: X87Registers, significand: Int64 | bigint, word: Int32 | number): void {
  x87.require(c, -1, false);
  x87.push();
  const top = x87.target(0);
  top.significand.set(significand);
  top.signExponent.set(word);
  x87.conclude();
}

/** Pushes the single or double with these bits. */
export function emitFastLoad(c: Lowering, x87: X87Registers, bits: Int64, size: 4 | 8): void {
  const { e } = c;
  const held = new Local64(e, e.temporary("i64"));
  held.set(bits);
  const { significand, word, usual } = extended(scriptOf(c), held, size);
  leaveIf(c, usual.not());
  emitFastPush(c, x87, significand, word);
  e.release("i64", held.index);
}

/** Pushes the integer `value`, sign-extended. */
export function emitFastInteger(c: Lowering, x87: X87Registers, value: Int64): void {
  const { e } = c;
  const s = scriptOf(c);
  const [held, magnitude] = [new Local64(e, e.temporary("i64")), new Local64(e, e.temporary("i64"))];
  held.set(value);
  magnitude.set(held.negative().chooseWide(s.i64(0).sub(held), held));
  const zeros = magnitude.leadingZeros();
  const exponent = s.i32(BIAS + 63).sub(zeros);
  emitFastPush(c, x87, magnitude.shl(zeros), held.isZero().choose(s.i32(0), exponent.or(held.negative().shl(15))));
  e.release("i64", held.index, magnitude.index);
}
