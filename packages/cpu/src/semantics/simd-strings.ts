import type { Definition } from "../definition.ts";
import { simd } from "./simd-operands.ts";

/** PCMPxSTRx: JavaScript compares; the memory operand needs no alignment. */
export const simdStringDefinitions: readonly Definition[] = ["pcmpestrm", "pcmpestri", "pcmpistrm", "pcmpistri"].map(
  (name) => simd(name, ["xxi", "xm16i"], "rr", (c) => c.service(), { unaligned: true }),
);
