/**
 * Shared folders: a 9P2000.L server over any file system, a file system in memory, and Xen's `9pfs` backend.
 * @packageDocumentation
 */
export { createShareDevice, type ShareDeviceOptions } from "./backend.ts";
export { waitFor } from "./cancellation.ts";
export type { Qid } from "./codec.ts";
export { FileError, LINUX_ERRNO, type LinuxErrorName, linuxErrno } from "./errno.ts";
export type {
  Awaitable,
  Cancellation,
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
export {
  AT_REMOVEDIR,
  FILE_TYPE,
  GETATTR,
  LOCK_STATUS,
  LOCK_TYPE,
  NO_FID,
  NO_TAG,
  NO_UID,
  OPEN,
  QID_TYPE,
  SETATTR,
  XATTR,
} from "./flags.ts";
export type { P9Connection } from "./link.ts";
export { createMemoryFileSystem, type MemoryFileSystem, type MemoryFileSystemOptions } from "./memory-file-system.ts";
export { decodeName, encodeName } from "./names.ts";
export { qidTypeOf } from "./qid.ts";
export { createP9Server, type P9Server, type P9ServerOptions } from "./server.ts";
