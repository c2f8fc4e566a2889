import { type Int32, type Int64, type Local32, type Local64, Script } from "../expressions.ts";
import { defineHelper, type Helper } from "../helpers.ts";
import { STATE } from "../layout.ts";
import { divideWide } from "./wide.ts";
import { normalize } from "./x87-arithmetic.ts";
import { decideRounding, round, signOf } from "./x87-round.ts";
import {
  BIAS,
  CHECK,
  checkOne,
  checkPair,
  clearC1,
  type Extended,
  exponentOf,
  FSW,
  INTEGER_BIT,
  invalid,
  isDenormal,
  isNan,
  isSignalling,
  isUnsupported,
  isValid,
  loadExtended,
  newExtended,
  physical,
  push,
  pushIfRoom,
  raise,
  registerAt,
  roundingControl,
  SIGN,
  SPECIAL,
  statusWord,
  storeExtended,
  storeIndefinite,
  underflow,
} from "./x87-state.ts";

const CONDITIONS = FSW.C0 | FSW.C1 | FSW.C2 | FSW.C3;

/** Replaces the four condition codes. */
export function setConditions(s: Script, codes: Int32 | number): void {
  s.store32(0, STATE.fsw, statusWord(s).and(~CONDITIONS).or(codes));
}

/** What {@link compare} adds to its answer when an exception is unmasked: nothing is popped. */
export const KEEP_STACK = 0x100;
/** And what it adds when a register was empty: the bit of C1, which is cleared then. */
const UNDERFLOW = 0x200;
const UNORDERED = 0x45;

/**
 * (a, b, denormal, quiet) → CF, PF and ZF as FCOMI sets them, with {@link KEEP_STACK}. `quiet` accepts quiet NaNs.
 * The processors that were asked set the answer even when the exception is unmasked.
 */
export const compare: Helper = defineHelper(
  "x87.compare",
  { parameters: ["i64", "i32", "i64", "i32", "i32", "i32"], results: ["i32"] },
  (e, call) => {
    const s = new Script(e, call);
    const a: Extended = { significand: s.parameter64(0), signExponent: s.parameter32(1) };
    const b: Extended = { significand: s.parameter64(2), signExponent: s.parameter32(3) };
    const [denormal, quiet] = [s.parameter32(4), s.parameter32(5)];
    const [exponentA, exponentB, less, keep] = [s.local32(), s.local32(), s.local32(), s.local32()];
    const nan = isNan(a).or(isNan(b));
    const bad = isUnsupported(a).or(isUnsupported(b));
    exponentA.set(exponentOf(a));
    exponentB.set(exponentOf(b));
    const normal = a.significand.and(b.significand).negative();
    const ordinary = normal.and(exponentA.sub(1).below(SPECIAL - 1)).and(exponentB.sub(1).below(SPECIAL - 1));
    const order = () => {
      s.if(signOf(a.signExponent).ne(signOf(b.signExponent)), () => s.return(keep.or(signOf(a.signExponent).ne(0))));
      s.if(exponentA.eq(exponentB).and(a.significand.eq(b.significand)), () => s.return(keep.or(0x40)));
      less.set(exponentA.less(exponentB).or(exponentA.eq(exponentB).and(a.significand.below(b.significand))));
      s.return(less.ne(signOf(a.signExponent).ne(0)).or(keep));
    };
    s.if(ordinary.and(denormal.not()), () => {
      clearC1(s);
      order();
    });
    s.if(bad.or(nan), () => {
      s.if(bad.or(isSignalling(a)).or(isSignalling(b)).or(quiet.not()), () => {
        s.return(s.call32(raise, FSW.IE).ne(0).shl(8).or(UNORDERED));
      });
      s.run(raise, 0);
      e.op("drop");
      s.return(UNORDERED);
    });
    keep.set(
      s
        .call32(raise, denormal.or(isDenormal(a).or(isDenormal(b)).shl(1)))
        .ne(0)
        .shl(8),
    );
    s.if(a.significand.or(b.significand).isZero(), () => s.return(keep.or(0x40)));
    // A pseudo-denormal has the exponent of the smallest normals.
    exponentA.set(exponentOf(a).add(exponentOf(a).not().and(a.significand.negative())));
    exponentB.set(exponentOf(b).add(exponentOf(b).not().and(b.significand.negative())));
    order();
    e.op("unreachable");
  },
);

