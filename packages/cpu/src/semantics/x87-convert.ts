import { type Int32, type Int64, type Local32, type Local64, Script } from "../expressions.ts";
import { defineHelper, type Helper } from "../helpers.ts";
import { normalize } from "./x87-arithmetic.ts";
import { DOUBLE, decideRounding, roundToDouble, roundToSingle, SINGLE, signOf } from "./x87-round.ts";
import {
  BIAS,
  canPush,
  type Extended,
  exponentOf,
  FSW,
  INTEGER_BIT,
  isNan,
  isSignalling,
  isUnsupported,
  isValid,
  loadExtended,
  newExtended,
  physical,
  push,
  pushIfRoom,
  QUIET_BIT,
  RC,
  raise,
  registerAt,
  roundingControl,
  SIGN,
  SPECIAL,
} from "./x87-state.ts";

/** Sets `into` to the single or double whose bits are in `bits`, NaNs unchanged; `denormal` to {@link FSW.DE} if it is one. */
export function extend(s: Script, bits: Local64, size: 4 | 8, into: Extended, denormal: Local32): void {
  const format = size === 4 ? SINGLE : DOUBLE;
  const fractionBits = 63 - format.drop;
  const { significand, signExponent } = into;
  const [exponent, sign] = [s.local32(), s.local32()];
  exponent.set(bits.shr(fractionBits).narrow().and(format.maximum));
  sign.set(
    bits
      .shr(size * 8 - 16)
      .narrow()
      .and(SIGN),
  );
  significand.set(bits.shl(format.drop).and(INTEGER_BIT - 1n));
  s.if(
    exponent.sub(1).below(format.maximum - 1),
    () => {
      significand.set(significand.or(INTEGER_BIT));
      signExponent.set(exponent.add(format.rebias).or(sign));
    },
    () =>
      s.if(
        exponent,
        () => {
          significand.set(significand.or(INTEGER_BIT));
          signExponent.set(sign.or(SPECIAL));
        },
        () =>
          s.if(
            significand.isZero(),
            () => signExponent.set(sign),
            () => {
              denormal.set(FSW.DE);
              exponent.set(significand.leadingZeros());
              significand.set(significand.shl(exponent));
              signExponent.set(
                s
                  .i32(format.rebias + 1)
                  .sub(exponent)
                  .or(sign),
              );
            },
          ),
      ),
  );
}

/** Sets `into` to the signed integer `value`, which it destroys. */
export function fromInteger(s: Script, value: Local64, into: Extended): void {
  const { significand, signExponent } = into;
  const shift = s.local32();
  signExponent.set(value.negative().mul(SIGN));
  s.if(value.negative(), () => value.set(s.i64(0).sub(value)));
  s.if(
    value.isZero(),
    () => significand.set(0),
    () => {
      shift.set(value.leadingZeros());
      significand.set(value.shl(shift));
      signExponent.set(
        s
          .i32(BIAS + 63)
          .sub(shift)
          .or(signExponent),
      );
    },
  );
}

/** (bits) Pushes a single or double. */
function loader(size: 4 | 8): Helper {
  return defineHelper(`x87.load${size}`, { parameters: ["i64"], results: [] }, (e, call) => {
    const s = new Script(e, call);
    const bits = s.parameter64(0);
    const value = newExtended(s);
    const denormal = s.local32();
    extend(s, bits, size, value, denormal);
    s.if(denormal.or(isSignalling(value)).not(), () => {
      s.run(pushIfRoom, value.significand, value.signExponent);
      s.return();
    });
    s.if(s.call32(canPush).not(), () => s.return());
    s.if(isSignalling(value), () => {
      value.significand.set(value.significand.or(QUIET_BIT));
      s.if(s.call32(raise, FSW.IE), () => s.return());
    });
    // A denormal is loaded even when its exception is unmasked.
    s.run(raise, denormal);
    e.op("drop");
    s.run(push, value.significand, value.signExponent);
  });
}
export const loadSingle: Helper = loader(4);
export const loadDouble: Helper = loader(8);

/** (value) Pushes an integer. */
export const loadInteger: Helper = defineHelper("x87.loadInteger", { parameters: ["i64"], results: [] }, (e, call) => {
  const s = new Script(e, call);
  const value = newExtended(s);
  fromInteger(s, s.parameter64(0), value);
  s.run(pushIfRoom, value.significand, value.signExponent);
});

/** Reads ST(0) into `value`; when it is empty, gives the answer of `empty` if stack underflow is masked, or none. */
function readTop(s: Script, value: Extended, empty: () => void, none: () => void): void {
  s.if(isValid(s, physical(s, 0)).not(), () => {
    s.if(s.call32(raise, FSW.IE | FSW.SF), none);
    empty();
  });
  loadExtended(s, value, registerAt(physical(s, 0)));
}

