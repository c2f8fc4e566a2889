import type { Int32, Int64, Local32, Local64 } from "../expressions.ts";
import { Script } from "../expressions.ts";
import { defineHelper, type Helper } from "../helpers.ts";
import { STATE } from "../layout.ts";
import { divideWide, multiplyWide } from "./wide.ts";
import { round, shiftRightSticky, signOf } from "./x87-round.ts";
import {
  BIAS,
  CHECK,
  checkOne,
  checkPair,
  controlWord,
  type Extended,
  exponentOf,
  FSW,
  INTEGER_BIT,
  invalid,
  isDenormal,
  RC,
  raise,
  roundingControl,
  SIGN,
  SPECIAL,
  statusWord,
  storeExtended,
} from "./x87-state.ts";

/**
 * The operations on two numbers: (destination, a, b, denormal) → 1 when the destination was written, 0 when an unmasked
 * exception came before the computation. `denormal` is {@link FSW.DE} when `b` was a denormal in memory.
 */
const OPERATION = { parameters: ["i32", "i64", "i32", "i64", "i32", "i32"], results: ["i32"] } as const;

interface Operation {
  readonly s: Script;
  readonly destination: Local32;
  readonly a: Extended;
  readonly b: Extended;
  readonly denormal: Local32;
  readonly exponentA: Local32;
  readonly exponentB: Local32;
  readonly signA: Local32;
  readonly signB: Local32;
}

const ROUNDING_AND_PRECISION = 0xf00;
const FULL_PRECISION = 0x300;

/** The precision that arithmetic rounds to. */
export function precisionControl(s: Script): Int32 {
  return controlWord(s).shr(8).and(3);
}

/**
 * Rounds as {@link round} does, the usual case in line: to nearest at full precision, in range, inexactness masked.
 * Destroys `exponent` and `high`.
 */
function roundHere(s: Script, destination: Int32, sign: Int32, exponent: Local32, high: Local64, low: Local64): void {
  const increment = s.local32();
  const usual = controlWord(s)
    .and(ROUNDING_AND_PRECISION | FSW.PE)
    .eq(FULL_PRECISION | FSW.PE);
  s.if(
    usual.and(exponent.sub(1).below(SPECIAL - 2)),
    () => {
      increment.set(low.above(INTEGER_BIT).or(low.eq(INTEGER_BIT).and(high.narrow().and(1))));
      high.set(high.add(increment.wide()));
      s.if(high.isZero(), () => {
        high.set(INTEGER_BIT);
        exponent.set(exponent.add(1));
      });
      storeExtended(s, destination, high, exponent.or(sign));
      s.store32(0, STATE.fsw, statusWord(s).and(~FSW.C1).or(low.notZero().shl(5)).or(increment.shl(9)));
    },
    () => s.run(round, destination, sign, exponent, high, low, precisionControl(s)),
  );
}

/** 1 when `value` is a normal number with a biased exponent `exponent`. */
function isNormal(value: Extended, exponent: Int32): Int32 {
  return exponent
    .sub(1)
    .below(SPECIAL - 1)
    .and(value.significand.negative());
}

/** Makes the significand's highest bit 1; `exponent` may become negative. Not for zero. */
export function normalize(s: Script, significand: Local64, exponent: Local32): void {
  const shift = s.local32();
  s.if(exponent.not(), () => {
    shift.set(significand.leadingZeros());
    significand.set(significand.shl(shift));
    exponent.set(s.i32(1).sub(shift));
  });
}

/**
 * An operation: `special` handles what isn't two normal numbers, after NaNs; it returns or leaves the numbers normalized.
 * `core` computes with normalized numbers.
 */
