import { Int32, type Int64, type Local32, type Local64, Script } from "../expressions.ts";
import { defineHelper, type Helper } from "../helpers.ts";
import { STATE } from "../layout.ts";
import type { Lowering, Place } from "../lowering.ts";

/** Bits of the status word, SDM 1 8.1.3. */
export const FSW = {
  IE: 1,
  DE: 2,
  ZE: 4,
  OE: 8,
  UE: 16,
  PE: 32,
  SF: 0x40,
  ES: 0x80,
  C0: 0x100,
  C1: 0x200,
  C2: 0x400,
  C3: 0x4000,
  B: 0x8000,
} as const;
/** The six exceptions: the same bits mask them in the control word. */
export const EXCEPTIONS = 0x3f;
export const TOP_MASK = 0x3800;
/** Bits of the control word that exist; bit 6 always reads 1. */
export const CONTROL_BITS = 0x1f3f;
export const CONTROL_ALWAYS = 0x40;
export const INITIAL_CONTROL = 0x37f;

/** The status word `fsw` with ES and B as they follow from its flags and the masks of `fcw`. */
export function summarized(fsw: number, fcw: number): number {
  const pending = (fsw & EXCEPTIONS & ~fcw) !== 0;
  return (fsw & ~(FSW.ES | FSW.B)) | (pending ? FSW.ES | FSW.B : 0);
}
/** Rounding control, bits 10 and 11 of the control word. */
export const RC = { NEAREST: 0, DOWN: 1, UP: 2, ZERO: 3 } as const;
/** Sign and exponent of an infinity or NaN without the sign. */
export const SPECIAL = 0x7fff;
export const SIGN = 0x8000;
export const BIAS = 16383;
export const INTEGER_BIT: bigint = 1n << 63n;
export const QUIET_BIT: bigint = 1n << 62n;
const INDEFINITE = 3n << 62n;
const COPROCESSOR_ERROR = 16;

/** A floating-point value in locals: significand, and sign with exponent. */
export interface Extended {
  readonly significand: Local64;
  readonly signExponent: Local32;
}

export function controlWord(s: Script): Int32 {
  return s.load32(0, STATE.fcw);
}
export function statusWord(s: Script): Int32 {
  return s.load32(0, STATE.fsw);
}
export function roundingControl(s: Script): Int32 {
  return controlWord(s).shr(10).and(3);
}
/** Physical number of ST(index). */
export function physical(s: Script, index: Int32 | number): Int32 {
  return statusWord(s).shr(11).add(index).and(7);
}
/** Address of physical register `number`. */
export function registerAt(number: Int32): Int32 {
  return number.shl(4).add(STATE.st);
}
/** 1 when physical register `number` is not empty. */
export function isValid(s: Script, number: Int32): Int32 {
  return s.load32(0, STATE.ftw).shr(number).and(1);
}
export function loadExtended(s: Script, into: Extended, address: Int32): void {
  into.significand.set(s.load64(address));
  into.signExponent.set(s.load32(address, 8, "i32_load16_u"));
}
export function storeExtended(
  s: Script,
  address: Int32,
  significand: Int64 | bigint,
  signExponent: Int32 | number,
): void {
  s.store64(address, 0, significand);
  s.store64(address, 8, typeof signExponent === "number" ? signExponent : signExponent.wide());
}
export function exponentOf(value: Extended): Int32 {
  return value.signExponent.and(SPECIAL);
}
export function isDenormal(value: Extended): Int32 {
  return exponentOf(value).not().and(value.significand.notZero());
}
/** Not a number, quiet or signalling; the integer bit is set. */
export function isNan(value: Extended): Int32 {
  return exponentOf(value).eq(SPECIAL).and(value.significand.shl(1).notZero());
}
export function isSignalling(value: Extended): Int32 {
  return isNan(value).and(value.significand.and(QUIET_BIT).isZero());
}
/** Pseudo-infinity, pseudo-NaN or unnormal: no processor since the 387 accepts them (SDM 1 8.2.2). */
export function isUnsupported(value: Extended): Int32 {
  return exponentOf(value).ne(0).and(value.significand.negative().not());
}
export function newExtended(s: Script): Extended {
  return { significand: s.local64(), signExponent: s.local32() };
}

/** (flags) → those of them that are not masked. Sets the flags, and C1 as given; ES and B when one is unmasked. */
export const raise: Helper = defineHelper("x87.raise", { parameters: ["i32"], results: ["i32"] }, (e, call) => {
  const s = new Script(e, call);
  const flags = s.parameter32(0);
  const unmasked = s.local32();
  unmasked.set(flags.and(EXCEPTIONS).and(controlWord(s).xor(-1)));
  s.store32(
    0,
    STATE.fsw,
    statusWord(s)
      .and(~FSW.C1)
      .or(flags)
      .or(unmasked.ne(0).mul(FSW.ES | FSW.B)),
  );
  unmasked.push();
});

