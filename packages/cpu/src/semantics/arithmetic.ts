import { type Definition, sized } from "../definition.ts";
import { combine, type Lowering, type Place, type Size, signExtend, zeroExtend } from "../lowering.ts";

const ALL: readonly Size[] = [1, 2, 4, 8];
const FORMS = ["r#v#", "r#m#", "m#v#"];

/** Loads both operands sign-extended into fresh temporaries. */
function operands(c: Lowering, left: Place, right: Place, size: Size): [number, number] {
  const { e } = c;
  const a = e.temporary("i64");
  const b = e.temporary("i64");
  left.signed(size);
  e.set(a);
  right.signed(size);
  e.set(b);
  return [a, b];
}

type Arithmetic = "add" | "adc" | "sub" | "sbb" | "cmp";

function arithmetic(name: Arithmetic): Definition {
  const adds = name === "add" || name === "adc";
  const carries = name === "adc" || name === "sbb";
  const writes = name !== "cmp";
  return {
    name,
    shapes: sized(FORMS, ALL),
    hot: carries ? sized(["r#v#"], [4, 8]) : sized(FORMS, ALL),
    translated: true,
    access: writes ? "br" : "rr",
    emit(c, [left, right], shape) {
      const { e } = c;
      const size = shape.sizes[0] as Size;
      const [a, b] = operands(c, left!, right!, size);
      const result = e.temporary("i64");
      combine(e, adds ? "add" : "sub", size, a, b);
      if (carries) {
        c.flags.carryBit();
        e.op(adds ? "i64_add" : "i64_sub");
        signExtend(e, size);
      }
      e.set(result);
      if (carries && adds) c.flags.addWithCarry(a, b, result);
      else if (carries) c.flags.subtractWithBorrow(a, b, result);
      else if (adds) c.flags.add(a, b, result, size);
      else c.flags.subtract(a, b, result, size);
      if (writes) left!.store(size, () => e.get(result));
      e.release("i64", a, b, result);
    },
  };
}

function logic(name: "and" | "or" | "xor" | "test"): Definition {
  const op = name === "test" ? "and" : name;
  return {
    name,
    shapes: sized(name === "test" ? ["r#v#", "m#v#"] : FORMS, ALL),
    hot: sized(name === "test" ? ["r#v#", "m#v#"] : FORMS, ALL),
    translated: true,
    access: name === "test" ? "rr" : "br",
    emit(c, [left, right], shape) {
      const { e } = c;
      const size = shape.sizes[0] as Size;
      const [a, b] = operands(c, left!, right!, size);
      const result = e.temporary("i64");
      combine(e, op, size, a, b);
      e.set(result);
      c.flags.logic(result, size);
      if (name !== "test") left!.store(size, () => e.get(result));
      e.release("i64", a, b, result);
    },
  };
}

/** INC and DEC leave CF as it was. */
function step(name: "inc" | "dec"): Definition {
  return {
    name,
    shapes: sized(["r#", "m#"], ALL),
    hot: ["r4", "r8", "m4", "m8"],
    translated: true,
    access: "b",
    emit(c, [place], shape) {
      const { e } = c;
      const size = shape.sizes[0] as Size;
      const before = e.temporary("i64");
      const result = e.temporary("i64");
      const one = e.temporary("i64");
      place!.signed(size);
      e.set(before);
      e.i64(1).set(one);
      combine(e, name === "inc" ? "add" : "sub", size, before, one);
      e.set(result);
      c.flags.step(name, result, size);
      place!.store(size, () => e.get(result));
      e.release("i64", before, result, one);
    },
  };
}

const neg: Definition = {
  name: "neg",
  shapes: sized(["r#", "m#"], ALL),
  hot: ["r4", "r8"],
  translated: true,
  access: "b",
  emit(c, [place], shape) {
    const { e } = c;
    const size = shape.sizes[0] as Size;
    const zero = e.temporary("i64");
    const value = e.temporary("i64");
    const result = e.temporary("i64");
    e.i64(0).set(zero);
    place!.signed(size);
    e.set(value);
    combine(e, "sub", size, zero, value);
    e.set(result);
    c.flags.subtract(zero, value, result, size);
    place!.store(size, () => e.get(result));
    e.release("i64", zero, value, result);
  },
};

const not: Definition = {
  name: "not",
  shapes: sized(["r#", "m#"], ALL),
  hot: ["r4", "r8"],
  translated: true,
  access: "b",
  emit(c, [place], shape) {
    const { e } = c;
    const size = shape.sizes[0] as Size;
    const result = e.temporary("i64");
    place!.signed(size);
    e.i64(-1).op("i64_xor").set(result);
    place!.store(size, () => e.get(result));
    e.release("i64", result);
  },
};

