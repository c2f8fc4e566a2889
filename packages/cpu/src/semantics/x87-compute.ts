import type { Definition } from "../definition.ts";
import { type Int32, type Int64, Local32, type Local64, Script } from "../expressions.ts";
import { defineHelper, type Helper } from "../helpers.ts";
import { ACCESS, STATE } from "../layout.ts";
import type { Lowering } from "../lowering.ts";
import { add, divide, multiply, squareRoot, subtract } from "./x87-arithmetic.ts";
import { extend, fromInteger } from "./x87-convert.ts";
import { emitFastCompare, emitFastMemory, emitFastRegisters, type FAST } from "./x87-fast.ts";
import {
  changeSign,
  compare,
  compareRegisters,
  examine,
  extract,
  KEEP_STACK,
  remainderNearest,
  remainderTruncated,
  roundToInteger,
  scale,
  setConditions,
} from "./x87-functions.ts";
import {
  begin,
  beginMemory,
  FSW,
  indexOf,
  isValid,
  loadExtended,
  newExtended,
  physical,
  pop,
  raise,
  registerAt,
  SIGN,
  SPECIAL,
  statusWord,
  underflow,
} from "./x87-state.ts";

type MemoryKind = "f4" | "f8" | "i2" | "i4";

/** (destination index, source index) → 1 when done. */
function betweenRegisters(name: string, operation: Helper, reversed: boolean): Helper {
  return defineHelper(`x87.${name}.registers`, { parameters: ["i32", "i32"], results: ["i32"] }, (e, call) => {
    const s = new Script(e, call);
    const [to, from] = [s.parameter32(0), s.parameter32(1)];
    const [a, b] = [newExtended(s), newExtended(s)];
    const [top, tags] = [s.local32(), s.local32()];
    top.set(statusWord(s).shr(11));
    tags.set(s.load32(0, STATE.ftw));
    to.set(top.add(to).and(7));
    from.set(top.add(from).and(7));
    s.if(tags.shr(to).and(tags.shr(from)).and(1).not(), () => s.return(s.call32(underflow, to)));
    to.set(registerAt(to));
    loadExtended(s, reversed ? b : a, to);
    loadExtended(s, reversed ? a : b, registerAt(from));
    s.run(operation, to, a.significand, a.signExponent, b.significand, b.signExponent, 0);
  });
}

/** Sets `value` from the operand's bits. */
function fromMemory(
  s: Script,
  bits: Local64,
  kind: MemoryKind,
  value: { significand: Local64; signExponent: Local32 },
  denormal: Local32,
): void {
  if (kind === "f4") extend(s, bits, 4, value, denormal);
  else if (kind === "f8") extend(s, bits, 8, value, denormal);
  else fromInteger(s, bits, value);
}

/** (bits of the memory operand): ST(0) with memory, the result in ST(0). */
function withMemory(name: string, operation: Helper, reversed: boolean, kind: MemoryKind): Helper {
  return defineHelper(`x87.${name}.${kind}`, { parameters: ["i64"], results: [] }, (e, call) => {
    const s = new Script(e, call);
    const [a, b] = [newExtended(s), newExtended(s)];
    const [at, denormal] = [s.local32(), s.local32()];
    s.if(isValid(s, physical(s, 0)).not(), () => {
      s.run(underflow, physical(s, 0));
      e.op("drop");
      s.return();
    });
    at.set(registerAt(physical(s, 0)));
    loadExtended(s, reversed ? b : a, at);
    fromMemory(s, s.parameter64(0), kind, reversed ? a : b, denormal);
    s.run(operation, at, a.significand, a.signExponent, b.significand, b.signExponent, denormal);
    e.op("drop");
  });
}

/** Pushes the bits of a memory operand. */
function bitsAt(s: Script, address: Int32, kind: MemoryKind): Int64 {
  const load = { f4: "i64_load32_u", f8: "i64_load", i2: "i64_load16_s", i4: "i64_load32_s" } as const;
  return s.load64(address, 0, load[kind]);
}

function kindOf(name: string, size: number): MemoryKind {
  return `${name.startsWith("fi") ? "i" : "f"}${size}` as MemoryKind;
}

const ONE_TO_POP: readonly (readonly [string, Helper, boolean])[] = [
  ["add", add, false],
  ["mul", multiply, false],
  ["sub", subtract, false],
  ["subr", subtract, true],
  ["div", divide, false],
  ["divr", divide, true],
];

