import type { Lowering, Place } from "./lowering.ts";

/**
 * The semantics of one instruction, written once. `shapes` lists the operand forms that exist; each shape becomes a
 * handler of the interpreter and can be translated.
 *
 * A shape is one letter and a size for each operand, in Intel order:
 * `r4` general register of 4 bytes, `v4` the same or an immediate, `i` immediate, `m4` memory of 4 bytes, `m0` memory
 * that is not accessed (LEA) or accessed by the semantics, `x` XMM register, `y` YMM register, `q` MMX register, `s` ST register,
 * `g` segment register, `c`/`d` control/debug register, `o` the constant 1.
 */
export interface Definition {
  /** Name of the opcode table's row. */
  readonly name: string;
  readonly shapes: readonly string[];
  /** What happens to each operand: `r`, `w` or `b` (both), one letter an operand. Decides how memory is translated. */
  readonly access: string;
  /** Shapes that get a handler in the interpreter's main loop; all others are reached through a call. */
  readonly hot?: readonly string[];
  /** Whether forms outside the main loop are translated all the same, helpers included. */
  readonly translated?: boolean;
  /** An instruction of the x87 unit: translated code keeps its status and tag words in locals. */
  readonly x87?: boolean;
  /** Floating-point arithmetic: the bound that translated code needs ({@link Lowering.floatBound}). */
  readonly floats?: FloatKind;
  /** Emits the instruction. `shape` is the parsed form. */
  emit(c: Lowering, operands: readonly Place[], shape: Shape): void;
  /** The operation without what its encoding demands, for VEX forms of it: see `semantics/avx-operands.ts`. */
  readonly operation?: Operation128;
}

/** An operation on vectors of 128 bits whose operands are at hand. */
export interface Operation128 {
  /** As {@link Definition.access}. */
  readonly access: string;
  /** As {@link Definition.emit}. */
  emit(c: Lowering, operands: readonly Place[], shape: Shape): void;
}

/** Type of floats and whether they are vectors. */
export type FloatKind = `${"f32" | "f64"}.${"scalar" | "vector"}`;

/** A parsed shape. */
export interface Shape {
  readonly text: string;
  readonly letters: readonly string[];
  readonly sizes: readonly number[];
  /** Index of the memory operand, -1 when there is none. */
  readonly memory: number;
}

/** Parses a shape such as `r4m1`. */
export function parseShape(text: string): Shape {
  const letters: string[] = [];
  const sizes: number[] = [];
  for (const [, letter, size] of text.matchAll(/([a-z])(\d*)/g)) {
    letters.push(letter ?? "");
    sizes.push(Number(size ?? 0));
  }
  return { text, letters, sizes, memory: letters.indexOf("m") };
}

/** Expands `"r# v#"`-like patterns over operand sizes: `sized("r#v#", [1, 2])` is `["r1v1", "r2v2"]`. */
export function sized(patterns: string | readonly string[], sizes: readonly number[]): string[] {
  const list = typeof patterns === "string" ? [patterns] : patterns;
  return list.flatMap((pattern) => sizes.map((size) => pattern.replaceAll("#", String(size))));
}
