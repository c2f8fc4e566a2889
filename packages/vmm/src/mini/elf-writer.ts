import { ELFNOTE } from "@paravirt/xen-abi";

/** A Xen note: a number of 8 bytes or a text. */
export type XenNote = readonly [type: number, value: bigint | string];

const HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;
const PAGE = 4096;
const ET_EXEC = 2;
const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_NOTE = 4;
const READ_WRITE_EXECUTE = 7;
const READ = 4;

/** What {@link writeElf} puts into its file. */
export interface ElfContent {
  /** The only segment: code and data. */
  readonly bytes: Uint8Array;
  /** Linear address of the segment. */
  readonly address: bigint;
  /** Its address in the program header's `p_paddr`. */
  readonly physical: bigint;
  /** Bytes in memory, zeros after those of the file included. */
  readonly memorySize: number;
  /** Linear address of the first instruction. */
  readonly entry: bigint;
  /** The notes; ENTRY among them if it is wanted. */
  readonly notes: readonly XenNote[];
}

/** Writes a 64-bit ELF executable of one loadable segment with Xen's notes (System V ABI, chapter 4 and 5; elfnote.h). */
export function writeElf(content: ElfContent): Uint8Array {
  const notes = encodeNotes(content.notes);
  const notesAt = HEADER_SIZE + 2 * PROGRAM_HEADER_SIZE;
  const file = new Uint8Array(PAGE + content.bytes.length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // ELF, 64 bits, little-endian, version 1
  view.setUint16(16, ET_EXEC, true);
  view.setUint16(18, EM_X86_64, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, content.entry, true);
  view.setBigUint64(32, BigInt(HEADER_SIZE), true);
  view.setUint16(52, HEADER_SIZE, true);
  view.setUint16(54, PROGRAM_HEADER_SIZE, true);
  view.setUint16(56, 2, true);
  const program = (
    index: number,
    type: number,
    flags: number,
    offset: number,
    at: bigint,
    to: bigint,
    sizes: [number, number],
  ): void => {
    const base = HEADER_SIZE + index * PROGRAM_HEADER_SIZE;
    view.setUint32(base, type, true);
    view.setUint32(base + 4, flags, true);
    view.setBigUint64(base + 8, BigInt(offset), true);
    view.setBigUint64(base + 16, at, true);
    view.setBigUint64(base + 24, to, true);
    view.setBigUint64(base + 32, BigInt(sizes[0]), true);
    view.setBigUint64(base + 40, BigInt(sizes[1]), true);
    view.setBigUint64(base + 48, BigInt(type === PT_LOAD ? PAGE : 4), true);
  };
  const { bytes, address, physical, memorySize } = content;
  program(0, PT_LOAD, READ_WRITE_EXECUTE, PAGE, address, physical, [bytes.length, memorySize]);
  program(1, PT_NOTE, READ, notesAt, 0n, 0n, [notes.length, notes.length]);
  file.set(notes, notesAt);
  file.set(bytes, PAGE);
  return file;
}

/** Notes every kernel of this writer has. */
export const COMMON_NOTES: readonly XenNote[] = [
  [ELFNOTE.XEN_VERSION, "xen-3.0"],
  [ELFNOTE.LOADER, "generic"],
  [ELFNOTE.GUEST_OS, "paravirt-mini"],
];

const align4 = (size: number): number => (size + 3) & ~3;

function encodeNotes(notes: readonly XenNote[]): Uint8Array {
  const out: number[] = [];
  const word = (value: number): void => {
    for (let shift = 0; shift < 32; shift += 8) out.push((value >>> shift) & 0xff);
  };
  for (const [type, value] of notes) {
    const desc = typeof value === "string" ? [...value].map((c) => c.charCodeAt(0)).concat(0) : numberBytes(value);
    word(4);
    word(desc.length);
    word(type);
    out.push(0x58, 0x65, 0x6e, 0); // "Xen"
    out.push(...desc, ...new Array<number>(align4(desc.length) - desc.length).fill(0));
  }
  return Uint8Array.from(out);
}

function numberBytes(value: bigint): number[] {
  return Array.from({ length: 8 }, (_, index) => Number((value >> BigInt(8 * index)) & 0xffn));
}
