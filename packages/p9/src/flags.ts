// A table: numbers of 9P2000.L that fields carry. Linux's own, in its generic (x86) form, whatever the host is.

/** Flags of `Tlopen` and `Tlcreate`: `P9_DOTL_*`, equal to x86 Linux's `O_*`. */
export const OPEN: Readonly<
  Record<
    | "readOnly"
    | "writeOnly"
    | "readWrite"
    | "accessMode"
    | "create"
    | "exclusive"
    | "truncate"
    | "append"
    | "nonBlock"
    | "dsync"
    | "direct"
    | "directory"
    | "noFollow"
    | "sync",
    number
  >
> = {
  readOnly: 0,
  writeOnly: 1,
  readWrite: 2,
  accessMode: 3,
  create: 0o100,
  exclusive: 0o200,
  truncate: 0o1000,
  append: 0o2000,
  nonBlock: 0o4000,
  dsync: 0o10000,
  direct: 0o40000,
  directory: 0o200000,
  noFollow: 0o400000,
  sync: 0o4000000,
};

/** File types in a mode, and the bits around them: `S_IF*`. */
export const FILE_TYPE: Readonly<
  Record<"mask" | "socket" | "symlink" | "regular" | "block" | "directory" | "character" | "fifo", number>
> = {
  mask: 0o170000,
  socket: 0o140000,
  symlink: 0o120000,
  regular: 0o100000,
  block: 0o60000,
  directory: 0o40000,
  character: 0o20000,
  fifo: 0o10000,
};

/** Types in a qid: what the protocol itself tells apart. */
export const QID_TYPE: Readonly<Record<"directory" | "symlink" | "file", number>> = {
  directory: 0x80,
  symlink: 0x02,
  file: 0x00,
};

/** Which fields `Tgetattr` asks for and `Rgetattr` has: `P9_STATS_*`. */
export const GETATTR: Readonly<
  Record<
    | "mode"
    | "nlink"
    | "uid"
    | "gid"
    | "rdev"
    | "atime"
    | "mtime"
    | "ctime"
    | "ino"
    | "size"
    | "blocks"
    | "btime"
    | "basic",
    number
  >
> = {
  mode: 0x1,
  nlink: 0x2,
  uid: 0x4,
  gid: 0x8,
  rdev: 0x10,
  atime: 0x20,
  mtime: 0x40,
  ctime: 0x80,
  ino: 0x100,
  size: 0x200,
  blocks: 0x400,
  btime: 0x800,
  basic: 0x7ff,
};

/** Which fields of `Tsetattr` count: `P9_ATTR_*`. A time without its `Set` flag is the server's now. */
export const SETATTR: Readonly<
  Record<"mode" | "uid" | "gid" | "size" | "atime" | "mtime" | "ctime" | "atimeSet" | "mtimeSet", number>
> = {
  mode: 0x1,
  uid: 0x2,
  gid: 0x4,
  size: 0x8,
  atime: 0x10,
  mtime: 0x20,
  ctime: 0x40,
  atimeSet: 0x80,
  mtimeSet: 0x100,
};

/** `Tunlinkat`'s flag for folders: `P9_DOTL_AT_REMOVEDIR`. */
export const AT_REMOVEDIR = 0x200;

/** Types of `Tlock` and `Tgetlock`. */
export const LOCK_TYPE: Readonly<Record<"read" | "write" | "unlock", number>> = { read: 0, write: 1, unlock: 2 };
/** Answers of `Rlock`. */
export const LOCK_STATUS: Readonly<Record<"success" | "blocked" | "error" | "grace", number>> = {
  success: 0,
  blocked: 1,
  error: 2,
  grace: 3,
};
/** `Tlock`'s flag of a caller who will wait. */
export const LOCK_BLOCK = 1;

/** Flags of `Txattrcreate`: Linux's `XATTR_*`. */
export const XATTR: Readonly<Record<"create" | "replace", number>> = { create: 1, replace: 2 };

/** The fid that stands for none, in `Tattach`'s afid. */
export const NO_FID = 0xffffffff;
/** The user id that stands for none, in `Tattach`'s n_uname. */
export const NO_UID = 0xffffffff;
/** The tag of `Tversion`. */
export const NO_TAG = 0xffff;
