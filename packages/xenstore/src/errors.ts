/** An errno's name as the store answers it on the wire (`xsd_errors` of `io/xs_wire.h`). */
export type XenstoreErrno =
  | "EINVAL"
  | "EACCES"
  | "EEXIST"
  | "EISDIR"
  | "ENOENT"
  | "ENOMEM"
  | "ENOSPC"
  | "EIO"
  | "ENOTEMPTY"
  | "ENOSYS"
  | "EROFS"
  | "EBUSY"
  | "EAGAIN"
  | "EISCONN"
  | "E2BIG"
  | "EPERM";

const NAMES: ReadonlySet<string> = new Set<XenstoreErrno>([
  "EINVAL",
  "EACCES",
  "EEXIST",
  "EISDIR",
  "ENOENT",
  "ENOMEM",
  "ENOSPC",
  "EIO",
  "ENOTEMPTY",
  "ENOSYS",
  "EROFS",
  "EBUSY",
  "EAGAIN",
  "EISCONN",
  "E2BIG",
  "EPERM",
]);

/** Tells whether `text` is an errno's name of the protocol. */
export function isXenstoreErrno(text: string): text is XenstoreErrno {
  return NAMES.has(text);
}

/** What a {@link XenstoreError} is about: an errno that the store answered, or `CLOSED` when the connection ended first. */
export type XenstoreErrorCode = XenstoreErrno | "CLOSED";

/** Thrown by the client for an ERROR reply or a connection that ended. Test `error.code`. */
export class XenstoreError extends Error {
  /** Always `XenstoreError`. */
  override readonly name = "XenstoreError";
  /** What went wrong. */
  readonly code: XenstoreErrorCode;
  constructor(code: XenstoreErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Tells whether `error` is a {@link XenstoreError}, whichever copy of this library made it. */
export function isXenstoreError(error: unknown): error is XenstoreError {
  return error instanceof Error && error.name === "XenstoreError" && "code" in error;
}
