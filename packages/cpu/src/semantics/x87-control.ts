import type { Definition } from "../definition.ts";
import type { Script } from "../expressions.ts";
import { ACCESS, STATE } from "../layout.ts";
import type { Lowering } from "../lowering.ts";
import {
  begin,
  CONTROL_ALWAYS,
  CONTROL_BITS,
  controlWord,
  EXCEPTIONS,
  FSW,
  faultIfPending,
  INITIAL_CONTROL,
  indexOf,
  physical,
  pop,
  scriptOf,
  statusWord,
  TOP_MASK,
} from "./x87-state.ts";

/** Control instructions: they don't change the instruction and data pointers. */
function control(name: string, shapes: readonly string[], waits: boolean, emit: Definition["emit"]): Definition {
  return {
    name,
    shapes,
    access: "",
    emit(c, places, shape) {
      c.x87?.sync();
      if (waits) faultIfPending(c);
      emit(c, places, shape);
    },
  };
}

function memory(c: Lowering, access: number): () => void {
  const { e } = c;
  const linear = e.temporary("i64");
  c.effectiveAddress(true);
  e.set(linear);
  const host = c.translate(linear, 2, access);
  e.release("i64", linear);
  return () => e.get(host);
}

/** ES and B follow from the flags and their masks whenever either changes. */
function summarize(s: Script): void {
  const pending = statusWord(s).and(EXCEPTIONS).and(controlWord(s).xor(-1)).and(EXCEPTIONS).ne(0);
  s.store32(
    0,
    STATE.fsw,
    statusWord(s)
      .and(~(FSW.ES | FSW.B))
      .or(pending.mul(FSW.ES | FSW.B)),
  );
}

function moveTop(c: Lowering, by: number): void {
  const s = begin(c);
  s.store32(
    0,
    STATE.fsw,
    statusWord(s)
      .and(~(TOP_MASK | FSW.C1))
      .or(statusWord(s).add(by).and(TOP_MASK)),
  );
}

/** FFREE marks a register empty, whatever TOP is. */
function free(c: Lowering, index: ReturnType<typeof indexOf>): Script {
  const s = begin(c);
  s.store32(0, STATE.fsw, statusWord(s).and(~FSW.C1));
  s.store32(0, STATE.ftw, s.load32(0, STATE.ftw).and(s.i32(1).shl(physical(s, index)).xor(-1)));
  return s;
}

/** Control of the unit. */
export const x87ControlDefinitions: readonly Definition[] = [
  control("fldcw", ["m2"], true, (c) => {
    const address = memory(c, ACCESS.READ);
    c.state.set32(STATE.fcw, () => {
      address();
      c.e.mem("i32_load16_u").i32(CONTROL_BITS).op("i32_and").i32(CONTROL_ALWAYS).op("i32_or");
    });
    summarize(scriptOf(c));
  }),
  control("fnstcw", ["m2"], false, (c) => {
    const address = memory(c, ACCESS.WRITE);
    address();
    c.state.get32(STATE.fcw);
    c.e.mem("i32_store16");
  }),
  control("fnstsw", ["m2", "r2"], false, (c, [destination], shape) => {
    if (shape.memory < 0) {
      destination!.store(2, () => {
        c.state.get32(STATE.fsw);
        c.e.op("i64_extend_i32_u");
      });
      return;
    }
    const address = memory(c, ACCESS.WRITE);
    address();
    c.state.get32(STATE.fsw);
    c.e.mem("i32_store16");
  }),
  control("fnclex", [""], false, (c) => {
    const s = scriptOf(c);
    s.store32(0, STATE.fsw, statusWord(s).and(~(EXCEPTIONS | FSW.SF | FSW.ES | FSW.B)));
  }),
  control("fninit", [""], false, (c) => {
    const s = scriptOf(c);
    s.store32(0, STATE.fcw, INITIAL_CONTROL);
    s.store32(0, STATE.fsw, 0);
    s.store32(0, STATE.ftw, 0);
    s.store32(0, STATE.fop, 0);
    s.store64(0, STATE.fip, 0);
    s.store64(0, STATE.fdp, 0);
  }),
  control("wait", [""], true, () => {}),
  control("fnop", [""], true, () => {}),
  // The 8087's interrupt masks and the 287's mode switch do nothing since the 387.
  ...["fneni", "fndisi", "fnsetpm"].map((name) => control(name, [""], false, () => {})),
  control("fincstp", [""], false, (c) => moveTop(c, 0x800)),
  control("fdecstp", [""], false, (c) => moveTop(c, -0x800)),
  control("ffree", ["s"], false, (c, [register]) => {
    free(c, indexOf(c, register!));
  }),
  control("ffreep", ["s"], false, (c, [register]) => free(c, indexOf(c, register!)).run(pop)),
];
