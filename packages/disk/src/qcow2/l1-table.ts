import { type Steps, settled } from "../answer.ts";
import type { BlockFile } from "../block-file.ts";
import { setOwnCluster } from "./entry.ts";
import { type Qcow2Header, viewOf } from "./header.ts";

/** The table of tables, in memory as a whole, with what of it isn't in the file yet. */
export class L1Table {
  readonly #file: BlockFile;
  #bytes: Uint8Array;
  #view: DataView;
  #offset: number;
  #dirtyFrom = Number.POSITIVE_INFINITY;
  #dirtyTo = 0;

  constructor({
    file,
    header,
    l1,
  }: {
    readonly file: BlockFile;
    readonly header: Qcow2Header;
    readonly l1: Uint8Array;
  }) {
    this.#file = file;
    this.#bytes = l1;
    this.#view = viewOf(l1);
    this.#offset = header.l1Offset;
  }

  /** Its entries, to be read. */
  get view(): DataView {
    return this.#view;
  }

  /** How many there are. */
  get entries(): number {
    return this.#bytes.length / 8;
  }

  /** Where it is in the file. */
  get offset(): number {
    return this.#offset;
  }

  /** Whether the file's isn't the same. */
  get dirty(): boolean {
    return this.#dirtyTo > 0;
  }

  /** Lets an entry lead to a table at `offset` that only this disk uses. */
  set(index: number, offset: number): void {
    setOwnCluster(this.#view, index, offset);
    this.#dirtyFrom = Math.min(this.#dirtyFrom, index * 8);
    this.#dirtyTo = Math.max(this.#dirtyTo, index * 8 + 8);
  }

  /** Writes what has changed; the tables that it leads to are in the file. */
  *write(): Steps<void> {
    const part = this.#bytes.subarray(this.#dirtyFrom, this.#dirtyTo);
    yield* settled(this.#file.write(this.#offset + this.#dirtyFrom, [part]));
    this.#dirtyFrom = Number.POSITIVE_INFINITY;
    this.#dirtyTo = 0;
  }

  /** Writes a copy with more entries at `offset`, zeros up to `length` bytes, and makes it durable; from then on this is it. */
  *move(offset: number, length: number, entries: number): Steps<void> {
    const padded = new Uint8Array(length);
    padded.set(this.#bytes);
    yield* settled(this.#file.write(offset, [padded]));
    yield* settled(this.#file.flush());
    this.#bytes = padded.slice(0, entries * 8);
    this.#view = viewOf(this.#bytes);
    this.#offset = offset;
  }
}
