import {
  type BigIntStats,
  chmodSync,
  chownSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
} from "node:fs";
import {
  type CreatedFile,
  type CreateOptions,
  decodeName,
  encodeName,
  FILE_TYPE,
  type FileAttributes,
  type FileChanges,
  FileError,
  type FileHandle,
  type FileNode,
  type FileOwner,
  OPEN,
  type OpenOptions,
  type Qid,
  qidTypeOf,
} from "@paravirt/p9";
import { HostFileHandle, HostFolderHandle } from "./host-folder-handles.ts";
import { childPath, fdPath, type HostVolume, O_PATH } from "./host-volume.ts";

const { O_NOFOLLOW, O_CREAT, O_EXCL, O_DIRECTORY } = constants;
const MAX_TRIES = 16;

/** A file, folder or link below a shared folder, held by a descriptor that only says which it is (O_PATH). */
export class HostNode implements FileNode {
  readonly volume: HostVolume;
  readonly fd: number;
  readonly number: bigint;
  /** Type bits of the mode; an inode keeps its type. */
  readonly type: number;
  /** What a symbolic link says; it says the same as long as it is there. */
  readonly target: string;
  /** The folder that it was found in, and its name there: links and hard links can be had by name only. */
  parent: HostNode | undefined;
  name: string;
  #stats: BigIntStats;
  #holders = 1;

  /** Takes over `fd`, and holds `parent`. */
  constructor(volume: HostVolume, fd: number, stats: BigIntStats, parent?: HostNode, name = "", target = "") {
    this.volume = volume;
    this.fd = fd;
    this.number = volume.numberOf(stats);
    this.type = Number(stats.mode) & FILE_TYPE.mask;
    this.#stats = stats;
    this.parent = parent?.hold();
    this.name = name;
    this.target = target;
    const same = volume.nodes.get(this.number);
    if (same === undefined) volume.nodes.set(this.number, new Set([this]));
    else same.add(this);
  }

  hold(): this {
    this.#holders++;
    return this;
  }

  release(): void {
    if (--this.#holders > 0) return;
    const same = this.volume.nodes.get(this.number);
    same?.delete(this);
    if (same?.size === 0) this.volume.nodes.delete(this.number);
    this.volume.close(this.fd);
    this.parent?.release();
  }

  get qid(): Qid {
    const { mtimeNs, size } = this.#stats;
    const version = Number(BigInt.asUintN(32, (mtimeNs >> 10n) ^ (size << 8n)));
    return { type: qidTypeOf(this.type), version, path: this.number };
  }

  attributes(): FileAttributes {
    const stats = this.#look();
    const { owners } = this.volume;
    const { accessed, modified } = this.#times(stats);
    return {
      mode: Number(stats.mode),
      uid: owners.uid(Number(stats.uid)),
      gid: owners.gid(Number(stats.gid)),
      links: Number(stats.nlink),
      device: Number(BigInt.asUintN(32, stats.rdev)),
      size: Number(stats.size),
      blockSize: Number(stats.blksize),
      blocks: Number(stats.blocks),
      accessed,
      modified,
      changed: stats.ctimeNs,
    };
  }

  setAttributes(changes: FileChanges): void {
    const { uid, gid, mode, size } = changes;
    const isLink = this.type === FILE_TYPE.symlink;
    if (uid !== undefined || gid !== undefined) this.#setOwner(uid, gid);
    if (mode !== undefined) {
      if (isLink) throw new FileError("EOPNOTSUPP", "a symbolic link's mode");
      chmodSync(fdPath(this.fd), mode);
    }
    if (size !== undefined) {
      if (this.type !== FILE_TYPE.regular) throw new FileError("EINVAL");
      truncateSync(fdPath(this.fd), size);
    }
    if (changes.accessed !== undefined || changes.modified !== undefined) this.#setTimes(changes);
  }

  #setOwner(uid: number | undefined, gid: number | undefined): void {
    const stats = this.#look();
    const { owners } = this.volume;
    if (!owners.keeps) {
      const same =
        (uid === undefined || uid === owners.uid(Number(stats.uid))) &&
        (gid === undefined || gid === owners.gid(Number(stats.gid)));
      if (!same) throw new FileError("EPERM", "owners can be changed when paravirt runs as root");
      return;
    }
    const owner = [uid ?? Number(stats.uid), gid ?? Number(stats.gid)] as const;
    if (this.type === FILE_TYPE.symlink) lchownSync(this.#path(), ...owner);
    else chownSync(fdPath(this.fd), ...owner);
  }

  #setTimes({ accessed, modified }: FileChanges): void {
    const { times } = this.volume;
    const now = accessed === "now" || modified === "now" ? times.now() : 0n;
    const before = this.#times(this.#look());
    const exact = {
      accessed: accessed === "now" ? now : (accessed ?? before.accessed),
      modified: modified === "now" ? now : (modified ?? before.modified),
    };
    const apply = (a: number, m: number): void => {
      if (this.type === FILE_TYPE.symlink) lutimesSync(this.#path(), a, m);
      else utimesSync(fdPath(this.fd), a, m);
    };
    times.set(this.number, exact, apply, () => {
      const { atimeNs, mtimeNs } = this.#look();
      return { accessed: atimeNs, modified: mtimeNs };
    });
  }

  #times({ atimeNs, mtimeNs }: BigIntStats): { readonly accessed: bigint; readonly modified: bigint } {
    return this.volume.times.of(this.number, { accessed: atimeNs, modified: mtimeNs });
  }

