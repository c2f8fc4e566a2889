import { cString, type ElfFile } from "./elf.ts";

/** What an ELF program or library says to the dynamic linker (System V ABI, chapter 5). */
export interface ElfDynamic {
  /** Path of the dynamic linker (PT_INTERP); libraries have none. */
  readonly interpreter: string | undefined;
  /** Names of the libraries it needs (DT_NEEDED), in order; a name with a slash is a path. */
  readonly needed: readonly string[];
  /** Folders searched for its libraries after the linker's own (DT_RUNPATH), `$ORIGIN` unexpanded. */
  readonly runPath: readonly string[];
  /** Folders of the older DT_RPATH, which hold for its libraries' libraries too; ignored beside a run path. */
  readonly rPath: readonly string[];
}

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NEEDED = 1n;
const DT_STRTAB = 5n;
const DT_RPATH = 15n;
const DT_RUNPATH = 29n;

/**
 * Reads what an ELF file wants of the dynamic linker, from its program headers alone, so that a stripped file will do.
 * A static program gives `undefined`; entries that lie outside the file are left out.
 */
export function readElfDynamic({ bytes, bits, segments }: ElfFile): ElfDynamic | undefined {
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  const interp = segments.find(({ type }) => type === PT_INTERP);
  if (dynamic === undefined) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const width = bits / 8;
  const word = (at: number): bigint => (bits === 64 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true)));
  const entries: { tag: bigint; value: bigint }[] = [];
  const end = Math.min(bytes.length, dynamic.offset + dynamic.fileSize);
  for (let at = dynamic.offset; at + 2 * width <= end; at += 2 * width) {
    const tag = word(at);
    if (tag === 0n) break;
    entries.push({ tag, value: word(at + width) });
  }
  // The string table is given by its address in memory.
  const address = entries.find(({ tag }) => tag === DT_STRTAB)?.value ?? 0n;
  const home = segments.find(
    ({ type, vaddr, fileSize }) => type === PT_LOAD && address >= vaddr && address < vaddr + BigInt(fileSize),
  );
  const strings = home === undefined ? bytes.length : home.offset + Number(address - home.vaddr);
  const texts = (wanted: bigint): string[] =>
    entries
      .filter(({ tag, value }) => tag === wanted && value < BigInt(bytes.length))
      .map(({ value }) => cString(bytes, strings + Number(value)))
      .filter((text) => text !== "");
  const folders = (wanted: bigint): string[] => texts(wanted).flatMap((list) => list.split(":").filter(Boolean));
  return {
    interpreter: interp === undefined ? undefined : cString(bytes, interp.offset, interp.fileSize),
    needed: texts(DT_NEEDED),
    runPath: folders(DT_RUNPATH),
    rPath: folders(DT_RPATH),
  };
}
