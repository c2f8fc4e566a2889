import { PTE } from "./pte.ts";

/** The three x86 page-table formats that this package reads (Intel SDM 3A 4.3, 4.4, 4.5). */
export type PagingFormat = "4-level" | "pae" | "2-level";

/** Reads page tables wherever they are. */
export interface TableMemory {
  /** The little-endian 32-bit word at physical `address` (a multiple of 4), `undefined` where there is no memory. */
  read32(address: number): number | undefined;
}

/** What kind of access is asked about, and the processor's settings that matter to it. */
export interface WalkAccess {
  /** A write; `false` when absent. */
  readonly write?: boolean;
  /** From CPL 3; `false` when absent. */
  readonly user?: boolean;
  /** An instruction fetch; `false` when absent. */
  readonly execute?: boolean;
  /** CR0.WP: read-only pages also hold for the supervisor; `true` when absent. */
  readonly writeProtect?: boolean;
  /** EFER.NXE; `true` when absent. Without it bit 63 is a reserved bit. */
  readonly noExecute?: boolean;
  /** CR4.PSE, for the 2-level format only; `true` when absent. */
  readonly pageSizeExtension?: boolean;
  /** Bits of a physical address; higher ones in an entry are reserved. 46 when absent. */
  readonly physicalBits?: number;
}

/** A translation. */
export interface WalkHit {
  /** Tells it from a {@link WalkFault}. */
  readonly ok: true;
  /** Physical address of the byte asked for. */
  readonly physical: number;
  /** Bytes that the leaf maps: 4 KiB, 2 MiB, 4 MiB or 1 GiB. */
  readonly pageSize: number;
  /** Level of the entry that maps it, 1 for a 4 KiB page. */
  readonly level: number;
  /** Physical address of that entry. */
  readonly entryAddress: number;
  /** All levels allow writes. */
  readonly writable: boolean;
  /** All levels allow CPL 3. */
  readonly user: boolean;
  /** No level forbids fetches. */
  readonly executable: boolean;
  /** G of the leaf entry. */
  readonly global: boolean;
  /** A of the leaf entry. */
  readonly accessed: boolean;
  /** D of the leaf entry. */
  readonly dirty: boolean;
}

/** A page fault. */
export interface WalkFault {
  /** Tells it from a {@link WalkHit}. */
  readonly ok: false;
  /** Error code of the #PF: P 1, W 2, U 4, RSVD 8, I 16 (SDM 3A 4.7). */
  readonly errorCode: number;
  /** Level of the entry at fault: not present, with a reserved bit, or the leaf when rights lack; 0: not canonical. */
  readonly level: number;
  /** Physical address of that entry, 0 for level 0. */
  readonly entryAddress: number;
}

interface Entry {
  low: number;
  high: number;
  address: number;
}

/** Error-code bits of a page fault (SDM 3A 4.7). */
export const PAGE_FAULT = {
  /** The entry was present: rights were lacking, or a reserved bit was set. */
  PRESENT: 1,
  /** The access was a write. */
  WRITE: 2,
  /** The access came from CPL 3. */
  USER: 4,
  /** A reserved bit was set in an entry. */
  RESERVED: 8,
  /** The access was an instruction fetch. */
  FETCH: 16,
} as const;

/**
 * Translates linear `address` as the processor would, changing nothing (A and D bits stay as they are).
 * `root` is the physical address in CR3. A table outside of memory faults as an entry that isn't present.
 */
