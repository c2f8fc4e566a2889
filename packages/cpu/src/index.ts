/**
 * An x86-64 processor in WebAssembly: interpreter and translator from one set of semantics.
 * @packageDocumentation
 */
export {};
