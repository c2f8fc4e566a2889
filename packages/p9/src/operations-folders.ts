import { chain } from "./awaitable.ts";
import { HEADER_SIZE } from "./codec.ts";
import type { Request } from "./connection.ts";
import { FileError } from "./errno.ts";
import type { Fid } from "./fids.ts";
import type { Awaitable, DirectoryEntry, FileHandle } from "./file-system.ts";
import { AT_REMOVEDIR, FILE_TYPE, QID_TYPE } from "./flags.ts";
import { encodeName } from "./names.ts";
import { checkName, checkTarget, checkWritable, folderFid, need } from "./operation-checks.ts";
import type { Operations } from "./operations.ts";
import { qidTypeOf } from "./qid.ts";

/** Listing folders, and making, moving and removing names. */
export const folderOperations: Operations = {
  Treaddir(request, { fid: number, offset, count }) {
    const fid = folderFid(request, number);
    if (fid.handle === undefined) throw new FileError("EBADF", "not open");
    const list = need(fid.handle, "list");
    const most = Math.min(count, request.connection.messageSize - HEADER_SIZE - 4);
    if (offset > BigInt(Number.MAX_SAFE_INTEGER)) throw new FileError("EINVAL");
    const page = new DirectoryPage(most);
    for (let at = Number(offset); at < OWN_ENTRIES; at++) {
      if (!page.add(ownEntry(fid, at))) break;
    }
    if (page.full) return page.answer(request);
    return fill(request, list, page, Math.max(0, Number(offset) - OWN_ENTRIES));
  },

  Tmkdir(request, { dfid, name, mode, gid }) {
    const folder = changing(request, dfid, name);
    const options = { mode: mode & 0o7777, owner: { uid: folder.owner.uid, gid } };
    return chain(need(folder.node, "makeDirectory")(name, options), (qid) => request.answer("Rmkdir", { qid }));
  },

  Tsymlink(request, { dfid, name, target, gid }) {
    const folder = changing(request, dfid, name);
    checkTarget(target);
    return chain(need(folder.node, "makeSymlink")(name, target, { uid: folder.owner.uid, gid }), (qid) =>
      request.answer("Rsymlink", { qid }),
    );
  },

  Tmknod(request, { dfid, name, mode, major, minor, gid }) {
    const folder = changing(request, dfid, name);
    const type = mode & FILE_TYPE.mask;
    if (!NODE_TYPES.includes(type)) throw new FileError("EINVAL");
    if (major > 0xfff || minor > 0xfffff) throw new FileError("EINVAL");
    const device = ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
    const options = { mode: type | (mode & 0o7777), device, owner: { uid: folder.owner.uid, gid } };
    return chain(need(folder.node, "makeSpecial")(name, options), (qid) => request.answer("Rmknod", { qid }));
  },

  Tlink(request, { dfid, fid: number, name }) {
    const folder = changing(request, dfid, name);
    const { node } = request.fid(number);
    if (node.qid.type === QID_TYPE.directory) throw new FileError("EPERM");
    return chain(need(folder.node, "link")(name, node), () => request.answer("Rlink", {}));
  },

  Treadlink(request, { fid: number }) {
    const { node } = request.fid(number);
    if (node.qid.type !== QID_TYPE.symlink) throw new FileError("EINVAL");
    return chain(need(node, "readLink")(), (target) => request.answer("Rreadlink", { target }));
  },

  Tunlinkat(request, { dirfid, name, flags }) {
    const folder = changing(request, dirfid, name);
    if ((flags & ~AT_REMOVEDIR) !== 0) throw new FileError("EINVAL");
    const directory = (flags & AT_REMOVEDIR) !== 0;
    return chain(need(folder.node, "remove")(name, { directory }), () => request.answer("Runlinkat", {}));
  },

  Tremove(request, { fid: number }) {
    const { connection } = request;
    const fid = request.fid(number);
    // The fid is gone in any case; it is held until this request is over.
    connection.fids.remove(number);
    void connection.endFid(fid);
    checkWritable(request);
    const directory = fid.node.qid.type === QID_TYPE.directory;
    return chain(currentName(fid), ({ folder, name }) =>
      chain(need(folder, "remove")(name, { directory }), () => request.answer("Rremove", {})),
    );
  },

  Trenameat(request, { olddirfid, oldname, newdirfid, newname }) {
    const from = changing(request, olddirfid, oldname);
    const to = changing(request, newdirfid, newname);
    return chain(need(from.node, "rename")(oldname, to.node, newname), () => request.answer("Rrenameat", {}));
  },

  Trename(request, { fid: number, dfid, name }) {
    const to = changing(request, dfid, name);
    return chain(currentName(request.fid(number)), ({ folder, name: oldName }) =>
      chain(need(folder, "rename")(oldName, to.node, name), () => request.answer("Rrename", {})),
    );
  },

  Tstatfs(request, { fid: number }) {
    const { node } = request.fid(number);
    const { fileSystem } = request.connection.options;
    const numbers = fileSystem.statistics === undefined ? NO_STATISTICS : fileSystem.statistics(node);
    return chain(numbers, (found) =>
      request.answer("Rstatfs", {
        type: V9FS_MAGIC,
        bsize: found.blockSize,
        blocks: BigInt(found.blocks),
        bfree: BigInt(found.freeBlocks),
        bavail: BigInt(found.availableBlocks),
        files: BigInt(found.files),
        ffree: BigInt(found.freeFiles),
        fsid: 0n,
        namelen: found.nameLength,
      }),
    );
  },
};

