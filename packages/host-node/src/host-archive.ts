import {
  closeSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  type Stats,
  statSync,
} from "node:fs";
import { basename, join, normalize, resolve } from "node:path";
import { type ArchiveEntry, type ArchiveSource, isElf, readInitrd, writeCpio } from "@paravirt/boot";
import { ParavirtError } from "@paravirt/core";
import { reason } from "./cache.ts";
import { createLibraryFinder, LD_CACHE } from "./shared-libraries.ts";

/** A file or folder of this machine, and its place in the guest. */
export interface HostFile {
  /** Its path; a symbolic link is followed, as `cp` does. */
  readonly hostPath: string;
  /** Absolute path in the guest; one that ends in `/` gets the name added. The host's absolute path when left out. */
  readonly guestPath?: string;
}

/** Options of {@link hostFileArchive}. */
export interface HostArchiveOptions {
  /** The initrd that the archive will follow: folders that are symbolic links in it are not replaced, but followed. */
  readonly initrd?: Uint8Array;
  /** Whether the shared libraries of what is added come by themselves (true). */
  readonly libraries?: boolean;
  /** Hears of a library or dynamic linker that `needer` wants and this machine doesn't have. */
  onMissing?(library: string, needer: string): void;
}

/** Most that an initrd may unpack to when its symbolic links are looked for, in bytes. */
const INITRD_LIMIT = 1 << 30;
const HEAD = 4;

/**
 * Makes a cpio archive of files of this machine; put it behind an initramfs with `joinArchives`.
 *
 * A folder comes with all that is in it: modes, symbolic links as they are, device nodes, fifos. Owners become root.
 * For each dynamically linked x86 program or library, 64 or 32 bits, its dynamic linker and the libraries it names
 * (DT_NEEDED) come too, at the paths where this machine has them. What a program loads later by name, data files, and the
 * interpreter of a script don't: add them yourself. File contents are read straight into the archive.
 *
 * Throws `BAD_ARGUMENT` naming a file that can't be read or a guest path that isn't absolute, `OUT_OF_RANGE` for a file
 * of 4 GiB and more.
 */
export function hostFileArchive(files: readonly HostFile[], options: HostArchiveOptions = {}): Uint8Array {
  const collection = new Collection(options);
  for (const { hostPath, guestPath } of files) {
    const host = resolve(hostPath);
    collection.add(host, guestPlace(host, guestPath));
  }
  collection.finish();
  return writeCpio(collection.entries());
}

/** The normalised absolute path in the guest. */
function guestPlace(host: string, guestPath: string | undefined): string {
  if (guestPath === undefined) return host;
  if (!guestPath.startsWith("/") || guestPath.includes("\0"))
    throw new ParavirtError("BAD_ARGUMENT", `the guest path "${guestPath}" is not absolute`);
  const place = normalize(guestPath.endsWith("/") && guestPath !== "/" ? join(guestPath, basename(host)) : guestPath);
  // A file can't be the root folder itself; a folder's contents can go there.
  if (place !== "/" || statOf(host).isDirectory()) return place;
  return join("/", basename(host));
}

class Collection {
  /** By path in the guest, without a leading slash. */
  readonly #entries = new Map<string, ArchiveEntry>();
  /** Symbolic links of the initrd and of what was added. */
  readonly #links = new Map<string, string>();
  readonly #finder = createLibraryFinder();
  readonly #options: HostArchiveOptions;
  /** Programs and libraries whose needs are still to be found. */
  readonly #programs: { hostPath: string; guestPath: string }[] = [];

  constructor(options: HostArchiveOptions) {
    this.#options = options;
    if (options.initrd === undefined) return;
    for (const entry of readInitrd(options.initrd, INITRD_LIMIT)) {
      const path = entry.path.replace(/^(\.?\/)+/, "");
      if (entry.type === "symlink") this.#links.set(path, entry.target ?? "");
      else this.#links.delete(path);
    }
  }

  /** Adds `host`, followed if it is a link, and what is in it. */
  add(host: string, guest: string): void {
    this.#put(host, guest, statOf(host));
  }

