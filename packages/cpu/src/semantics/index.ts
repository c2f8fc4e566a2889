import type { Definition } from "../definition.ts";
import { arithmeticDefinitions } from "./arithmetic.ts";
import { bitDefinitions } from "./bits.ts";
import { controlDefinitions } from "./control.ts";
import { divisionDefinitions } from "./division.ts";
import { moveDefinitions } from "./moves.ts";
import { shiftDefinitions } from "./shifts.ts";
import { simdDefinitions } from "./simd.ts";
import { stringDefinitions } from "./strings.ts";
import { systemDefinitions } from "./system.ts";
import { x87Definitions } from "./x87.ts";

/** The semantics of all instructions but AVX's (see `avx.ts`), by subject. */
export const DEFINITIONS: readonly Definition[] = [
  ...arithmeticDefinitions,
  ...divisionDefinitions,
  ...shiftDefinitions,
  ...bitDefinitions,
  ...moveDefinitions,
  ...stringDefinitions,
  ...controlDefinitions,
  ...systemDefinitions,
  ...x87Definitions,
  ...simdDefinitions,
];
