/**
 * x86 page-table formats and walks, and Xen's page types for direct paging.
 * @packageDocumentation
 */
export type { FrameHolder } from "./audit.ts";
export { validDescriptor } from "./descriptor.ts";
export {
  type BatchResult,
  createDirectPaging,
  type DirectPaging,
  type DirectPagingOptions,
  type DomainMemoryOptions,
  type FrameInfo,
  type MachphysMapping,
} from "./direct-paging.ts";
export type { ForeignMapping } from "./foreign.ts";
export type { AddressSpaceRoots, MmuextCaller } from "./mmuext.ts";
export { entryHigh, entryLow, entryMfn, isCanonical, PTE, TABLE_ENTRIES, tableIndex, XEN_L4_SLOTS } from "./pte.ts";
export { type DomainMemory, PAGE_TYPE, type PageType } from "./state.ts";
export {
  countTables,
  createTableBuilder,
  type TableBuilder,
  type TableBuilderOptions,
  type TableCount,
} from "./table-builder.ts";
export {
  PAGE_FAULT,
  type PagingFormat,
  type TableMemory,
  type WalkAccess,
  type WalkFault,
  type WalkHit,
  walk,
} from "./walk.ts";
