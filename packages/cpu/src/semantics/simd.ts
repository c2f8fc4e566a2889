import type { Definition } from "../definition.ts";
import { simdAesDefinitions } from "./simd-aes.ts";
import { simdConvertDefinitions } from "./simd-convert.ts";
import { simdFloatDefinitions } from "./simd-float.ts";
import { simdIntegerDefinitions } from "./simd-integer.ts";
import { simdMoveDefinitions } from "./simd-moves.ts";
import { simdShaDefinitions } from "./simd-sha.ts";
import { simdShuffleDefinitions } from "./simd-shuffle.ts";
import { simdStringDefinitions } from "./simd-strings.ts";

/** MMX and SSE, by subject. */
export const simdDefinitions: readonly Definition[] = [
  ...simdMoveDefinitions,
  ...simdIntegerDefinitions,
  ...simdShuffleDefinitions,
  ...simdFloatDefinitions,
  ...simdConvertDefinitions,
  ...simdStringDefinitions,
  ...simdAesDefinitions,
  ...simdShaDefinitions,
];
