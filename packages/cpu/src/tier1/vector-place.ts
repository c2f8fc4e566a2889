import type { CodeEmitter } from "@paravirt/wasm-emit";
import type { FloatKind } from "../definition.ts";
import { STATE } from "../layout.ts";
import type { FloatBound, Lane, Place } from "../lowering.ts";
import { emitFloatBound } from "../semantics/simd-float-inline.ts";
import { BytesPlace } from "../tier0/lowering.ts";

const EXTRACT = {
  u8: "i8x16_extract_lane_u",
  u16: "i16x8_extract_lane_u",
  i32: "i32x4_extract_lane",
  i64: "i64x2_extract_lane",
  f32: "f32x4_extract_lane",
  f64: "f64x2_extract_lane",
} as const;
const ZEROS = new Uint8Array(16);

/** Added to a vector register's number it stands for the upper half of the YMM register. */
export const UPPER = 16;

/** Address in the engine's state of an XMM register or, from {@link UPPER} on, of an upper half. */
export function vectorAddress(number: number): number {
  return STATE.xmm + (number % UPPER) * 32 + (number >= UPPER ? 16 : 0);
}

/** The XMM registers of a region and their upper halves: which of them live in locals, and which of those it writes. */
export class VectorLocals {
  /** Local of each register, -1 for those that stay in the engine's state. */
  readonly locals: readonly number[];
  /** Registers that some instruction writes: known once all are emitted. */
  readonly written: Set<number> = new Set();
  /** {@link Place.facts} of each register at the point that is being emitted. */
  readonly facts: number[] = new Array(2 * UPPER).fill(0);

  constructor(e: CodeEmitter, used: ReadonlySet<number>) {
    this.locals = Array.from({ length: 2 * UPPER }, (_, number) => (used.has(number) ? e.local("v128") : -1));
  }

  /** Control may come here from elsewhere: nothing is known of the registers' values. */
  forget(): void {
    this.facts.fill(0);
  }
}

/** Locals with the bounds of floating-point results: MXCSR does not change within a region. */
export class FloatBounds implements FloatBound {
  readonly calls: boolean;
  private readonly e: CodeEmitter;
  private readonly locals = new Map<FloatKind, number>();

  constructor(e: CodeEmitter, used: ReadonlySet<FloatKind>, calls: boolean) {
    this.e = e;
    this.calls = calls;
    for (const kind of used)
      this.locals.set(kind, e.local(kind.endsWith("vector") ? "v128" : kind.startsWith("f32") ? "i32" : "i64"));
  }

  /** Emits what the region does at its start. */
  emit(): void {
    for (const [kind, local] of this.locals)
      emitFloatBound(this.e, kind.startsWith("f32") ? "f32" : "f64", kind.endsWith("vector"), local);
  }

  push(type: "f32" | "f64", vector: boolean): void {
    this.e.get(this.locals.get(`${type}.${vector ? "vector" : "scalar"}`)!);
  }
}

/** An XMM register, or an upper half, in a local. */
export class VectorPlace implements Place {
  private readonly e: CodeEmitter;
  private readonly registers: VectorLocals;
  private readonly number: number;
  constructor(e: CodeEmitter, registers: VectorLocals, number: number) {
    this.e = e;
    this.registers = registers;
    this.number = number;
  }
  private get local(): number {
    return this.registers.locals[this.number]!;
  }
  get facts(): number {
    return this.registers.facts[this.number]!;
  }
  set facts(facts: number) {
    this.registers.facts[this.number] = facts;
  }
  signed(): void {
    throw new Error("a vector register is read by lanes");
  }
  unsigned(): void {
    throw new Error("a vector register is read by lanes");
  }
  store(): void {
    throw new Error("a vector register is written as a whole");
  }
  vector(): void {
    this.e.get(this.local);
  }
  storeVector(push: () => void): void {
    push();
    this.e.set(this.local);
    this.registers.written.add(this.number);
    this.facts = 0;
  }
  lane(type: Lane, index: number): void {
    this.e.get(this.local).lane(EXTRACT[type], index);
  }
  low(bytes: 4 | 8): void {
    const { e } = this;
    e.v128(ZEROS);
    this.lane(bytes === 4 ? "f32" : "f64", 0);
    e.lane(bytes === 4 ? "f32x4_replace_lane" : "f64x2_replace_lane", 0);
  }
  upper(): Place {
    const upper = this.number + UPPER;
    if (this.registers.locals[upper]! >= 0) return new VectorPlace(this.e, this.registers, upper);
    const address = vectorAddress(upper);
    return new BytesPlace(this.e, () => this.e.i32(address), true);
  }
  address(): void {
    throw new Error("a vector register in a local has no address");
  }
}
