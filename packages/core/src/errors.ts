/** What a {@link ParavirtError} is about; test this, not the message. */
export type ParavirtErrorCode =
  | "BUG"
  | "OUT_OF_RANGE"
  | "BAD_ARGUMENT"
  | "BAD_IMAGE"
  | "UNSUPPORTED"
  | "OUT_OF_MEMORY"
  | "UNAVAILABLE"
  | "BUSY"
  | "DENIED"
  | "IO";

/** Thrown by every paravirt library for a caller's mistake or our own; a guest's mistake is never thrown. */
export class ParavirtError extends Error {
  /** Always `"ParavirtError"`. */
  override readonly name = "ParavirtError";
  /** What went wrong. */
  readonly code: ParavirtErrorCode;
  constructor(code: ParavirtErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Tells whether `error` is a {@link ParavirtError}, whichever copy of this library made it. */
export function isParavirtError(error: unknown): error is ParavirtError {
  return error instanceof Error && error.name === "ParavirtError" && "code" in error;
}
