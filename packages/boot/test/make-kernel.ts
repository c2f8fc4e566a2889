// A small ELF kernel with Xen notes of the test's choosing.
import { ELFNOTE } from "@paravirt/xen-abi";

export interface MakeKernelOptions {
  readonly bits?: 32 | 64;
  /** Notes to add or replace, by type. */
  readonly notes?: Readonly<Record<number, bigint | string>>;
  /** Notes to leave out. */
  readonly omit?: readonly number[] | "all";
  /** Content of a `__xen_guest` section; there are no notes then. */
  readonly guestSection?: string;
  readonly physical?: bigint;
  readonly entry?: bigint;
}

const VIRT_BASE = 0xffffffff80000000n;
const SIZE = 0x3000;

/** One segment of three pages, loaded at `physical`; notes of a Mini-OS. */
export function makeKernel(options: MakeKernelOptions = {}): Uint8Array {
  const notes = new Map<number, bigint | string>([
    [ELFNOTE.GUEST_OS, "Mini-OS"],
    [ELFNOTE.XEN_VERSION, "xen-3.0"],
    [ELFNOTE.LOADER, "generic"],
    [ELFNOTE.VIRT_BASE, VIRT_BASE],
    [ELFNOTE.PADDR_OFFSET, 0n],
    [ELFNOTE.ENTRY, options.entry ?? VIRT_BASE + 0x10n],
  ]);
  for (const [type, value] of Object.entries(options.notes ?? {})) notes.set(Number(type), value);
  if (options.omit === "all" || options.guestSection !== undefined) notes.clear();
  else for (const type of options.omit ?? []) notes.delete(type);
  const area = Buffer.concat([...notes].map(([type, value]) => note(type, value)));
  const is64 = options.bits !== 32;
  const file = Buffer.alloc(0x2000 + SIZE);
  file.set([0x7f, 0x45, 0x4c, 0x46, is64 ? 2 : 1, 1, 1]);
  file.writeUInt16LE(2, 16);
  file.writeUInt16LE(is64 ? 62 : 3, 18);
  const word = (at: number, value: bigint): void => {
    if (is64) file.writeBigUInt64LE(value, at);
    else file.writeUInt32LE(Number(value & 0xffffffffn), at);
  };
  word(24, options.entry ?? 0n);
  word(is64 ? 32 : 28, 0x80n);
  const counts = is64 ? 54 : 42;
  file.writeUInt16LE(is64 ? 56 : 32, counts);
  file.writeUInt16LE(2, counts + 2);
  const segment = (at: number, type: number, offset: number, physical: bigint, size: number): void => {
    file.writeUInt32LE(type, at);
    file.writeUInt32LE(7, at + (is64 ? 4 : 24));
    word(at + (is64 ? 8 : 4), BigInt(offset));
    word(at + (is64 ? 16 : 8), physical);
    word(at + (is64 ? 24 : 12), physical);
    word(at + (is64 ? 32 : 16), BigInt(size));
    word(at + (is64 ? 40 : 20), BigInt(size));
  };
  segment(0x80, 1, 0x2000, options.physical ?? 0n, SIZE);
  segment(0x80 + (is64 ? 56 : 32), area.length > 0 ? 4 : 0, 0x400, 0n, area.length);
  file.set(area, 0x400);
  if (options.guestSection !== undefined && is64) {
    const names = "\0__xen_guest\0.shstrtab\0";
    file.write(names, 0x1000, "latin1");
    file.write(`${options.guestSection}\0`, 0x1100, "latin1");
    file.writeBigUInt64LE(0x1800n, 40);
    file.writeUInt16LE(64, 58);
    file.writeUInt16LE(3, 60);
    file.writeUInt16LE(2, 62);
    const section = (index: number, name: number, type: number, offset: number, size: number): void => {
      const at = 0x1800 + index * 64;
      file.writeUInt32LE(name, at);
      file.writeUInt32LE(type, at + 4);
      file.writeBigUInt64LE(BigInt(offset), at + 24);
      file.writeBigUInt64LE(BigInt(size), at + 32);
    };
    section(1, 1, 1, 0x1100, options.guestSection.length + 1);
    section(2, 13, 3, 0x1000, names.length);
  }
  return file;
}

function note(type: number, value: bigint | string): Buffer {
  const desc = typeof value === "string" ? Buffer.from(`${value}\0`) : Buffer.alloc(8);
  if (typeof value === "bigint") desc.writeBigUInt64LE(value);
  const out = Buffer.alloc(16 + Math.ceil(desc.length / 4) * 4);
  out.writeUInt32LE(4, 0);
  out.writeUInt32LE(desc.length, 4);
  out.writeUInt32LE(type, 8);
  out.write("Xen\0", 12, "latin1");
  out.set(desc, 16);
  return out;
}