  #look(): BigIntStats {
    this.#stats = fstatSync(this.fd, { bigint: true });
    return this.#stats;
  }

  /** Its path by name, if that still is its name. */
  #path(): string | Buffer {
    if (this.parent === undefined) throw new FileError("EBUSY", "the shared folder itself");
    const path = childPath(this.parent.fd, this.name);
    const there = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (there === undefined || this.volume.numberOf(there) !== this.number) throw new FileError("ESTALE");
    return path;
  }

  lookup(name: string): HostNode {
    if (this.type !== FILE_TYPE.directory) throw new FileError("ENOTDIR");
    const { volume } = this;
    const path = childPath(this.fd, name);
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const fd = volume.open(path, O_PATH | O_NOFOLLOW);
      try {
        const stats = fstatSync(fd, { bigint: true });
        if (!stats.isSymbolicLink()) return new HostNode(volume, fd, stats, this, name);
        const target = readlinkSync(path, { encoding: "buffer" });
        // A link is read by name: that must have been the same link, before and after.
        const there = lstatSync(path, { bigint: true, throwIfNoEntry: false });
        if (there !== undefined && there.dev === stats.dev && there.ino === stats.ino)
          return new HostNode(volume, fd, stats, this, name, decodeName(target));
      } catch (error) {
        volume.close(fd);
        // It was a link, and is another file now.
        if (codeOf(error) === "EINVAL") continue;
        throw error;
      }
      volume.close(fd);
    }
    throw new FileError("EBUSY", `${name} changes all the time`);
  }

  readLink(): string {
    return this.target;
  }

  open({ flags }: OpenOptions): FileHandle {
    if (this.type === FILE_TYPE.directory) return new HostFolderHandle(this.volume, this.hold());
    // What isn't a file is an end of something on this machine: a device, or a program behind a socket or FIFO.
    if (this.type !== FILE_TYPE.regular) throw new FileError("EACCES", "not a regular file");
    return new HostFileHandle(this.volume, this.volume.open(fdPath(this.fd), hostFlags(flags)));
  }

  create(name: string, options: CreateOptions): CreatedFile {
    const path = childPath(this.fd, name);
    const exclusive = (options.flags & OPEN.exclusive) !== 0;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const made = this.#createNew(path, name, options);
      if (made !== undefined) return made;
      if (exclusive) throw new FileError("EEXIST", name);
      const node = this.#lookupIfThere(name);
      if (node === undefined) continue;
      try {
        if (node.type === FILE_TYPE.symlink) throw new FileError("ELOOP");
        if (node.type === FILE_TYPE.directory) throw new FileError("EISDIR");
        return { node, handle: node.open(options) };
      } catch (error) {
        node.release();
        throw error;
      }
    }
    throw new FileError("EBUSY", `${name} changes all the time`);
  }

  /** Makes a file that isn't there; `undefined` when it is. */
  #createNew(path: string | Buffer, name: string, { flags, mode, owner }: CreateOptions): CreatedFile | undefined {
    const { volume } = this;
    let file: number;
    try {
      file = volume.open(path, hostFlags(flags) | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
    } catch (error) {
      if (codeOf(error) === "EEXIST") return undefined;
      throw error;
    }
    try {
      if (volume.owners.keeps) fchownSync(file, owner.uid, owner.gid);
      // The guest has applied its own umask already.
      fchmodSync(file, mode);
      const fd = volume.open(fdPath(file), O_PATH);
      const node = new HostNode(volume, fd, fstatSync(fd, { bigint: true }), this, name);
      return { node, handle: new HostFileHandle(volume, file) };
    } catch (error) {
      volume.close(file);
      throw error;
    }
  }

  makeDirectory(name: string, { mode, owner }: { readonly mode: number; readonly owner: FileOwner }): Qid {
    const path = childPath(this.fd, name);
    mkdirSync(path, mode);
    const { volume } = this;
    const fd = volume.open(path, O_PATH | O_NOFOLLOW | O_DIRECTORY);
    try {
      if (volume.owners.keeps) chownSync(fdPath(fd), owner.uid, owner.gid);
      chmodSync(fdPath(fd), mode);
    } finally {
      volume.close(fd);
    }
    return this.#qidOf(name);
  }

  makeSymlink(name: string, target: string, owner: FileOwner): Qid {
    const path = childPath(this.fd, name);
    symlinkSync(Buffer.from(encodeName(target)), path);
    if (this.volume.owners.keeps) lchownSync(path, owner.uid, owner.gid);
    return this.#qidOf(name);
  }

  makeSpecial(
    name: string,
    options: { readonly mode: number; readonly device: number; readonly owner: FileOwner },
  ): Qid {
    // Node.js makes no others; and a device node on the host would be a way to its devices.
    if ((options.mode & FILE_TYPE.mask) !== FILE_TYPE.regular)
      throw new FileError("EPERM", "FIFOs, sockets and devices can't be made in a shared folder");
    const flags = OPEN.writeOnly | OPEN.exclusive;
    const made = this.#createNew(childPath(this.fd, name), name, {
      flags,
      mode: options.mode & 0o7777,
      owner: options.owner,
      cancellation: NEVER,
    });
    if (made === undefined) throw new FileError("EEXIST", name);
    const { qid } = made.node;
    made.node.release();
    void made.handle.close();
    return qid;
  }

  link(name: string, node: FileNode): void {
    linkSync(this.#own(node).#path(), childPath(this.fd, name));
  }

  remove(name: string, { directory }: { readonly directory: boolean }): void {
    const path = childPath(this.fd, name);
    if (directory) rmdirSync(path);
    else unlinkSync(path);
  }

  rename(name: string, folder: FileNode, newName: string): void {
    const to = this.#own(folder);
    const path = childPath(to.fd, newName);
    renameSync(childPath(this.fd, name), path);
    const moved = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (moved === undefined) return;
    for (const node of this.volume.nodes.get(this.volume.numberOf(moved)) ?? []) {
      if (node.name !== name || node.parent?.number !== this.number) continue;
      const { parent } = node;
      node.parent = to.hold();
      node.name = newName;
      parent.release();
    }
  }

  #own(node: FileNode): HostNode {
    if (node instanceof HostNode && node.volume === this.volume) return node;
    throw new FileError("EXDEV");
  }

  #lookupIfThere(name: string): HostNode | undefined {
    try {
      return this.lookup(name);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  #qidOf(name: string): Qid {
    const node = this.lookup(name);
    const { qid } = node;
    node.release();
    return qid;
  }
}

const NEVER = { cancelled: false, onCancel: () => () => {} };

/** This machine's own numbers for `OPEN` flags. */
function hostFlags(flags: number): number {
  const access = [constants.O_RDONLY, constants.O_WRONLY, constants.O_RDWR][flags & OPEN.accessMode] ?? 0;
  return (
    access |
    ((flags & OPEN.truncate) === 0 ? 0 : constants.O_TRUNC) |
    ((flags & OPEN.append) === 0 ? 0 : constants.O_APPEND) |
    ((flags & OPEN.sync) === 0 ? 0 : constants.O_SYNC) |
    ((flags & OPEN.dsync) === 0 ? 0 : constants.O_DSYNC)
  );
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
