import { type Int32, type Local32, type Local64, Script } from "../expressions.ts";
import { defineHelper, type Helper } from "../helpers.ts";
import { STATE } from "../layout.ts";
import {
  clearC1,
  controlWord,
  FSW,
  INTEGER_BIT,
  RC,
  raise,
  roundingControl,
  SIGN,
  SPECIAL,
  statusWord,
  storeExtended,
} from "./x87-state.ts";

/** What an unmasked overflow or underflow takes from or adds to the exponent, SDM 1 8.5.4. */
const WRAP = 24576;
const HALF = INTEGER_BIT;

/**
 * `increment` becomes 1 when the magnitude with discarded bits `rest` (0.5 is the highest bit) must be rounded up; `odd`
 * tells whether the kept part is odd.
 */
export function decideRounding(
  s: Script,
  increment: Local32,
  rest: Local64,
  odd: Int32,
  negative: Int32,
  control: Local32,
): void {
  s.if(
    control.not(),
    () => increment.set(rest.above(HALF).or(rest.eq(HALF).and(odd))),
    () =>
      increment.set(
        rest.notZero().and(control.eq(RC.DOWN).and(negative.ne(0)).or(control.eq(RC.UP).and(negative.not()))),
      ),
  );
}

/** Shifts the 128 bits `high`:`low` right by `count` > 0; what falls out stays visible in the lowest bit. */
export function shiftRightSticky(s: Script, high: Local64, low: Local64, count: Local32): void {
  s.if(
    count.below(64),
    () => {
      low.set(high.shl(s.i32(64).sub(count)).or(low.notZero().wide()));
      high.set(high.shr(count));
    },
    () => {
      s.if(
        count.eq(64),
        () => low.set(high.or(low.notZero().wide())),
        () =>
          s.if(
            count.below(128),
            () => low.set(high.shr(count.sub(64)).or(high.shl(s.i32(128).sub(count)).or(low).notZero().wide())),
            () => low.set(high.or(low).notZero().wide()),
          ),
      );
      high.set(0);
    },
  );
}

/**
 * (destination, sign, exponent, high, low, precision) Rounds the normalized `high`:`low` × 2^(exponent − 16446 − 64) to
 * `precision` (a value of the precision control) and stores it, with all flags. The exponent may be out of range either way.
 */
export const round: Helper = defineHelper(
  "x87.round",
  { parameters: ["i32", "i32", "i32", "i64", "i64", "i32"], results: [] },
  (e, call) => {
    const s = new Script(e, call);
    const [destination, sign, exponent] = [s.parameter32(0), s.parameter32(1), s.parameter32(2)];
    const [high, low, precision] = [s.parameter64(3), s.parameter64(4), s.parameter32(5)];
    const [control, increment, drop, flags, tiny] = [s.local32(), s.local32(), s.local32(), s.local32(), s.local32()];
    const [rest, unit, kept] = [s.local64(), s.local64(), s.local64()];
    control.set(roundingControl(s));
    // The usual case: round to nearest at full precision, in range.
    s.if(
      precision
        .eq(3)
        .and(control.not())
        .and(exponent.sub(1).below(SPECIAL - 2)),
      () => {
        s.if(low.isZero(), () => {
          storeExtended(s, destination, high, exponent.or(sign));
          clearC1(s);
          s.return();
        });
        increment.set(low.above(HALF).or(low.eq(HALF).and(high.narrow().and(1))));
        high.set(high.add(increment.wide()));
        s.if(high.isZero(), () => {
          high.set(INTEGER_BIT);
          exponent.set(exponent.add(1));
        });
        storeExtended(s, destination, high, exponent.or(sign));
        flags.set(increment.shl(9).or(FSW.PE));
        s.if(
          controlWord(s).and(FSW.PE),
          () => s.store32(0, STATE.fsw, statusWord(s).and(~FSW.C1).or(flags)),
          () => {
            s.run(raise, flags);
            e.op("drop");
          },
        );
        s.return();
      },
    );

    drop.set(precision.not().choose(s.i32(40), precision.eq(2).choose(s.i32(11), 0)));
    unit.set(s.i64(1).shl(drop));
    const split = () => {
      kept.set(high.and(unit.sub(1).xor(-1)));
      s.if(
        drop,
        () => rest.set(high.shl(s.i32(64).sub(drop)).or(low.notZero().wide())),
        () => rest.set(low),
      );
      decideRounding(s, increment, rest, kept.and(unit).notZero(), sign, control);
    };
    split();
    s.if(exponent.atMost(0), () => {
      // Tiny after rounding as if the exponent had no bound.
      tiny.set(exponent.less(0).or(increment.and(kept.add(unit).isZero()).not()));
      s.if(
        controlWord(s).and(FSW.UE).or(tiny.not()),
        () => {
          drop.set(s.i32(1).sub(exponent));
          shiftRightSticky(s, high, low, drop);
          drop.set(precision.not().choose(s.i32(40), precision.eq(2).choose(s.i32(11), 0)));
          split();
          kept.set(increment.chooseWide(kept.add(unit), kept));
          storeExtended(s, destination, kept, kept.negative().or(sign));
          flags.set(increment.shl(9).or(rest.notZero().mul(FSW.PE)));
          s.run(raise, flags.or(tiny.and(rest.notZero()).mul(FSW.UE)));
          e.op("drop");
          s.return();
        },
        () => {
          flags.set(FSW.UE);
          exponent.set(exponent.add(WRAP));
          s.if(exponent.atMost(0), () => {
            // FSCALE can be further away than the wrapped exponent reaches.
            storeExtended(s, destination, 0n, sign);
            s.run(raise, FSW.UE | FSW.PE);
            e.op("drop");
            s.return();
          });
        },
      );
    });
    s.if(increment, () => kept.set(kept.add(unit)));
    s.if(kept.isZero(), () => {
      kept.set(INTEGER_BIT);
      exponent.set(exponent.add(1));
    });
    s.if(exponent.atLeast(SPECIAL), () => {
      s.if(controlWord(s).and(FSW.OE), () => {
        // Away from zero: an infinity; toward it: the largest number of that precision.
        increment.set(
          control
            .not()
            .or(control.eq(RC.DOWN).and(sign.ne(0)))
            .or(control.eq(RC.UP).and(sign.not())),
        );
        s.if(
          increment,
          () => storeExtended(s, destination, INTEGER_BIT, sign.or(SPECIAL)),
          () => storeExtended(s, destination, unit.sub(1).xor(-1), sign.or(SPECIAL - 1)),
        );
        s.run(raise, increment.shl(9).or(FSW.OE | FSW.PE));
        e.op("drop");
        s.return();
      });
      flags.set(FSW.OE);
      exponent.set(exponent.sub(WRAP));
      s.if(exponent.atLeast(SPECIAL), () => {
        storeExtended(s, destination, INTEGER_BIT, sign.or(SPECIAL));
        s.run(raise, FSW.OE | FSW.PE | FSW.C1);
        e.op("drop");
        s.return();
      });
    });
    storeExtended(s, destination, kept, exponent.or(sign));
    s.run(raise, flags.or(increment.shl(9)).or(rest.notZero().mul(FSW.PE)));
    e.op("drop");
  },
);

