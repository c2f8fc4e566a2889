import { type Definition, sized } from "../definition.ts";
import { ACCESS } from "../layout.ts";
import { type Lowering, type Size, signExtend, zeroExtend } from "../lowering.ts";

const WIDE: readonly Size[] = [2, 4, 8];

/** Sets CF to bit `position` (i64 local) of `value`; ZF keeps its value, the rest is undefined and kept. */
function bitToCarry(c: Lowering, value: number, position: number): void {
  const { e } = c;
  const image = e.temporary("i64");
  c.flags.image();
  e.i64(~1).op("i64_and").get(value).get(position).op("i64_shr_u").i64(1).op("i64_and").op("i64_or").set(image);
  c.flags.load(image);
  e.release("i64", image);
}

type BitName = "bt" | "bts" | "btr" | "btc";

function applyBit(c: Lowering, name: BitName, value: number, position: number): void {
  const { e } = c;
  e.get(value).i64(1).get(position).op("i64_shl");
  if (name === "bts") e.op("i64_or");
  else if (name === "btc") e.op("i64_xor");
  else e.i64(-1).op("i64_xor").op("i64_and");
}

/** BT and relatives on a register, or on memory with an immediate: the position is taken modulo the size. */
function bitTest(name: BitName): Definition {
  const writes = name !== "bt";
  return {
    name,
    shapes: sized(["r#v#", "m#i"], WIDE),
    hot: name === "bt" ? ["r8v8", "r4v4"] : [],
    translated: true,
    access: writes ? "br" : "rr",
    emit(c, [place, source], shape) {
      const { e } = c;
      const size = shape.sizes[0] as Size;
      const [value, position] = [e.temporary("i64"), e.temporary("i64")];
      place!.unsigned(size);
      e.set(value);
      source!.unsigned(1);
      e.i64(size * 8 - 1)
        .op("i64_and")
        .set(position);
      bitToCarry(c, value, position);
      if (writes) place!.store(size, () => applyBit(c, name, value, position));
      e.release("i64", value, position);
    },
  };
}

/** BT and relatives on memory with a register: the position reaches beyond the operand (SDM 2A, 3.1.1.9). */
function bitTestString(name: BitName): Definition {
  return {
    name: `${name}.string`,
    shapes: sized("m0r#", WIDE),
    translated: true,
    access: "rr",
    emit(c, [, source], shape) {
      const { e } = c;
      const size = shape.sizes[1] as Size;
      const [value, position, address] = [e.temporary("i64"), e.temporary("i64"), e.temporary("i64")];
      source!.signed(size);
      e.set(position);
      c.effectiveAddress(false);
      const shift = size === 8 ? 6 : size === 4 ? 5 : 4;
      e.get(position)
        .i64(shift)
        .op("i64_shr_s")
        .i64(shift - 3)
        .op("i64_shl")
        .op("i64_add");
      c.addressMask();
      e.op("i64_and");
      c.segmentBase();
      e.op("i64_add");
      c.wrap();
      e.set(address);
      e.get(position)
        .i64(size * 8 - 1)
        .op("i64_and")
        .set(position);
      const host = c.translate(address, size, name === "bt" ? ACCESS.READ : ACCESS.WRITE);
      e.get(host)
        .mem(size === 8 ? "i64_load" : size === 4 ? "i64_load32_u" : "i64_load16_u")
        .set(value);
      bitToCarry(c, value, position);
      if (name !== "bt") {
        e.get(host);
        applyBit(c, name, value, position);
        e.mem(size === 8 ? "i64_store" : size === 4 ? "i64_store32" : "i64_store16");
      }
      e.release("i64", value, position, address);
    },
  };
}

/** BSF and BSR: ZF tells a zero source, whose destination stays (as AMD documents and Intel does). */
function bitScan(name: "bsf" | "bsr"): Definition {
  return {
    name,
    shapes: sized(["r#r#", "r#m#"], WIDE),
    hot: ["r4r4", "r8r8"],
    translated: true,
    access: "wr",
    emit(c, [destination, source], shape) {
      const { e } = c;
      const size = shape.sizes[0] as Size;
      const value = e.temporary("i64");
      source!.unsigned(size);
      e.set(value);
      const zero = e.temporary("i64");
      // Only ZF is defined; the flags are those of comparing the source with zero.
      e.get(value);
      signExtend(e, size);
      e.set(zero);
      c.flags.logic(zero);
      e.get(value).op("i64_eqz").op("i32_eqz").if();
      destination!.store(size, () => {
        if (name === "bsf") e.get(value).op("i64_ctz");
        else e.i64(63).get(value).op("i64_clz").op("i64_sub");
      });
      e.end();
      e.release("i64", value, zero);
    },
  };
}