/** Clears C1: nothing was rounded up. */
export function clearC1(s: Script): void {
  s.store32(0, STATE.fsw, statusWord(s).and(~FSW.C1));
}

/** () Marks ST(0) empty and moves TOP up. */
export const pop: Helper = defineHelper("x87.pop", { parameters: [], results: [] }, (e, call) => {
  const s = new Script(e, call);
  const word = s.local32();
  word.set(statusWord(s));
  s.store32(0, STATE.ftw, s.load32(0, STATE.ftw).and(s.i32(1).shl(word.shr(11).and(7)).xor(-1)));
  s.store32(0, STATE.fsw, word.and(~TOP_MASK).or(word.add(0x800).and(TOP_MASK)));
});

/** (significand, sign and exponent) Moves TOP down and fills the new ST(0). */
export const push: Helper = defineHelper("x87.push", { parameters: ["i64", "i32"], results: [] }, (e, call) => {
  const s = new Script(e, call);
  const [word, number] = [s.local32(), s.local32()];
  word.set(statusWord(s));
  number.set(word.shr(11).sub(1).and(7));
  s.store32(0, STATE.fsw, word.and(~TOP_MASK).or(number.shl(11)));
  storeExtended(s, registerAt(number), s.parameter64(0), s.parameter32(1));
  s.store32(0, STATE.ftw, s.load32(0, STATE.ftw).or(s.i32(1).shl(number)));
});

/** (address) Stores the QNaN floating-point indefinite there. */
export const storeIndefinite: Helper = defineHelper(
  "x87.indefinite",
  { parameters: ["i32"], results: [] },
  (e, call) => {
    const s = new Script(e, call);
    storeExtended(s, s.parameter32(0), INDEFINITE, SIGN | SPECIAL);
  },
);

/**
 * () → 1 when a value can be pushed. Otherwise the stack overflowed: the masked response was given, or the exception is
 * pending, and the instruction is over.
 */
export const canPush: Helper = defineHelper("x87.canPush", { parameters: [], results: ["i32"] }, (e, call) => {
  const s = new Script(e, call);
  s.if(isValid(s, physical(s, -1)).not(), () => s.return(1));
  s.if(s.call32(raise, FSW.IE | FSW.SF | FSW.C1), () => s.return(0));
  s.run(push, s.i64(INDEFINITE), SIGN | SPECIAL);
  e.i32(0);
});

/** (significand, sign and exponent) Pushes a value that needs no check but for room, and clears C1. */
export const pushIfRoom: Helper = defineHelper(
  "x87.pushIfRoom",
  { parameters: ["i64", "i32"], results: [] },
  (e, call) => {
    const s = new Script(e, call);
    const [word, number, tags] = [s.local32(), s.local32(), s.local32()];
    word.set(statusWord(s));
    number.set(word.shr(11).sub(1).and(7));
    tags.set(s.load32(0, STATE.ftw));
    s.if(
      tags.shr(number).and(1),
      () => {
        s.run(canPush);
        e.op("drop");
      },
      () => {
        s.store32(0, STATE.fsw, word.and(~(TOP_MASK | FSW.C1)).or(number.shl(11)));
        storeExtended(s, registerAt(number), s.parameter64(0), s.parameter32(1));
        s.store32(0, STATE.ftw, tags.or(s.i32(1).shl(number)));
      },
    );
  },
);

/**
 * (physical register number) → 1 when the exception is masked: that register became the indefinite. An operand was empty:
 * stack underflow.
 */
export const underflow: Helper = defineHelper("x87.underflow", { parameters: ["i32"], results: ["i32"] }, (e, call) => {
  const s = new Script(e, call);
  const number = s.parameter32(0);
  s.if(s.call32(raise, FSW.IE | FSW.SF), () => s.return(0));
  s.run(storeIndefinite, registerAt(number));
  s.store32(0, STATE.ftw, s.load32(0, STATE.ftw).or(s.i32(1).shl(number)));
  e.i32(1);
});

/** (destination) → 1 when the exception is masked: the destination became the indefinite. The operation was invalid. */
export const invalid: Helper = defineHelper("x87.invalid", { parameters: ["i32"], results: ["i32"] }, (e, call) => {
  const s = new Script(e, call);
  s.if(s.call32(raise, FSW.IE), () => s.return(0));
  s.run(storeIndefinite, s.parameter32(0));
  e.i32(1);
});

/** What {@link checkPair} and {@link checkOne} found. */
export const CHECK = { NUMBERS: 0, DONE: 1, FAULT: 2 } as const;

