import { isPromise } from "./awaitable.ts";
import { FileError } from "./errno.ts";
import type { Awaitable, FileHandle, FileNode, FileOwner } from "./file-system.ts";

/** A file, and the way on which it was reached: what `..` goes back on. Counted, since fids share it. */
export class Place {
  readonly node: FileNode;
  /** The folder that it was found in; none for the root. */
  readonly parent: Place | undefined;
  /** Its name there. */
  readonly name: string;
  #holders = 1;

  /** Takes over the caller's hold of `node`, and holds `parent`. */
  constructor(node: FileNode, parent?: Place, name = "/") {
    this.node = node;
    this.parent = parent?.hold();
    this.name = name;
  }

  hold(): this {
    this.#holders++;
    return this;
  }

  release(): void {
    if (--this.#holders > 0) return;
    this.node.release();
    this.parent?.release();
  }
}

/** An extended attribute that is read or written through a fid as if it were a file. */
export interface AttributeAccess {
  readonly name: string;
  readonly value: Uint8Array;
  /** What `Txattrcreate` said; `undefined` for reading. */
  readonly writing?: { readonly flags: number; filled: number };
}

/** What a client's number for a file stands for. */
export class Fid {
  readonly place: Place;
  readonly owner: FileOwner;
  /** The opened file, and its `OPEN` flags. */
  handle: FileHandle | undefined;
  flags = 0;
  /** An open is under way. */
  opening = false;
  attribute: AttributeAccess | undefined;
  /** Who took locks through it. */
  readonly lockOwners: Set<string> = new Set<string>();
  /** Operations under way, told when the fid goes. */
  readonly requests: Set<{ cancel(): void }> = new Set<{ cancel(): void }>();
  #gone = false;
  #closed: (() => void) | undefined;

  constructor(place: Place, owner: FileOwner) {
    this.place = place;
    this.owner = owner;
  }

  get gone(): boolean {
    return this.#gone;
  }

  get node(): FileNode {
    return this.place.node;
  }

  /** The operation is over. */
  leave(request: { cancel(): void }): void {
    this.requests.delete(request);
    if (this.#gone && this.requests.size === 0) this.#closed?.();
  }

  /** Ends it: operations are cancelled, and when the last has ended the file is closed. */
  end(onError: (error: unknown) => void): Awaitable<void> {
    this.#gone = true;
    for (const request of [...this.requests]) request.cancel();
    if (this.requests.size === 0) return this.#close(onError);
    return new Promise<void>((resolve) => {
      this.#closed = resolve;
    }).then(() => this.#close(onError));
  }

  #close(onError: (error: unknown) => void): Awaitable<void> {
    const { handle } = this;
    this.handle = undefined;
    try {
      const closing = handle?.close();
      if (isPromise(closing)) return closing.catch(onError).then(() => this.place.release());
    } catch (error) {
      onError(error);
    }
    this.place.release();
  }
}

/** A connection's fids by number. */
export class FidTable {
  readonly #fids = new Map<number, Fid | undefined>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#fids.size;
  }

  /** The fid of that number. Throws `EBADF` when there is none, or when it is still to be. */
  get(number: number): Fid {
    const fid = this.#fids.get(number);
    if (fid === undefined) throw new FileError("EBADF", `fid ${number}`);
    return fid;
  }

  /** Keeps a number for a fid to come. */
  reserve(number: number): void {
    if (this.#fids.has(number)) throw new FileError("EINVAL", `fid ${number} is in use`);
    if (this.#fids.size >= this.#limit) throw new FileError("ENFILE", `more than ${this.#limit} fids`);
    this.#fids.set(number, undefined);
  }

  set(number: number, fid: Fid): void {
    this.#fids.set(number, fid);
  }

  remove(number: number): void {
    this.#fids.delete(number);
  }

  /** Empties the table and answers what was in it. */
  clear(): Fid[] {
    const fids = [...this.#fids.values()].filter((fid) => fid !== undefined);
    this.#fids.clear();
    return fids;
  }
}