/** Pushes the high 64 bits of the product of two i64 locals. */
export function multiplyHigh(c: Lowering, a: number, b: number, signed: boolean): void {
  const { e } = c;
  const [low, cross1, cross2] = [e.temporary("i64"), e.temporary("i64"), e.temporary("i64")];
  const lo = (local: number) => e.get(local).i64Halves(-1, 0).op("i64_and");
  const hi = (local: number) => e.get(local).i64(32).op("i64_shr_u");
  lo(a);
  lo(b);
  e.op("i64_mul").set(low);
  hi(a);
  lo(b);
  e.op("i64_mul");
  hi(low);
  e.op("i64_add").set(cross1);
  lo(a);
  hi(b);
  e.op("i64_mul");
  lo(cross1);
  e.op("i64_add").set(cross2);
  hi(a);
  hi(b);
  e.op("i64_mul");
  hi(cross1);
  e.op("i64_add");
  hi(cross2);
  e.op("i64_add");
  if (signed) {
    e.get(a).i64(63).op("i64_shr_s").get(b).op("i64_and").op("i64_sub");
    e.get(b).i64(63).op("i64_shr_s").get(a).op("i64_and").op("i64_sub");
  }
  e.release("i64", low, cross1, cross2);
}

/** CF = OF = `overflow` (i64 with bit 63); SF, ZF, PF are undefined: taken from the result, as AMD and Intel do for SF. */
function multiplyFlags(c: Lowering, overflow: () => void, result: number): void {
  const { e } = c;
  const flag = e.temporary("i64");
  overflow();
  e.set(flag);
  c.flags.explicit(
    () => e.get(flag),
    () => e.get(flag),
    () => e.i64(0),
    result,
  );
  e.release("i64", flag);
}

/** Pushes an i64 whose bit 63 tells that two i64 on the stack differ. */
function differs(e: Lowering["e"]): void {
  e.op("i64_ne").op("i64_extend_i32_u").i64(63).op("i64_shl");
}

/** One-operand MUL and IMUL: rDX:rAX (AX for bytes) = rAX × operand. */
function multiply(name: "mul" | "imul"): Definition {
  const signed = name === "imul";
  return {
    name,
    shapes: sized(["r#", "m#"], ALL),
    hot: ["r4", "r8"],
    translated: true,
    access: "r",
    emit(c, [place], shape) {
      const { e } = c;
      const size = shape.sizes[0] as Size;
      const rax = c.register(0);
      const rdx = c.register(2);
      const [a, b, low, high] = [e.temporary("i64"), e.temporary("i64"), e.temporary("i64"), e.temporary("i64")];
      const load = (from: Place) => (signed ? from.signed(size) : from.unsigned(size));
      load(rax);
      e.set(a);
      load(place!);
      e.set(b);
      e.get(a).get(b).op("i64_mul").set(low);
      if (size === 8) {
        multiplyHigh(c, a, b, signed);
        e.set(high);
        rax.store(8, () => e.get(low));
        rdx.store(8, () => e.get(high));
      } else {
        e.get(low)
          .i64(size * 8)
          .op("i64_shr_s")
          .set(high);
        if (size === 1) rax.store(2, () => e.get(low));
        else {
          rax.store(size, () => e.get(low));
          rdx.store(size, () => e.get(high));
        }
      }
      const result = e.temporary("i64");
      e.get(low);
      signExtend(e, size);
      e.set(result);
      multiplyFlags(
        c,
        () => {
          if (signed && size === 8) {
            e.get(high).get(low).i64(63).op("i64_shr_s");
            differs(e);
          } else if (signed) {
            e.get(low).get(result);
            differs(e);
          } else {
            e.get(high);
            zeroExtend(e, size);
            e.i64(0);
            differs(e);
          }
        },
        result,
      );
      e.release("i64", a, b, low, high, result);
    },
  };
}

