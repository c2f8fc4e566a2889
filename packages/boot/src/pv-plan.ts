import { PAGE_SIZE, ParavirtError, type Pfn } from "@paravirt/core";
import { MAX_GUEST_CMDLINE, SIF } from "@paravirt/xen-abi";
import type { ElfSegment } from "./elf.ts";
import type { KernelImage } from "./kernel-image.ts";
import { checkPvBootable } from "./pv-check.ts";
import { type PvMapping, planMapping } from "./pv-tables.ts";

/** What {@link planPvDomain} is asked for. */
export interface PvPlanOptions {
  /** Pages of 4 KiB that the domain gets. */
  readonly pages: number;
  /** The initial ramdisk, as it lies in the file. */
  readonly initrd?: Uint8Array;
  /** The kernel's command line; 1023 bytes at most. */
  readonly commandLine?: string;
}

/** Bytes to write at a guest-physical address before the domain runs; frames are zero otherwise. */
export interface PvLoad {
  /** Offset from pfn 0, in bytes. */
  readonly address: number;
  /** What to write; a view on the image or the initrd. */
  readonly bytes: Uint8Array;
}

/** A run of frames with a purpose. */
export interface PvRegion {
  /** First frame. */
  readonly pfn: Pfn;
  /** Number of frames. */
  readonly pages: number;
}

/** Everything that a PV domain starts with, by pseudo-physical frame; no machine frame is in it. */
export interface PvPlan {
  /** Pages of the domain. */
  readonly pages: number;
  /** Linear address of pfn 0. */
  readonly virtBase: bigint;
  /** Address of the first instruction. */
  readonly entry: bigint;
  /** Kernel segments and the initrd, in the order in which they are written. */
  readonly loads: readonly PvLoad[];
  /** From the first segment's page to the last one's. */
  readonly kernel: PvRegion;
  /** The start info page. */
  readonly startInfo: Pfn;
  /** Xenstore and console ring pages. */
  readonly xenstore: Pfn;
  /** The console ring page. */
  readonly console: Pfn;
  /** Tables of the initial mapping: L4, L3, L2, then L1. */
  readonly pageTables: PvRegion;
  /** The first stack's page. */
  readonly bootStack: Pfn;
  /** Where the ramdisk lies; `undefined` without one. */
  readonly initrd: PvRegion | undefined;
  /** The list of machine frames, with its own page tables after it when the kernel names an INIT_P2M address. */
  readonly p2m: PvRegion;
  /** Linear address of the list. */
  readonly p2mAddress: bigint;
  /** Whether the list has a mapping of its own (INIT_P2M). */
  readonly p2mApart: boolean;
  /** Page to fill with hypercall stubs. */
  readonly hypercallPage: Pfn | undefined;
  /** First linear address past what is used, and past the initial mapping (a 4 MiB boundary). */
  readonly allocatedEnd: bigint;
  /** First linear address past the initial mapping. */
  readonly mappedEnd: bigint;
  /** The initial mapping, then the one of the frame list if it is apart. */
  readonly mappings: readonly PvMapping[];
  /** `start_info.flags`. */
  readonly flags: number;
  /** `start_info.mod_start`: a frame number with MOD_START_PFN, else a linear address; 0 without initrd. */
  readonly moduleStart: bigint;
  /** Bytes of the initrd. */
  readonly moduleLength: number;
  /** The kernel's command line. */
  readonly commandLine: string;
}

const FOUR_MIB_MASK = 0x3fffffn;
/** libxc keeps at least 512 KiB mapped past the page tables, and a boot stack. */
const EXTRA_PAGES = 1 + (512 * 1024) / PAGE_SIZE;

/**
 * Lays out a PV domain exactly as libxc 4.17 does (xg_dom_core.c, xg_dom_x86.c). Pure: nothing is written.
 * Throws `UNSUPPORTED` or `BAD_IMAGE` for a kernel that can't boot as a 64-bit PV guest, and `OUT_OF_MEMORY` when it,
 * its tables and the initrd don't fit, with both numbers.
 */
