import type { Qid } from "./codec.ts";
import { FileError } from "./errno.ts";
import type {
  CreatedFile,
  CreateOptions,
  DirectoryEntry,
  ExtendedAttributes,
  FileAttributes,
  FileChanges,
  FileHandle,
  FileNode,
  FileOwner,
  FileSystem,
  FileSystemStatistics,
  OpenOptions,
} from "./file-system.ts";
import { FILE_TYPE, OPEN } from "./flags.ts";
import { MemoryBudget } from "./memory-data.ts";
import { type MemoryEntry, MemoryInode, type MemoryVolume } from "./memory-inode.ts";
import { qidTypeOf } from "./qid.ts";

/** Options of {@link createMemoryFileSystem}. */
export interface MemoryFileSystemOptions {
  /** Nanoseconds since 1970, for the files' times. */
  now(): bigint;
  /** Bytes that everything may take together (256 MiB); what is more gets ENOSPC. */
  readonly maxBytes?: number;
}

/** Files in memory, which a program and guests can use at the same time. */
export interface MemoryFileSystem extends FileSystem {
  /** Bytes that are taken now. */
  readonly usedBytes: number;
  /** Puts a file at an absolute path, with the folders that lead there; replaces the contents of one that is there. */
  writeFile(path: string, contents: Uint8Array, options?: { readonly mode?: number }): void;
  /** A copy of a file's contents. Throws `ENOENT` and its kind. Links are not followed. */
  readFile(path: string): Uint8Array;
  /** Names in a folder. */
  listFolder(path: string): readonly string[];
}

const ROOT_OWNER: FileOwner = { uid: 0, gid: 0 };
const BLOCK = 4096;
const BATCH = 256;

/** Makes an empty one: a folder that belongs to root. */
export function createMemoryFileSystem(options: MemoryFileSystemOptions): MemoryFileSystem {
  const budget = new MemoryBudget(options.maxBytes ?? 256 * 1024 * 1024);
  let numbers = 0;
  const volume: MemoryVolume = { budget, now: () => options.now(), nextNumber: () => ++numbers };
  const root = new MemoryInode(volume, FILE_TYPE.directory | 0o755, ROOT_OWNER);
  root.links = 2;
  const find = (path: string): MemoryInode =>
    namesOf(path).reduce((inode: MemoryInode, name) => inode.find(name), root);
  return {
    root: () => new MemoryNode(root),
    statistics: () => statistics(budget),
    get usedBytes() {
      return budget.used;
    },
    writeFile(path, contents, { mode = 0o644 } = {}) {
      const names = namesOf(path);
      const name = names.pop();
      if (name === undefined) throw new FileError("EISDIR", path);
      const folder = names.reduce((inode: MemoryInode, part) => {
        if (!inode.entries.has(part))
          inode.addNew(part, new MemoryInode(volume, FILE_TYPE.directory | 0o755, ROOT_OWNER));
        return inode.find(part);
      }, root);
      if (!folder.entries.has(name))
        folder.addNew(name, new MemoryInode(volume, FILE_TYPE.regular | (mode & 0o7777), ROOT_OWNER));
      const file = regular(folder.find(name));
      file.data.resize(0);
      if (file.data.write(0, contents) < contents.length) throw new FileError("ENOSPC", path);
      file.touch();
    },
    readFile(path) {
      const { data } = regular(find(path));
      const contents = new Uint8Array(data.size);
      data.read(0, contents);
      return contents;
    },
    listFolder: (path) => [...find(path).entries.keys()],
  };
}

function namesOf(path: string): string[] {
  if (!path.startsWith("/")) throw new FileError("EINVAL", `${path} isn't an absolute path`);
  return path.split("/").filter((name) => name !== "");
}

function regular(inode: MemoryInode): MemoryInode {
  if ((inode.mode & FILE_TYPE.mask) !== FILE_TYPE.regular) throw new FileError(inode.isFolder ? "EISDIR" : "EINVAL");
  return inode;
}