/** TZCNT and LZCNT: CF tells a zero source, ZF a zero result. */
function countZeros(name: "tzcnt" | "lzcnt"): Definition {
  return {
    name,
    shapes: sized(["r#r#", "r#m#"], WIDE),
    translated: true,
    access: "wr",
    emit(c, [destination, source], shape) {
      const { e } = c;
      const size = shape.sizes[0] as Size;
      const bits = size * 8;
      const [value, result, carry] = [e.temporary("i64"), e.temporary("i64"), e.temporary("i64")];
      source!.unsigned(size);
      e.set(value);
      if (name === "tzcnt") {
        e.get(value);
        if (size < 8) e.i64(2 ** bits).op("i64_or");
        e.op("i64_ctz").set(result);
      } else
        e.get(value)
          .op("i64_clz")
          .i64(64 - bits)
          .op("i64_sub")
          .set(result);
      e.get(value).op("i64_eqz").op("i64_extend_i32_u").i64(63).op("i64_shl").set(carry);
      c.flags.explicit(
        () => e.get(carry),
        () => e.i64(0),
        () => e.i64(0),
        result,
      );
      destination!.store(size, () => e.get(result));
      e.release("i64", value, result, carry);
    },
  };
}

const popcnt: Definition = {
  name: "popcnt",
  shapes: sized(["r#r#", "r#m#"], WIDE),
  translated: true,
  access: "wr",
  emit(c, [destination, source], shape) {
    const { e } = c;
    const size = shape.sizes[0] as Size;
    const [value, zero] = [e.temporary("i64"), e.temporary("i64")];
    source!.unsigned(size);
    e.set(value);
    // All flags cleared but ZF; PF is cleared too, hence the fixed odd-parity value 1.
    e.get(value).op("i64_eqz").op("i64_extend_i32_u").i64(6).op("i64_shl").set(zero);
    c.flags.load(zero);
    destination!.store(size, () => e.get(value).op("i64_popcnt"));
    e.release("i64", value, zero);
  },
};

/** ANDN, BLSI, BLSR, BLSMSK, BEXTR, BZHI. */
const andn: Definition = {
  name: "andn",
  shapes: sized(["r#r#r#", "r#r#m#"], [4, 8]),
  translated: true,
  access: "wrr",
  emit(c, [destination, mask, source], shape) {
    const { e } = c;
    const size = shape.sizes[0] as Size;
    const result = e.temporary("i64");
    mask!.signed(size);
    e.i64(-1).op("i64_xor");
    source!.signed(size);
    e.op("i64_and").set(result);
    c.flags.logic(result);
    destination!.store(size, () => e.get(result));
    e.release("i64", result);
  },
};

function lowestBit(name: "blsi" | "blsr" | "blsmsk"): Definition {
  return {
    name,
    shapes: sized(["r#r#", "r#m#"], [4, 8]),
    translated: true,
    access: "wr",
    emit(c, [destination, source], shape) {
      const { e } = c;
      const size = shape.sizes[0] as Size;
      const [value, result, carry] = [e.temporary("i64"), e.temporary("i64"), e.temporary("i64")];
      source!.signed(size);
      e.set(value);
      if (name === "blsi") e.get(value).i64(0).get(value).op("i64_sub").op("i64_and");
      else
        e.get(value)
          .i64(1)
          .op("i64_sub")
          .get(value)
          .op(name === "blsr" ? "i64_and" : "i64_xor");
      signExtend(e, size);
      e.set(result);
      e.get(value).op("i64_eqz");
      if (name === "blsi") e.op("i32_eqz");
      e.op("i64_extend_i32_u").i64(63).op("i64_shl").set(carry);
      c.flags.explicit(
        () => e.get(carry),
        () => e.i64(0),
        () => e.i64(0),
        result,
      );
      destination!.store(size, () => e.get(result));
      e.release("i64", value, result, carry);
    },
  };
}

/** Pushes a mask of the low `count` bits (i64 local, any value; 64 and more give all ones). */
function lowMask(c: Lowering, count: number): void {
  const { e } = c;
  e.i64(1).get(count).op("i64_shl").i64(1).op("i64_sub").i64(-1).get(count).i64(64).op("i64_lt_u").op("select");
}

const bextr: Definition = {
  name: "bextr",
  shapes: sized(["r#r#r#", "r#m#r#"], [4, 8]),
  translated: true,
  access: "wrr",
  emit(c, [destination, source, control], shape) {
    const { e } = c;
    const size = shape.sizes[0] as Size;
    const [start, count, result] = [e.temporary("i64"), e.temporary("i64"), e.temporary("i64")];
    control!.unsigned(size);
    e.tee(start).i64(8).op("i64_shr_u").i64(0xff).op("i64_and").set(count);
    e.get(start).i64(0xff).op("i64_and").set(start);
    source!.unsigned(size);
    e.get(start).op("i64_shr_u").i64(0).get(start).i64(64).op("i64_lt_u").op("select");
    lowMask(c, count);
    e.op("i64_and");
    // SF is undefined; ZF alone matters.
    signExtend(e, size);
    e.set(result);
    c.flags.logic(result);
    destination!.store(size, () => e.get(result));
    e.release("i64", start, count, result);
  },
};

