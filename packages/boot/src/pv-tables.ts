import type { Pfn } from "@paravirt/core";

/** Page-table levels of x86-64. */
const LEVELS = 4;
const ADDRESS_MASK = (1n << 48n) - 1n;

/** The tables of one level in one mapping: they cover linear addresses `from` to `to`, inclusive, 48 bits. */
export interface PvLevelRange {
  /** First linear address. */
  readonly from: bigint;
  /** Last linear address, inclusive; below `from` when there is no table. */
  readonly to: bigint;
  /** First table's frame; `count` tables follow each other. */
  readonly pfn: number;
  /** Number of tables. */
  readonly count: number;
}

/** A run of linear addresses mapped to consecutive frames, with the tables that only it needs. */
export interface PvMapping {
  /** First linear address, 48 bits. */
  readonly from: bigint;
  /** Last linear address, inclusive, 48 bits. */
  readonly to: bigint;
  /** Frame behind `from`. */
  readonly pfn: number;
  /** Tables in all, and the frame of the first one: L4, L3, L2 then L1 tables follow each other. */
  readonly tables: number;
  /** Frame of the first table. */
  readonly tablesPfn: number;
  /** By level, L1 first. */
  readonly levels: readonly PvLevelRange[];
}

/** One page-table entry to write: in the table at `table`, pointing to `target`. */
export interface PvTableEntry {
  /** Frame of the table that holds the entry. */
  readonly table: Pfn;
  /** 0 to 511. */
  readonly index: number;
  /** Frame that the entry points to. */
  readonly target: Pfn;
  /** Bits 0 to 11. */
  readonly flags: number;
}

/** P | RW | A for L1, plus D | U above (libxc 4.17, xg_dom_x86.c `lvl_prot`). */
const LEAF_FLAGS = 0x23;
const TABLE_FLAGS = 0x67;
const READ_WRITE = 0x02;

/**
 * Counts the tables that map `from` to `to` (inclusive) beside `existing` mappings, as libxc's count_pgtables does:
 * every level covers whole tables, and what an earlier mapping covers is not built twice.
 */
export function planMapping(
  existing: readonly PvMapping[],
  from: bigint,
  to: bigint,
  pfn: number,
  tablesPfn: number,
): PvMapping {
  const first = from & ADDRESS_MASK;
  const last = to & ADDRESS_MASK;
  const levels: PvLevelRange[] = new Array(LEVELS);
  let tables = 0;
  for (let level = LEVELS - 1; level >= 0; level--) {
    const at = tablesPfn + tables;
    if (level === LEVELS - 1) {
      // The top table belongs to the first mapping.
      const count = existing.length === 0 ? 1 : 0;
      levels[level] = { from: 0n, to: count ? ADDRESS_MASK : -1n, pfn: at, count };
      tables += count;
      continue;
    }
    const mask = (1n << BigInt(12 + 9 * (level + 1))) - 1n;
    let low = first & ~mask;
    let high = last | mask;
    for (const other of existing) {
      const range = other.levels[level]!;
      if (range.count === 0) continue;
      if (low >= range.from && low <= range.to) low = range.to + 1n;
      if (high >= range.from && high <= range.to) high = range.from - 1n;
    }
    const count = low < high ? Number((high - low) >> BigInt(12 + 9 * (level + 1))) + 1 : 0;
    levels[level] = { from: low, to: high, pfn: at, count };
    tables += count;
  }
  return { from: first, to: last, pfn, tables, tablesPfn, levels };
}

/** Lists every entry of every table of `mappings`. L1 entries to page tables are read-only, as Xen demands. */
export function* tableEntries(mappings: readonly PvMapping[]): Generator<PvTableEntry> {
  const isTable = (pfn: number): boolean => mappings.some((m) => pfn >= m.tablesPfn && pfn < m.tablesPfn + m.tables);
  for (const mapping of mappings) {
    for (let level = LEVELS - 1; level >= 0; level--) {
      const own = mapping.levels[level]!;
      if (own.count === 0) continue;
      const shift = BigInt(12 + 9 * level);
      for (const other of mappings) {
        const below =
          level > 0 ? other.levels[level - 1]! : { from: other.from, to: other.to, pfn: other.pfn, count: 1 };
        if (below.count === 0) continue;
        let { from, to } = own;
        if (below.from > from) from = below.from;
        if (below.to < to) to = below.to;
        if (from > to) continue;
        const firstIndex = Number((from - own.from) >> shift);
        const lastIndex = Number((to - own.from) >> shift);
        const base = below.pfn + Number((from - below.from) >> shift);
        for (let i = firstIndex; i <= lastIndex; i++) {
          const target = base + i - firstIndex;
          const flags = level > 0 ? TABLE_FLAGS : isTable(target) ? LEAF_FLAGS & ~READ_WRITE : LEAF_FLAGS;
          yield { table: (own.pfn + (i >> 9)) as Pfn, index: i & 511, target: target as Pfn, flags };
        }
      }
    }
  }
}