/**
 * (destination, a, b) → a {@link CHECK}. Unsupported formats and NaNs: SDM 1 table 4-7, a quiet NaN wins over a
 * signalling one, else the larger significand, else the positive one.
 */
export const checkPair: Helper = defineHelper(
  "x87.checkPair",
  { parameters: ["i32", "i64", "i32", "i64", "i32"], results: ["i32"] },
  (e, call) => {
    const s = new Script(e, call);
    const destination = s.parameter32(0);
    const a: Extended = { significand: s.parameter64(1), signExponent: s.parameter32(2) };
    const b: Extended = { significand: s.parameter64(3), signExponent: s.parameter32(4) };
    const [nanA, nanB, signallingA, signallingB, takeB] = [
      s.local32(),
      s.local32(),
      s.local32(),
      s.local32(),
      s.local32(),
    ];
    s.if(isUnsupported(a).or(isUnsupported(b)), () => s.return(s.i32(CHECK.FAULT).sub(s.call32(invalid, destination))));
    nanA.set(isNan(a));
    nanB.set(isNan(b));
    s.if(nanA.or(nanB).not(), () => s.return(CHECK.NUMBERS));
    signallingA.set(isSignalling(a));
    signallingB.set(isSignalling(b));
    s.if(s.call32(raise, signallingA.or(signallingB)), () => s.return(CHECK.FAULT));
    s.if(
      nanA.and(nanB),
      () =>
        s.if(
          signallingA.eq(signallingB),
          () =>
            s.if(
              a.significand.eq(b.significand),
              () => takeB.set(b.signExponent.below(a.signExponent)),
              () => takeB.set(b.significand.above(a.significand)),
            ),
          () => takeB.set(signallingA),
        ),
      () => takeB.set(nanB),
    );
    storeExtended(
      s,
      destination,
      takeB.chooseWide(b.significand, a.significand).or(QUIET_BIT),
      takeB.choose(b.signExponent, a.signExponent),
    );
    e.i32(CHECK.DONE);
  },
);

/** (destination, a) → a {@link CHECK}, as {@link checkPair}. */
export const checkOne: Helper = defineHelper(
  "x87.checkOne",
  { parameters: ["i32", "i64", "i32"], results: ["i32"] },
  (e, call) => {
    const s = new Script(e, call);
    const destination = s.parameter32(0);
    const a: Extended = { significand: s.parameter64(1), signExponent: s.parameter32(2) };
    s.if(isUnsupported(a), () => s.return(s.i32(CHECK.FAULT).sub(s.call32(invalid, destination))));
    s.if(isNan(a).not(), () => s.return(CHECK.NUMBERS));
    s.if(s.call32(raise, isSignalling(a)), () => s.return(CHECK.FAULT));
    storeExtended(s, destination, a.significand.or(QUIET_BIT), a.signExponent);
    e.i32(CHECK.DONE);
  },
);

/** A script for the instruction being emitted. Helpers find the status and tag words in memory. */
export function scriptOf(c: Lowering): Script {
  const { x87 } = c;
  if (x87 === undefined) return new Script(c.e, (helper) => c.call(helper));
  return new Script(
    c.e,
    (helper) => {
      x87.store();
      c.call(helper);
      x87.load();
    },
    x87.words,
  );
}

/** Every waiting instruction first reports an exception that an earlier one left. */
export function faultIfPending(c: Lowering): void {
  c.state.get32(STATE.fsw);
  c.e.i32(FSW.ES).op("i32_and");
  c.faultIf(COPROCESSOR_ERROR, 0);
}

/** Begins a waiting instruction that is no control instruction. `inLocals` when it knows of {@link Lowering.x87}. */
export function begin(c: Lowering, inLocals: boolean = false): Script {
  if (!inLocals) c.x87?.sync();
  faultIfPending(c);
  c.state.set64(STATE.fip, () => c.currentRip());
  return scriptOf(c);
}

/** Begins a waiting instruction with a memory operand of `size` bytes; gives its machine address. */
export function beginMemory(
  c: Lowering,
  size: number,
  access: number,
  inLocals: boolean = false,
): { readonly s: Script; readonly address: Int32 } {
  const { e } = c;
  if (!inLocals) c.x87?.sync();
  faultIfPending(c);
  const linear = e.temporary("i64");
  c.effectiveAddress(true);
  e.set(linear);
  const host = c.translate(linear, size, access);
  c.state.set64(STATE.fip, () => c.currentRip());
  c.state.set64(STATE.fdp, () => e.get(linear));
  e.release("i64", linear);
  return { s: scriptOf(c), address: new Int32(e, () => e.get(host)) };
}

/** The number of an ST operand. */
export function indexOf(c: Lowering, place: Place): Int32 {
  return new Int32(c.e, () => place.address());
}
