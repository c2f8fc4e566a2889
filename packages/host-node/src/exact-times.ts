import { closeSync, fstatSync, mkdtempSync, openSync, rmdirSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileError } from "@paravirt/p9";

/** Times of a file in nanoseconds since 1970. */
interface Times {
  readonly accessed: bigint;
  readonly modified: bigint;
}

const REMEMBERED = 65_536;
const MILLISECOND = 1_000_000n;

/**
 * Times of files to the nanosecond. Node.js sets them to the microsecond only, and a guest that set a time, `make` and
 * `rsync` say, compares it with others: what was cut off is remembered for as long as the file has the time that was set.
 */
export class ExactTimes {
  readonly #set = new Map<bigint, { readonly stored: Times; readonly exact: Times }>();
  #scratch: number | undefined;

  /** What the host says of file number `file`, or what it should say. */
  of(file: bigint, host: Times): Times {
    const known = this.#set.get(file);
    if (known === undefined) return host;
    const { stored, exact } = known;
    return {
      accessed: host.accessed === stored.accessed ? exact.accessed : host.accessed,
      modified: host.modified === stored.modified ? exact.modified : host.modified,
    };
  }

  /**
   * Sets times with `apply` (`utimes` and its kind, in seconds); `read` tells what became of it. Throws `EINVAL` for times
   * before 1970, which Node.js can't set.
   */
  set(file: bigint, exact: Times, apply: (accessed: number, modified: number) => void, read: () => Times): void {
    if (exact.accessed < 0n || exact.modified < 0n) throw new FileError("EINVAL", "a time before 1970");
    apply(seconds(exact.accessed), seconds(exact.modified));
    const stored = read();
    this.#set.delete(file);
    if (!near(stored.accessed, exact.accessed) || !near(stored.modified, exact.modified)) return;
    this.#set.set(file, { stored, exact });
    // Maps keep their order: the first is the one that was set longest ago.
    for (const oldest of this.#set.keys()) {
      if (this.#set.size <= REMEMBERED) break;
      this.#set.delete(oldest);
    }
  }

  /**
   * Now, by the clock that the host's kernel stamps files with: it ticks some hundred times a second, and a finer one would
   * put a file that was touched after others that are written later.
   */
  now(): bigint {
    this.#scratch ??= openScratch();
    writeSync(this.#scratch, "x", 0);
    return fstatSync(this.#scratch, { bigint: true }).mtimeNs;
  }

  close(): void {
    if (this.#scratch !== undefined) closeSync(this.#scratch);
    this.#scratch = undefined;
  }
}

/** A file without a name. */
function openScratch(): number {
  const folder = mkdtempSync(join(tmpdir(), "paravirt-clock-"));
  const path = join(folder, "clock");
  const fd = openSync(path, "wx", 0o600);
  unlinkSync(path);
  rmdirSync(folder);
  return fd;
}

/** Node.js cuts off what is below a microsecond, after a multiplication: a quarter more keeps the microsecond itself. */
function seconds(time: bigint): number {
  return (Number(time / 1000n) + 0.25) / 1e6;
}

function near(a: bigint, b: bigint): boolean {
  return a - b < MILLISECOND && b - a < MILLISECOND;
}
