import { waitFor } from "./cancellation.ts";
import { FileError } from "./errno.ts";
import type { Cancellation } from "./file-system.ts";

/** A range of bytes of a file that somebody has locked. Ends are exclusive; the largest stands for the end of the file. */
export interface HeldLock {
  /** Whether nobody else may have a lock there. */
  readonly exclusive: boolean;
  /** First byte. */
  readonly start: bigint;
  /** Byte after the last. */
  readonly end: bigint;
  /** The client's number for the owner. */
  readonly process: number;
  /** The client's name. */
  readonly client: string;
}

interface Entry extends HeldLock {
  readonly owner: string;
}

/** The end of an open range: Linux's largest offset is below it. */
export const LOCK_END: bigint = 1n << 64n;
const LIMIT = 4096;

class FileLocks {
  entries: Entry[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #onEmpty: () => void;

  constructor(onEmpty: () => void) {
    this.#onEmpty = onEmpty;
  }

  conflict(owner: string, exclusive: boolean, start: bigint, end: bigint): HeldLock | undefined {
    return this.entries.find(
      (entry) => entry.owner !== owner && (entry.exclusive || exclusive) && entry.start < end && start < entry.end,
    );
  }

  /** Sets a range: what the owner had there gives way, as with fcntl. */
  put(lock: Entry): void {
    this.entries = [...this.without(lock.owner, lock.start, lock.end), lock];
    this.wake();
  }

  release(owner: string, start: bigint, end: bigint): void {
    this.entries = this.without(owner, start, end);
    this.wake();
  }

  wait(listener: () => void): () => void {
    this.#waiting.add(listener);
    return () => {
      this.#waiting.delete(listener);
      this.rest();
    };
  }

  private without(owner: string, start: bigint, end: bigint): Entry[] {
    return this.entries.flatMap((entry) => {
      if (entry.owner !== owner || entry.end <= start || end <= entry.start) return [entry];
      const left = entry.start < start ? [{ ...entry, end: start }] : [];
      return entry.end > end ? [...left, { ...entry, start: end }] : left;
    });
  }

  private wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const listener of waiting) listener();
    this.rest();
  }

  private rest(): void {
    if (this.entries.length === 0 && this.#waiting.size === 0) this.#onEmpty();
  }
}

/** A lock that is asked for. */
export interface LockRequest {
  /** Number of the file. */
  readonly file: bigint;
  /** Tells owners apart: the connection, its client's name and the process. */
  readonly owner: string;
  readonly process: number;
  readonly client: string;
  readonly exclusive: boolean;
  readonly start: bigint;
  /** 0 is up to the end of the file, however long it gets. */
  readonly length: bigint;
}

/** Byte-range locks (fcntl's, and flock's as whole files) of everybody who uses one server. The host's programs see none. */
export class LockTable {
  readonly #files = new Map<bigint, FileLocks>();

  /** The first lock that stands in the way; `undefined` when there is none. */
  conflict(request: LockRequest): HeldLock | undefined {
    const end = endOf(request);
    return this.#files.get(request.file)?.conflict(request.owner, request.exclusive, request.start, end);
  }

  /** Takes a lock; false when another is in the way. */
  take(request: LockRequest): boolean {
    if (this.conflict(request) !== undefined) return false;
    const { exclusive, start, process, client, owner } = request;
    const file = this.#file(request.file);
    if (file.entries.length >= LIMIT) throw new FileError("ENOLCK", `more than ${LIMIT} locks on a file`);
    file.put({ exclusive, start, end: endOf(request), process, client, owner });
    return true;
  }

  /** Takes a lock when it can be had; throws `EINTR` when cancelled before. */
  async takeWhenFree(request: LockRequest, cancellation: Cancellation): Promise<void> {
    while (!this.take(request)) {
      const file = this.#file(request.file);
      await waitFor<void>(cancellation, (resolve) => file.wait(() => resolve()));
    }
  }

  /** Gives up what the owner has of a range; answers whether it has others on the file. */
  release({ file, owner, start, length }: Pick<LockRequest, "file" | "owner" | "start" | "length">): boolean {
    const locks = this.#files.get(file);
    locks?.release(owner, start, endOf({ start, length }));
    return locks?.entries.some((entry) => entry.owner === owner) ?? false;
  }

  /** Files that have locks, or somebody who waits for one. */
  get size(): number {
    return this.#files.size;
  }

  #file(path: bigint): FileLocks {
    const known = this.#files.get(path);
    if (known !== undefined) return known;
    const file = new FileLocks(() => this.#files.delete(path));
    this.#files.set(path, file);
    return file;
  }
}

function endOf({ start, length }: { readonly start: bigint; readonly length: bigint }): bigint {
  const end = start + length;
  return length === 0n || end > LOCK_END ? LOCK_END : end;
}