/** (index, quiet) → as {@link compare}, of ST(0) with ST(index). */
export const compareRegisters: Helper = defineHelper(
  "x87.compareRegisters",
  { parameters: ["i32", "i32"], results: ["i32"] },
  (e, call) => {
    const s = new Script(e, call);
    const [index, quiet] = [s.parameter32(0), s.parameter32(1)];
    const [a, b] = [newExtended(s), newExtended(s)];
    s.if(
      isValid(s, physical(s, 0))
        .and(isValid(s, physical(s, index)))
        .not(),
      () => {
        s.return(
          s
            .call32(raise, FSW.IE | FSW.SF)
            .ne(0)
            .shl(8)
            .or(UNORDERED | UNDERFLOW),
        );
      },
    );
    loadExtended(s, a, registerAt(physical(s, 0)));
    loadExtended(s, b, registerAt(physical(s, index)));
    s.run(compare, a.significand, a.signExponent, b.significand, b.signExponent, 0, quiet);
  },
);

/** () FXAM: the class of ST(0) in C3, C2, C0 and its sign in C1. */
export const examine: Helper = defineHelper("x87.examine", { parameters: [], results: [] }, (e, call) => {
  const s = new Script(e, call);
  const value = newExtended(s);
  const [codes, exponent] = [s.local32(), s.local32()];
  loadExtended(s, value, registerAt(physical(s, 0)));
  exponent.set(exponentOf(value));
  codes.set(FSW.C2);
  s.if(
    isValid(s, physical(s, 0)).not(),
    () => codes.set(FSW.C3 | FSW.C0),
    () =>
      s.if(
        isUnsupported(value),
        () => codes.set(0),
        () =>
          s.if(
            exponent.eq(SPECIAL),
            () => codes.set(isNan(value).choose(s.i32(FSW.C0), FSW.C2 | FSW.C0)),
            () =>
              s.if(exponent.not(), () => codes.set(value.significand.isZero().choose(s.i32(FSW.C3), FSW.C3 | FSW.C2))),
          ),
      ),
  );
  setConditions(s, codes.or(signOf(value.signExponent).shr(6)));
});

/** Functions of ST(0) alone: reads it, answers stack underflow and NaNs, reports a denormal. */
function unary(name: string, body: (s: Script, at: Local32, value: Extended) => void): Helper {
  return defineHelper(name, { parameters: [], results: [] }, (e, call) => {
    const s = new Script(e, call);
    const value = newExtended(s);
    const at = s.local32();
    s.if(isValid(s, physical(s, 0)).not(), () => {
      s.run(underflow, physical(s, 0));
      e.op("drop");
      s.return();
    });
    at.set(registerAt(physical(s, 0)));
    loadExtended(s, value, at);
    s.if(s.call32(checkOne, at, value.significand, value.signExponent), () => s.return());
    body(s, at, value);
  });
}

/** Ends a function of ST(0) if a denormal operand is unmasked. */
function reportDenormal(s: Script, ...values: Extended[]): void {
  const any = values.map(isDenormal).reduce((a, b) => a.or(b));
  s.if(any, () => s.if(s.call32(raise, FSW.DE), () => s.return()));
}

/** () FRNDINT. */
export const roundToInteger: Helper = unary("x87.roundToInteger", (s, at, value) => {
  const { significand, signExponent } = value;
  const [exponent, increment, control, shift] = [s.local32(), s.local32(), s.local32(), s.local32()];
  const rest = s.local64();
  exponent.set(exponentOf(value));
  s.if(exponent.atLeast(BIAS + 63).or(significand.isZero()), () => {
    clearC1(s);
    s.return();
  });
  reportDenormal(s, value);
  control.set(roundingControl(s));
  s.if(
    exponent.less(BIAS),
    () => {
      // Below 1: exactly half only when the exponent says 0.5 and nothing follows.
      s.if(
        exponent.eq(BIAS - 1),
        () => rest.set(significand),
        () => rest.set(1),
      );
      decideRounding(s, increment, rest, s.i32(0), signOf(signExponent), control);
      storeExtended(s, at, increment.wide().shl(63), increment.mul(BIAS).or(signOf(signExponent)));
    },
    () => {
      shift.set(s.i32(BIAS + 63).sub(exponent));
      rest.set(significand.shl(s.i32(64).sub(shift)));
      significand.set(significand.shr(shift));
      decideRounding(s, increment, rest, significand.narrow().and(1), signOf(signExponent), control);
      significand.set(significand.add(increment.wide()).shl(shift));
      s.if(significand.isZero(), () => {
        significand.set(INTEGER_BIT);
        signExponent.set(signExponent.add(1));
      });
      storeExtended(s, at, significand, signExponent);
    },
  );
  s.run(raise, increment.shl(9).or(rest.notZero().mul(FSW.PE)));
  s.e.op("drop");
});