const V9FS_MAGIC = 0x01021997;
const NO_STATISTICS = {
  blockSize: 4096,
  blocks: 0,
  freeBlocks: 0,
  availableBlocks: 0,
  files: 0,
  freeFiles: 0,
  nameLength: 255,
};
const NODE_TYPES: readonly number[] = [
  FILE_TYPE.regular,
  FILE_TYPE.fifo,
  FILE_TYPE.socket,
  FILE_TYPE.character,
  FILE_TYPE.block,
];

/** The fid of a folder in which `name` is to change. */
function changing(request: Request, number: number, name: string): Fid {
  const fid = folderFid(request, number);
  checkName(name);
  checkWritable(request);
  return fid;
}

/** The folder and name under which a fid was found, if the file is still there. */
function currentName({ place }: Fid): Awaitable<{ folder: Fid["node"]; name: string }> {
  const { parent, name } = place;
  if (parent === undefined) throw new FileError("EBUSY", "the root");
  return chain(need(parent.node, "lookup")(name), (node) => {
    const same = node.qid.path === place.node.qid.path;
    node.release();
    if (!same) throw new FileError("ENOENT");
    return { folder: parent.node, name };
  });
}

/** `.` and `..` come first, and are the server's: a file system needs to know neither. */
const OWN_ENTRIES = 2;

function ownEntry({ place }: Fid, at: number): DirectoryEntry {
  const { node } = at === 0 ? place : (place.parent ?? place);
  return { name: at === 0 ? "." : "..", path: node.qid.path, type: FILE_TYPE.directory, cookie: at + 1 - OWN_ENTRIES };
}

function fill(
  request: Request,
  list: NonNullable<FileHandle["list"]>,
  page: DirectoryPage,
  cookie: number,
): Awaitable<Uint8Array> {
  return chain(list(cookie, request.cancellation), (entries) => {
    for (const entry of entries) if (!page.add(entry)) return page.answer(request);
    const last = entries[entries.length - 1];
    return last === undefined ? page.answer(request) : fill(request, list, page, last.cookie);
  });
}

/** The entries of one `Rreaddir`, as many as fit. */
class DirectoryPage {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  full = false;

  constructor(size: number) {
    this.#bytes = new Uint8Array(size);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Adds an entry; false when there is no room for it. */
  add({ name, path, type, cookie }: DirectoryEntry): boolean {
    const bytes = encodeName(name);
    const at = this.#at;
    if (at + ENTRY_HEADER + bytes.length > this.#bytes.length) {
      this.full = true;
      return false;
    }
    this.#bytes[at] = qidTypeOf(type);
    this.#view.setUint32(at + 1, 0, true);
    this.#view.setBigUint64(at + 5, path, true);
    this.#view.setBigUint64(at + 13, BigInt(cookie + OWN_ENTRIES), true);
    // `d_type` is the type's bits of the mode, moved down.
    this.#bytes[at + 21] = type >> 12;
    this.#view.setUint16(at + 22, bytes.length, true);
    this.#bytes.set(bytes, at + ENTRY_HEADER);
    this.#at = at + ENTRY_HEADER + bytes.length;
    return true;
  }

  answer(request: Request): Uint8Array {
    // A client that has no room for one entry would take no entries for the end.
    if (this.full && this.#at === 0) throw new FileError("EINVAL", `${this.#bytes.length} bytes hold no entry`);
    return request.answer("Rreaddir", { data: this.#bytes.subarray(0, this.#at) });
  }
}

/** Qid, cookie, type and the name's length. */
const ENTRY_HEADER = 24;
