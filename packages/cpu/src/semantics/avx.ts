import type { Definition } from "../definition.ts";
import { avxFloatDefinitions } from "./avx-float.ts";
import { avxMemoryDefinitions } from "./avx-memory.ts";
import { avxMoveDefinitions } from "./avx-moves.ts";
import { requireAvx } from "./avx-operands.ts";
import { avxPackedDefinitions } from "./avx-packed.ts";
import { avxPermuteDefinitions } from "./avx-permute.ts";
import { systemDefinitions } from "./system.ts";

/** VLDMXCSR and VSTMXCSR: what LDMXCSR and STMXCSR do. */
function control(name: string): Definition {
  const legacy = systemDefinitions.find((definition) => definition.name === name)!;
  return {
    ...legacy,
    name: `v${name}`,
    hot: [],
    emit(c, operands, shape) {
      requireAvx(c);
      legacy.emit(c, operands, shape);
    },
  };
}

/** Makes AVX, AVX2, FMA and F16C, by subject: few engines need them. None is in the main loop. */
export function avxDefinitions(): readonly Definition[] {
  return [
    ...avxMoveDefinitions(),
    ...avxPackedDefinitions(),
    ...avxPermuteDefinitions(),
    ...avxFloatDefinitions(),
    ...avxMemoryDefinitions(),
    control("ldmxcsr"),
    control("stmxcsr"),
  ];
}
