import { ParavirtError } from "@paravirt/core";

/** A program header: one piece of the file, and where it goes. */
export interface ElfSegment {
  /** PT_LOAD is 1, PT_NOTE 4. */
  readonly type: number;
  /** 1 execute, 2 write, 4 read. */
  readonly flags: number;
  /** Offset in the file, in bytes. */
  readonly offset: number;
  /** Virtual address. */
  readonly vaddr: bigint;
  /** Physical address. */
  readonly paddr: bigint;
  /** Bytes in the file; the rest up to {@link ElfSegment.memSize} is zero. */
  readonly fileSize: number;
  /** Bytes in memory. */
  readonly memSize: number;
}

/** A section header. */
export interface ElfSection {
  /** Name, empty when the file has no section names. */
  readonly name: string;
  /** SHT_NOTE is 7, SHT_NOBITS 8. */
  readonly type: number;
  /** Virtual address, 0 for what is not loaded. */
  readonly address: bigint;
  /** Offset in the file, in bytes. */
  readonly offset: number;
  /** Bytes in the file. */
  readonly size: number;
}

/** One ELF note. */
export interface ElfNote {
  /** Its owner: `Xen`, `GNU`. */
  readonly name: string;
  /** Meaning depends on the owner: for `Xen`, an `ELFNOTE` number. */
  readonly type: number;
  /** Descriptor bytes, a view on the file. */
  readonly desc: Uint8Array;
}

/** An ELF file, checked: everything it lists lies inside its bytes. */
export interface ElfFile {
  /** 32 or 64. */
  readonly bits: 32 | 64;
  /** EM_386 is 3, EM_X86_64 62. */
  readonly machine: number;
  /** ET_EXEC is 2, ET_DYN 3. */
  readonly type: number;
  /** `e_entry`. */
  readonly entry: bigint;
  /** Program headers in file order. */
  readonly segments: readonly ElfSegment[];
  /** Section headers in file order; empty when the file has none. */
  readonly sections: readonly ElfSection[];
  /** Notes of all PT_NOTE segments or, without any, of all note sections. */
  readonly notes: readonly ElfNote[];
  /** The whole file; segments and sections are offsets into it. */
  readonly bytes: Uint8Array;
}

const PT_LOAD = 1;
const PT_NOTE = 4;
const SHT_NOTE = 7;
const SHT_NOBITS = 8;
/** As many headers as any kernel has, and few enough to read at once. */
const MAX_HEADERS = 4096;

/** Whether `bytes` start as an ELF file does. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

/**
 * Reads the headers and notes of a little-endian ELF file. Nothing is copied.
 * Throws `BAD_IMAGE` naming what lies outside the file.
 */
