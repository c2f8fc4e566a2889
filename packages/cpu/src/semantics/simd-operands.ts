import type { CodeEmitter, SimdName } from "@paravirt/wasm-emit";
import type { Definition, FloatKind, Shape } from "../definition.ts";
import { ACCESS, STATE } from "../layout.ts";
import type { Lowering, Place } from "../lowering.ts";
import { BytesPlace } from "../tier0/lowering.ts";
import { faultIfPending, TOP_MASK } from "./x87-state.ts";

const GENERAL_PROTECTION = 13;
/** Sign and exponent that a write to an MMX register leaves in the x87 register behind it (SDM 1, 9.2.1). */
const MMX_EXPONENT = 0xffff;
const ZEROS = new Uint8Array(16);

/** Emits a v128 from two that `a` and `b` push: destination and source of the usual two-operand form. */
export type Operation = (e: CodeEmitter, a: () => void, b: () => void) => void;

/** What {@link simd} may be told about a definition. */
export interface SimdOptions {
  readonly hot?: readonly string[];
  /** Memory of 16 bytes needs no alignment: MOVUPS, MOVDQU, LDDQU, PCMPxSTRx. */
  readonly unaligned?: boolean;
  /** Reads or writes an MMX register: reports pending x87 exceptions, then sets the x87 state. */
  readonly mmx?: boolean;
  /** As in {@link Definition.floats}. */
  readonly floats?: FloatKind;
}

/**
 * A definition whose memory operand is checked for alignment before it is translated: legacy SSE demands multiples of 16
 * of 16-byte operands (SDM 1, 10.4.1.1). `access` says what happens to each operand, as in {@link Definition}.
 */
export function simd(
  name: string,
  shapes: readonly string[],
  access: string,
  emit: Definition["emit"],
  options: SimdOptions = {},
): Definition {
  return {
    name,
    shapes,
    // Memory is this function's own business.
    access: "",
    hot: options.hot ?? [],
    translated: true,
    ...(options.floats ? { floats: options.floats } : {}),
    ...(options.mmx ? {} : { operation: { access, emit } }),
    emit(c, operands, shape) {
      if (options.mmx) {
        c.x87?.sync();
        faultIfPending(c);
      }
      const places = resolve(c, operands, shape, access, options.unaligned ?? false);
      if (options.mmx) enterMmx(c);
      emit(c, places, shape);
    },
  };
}

function resolve(
  c: Lowering,
  operands: readonly Place[],
  shape: Shape,
  access: string,
  unaligned: boolean,
): readonly Place[] {
  const at = shape.memory;
  if (at < 0) return operands;
  const { e } = c;
  const size = shape.sizes[at] ?? 0;
  const address = e.temporary("i64");
  c.effectiveAddress(true);
  e.set(address);
  const aligned = size === 16 && !unaligned;
  if (aligned && c.whole) {
    e.get(address).op("i32_wrap_i64").i32(15).op("i32_and");
    c.faultIf(GENERAL_PROTECTION, 0);
  }
  const host = c.translate(address, size, access[at] === "r" ? ACCESS.READ : ACCESS.WRITE, aligned);
  e.release("i64", address);
  const memory = new BytesPlace(e, () => e.get(host), false);
  return operands.map((place, index) => (index === at ? memory : place));
}

/** Every MMX instruction but EMMS makes all registers valid and sets TOP to 0. */
export function enterMmx(c: Lowering): void {
  c.state.set32(STATE.fsw, () => {
    c.state.get32(STATE.fsw);
    c.e.i32(~TOP_MASK).op("i32_and");
  });
  c.state.set32(STATE.ftw, () => c.e.i32(0xff));
}

/** Stores lane 0 of the v128 that `push` leaves in an MMX register. */
export function storeMmx(e: CodeEmitter, place: Place, push: () => void): void {
  place.storeVector(() => {
    push();
    e.i64(MMX_EXPONENT).lane("i64x2_replace_lane", 1);
  });
}

/** Stores the i64 that `push` leaves in an MMX register. */
export function storeMmxInteger(e: CodeEmitter, place: Place, push: () => void): void {
  storeMmx(e, place, () => {
    push();
    e.simd("i64x2_splat");
  });
}

/**
 * Replaces lane `index` of an XMM register by the value that `push` leaves. The register is written as a whole: processors
 * stall where a load takes bytes from a recent store and others from before it.
 */
