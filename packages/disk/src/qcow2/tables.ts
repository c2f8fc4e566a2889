import { type Steps, settled } from "../answer.ts";
import type { BlockFile } from "../block-file.ts";
import { viewOf } from "./header.ts";

/** One L2 table, a cluster long, as it is to be in the file. */
export interface Table {
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** First and last byte, plus one, that differ from the file. */
  dirtyFrom: number;
  dirtyTo: number;
}

const CACHE_BYTES = 16 << 20;
/** Requests look at one or two tables at a time, so none that is in use is ever thrown out. */
const LEAST_TABLES = 16;

/** L2 tables in memory, the least recently used clean ones thrown out; changed ones stay until they are written. */
export class Tables {
  readonly #file: BlockFile;
  readonly #tableBytes: number;
  readonly #most: number;
  readonly #tables = new Map<number, Table>();
  readonly #dirty = new Set<Table>();
  #last: Table | undefined;

  constructor(file: BlockFile, tableBytes: number) {
    this.#file = file;
    this.#tableBytes = tableBytes;
    this.#most = Math.max(LEAST_TABLES, Math.floor(CACHE_BYTES / tableBytes));
  }

  /** Whether a table differs from the file. */
  get dirty(): boolean {
    return this.#dirty.size > 0;
  }
  /** Whether so many differ that it is time to write them. */
  get full(): boolean {
    return this.#dirty.size > this.#most / 2;
  }

  /** The table at `offset`. */
  *get(offset: number): Steps<Table> {
    if (this.#last?.offset === offset) return this.#last;
    let table = this.#tables.get(offset);
    if (table === undefined) {
      const bytes = new Uint8Array(this.#tableBytes);
      yield* settled(this.#file.read(offset, [bytes]));
      // While that was read, another request may have brought it in, and changed it.
      table = this.#tables.get(offset) ?? this.#keep(offset, bytes);
    } else {
      this.#tables.delete(offset);
      this.#tables.set(offset, table);
    }
    this.#last = table;
    return table;
  }

  /** A new table that will be at `offset`, with `bytes` in it. */
  create(offset: number, bytes: Uint8Array): Table {
    const table = this.#keep(offset, bytes);
    table.dirtyFrom = 0;
    table.dirtyTo = this.#tableBytes;
    this.#dirty.add(table);
    return table;
  }

  /** Notes that entries from `index` on were changed. */
  changed(table: Table, index: number, count: number): void {
    table.dirtyFrom = Math.min(table.dirtyFrom, index * 8);
    table.dirtyTo = Math.max(table.dirtyTo, (index + count) * 8);
    this.#dirty.add(table);
  }

  /** Forgets a table whose cluster is free now. */
  forget(offset: number): void {
    const table = this.#tables.get(offset);
    if (table === undefined) return;
    this.#tables.delete(offset);
    this.#dirty.delete(table);
    if (this.#last === table) this.#last = undefined;
  }

  /** Writes all changed tables. */
  *write(): Steps<void> {
    for (const table of this.#dirty) {
      yield* settled(
        this.#file.write(table.offset + table.dirtyFrom, [table.bytes.subarray(table.dirtyFrom, table.dirtyTo)]),
      );
      table.dirtyFrom = Number.POSITIVE_INFINITY;
      table.dirtyTo = 0;
    }
    this.#dirty.clear();
    this.#trim();
  }

  #keep(offset: number, bytes: Uint8Array): Table {
    const table = { offset, bytes, view: viewOf(bytes), dirtyFrom: Number.POSITIVE_INFINITY, dirtyTo: 0 };
    this.#tables.set(offset, table);
    this.#trim();
    return table;
  }

  #trim(): void {
    if (this.#tables.size <= this.#most) return;
    for (const [offset, table] of this.#tables) {
      if (this.#tables.size <= this.#most) break;
      // The newest half stays in any case: requests under way hold tables from there.
      if (!this.#dirty.has(table) && table !== this.#last) this.#tables.delete(offset);
    }
  }
}