/** () → bits of ST(0) as single or double, 1 when they are to be stored. */
function storer(size: 4 | 8): Helper {
  const format = size === 4 ? SINGLE : DOUBLE;
  const fractionBits = 63 - format.drop;
  const indefinite = size === 4 ? 0xffc00000n : 0xfff8n << 48n;
  return defineHelper(`x87.store${size}`, { parameters: [], results: ["i64", "i32"] }, (e, call) => {
    const s = new Script(e, call);
    const value = newExtended(s);
    const { significand, signExponent } = value;
    const [exponent, sign] = [s.local32(), s.local64()];
    const none = () => s.return(s.i64(0), 0);
    const answer = (bits: Int64) => s.return(bits, 1);
    readTop(s, value, () => answer(s.i64(indefinite)), none);
    exponent.set(exponentOf(value));
    sign.set(
      signOf(signExponent)
        .wide()
        .shl(size * 8 - 16),
    );
    s.if(
      exponent
        .sub(1)
        .below(SPECIAL - 1)
        .and(significand.negative()),
      () => {
        s.run(size === 4 ? roundToSingle : roundToDouble, signOf(signExponent), exponent, significand);
        e.return();
      },
    );
    s.if(isUnsupported(value), () => {
      s.if(s.call32(raise, FSW.IE), none);
      answer(s.i64(indefinite));
    });
    s.if(isNan(value), () => {
      s.if(s.call32(raise, isSignalling(value)), none);
      significand.set(
        significand
          .or(QUIET_BIT)
          .and(INTEGER_BIT - 1n)
          .shr(format.drop),
      );
      answer(significand.or(BigInt(format.maximum) << BigInt(fractionBits)).or(sign));
    });
    s.if(exponent.eq(SPECIAL), () => {
      s.run(raise, 0);
      e.op("drop");
      answer(sign.or(BigInt(format.maximum) << BigInt(fractionBits)));
    });
    s.if(significand.isZero(), () => {
      s.run(raise, 0);
      e.op("drop");
      answer(sign);
    });
    normalize(s, significand, exponent);
    s.run(size === 4 ? roundToSingle : roundToDouble, signOf(signExponent), exponent, significand);
  });
}
export const storeSingle: Helper = storer(4);
export const storeDouble: Helper = storer(8);

/** (bits of the integer, rounding control) → ST(0) as an integer of that size, 1 when it is to be stored. */
export const storeInteger: Helper = defineHelper(
  "x87.storeInteger",
  { parameters: ["i32", "i32"], results: ["i64", "i32"] },
  (e, call) => {
    const s = new Script(e, call);
    const [size, control] = [s.parameter32(0), s.parameter32(1)];
    const value = newExtended(s);
    const { significand, signExponent } = value;
    const [exponent, increment, negative] = [s.local32(), s.local32(), s.local32()];
    const [rest, limit] = [s.local64(), s.local64()];
    const none = () => s.return(s.i64(0), 0);
    const indefinite = () => s.return(limit, 1);
    limit.set(s.i64(1).shl(size.sub(1)));
    readTop(s, value, indefinite, none);
    const invalid = () => {
      s.if(s.call32(raise, FSW.IE), none);
      indefinite();
    };
    exponent.set(exponentOf(value).sub(BIAS));
    negative.set(signOf(signExponent).ne(0));
    s.if(isUnsupported(value).or(exponent.greater(63)), invalid);
    s.if(
      exponent.eq(63),
      () => {},
      () =>
        s.if(
          exponent.less(-1),
          () => {
            rest.set(significand.notZero().wide());
            significand.set(0);
          },
          () =>
            s.if(
              exponent.eq(-1),
              () => {
                rest.set(significand);
                significand.set(0);
              },
              () => {
                rest.set(significand.shl(exponent.add(1)));
                significand.set(significand.shr(s.i32(63).sub(exponent)));
              },
            ),
        ),
    );
    decideRounding(s, increment, rest, significand.narrow().and(1), negative, control);
    significand.set(significand.add(increment.wide()));
    // A magnitude of 2^(size−1) fits only when negative.
    s.if(significand.aboveOrEqual(limit.add(negative.wide())), invalid);
    s.run(raise, increment.shl(9).or(rest.notZero().mul(FSW.PE)));
    e.op("drop");
    s.return(negative.chooseWide(s.i64(0).sub(significand), significand), 1);
    e.op("unreachable");
  },
);

/** The rounding that FIST uses, or FISTTP's. */
export function integerRounding(s: Script, truncate: boolean): Int32 {
  return truncate ? s.i32(RC.ZERO) : roundingControl(s);
}
