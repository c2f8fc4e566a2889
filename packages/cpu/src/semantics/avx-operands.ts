import type { CodeEmitter } from "@paravirt/wasm-emit";
import { type Definition, type FloatKind, parseShape, type Shape } from "../definition.ts";
import { ACCESS, ENGINE, STATE } from "../layout.ts";
import type { Lane, Lowering, Place } from "../lowering.ts";
import { BytesPlace } from "../tier0/lowering.ts";
import { pushZero } from "./simd-operands.ts";

const UNDEFINED = 6;
const GENERAL_PROTECTION = 13;
/** Eight bytes that hold CR4's bits from 16 on and, in the seventh, XCR0's lowest eight. */
const ENABLED = { address: STATE.cr4 + 2, mask: 0x0006_0000_0000_0004n } as const;
/** The register of a fourth operand: the record's second immediate holds its address. */
const FOURTH = 3;

/** What {@link vex} may be told about a definition. */
export interface VexOptions {
  /** Memory must be aligned to its size: VMOVAPS and the like. */
  readonly aligned?: boolean;
  /** As in {@link Definition.floats}. */
  readonly floats?: FloatKind;
}

/**
 * A definition behind a VEX prefix: #UD unless CR4 and XCR0 enable AVX, memory unaligned but for few. `access` says what
 * happens to each operand, as in {@link Definition}.
 */
export function vex(
  name: string,
  shapes: readonly string[],
  access: string,
  emit: Definition["emit"],
  options: VexOptions = {},
): Definition {
  return {
    name,
    shapes,
    // Memory is this function's own business.
    access: "",
    translated: true,
    ...(options.floats ? { floats: options.floats } : {}),
    emit(c, operands, shape) {
      requireAvx(c);
      emit(c, resolve(c, operands, shape, access, options.aligned ?? false), shape);
    },
  };
}

/** A definition behind a VEX prefix that JavaScript executes, memory included. */
export function vexService(name: string, shapes: readonly string[]): Definition {
  return {
    name,
    shapes,
    access: "",
    emit(c) {
      requireAvx(c);
      c.service();
    },
  };
}

/** Raises #UD unless CR4.OSXSAVE and the SSE and AVX components of XCR0 are set (SDM 1, 14.3). */
export function requireAvx(c: Lowering): void {
  const { e } = c;
  e.i32(0).mem("i64_load", ENABLED.address).i64(ENABLED.mask).op("i64_and").i64(ENABLED.mask).op("i64_ne");
  c.faultIf(UNDEFINED, 0);
}

function resolve(
  c: Lowering,
  operands: readonly Place[],
  shape: Shape,
  access: string,
  aligned: boolean,
): readonly Place[] {
  const { e } = c;
  const at = shape.memory;
  let memory: Place | undefined;
  if (at >= 0) {
    const size = shape.sizes[at] ?? 0;
    const address = e.temporary("i64");
    c.effectiveAddress(true);
    e.set(address);
    if (aligned) {
      e.get(address)
        .op("i32_wrap_i64")
        .i32(size - 1)
        .op("i32_and");
      c.faultIf(GENERAL_PROTECTION, 0);
    }
    const host = c.translate(address, size, access[at] === "r" ? ACCESS.READ : ACCESS.WRITE);
    e.release("i64", address);
    memory = new BytesPlace(e, () => e.get(host), false);
  }
  return operands.map((place, index) => {
    if (memory !== undefined && index === at) return memory;
    // In translated code all operands are known; a record has slots for three.
    return index === FOURTH && c.whole && /[xy]/.test(shape.letters[index] ?? "")
      ? new BytesPlace(e, () => c.immediate2(), true)
      : place;
  });
}

const EXTRACT = {
  u8: "i8x16_extract_lane_u",
  u16: "i16x8_extract_lane_u",
  i32: "i32x4_extract_lane",
  i64: "i64x2_extract_lane",
  f32: "f32x4_extract_lane",
  f64: "f64x2_extract_lane",
} as const;