const bzhi: Definition = {
  name: "bzhi",
  shapes: sized(["r#r#r#", "r#m#r#"], [4, 8]),
  translated: true,
  access: "wrr",
  emit(c, [destination, source, index], shape) {
    const { e } = c;
    const size = shape.sizes[0] as Size;
    const [count, result, carry] = [e.temporary("i64"), e.temporary("i64"), e.temporary("i64")];
    index!.unsigned(1);
    e.set(count);
    source!.unsigned(size);
    lowMask(c, count);
    e.op("i64_and");
    signExtend(e, size);
    e.set(result);
    e.get(count)
      .i64(size * 8 - 1)
      .op("i64_gt_u")
      .op("i64_extend_i32_u")
      .i64(63)
      .op("i64_shl")
      .set(carry);
    c.flags.explicit(
      () => e.get(carry),
      () => e.i64(0),
      () => e.i64(0),
      result,
    );
    destination!.store(size, () => e.get(result));
    e.release("i64", count, result, carry);
  },
};

/** PDEP and PEXT, one mask bit at a time. */
function bitGather(name: "pdep" | "pext"): Definition {
  return {
    name,
    shapes: sized(["r#r#r#", "r#r#m#"], [4, 8]),
    translated: true,
    access: "wrr",
    emit(c, [destination, source, selector], shape) {
      const { e } = c;
      const size = shape.sizes[0] as Size;
      const t = () => e.temporary("i64");
      const [value, mask, low, bit, result] = [t(), t(), t(), t(), t()];
      source!.unsigned(size);
      e.set(value);
      selector!.unsigned(size);
      e.set(mask);
      e.i64(1).set(bit).i64(0).set(result);
      const done = e.block();
      const loop = e.loop();
      e.get(mask).op("i64_eqz").brIf(done);
      e.get(mask).i64(0).get(mask).op("i64_sub").op("i64_and").set(low);
      e.get(value)
        .get(name === "pdep" ? bit : low)
        .op("i64_and")
        .i64(0)
        .op("i64_ne")
        .if();
      e.get(result)
        .get(name === "pdep" ? low : bit)
        .op("i64_or")
        .set(result)
        .end();
      e.get(bit).i64(1).op("i64_shl").set(bit);
      e.get(mask).get(low).op("i64_xor").set(mask).br(loop);
      e.end().end();
      destination!.store(size, () => e.get(result));
      e.release("i64", value, mask, low, bit, result);
    },
  };
}

/** CRC32 with the Castagnoli polynomial, reflected; a bit at a time. */
const crc32: Definition = {
  name: "crc32",
  shapes: ["r4r1", "r4m1", "r4r2", "r4m2", "r4r4", "r4m4", "r8r1", "r8m1", "r8r8", "r8m8"],
  translated: true,
  access: "br",
  emit(c, [destination, source], shape) {
    const { e } = c;
    const size = shape.sizes[1] as Size;
    const [crc, count] = [e.temporary("i64"), e.temporary("i32")];
    destination!.unsigned(4);
    source!.unsigned(size);
    e.op("i64_xor").set(crc);
    e.i32(size * 8).set(count);
    const loop = e.loop();
    e.get(crc).i64(1).op("i64_shr_u");
    e.i64(0).get(crc).i64(1).op("i64_and").op("i64_sub").i64(0x82f63b78).op("i64_and").op("i64_xor").set(crc);
    e.get(count).i32(1).op("i32_sub").tee(count).brIf(loop);
    e.end();
    destination!.store(8, () => {
      e.get(crc);
      zeroExtend(e, 4);
    });
    e.release("i64", crc);
    e.release("i32", count);
  },
};

const BIT_NAMES = ["bt", "bts", "btr", "btc"] as const;

/** Bit tests, scans, counts and the BMI instructions. */
export const bitDefinitions: readonly Definition[] = [
  ...BIT_NAMES.map(bitTest),
  ...BIT_NAMES.map(bitTestString),
  bitScan("bsf"),
  bitScan("bsr"),
  countZeros("tzcnt"),
  countZeros("lzcnt"),
  popcnt,
  andn,
  lowestBit("blsi"),
  lowestBit("blsr"),
  lowestBit("blsmsk"),
  bextr,
  bzhi,
  bitGather("pdep"),
  bitGather("pext"),
  crc32,
];