/** () FXTRACT: the exponent takes ST(0)'s place, the significand is pushed. */
export const extract: Helper = defineHelper("x87.extract", { parameters: [], results: [] }, (e, call) => {
  const s = new Script(e, call);
  const value = newExtended(s);
  const { significand, signExponent } = value;
  const [at, exponent, status] = [s.local32(), s.local32(), s.local32()];
  const number = s.local64();
  const empty = isValid(s, physical(s, 0)).not();
  const full = isValid(s, physical(s, -1));
  const indefinite = (flags: Int32 | number) => {
    s.if(s.call32(raise, flags), () => s.return());
    s.run(storeIndefinite, registerAt(physical(s, 0)));
    s.store32(0, STATE.ftw, s.load32(0, STATE.ftw).or(s.i32(1).shl(physical(s, 0))));
    s.run(push, s.i64(3n << 62n), SIGN | SPECIAL);
    s.return();
  };
  s.if(empty, () => indefinite(FSW.IE | FSW.SF));
  s.if(full, () => indefinite(FSW.IE | FSW.SF | FSW.C1));
  at.set(registerAt(physical(s, 0)));
  loadExtended(s, value, at);
  status.set(s.call32(checkOne, at, significand, signExponent));
  s.if(status, () => {
    s.if(status.eq(CHECK.DONE), () => s.run(push, s.load64(at), s.load32(at, 8)));
    s.return();
  });
  exponent.set(exponentOf(value));
  s.if(significand.isZero(), () => {
    s.if(s.call32(raise, FSW.ZE), () => s.return());
    storeExtended(s, at, INTEGER_BIT, SIGN | SPECIAL);
    s.run(push, significand, signExponent);
    s.return();
  });
  clearC1(s);
  s.if(exponent.eq(SPECIAL), () => {
    storeExtended(s, at, INTEGER_BIT, SPECIAL);
    s.run(push, significand, signExponent);
    s.return();
  });
  reportDenormal(s, value);
  normalize(s, significand, exponent);
  exponent.set(exponent.sub(BIAS));
  storeInteger(s, at, exponent, number);
  s.run(push, significand, signOf(signExponent).or(BIAS));
});

/** Stores the small integer `value` as a floating-point value. */
function storeInteger(s: Script, at: Int32, value: Local32, scratch: Local64): void {
  const sign = s.local32();
  sign.set(value.less(0).mul(SIGN));
  s.if(value.less(0), () => value.set(s.i32(0).sub(value)));
  scratch.set(value.wide());
  s.if(
    value,
    () => {
      value.set(scratch.leadingZeros());
      storeExtended(
        s,
        at,
        scratch.shl(value),
        s
          .i32(BIAS + 63)
          .sub(value)
          .or(sign),
      );
    },
    () => storeExtended(s, at, 0n, 0),
  );
}

interface Pair {
  readonly at: Local32;
  readonly a: Extended;
  readonly b: Extended;
  readonly exponentA: Local32;
  readonly exponentB: Local32;
}

/** Functions of ST(0) and ST(1) with the result in ST(0). */
function binary(name: string, prepare: (s: Script) => void, body: (s: Script, pair: Pair) => void): Helper {
  return defineHelper(name, { parameters: [], results: [] }, (e, call) => {
    const s = new Script(e, call);
    const [a, b] = [newExtended(s), newExtended(s)];
    const pair: Pair = { at: s.local32(), a, b, exponentA: s.local32(), exponentB: s.local32() };
    prepare(s);
    s.if(
      isValid(s, physical(s, 0))
        .and(isValid(s, physical(s, 1)))
        .not(),
      () => {
        s.run(underflow, physical(s, 0));
        e.op("drop");
        s.return();
      },
    );
    pair.at.set(registerAt(physical(s, 0)));
    loadExtended(s, a, pair.at);
    loadExtended(s, b, registerAt(physical(s, 1)));
    s.if(s.call32(checkPair, pair.at, a.significand, a.signExponent, b.significand, b.signExponent), () => s.return());
    pair.exponentA.set(exponentOf(a));
    pair.exponentB.set(exponentOf(b));
    body(s, pair);
  });
}