export function walk(
  memory: TableMemory,
  format: PagingFormat,
  root: number,
  address: bigint,
  access: WalkAccess = {},
): WalkHit | WalkFault {
  const nx = format !== "2-level" && access.noExecute !== false;
  const request =
    (access.write === true ? PAGE_FAULT.WRITE : 0) |
    (access.user === true ? PAGE_FAULT.USER : 0) |
    (access.execute === true && nx ? PAGE_FAULT.FETCH : 0);
  const linear = BigInt.asUintN(format === "4-level" ? 64 : 32, address);
  if (format === "4-level" && linear >> 47n !== 0n && linear >> 47n !== 0x1ffffn) {
    // A processor raises #GP before it walks; the caller tells by the level.
    return { ok: false, errorCode: request, level: 0, entryAddress: 0 };
  }
  const indexBits = format === "2-level" ? 10 : 9;
  const entryBytes = format === "2-level" ? 4 : 8;
  const top = format === "4-level" ? 4 : format === "pae" ? 3 : 2;
  let table = format === "pae" ? Math.floor(root / 32) * 32 : Math.floor(root / 4096) * 4096;
  let writable = true;
  let user = true;
  let executable = true;
  for (let level = top; ; level--) {
    const shift = 12 + indexBits * (level - 1);
    const index = Number(
      (linear >> BigInt(shift)) & (format === "pae" && level === 3 ? 3n : (1n << BigInt(indexBits)) - 1n),
    );
    const entry = readEntry(memory, table + index * entryBytes, entryBytes);
    const at = { level, entryAddress: entry.address };
    if ((entry.low & PTE.PRESENT) === 0) return { ok: false, errorCode: request, ...at };
    // Level 3 of PAE is no table of the walk but four registers, loaded with CR3: they carry no rights.
    const pdpte = format === "pae" && level === 3;
    const leaf = level === 1 || isLargePage(format, level, entry, access);
    if (hasReservedBits(format, level, leaf, entry, access, nx)) {
      return { ok: false, errorCode: request | PAGE_FAULT.PRESENT | PAGE_FAULT.RESERVED, ...at };
    }
    if (!pdpte) {
      writable &&= (entry.low & PTE.WRITABLE) !== 0;
      user &&= (entry.low & PTE.USER) !== 0;
      executable &&= !(nx && (entry.high & PTE.HIGH_NX) !== 0);
    }
    if (!leaf) {
      table = frameAddress(entry);
      continue;
    }
    const supervisorWrite = access.user !== true && access.writeProtect === false;
    const denied =
      (access.user === true && !user) ||
      (access.write === true && !writable && !supervisorWrite) ||
      (access.execute === true && !executable);
    if (denied) return { ok: false, errorCode: request | PAGE_FAULT.PRESENT, ...at };
    const pageSize = 2 ** shift;
    return {
      ok: true,
      physical: leafBase(format, level, entry, pageSize) + Number(linear & BigInt(pageSize - 1)),
      pageSize,
      ...at,
      writable,
      user,
      executable,
      global: (entry.low & PTE.GLOBAL) !== 0,
      accessed: (entry.low & PTE.ACCESSED) !== 0,
      dirty: (entry.low & PTE.DIRTY) !== 0,
    };
  }
}

function readEntry(memory: TableMemory, address: number, bytes: number): Entry {
  const low = memory.read32(address) ?? 0;
  const high = bytes === 8 ? (memory.read32(address + 4) ?? 0) : 0;
  return { low, high, address };
}

function frameAddress(entry: Entry): number {
  return ((entry.low & 0xffff_f000) >>> 0) + (entry.high & 0x000f_ffff) * 2 ** 32;
}

function isLargePage(format: PagingFormat, level: number, entry: Entry, access: WalkAccess): boolean {
  if ((entry.low & PTE.PSE) === 0 || level === 1) return false;
  if (format === "2-level") return access.pageSizeExtension !== false;
  return level === 2 || (level === 3 && format === "4-level");
}

function leafBase(format: PagingFormat, level: number, entry: Entry, pageSize: number): number {
  if (level === 1) return frameAddress(entry);
  // A 4 MiB page has bits 32 to 39 of its address in bits 13 to 20 (PSE-36).
  if (format === "2-level") return ((entry.low & 0xffc0_0000) >>> 0) + ((entry.low >>> 13) & 0xff) * 2 ** 32;
  const base = frameAddress(entry);
  return base - (base % pageSize);
}

function hasReservedBits(
  format: PagingFormat,
  level: number,
  leaf: boolean,
  entry: Entry,
  access: WalkAccess,
  nx: boolean,
): boolean {
  if (format === "2-level") return leaf && level === 2 && (entry.low & (1 << 21)) !== 0;
  const physicalBits = access.physicalBits ?? 46;
  const highAddress = entry.high & 0x000f_ffff;
  if (highAddress >= 2 ** Math.max(0, physicalBits - 32)) return true;
  if (!nx && (entry.high & PTE.HIGH_NX) !== 0) return true;
  if (format === "pae") {
    // PDPTEs reserve R/W, U/S, bits 5 to 8 and NX; the other levels reserve 52 to 62 (SDM 3A table 4-8 to 4-11).
    if (level === 3) return (entry.low & 0x1e6) !== 0 || entry.high >>> 20 !== 0;
    if ((entry.high & PTE.HIGH_AVAILABLE) !== 0) return true;
  }
  if (level === 4) return (entry.low & PTE.PSE) !== 0;
  // Below a large page's address only bit 12 (PAT) may be set.
  if (leaf && level === 2) return (entry.low & 0x001f_e000) !== 0;
  if (leaf && level === 3) return (entry.low & 0x3fff_e000) !== 0;
  return false;
}
