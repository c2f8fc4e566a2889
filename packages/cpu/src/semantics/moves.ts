import { type Definition, sized } from "../definition.ts";
import { ACCESS } from "../layout.ts";
import { combine, type Lowering, type Place, type Size, STATE } from "../lowering.ts";

const RSP = 4;
const RBP = 5;
/** Number of SS among the segments. */
const SS = 2;

const mov: Definition = {
  name: "mov",
  shapes: sized(["r#v#", "r#m#", "m#v#"], [1, 2, 4, 8]),
  hot: sized(["r#v#", "r#m#", "m#v#"], [1, 2, 4, 8]),
  access: "wr",
  emit(_c, [destination, source], shape) {
    const size = shape.sizes[0] as Size;
    destination!.store(size, () => source!.unsigned(size));
  },
};

/** Copies by another name: MOVNTI, and MOVABS as some tables call it. */
const movnti: Definition = { ...mov, name: "movnti", shapes: ["m4r4", "m8r8"], hot: [] };

const EXTENSIONS = ["r2r1", "r4r1", "r8r1", "r4r2", "r8r2", "r2m1", "r4m1", "r8m1", "r4m2", "r8m2"];

function extend(name: "movzx" | "movsx" | "movsxd"): Definition {
  const shapes =
    name === "movsxd"
      ? ["r8r4", "r8m4", "r4r4", "r4m4", "r2r4", "r2m4", "r2r2", "r2m2"]
      : [...EXTENSIONS, "r2r2", "r2m2"];
  return {
    name,
    shapes,
    hot: name === "movsxd" ? ["r8r4", "r8m4"] : EXTENSIONS,
    access: "wr",
    emit(_c, [destination, source], shape) {
      const from = shape.sizes[1] as Size;
      destination!.store(shape.sizes[0] as Size, () =>
        name === "movzx" ? source!.unsigned(from) : source!.signed(from),
      );
    },
  };
}

/** MOV from a segment register: 16 bits to memory and 16-bit registers, zero-extended to wider ones. */
function movFromSegment(name: string, shapes: readonly string[], size: 2 | 8): Definition {
  return {
    name,
    shapes,
    access: "wr",
    emit(c, [destination, segment]) {
      destination!.store(size, () => {
        segment!.address();
        c.e.i32(1).op("i32_shl").mem("i64_load16_u", STATE.selectors);
      });
    },
  };
}

const lea: Definition = {
  name: "lea",
  shapes: ["r2m0", "r4m0", "r8m0"],
  hot: ["r4m0", "r8m0"],
  access: "wr",
  emit(c, [destination], shape) {
    destination!.store(shape.sizes[0] as Size, () => c.effectiveAddress(false));
  },
};

const xchg: Definition = {
  name: "xchg",
  shapes: sized(["r#r#", "m#r#", "r#m#"], [1, 2, 4, 8]),
  hot: ["m4r4", "m8r8"],
  access: "bb",
  emit(c, [left, right], shape) {
    const { e } = c;
    const size = shape.sizes[0] as Size;
    const [a, b] = [e.temporary("i64"), e.temporary("i64")];
    left!.unsigned(size);
    e.set(a);
    right!.unsigned(size);
    e.set(b);
    left!.store(size, () => e.get(b));
    right!.store(size, () => e.get(a));
    e.release("i64", a, b);
  },
};

const xadd: Definition = {
  name: "xadd",
  shapes: sized(["r#r#", "m#r#"], [1, 2, 4, 8]),
  hot: ["m4r4"],
  translated: true,
  access: "bb",
  emit(c, [destination, source], shape) {
    const { e } = c;
    const size = shape.sizes[0] as Size;
    const [a, b, sum] = [e.temporary("i64"), e.temporary("i64"), e.temporary("i64")];
    destination!.signed(size);
    e.set(a);
    source!.signed(size);
    e.set(b);
    combine(e, "add", size, a, b);
    e.set(sum);
    c.flags.add(a, b, sum, size);
    source!.store(size, () => e.get(a));
    destination!.store(size, () => e.get(sum));
    e.release("i64", a, b, sum);
  },
};

const cmpxchg: Definition = {
  name: "cmpxchg",
  shapes: sized(["r#r#", "m#r#"], [1, 2, 4, 8]),
  hot: ["m4r4", "m8r8"],
  access: "br",
  emit(c, [destination, source], shape) {
    const { e } = c;
    const size = shape.sizes[0] as Size;
    const rax = c.register(0);
    const [a, b, difference] = [e.temporary("i64"), e.temporary("i64"), e.temporary("i64")];
    rax.signed(size);
    e.set(a);
    destination!.signed(size);
    e.set(b);
    combine(e, "sub", size, a, b);
    e.set(difference);
    c.flags.subtract(a, b, difference, size);
    e.get(difference).op("i64_eqz").if();
    destination!.store(size, () => source!.unsigned(size));
    e.else();
    rax.store(size, () => e.get(b));
    e.end();
    e.release("i64", a, b, difference);
  },
};

