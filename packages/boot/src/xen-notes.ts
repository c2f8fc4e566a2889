import { ParavirtError } from "@paravirt/core";
import { ELFNOTE, XENFEAT } from "@paravirt/xen-abi";
import { cString, type ElfFile, type ElfNote } from "./elf.ts";

/** What a FEATURES note and a SUPPORTED_FEATURES note ask for, as masks of `1 << XENFEAT.…`. */
export interface XenFeatures {
  /** The guest runs with these. */
  readonly supported: number;
  /** The guest runs only with these. */
  readonly required: number;
}

/** What a kernel says about itself in its Xen notes; a member is `undefined` when its note is missing. */
export interface XenKernelInfo {
  /** Where it was found: ELF notes, or the older `__xen_guest` section. */
  readonly source: "elf-notes" | "__xen_guest";
  /** ENTRY: linear address of the first instruction. */
  readonly entry: bigint | undefined;
  /** Virtual address of a page that is filled with hypercall stubs. */
  readonly hypercallPage: bigint | undefined;
  /** VIRT_BASE: linear address of pfn 0. */
  readonly virtBase: bigint | undefined;
  /** What is subtracted from the addresses in the ELF headers. */
  readonly paddrOffset: bigint | undefined;
  /** XEN_VERSION: `xen-3.0`. */
  readonly xenVersion: string | undefined;
  /** GUEST_OS. */
  readonly guestOs: string | undefined;
  /** GUEST_VERSION. */
  readonly guestVersion: string | undefined;
  /** LOADER: `generic`. */
  readonly loader: string | undefined;
  /** PAE_MODE. */
  readonly paeMode: string | undefined;
  /** FEATURES, as {@link parseXenFeatures} reads it. */
  readonly features: string | undefined;
  /** SUPPORTED_FEATURES, a mask of `1 << XENFEAT.…`. */
  readonly supportedFeatures: number | undefined;
  /** HV_START_LOW: lowest address that the hypervisor may use. */
  readonly hvStartLow: bigint | undefined;
  /** Mask and value pairs that tell a valid L1 entry. */
  readonly l1MfnValid: readonly bigint[] | undefined;
  /** SUSPEND_CANCEL. */
  readonly suspendCancel: boolean;
  /** Whether there is a BSD_SYMTAB note; the symbol table itself isn't loaded. */
  readonly bsdSymtab: boolean;
  /** Virtual address at which the list of machine frames is mapped. */
  readonly initP2m: bigint | undefined;
  /** Whether the initrd may stay unmapped, named by its frame number. */
  readonly modStartPfn: boolean;
  /** 32-bit physical entry point of PVH. */
  readonly phys32Entry: number | undefined;
}

