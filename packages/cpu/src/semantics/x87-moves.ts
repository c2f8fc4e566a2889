import type { Definition } from "../definition.ts";
import { Local32, Script } from "../expressions.ts";
import { defineHelper, type Helper } from "../helpers.ts";
import { ACCESS, STATE } from "../layout.ts";
import type { Lowering, Place, X87Registers } from "../lowering.ts";
import {
  integerRounding,
  loadDouble,
  loadInteger,
  loadSingle,
  storeDouble,
  storeInteger,
  storeSingle,
} from "./x87-convert.ts";
import { emitFastInteger, emitFastLoad, emitFastPush } from "./x87-fast.ts";
import { copyTop, exchange, loadRegister, moveIf } from "./x87-functions.ts";
import {
  BIAS,
  begin,
  beginMemory,
  clearC1,
  FSW,
  indexOf,
  isValid,
  loadExtended,
  newExtended,
  physical,
  pop,
  pushIfRoom,
  RC,
  raise,
  registerAt,
  roundingControl,
  SIGN,
  SPECIAL,
  statusWord,
  TOP_MASK,
} from "./x87-state.ts";

/** Locals of the instruction that is being emitted; to be released. */
function temporaries(c: Lowering, count: number): Local32[] {
  return Array.from({ length: count }, () => new Local32(c.e, c.e.temporary("i32")));
}

/** Copies the 16 bytes of a register. */
function copyRegister(c: Lowering, to: Local32, from: Local32): void {
  c.e.get(to.index).get(from.index).simdMem("v128_load").simdMem("v128_store");
}

/** FLD ST(i): the usual case here, the rest in the helper. */
function loadFromRegister(c: Lowering, source: Place): void {
  const { x87 } = c;
  if (x87) {
    begin(c, true);
    x87.require(c, source.index!, true);
    x87.require(c, -1, false);
    const { significand, signExponent } = x87.value(source.index!);
    emitFastPush(c, x87, significand, signExponent);
    return;
  }
  const s = begin(c);
  const [word, tags, from, to] = temporaries(c, 4) as [Local32, Local32, Local32, Local32];
  word.set(statusWord(s));
  tags.set(s.load32(0, STATE.ftw));
  from.set(word.shr(11).add(indexOf(c, source)).and(7));
  to.set(word.shr(11).sub(1).and(7));
  s.if(
    tags.shr(from).and(tags.shr(to).xor(1)).and(1),
    () => {
      s.store32(0, STATE.fsw, word.and(~(TOP_MASK | FSW.C1)).or(to.shl(11)));
      s.store32(0, STATE.ftw, tags.or(s.i32(1).shl(to)));
      from.set(registerAt(from));
      to.set(registerAt(to));
      copyRegister(c, to, from);
    },
    () => s.run(loadRegister, indexOf(c, source)),
  );
  c.e.release("i32", word.index, tags.index, from.index, to.index);
}

/** Copies ST(0) to another register. */
function storeToRegister(c: Lowering, x87: X87Registers, destination: Place): void {
  begin(c, true);
  x87.require(c, 0, true);
  x87.conclude();
  if (destination.index === 0) return;
  const { significand, signExponent } = x87.value(0);
  const target = x87.target(destination.index!);
  target.significand.set(significand);
  target.signExponent.set(signExponent);
}

/** FSTP ST(i): the same. */
function popToRegister(c: Lowering, destination: Place): void {
  const { e, x87 } = c;
  if (x87) {
    storeToRegister(c, x87, destination);
    x87.pop();
    return;
  }
  const s = begin(c);
  const [word, tags, top, to] = temporaries(c, 4) as [Local32, Local32, Local32, Local32];
  word.set(statusWord(s));
  tags.set(s.load32(0, STATE.ftw));
  top.set(word.shr(11).and(7));
  s.if(
    tags.shr(top).and(1),
    () => {
      to.set(word.shr(11).add(indexOf(c, destination)).and(7));
      s.store32(0, STATE.fsw, word.and(~(TOP_MASK | FSW.C1)).or(word.add(0x800).and(TOP_MASK)));
      s.store32(0, STATE.ftw, tags.or(s.i32(1).shl(to)).and(s.i32(1).shl(top).xor(-1)));
      top.set(registerAt(top));
      to.set(registerAt(to));
      copyRegister(c, to, top);
    },
    () => {
      s.run(copyTop, indexOf(c, destination));
      e.if();
      s.run(pop);
      e.end();
    },
  );
  e.release("i32", word.index, tags.index, top.index, to.index);
}

/** FSTPNCE, D9 D8+i: a pop to a register that reports no stack underflow; an empty top is dropped, nothing else changes. */
const fstpnce: Definition = {
  name: "fstpnce",
  shapes: ["s"],
  access: "",
  emit(c, [destination]) {
    if (c.x87) {
      popToRegister(c, destination!);
      return;
    }
    const s = begin(c);
    const [word, tags, top] = temporaries(c, 3) as [Local32, Local32, Local32];
    word.set(statusWord(s));
    tags.set(s.load32(0, STATE.ftw));
    top.set(word.shr(11).and(7));
    s.if(
      tags.shr(top).and(1),
      () => popToRegister(c, destination!),
      () => s.store32(0, STATE.fsw, word.and(~(TOP_MASK | FSW.C1)).or(word.add(0x800).and(TOP_MASK))),
    );
    c.e.release("i32", word.index, tags.index, top.index);
  },
};