export function readElf(bytes: Uint8Array): ElfFile {
  if (!isElf(bytes)) throw new ParavirtError("BAD_IMAGE", "not an ELF file: no ELF magic at its start");
  const is64 = bytes[4] === 2;
  if (!is64 && bytes[4] !== 1)
    throw new ParavirtError("BAD_IMAGE", `ELF class ${bytes[4]} is neither 1 (32) nor 2 (64)`);
  if (bytes[5] !== 1) throw new ParavirtError("UNSUPPORTED", "a big-endian ELF file; only little-endian ones are read");
  inside("ELF header", 0, is64 ? 64 : 52, bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (at: number): bigint => (is64 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true)));
  const segments: ElfSegment[] = [];
  const phoff = safe(is64 ? word(32) : word(28), "program header offset");
  const shoff = safe(is64 ? word(40) : word(32), "section header offset");
  const counts = is64 ? 54 : 42;
  const phsize = view.getUint16(counts, true);
  const phnum = view.getUint16(counts + 2, true);
  const shsize = view.getUint16(counts + 4, true);
  const shnum = view.getUint16(counts + 6, true);
  const names = view.getUint16(counts + 8, true);
  if (phnum > 0) {
    if (phnum > MAX_HEADERS) throw new ParavirtError("BAD_IMAGE", `${phnum} program headers, over ${MAX_HEADERS}`);
    if (phsize < (is64 ? 56 : 32)) throw new ParavirtError("BAD_IMAGE", `program headers of ${phsize} bytes`);
    inside("program headers", phoff, phnum * phsize, bytes);
  }
  for (let i = 0; i < phnum; i++) {
    const at = phoff + i * phsize;
    const segment: ElfSegment = {
      type: view.getUint32(at, true),
      flags: view.getUint32(at + (is64 ? 4 : 24), true),
      offset: safe(word(at + (is64 ? 8 : 4)), "segment offset"),
      vaddr: word(at + (is64 ? 16 : 8)),
      paddr: word(at + (is64 ? 24 : 12)),
      fileSize: safe(word(at + (is64 ? 32 : 16)), "segment file size"),
      memSize: safe(word(at + (is64 ? 40 : 20)), "segment memory size"),
    };
    if (segment.type === PT_LOAD || segment.type === PT_NOTE) {
      inside(`segment ${i}`, segment.offset, segment.fileSize, bytes);
      if (segment.type === PT_LOAD && segment.memSize < segment.fileSize) {
        const sizes = `${segment.memSize} bytes of memory for ${segment.fileSize} bytes of file`;
        throw new ParavirtError("BAD_IMAGE", `segment ${i} has ${sizes}`);
      }
    }
    segments.push(segment);
  }
  const sections: ElfSection[] = [];
  const nameOffsets: number[] = [];
  if (shnum > 0 && shoff > 0) {
    if (shnum > MAX_HEADERS) throw new ParavirtError("BAD_IMAGE", `${shnum} section headers, over ${MAX_HEADERS}`);
    if (shsize < (is64 ? 64 : 40)) throw new ParavirtError("BAD_IMAGE", `section headers of ${shsize} bytes`);
    inside("section headers", shoff, shnum * shsize, bytes);
    for (let i = 0; i < shnum; i++) {
      const at = shoff + i * shsize;
      const section = {
        name: "",
        type: view.getUint32(at + 4, true),
        address: word(at + (is64 ? 16 : 12)),
        offset: safe(word(at + (is64 ? 24 : 16)), "section offset"),
        size: safe(word(at + (is64 ? 32 : 20)), "section size"),
      };
      if (section.type !== SHT_NOBITS && section.type !== 0)
        inside(`section ${i}`, section.offset, section.size, bytes);
      nameOffsets.push(view.getUint32(at, true));
      sections.push(section);
    }
    const table = sections[names];
    if (table !== undefined && table.type !== SHT_NOBITS && table.type !== 0) {
      const strings = bytes.subarray(table.offset, table.offset + table.size);
      for (let i = 0; i < sections.length; i++) {
        sections[i] = { ...sections[i]!, name: cString(strings, nameOffsets[i]!) };
      }
    }
  }
  const places: readonly { readonly offset: number; readonly size: number }[] = segments.some((s) => s.type === PT_NOTE)
    ? segments.filter((s) => s.type === PT_NOTE).map((s) => ({ offset: s.offset, size: s.fileSize }))
    : sections.filter((s) => s.type === SHT_NOTE);
  const notes = places.flatMap((place) => readNotes(bytes.subarray(place.offset, place.offset + place.size), view));
  return {
    bits: is64 ? 64 : 32,
    machine: view.getUint16(18, true),
    type: view.getUint16(16, true),
    entry: word(24),
    segments,
    sections,
    notes,
    bytes,
  };
}

/** Splits a note area; a note that runs past its end closes the list, as the Linux and Xen readers do. */
function readNotes(area: Uint8Array, file: DataView): ElfNote[] {
  const base = area.byteOffset - file.byteOffset;
  const notes: ElfNote[] = [];
  let at = 0;
  while (at + 12 <= area.length) {
    const nameSize = file.getUint32(base + at, true);
    const descSize = file.getUint32(base + at + 4, true);
    const type = file.getUint32(base + at + 8, true);
    const desc = at + 12 + align4(nameSize);
    if (desc + descSize > area.length) break;
    notes.push({ name: cString(area, at + 12, nameSize), type, desc: area.subarray(desc, desc + descSize) });
    at = desc + align4(descSize);
  }
  return notes;
}

const align4 = (value: number): number => Math.ceil(value / 4) * 4;

/** The text at `at` up to a zero byte, `limit` bytes or the end. Bytes over 0x7e become `?`. */
export function cString(bytes: Uint8Array, at: number, limit: number = bytes.length): string {
  let text = "";
  const end = Math.min(bytes.length, at + limit, at + 4096);
  for (let i = at; i < end && bytes[i] !== 0; i++) {
    const byte = bytes[i]!;
    text += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "?";
  }
  return text;
}

function safe(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new ParavirtError("BAD_IMAGE", `${what} 0x${value.toString(16)} is past every file's end`);
  }
  return Number(value);
}

function inside(what: string, offset: number, size: number, bytes: Uint8Array): void {
  if (offset + size > bytes.length) {
    const wanted = `${what} needs bytes ${offset} to ${offset + size}`;
    throw new ParavirtError("BAD_IMAGE", `${wanted} of a file of ${bytes.length}: truncated or corrupt`);
  }
}
