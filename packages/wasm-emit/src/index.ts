/**
 * Writes WebAssembly modules into a preallocated buffer in one pass.
 * @packageDocumentation
 */
export {};