/** A binary interchange format in memory. */
interface Format {
  readonly name: string;
  /** Bits of an 64-bit significand that it drops. */
  readonly drop: number;
  /** 16383 minus its bias. */
  readonly rebias: number;
  readonly maximum: number;
}
export const SINGLE: Format = { name: "single", drop: 40, rebias: 16256, maximum: 255 };
export const DOUBLE: Format = { name: "double", drop: 11, rebias: 15360, maximum: 2047 };

/**
 * (sign, exponent, normalized significand) → bits, 1 when they may be stored. Stores deliver nothing when their overflow
 * or underflow is unmasked.
 */
function roundTo(format: Format): Helper {
  return defineHelper(
    `x87.round.${format.name}`,
    { parameters: ["i32", "i32", "i64"], results: ["i64", "i32"] },
    (e, call) => {
      const s = new Script(e, call);
      const fraction = 63 - format.drop;
      const [sign, exponent, significand] = [s.parameter32(0), s.parameter32(1), s.parameter64(2)];
      const [control, increment, tiny, shift] = [s.local32(), s.local32(), s.local32(), s.local32()];
      const [rest, kept, signBit] = [s.local64(), s.local64(), s.local64()];
      control.set(roundingControl(s));
      signBit.set(
        sign
          .ne(0)
          .wide()
          .shl(63 - format.drop + (format === SINGLE ? 8 : 11)),
      );
      const split = () => {
        rest.set(significand.shl(64 - format.drop));
        kept.set(significand.shr(format.drop));
        decideRounding(s, increment, rest, kept.narrow().and(1), sign, control);
      };
      split();
      exponent.set(exponent.sub(format.rebias));
      s.if(exponent.atMost(0), () => {
        tiny.set(exponent.less(0).or(increment.and(kept.add(1).eq(1n << BigInt(fraction + 1))).not()));
        s.if(tiny.and(controlWord(s).and(FSW.UE).not()), () => {
          s.run(raise, FSW.UE);
          e.op("drop");
          s.return(s.i64(0), 0);
        });
        shift.set(s.i32(1).sub(exponent));
        s.if(
          shift.below(64),
          () => significand.set(significand.shr(shift).or(significand.shl(s.i32(64).sub(shift)).notZero().wide())),
          () => significand.set(1),
        );
        split();
        s.run(raise, increment.shl(9).or(rest.notZero().mul(FSW.PE)).or(rest.notZero().and(tiny).mul(FSW.UE)));
        e.op("drop");
        s.return(kept.add(increment.wide()).or(signBit), 1);
      });
      kept.set(kept.add(increment.wide()).add(exponent.sub(1).wide().shl(fraction)));
      s.if(exponent.atLeast(format.maximum).or(kept.aboveOrEqual(BigInt(format.maximum) << BigInt(fraction))), () => {
        s.if(controlWord(s).and(FSW.OE).not(), () => {
          s.run(raise, FSW.OE);
          e.op("drop");
          s.return(s.i64(0), 0);
        });
        increment.set(
          control
            .not()
            .or(control.eq(RC.DOWN).and(sign.ne(0)))
            .or(control.eq(RC.UP).and(sign.not())),
        );
        s.run(raise, increment.shl(9).or(FSW.OE | FSW.PE));
        e.op("drop");
        s.return(
          s
            .i64(BigInt(format.maximum) << BigInt(fraction))
            .sub(increment.not().wide())
            .or(signBit),
          1,
        );
      });
      s.run(raise, increment.shl(9).or(rest.notZero().mul(FSW.PE)));
      e.op("drop");
      s.return(kept.or(signBit), 1);
      e.op("unreachable");
    },
  );
}
export const roundToSingle: Helper = roundTo(SINGLE);
export const roundToDouble: Helper = roundTo(DOUBLE);

/** Sign bit of a sign-and-exponent word. */
export function signOf(signExponent: Int32): Int32 {
  return signExponent.and(SIGN);
}