export function planPvDomain(image: KernelImage, options: PvPlanOptions): PvPlan {
  const { pages, initrd } = options;
  const commandLine = options.commandLine ?? "";
  if (!Number.isInteger(pages) || pages < 1) throw new ParavirtError("BAD_ARGUMENT", `a domain of ${pages} pages`);
  const length = utf8Length(commandLine);
  if (length >= MAX_GUEST_CMDLINE) {
    throw new ParavirtError("BAD_ARGUMENT", `a command line of ${length} bytes, over ${MAX_GUEST_CMDLINE - 1}`);
  }
  const place = checkPvBootable(image);
  const { virtBase, paddrOffset } = place;
  const loadable = loadSegments(image);
  const kernelStart = Number(place.physicalStart - paddrOffset);
  const kernelEnd = Number(place.physicalEnd - paddrOffset);
  if (kernelStart % PAGE_SIZE !== 0) {
    throw new ParavirtError("BAD_IMAGE", `the kernel starts at 0x${kernelStart.toString(16)}, not at a page`);
  }

  let next = 0;
  const allocate = (what: string, count: number): Pfn => {
    if (next + count > pages) throw noMemory(what, next + count, pages);
    const pfn = next as Pfn;
    next += count;
    return pfn;
  };
  allocate("the space below the kernel", kernelStart / PAGE_SIZE);
  const kernelPages = Math.ceil((kernelEnd - kernelStart) / PAGE_SIZE);
  const kernel = { pfn: allocate("the kernel", kernelPages), pages: kernelPages };
  const loads: PvLoad[] = loadable.map((segment) => ({
    address: Number(segment.paddr - paddrOffset),
    bytes: image.elf.bytes.subarray(segment.offset, segment.offset + segment.fileSize),
  }));

  const unmappedInitrd = image.xen?.modStartPfn === true;
  const placeInitrd = (): PvRegion | undefined => {
    if (initrd === undefined) return undefined;
    const count = Math.ceil(initrd.length / PAGE_SIZE);
    const pfn = allocate(`an initrd of ${initrd.length} bytes`, count);
    loads.push({ address: pfn * PAGE_SIZE, bytes: initrd });
    return { pfn, pages: count };
  };
  let initrdRegion = unmappedInitrd ? undefined : placeInitrd();

  const listPages = Math.ceil((pages * 8) / PAGE_SIZE);
  const p2mBase = usableP2mBase(image, virtBase);
  let p2m: PvRegion | undefined;
  if (p2mBase === undefined) p2m = { pfn: allocate("the list of machine frames", listPages), pages: listPages };

  const startInfo = allocate("start_info", 1);
  const xenstore = allocate("the xenstore ring", 1);
  const console = allocate("the console ring", 1);

  // The tables map themselves, so their number is found by trying (libxc's alloc_pgtables_pv).
  const address = (pfn: number): bigint => virtBase + BigInt(pfn) * BigInt(PAGE_SIZE);
  let mapping: PvMapping;
  let wanted = EXTRA_PAGES;
  let lastMapped: bigint;
  for (;;) {
    lastMapped = address(next + wanted) | FOUR_MIB_MASK;
    mapping = planMapping([], virtBase, lastMapped, 0, next);
    wanted = mapping.tables + EXTRA_PAGES;
    if (address(next + wanted) <= lastMapped + 1n) break;
  }
  const pageTables = { pfn: allocate("page tables", mapping.tables), pages: mapping.tables };
  const bootStack = allocate("the boot stack", 1);
  const allocatedEnd = address(next);
  const mappedEnd = lastMapped + 1n;
  allocate("what the first page tables map", Number((mappedEnd - allocatedEnd) / BigInt(PAGE_SIZE)));
  const mappings = [mapping];

  if (unmappedInitrd) initrdRegion = placeInitrd();
  let p2mAddress = p2m === undefined ? 0n : address(p2m.pfn);
  if (p2mBase !== undefined) {
    const last = p2mBase + BigInt(listPages * PAGE_SIZE) - 1n;
    const own = planMapping(mappings, p2mBase, last, next, next + listPages);
    p2m = { pfn: allocate("the list of machine frames", listPages + own.tables), pages: listPages + own.tables };
    p2mAddress = p2mBase;
    mappings.push(own);
  }

  return {
    pages,
    virtBase,
    entry: place.entry,
    loads,
    kernel,
    startInfo,
    xenstore,
    console,
    pageTables,
    bootStack,
    initrd: initrdRegion,
    p2m: p2m!,
    p2mAddress,
    p2mApart: p2mBase !== undefined,
    hypercallPage: place.hypercallPage,
    allocatedEnd,
    mappedEnd,
    mappings,
    flags: initrdRegion !== undefined && unmappedInitrd ? SIF.MOD_START_PFN : 0,
    moduleStart:
      initrdRegion === undefined ? 0n : unmappedInitrd ? BigInt(initrdRegion.pfn) : address(initrdRegion.pfn),
    moduleLength: initrd?.length ?? 0,
    commandLine,
  };
}

/** Segments that are loaded: PT_LOAD with any access, as libelf's elf_phdr_is_loadable. */
export function loadSegments(image: KernelImage): readonly ElfSegment[] {
  return image.elf.segments.filter((segment) => segment.type === 1 && (segment.flags & 7) !== 0);
}

/** INIT_P2M, where libxc honours it: page-aligned and below VIRT_BASE. */
function usableP2mBase(image: KernelImage, virtBase: bigint): bigint | undefined {
  const base = image.xen?.initP2m;
  if (base === undefined || base >= virtBase || base % BigInt(PAGE_SIZE) !== 0n) return undefined;
  return base;
}

function utf8Length(text: string): number {
  let length = 0;
  for (const character of text) {
    const code = character.codePointAt(0)!;
    length += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return length;
}

function noMemory(what: string, needed: number, pages: number): ParavirtError {
  const mib = (count: number): string => `${Math.ceil((count * PAGE_SIZE) / 1048576)} MiB`;
  const limit = `${mib(pages)} (${pages} pages)`;
  return new ParavirtError("OUT_OF_MEMORY", `${what} ends at ${mib(needed)} (page ${needed}), the domain has ${limit}`);
}
