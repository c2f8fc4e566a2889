import type { Definition } from "../definition.ts";
import { sized } from "../definition.ts";
import { type Lowering, type Size, STATE } from "../lowering.ts";
import { popValue, pushValue } from "./moves.ts";

const RSP = 4;
const GENERAL_PROTECTION = 13;
/** RFLAGS.TF and RFLAGS.AC. */
const TRAP_OR_ALIGNMENT = 0x40100;

/** A 64-bit branch to a non-canonical address, in an i64 local, faults before anything changes. */
function checkTarget(c: Lowering, target: number, size: number): void {
  if (size !== 8) return;
  c.e.get(target).i64(16).op("i64_shl").i64(16).op("i64_shr_s").get(target).op("i64_ne");
  c.faultIf(GENERAL_PROTECTION, 0);
}

const CONDITIONS = Array.from({ length: 16 }, (_, code) => code);

/** Ends the instruction at the record's target, cut to 16 bits, if the i32 that `condition` pushes isn't zero. */
function shortBranch(c: Lowering, condition: (() => void) | undefined): void {
  if (condition) {
    condition();
    c.e.if();
  }
  c.jump(() => {
    c.state.get64(STATE.ripBase);
    c.immediate();
    c.e.op("i64_add").i64(0xffff).op("i64_and");
  });
  if (!condition) return;
  c.e.end();
  c.reachable();
}

/** The branch of this record; its target has 16 bits if `short`: the operand size is 16. */
function branch(c: Lowering, short: boolean, condition?: () => void): void {
  if (short) shortBranch(c, condition);
  else c.branch(condition);
}

const conditionalJumps: Definition[] = CONDITIONS.flatMap((code) =>
  [false, true].map((short) => ({
    name: `j.${code}${short ? ".16" : ""}`,
    shapes: ["b"],
    hot: short ? [] : ["b"],
    access: "r",
    emit: (c: Lowering) => branch(c, short, () => c.flags.condition(code)),
  })),
);

const sets: Definition[] = CONDITIONS.map((code) => ({
  name: `set.${code}`,
  shapes: ["r1", "m1"],
  hot: [2, 3, 4, 5].includes(code) ? ["r1"] : [],
  translated: true,
  access: "w",
  emit(c, [place]) {
    place!.store(1, () => {
      c.flags.condition(code);
      c.e.op("i64_extend_i32_u");
    });
  },
}));

/** CMOVcc reads its source, and may fault on it, whatever the condition; a 32-bit destination is always zero-extended. */
const moves: Definition[] = CONDITIONS.map((code) => ({
  name: `cmov.${code}`,
  shapes: sized(["r#r#", "r#m#"], [2, 4, 8]),
  hot: [2, 3, 4, 5, 6, 7].includes(code) ? ["r4r4", "r8r8"] : [],
  translated: true,
  access: "br",
  emit(c, [destination, source], shape) {
    const size = shape.sizes[0] as Size;
    destination!.store(size, () => {
      source!.unsigned(size);
      destination!.unsigned(size);
      c.flags.condition(code);
      c.e.op("select");
    });
  },
}));

const jmp: Definition = {
  name: "jmp",
  shapes: ["b"],
  hot: ["b"],
  access: "r",
  emit: (c) => c.branch(undefined),
};

const jmpShort: Definition = {
  name: "jmp.16",
  shapes: ["b"],
  access: "r",
  emit: (c) => branch(c, true),
};

const jmpIndirect: Definition = {
  name: "jmp",
  shapes: ["r2", "r4", "r8", "m2", "m4", "m8"],
  hot: ["r4", "r8", "m4", "m8"],
  access: "r",
  emit(c, [place], shape) {
    const size = shape.sizes[0] as Size;
    const target = c.e.temporary("i64");
    place!.unsigned(size);
    c.e.set(target);
    checkTarget(c, target, size);
    c.jump(() => c.e.get(target));
    c.e.release("i64", target);
  },
};

