import type { TypeExpression } from "./layout-types.ts";
import { callStructs, eventStructs, physdevStructs } from "./structs-calls.ts";
import { hvmStructs, ioStructs } from "./structs-io.ts";
import { moreIoStructs } from "./structs-io-more.ts";
import { grantStructs, memoryStructs } from "./structs-memory.ts";
import { xenStructs } from "./structs-xen.ts";

/**
 * The tables of all structures that this package knows, by C tag.
 * @hidden
 */
export type StructTable = typeof xenStructs &
  typeof callStructs &
  typeof eventStructs &
  typeof physdevStructs &
  typeof memoryStructs &
  typeof grantStructs &
  typeof ioStructs &
  typeof moreIoStructs &
  typeof hvmStructs;

/** The C tag of a structure that this package knows, without the word `struct`: `"start_info"`. */
export type StructName = keyof StructTable & string;

const all: StructTable = {
  ...xenStructs,
  ...callStructs,
  ...eventStructs,
  ...physdevStructs,
  ...memoryStructs,
  ...grantStructs,
  ...ioStructs,
  ...moreIoStructs,
  ...hvmStructs,
};

/** Every structure, by C tag, as its table writes it: the one place where fields and their order stand. */
export const STRUCTS: Readonly<Record<StructName, TypeExpression>> = all;