function operation(name: string, special: (o: Operation) => void, core: (o: Operation) => void): Helper {
  return defineHelper(name, OPERATION, (e, call) => {
    const s = new Script(e, call);
    const o: Operation = {
      s,
      destination: s.parameter32(0),
      a: { significand: s.parameter64(1), signExponent: s.parameter32(2) },
      b: { significand: s.parameter64(3), signExponent: s.parameter32(4) },
      denormal: s.parameter32(5),
      exponentA: s.local32(),
      exponentB: s.local32(),
      signA: s.local32(),
      signB: s.local32(),
    };
    const { a, b, exponentA, exponentB, signA, signB, denormal, destination } = o;
    const status = s.local32();
    exponentA.set(exponentOf(a));
    exponentB.set(exponentOf(b));
    signA.set(signOf(a.signExponent));
    signB.set(signOf(b.signExponent));
    s.if(isNormal(a, exponentA).and(isNormal(b, exponentB)).and(denormal.not()).not(), () => {
      status.set(s.call32(checkPair, destination, a.significand, a.signExponent, b.significand, b.signExponent));
      s.if(status, () => s.return(status.eq(CHECK.DONE)));
      special(o);
      normalize(s, a.significand, exponentA);
      normalize(s, b.significand, exponentB);
    });
    core(o);
    e.i32(1);
  });
}

/** Reports a denormal operand; returns 0 from the function when that is unmasked. */
function denormalOperands({ s, a, b, denormal }: Operation): void {
  s.if(denormal.or(isDenormal(a)).or(isDenormal(b)), () => s.if(s.call32(raise, FSW.DE), () => s.return(0)));
}

function isInfinite(o: Operation, which: "A" | "B"): Int32 {
  return o[`exponent${which}`].eq(SPECIAL);
}

/** Stores a result that needs no rounding, clears C1 and returns. */
function deliver({ s, destination }: Operation, significand: Int64 | bigint, signExponent: Int32): void {
  storeExtended(s, destination, significand, signExponent);
  s.run(raise, 0);
  s.e.op("drop");
  s.return(1);
}

function addition(name: string, subtract: boolean): Helper {
  return operation(
    name,
    (o) => {
      const { s, a, b, exponentA, exponentB, signA, signB, destination } = o;
      const effective = subtract ? signB.xor(SIGN) : signB;
      s.if(isInfinite(o, "A").and(isInfinite(o, "B")).and(signA.ne(effective)), () =>
        s.return(s.call32(invalid, destination)),
      );
      denormalOperands(o);
      s.if(isInfinite(o, "A"), () => deliver(o, INTEGER_BIT, signA.or(SPECIAL)));
      s.if(isInfinite(o, "B"), () => deliver(o, INTEGER_BIT, effective.or(SPECIAL)));
      s.if(b.significand.isZero(), () => {
        s.if(a.significand.isZero(), () =>
          // Zeros of unlike signs give +0, except when rounding down.
          deliver(o, 0n, signA.eq(effective).choose(signA, roundingControl(s).eq(RC.DOWN).mul(SIGN))),
        );
        normalize(s, a.significand, exponentA);
        s.run(round, destination, signA, exponentA, a.significand, s.i64(0), precisionControl(s));
        s.return(1);
      });
      s.if(a.significand.isZero(), () => {
        normalize(s, b.significand, exponentB);
        s.run(round, destination, effective, exponentB, b.significand, s.i64(0), precisionControl(s));
        s.return(1);
      });
    },
    (o) => {
      const { s, a, b, exponentA, exponentB, signA, signB, destination } = o;
      const [low, sum, other] = [s.local64(), s.local64(), s.local64()];
      const [difference, shift] = [s.local32(), s.local32()];
      if (subtract) signB.set(signB.xor(SIGN));
      // The larger magnitude becomes a.
      s.if(exponentA.less(exponentB).or(exponentA.eq(exponentB).and(a.significand.below(b.significand))), () => {
        other.set(a.significand);
        a.significand.set(b.significand);
        b.significand.set(other);
        difference.set(exponentA);
        exponentA.set(exponentB);
        exponentB.set(difference);
        difference.set(signA);
        signA.set(signB);
        signB.set(difference);
      });
      difference.set(exponentA.sub(exponentB));
      other.set(b.significand);
      s.if(difference, () => shiftRightSticky(s, other, low, difference));
      s.if(
        signA.eq(signB),
        () => {
          sum.set(a.significand.add(other));
          s.if(sum.below(a.significand), () => {
            low.set(low.shr(1).or(low.and(1)).or(sum.shl(63)));
            sum.set(sum.shr(1).or(INTEGER_BIT));
            exponentA.set(exponentA.add(1));
          });
        },
        () => {
          sum.set(a.significand.sub(other).sub(low.notZero().wide()));
          low.set(s.i64(0).sub(low));
          s.if(sum.or(low).isZero(), () => deliver(o, 0n, roundingControl(s).eq(RC.DOWN).mul(SIGN)));
          s.if(sum.negative().not(), () => {
            s.if(sum.isZero(), () => {
              sum.set(low);
              low.set(0);
              exponentA.set(exponentA.sub(64));
            });
            shift.set(sum.leadingZeros());
            s.if(shift, () => {
              sum.set(sum.shl(shift).or(low.shr(s.i32(64).sub(shift))));
              low.set(low.shl(shift));
              exponentA.set(exponentA.sub(shift));
            });
          });
        },
      );
      roundHere(s, destination, signA, exponentA, sum, low);
    },
  );
}

