import { type Definition, sized } from "../definition.ts";
import { type Lowering, type Place, type Size, signExtend } from "../lowering.ts";

const ALL: readonly Size[] = [1, 2, 4, 8];
const SHAPES = sized(["r#v1", "m#v1"], ALL);
const HOT = sized(["r#v1"], [4, 8]);

/** Puts the masked count into an i64 temporary: 6 bits for 64-bit operands, 5 otherwise (SDM 2B, SAL). */
function maskedCount(c: Lowering, source: Place, size: Size): number {
  const count = c.e.temporary("i64");
  source.unsigned(1);
  c.e
    .i64(size === 8 ? 63 : 31)
    .op("i64_and")
    .set(count);
  return count;
}

/** Whether the count is a constant other than 0: then nothing is conditional. */
function shiftsCertainly(c: Lowering, size: Size): boolean {
  return c.known !== undefined && (c.known & (size === 8 ? 63 : 31)) !== 0;
}

/** Pushes bit `position` of an i64 local moved to bit 63. */
function bitToTop(c: Lowering, local: number, position: number): void {
  c.e.get(local);
  if (position < 63) c.e.i64(63 - position).op("i64_shl");
}

/**
 * SHL, SHR, SAR. A count of 0 changes nothing, flags included. CF is the last bit shifted out. OF is defined for a
 * count of 1; larger counts give what the same formula yields, as processors do.
 */
function shift(name: "shl" | "shr" | "sar"): Definition {
  return {
    name,
    shapes: SHAPES,
    hot: HOT,
    translated: true,
    access: "br",
    emit(c, [place, source], shape) {
      const { e } = c;
      const size = shape.sizes[0] as Size;
      const bits = size * 8;
      const count = maskedCount(c, source!, size);
      const [value, result, carry] = [e.temporary("i64"), e.temporary("i64"), e.temporary("i64")];
      const certain = shiftsCertainly(c, size);
      if (!certain) e.get(count).i64(0).op("i64_ne").if();
      if (name === "sar") place!.signed(size);
      else place!.unsigned(size);
      e.set(value);
      if (name === "shl") {
        // Shift by count - 1 first: its top bit is the carry.
        e.get(value).get(count).i64(1).op("i64_sub").op("i64_shl").set(carry);
        e.get(carry).i64(1).op("i64_shl").set(result);
      } else {
        const op = name === "shr" ? "i64_shr_u" : "i64_shr_s";
        e.get(value).get(count).i64(1).op("i64_sub").op(op).set(carry);
        e.get(carry).i64(1).op(op).set(result);
      }
      const flagged = e.temporary("i64");
      e.get(result);
      signExtend(e, size);
      e.set(flagged);
      c.flags.explicit(
        () => bitToTop(c, carry, name === "shl" ? bits - 1 : 0),
        () => {
          if (name === "sar") e.i64(0);
          else if (name === "shr") {
            // The top bit before the last step: the operand's sign for a count of 1.
            bitToTop(c, carry, bits - 1);
          } else {
            bitToTop(c, carry, bits - 1);
            e.get(flagged).op("i64_xor");
          }
        },
        () => e.i64(0),
        flagged,
      );
      place!.store(size, () => e.get(result));
      if (!certain) {
        e.else();
        if (size === 4 && shape.memory < 0) place!.store(4, () => place!.unsigned(4));
        e.end();
      }
      e.release("i64", count, value, result, carry, flagged);
    },
  };
}