/** Two- and three-operand IMUL. */
const multiplyInto: Definition = {
  name: "imul",
  shapes: sized(["r#r#", "r#m#", "r#r#i", "r#m#i"], [2, 4, 8]),
  hot: sized(["r#r#", "r#m#", "r#r#i"], [4, 8]),
  translated: true,
  access: "brr",
  emit(c, [destination, source, immediate], shape) {
    const { e } = c;
    const size = shape.sizes[0] as Size;
    const [left, right] = immediate ? [source!, immediate] : [destination!, source!];
    const [a, b] = operands(c, left, right, size);
    const [product, result] = [e.temporary("i64"), e.temporary("i64")];
    e.get(a).get(b).op("i64_mul").set(product);
    combine(e, "mul", size, a, b);
    e.set(result);
    multiplyFlags(
      c,
      () => {
        if (size === 8) {
          multiplyHigh(c, a, b, true);
          e.get(product).i64(63).op("i64_shr_s");
        } else e.get(product).get(result);
        differs(e);
      },
      result,
    );
    destination!.store(size, () => e.get(result));
    e.release("i64", a, b, product, result);
  },
};

/** CBW/CWDE/CDQE and CWD/CDQ/CQO, by operand size. */
const converts: Definition[] = (
  [
    ["cbw.2", 1, 2, false],
    ["cbw.4", 2, 4, false],
    ["cbw.8", 4, 8, false],
    ["cwd.2", 2, 2, true],
    ["cwd.4", 4, 4, true],
    ["cwd.8", 8, 8, true],
  ] as const
).map(([name, from, to, high]) => ({
  name,
  shapes: [""],
  hot: [""],
  access: "",
  emit(c) {
    const rax = c.register(0);
    if (!high) rax.store(to, () => rax.signed(from));
    else
      c.register(2).store(to, () => {
        rax.signed(from);
        c.e.i64(63).op("i64_shr_s");
      });
  },
}));

/** ADCX and ADOX: additions that touch CF or OF alone. */
function carryChain(name: "adcx" | "adox"): Definition {
  return {
    name,
    shapes: sized(["r#r#", "r#m#"], [4, 8]),
    translated: true,
    access: "br",
    emit(c, [destination, source], shape) {
      const { e } = c;
      const size = shape.sizes[0] as Size;
      const [a, b, sum, image, out] = [0, 0, 0, 0, 0].map(() => e.temporary("i64")) as [
        number,
        number,
        number,
        number,
        number,
      ];
      destination!.unsigned(size);
      e.set(a);
      source!.unsigned(size);
      e.set(b);
      c.flags.image();
      e.set(image);
      const position = name === "adcx" ? 0 : 11;
      e.get(a)
        .get(b)
        .op("i64_add")
        .get(image)
        .i64(position)
        .op("i64_shr_u")
        .i64(1)
        .op("i64_and")
        .op("i64_add")
        .set(sum);
      if (size === 8) {
        e.get(a)
          .get(b)
          .op("i64_and")
          .get(a)
          .get(b)
          .op("i64_or")
          .get(sum)
          .i64(-1)
          .op("i64_xor")
          .op("i64_and")
          .op("i64_or");
        e.i64(63).op("i64_shr_u").set(out);
      } else e.get(sum).i64(32).op("i64_shr_u").set(out);
      e.get(image)
        .i64(~(1 << position))
        .op("i64_and")
        .get(out)
        .i64(position)
        .op("i64_shl")
        .op("i64_or")
        .set(image);
      c.flags.load(image);
      destination!.store(size, () => e.get(sum));
      e.release("i64", a, b, sum, image, out);
    },
  };
}

/** MULX: unsigned multiply without flags; the high half wins when both destinations are one register. */
const mulx: Definition = {
  name: "mulx",
  shapes: sized(["r#r#r#", "r#r#m#"], [4, 8]),
  translated: true,
  access: "wwr",
  emit(c, [high, low, source], shape) {
    const { e } = c;
    const size = shape.sizes[0] as Size;
    const [a, b] = [e.temporary("i64"), e.temporary("i64")];
    c.register(2).unsigned(size);
    e.set(a);
    source!.unsigned(size);
    e.set(b);
    low!.store(size, () => e.get(a).get(b).op("i64_mul"));
    high!.store(size, () => {
      if (size === 8) multiplyHigh(c, a, b, false);
      else e.get(a).get(b).op("i64_mul").i64(32).op("i64_shr_u");
    });
    e.release("i64", a, b);
  },
};

/** Integer arithmetic and logic. */
export const arithmeticDefinitions: readonly Definition[] = [
  arithmetic("add"),
  arithmetic("adc"),
  arithmetic("sub"),
  arithmetic("sbb"),
  arithmetic("cmp"),
  logic("and"),
  logic("or"),
  logic("xor"),
  logic("test"),
  step("inc"),
  step("dec"),
  neg,
  not,
  multiply("mul"),
  multiply("imul"),
  multiplyInto,
  ...converts,
  carryChain("adcx"),
  carryChain("adox"),
  mulx,
];