const arithmetic: Definition[] = ONE_TO_POP.flatMap(([name, operation, reversed]) => {
  const registers = betweenRegisters(name, operation, reversed);
  const fast = name.slice(0, 3) as keyof typeof FAST;
  const memory = { f4: 0, f8: 0, i2: 0, i4: 0 } as unknown as Record<MemoryKind, Helper>;
  for (const kind of ["f4", "f8", "i2", "i4"] as const) memory[kind] = withMemory(name, operation, reversed, kind);
  const fromRow = (row: string, shapes: readonly string[], hot: readonly string[]): Definition => ({
    name: row,
    shapes,
    hot,
    access: "",
    emit(c, [to, from], shape) {
      const { x87 } = c;
      if (shape.memory >= 0) {
        const kind = kindOf(row, shape.sizes[0]!);
        if (x87 && (kind === "f4" || kind === "f8")) {
          const { s, address } = beginMemory(c, shape.sizes[0]!, ACCESS.READ, true);
          emitFastMemory(c, x87, fast, { bits: bitsAt(s, address, kind), size: kind === "f4" ? 4 : 8, reversed });
          return;
        }
        const { s, address } = beginMemory(c, shape.sizes[0]!, ACCESS.READ);
        s.run(memory[kind], bitsAt(s, address, kind));
        return;
      }
      const pops = row.endsWith("p");
      if (x87) {
        begin(c, true);
        emitFastRegisters(c, x87, fast, { to: to!.index!, from: from!.index!, reversed });
        if (pops) x87.pop();
        return;
      }
      const s = begin(c);
      s.run(registers, indexOf(c, to!), indexOf(c, from!));
      if (pops) {
        c.e.if();
        s.run(pop);
        c.e.end();
      } else c.e.op("drop");
    },
  });
  return [
    fromRow(`f${name}`, ["m4", "m8", "ss"], name === "add" || name === "mul" ? ["m8", "ss"] : ["ss"]),
    fromRow(`fi${name}`, ["m2", "m4"], []),
    fromRow(`f${name}p`, ["ss"], ["ss"]),
  ];
});

/** (bits) → as {@link compare}: ST(0) with memory. */
function compareMemory(kind: MemoryKind): Helper {
  return defineHelper(`x87.compare.${kind}`, { parameters: ["i64"], results: ["i32"] }, (e, call) => {
    const s = new Script(e, call);
    const [a, b] = [newExtended(s), newExtended(s)];
    const denormal = s.local32();
    s.if(isValid(s, physical(s, 0)).not(), () => {
      s.return(
        s
          .call32(raise, FSW.IE | FSW.SF)
          .ne(0)
          .mul(KEEP_STACK)
          .or(0x45),
      );
    });
    loadExtended(s, a, registerAt(physical(s, 0)));
    fromMemory(s, s.parameter64(0), kind, b, denormal);
    s.run(compare, a.significand, a.signExponent, b.significand, b.signExponent, denormal, 0);
  });
}
const memoryCompare: Record<MemoryKind, Helper> = {
  f4: compareMemory("f4"),
  f8: compareMemory("f8"),
  i2: compareMemory("i2"),
  i4: compareMemory("i4"),
};

/** Pops unless the answer in `answer` says otherwise. */
function popUnlessKept(s: Script, answer: Local32, pops: number): void {
  if (pops === 0) return;
  s.if(answer.and(KEEP_STACK).not(), () => {
    for (let i = 0; i < pops; i++) s.run(pop);
  });
}

/** Ends a comparison whose answer is on the stack: condition codes, then pops. */
function concludeComparison(c: Lowering, s: Script, pops: number): void {
  const { e } = c;
  const answer = new Local32(e, e.temporary("i32"));
  e.set(answer.index);
  setConditions(s, answer.and(0x45).shl(8));
  popUnlessKept(s, answer, pops);
  e.release("i32", answer.index);
}

function comparison(name: string, shapes: readonly string[], pops: number): Definition {
  const quiet = name.startsWith("fu") ? 1 : 0;
  return {
    name,
    shapes,
    access: "",
    emit(c, [other], shape) {
      if (shape.memory >= 0) {
        const kind = kindOf(name, shape.sizes[0]!);
        const { s, address } = beginMemory(c, shape.sizes[0]!, ACCESS.READ);
        s.run(memoryCompare[kind], bitsAt(s, address, kind));
        concludeComparison(c, s, pops);
        return;
      }
      const s = begin(c);
      s.run(compareRegisters, shape.letters.length > 0 ? indexOf(c, other!) : 1, quiet);
      concludeComparison(c, s, pops);
    },
  };
}