const fld: Definition = {
  name: "fld",
  shapes: ["m4", "m8", "m10", "s"],
  hot: ["m8", "m10", "s"],
  access: "",
  emit(c, [source], shape) {
    if (shape.memory < 0) {
      loadFromRegister(c, source!);
      return;
    }
    const { x87 } = c;
    const { s, address } = beginMemory(c, shape.sizes[0]!, ACCESS.READ, true);
    const size = shape.sizes[0];
    if (size === 4 || size === 8) {
      const bits = s.load64(address, 0, size === 4 ? "i64_load32_u" : "i64_load");
      if (x87) emitFastLoad(c, x87, bits, size);
      else s.run(size === 4 ? loadSingle : loadDouble, bits);
      return;
    }
    const [significand, word] = [s.load64(address), s.load32(address, 8, "i32_load16_u")];
    if (x87) emitFastPush(c, x87, significand, word);
    else s.run(pushIfRoom, significand, word);
  },
};

const fild: Definition = {
  name: "fild",
  shapes: ["m2", "m4", "m8"],
  hot: ["m4", "m8"],
  access: "",
  emit(c, _places, shape) {
    const { x87 } = c;
    const { s, address } = beginMemory(c, shape.sizes[0]!, ACCESS.READ, true);
    const load = { 2: "i64_load16_s", 4: "i64_load32_s", 8: "i64_load" } as const;
    const value = s.load64(address, 0, load[shape.sizes[0] as 2 | 4 | 8]);
    if (x87) emitFastInteger(c, x87, value);
    else s.run(loadInteger, value);
  },
};

/** () → significand, sign and exponent, 1 when they are to be stored: FSTP m80. */
const storeExtendedValue: Helper = defineHelper(
  "x87.store10",
  { parameters: [], results: ["i64", "i32", "i32"] },
  (e, call) => {
    const s = new Script(e, call);
    const value = newExtended(s);
    s.if(isValid(s, physical(s, 0)).not(), () => {
      s.if(s.call32(raise, FSW.IE | FSW.SF), () => s.return(s.i64(0), 0, 0));
      s.return(s.i64(3n << 62n), SIGN | SPECIAL, 1);
    });
    loadExtended(s, value, registerAt(physical(s, 0)));
    clearC1(s);
    s.return(value.significand, value.signExponent, 1);
    e.op("unreachable");
  },
);

const NARROW_STORE = { 2: "i64_store16", 4: "i64_store32", 8: "i64_store" } as const;

/** Stores the bits that `helper` leaves, if it says so, then pops. */
function storeBits(c: Lowering, size: number, pops: boolean, compute: (s: Script) => void): void {
  const { e } = c;
  const { s, address } = beginMemory(c, size, ACCESS.WRITE);
  const [bits, store] = [e.temporary("i64"), e.temporary("i32")];
  compute(s);
  e.set(store).set(bits).get(store).if();
  address.push();
  e.get(bits).mem(NARROW_STORE[size as 2 | 4 | 8]);
  if (pops) s.run(pop);
  e.end();
  e.release("i64", bits);
  e.release("i32", store);
}

function fst(name: "fst" | "fstp"): Definition {
  const pops = name === "fstp";
  return {
    name,
    shapes: pops ? ["m4", "m8", "m10", "s"] : ["m4", "m8", "s"],
    hot: pops ? ["m8", "m10", "s"] : [],
    access: "",
    emit(c, [destination], shape) {
      const { e } = c;
      if (shape.memory < 0) {
        if (pops) {
          popToRegister(c, destination!);
          return;
        }
        if (c.x87) {
          storeToRegister(c, c.x87, destination!);
          return;
        }
        begin(c).run(copyTop, indexOf(c, destination!));
        e.op("drop");
      } else if (shape.sizes[0] === 10) {
        const { x87 } = c;
        const { s, address } = beginMemory(c, 10, ACCESS.WRITE, true);
        if (x87) {
          x87.require(c, 0, true);
          const { significand, signExponent } = x87.value(0);
          s.store64(address, 0, significand);
          s.store32(address, 8, signExponent, "i32_store16");
          x87.conclude();
          x87.pop();
          return;
        }
        const [significand, word, store] = [e.temporary("i64"), e.temporary("i32"), e.temporary("i32")];
        s.run(storeExtendedValue);
        e.set(store).set(word).set(significand).get(store).if();
        address.push();
        e.get(significand).mem("i64_store");
        address.push();
        e.get(word).mem("i32_store16", 8);
        s.run(pop);
        e.end();
        e.release("i64", significand);
        e.release("i32", word, store);
      } else storeBits(c, shape.sizes[0]!, pops, (s) => s.run(shape.sizes[0] === 4 ? storeSingle : storeDouble));
    },
  };
}