/** A little-endian number of 1, 2, 4 or 8 bytes; `undefined` for other sizes. */
export function noteNumber(desc: Uint8Array): bigint | undefined {
  if (desc.length !== 1 && desc.length !== 2 && desc.length !== 4 && desc.length !== 8) return undefined;
  let value = 0n;
  for (let i = desc.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(desc[i]!);
  return value;
}

/**
 * Reads a kernel's Xen notes, or its `__xen_guest` section when it has no notes.
 * Answers `undefined` for a file that is no Xen kernel; throws `BAD_IMAGE` for a note of impossible size.
 */
export function readXenKernelInfo(elf: ElfFile): XenKernelInfo | undefined {
  const notes = elf.notes.filter((note) => note.name === "Xen");
  if (notes.length === 0) return readGuestSection(elf);
  const last = new Map<number, ElfNote>();
  for (const note of notes) last.set(note.type, note);
  const number = (type: number): bigint | undefined => {
    const note = last.get(type);
    if (note === undefined) return undefined;
    const value = noteNumber(note.desc);
    if (value === undefined) {
      throw new ParavirtError(
        "BAD_IMAGE",
        `Xen note ${noteName(type)} has ${note.desc.length} bytes, not 1, 2, 4 or 8`,
      );
    }
    return value;
  };
  const text = (type: number): string | undefined => {
    const note = last.get(type);
    return note === undefined ? undefined : cString(note.desc, 0);
  };
  const supported = number(ELFNOTE.SUPPORTED_FEATURES);
  const phys32 = number(ELFNOTE.PHYS32_ENTRY);
  const valid = last.get(ELFNOTE.L1_MFN_VALID);
  return {
    source: "elf-notes",
    entry: number(ELFNOTE.ENTRY),
    hypercallPage: number(ELFNOTE.HYPERCALL_PAGE),
    virtBase: number(ELFNOTE.VIRT_BASE),
    paddrOffset: number(ELFNOTE.PADDR_OFFSET),
    xenVersion: text(ELFNOTE.XEN_VERSION),
    guestOs: text(ELFNOTE.GUEST_OS),
    guestVersion: text(ELFNOTE.GUEST_VERSION),
    loader: text(ELFNOTE.LOADER),
    paeMode: text(ELFNOTE.PAE_MODE),
    features: text(ELFNOTE.FEATURES),
    supportedFeatures: supported === undefined ? undefined : Number(supported & 0xffffffffn),
    hvStartLow: number(ELFNOTE.HV_START_LOW),
    l1MfnValid: valid === undefined ? undefined : words(valid.desc),
    suspendCancel: (number(ELFNOTE.SUSPEND_CANCEL) ?? 0n) !== 0n,
    bsdSymtab: last.has(ELFNOTE.BSD_SYMTAB),
    initP2m: number(ELFNOTE.INIT_P2M),
    modStartPfn: (number(ELFNOTE.MOD_START_PFN) ?? 0n) !== 0n,
    phys32Entry: phys32 === undefined ? undefined : Number(phys32 & 0xffffffffn),
  };
}

function words(desc: Uint8Array): bigint[] {
  const out: bigint[] = [];
  for (let at = 0; at + 8 <= desc.length; at += 8) out.push(noteNumber(desc.subarray(at, at + 8))!);
  return out;
}

/** The name of a Xen note type, or its number. */
export function noteName(type: number): string {
  return Object.entries(ELFNOTE).find(([, value]) => value === type)?.[0] ?? `0x${type.toString(16)}`;
}

/** The `__xen_guest` section of older kernels: `KEY=VALUE,KEY=VALUE` (libelf-loader's xen-elfnote fallback). */
function readGuestSection(elf: ElfFile): XenKernelInfo | undefined {
  const section = elf.sections.find((s) => s.name === "__xen_guest" && s.type !== 8);
  if (section === undefined) return undefined;
  const pairs = new Map<string, string>();
  for (const item of cString(elf.bytes.subarray(section.offset, section.offset + section.size), 0).split(",")) {
    const equals = item.indexOf("=");
    if (equals < 0) pairs.set(item, "");
    else pairs.set(item.slice(0, equals), item.slice(equals + 1));
  }
  const number = (key: string): bigint | undefined => {
    const value = pairs.get(key);
    if (value === undefined) return undefined;
    if (!/^(0x[0-9a-fA-F]+|[0-9]+)$/.test(value)) {
      throw new ParavirtError("BAD_IMAGE", `__xen_guest has ${key}=${value}, which is no number`);
    }
    return BigInt(value);
  };
  const virtBase = number("VIRT_BASE");
  const page = number("HYPERCALL_PAGE");
  return {
    source: "__xen_guest",
    entry: number("VIRT_ENTRY"),
    // The older form gives a page number relative to VIRT_BASE.
    hypercallPage: page === undefined ? undefined : page * 4096n + (virtBase ?? 0n),
    virtBase,
    paddrOffset: number("ELF_PADDR_OFFSET"),
    xenVersion: pairs.get("XEN_VER"),
    guestOs: pairs.get("GUEST_OS"),
    guestVersion: pairs.get("GUEST_VER"),
    loader: pairs.get("LOADER"),
    paeMode: pairs.get("PAE"),
    features: pairs.get("FEATURES"),
    supportedFeatures: undefined,
    hvStartLow: undefined,
    l1MfnValid: undefined,
    suspendCancel: false,
    bsdSymtab: pairs.has("BSD_SYMTAB"),
    initP2m: undefined,
    modStartPfn: false,
    phys32Entry: undefined,
  };
}

/**
 * Reads a FEATURES text such as `!writable_page_tables|pae_pgdir_above_4gb`: `!` marks what the guest can't do
 * without. Throws `UNSUPPORTED` when it requires a feature of unknown name, as Xen refuses it.
 */
export function parseXenFeatures(info: XenKernelInfo): XenFeatures {
  let supported = info.supportedFeatures ?? 0;
  let required = 0;
  for (const item of (info.features ?? "").split("|")) {
    if (item === "") continue;
    const must = item.startsWith("!");
    const name = must ? item.slice(1) : item;
    const bit = Object.entries(XENFEAT).find(([known]) => known === name)?.[1];
    if (bit === undefined) {
      if (must) throw new ParavirtError("UNSUPPORTED", `the kernel requires the unknown Xen feature "${name}"`);
      continue;
    }
    supported |= 1 << bit;
    if (must) required |= 1 << bit;
  }
  return { supported, required };
}