/** CMPXCHG8B and CMPXCHG16B; the latter checks its alignment before anything else. */
function compareExchangeWide(size: 4 | 8): Definition {
  return {
    name: "cmpxchg8b",
    shapes: [`m${size * 2}`],
    translated: true,
    access: "",
    emit(c) {
      const { e } = c;
      const [rax, rcx, rdx, rbx] = [c.register(0), c.register(1), c.register(2), c.register(3)];
      const [low, high, image, address] = [
        e.temporary("i64"),
        e.temporary("i64"),
        e.temporary("i64"),
        e.temporary("i64"),
      ];
      const equal = e.temporary("i32");
      c.effectiveAddress(true);
      e.set(address);
      if (size === 8) {
        e.get(address).op("i32_wrap_i64").i32(15).op("i32_and");
        c.faultIf(13, 0);
      }
      const host = c.translate(address, size * 2, ACCESS.WRITE);
      const load = size === 8 ? "i64_load" : "i64_load32_u";
      e.get(host).mem(load).set(low);
      e.get(host).mem(load, size).set(high);
      rax.unsigned(size);
      e.get(low).op("i64_eq");
      rdx.unsigned(size);
      e.get(high).op("i64_eq").op("i32_and").set(equal);
      c.flags.image();
      e.i64(~0x40).op("i64_and").get(equal).op("i64_extend_i32_u").i64(6).op("i64_shl").op("i64_or").set(image);
      c.flags.load(image);
      e.get(equal).if();
      const store = (offset: number, from: Place) => {
        e.get(host);
        from.unsigned(size);
        e.mem(size === 8 ? "i64_store" : "i64_store32", offset);
      };
      store(0, rbx);
      store(size, rcx);
      e.else();
      rax.store(size, () => e.get(low));
      rdx.store(size, () => e.get(high));
      e.end();
      e.release("i64", low, high, image, address);
      e.release("i32", equal);
    },
  };
}

/** Pushes `value` (an i64 pushed by `push`) of `size` bytes on the stack. The value is read before RSP changes. */
export function pushValue(c: Lowering, size: Size, push: () => void): void {
  const { e } = c;
  const [address, value] = [e.temporary("i64"), e.temporary("i64")];
  c.register(RSP).unsigned(8);
  e.i64(size).op("i64_sub");
  wrapStack(c, size);
  e.set(address);
  const host = translateStack(c, address, size, ACCESS.WRITE);
  push();
  e.set(value);
  e.get(host)
    .get(value)
    .mem(size === 8 ? "i64_store" : size === 4 ? "i64_store32" : "i64_store16");
  c.register(RSP).store(8, () => e.get(address));
  e.release("i64", address, value);
}

/** Cuts a stack pointer to the mode's width: 32-bit values are pushed and popped in compatibility mode only. */
function wrapStack(c: Lowering, size: Size): void {
  if (size === 4) c.e.i64Halves(-1, 0).op("i64_and");
  else c.wrap();
}

/** Translates `size` bytes at the stack pointer in the i64 local `pointer`: in compatibility mode SS has a base. */
function translateStack(c: Lowering, pointer: number, size: Size, access: number): number {
  if (size !== 4) return c.translate(pointer, size, access);
  const { e } = c;
  const address = e.temporary("i64");
  e.get(pointer);
  c.state.get64(STATE.segmentBase + SS * 8);
  e.op("i64_add");
  wrapStack(c, size);
  e.set(address);
  const host = c.translate(address, size, access);
  e.release("i64", address);
  return host;
}

/** Reads the value on top of the stack into an i64 temporary and tells the stack pointer after it, both locals. */
export function popValue(c: Lowering, size: Size): { value: number; stack: number } {
  const { e } = c;
  const [value, stack] = [e.temporary("i64"), e.temporary("i64")];
  c.register(RSP).unsigned(8);
  e.set(stack);
  const host = translateStack(c, stack, size, ACCESS.READ);
  e.get(host)
    .mem(size === 8 ? "i64_load" : size === 4 ? "i64_load32_u" : "i64_load16_u")
    .set(value);
  e.get(stack).i64(size).op("i64_add");
  wrapStack(c, size);
  e.set(stack);
  return { value, stack };
}

function push(name: string, shapes: readonly string[], hot: readonly string[], immediateSize?: Size): Definition {
  return {
    name,
    shapes,
    hot,
    access: "r",
    emit(c, [source], shape) {
      const size = immediateSize ?? (shape.sizes[0] as Size);
      const { e } = c;
      const value = e.temporary("i64");
      source!.unsigned(size);
      e.set(value);
      pushValue(c, size, () => e.get(value));
      e.release("i64", value);
    },
  };
}

/** POP: the address of a memory destination is computed after RSP has moved (SDM 2B, POP). */
const pop: Definition = {
  name: "pop",
  shapes: ["r2", "r4", "r8", "m0"],
  hot: ["r4", "r8"],
  access: "w",
  emit(c, [destination], shape) {
    const { e } = c;
    const size = shape.sizes[0] as Size;
    const { value, stack } = popValue(c, size);
    c.register(RSP).store(8, () => e.get(stack));
    destination!.store(size, () => e.get(value));
    e.release("i64", value, stack);
  },
};