/** Direct calls; the record's immediate is the target's offset from the page's start. */
function call(size: 2 | 4 | 8): Definition {
  return {
    name: size === 8 ? "call" : `call.${size}`,
    shapes: ["b"],
    hot: size === 2 ? [] : ["b"],
    access: "r",
    emit(c) {
      pushValue(c, size, () => c.nextRip());
      c.jump(() => {
        c.state.get64(STATE.ripBase);
        c.immediate();
        c.e.op("i64_add");
        if (size === 2) c.e.i64(0xffff).op("i64_and");
      });
    },
  };
}

const callIndirect: Definition = {
  name: "call",
  shapes: ["r2", "r4", "r8", "m2", "m4", "m8"],
  hot: ["r4", "r8", "m4", "m8"],
  access: "r",
  emit(c, [place], shape) {
    const { e } = c;
    const size = shape.sizes[0] as Size;
    const target = e.temporary("i64");
    place!.unsigned(size);
    e.set(target);
    // The stack comes first.
    pushValue(c, size, () => {
      checkTarget(c, target, size);
      c.nextRip();
    });
    c.jump(() => e.get(target));
    e.release("i64", target);
  },
};

function ret(size: 2 | 4 | 8): Definition {
  return {
    name: `ret.${size}`,
    shapes: ["", "i"],
    hot: size === 2 ? [] : [""],
    access: "r",
    emit(c, [extra]) {
      const { e } = c;
      const { value, stack } = popValue(c, size);
      checkTarget(c, value, size);
      c.register(RSP).store(8, () => {
        e.get(stack);
        if (extra) {
          extra.unsigned(2);
          e.op("i64_add");
          c.wrap();
        }
      });
      c.jump(() => e.get(value));
      e.release("i64", value, stack);
    },
  };
}

/** LOOP, LOOPE, LOOPNE and JrCXZ; `width` is the address size, which picks the counter's width. */
function counted(name: "loop" | "loope" | "loopne" | "jrcxz", width: 2 | 4 | 8, short: boolean): Definition {
  return {
    name: `${name}.${width}${short ? ".16" : ""}`,
    shapes: ["b"],
    access: "r",
    emit(c) {
      const { e } = c;
      const rcx = c.register(1);
      if (name === "jrcxz") {
        branch(c, short, () => {
          rcx.unsigned(width);
          e.op("i64_eqz");
        });
        return;
      }
      const count = e.temporary("i64");
      rcx.unsigned(width);
      e.i64(1).op("i64_sub").set(count);
      rcx.store(width, () => e.get(count));
      branch(c, short, () => {
        rcx.unsigned(width);
        e.i64(0).op("i64_ne");
        if (name !== "loop") {
          c.flags.zero();
          if (name === "loopne") e.op("i32_eqz");
          e.op("i32_and");
        }
      });
      e.release("i64", count);
    },
  };
}

const nop: Definition = {
  name: "nop",
  shapes: ["", "m2", "m4", "*"],
  hot: ["", "m2", "m4"],
  access: "",
  emit() {},
};

/** Instructions that do nothing observable here: hints, fences (one processor at a time, in order), cache control. */
const QUIET = [
  "endbr64",
  "endbr32",
  "pause",
  "lfence",
  "mfence",
  "sfence",
  "prefetch",
  "prefetchw",
  "prefetchnta",
  "prefetcht0",
  "prefetcht1",
  "prefetcht2",
  "prefetchwt1",
  "clflush",
  "clflushopt",
  "clwb",
  "cldemote",
  // Without shadow stacks RDSSP leaves its register alone.
  "rdssp",
  "serialize",
];
const quiet: Definition[] = QUIET.map((name) => ({
  name,
  shapes: ["*"],
  translated: true,
  access: "",
  emit() {},
}));

/** Flag instructions. The other flags are kept through their image. */
function carryFlag(name: "clc" | "stc" | "cmc"): Definition {
  return {
    name,
    shapes: [""],
    access: "",
    emit(c) {
      const { e } = c;
      const image = e.temporary("i64");
      c.flags.image();
      if (name === "clc") e.i64(~1).op("i64_and");
      else e.i64(1).op(name === "stc" ? "i64_or" : "i64_xor");
      e.set(image);
      c.flags.load(image);
      e.release("i64", image);
    },
  };
}

