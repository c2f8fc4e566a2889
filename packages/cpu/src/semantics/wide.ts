import type { Int64, Local64, Script } from "../expressions.ts";

/** Sets `high`:`low` to the product of `a` and `b`. */
export function multiplyWide(s: Script, a: Int64, b: Int64, high: Local64, low: Local64): void {
  const [a0, a1, b0, b1, middle, carry] = [
    s.local64(),
    s.local64(),
    s.local64(),
    s.local64(),
    s.local64(),
    s.local64(),
  ];
  a0.set(a.and(0xffffffffn));
  a1.set(a.shr(32));
  b0.set(b.and(0xffffffffn));
  b1.set(b.shr(32));
  carry.set(a0.mul(b0));
  middle.set(a1.mul(b0).add(carry.shr(32)));
  low.set(a0.mul(b1).add(middle.and(0xffffffffn)));
  high.set(a1.mul(b1).add(middle.shr(32)).add(low.shr(32)));
  low.set(low.shl(32).or(carry.and(0xffffffffn)));
}

/**
 * Divides `high`:`low` by `divisor`, whose highest bit is 1 and which is greater than `high`. `high` becomes the
 * quotient, `low` the remainder. Two digits of 32 bits, Knuth's algorithm D.
 */
export function divideWide(s: Script, high: Local64, low: Local64, divisor: Int64): void {
  const [d1, d0, quotient, digit, rest] = [s.local64(), s.local64(), s.local64(), s.local64(), s.local64()];
  d1.set(divisor.shr(32));
  d0.set(divisor.and(0xffffffffn));
  const step = (next: Int64) => {
    digit.set(high.div(d1));
    rest.set(high.sub(digit.mul(d1)));
    // At most two corrections.
    const { e } = s;
    const done = e.block();
    const again = e.loop();
    digit
      .shr(32)
      .notZero()
      .or(digit.mul(d0).above(rest.shl(32).or(next)))
      .not()
      .push();
    e.brIf(done);
    digit.set(digit.sub(1));
    rest.set(rest.add(d1));
    rest.shr(32).isZero().push();
    e.brIf(again).end().end();
    high.set(high.shl(32).or(next).sub(digit.mul(divisor)));
  };
  step(low.shr(32));
  quotient.set(digit.shl(32));
  step(low.and(0xffffffffn));
  quotient.set(quotient.or(digit));
  low.set(high);
  high.set(quotient);
}