/** POP to memory: RSP moves first, and back when the store faults. */
function popMemory(size: 2 | 4 | 8): Definition {
  return {
    name: `pop.memory.${size}`,
    shapes: ["m0"],
    access: "w",
    emit(c) {
      const { e } = c;
      const { value, stack } = popValue(c, size);
      const [before, address] = [e.temporary("i64"), e.temporary("i64")];
      const rsp = c.register(RSP);
      rsp.unsigned(8);
      e.set(before);
      rsp.store(8, () => e.get(stack));
      c.effectiveAddress(true);
      e.set(address);
      rsp.store(8, () => e.get(before));
      const host = c.translate(address, size, ACCESS.WRITE);
      e.get(host)
        .get(value)
        .mem(size === 8 ? "i64_store" : size === 4 ? "i64_store32" : "i64_store16");
      rsp.store(8, () => e.get(stack));
      e.release("i64", value, stack, before, address);
    },
  };
}

function leave(size: 2 | 4 | 8): Definition {
  return {
    name: `leave.${size}`,
    shapes: [""],
    hot: [""],
    access: "",
    emit(c) {
      const { e } = c;
      const [value, stack] = [e.temporary("i64"), e.temporary("i64")];
      c.register(RBP).unsigned(8);
      if (size === 4) wrapStack(c, size);
      e.set(stack);
      const host = translateStack(c, stack, size, ACCESS.READ);
      e.get(host)
        .mem(size === 8 ? "i64_load" : size === 4 ? "i64_load32_u" : "i64_load16_u")
        .set(value);
      c.register(RSP).store(8, () => {
        e.get(stack).i64(size).op("i64_add");
        wrapStack(c, size);
      });
      c.register(RBP).store(size, () => e.get(value));
      e.release("i64", value, stack);
    },
  };
}

const bswap: Definition = {
  name: "bswap",
  shapes: ["r2", "r4", "r8"],
  hot: ["r4", "r8"],
  access: "b",
  emit(c, [place], shape) {
    const size = shape.sizes[0] as Size;
    place!.store(size, () => {
      if (size === 2) {
        // Undefined by the manual; every processor gives zero.
        c.e.i64(0);
        return;
      }
      place!.unsigned(size);
      swapBytes(c, size);
    });
  },
};

/** Reverses the bytes of the zero-extended i64 on the stack. */
export function swapBytes(c: Lowering, size: Size): void {
  const { e } = c;
  const value = e.temporary("i64");
  e.set(value);
  const step = (shift: number, low: number, high: number) => {
    e.get(value).i64(shift).op("i64_shr_u").i64Halves(low, high).op("i64_and");
    e.get(value).i64Halves(low, high).op("i64_and").i64(shift).op("i64_shl").op("i64_or").set(value);
  };
  step(8, 0x00ff00ff, 0x00ff00ff);
  step(16, 0x0000ffff, 0x0000ffff);
  e.get(value).i64(32).op("i64_rotl");
  if (size < 8) e.i64(64 - size * 8).op("i64_shr_u");
  e.release("i64", value);
}

const movbe: Definition = {
  name: "movbe",
  shapes: sized(["r#m#", "m#r#"], [2, 4, 8]),
  access: "wr",
  emit(c, [destination, source], shape) {
    const size = shape.sizes[0] as Size;
    destination!.store(size, () => {
      source!.unsigned(size);
      swapBytes(c, size);
    });
  },
};

const xlat: Definition = {
  name: "xlatb",
  shapes: ["m1"],
  // The operand is [rBX]; what is read lies AL bytes further.
  access: "",
  emit(c) {
    const { e } = c;
    const address = e.temporary("i64");
    c.register(3).unsigned(8);
    c.register(0).unsigned(1);
    e.op("i64_add");
    c.addressMask();
    e.op("i64_and");
    c.segmentBase();
    e.op("i64_add");
    c.wrap();
    e.set(address);
    const host = c.translate(address, 1, ACCESS.READ);
    c.register(0).store(1, () => e.get(host).mem("i64_load8_u"));
    e.release("i64", address);
  },
};

/** Moves of general registers, the stack, exchanges. */
export const moveDefinitions: readonly Definition[] = [
  mov,
  movnti,
  extend("movzx"),
  extend("movsx"),
  extend("movsxd"),
  movFromSegment("mov.from.segment", ["r2g", "m2g"], 2),
  movFromSegment("mov.from.segment.wide", ["r2g"], 8),
  lea,
  xchg,
  xadd,
  cmpxchg,
  compareExchangeWide(4),
  compareExchangeWide(8),
  push("push", ["r2", "r4", "r8", "m2", "m4", "m8"], ["r4", "r8", "m4", "m8"]),
  push("push.immediate.2", ["i"], [], 2),
  push("push.immediate.4", ["i"], ["i"], 4),
  push("push.immediate.8", ["i"], ["i"], 8),
  pop,
  popMemory(2),
  popMemory(4),
  popMemory(8),
  leave(2),
  leave(4),
  leave(8),
  bswap,
  movbe,
  xlat,
];