export const add: Helper = addition("x87.add", false);
export const subtract: Helper = addition("x87.subtract", true);

export const multiply: Helper = operation(
  "x87.multiply",
  (o) => {
    const { s, a, b, signA, signB, destination } = o;
    const infinite = isInfinite(o, "A").or(isInfinite(o, "B"));
    const zero = isInfinite(o, "A")
      .not()
      .and(a.significand.isZero())
      .or(isInfinite(o, "B").not().and(b.significand.isZero()));
    s.if(infinite.and(zero), () => s.return(s.call32(invalid, destination)));
    denormalOperands(o);
    s.if(infinite, () => deliver(o, INTEGER_BIT, signA.xor(signB).or(SPECIAL)));
    s.if(zero, () => deliver(o, 0n, signA.xor(signB)));
  },
  (o) => {
    const { s, a, b, exponentA, exponentB, signA, signB, destination } = o;
    const [high, low] = [s.local64(), s.local64()];
    multiplyWide(s, a.significand, b.significand, high, low);
    exponentA.set(exponentA.add(exponentB).sub(BIAS - 1));
    s.if(high.negative().not(), () => {
      high.set(high.shl(1).or(low.shr(63)));
      low.set(low.shl(1));
      exponentA.set(exponentA.sub(1));
    });
    signA.set(signA.xor(signB));
    roundHere(s, destination, signA, exponentA, high, low);
  },
);

export const divide: Helper = operation(
  "x87.divide",
  (o) => {
    const { s, a, b, signA, signB, destination } = o;
    const sign = signA.xor(signB);
    const zeroA = isInfinite(o, "A").not().and(a.significand.isZero());
    const zeroB = isInfinite(o, "B").not().and(b.significand.isZero());
    s.if(isInfinite(o, "A").and(isInfinite(o, "B")).or(zeroA.and(zeroB)), () =>
      s.return(s.call32(invalid, destination)),
    );
    s.if(zeroB.and(isInfinite(o, "A").not()), () => {
      s.if(s.call32(raise, FSW.ZE), () => s.return(0));
      storeExtended(s, destination, INTEGER_BIT, sign.or(SPECIAL));
      s.return(1);
    });
    denormalOperands(o);
    s.if(isInfinite(o, "A"), () => deliver(o, INTEGER_BIT, sign.or(SPECIAL)));
    s.if(zeroA.or(isInfinite(o, "B")), () => deliver(o, 0n, sign));
  },
  (o) => {
    const { s, a, b, exponentA, exponentB, signA, signB, destination } = o;
    const [high, low, rest] = [s.local64(), s.local64(), s.local64()];
    exponentA.set(exponentA.sub(exponentB).add(BIAS));
    s.if(
      a.significand.below(b.significand),
      () => {
        high.set(a.significand);
        exponentA.set(exponentA.sub(1));
      },
      () => {
        high.set(a.significand.shr(1));
        low.set(a.significand.shl(63));
      },
    );
    divideWide(s, high, low, b.significand);
    // The discarded part of the quotient against a half: twice the remainder against the divisor.
    rest.set(b.significand.sub(low));
    s.if(low.notZero(), () =>
      s.if(
        low.eq(rest),
        () => low.set(INTEGER_BIT),
        () => low.set(low.above(rest).chooseWide(s.i64(3n << 62n), s.i64(1))),
      ),
    );
    signA.set(signA.xor(signB));
    roundHere(s, destination, signA, exponentA, high, low);
  },
);