/** FCOMI and its kin: the answer goes to RFLAGS. */
function flagComparison(name: string, pops: number): Definition {
  return {
    name,
    shapes: ["ss"],
    hot: ["ss"],
    access: "",
    emit(c, [, other]) {
      const { e, x87 } = c;
      const s = begin(c, true);
      const [answer, image] = [new Local32(e, e.temporary("i32")), e.temporary("i64")];
      const loadFlags = () => {
        answer.and(0x45).wide().push();
        e.set(image);
        c.flags.load(image);
      };
      if (x87) {
        emitFastCompare(c, x87, other!.index!, answer);
        loadFlags();
        if (pops > 0) x87.pop();
      } else {
        const before = new Local32(e, e.temporary("i32"));
        before.set(statusWord(s).and(FSW.C1));
        s.run(compareRegisters, indexOf(c, other!), name.startsWith("fu") ? 1 : 0);
        e.set(answer.index);
        loadFlags();
        // C1 stays, except after stack underflow, which the answer shows in the same bit.
        s.store32(0, STATE.fsw, statusWord(s).or(before.and(answer.xor(-1))));
        popUnlessKept(s, answer, pops);
        e.release("i32", before.index);
      }
      e.release("i32", answer.index);
      e.release("i64", image);
    },
  };
}

const ftst: Definition = {
  name: "ftst",
  shapes: [""],
  access: "",
  emit(c) {
    const s = begin(c);
    s.run(memoryCompare.i2, s.i64(0));
    concludeComparison(c, s, 0);
  },
};

/** () FSQRT. */
const squareRootOfTop: Helper = defineHelper("x87.sqrt.top", { parameters: [], results: [] }, (e, call) => {
  const s = new Script(e, call);
  const value = newExtended(s);
  s.if(isValid(s, physical(s, 0)).not(), () => {
    s.run(underflow, physical(s, 0));
    e.op("drop");
    s.return();
  });
  loadExtended(s, value, registerAt(physical(s, 0)));
  s.run(squareRoot, registerAt(physical(s, 0)), value.significand, value.signExponent);
  e.op("drop");
});

function simple(name: string, helper: Helper, ...values: number[]): Definition {
  return {
    name,
    shapes: [""],
    access: "",
    emit: (c) => begin(c).run(helper, ...values),
  };
}

/** FCHS and FABS: keep `mask` of the sign and exponent, then flip `toggle`. */
function sign(name: string, mask: number, toggle: number): Definition {
  return {
    name,
    shapes: [""],
    access: "",
    emit(c) {
      const { x87 } = c;
      if (x87 === undefined) {
        begin(c).run(changeSign, mask, toggle);
        return;
      }
      begin(c, true);
      x87.require(c, 0, true);
      const { significand, signExponent } = x87.value(0);
      const target = x87.target(0);
      target.significand.set(significand);
      target.signExponent.set(signExponent.and(mask).xor(toggle));
      x87.conclude();
    },
  };
}

/** Arithmetic, comparisons and the functions that are exact or correctly rounded by definition. */
export const x87ComputeDefinitions: readonly Definition[] = [
  ...arithmetic,
  comparison("fcom", ["s", "m4", "m8"], 0),
  comparison("fcomp", ["s", "m4", "m8"], 1),
  comparison("fcompp", [""], 2),
  comparison("fucom", ["s"], 0),
  comparison("fucomp", ["s"], 1),
  comparison("fucompp", [""], 2),
  comparison("ficom", ["m2", "m4"], 0),
  comparison("ficomp", ["m2", "m4"], 1),
  flagComparison("fcomi", 0),
  flagComparison("fcomip", 1),
  flagComparison("fucomi", 0),
  flagComparison("fucomip", 1),
  ftst,
  simple("fsqrt", squareRootOfTop),
  simple("frndint", roundToInteger),
  simple("fscale", scale),
  simple("fxtract", extract),
  simple("fprem", remainderTruncated),
  simple("fprem1", remainderNearest),
  simple("fxam", examine),
  sign("fchs", 0xffff, SIGN),
  sign("fabs", SPECIAL, 0),
];