export function storeLane(e: CodeEmitter, place: Place, lane: LaneType, index: number, push: () => void): void {
  place.storeVector(() => {
    place.vector();
    push();
    e.lane(REPLACE_LANE[lane], index);
  });
}

/** What {@link storeLane} may store. */
export type LaneType = "i32" | "i64" | "f32" | "f64";
const REPLACE_LANE = {
  i32: "i32x4_replace_lane",
  i64: "i64x2_replace_lane",
  f32: "f32x4_replace_lane",
  f64: "f64x2_replace_lane",
} as const;

/** Pushes the 64 bits of a vector or memory operand, zero-extended to 128. */
export function pushHalf(_e: CodeEmitter, place: Place): void {
  place.low(8);
}

/** Pushes the 32 bits of a vector or memory operand, zero-extended to 128. */
export function pushQuarter(_e: CodeEmitter, place: Place): void {
  place.low(4);
}

/** Pushes the 64 bits at byte `offset` (0 or 8) of a vector or memory operand as i64. */
export function pushInteger(_e: CodeEmitter, place: Place, offset: 0 | 8 = 0): void {
  place.lane("i64", offset / 8);
}

/** Pushes a zero vector. */
export function pushZero(e: CodeEmitter): void {
  e.v128(ZEROS);
}

/** Pushes the instruction's immediate byte as i32, `shift` bits dropped and then masked. */
export function pushImmediate(c: Lowering, shift: number = 0, mask: number = 0xff): void {
  c.immediate();
  c.e.op("i32_wrap_i64");
  if (shift > 0) c.e.i32(shift).op("i32_shr_u");
  c.e.i32(mask).op("i32_and");
}

const LOG = { u8: 0, u16: 1, i32: 2, i64: 3 } as const;
const LOAD = { u8: "i32_load8_u", u16: "i32_load16_u", i32: "i32_load", i64: "i64_load" } as const;

/**
 * Pushes a lane that bits of the immediate choose, from bit `shift` on: among `count` lanes, the first of which is `first`.
 */
export function pushChosenLane(
  c: Lowering,
  place: Place,
  type: keyof typeof LOG,
  choice: { readonly shift: number; readonly count: number; readonly first?: number },
): void {
  const { shift, count, first = 0 } = choice;
  if (c.known !== undefined) {
    place.lane(type, first + ((c.known >> shift) & (count - 1)));
    return;
  }
  place.address();
  pushImmediate(c, shift, count - 1);
  c.e
    .i32(LOG[type])
    .op("i32_shl")
    .op("i32_add")
    .mem(LOAD[type], first << LOG[type]);
}

/** An operation that is one instruction of WebAssembly. */
export function single(name: SimdName): Operation {
  return (e, a, b) => {
    a();
    b();
    e.simd(name);
  };
}

/** `destination = operation(destination, source)` on XMM registers. */
export function xmmBinary(name: string, operation: Operation, options: SimdOptions = {}): Definition {
  return simd(
    name,
    ["xx", "xm16"],
    "br",
    (c, [d, s]) =>
      d!.storeVector(() =>
        operation(
          c.e,
          () => d!.vector(),
          () => s!.vector(),
        ),
      ),
    options,
  );
}

/** The same on MMX registers: operands are zero-extended, the low half of the result counts. */
export function mmxBinary(name: string, operation: Operation, shapes: readonly string[] = ["qq", "qm8"]): Definition {
  return simd(
    name,
    shapes,
    "br",
    (c, [d, s], shape) =>
      storeMmx(c.e, d!, () =>
        operation(
          c.e,
          () => pushHalf(c.e, d!),
          () => (shape.sizes[1] === 4 ? pushQuarter(c.e, s!) : pushHalf(c.e, s!)),
        ),
      ),
    { mmx: true },
  );
}

/** `destination = operation(source)` on XMM registers. */
export function xmmUnary(name: string, operation: (e: CodeEmitter, a: () => void) => void): Definition {
  return simd(name, ["xx", "xm16"], "wr", (c, [d, s]) => d!.storeVector(() => operation(c.e, () => s!.vector())));
}

/** The bytes `lanes` of destination (0–15) and source (16–31). */
export function shuffled(lanes: readonly number[]): Operation {
  return (e, a, b) => {
    a();
    b();
    e.shuffle(lanes);
  };
}