/** (destination, a) → as the operations on two numbers. */
export const squareRoot: Helper = defineHelper(
  "x87.sqrt",
  { parameters: ["i32", "i64", "i32"], results: ["i32"] },
  (e, call) => {
    const s = new Script(e, call);
    const destination = s.parameter32(0);
    const a: Extended = { significand: s.parameter64(1), signExponent: s.parameter32(2) };
    const [exponent, status, odd] = [s.local32(), s.local32(), s.local32()];
    const [high, low, root, digit, rest, restHigh, square] = [
      s.local64(),
      s.local64(),
      s.local64(),
      s.local64(),
      s.local64(),
      s.local64(),
      s.local64(),
    ];
    const done = (significand: Int64, signExponent: Int32) => {
      storeExtended(s, destination, significand, signExponent);
      s.run(raise, 0);
      e.op("drop");
      s.return(1);
    };
    exponent.set(exponentOf(a));
    s.if(isNormal(a, exponent).and(signOf(a.signExponent).not()).not(), () => {
      status.set(s.call32(checkOne, destination, a.significand, a.signExponent));
      s.if(status, () => s.return(status.eq(CHECK.DONE)));
      s.if(a.significand.isZero(), () => done(s.i64(0), a.signExponent));
      s.if(signOf(a.signExponent), () => s.return(s.call32(invalid, destination)));
      s.if(exponent.eq(SPECIAL), () => done(a.significand, a.signExponent));
      s.if(isDenormal(a), () => s.if(s.call32(raise, FSW.DE), () => s.return(0)));
      normalize(s, a.significand, exponent);
    });
    // N = high:low = significand × 2^62 or 2^63, so that its root has 64 bits and the exponent is even.
    odd.set(exponent.and(1));
    s.if(
      odd,
      () => {
        high.set(a.significand.shr(1));
        low.set(a.significand.shl(63));
      },
      () => high.set(a.significand),
    );
    exponent.set(exponent.add(odd).add(BIAS - 1));
    s.e.get(exponent.index).i32(1).op("i32_shr_s").set(exponent.index);
    // The high 32 bits of the root: the floating-point root of the high word is off by one at most.
    e.get(high.index).i64(11).op("i64_shr_u").op("f64_convert_i64_s").f64(2048).op("f64_mul").op("f64_sqrt");
    e.op("i64_trunc_f64_s").set(root.index);
    s.if(root.above(0xffffffffn), () => root.set(0xffffffffn));
    s.if(root.mul(root).above(high), () => root.set(root.sub(1)));
    s.if(high.sub(root.mul(root)).above(root.shl(1)), () => root.set(root.add(1)));
    rest.set(high.sub(root.mul(root)));
    // The next 32 bits: (rest × 2^32 + next) / (2 × root).
    digit.set(rest.shl(31).or(low.shr(33)).div(root));
    s.if(digit.above(0xffffffffn), () => digit.set(0xffffffffn));
    // rest × 2^32 + next − digit × 2 × root, below 2^34: modulo 2^64 it is exact.
    rest.set(rest.shl(32).or(low.shr(32)).sub(digit.mul(root).shl(1)));
    square.set(digit.mul(digit));
    restHigh.set(rest.shr(32));
    rest.set(rest.shl(32).or(low.and(0xffffffffn)));
    restHigh.set(restHigh.sub(rest.below(square).wide()));
    rest.set(rest.sub(square));
    root.set(root.shl(32).add(digit));
    s.while(restHigh.negative(), () => {
      root.set(root.sub(1));
      // rest += 2 × root + 1, the old root's 2 × root − 1.
      square.set(rest);
      rest.set(rest.add(root.shl(1).or(1)));
      restHigh.set(restHigh.add(root.shr(63)).add(rest.below(square).wide()));
    });
    // Half a unit more squared is root² + root + ¼: never a tie.
    s.if(
      restHigh.or(rest).isZero(),
      () => low.set(0),
      () =>
        low.set(
          restHigh
            .notZero()
            .or(rest.above(root))
            .chooseWide(s.i64(3n << 62n), s.i64(1)),
        ),
    );
    s.run(round, destination, 0, exponent, root, low, precisionControl(s));
    e.i32(1);
  },
);
