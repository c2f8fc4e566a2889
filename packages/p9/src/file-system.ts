import type { Qid } from "./codec.ts";

/** An answer that is there at once, or comes later. At once is faster: nothing is put off to another turn. */
export type Awaitable<T> = T | Promise<T>;

/** Tells a long operation that nobody waits for it any more: the guest gave up (`Tflush`), or its end of the link is gone. */
export interface Cancellation {
  /** Whether it happened. */
  readonly cancelled: boolean;
  /** Has `listener` called when it happens, at once if it has already; answers how to take that back. */
  onCancel(listener: () => void): () => void;
}

/** Who asks, as far as that decides who owns what is made. */
export interface FileOwner {
  /** User id in the guest. */
  readonly uid: number;
  /** Group id in the guest. */
  readonly gid: number;
}

/** What a file is like. */
export interface FileAttributes {
  /** Type and permissions, as in `st_mode`: `FILE_TYPE.regular | 0o644`. */
  readonly mode: number;
  /** Owner's user id. */
  readonly uid: number;
  /** Owner's group id. */
  readonly gid: number;
  /** Names that it has. */
  readonly links: number;
  /** Number of a device node, as Linux packs it into 32 bits: `(minor & 0xff) | major << 8 | (minor & ~0xff) << 12`. */
  readonly device: number;
  /** Bytes. */
  readonly size: number;
  /** Bytes of a good piece to read or write. */
  readonly blockSize: number;
  /** Units of 512 bytes that it takes. */
  readonly blocks: number;
  /** Last read, in nanoseconds since 1970. */
  readonly accessed: bigint;
  /** Last change of the contents, in nanoseconds since 1970. */
  readonly modified: bigint;
  /** Last change of contents or attributes, in nanoseconds since 1970. */
  readonly changed: bigint;
}

/** What is to be changed of a file; what is left out stays. */
export interface FileChanges {
  /** Permissions, 12 bits. */
  readonly mode?: number;
  /** Owner's user id. */
  readonly uid?: number;
  /** Owner's group id. */
  readonly gid?: number;
  /** Bytes; what is added reads as zeros. */
  readonly size?: number;
  /** Nanoseconds since 1970, or the file system's own time. */
  readonly accessed?: bigint | "now";
  /** Nanoseconds since 1970, or the file system's own time. */
  readonly modified?: bigint | "now";
}

/** What a file system says of itself. */
export interface FileSystemStatistics {
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Blocks in all. */
  readonly blocks: number;
  /** Blocks that are free. */
  readonly freeBlocks: number;
  /** Blocks that are free for everybody. */
  readonly availableBlocks: number;
  /** Files that it can hold. */
  readonly files: number;
  /** Files that it can still take. */
  readonly freeFiles: number;
  /** Bytes in a name, at most. */
  readonly nameLength: number;
}

/** One line of a folder. */
export interface DirectoryEntry {
  /** Its name; see `decodeName` for names that aren't UTF-8. */
  readonly name: string;
  /** The file's number. */
  readonly path: bigint;
  /** The file's type, the bits of `FILE_TYPE.mask`. */
  readonly type: number;
  /** Where the listing goes on after it: a number above 0, larger than those before. */
  readonly cookie: number;
}

/** How a file is to be opened. */
export interface OpenOptions {
  /** `OPEN` flags: access mode, truncate, append, sync. Creating isn't among them. */
  readonly flags: number;
  /** Ends the waiting. */
  readonly cancellation: Cancellation;
}

/** What a new file gets. */
export interface CreateOptions extends OpenOptions {
  /** Permissions, 12 bits; the guest has applied its umask. */
  readonly mode: number;
  /** Who it belongs to. `flags` may have `OPEN.exclusive`: then there must be no such file. */
  readonly owner: FileOwner;
}

/** A file or folder that was just made, and opened. */
export interface CreatedFile {
  /** The file. */
  readonly node: FileNode;
  /** The same, opened. */
  readonly handle: FileHandle;
}

/** Attributes by name that belong to a file. */
export interface ExtendedAttributes {
  /** All names. */
  list(): Awaitable<readonly string[]>;
  /** One value; `undefined` when there is none of that name. */
  get(name: string): Awaitable<Uint8Array | undefined>;
  /** Sets a value. `flags`: `XATTR.create` (fail when it is there), `XATTR.replace` (fail when it isn't). */
  set(name: string, value: Uint8Array, flags: number): Awaitable<void>;
  /** Takes one away. */
  remove(name: string): Awaitable<void>;
}