/** A vector of 128 bits in a local: a result that nothing has seen yet. */
class LocalPlace implements Place {
  facts = 0;
  private readonly e: CodeEmitter;
  readonly local: number;
  constructor(e: CodeEmitter) {
    this.e = e;
    this.local = e.temporary("v128");
  }
  signed(): void {
    throw new Error("a vector is read by lanes");
  }
  unsigned(): void {
    throw new Error("a vector is read by lanes");
  }
  store(): void {
    throw new Error("a vector is written as a whole");
  }
  vector(): void {
    this.e.get(this.local);
  }
  storeVector(push: () => void): void {
    push();
    this.e.set(this.local);
    this.facts = 0;
  }
  lane(type: Lane, index: number): void {
    this.e.get(this.local).lane(EXTRACT[type], index);
  }
  low(bytes: 4 | 8): void {
    const { e } = this;
    pushZero(e);
    this.lane(bytes === 4 ? "f32" : "f64", 0);
    e.lane(bytes === 4 ? "f32x4_replace_lane" : "f64x2_replace_lane", 0);
  }
  upper(): Place {
    throw new Error("a vector of 128 bits has no upper half");
  }
  address(): void {
    throw new Error("a vector in a local has no address");
  }
}

/** One half of an instruction on vectors. */
export interface Half {
  /** As the instruction's own; the immediate may be another. */
  readonly c: Lowering;
  /** The bytes of a vector that belong to this half: `stride` of them, the upper 16 of 32 when left out. */
  of(place: Place, stride?: 2 | 4 | 8): Place;
}

/** How {@link byHalves} does its work. */
export interface HalvesOptions {
  /** What results are before they are computed: the operand that scalars take their upper bits from, or that is read and written. */
  readonly initial?: Place | undefined;
  /** Bits of the immediate that belong to the lower half, where the upper half has bits of its own. */
  readonly immediateBits?: number;
}

/**
 * Computes an instruction on 256 bits as two on 128, or one on 128 bits as one; `compute` writes each to `target`. Nothing
 * is stored before all of it is computed: operands may be the destination, and whatever leaves the instruction in the middle
 * finds it as it was. The destination's upper half is zero after an instruction on 128 bits (SDM 1, 14.1.2).
 */
export function byHalves(
  c: Lowering,
  destination: Place,
  halves: 1 | 2,
  compute: (target: Place, half: Half) => void,
  options: HalvesOptions = {},
): void {
  if (c.whole) inMemory(c, destination, halves, compute, options);
  else inLocals(c, destination, halves, compute, options);
}

/** Tier 0: one piece of code for both halves, that their results leave in memory. */
function inMemory(
  c: Lowering,
  destination: Place,
  halves: 1 | 2,
  compute: (target: Place, half: Half) => void,
  { initial, immediateBits }: HalvesOptions,
): void {
  const { e } = c;
  if (halves === 1) {
    const target = new BytesPlace(e, () => e.i32(ENGINE.vector), true);
    if (initial) target.storeVector(() => initial.vector());
    compute(target, { c, of: (place) => place });
    storeResult(c, destination, halves);
    return;
  }
  const offset = e.temporary("i32");
  e.i32(0).set(offset);
  const again = e.loop();
  const of = (place: Place, stride: 2 | 4 | 8 | 16 = 16) =>
    new BytesPlace(
      e,
      () => {
        place.address();
        e.get(offset);
        if (stride < 16) e.i32(Math.log2(16 / stride)).op("i32_shr_u");
        e.op("i32_add");
      },
      true,
    );
  const target = new BytesPlace(e, () => e.get(offset).i32(ENGINE.vector).op("i32_add"), true);
  if (initial) target.storeVector(() => of(initial).vector());
  const shift = () => e.get(offset).op("i64_extend_i32_u").i64(4).op("i64_shr_u").i64(immediateBits!).op("i64_mul");
  compute(target, {
    c: immediateBits === undefined ? c : withImmediate(c, shift, 0),
    of,
  });
  e.get(offset).i32(16).op("i32_xor").tee(offset).brIf(again).end();
  e.release("i32", offset);
  storeResult(c, destination, halves);
}