const DIRECTION = 0x400;

function directionFlag(name: "cld" | "std"): Definition {
  return {
    name,
    shapes: [""],
    hot: [""],
    access: "",
    emit(c) {
      c.state.set64(STATE.eflags, () => {
        c.state.get64(STATE.eflags);
        if (name === "cld") c.e.i64(~DIRECTION).op("i64_and");
        else c.e.i64(DIRECTION).op("i64_or");
      });
    },
  };
}

const lahf: Definition = {
  name: "lahf",
  shapes: [""],
  access: "",
  emit(c) {
    c.e.i32(STATE.gpr + 1);
    c.flags.image();
    c.e.i64(2).op("i64_or").mem("i64_store8");
  },
};

const sahf: Definition = {
  name: "sahf",
  shapes: [""],
  access: "",
  emit(c) {
    const { e } = c;
    const image = e.temporary("i64");
    c.flags.image();
    e.i64(0x800).op("i64_and");
    e.i32(STATE.gpr + 1)
      .mem("i64_load8_u")
      .i64(0xd5)
      .op("i64_and")
      .op("i64_or")
      .set(image);
    c.flags.load(image);
    e.release("i64", image);
  },
};

/** RF and VM read as zero in the pushed image. */
function pushf(size: 2 | 4 | 8): Definition {
  return {
    name: `pushf.${size}`,
    shapes: [""],
    hot: size === 8 ? [""] : [],
    access: "",
    emit(c) {
      pushValue(c, size, () => {
        c.flags.image();
        c.state.get64(STATE.eflags);
        c.e.op("i64_or").i64(0xfcffff).op("i64_and");
      });
    },
  };
}

/** At CPL 3 with IOPL 0, POPF changes neither IF nor IOPL (SDM 2B, POPF). 16 bits leave AC and ID alone. */
function popf(size: 2 | 4 | 8): Definition {
  // TF, DF, NT, AC, ID; RF is cleared.
  const writable = size === 2 ? 0x4500 : 0x244500;
  return {
    name: `popf.${size}`,
    shapes: [""],
    hot: size === 8 ? [""] : [],
    access: "",
    emit(c) {
      const { e } = c;
      const { value, stack } = popValue(c, size);
      // TF and AC make the engine look at each instruction: JavaScript sees to that.
      e.get(value).i64(TRAP_OR_ALIGNMENT).op("i64_and").i64(0).op("i64_ne").if();
      c.service();
      e.end();
      c.reachable();
      c.flags.load(value);
      c.state.set64(STATE.eflags, () => {
        c.state.get64(STATE.eflags);
        e.i64(~(writable | 0x10000))
          .op("i64_and")
          .get(value)
          .i64(writable)
          .op("i64_and")
          .op("i64_or");
      });
      c.register(RSP).store(8, () => e.get(stack));
      e.release("i64", value, stack);
    },
  };
}

/** ENTER with nesting level 0, which is all that compilers emit; deeper levels go through JavaScript. */
function salc(): Definition {
  return {
    name: "salc",
    shapes: [""],
    access: "",
    emit(c) {
      c.register(0).store(1, () => {
        c.e.i64(0);
        c.flags.carryBit();
        c.e.op("i64_sub");
      });
    },
  };
}

/** Branches, calls, flags and instructions without effect. */
export const controlDefinitions: readonly Definition[] = [
  ...conditionalJumps,
  ...sets,
  ...moves,
  jmp,
  jmpShort,
  jmpIndirect,
  call(2),
  call(4),
  call(8),
  callIndirect,
  ret(2),
  ret(4),
  ret(8),
  ...(["loop", "loope", "loopne", "jrcxz"] as const).flatMap((name) =>
    ([2, 4, 8] as const).flatMap((width) => [counted(name, width, false), counted(name, width, true)]),
  ),
  nop,
  ...quiet,
  carryFlag("clc"),
  carryFlag("stc"),
  carryFlag("cmc"),
  directionFlag("cld"),
  directionFlag("std"),
  lahf,
  sahf,
  pushf(2),
  pushf(4),
  pushf(8),
  popf(2),
  popf(4),
  popf(8),
  salc(),
];