/**
 * A file, folder or link, held until {@link FileNode.release}. An operation that it doesn't have is left out: the guest gets
 * EOPNOTSUPP, or what fits better (ENOTDIR for a look into a file). All fail by throwing {@link FileError}, or an error with
 * a `code` that Linux knows. Names are never empty, `.` or `..`, and hold no slash and no NUL: whoever calls sees to that.
 */
export interface FileNode {
  /** Type and number never change; the version is that of the last look. */
  readonly qid: Qid;
  /** What it is like now. */
  attributes(): Awaitable<FileAttributes>;
  /** Opens it: a folder for listing. */
  open(options: OpenOptions): Awaitable<FileHandle>;
  /** Ends the holding; nothing may be asked afterwards. What was opened stays open. */
  release(): void;
  /** Finds a name in this folder, and holds what it found; links are not followed. */
  lookup?(name: string): Awaitable<FileNode>;
  /** Changes attributes, all or none where the host can. */
  setAttributes?(changes: FileChanges): Awaitable<void>;
  /** What a symbolic link says. */
  readLink?(): Awaitable<string>;
  /** Makes a regular file in this folder and opens it; opens the one that is there unless `OPEN.exclusive` is set. */
  create?(name: string, options: CreateOptions): Awaitable<CreatedFile>;
  /** Makes a folder in this folder. */
  makeDirectory?(name: string, options: { readonly mode: number; readonly owner: FileOwner }): Awaitable<Qid>;
  /** Makes a symbolic link in this folder. */
  makeSymlink?(name: string, target: string, owner: FileOwner): Awaitable<Qid>;
  /** Makes a FIFO, a socket, a device node or an empty file, as the type in `mode` says. */
  makeSpecial?(
    name: string,
    options: { readonly mode: number; readonly device: number; readonly owner: FileOwner },
  ): Awaitable<Qid>;
  /** Gives `node`, of the same file system, one more name in this folder. */
  link?(name: string, node: FileNode): Awaitable<void>;
  /** Takes a name out of this folder: that of an empty folder, or that of anything else. */
  remove?(name: string, options: { readonly directory: boolean }): Awaitable<void>;
  /** Moves a name of this folder to `folder`, of the same file system, replacing what is there if it may be. */
  rename?(name: string, folder: FileNode, newName: string): Awaitable<void>;
  /** Its extended attributes; missing where there are none. */
  readonly extendedAttributes?: ExtendedAttributes;
}

/** An open file or folder. Reads and writes may stay pending for as long as they like; several may be under way at once. */
export interface FileHandle {
  /**
   * Fills `into` from `offset` on and answers how many bytes there were; 0 is the end. The buffer may be kept until the
   * answer. When cancelled it should end soon, by throwing `EINTR`, unless bytes were taken that nobody else will get.
   */
  read?(offset: number, into: Uint8Array, cancellation: Cancellation): Awaitable<number>;
  /**
   * Writes `from` at `offset`, at the end when opened with `OPEN.append`; answers how many bytes it took. The bytes are
   * valid until the answer.
   */
  write?(offset: number, from: Uint8Array, cancellation: Cancellation): Awaitable<number>;
  /** Some entries after `cookie`, at least one; none at the end. 0 starts anew. `.` and `..` aren't among them. */
  list?(cookie: number, cancellation: Cancellation): Awaitable<readonly DirectoryEntry[]>;
  /** Changes how long the file is: allowed by how it was opened, whatever its permissions have become. */
  setSize?(size: number): Awaitable<void>;
  /** Makes durable what was written. */
  sync?(options: { readonly dataOnly: boolean }): Awaitable<void>;
  /** Ends it; called once, when no operation is under way. */
  close(): Awaitable<void>;
}

/** Files behind a server: those of a host, of memory, or made up. */
export interface FileSystem {
  /** The top folder, held. It is asked once for each `Tattach`. */
  root(): Awaitable<FileNode>;
  /** Numbers for `df`; zeros when left out. */
  statistics?(node: FileNode): Awaitable<FileSystemStatistics>;
}