function fist(name: "fist" | "fistp" | "fisttp"): Definition {
  return {
    name,
    shapes: name === "fist" ? ["m2", "m4"] : ["m2", "m4", "m8"],
    access: "",
    emit(c, _places, shape) {
      const size = shape.sizes[0]!;
      storeBits(c, size, name !== "fist", (s) => s.run(storeInteger, size * 8, integerRounding(s, name === "fisttp")));
    },
  };
}

const fxch: Definition = {
  name: "fxch",
  shapes: ["s"],
  hot: ["s"],
  access: "",
  emit(c, [other]) {
    const { e, x87 } = c;
    if (x87) {
      begin(c, true);
      x87.require(c, 0, true);
      x87.require(c, other!.index!, true);
      x87.conclude();
      x87.exchange(other!.index!);
      return;
    }
    const s = begin(c);
    const held = e.temporary("v128");
    const [word, tags, top, from] = temporaries(c, 4) as [Local32, Local32, Local32, Local32];
    word.set(statusWord(s));
    tags.set(s.load32(0, STATE.ftw));
    top.set(word.shr(11).and(7));
    from.set(word.shr(11).add(indexOf(c, other!)).and(7));
    s.if(
      tags.shr(top).and(tags.shr(from)).and(1),
      () => {
        s.store32(0, STATE.fsw, word.and(~FSW.C1));
        top.set(registerAt(top));
        from.set(registerAt(from));
        e.get(top.index).simdMem("v128_load").set(held);
        copyRegister(c, top, from);
        e.get(from.index).get(held).simdMem("v128_store");
      },
      () => s.run(exchange, indexOf(c, other!)),
    );
    e.release("v128", held);
    e.release("i32", word.index, tags.index, top.index, from.index);
  },
};

/** The condition of FCMOVcc as Jcc numbers it. */
const CONDITIONS = { b: 2, e: 4, be: 6, u: 10, nb: 3, ne: 5, nbe: 7, nu: 11 } as const;

const conditionalMoves = Object.entries(CONDITIONS).map(
  ([suffix, condition]): Definition => ({
    name: `fcmov${suffix}`,
    shapes: ["ss"],
    hot: ["ss"],
    access: "",
    emit(c, [, source]) {
      const { x87 } = c;
      if (x87) {
        const taken = new Local32(c.e, c.e.temporary("i32"));
        begin(c, true);
        x87.require(c, 0, true);
        x87.require(c, source!.index!, true);
        c.flags.condition(condition);
        c.e.set(taken.index);
        const [top, other] = [x87.value(0), x87.value(source!.index!)];
        const target = x87.target(0);
        target.significand.set(taken.chooseWide(other.significand, top.significand));
        target.signExponent.set(taken.choose(other.signExponent, top.signExponent));
        c.e.release("i32", taken.index);
        return;
      }
      const s = begin(c);
      indexOf(c, source!).push();
      c.flags.condition(condition);
      s.run(moveIf);
    },
  }),
);

/** Each constant: 64 bits rounded toward zero, whether the next bit is 1, its biased exponent. */
const CONSTANTS: Readonly<Record<string, readonly [bigint, boolean, number]>> = {
  fldl2t: [0xd49a784bcd1b8afen, false, BIAS + 1],
  fldl2e: [0xb8aa3b295c17f0bbn, true, BIAS],
  fldpi: [0xc90fdaa22168c234n, true, BIAS + 1],
  fldlg2: [0x9a209a84fbcff798n, true, BIAS - 2],
  fldln2: [0xb17217f7d1cf79abn, true, BIAS - 1],
};

const constants = Object.entries(CONSTANTS).map(
  ([name, [truncated, up, exponent]]): Definition => ({
    name,
    shapes: [""],
    access: "",
    emit(c) {
      const { x87 } = c;
      const s = begin(c, true);
      const control = roundingControl(s);
      const rounded = up ? control.eq(RC.NEAREST).or(control.eq(RC.UP)) : control.eq(RC.UP);
      const significand = s.i64(truncated).add(rounded.wide());
      if (x87) emitFastPush(c, x87, significand, exponent);
      else s.run(pushIfRoom, significand, exponent);
    },
  }),
);

function exactConstant(name: string, significand: bigint, exponent: number): Definition {
  return {
    name,
    shapes: [""],
    access: "",
    emit(c) {
      const { x87 } = c;
      const s = begin(c, true);
      if (x87) emitFastPush(c, x87, significand, exponent);
      else s.run(pushIfRoom, s.i64(significand), exponent);
    },
  };
}

/** Loads, stores, exchanges and constants. */
export const x87MoveDefinitions: readonly Definition[] = [
  fld,
  fild,
  fst("fst"),
  fst("fstp"),
  fstpnce,
  fist("fist"),
  fist("fistp"),
  fist("fisttp"),
  fxch,
  ...conditionalMoves,
  ...constants,
  exactConstant("fld1", 1n << 63n, BIAS),
  exactConstant("fldz", 0n, 0),
];