/** Copies what {@link inMemory} left. */
function storeResult(c: Lowering, destination: Place, halves: 1 | 2): void {
  const { e } = c;
  destination.storeVector(() => e.i32(ENGINE.vector).simdMem("v128_load"));
  destination.upper().storeVector(() => {
    if (halves === 2) e.i32(ENGINE.vector).simdMem("v128_load", 16);
    else pushZero(e);
  });
}

function inLocals(
  c: Lowering,
  destination: Place,
  halves: 1 | 2,
  compute: (target: Place, half: Half) => void,
  { initial, immediateBits }: HalvesOptions,
): void {
  const { e } = c;
  const targets: LocalPlace[] = [];
  for (let number = 0; number < halves; number++) {
    const of = (place: Place, stride?: 2 | 4 | 8): Place => {
      if (number === 0) return place;
      return stride === undefined ? place.upper() : new PartPlace(e, place, stride);
    };
    const target = new LocalPlace(e);
    if (initial) {
      const before = of(initial);
      target.storeVector(() => before.vector());
      target.facts = before.facts;
    }
    compute(target, {
      c: number > 0 && immediateBits !== undefined ? withImmediate(c, () => e.i64(immediateBits), immediateBits) : c,
      of,
    });
    targets.push(target);
  }
  const [low, high] = targets;
  destination.storeVector(() => e.get(low!.local));
  destination.facts = low!.facts;
  const upper = destination.upper();
  upper.storeVector(() => {
    if (high) e.get(high.local);
    else pushZero(e);
  });
  upper.facts = high ? high.facts : 0;
  e.release("v128", ...targets.map(({ local }) => local));
}

/** The bytes of a vector from `start` on, which its upper half's lanes are made of. */
class PartPlace implements Place {
  readonly facts = 0;
  private readonly e: CodeEmitter;
  private readonly whole: Place;
  private readonly start: 2 | 4 | 8;
  constructor(e: CodeEmitter, whole: Place, start: 2 | 4 | 8) {
    this.e = e;
    this.whole = whole;
    this.start = start;
  }
  signed(): void {
    throw new Error("a vector is read by lanes");
  }
  unsigned(): void {
    throw new Error("a vector is read by lanes");
  }
  store(): void {
    throw new Error("part of a vector is read only");
  }
  storeVector(): void {
    throw new Error("part of a vector is read only");
  }
  vector(): void {
    pushZero(this.e);
    if (this.start === 8) {
      this.whole.lane("i64", 1);
      this.e.lane("i64x2_replace_lane", 0);
    } else {
      this.whole.lane(this.start === 4 ? "i32" : "u16", 1);
      this.e.lane("i32x4_replace_lane", 0);
    }
  }
  lane(type: Lane, index: number): void {
    const bytes = { u8: 1, u16: 2, i32: 4, i64: 8, f32: 4, f64: 8 }[type];
    this.whole.lane(type, index + this.start / bytes);
  }
  low(): void {
    this.vector();
  }
  upper(): Place {
    throw new Error("part of a vector has no upper half");
  }
  address(): void {
    this.whole.address();
    this.e.i32(this.start).op("i32_add");
  }
}

/** `c` with its immediate shifted right by the i64 that `push` leaves, `by` bits where that is known. */
function withImmediate(c: Lowering, push: () => void, by: number): Lowering {
  const { known } = c;
  return Object.create(c, {
    immediate: {
      value: () => {
        c.immediate();
        push();
        c.e.op("i64_shr_u");
      },
    },
    known: { value: known === undefined ? undefined : known >> by },
  }) as Lowering;
}

const shapes = new Map<string, Shape>();
/** A parsed shape, parsed once. */
export function shapeFor(text: string): Shape {
  let shape = shapes.get(text);
  if (shape === undefined) {
    shape = parseShape(text);
    shapes.set(text, shape);
  }
  return shape;
}

/** 2 for shapes with YMM registers, else 1. */
export function halvesOf(shape: Shape): 1 | 2 {
  return shape.letters.includes("y") ? 2 : 1;
}