/** () FSCALE. */
export const scale: Helper = binary(
  "x87.scale",
  () => {},
  (s, { at, a, b, exponentA, exponentB }) => {
    const amount = s.local32();
    const negative = signOf(b.signExponent).ne(0);
    const infiniteA = exponentA.eq(SPECIAL);
    const refuse = () => {
      s.run(invalid, at);
      s.e.op("drop");
      s.return();
    };
    s.if(exponentB.eq(SPECIAL), () => {
      s.if(
        negative,
        () => s.if(infiniteA, refuse),
        () => s.if(a.significand.isZero(), refuse),
      );
      reportDenormal(s, a);
      clearC1(s);
      s.if(infiniteA.or(a.significand.isZero()), () => s.return());
      s.if(
        negative,
        () => storeExtended(s, at, 0n, signOf(a.signExponent)),
        () => storeExtended(s, at, INTEGER_BIT, signOf(a.signExponent).or(SPECIAL)),
      );
      s.return();
    });
    reportDenormal(s, a, b);
    s.if(infiniteA.or(a.significand.isZero()), () => {
      clearC1(s);
      s.return();
    });
    normalize(s, a.significand, exponentA);
    s.if(
      exponentB.less(BIAS),
      () => {},
      () =>
        s.if(
          exponentB.greater(BIAS + 15),
          () => amount.set(0x10000),
          () => amount.set(b.significand.shr(s.i32(BIAS + 63).sub(exponentB)).narrow()),
        ),
    );
    exponentA.set(negative.choose(exponentA.sub(amount), exponentA.add(amount)));
    s.run(round, at, signOf(a.signExponent), exponentA, a.significand, s.i64(0), 3);
  },
);

/** FPREM and FPREM1: exact; C2 tells that only part of the reduction was done. */
function remainder(nearest: boolean): Helper {
  // C2 is cleared whenever nothing is left to do, exceptions included.
  const begun = (s: Script) => s.store32(0, STATE.fsw, statusWord(s).and(~FSW.C2));
  return binary(nearest ? "x87.remainder1" : "x87.remainder", begun, (s, { at, a, b, exponentA, exponentB }) => {
    const [difference, codes, sign] = [s.local32(), s.local32(), s.local32()];
    const [high, low, other] = [s.local64(), s.local64(), s.local64()];
    s.if(exponentA.eq(SPECIAL).or(b.significand.isZero()), () => {
      s.run(invalid, at);
      s.e.op("drop");
      s.return();
    });
    reportDenormal(s, a, b);
    const unchanged = () => {
      clearC1(s);
      setConditions(s, 0);
      s.return();
    };
    s.if(a.significand.isZero().or(exponentB.eq(SPECIAL)), unchanged);
    normalize(s, a.significand, exponentA);
    normalize(s, b.significand, exponentB);
    sign.set(signOf(a.signExponent));
    difference.set(exponentA.sub(exponentB));
    const small = () => {
      // The quotient is 0: the dividend stays, rounded as any result.
      s.run(round, at, sign, exponentA, a.significand, s.i64(0), 3);
      setConditions(s, 0);
      s.return();
    };
    s.if(difference.less(nearest ? -1 : 0), small);
    if (nearest)
      s.if(difference.less(0), () => {
        s.if(a.significand.above(b.significand).not(), small);
        // |a| is more than half of |b|: the quotient is 1.
        low.set(b.significand.shl(1).sub(a.significand));
        difference.set(low.leadingZeros());
        s.run(round, at, sign.xor(SIGN), exponentA.sub(difference), low.shl(difference), s.i64(0), 3);
        setConditions(s, FSW.C1);
        s.return();
      });
    s.if(
      difference.atLeast(64),
      () => {
        codes.set(FSW.C2);
        difference.set(difference.and(31).or(32));
        exponentA.set(exponentA.sub(difference));
      },
      () => exponentA.set(exponentB),
    );
    s.if(
      difference,
      () => {
        high.set(a.significand.shr(s.i32(64).sub(difference)));
        low.set(a.significand.shl(difference));
      },
      () => low.set(a.significand),
    );
    divideWide(s, high, low, b.significand);
    s.if(codes.not(), () => {
      if (nearest) {
        other.set(b.significand.sub(low));
        s.if(low.above(other).or(low.eq(other).and(high.narrow().and(1))), () => {
          low.set(other);
          sign.set(sign.xor(SIGN));
          high.set(high.add(1));
        });
      }
      codes.set(quotientCodes(high));
    });
    s.if(
      low.isZero(),
      () => storeExtended(s, at, 0n, signOf(a.signExponent)),
      () => {
        difference.set(low.leadingZeros());
        s.run(round, at, sign, exponentA.sub(difference), low.shl(difference), s.i64(0), 3);
      },
    );
    setConditions(s, codes);
  });
}
export const remainderTruncated: Helper = remainder(false);
export const remainderNearest: Helper = remainder(true);