  /** Adds what the programs need, and what that needs. */
  finish(): void {
    if (this.#options.libraries === false) return;
    for (let program = this.#programs.pop(); program !== undefined; program = this.#programs.pop()) {
      const { hostPath, guestPath } = program;
      const missing = (name: string): void => this.#options.onMissing?.(name, hostPath);
      for (const file of this.#finder.needsOf({ hostPath, guestPath, bytes: readWhole(hostPath) }, missing)) {
        if (!this.#entries.has(this.#follow(file.guestPath))) this.add(file.hostPath, file.guestPath);
      }
    }
    if (this.#finder.usedCache && !this.#entries.has(LD_CACHE.slice(1))) this.add(LD_CACHE, LD_CACHE);
  }

  entries(): readonly ArchiveEntry[] {
    // Shorter paths first, so that a folder precedes what is in it.
    return [...this.#entries.values()].sort((a, b) => depth(a.path) - depth(b.path));
  }

  #put(host: string, guest: string, status: Stats): void {
    const path = this.#follow(guest);
    if (path !== "") {
      this.#parents(path);
      this.#entries.set(path, this.#entry(host, path, status));
    }
    if (status.isSymbolicLink()) this.#links.set(path, this.#entries.get(path)?.target ?? "");
    if (!status.isDirectory()) return;
    for (const name of attempt(host, () => readdirSync(host)).sort()) {
      const child = join(host, name);
      this.#put(
        child,
        join("/", path, name),
        attempt(child, () => lstatSync(child)),
      );
    }
  }

  #entry(host: string, path: string, status: Stats): ArchiveEntry {
    const mode = status.mode & 0o7777;
    // Linux's dev_t as stat(2) gives it.
    const device = [(status.rdev >> 8) & 0xfff, (status.rdev & 0xff) | ((status.rdev >> 12) & 0xfff00)] as const;
    if (status.isDirectory()) return { path, type: "directory", mode };
    if (status.isSymbolicLink())
      return { path, type: "symlink", mode: 0o777, target: attempt(host, () => readlinkSync(host)) };
    if (status.isCharacterDevice()) return { path, type: "character", mode, device };
    if (status.isBlockDevice()) return { path, type: "block", mode, device };
    if (status.isFIFO()) return { path, type: "fifo", mode };
    if (status.isSocket()) return { path, type: "socket", mode };
    if (startsAsElf(host)) this.#programs.push({ hostPath: host, guestPath: `/${path}` });
    return { path, type: "file", mode, source: fileSource(host, status.size) };
  }

  /** Folders above `path` that nothing has added yet, with this machine's modes where it has them. */
  #parents(path: string): void {
    for (let at = path.indexOf("/"); at > 0; at = path.indexOf("/", at + 1)) {
      const folder = path.slice(0, at);
      const known = this.#entries.get(folder);
      if (known !== undefined && known.type === "directory") continue;
      if (known !== undefined)
        throw new ParavirtError("BAD_ARGUMENT", `/${path} can't be in the guest: /${folder} is a ${known.type} there`);
      const status = statSync(`/${folder}`, { throwIfNoEntry: false });
      const mode = status?.isDirectory() === true ? status.mode & 0o7777 : 0o755;
      this.#entries.set(folder, { path: folder, type: "directory", mode });
    }
  }

  /** A path in the guest with the links among its folders followed: the kernel would replace them by folders. */
  #follow(guest: string): string {
    let todo = guest.split("/").filter(Boolean);
    let done: string[] = [];
    for (let links = 0; todo.length > 1 && links < 40; ) {
      const path = [...done, todo[0]!].join("/");
      const target = this.#links.get(path);
      todo = todo.slice(1);
      if (target === undefined) {
        done = path.split("/");
        continue;
      }
      links++;
      const folder = target.startsWith("/") ? target : join("/", ...done, target);
      todo = [...normalize(folder).split("/").filter(Boolean), ...todo];
      done = [];
    }
    return [...done, ...todo].join("/");
  }
}

const depth = (path: string): number => path.split("/").length;

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new ParavirtError("BAD_ARGUMENT", `${path} can't be put into the initramfs: ${reason(error)}`);
  }
}

function statOf(path: string): Stats {
  return attempt(path, () => statSync(path));
}

function readWhole(path: string): Uint8Array {
  return attempt(path, () => readFileSync(path));
}

function startsAsElf(path: string): boolean {
  const head = new Uint8Array(HEAD);
  withFile(path, (file) => readSync(file, head));
  return isElf(head);
}

function fileSource(path: string, size: number): ArchiveSource {
  return {
    size,
    read: (target) =>
      withFile(path, (file) => {
        let at = 0;
        while (at < size) {
          const count = readSync(file, target, at, size - at, at);
          if (count === 0) throw new Error(`it shrank from ${size} to ${at} bytes while it was read`);
          at += count;
        }
      }),
  };
}

function withFile(path: string, action: (file: number) => void): void {
  attempt(path, () => {
    const file = openSync(path, "r");
    try {
      action(file);
    } finally {
      closeSync(file);
    }
  });
}