/** ROL and ROR change CF and OF only; the other flags keep their values. */
function rotate(name: "rol" | "ror"): Definition {
  const left = name === "rol";
  return {
    name,
    shapes: SHAPES,
    hot: HOT,
    translated: true,
    access: "br",
    emit(c, [place, source], shape) {
      const { e } = c;
      const size = shape.sizes[0] as Size;
      const bits = size * 8;
      const count = maskedCount(c, source!, size);
      const [value, result, image] = [e.temporary("i64"), e.temporary("i64"), e.temporary("i64")];
      const certain = shiftsCertainly(c, size);
      if (!certain) e.get(count).i64(0).op("i64_ne").if();
      place!.unsigned(size);
      e.set(value);
      if (size === 8)
        e.get(value)
          .get(count)
          .op(left ? "i64_rotl" : "i64_rotr")
          .set(result);
      else if (size === 4) {
        e.get(value)
          .op("i32_wrap_i64")
          .get(count)
          .op("i32_wrap_i64")
          .op(left ? "i32_rotl" : "i32_rotr");
        e.op("i64_extend_i32_u").set(result);
      } else {
        // Repeat the value through 32 bits; counts beyond the width go round.
        const repeat = size === 1 ? 0x01010101 : 0x00010001;
        e.get(value)
          .i64(repeat)
          .op("i64_mul")
          .op("i32_wrap_i64")
          .get(count)
          .op("i32_wrap_i64")
          .op(left ? "i32_rotl" : "i32_rotr");
        e.i32(size === 1 ? 0xff : 0xffff)
          .op("i32_and")
          .op("i64_extend_i32_u")
          .set(result);
      }
      c.flags.image();
      e.i64(~0x801).op("i64_and").set(image);
      // CF: the bit that arrived at the far end. OF: the two top bits (ROR), or CF against the top bit (ROL).
      const bit = (position: number) => e.get(result).i64(position).op("i64_shr_u").i64(1).op("i64_and");
      if (left) bit(0);
      else bit(bits - 1);
      bit(bits - 1);
      if (left) bit(0);
      else bit(bits - 2);
      e.op("i64_xor").i64(11).op("i64_shl").op("i64_or");
      e.get(image).op("i64_or").set(image);
      c.flags.load(image);
      place!.store(size, () => e.get(result));
      if (!certain) {
        e.else();
        if (size === 4 && shape.memory < 0) place!.store(4, () => place!.unsigned(4));
        e.end();
      }
      e.release("i64", count, value, result, image);
    },
  };
}

/** RCL and RCR rotate through CF, one bit at a time: at most 63 steps, and rare. */
function rotateCarry(name: "rcl" | "rcr"): Definition {
  return {
    name,
    shapes: SHAPES,
    translated: true,
    access: "br",
    emit(c, [place, source], shape) {
      const { e } = c;
      const size = shape.sizes[0] as Size;
      const bits = size * 8;
      const count = maskedCount(c, source!, size);
      const [value, carry, next, image] = [
        e.temporary("i64"),
        e.temporary("i64"),
        e.temporary("i64"),
        e.temporary("i64"),
      ];
      e.get(count).i64(0).op("i64_ne").if();
      if (size < 4)
        e.get(count)
          .i64(bits + 1)
          .op("i64_rem_u")
          .set(count);
      place!.unsigned(size);
      e.set(value);
      c.flags.image();
      e.tee(image).i64(1).op("i64_and").set(carry);
      const done = e.block();
      const loop = e.loop();
      e.get(count).op("i64_eqz").brIf(done);
      if (name === "rcl") {
        e.get(value)
          .i64(bits - 1)
          .op("i64_shr_u")
          .i64(1)
          .op("i64_and")
          .set(next);
        e.get(value).i64(1).op("i64_shl").get(carry).op("i64_or");
        if (size < 8) e.i64(size === 4 ? 0xffffffff : (1 << bits) - 1).op("i64_and");
        e.set(value);
      } else {
        e.get(value).i64(1).op("i64_and").set(next);
        e.get(value)
          .i64(1)
          .op("i64_shr_u")
          .get(carry)
          .i64(bits - 1)
          .op("i64_shl")
          .op("i64_or")
          .set(value);
      }
      e.get(next).set(carry);
      e.get(count).i64(1).op("i64_sub").set(count).br(loop);
      e.end().end();
      const bit = (position: number) => e.get(value).i64(position).op("i64_shr_u").i64(1).op("i64_and");
      e.get(image).i64(~0x801).op("i64_and").get(carry).op("i64_or");
      bit(bits - 1);
      if (name === "rcl") e.get(carry);
      else bit(bits - 2);
      e.op("i64_xor").i64(11).op("i64_shl").op("i64_or").set(image);
      c.flags.load(image);
      place!.store(size, () => e.get(value));
      e.else();
      if (size === 4 && shape.memory < 0) place!.store(4, () => place!.unsigned(4));
      e.end();
      e.release("i64", count, value, carry, next, image);
    },
  };
}

