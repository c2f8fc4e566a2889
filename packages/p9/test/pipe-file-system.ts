import { waitFor } from "../src/cancellation.ts";
import type { Qid } from "../src/codec.ts";
import { FileError } from "../src/errno.ts";
import type { Cancellation, FileAttributes, FileHandle, FileNode, FileSystem } from "../src/file-system.ts";
import { FILE_TYPE, QID_TYPE } from "../src/flags.ts";

/** A made-up file system with one file, `pipe`, whose reads wait until something is put into it. */
export interface PipeFileSystem extends FileSystem {
  /** Gives the longest-waiting read its bytes. */
  feed(bytes: Uint8Array): void;
  /** Makes all waiting reads fail with an error that isn't the guest's. */
  explode(): void;
  /** Reads that wait. */
  readonly waiting: number;
  /** Open handles. */
  readonly open: number;
  /** Whether cancelled reads stay deaf to it. */
  stubborn: boolean;
}

export function createPipeFileSystem(): PipeFileSystem {
  const readers: { resolve(bytes: Uint8Array): void; reject(error: unknown): void }[] = [];
  let open = 0;
  const system: PipeFileSystem = {
    stubborn: false,
    root: () => folder,
    feed: (bytes) => readers.shift()?.resolve(bytes),
    explode: () => {
      for (const reader of readers.splice(0)) reader.reject(new TypeError("not a guest's mistake"));
    },
    get waiting() {
      return readers.length;
    },
    get open() {
      return open;
    },
  };
  const read = async (_offset: number, into: Uint8Array, cancellation: Cancellation): Promise<number> => {
    const wait = (resolve: (bytes: Uint8Array) => void, reject: (error: unknown) => void): (() => void) => {
      const reader = { resolve, reject };
      readers.push(reader);
      return () => readers.splice(readers.indexOf(reader), 1);
    };
    const bytes = system.stubborn
      ? await new Promise<Uint8Array>((resolve, reject) => void wait(resolve, reject))
      : await waitFor(cancellation, wait);
    into.set(bytes);
    return bytes.length;
  };
  const node = (qid: Qid, mode: number, more: Partial<FileNode>): FileNode => ({
    qid,
    attributes: () => ({ ...NOTHING, mode }),
    open(): FileHandle {
      open++;
      return { read, close: () => void open-- };
    },
    release() {},
    ...more,
  });
  const file = node({ type: QID_TYPE.file, version: 0, path: 2n }, FILE_TYPE.regular | 0o600, {});
  const folder = node({ type: QID_TYPE.directory, version: 0, path: 1n }, FILE_TYPE.directory | 0o700, {
    async lookup(name) {
      if (name === "pipe") return file;
      if (name === "slow") return new Promise(() => {});
      throw new FileError("ENOENT", name);
    },
  });
  return system;
}

const NOTHING: FileAttributes = {
  mode: 0,
  uid: 0,
  gid: 0,
  links: 1,
  device: 0,
  size: 0,
  blockSize: 4096,
  blocks: 0,
  accessed: 0n,
  modified: 0n,
  changed: 0n,
};