function statistics({ limit, used }: MemoryBudget): FileSystemStatistics {
  const free = Math.floor((limit - used) / BLOCK);
  const blocks = Math.ceil(limit / BLOCK);
  return {
    blockSize: BLOCK,
    blocks,
    freeBlocks: free,
    availableBlocks: free,
    files: blocks,
    freeFiles: free,
    nameLength: 255,
  };
}

class MemoryNode implements FileNode {
  readonly inode: MemoryInode;
  #held = true;

  constructor(inode: MemoryInode) {
    this.inode = inode;
    inode.holders++;
  }

  get qid(): Qid {
    return qidOf(this.inode);
  }

  release(): void {
    if (!this.#held) return;
    this.#held = false;
    this.inode.holders--;
    this.inode.rest();
  }

  attributes(): FileAttributes {
    const { inode } = this;
    return {
      mode: inode.mode,
      uid: inode.uid,
      gid: inode.gid,
      links: inode.links,
      device: inode.device,
      size: inode.data.size,
      blockSize: BLOCK,
      blocks: inode.data.allocated / 512,
      accessed: inode.accessed,
      modified: inode.modified,
      changed: inode.changed,
    };
  }

  setAttributes(changes: FileChanges): void {
    const { inode } = this;
    const now = inode.volume.now();
    if (changes.size !== undefined) resize(inode, changes.size);
    if (changes.mode !== undefined) inode.mode = (inode.mode & FILE_TYPE.mask) | (changes.mode & 0o7777);
    inode.uid = changes.uid ?? inode.uid;
    inode.gid = changes.gid ?? inode.gid;
    if (changes.accessed !== undefined) inode.accessed = changes.accessed === "now" ? now : changes.accessed;
    if (changes.modified !== undefined) inode.modified = changes.modified === "now" ? now : changes.modified;
    inode.changed = now;
  }

  lookup(name: string): FileNode {
    return new MemoryNode(this.inode.find(name));
  }

  readLink(): string {
    return this.inode.target;
  }

  open({ flags }: OpenOptions): FileHandle {
    if (this.inode.isFolder) return new MemoryFolderHandle(this.inode);
    regular(this.inode);
    if ((flags & OPEN.truncate) !== 0) resize(this.inode, 0);
    return new MemoryFileHandle(this.inode, flags);
  }

  create(name: string, { flags, mode, owner, cancellation }: CreateOptions): CreatedFile {
    const there = this.inode.entries.get(name);
    if (there !== undefined && (flags & OPEN.exclusive) !== 0) throw new FileError("EEXIST", name);
    if (there === undefined)
      this.inode.addNew(name, new MemoryInode(this.inode.volume, FILE_TYPE.regular | mode, owner));
    const node = new MemoryNode(regular(this.inode.find(name)));
    return { node, handle: node.open({ flags, cancellation }) };
  }

  makeDirectory(name: string, { mode, owner }: { readonly mode: number; readonly owner: FileOwner }): Qid {
    return this.#make(name, new MemoryInode(this.inode.volume, FILE_TYPE.directory | mode, owner));
  }

  makeSymlink(name: string, target: string, owner: FileOwner): Qid {
    const inode = new MemoryInode(this.inode.volume, FILE_TYPE.symlink | 0o777, owner);
    try {
      inode.setTarget(target);
    } catch (error) {
      inode.rest();
      throw error;
    }
    return this.#make(name, inode);
  }

  makeSpecial(
    name: string,
    { mode, device, owner }: { readonly mode: number; readonly device: number; readonly owner: FileOwner },
  ): Qid {
    const inode = new MemoryInode(this.inode.volume, mode, owner);
    const type = mode & FILE_TYPE.mask;
    if (type === FILE_TYPE.character || type === FILE_TYPE.block) inode.device = device;
    return this.#make(name, inode);
  }

  #make(name: string, inode: MemoryInode): Qid {
    this.inode.addNew(name, inode);
    return qidOf(inode);
  }

  link(name: string, node: FileNode): void {
    const { inode } = own(node);
    if (inode.links === 0) throw new FileError("ENOENT");
    this.inode.add(name, inode);
  }

