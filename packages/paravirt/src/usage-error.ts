/** The user asked for something impossible: one line, exit status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
