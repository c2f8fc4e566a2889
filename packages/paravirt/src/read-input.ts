import { readFileSync, statSync } from "node:fs";
import { UsageError } from "./usage-error.ts";

/** Reads a file that the command line named. Throws {@link UsageError} naming it when it can't be read. */
export function readInput(path: string): Buffer {
  try {
    // A device such as /dev/zero has no end.
    const status = statSync(path);
    if (!status.isFile() && !status.isFIFO()) throw new Error("not a file");
    return readFileSync(path);
  } catch (error) {
    throw new UsageError(`${path} can't be read: ${reasonOf(error)}`);
  }
}

/** `ENOENT: no such file or directory, open 'x'` without its number and call. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/^[A-Z]+: /, "").replace(/, \w+( '.*')?$/, "");
}
