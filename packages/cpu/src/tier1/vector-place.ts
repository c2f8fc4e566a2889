import type { CodeEmitter } from "@paravirt/wasm-emit";
import type { Lane, Place } from "../lowering.ts";

const EXTRACT = {
  u8: "i8x16_extract_lane_u",
  u16: "i16x8_extract_lane_u",
  i32: "i32x4_extract_lane",
  i64: "i64x2_extract_lane",
  f32: "f32x4_extract_lane",
  f64: "f64x2_extract_lane",
} as const;
const ZEROS = new Uint8Array(16);

/** The XMM registers of a region: which of them live in locals, and which of those it writes. */
export class VectorLocals {
  /** Local of each register, -1 for those that the region doesn't use. */
  readonly locals: readonly number[];
  /** Registers that some instruction writes: known once all are emitted. */
  readonly written: Set<number> = new Set();

  constructor(e: CodeEmitter, used: ReadonlySet<number>) {
    this.locals = Array.from({ length: 16 }, (_, number) => (used.has(number) ? e.local("v128") : -1));
  }
}

/** An XMM register in a local. */
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
  address(): void {
    throw new Error("a vector register in a local has no address");
  }
}
