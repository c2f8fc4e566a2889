import { readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { cString, type ElfDynamic, type ElfFile, isElf, readElf, readElfDynamic } from "@paravirt/boot";
import { isParavirtError } from "@paravirt/core";

/** A file that a dynamically linked program needs to start. */
export interface NeededFile {
  /** Where it is on this machine. */
  readonly hostPath: string;
  /** Where the program will look for it in the guest. */
  readonly guestPath: string;
}

/** A program or library whose needs are asked for. */
export interface ProgramFile extends NeededFile {
  /** Its contents. */
  readonly bytes: Uint8Array;
}

/** Finds the dynamic linker and the shared libraries of programs, as this machine's dynamic linker would. */
export interface LibraryFinder {
  /**
   * What `program` itself needs: ask again for each answer, to get to the libraries' libraries.
   * `onMissing` hears the names that this machine doesn't have. A file that is no x86 ELF file needs nothing.
   */
  needsOf(program: ProgramFile, onMissing: (name: string) => void): readonly NeededFile[];
  /** Whether an answer was found through {@link LD_CACHE}: the guest then needs that file, too. */
  readonly usedCache: boolean;
}

/** The dynamic linker's list of libraries, which ldconfig writes. */
export const LD_CACHE = "/etc/ld.so.cache";

const EM_386 = 3;
const EM_X86_64 = 62;
/** glibc's own search path on Debian, and that of other distributions, for each width. */
const DEFAULT_FOLDERS = {
  64: ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"],
  32: ["/lib/i386-linux-gnu", "/usr/lib/i386-linux-gnu", "/lib32", "/usr/lib32", "/lib", "/usr/lib"],
} as const;

/** Makes a finder that reads the cache once; `cachePath` is another place for it. */
export function createLibraryFinder(cachePath: string = LD_CACHE): LibraryFinder {
  let usedCache = false;
  const cache = { 64: new Map<string, string>(), 32: new Map<string, string>() };
  for (const { name, path, bits } of readCache(cachePath)) if (!cache[bits].has(name)) cache[bits].set(name, path);

  const find = (name: string, elf: ElfFile, dynamic: ElfDynamic, program: ProgramFile): NeededFile | undefined => {
    if (name.includes("/")) return fits(name, elf) ? { hostPath: name, guestPath: name } : undefined;
    const inFolder = (hostFolder: string, guestFolder: string): NeededFile | undefined => {
      const hostPath = join(hostFolder, name);
      return fits(hostPath, elf) ? { hostPath, guestPath: join(guestFolder, name) } : undefined;
    };
    for (const folder of dynamic.runPath.length > 0 ? dynamic.runPath : dynamic.rPath) {
      const found = inFolder(expand(folder, program.hostPath, elf), expand(folder, program.guestPath, elf));
      if (found !== undefined) return found;
    }
    const cached = cache[elf.bits].get(name);
    if (cached !== undefined && fits(cached, elf)) {
      usedCache = true;
      return { hostPath: cached, guestPath: cached };
    }
    for (const folder of DEFAULT_FOLDERS[elf.bits]) {
      const found = inFolder(folder, folder);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return {
    get usedCache() {
      return usedCache;
    },
    needsOf(program, onMissing) {
      const elf = readProgram(program.bytes);
      const dynamic = elf === undefined ? undefined : readElfDynamic(elf);
      if (elf === undefined || dynamic === undefined) return [];
      const files: NeededFile[] = [];
      const { interpreter } = dynamic;
      if (interpreter !== undefined) {
        if (fits(interpreter, elf)) files.push({ hostPath: interpreter, guestPath: interpreter });
        else onMissing(interpreter);
      }
      for (const name of dynamic.needed) {
        const found = find(name, elf, dynamic, program);
        if (found === undefined) onMissing(name);
        else files.push(found);
      }
      return files;
    },
  };
}

/** ld.so(8): `$ORIGIN` is the folder of the file that has the path, `$LIB` the machine's library folder. */
function expand(folder: string, file: string, elf: ElfFile): string {
  const library = elf.bits === 64 ? "lib/x86_64-linux-gnu" : "lib/i386-linux-gnu";
  return folder
    .replace(/\$(ORIGIN\b|\{ORIGIN\})/g, dirname(file))
    .replace(/\$(LIB\b|\{LIB\})/g, library)
    .replace(/\$(PLATFORM\b|\{PLATFORM\})/g, elf.bits === 64 ? "x86_64" : "i686");
}

/** The linker skips libraries of another machine or width, so both may lie in one search path. */
function fits(path: string, { machine, bits }: ElfFile): boolean {
  try {
    if (!statSync(path).isFile()) return false;
    const elf = readProgram(readFileSync(path));
    return elf !== undefined && elf.machine === machine && elf.bits === bits;
  } catch {
    return false;
  }
}

/** An x86 ELF file, or nothing: a damaged one goes into the archive as it is, and its guest will complain. */
function readProgram(bytes: Uint8Array): ElfFile | undefined {
  if (!isElf(bytes)) return undefined;
  try {
    const elf = readElf(bytes);
    return elf.machine === EM_X86_64 || elf.machine === EM_386 ? elf : undefined;
  } catch (error) {
    if (isParavirtError(error)) return undefined;
    throw error;
  }
}

interface CacheEntry {
  readonly name: string;
  readonly path: string;
  readonly bits: 32 | 64;
}

const CACHE_MAGIC = "glibc-ld.so.cache1.1";
const CACHE_HEADER = 48;
const CACHE_ENTRY = 24;
/** Flags of a libc6 library, plain for i386 and with its own width for x86-64 (glibc, sysdeps/generic/ldconfig.h). */
const CACHE_FLAGS: Readonly<Record<number, 32 | 64>> = { 3: 32, 771: 64 };

/** The entries of an `ld.so.cache` of glibc 2.2 or later; none without one. */
function readCache(path: string): CacheEntry[] {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch {
    return [];
  }
  if (cString(bytes, 0, CACHE_MAGIC.length) !== CACHE_MAGIC || bytes.length < CACHE_HEADER) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = view.getUint32(20, true);
  const entries: CacheEntry[] = [];
  for (let i = 0; i < count; i++) {
    const at = CACHE_HEADER + i * CACHE_ENTRY;
    if (at + CACHE_ENTRY > bytes.length) break;
    const bits = CACHE_FLAGS[view.getInt32(at, true)];
    // Entries with capabilities are for processors that the guest's may not be.
    if (bits === undefined || view.getBigUint64(at + 16, true) !== 0n) continue;
    const [key, value] = [view.getUint32(at + 4, true), view.getUint32(at + 8, true)];
    entries.push({ name: cString(bytes, key), path: cString(bytes, value), bits });
  }
  return entries;
}
