/**
 * x86 decoder, disassembler and assembler for 16-, 32- and 64-bit code, without allocation per instruction.
 * @packageDocumentation
 */
export {};
