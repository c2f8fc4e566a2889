// A table: Linux's errno numbers, which are part of 9P2000.L.

/** Linux's numbers by name (`asm-generic/errno.h`): what `Rlerror` carries, whatever the host's own numbers are. */
export const LINUX_ERRNO: Readonly<Record<LinuxErrorName, number>> = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EPROTO: 71,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
  ETIMEDOUT: 110,
  ESTALE: 116,
  EDQUOT: 122,
  ECANCELED: 125,
};

/** Name of one of {@link LINUX_ERRNO}. */
export type LinuxErrorName =
  | "EPERM"
  | "ENOENT"
  | "EINTR"
  | "EIO"
  | "ENXIO"
  | "E2BIG"
  | "EBADF"
  | "EAGAIN"
  | "ENOMEM"
  | "EACCES"
  | "EBUSY"
  | "EEXIST"
  | "EXDEV"
  | "ENODEV"
  | "ENOTDIR"
  | "EISDIR"
  | "EINVAL"
  | "ENFILE"
  | "EMFILE"
  | "ENOTTY"
  | "ETXTBSY"
  | "EFBIG"
  | "ENOSPC"
  | "ESPIPE"
  | "EROFS"
  | "EMLINK"
  | "EPIPE"
  | "ERANGE"
  | "EDEADLK"
  | "ENAMETOOLONG"
  | "ENOLCK"
  | "ENOSYS"
  | "ENOTEMPTY"
  | "ELOOP"
  | "ENODATA"
  | "EPROTO"
  | "EOVERFLOW"
  | "EOPNOTSUPP"
  | "ETIMEDOUT"
  | "ESTALE"
  | "EDQUOT"
  | "ECANCELED";

/** What a file system throws for an answer that is an error: a guest's mistake, or how things are. */
export class FileError extends Error {
  /** Always `"FileError"`. */
  override readonly name = "FileError";
  /** Which error the guest sees. */
  readonly code: LinuxErrorName;
  constructor(code: LinuxErrorName, message?: string, options?: ErrorOptions) {
    super(message === undefined ? code : `${code}: ${message}`, options);
    this.code = code;
  }
}

/** Some hosts have other words for the same thing. */
const OTHER_NAMES: Readonly<Record<string, LinuxErrorName>> = { ENOTSUP: "EOPNOTSUPP", EWOULDBLOCK: "EAGAIN" };

/**
 * The number that stands for a thrown value: anything with a `code` that names a Linux error, as {@link FileError} and
 * Node.js's own errors have. `undefined` for everything else, which is somebody's mistake.
 */
export function linuxErrno(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") return undefined;
  const name = OTHER_NAMES[error.code] ?? error.code;
  return Object.hasOwn(LINUX_ERRNO, name) ? LINUX_ERRNO[name as LinuxErrorName] : undefined;
}