  remove(name: string, { directory }: { readonly directory: boolean }): void {
    const inode = this.inode.find(name);
    if (directory !== inode.isFolder) throw new FileError(directory ? "ENOTDIR" : "EISDIR");
    if (inode.entries.size > 0) throw new FileError("ENOTEMPTY");
    this.inode.drop(name);
  }

  rename(name: string, folder: FileNode, newName: string): void {
    const to = own(folder).inode;
    const inode = this.inode.find(name);
    for (let above: MemoryInode | undefined = to; above !== undefined; above = above.parent)
      if (above === inode) throw new FileError("EINVAL", "a folder can't move into itself");
    const there = to.entries.get(newName)?.inode;
    if (there === inode) return;
    if (to.links === 0) throw new FileError("ENOENT");
    // Nothing may fail once names have gone.
    to.checkRoom(newName);
    if (there !== undefined) {
      if (there.isFolder !== inode.isFolder) throw new FileError(there.isFolder ? "EISDIR" : "ENOTDIR");
      if (there.entries.size > 0) throw new FileError("ENOTEMPTY");
      to.drop(newName);
    }
    inode.holders++;
    this.inode.drop(name);
    to.add(newName, inode);
    inode.holders--;
  }

  readonly extendedAttributes: ExtendedAttributes = {
    list: () => [...this.inode.attributes.keys()],
    get: (name) => this.inode.attributes.get(name),
    set: (name, value, flags) => this.inode.setAttribute(name, value, flags),
    remove: (name) => this.inode.removeAttribute(name),
  };
}

function qidOf({ mode, version, number }: MemoryInode): Qid {
  return { type: qidTypeOf(mode), version, path: number };
}

function own(node: FileNode): MemoryNode {
  if (!(node instanceof MemoryNode)) throw new FileError("EXDEV");
  return node;
}

function resize(inode: MemoryInode, size: number): void {
  regular(inode).data.resize(size);
  inode.touch();
}

class MemoryFileHandle implements FileHandle {
  readonly #inode: MemoryInode;
  readonly #flags: number;

  constructor(inode: MemoryInode, flags: number) {
    this.#inode = inode;
    this.#flags = flags;
    inode.holders++;
  }

  read(offset: number, into: Uint8Array): number {
    this.#inode.accessed = this.#inode.volume.now();
    return this.#inode.data.read(offset, into);
  }

  write(offset: number, from: Uint8Array): number {
    const { data } = this.#inode;
    const count = data.write((this.#flags & OPEN.append) === 0 ? offset : data.size, from);
    this.#inode.touch();
    return count;
  }

  setSize(size: number): void {
    resize(this.#inode, size);
  }

  sync(): void {}

  close(): void {
    this.#inode.holders--;
    this.#inode.rest();
  }
}

/** Lists the names that were there when the listing began and still are. */
class MemoryFolderHandle implements FileHandle {
  readonly #inode: MemoryInode;
  #entries: readonly MemoryEntry[] | undefined;

  constructor(inode: MemoryInode) {
    this.#inode = inode;
    inode.holders++;
  }

  list(cookie: number): readonly DirectoryEntry[] {
    if (cookie === 0 || this.#entries === undefined) this.#entries = [...this.#inode.entries.values()];
    const entries = this.#entries;
    const found: DirectoryEntry[] = [];
    for (let at = firstAfter(entries, cookie); at < entries.length && found.length < BATCH; at++) {
      const entry = entries[at]!;
      if (this.#inode.entries.get(entry.name) !== entry) continue;
      const { number, mode } = entry.inode;
      found.push({ name: entry.name, path: number, type: mode & FILE_TYPE.mask, cookie: entry.sequence });
    }
    return found;
  }

  sync(): void {}

  close(): void {
    this.#inode.holders--;
    this.#inode.rest();
  }
}

/** Entries are in the order of their sequence, since a name that comes again comes last. */
function firstAfter(entries: readonly MemoryEntry[], cookie: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (entries[middle]!.sequence <= cookie) low = middle + 1;
    else high = middle;
  }
  return low;
}
