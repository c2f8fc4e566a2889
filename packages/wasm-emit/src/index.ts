/**
 * Writes WebAssembly modules: instructions into a preallocated buffer in one pass, sections around them.
 * @packageDocumentation
 */
export { ByteBuffer } from "./buffer.ts";
export { CodeEmitter } from "./code.ts";
export { type MemoryImport, ModuleBuilder, type Signature, type TableDefinition } from "./module.ts";
export {
  MEM,
  type MemName,
  OP,
  type OpName,
  SIMD,
  SIMD_LANE,
  SIMD_MEM,
  type SimdLaneName,
  type SimdMemName,
  type SimdName,
  TRUNC_SAT,
  type TruncSatName,
  TYPE,
  type ValueType,
} from "./opcodes.ts";