/** SHLD and SHRD. 16-bit operands with a count over 16 are undefined; they behave as a shift of the tripled value. */
function doubleShift(name: "shld" | "shrd"): Definition {
  const left = name === "shld";
  return {
    name,
    shapes: sized(["r#r#v1", "m#r#v1"], [2, 4, 8]),
    translated: true,
    access: "brr",
    emit(c, [place, filler, source], shape) {
      const { e } = c;
      const size = shape.sizes[0] as Size;
      const bits = size * 8;
      const count = maskedCount(c, source!, size);
      const [value, fill, result, carry] = [
        e.temporary("i64"),
        e.temporary("i64"),
        e.temporary("i64"),
        e.temporary("i64"),
      ];
      e.get(count).i64(0).op("i64_ne").if();
      place!.unsigned(size);
      e.set(value);
      filler!.unsigned(size);
      e.set(fill);
      if (size === 8) {
        const [near, far] = left ? (["i64_shl", "i64_shr_u"] as const) : (["i64_shr_u", "i64_shl"] as const);
        e.get(value).get(count).op(near).get(fill).i64(64).get(count).op("i64_sub").op(far).op("i64_or").set(result);
        e.get(value);
        if (left) e.i64(64).get(count).op("i64_sub").op("i64_shr_u");
        else e.get(count).i64(1).op("i64_sub").op("i64_shr_u");
        e.i64(63).op("i64_shl").set(carry);
      } else {
        const wide = e.temporary("i64");
        if (left) {
          // value:fill(:value for 16 bits) from the top down; shift left in 64 bits.
          e.get(value).i64(bits).op("i64_shl").get(fill).op("i64_or");
          if (size === 2) e.i64(16).op("i64_shl").get(value).op("i64_or");
          const width = size === 2 ? 48 : 64;
          e.set(wide);
          e.get(wide)
            .get(count)
            .op("i64_shl")
            .i64(width - bits)
            .op("i64_shr_u")
            .set(result);
          e.get(wide)
            .get(count)
            .i64(1)
            .op("i64_sub")
            .op("i64_shl")
            .i64(64 - width)
            .op("i64_shl")
            .set(carry);
        } else {
          e.get(fill).i64(bits).op("i64_shl").get(value).op("i64_or");
          if (size === 2) e.get(value).i64(32).op("i64_shl").op("i64_or");
          e.set(wide);
          e.get(wide).get(count).op("i64_shr_u").set(result);
          e.get(wide).get(count).i64(1).op("i64_sub").op("i64_shr_u").i64(63).op("i64_shl").set(carry);
        }
        e.release("i64", wide);
      }
      const flagged = e.temporary("i64");
      e.get(result);
      signExtend(e, size);
      e.set(flagged);
      c.flags.explicit(
        () => e.get(carry),
        () => {
          // OF for a count of 1: the sign changed.
          bitToTop(c, value, bits - 1);
          e.get(flagged).op("i64_xor");
        },
        () => e.i64(0),
        flagged,
      );
      place!.store(size, () => e.get(result));
      e.else();
      if (size === 4 && shape.memory < 0) place!.store(4, () => place!.unsigned(4));
      e.end();
      e.release("i64", count, value, fill, result, carry, flagged);
    },
  };
}

/** BMI2 shifts: no flags, the count masked to the operand size. */
function shiftx(name: "shlx" | "shrx" | "sarx"): Definition {
  return {
    name,
    shapes: sized(["r#r#r#", "r#m#r#"], [4, 8]),
    translated: true,
    access: "wrr",
    emit(c, [destination, source, count], shape) {
      const size = shape.sizes[0] as Size;
      destination!.store(size, () => {
        if (name === "sarx") source!.signed(size);
        else source!.unsigned(size);
        count!.unsigned(size);
        c.e.i64(size * 8 - 1).op("i64_and");
        c.e.op(name === "shlx" ? "i64_shl" : name === "shrx" ? "i64_shr_u" : "i64_shr_s");
      });
    },
  };
}

const rorx: Definition = {
  name: "rorx",
  shapes: sized(["r#r#i", "r#m#i"], [4, 8]),
  translated: true,
  access: "wrr",
  emit(c, [destination, source, count], shape) {
    const { e } = c;
    const size = shape.sizes[0] as Size;
    destination!.store(size, () => {
      source!.unsigned(size);
      if (size === 8) {
        count!.unsigned(1);
        e.op("i64_rotr");
      } else {
        e.op("i32_wrap_i64");
        count!.unsigned(1);
        e.op("i32_wrap_i64").op("i32_rotr").op("i64_extend_i32_u");
      }
    });
  },
};

/** Shifts and rotates. `sal` is another name of `shl`. */
export const shiftDefinitions: readonly Definition[] = [
  shift("shl"),
  { ...shift("shl"), name: "sal", hot: [] },
  shift("shr"),
  shift("sar"),
  rotate("rol"),
  rotate("ror"),
  rotateCarry("rcl"),
  rotateCarry("rcr"),
  doubleShift("shld"),
  doubleShift("shrd"),
  shiftx("shlx"),
  shiftx("shrx"),
  shiftx("sarx"),
  rorx,
];
