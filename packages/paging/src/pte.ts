/**
 * Bits of a page-table entry, common to all x86 formats; NX and the bits from 52 exist only in 64-bit
 * entries and are given as bits of the entry's *upper* 32-bit word (Intel SDM 3A 4.5, AMD APM 2 5.3).
 */
export const PTE = {
  /** Bit 0: the entry maps something. */
  PRESENT: 0x001,
  /** Bit 1: writes are allowed. */
  WRITABLE: 0x002,
  /** Bit 2: CPL 3 may use it. */
  USER: 0x004,
  /** Bit 3: write-through. */
  PWT: 0x008,
  /** Bit 4: cache disabled. */
  PCD: 0x010,
  /** Bit 5: set by the processor at the first use. */
  ACCESSED: 0x020,
  /** Bit 6: set by the processor at the first write; leaf entries only. */
  DIRTY: 0x040,
  /** Bit 7 of a non-L1 entry: a large page. */
  PSE: 0x080,
  /** Bit 7 of an L1 entry: page attribute table index. */
  PAT: 0x080,
  /** Bit 8: survives a CR3 load. */
  GLOBAL: 0x100,
  /** Bits 9 to 11, free for software. */
  AVAILABLE: 0xe00,
  /** Upper word, bit 20 (bit 52): Xen's mark of a guest kernel page, whose {@link PTE.USER} Xen itself set. */
  HIGH_GUEST_KERNEL: 0x0010_0000,
  /** Upper word, bits 20 to 30 (52 to 62), free for software. */
  HIGH_AVAILABLE: 0x7ff0_0000,
  /** Upper word, bit 31 (bit 63): no instruction fetch. */
  HIGH_NX: 0x8000_0000,
} as const;

/** Entries in a 64-bit format's table. */
export const TABLE_ENTRIES = 512;

/** Lowest and highest L4 slot that belong to Xen in every PV address space (public/arch-x86/xen-x86_64.h). */
export const XEN_L4_SLOTS = {
  /** Shows the M2P table. */
  FIRST: 256,
  /** Empty here, as all after the first. */
  LAST: 271,
} as const;

/** Index into the table of `level` (1 to 4) that the 64-bit formats use for linear `address`. */
export function tableIndex(level: number, address: bigint): number {
  return Number((address >> BigInt(12 + 9 * (level - 1))) & 0x1ffn);
}

/** Linear address of the first byte that entry `index` of a `level` table covers, within that table's own span. */
export function tableSpan(level: number, index: number): bigint {
  return BigInt(index) << BigInt(12 + 9 * (level - 1));
}

/** Frame number in bits 12 to 51 of an entry given as two words; exact, up to 2^40 - 1. */
export function entryMfn(low: number, high: number): number {
  return (low >>> 12) + (high & 0x000f_ffff) * 0x10_0000;
}

/** Lower word of an entry for `mfn` with `flags` (bits 0 to 11). */
export function entryLow(mfn: number, flags: number): number {
  return (((mfn % 0x10_0000) << 12) | flags) >>> 0;
}

/** Upper word of an entry for `mfn`, with `high` flags such as {@link PTE.HIGH_NX}. */
export function entryHigh(mfn: number, high = 0): number {
  return (Math.floor(mfn / 0x10_0000) | high) >>> 0;
}

/** Whether `address` is canonical for 48-bit linear addresses. */
export function isCanonical(address: bigint): boolean {
  const top = BigInt.asUintN(64, address) >> 47n;
  return top === 0n || top === 0x1ffffn;
}
