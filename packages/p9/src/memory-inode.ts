import { FileError } from "./errno.ts";
import type { FileOwner } from "./file-system.ts";
import { FILE_TYPE, XATTR } from "./flags.ts";
import { type MemoryBudget, MemoryData } from "./memory-data.ts";

/** A name in a folder. Entries are numbered as they come, which is what a listing goes on by. */
export interface MemoryEntry {
  readonly name: string;
  readonly inode: MemoryInode;
  readonly sequence: number;
}

/** What the inodes of one file system share. */
export interface MemoryVolume {
  readonly budget: MemoryBudget;
  now(): bigint;
  nextNumber(): number;
}

/** Bytes that a name, a link or an attribute is counted as, so that nothing is free of charge. */
const RECORD = 256;

/** A file, folder or anything else of a memory file system. It lives as long as it has names or is held. */
export class MemoryInode {
  readonly volume: MemoryVolume;
  readonly number: bigint;
  readonly data: MemoryData;
  readonly entries: Map<string, MemoryEntry> = new Map<string, MemoryEntry>();
  readonly attributes: Map<string, Uint8Array> = new Map<string, Uint8Array>();
  /** The folder that a folder is in. */
  parent: MemoryInode | undefined;
  target = "";
  device = 0;
  mode: number;
  uid: number;
  gid: number;
  links = 0;
  holders = 0;
  version = 0;
  accessed: bigint;
  modified: bigint;
  changed: bigint;
  #sequence = 0;

  constructor(volume: MemoryVolume, mode: number, owner: FileOwner) {
    volume.budget.take(RECORD);
    this.volume = volume;
    this.number = BigInt(volume.nextNumber());
    this.data = new MemoryData(volume.budget);
    this.mode = mode;
    this.uid = owner.uid;
    this.gid = owner.gid;
    const now = volume.now();
    this.accessed = now;
    this.modified = now;
    this.changed = now;
  }

  get isFolder(): boolean {
    return (this.mode & FILE_TYPE.mask) === FILE_TYPE.directory;
  }

  find(name: string): MemoryInode {
    const entry = this.entries.get(name);
    if (entry === undefined) throw new FileError(this.isFolder ? "ENOENT" : "ENOTDIR", name);
    return entry.inode;
  }

  /** Adds a name, which must be free. */
  add(name: string, inode: MemoryInode): void {
    if (!this.isFolder) throw new FileError("ENOTDIR");
    // A folder without a name of its own is on its way out.
    if (this.links === 0) throw new FileError("ENOENT");
    if (this.entries.has(name)) throw new FileError("EEXIST", name);
    this.volume.budget.take(RECORD + name.length);
    this.entries.set(name, { name, inode, sequence: ++this.#sequence });
    inode.links++;
    if (inode.isFolder) {
      inode.links = 2;
      inode.parent = this;
      this.links++;
    }
    inode.changed = this.volume.now();
    this.touch();
  }

  /** Adds a name for an inode that has none yet; when that fails nothing is left of it. */
  addNew(name: string, inode: MemoryInode): void {
    try {
      this.add(name, inode);
    } catch (error) {
      inode.rest();
      throw error;
    }
  }

  /** Fails now if there is no room for one more name. */
  checkRoom(name: string): void {
    this.volume.budget.take(RECORD + name.length);
    this.volume.budget.give(RECORD + name.length);
  }

  /** Takes a name out. */
  drop(name: string): void {
    const inode = this.find(name);
    this.entries.delete(name);
    this.volume.budget.give(RECORD + name.length);
    if (inode.isFolder) {
      inode.links = 0;
      inode.parent = undefined;
      this.links--;
    } else inode.links--;
    inode.changed = this.volume.now();
    this.touch();
    inode.rest();
  }

  /** Contents changed. */
  touch(): void {
    this.modified = this.volume.now();
    this.changed = this.modified;
    this.version = (this.version + 1) >>> 0;
  }

  /** Gives up its contents when nobody can reach it any more. */
  rest(): void {
    if (this.links > 0 || this.holders > 0) return;
    this.data.clear();
    this.volume.budget.give(RECORD + this.target.length);
    for (const name of [...this.attributes.keys()]) this.removeAttribute(name);
  }

  setTarget(target: string): void {
    this.volume.budget.take(target.length);
    this.target = target;
    this.data.size = target.length;
  }

  setAttribute(name: string, value: Uint8Array, flags: number): void {
    const before = this.attributes.get(name);
    if ((flags & XATTR.create) !== 0 && before !== undefined) throw new FileError("EEXIST", name);
    if ((flags & XATTR.replace) !== 0 && before === undefined) throw new FileError("ENODATA", name);
    this.volume.budget.take(RECORD + name.length + value.length);
    if (before !== undefined) this.removeAttribute(name);
    this.attributes.set(name, value.slice());
    this.changed = this.volume.now();
  }

  removeAttribute(name: string): void {
    const value = this.attributes.get(name);
    if (value === undefined) throw new FileError("ENODATA", name);
    this.attributes.delete(name);
    this.volume.budget.give(RECORD + name.length + value.length);
    this.changed = this.volume.now();
  }
}
