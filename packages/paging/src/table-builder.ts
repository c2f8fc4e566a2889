import type { MachineMemory } from "@paravirt/core";
import { ParavirtError } from "@paravirt/core";
import { entryHigh, entryLow, entryMfn, isCanonical, PTE, tableIndex } from "./pte.ts";

/** Flags that a domain builder gives to the tables' own entries, as libxc does: P, RW, US, A, D. */
const TABLE_FLAGS = PTE.PRESENT | PTE.WRITABLE | PTE.USER | PTE.ACCESSED | PTE.DIRTY;

/** What {@link createTableBuilder} needs. */
export interface TableBuilderOptions {
  /** Where the tables are written. */
  readonly memory: MachineMemory;
  /** MFN of the zeroed frame that becomes the L4. */
  readonly root: number;
  /** Answers the MFN of a zeroed frame for a table of `level` (3, 2 or 1); called in the order in which tables are first needed. */
  allocateTable(level: number): number;
}

/** Writes the first page tables of a new domain, before they are validated. */
export interface TableBuilder {
  /** Maps one page. `flags` are the L1 entry's bits 0 to 11, `high` its upper word's such as {@link PTE.HIGH_NX}. */
  map(address: bigint, mfn: number, flags: number, high?: number): void;
  /** Machine address of the L1 entry of `address`, or 0 while there is no table for it. */
  entryAddress(address: bigint): number;
  /** Takes RW from the entry of `address`: for pages that hold page tables, before they are pinned. */
  makeReadOnly(address: bigint): void;
}

/** Creates a writer of 4-level tables. Nothing is checked here beyond addresses: pinning the root checks it all. */
export function createTableBuilder(options: TableBuilderOptions): TableBuilder {
  const { memory, root } = options;
  const { words } = memory;

  const locate = (address: bigint, create: boolean): number => {
    if (!isCanonical(address) || (address & 0xfffn) !== 0n) {
      throw new ParavirtError("BAD_ARGUMENT", `0x${address.toString(16)} is not the address of a page`);
    }
    let table = root;
    for (let level = 4; level > 1; level--) {
      const at = table * 1024 + tableIndex(level, address) * 2;
      const present = (words[at]! & PTE.PRESENT) !== 0;
      if (!present) {
        if (!create) return 0;
        const mfn = options.allocateTable(level - 1);
        words[at] = entryLow(mfn, TABLE_FLAGS);
        words[at + 1] = entryHigh(mfn);
      }
      table = entryMfn(words[at]!, words[at + 1]!);
    }
    return table * 4096 + tableIndex(1, address) * 8;
  };

  return {
    map: (address, mfn, flags, high = 0) => {
      if (!(mfn >= 0 && mfn < memory.frames)) {
        throw new ParavirtError("OUT_OF_RANGE", `frame ${mfn} is past the machine's ${memory.frames}`);
      }
      const at = locate(address, true) / 4;
      words[at] = entryLow(mfn, flags);
      words[at + 1] = entryHigh(mfn, high);
    },
    entryAddress: (address) => locate(address, false),
    makeReadOnly: (address) => {
      const at = locate(address, false) / 4;
      if (at === 0) throw new ParavirtError("BAD_ARGUMENT", `0x${address.toString(16)} is not mapped`);
      words[at]! &= ~PTE.WRITABLE;
    },
  };
}

/** Tables by level, without the one L4. */
export interface TableCount {
  /** Level 3 tables. */
  readonly l3: number;
  /** Level 2 tables. */
  readonly l2: number;
  /** Level 1 tables. */
  readonly l1: number;
}

/** How many tables of each level map the linear range from `from` to `to` (exclusive), without the L4 itself. */
export function countTables(from: bigint, to: bigint): TableCount {
  if (to <= from) return { l3: 0, l2: 0, l1: 0 };
  const spanned = (shift: bigint): number => Number(((to - 1n) >> shift) - (from >> shift)) + 1;
  return { l3: spanned(39n), l2: spanned(30n), l1: spanned(21n) };
}
