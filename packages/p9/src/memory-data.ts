import { FileError } from "./errno.ts";

const CHUNK = 65536;

/** Bytes that all files of a memory file system may take together. */
export class MemoryBudget {
  readonly limit: number;
  used = 0;

  constructor(limit: number) {
    this.limit = limit;
  }

  take(bytes: number): void {
    if (this.used + bytes > this.limit) throw new FileError("ENOSPC");
    this.used += bytes;
  }

  give(bytes: number): void {
    this.used -= bytes;
  }
}

/** The contents of a file, in pieces of 64 KiB; what was never written takes no room and reads as zeros. */
export class MemoryData {
  readonly #budget: MemoryBudget;
  readonly #chunks = new Map<number, Uint8Array>();
  size = 0;

  constructor(budget: MemoryBudget) {
    this.#budget = budget;
  }

  /** Bytes that are there. */
  get allocated(): number {
    return this.#chunks.size * CHUNK;
  }

  read(offset: number, into: Uint8Array): number {
    const count = Math.min(into.length, Math.max(0, this.size - offset));
    for (let done = 0; done < count; ) {
      const at = (offset + done) % CHUNK;
      const piece = Math.min(count - done, CHUNK - at);
      const chunk = this.#chunks.get(Math.floor((offset + done) / CHUNK));
      if (chunk === undefined) into.fill(0, done, done + piece);
      else into.set(chunk.subarray(at, at + piece), done);
      done += piece;
    }
    return count;
  }

  write(offset: number, from: Uint8Array): number {
    for (let done = 0; done < from.length; ) {
      const index = Math.floor((offset + done) / CHUNK);
      const at = (offset + done) % CHUNK;
      const piece = Math.min(from.length - done, CHUNK - at);
      let chunk = this.#chunks.get(index);
      if (chunk === undefined) {
        try {
          this.#budget.take(CHUNK);
        } catch (error) {
          // What fitted counts, as on a full disk.
          if (done === 0) throw error;
          return done;
        }
        chunk = new Uint8Array(CHUNK);
        this.#chunks.set(index, chunk);
      }
      chunk.set(from.subarray(done, done + piece), at);
      done += piece;
      this.size = Math.max(this.size, offset + done);
    }
    return from.length;
  }

  resize(size: number): void {
    if (size < this.size) {
      const kept = Math.ceil(size / CHUNK);
      for (const index of [...this.#chunks.keys()]) if (index >= kept) this.#drop(index);
      // What comes back when the file grows again must be zeros.
      this.#chunks.get(Math.floor(size / CHUNK))?.fill(0, size % CHUNK);
    }
    this.size = size;
  }

  /** Gives all of it up. */
  clear(): void {
    for (const index of [...this.#chunks.keys()]) this.#drop(index);
    this.size = 0;
  }

  #drop(index: number): void {
    this.#chunks.delete(index);
    this.#budget.give(CHUNK);
  }
}
