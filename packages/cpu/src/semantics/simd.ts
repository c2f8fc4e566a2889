import type { Definition } from "../definition.ts";
import { simdIntegerDefinitions } from "./simd-integer.ts";
import { simdMoveDefinitions } from "./simd-moves.ts";
import { simdShuffleDefinitions } from "./simd-shuffle.ts";

/** MMX and SSE, by subject. */
export const simdDefinitions: readonly Definition[] = [
  ...simdMoveDefinitions,
  ...simdIntegerDefinitions,
  ...simdShuffleDefinitions,
];