/** The quotient's low three bits: C1 is bit 0, C3 bit 1, C0 bit 2. */
function quotientCodes(quotient: Int64): Int32 {
  const bits = quotient.narrow();
  return bits.and(1).shl(9).or(bits.and(2).shl(13)).or(bits.and(4).shl(6));
}

/** (index) FXCH. */
export const exchange: Helper = defineHelper("x87.exchange", { parameters: ["i32"], results: [] }, (e, call) => {
  const s = new Script(e, call);
  const [first, second] = [s.local32(), s.local32()];
  const [a, b] = [newExtended(s), newExtended(s)];
  first.set(physical(s, 0));
  second.set(physical(s, s.parameter32(0)));
  s.if(isValid(s, first).and(isValid(s, second)).not(), () => {
    s.if(s.call32(raise, FSW.IE | FSW.SF), () => s.return());
    for (const number of [first, second])
      s.if(isValid(s, number).not(), () => {
        s.run(storeIndefinite, registerAt(number));
        s.store32(0, STATE.ftw, s.load32(0, STATE.ftw).or(s.i32(1).shl(number)));
      });
  });
  s.store32(0, STATE.fsw, statusWord(s).and(~FSW.C1));
  loadExtended(s, a, registerAt(first));
  loadExtended(s, b, registerAt(second));
  storeExtended(s, registerAt(first), b.significand, b.signExponent);
  storeExtended(s, registerAt(second), a.significand, a.signExponent);
});

/** (index) → 1 when done: copies ST(0) to ST(index). */
export const copyTop: Helper = defineHelper("x87.copyTop", { parameters: ["i32"], results: ["i32"] }, (e, call) => {
  const s = new Script(e, call);
  const number = s.local32();
  const value = newExtended(s);
  number.set(physical(s, s.parameter32(0)));
  s.if(isValid(s, physical(s, 0)).not(), () => s.return(s.call32(underflow, number)));
  loadExtended(s, value, registerAt(physical(s, 0)));
  storeExtended(s, registerAt(number), value.significand, value.signExponent);
  s.store32(0, STATE.ftw, s.load32(0, STATE.ftw).or(s.i32(1).shl(number)));
  s.store32(0, STATE.fsw, statusWord(s).and(~FSW.C1));
  e.i32(1);
});

/** (index, condition) FCMOVcc. */
export const moveIf: Helper = defineHelper("x87.moveIf", { parameters: ["i32", "i32"], results: [] }, (e, call) => {
  const s = new Script(e, call);
  const [from, to] = [s.local32(), s.local32()];
  const value = newExtended(s);
  from.set(physical(s, s.parameter32(0)));
  to.set(physical(s, 0));
  s.if(isValid(s, from).and(isValid(s, to)).not(), () => {
    s.run(underflow, to);
    e.op("drop");
    s.return();
  });
  s.if(s.parameter32(1), () => {
    loadExtended(s, value, registerAt(from));
    storeExtended(s, registerAt(to), value.significand, value.signExponent);
  });
});

/** (mask, toggle) FABS and FCHS: keeps `mask` of the sign-and-exponent word, then flips `toggle`. */
export const changeSign: Helper = defineHelper(
  "x87.changeSign",
  { parameters: ["i32", "i32"], results: [] },
  (e, call) => {
    const s = new Script(e, call);
    const at = s.local32();
    s.if(isValid(s, physical(s, 0)).not(), () => {
      s.run(underflow, physical(s, 0));
      e.op("drop");
      s.return();
    });
    at.set(registerAt(physical(s, 0)));
    s.store32(at, 8, s.load32(at, 8).and(s.parameter32(0)).xor(s.parameter32(1)));
    s.store32(0, STATE.fsw, statusWord(s).and(~FSW.C1));
  },
);

/** (index) FLD ST(i). */
export const loadRegister: Helper = defineHelper(
  "x87.loadRegister",
  { parameters: ["i32"], results: [] },
  (e, call) => {
    const s = new Script(e, call);
    const number = s.parameter32(0);
    number.set(physical(s, number));
    s.if(isValid(s, number).not(), () => {
      s.if(s.call32(raise, FSW.IE | FSW.SF), () => s.return());
      s.run(push, s.i64(3n << 62n), SIGN | SPECIAL);
      s.return();
    });
    number.set(registerAt(number));
    s.run(pushIfRoom, s.load64(number), s.load32(number, 8));
  },
);
