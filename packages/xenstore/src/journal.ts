import { encodeChanges, type StoreChange } from "./store-change.ts";
import type { XenstoreMessage } from "./wire.ts";

/**
 * Where a store's changes are kept, so that a later one begins with them. A host makes it, of a file say; the store hands
 * it entries and lets no reply and no event out that tells of a change before the change is durable.
 */
export interface XenstoreJournal {
  /** Takes the changes of one operation, which must become durable together or not at all, after all earlier ones. */
  append(entry: Uint8Array): void;
  /** Names the function to call with how many entries, counted from the first `append` on, are durable. */
  onDurable(listener: (entries: number) => void): void;
}

/** The way out of the store for one connection's messages. */
export interface Outbox {
  /** Sends a message as soon as what it may tell of is durable. */
  send(message: XenstoreMessage): void;
  /** Forgets what still waits. */
  drop(): void;
}

interface Held {
  /** How many entries must be durable. */
  readonly entries: number;
  readonly session: { dropped: boolean };
  readonly deliver: () => void;
}

/** Gathers the changes of each operation into an entry, and holds messages back until their entries are durable. */
export class Recorder {
  readonly #journal: XenstoreJournal | undefined;
  #changes: StoreChange[] = [];
  #depth = 0;
  #appended = 0;
  #durable = 0;
  readonly #held: Held[] = [];
  #delivering = false;

  constructor(journal: XenstoreJournal | undefined) {
    this.#journal = journal;
    journal?.onDurable((entries) => {
      this.#durable = Math.max(this.#durable, entries);
      this.#deliver();
    });
  }

  /** Whether changes are kept at all. */
  get records(): boolean {
    return this.#journal !== undefined;
  }

  /** Notes a change that has just been made. Outside of an operation it is one of its own. */
  record(change: StoreChange): void {
    if (this.#journal === undefined) return;
    this.#changes.push(change);
    if (this.#depth === 0) this.#append();
  }

  /** Runs `work`, whose changes become one entry; an operation inside another one is part of it. */
  operation<T>(work: () => T): T {
    if (this.#journal === undefined) return work();
    this.#depth++;
    try {
      return work();
    } finally {
      this.#depth--;
      if (this.#depth === 0 && this.#changes.length > 0) this.#append();
    }
  }

  /** Makes the way out for one connection. */
  outbox(send: (message: XenstoreMessage) => void): Outbox {
    if (this.#journal === undefined) return { send, drop() {} };
    let session = { dropped: false };
    return {
      send: (message) => this.#whenDurable(session, () => send(message)),
      drop() {
        session.dropped = true;
        session = { dropped: false };
      },
    };
  }

  /** Resolves when all changes made so far are durable; at once without a journal. */
  durable(): Promise<void> {
    return new Promise((resolve) => this.#whenDurable({ dropped: false }, resolve));
  }

  #whenDurable(session: { dropped: boolean }, deliver: () => void): void {
    const entries = this.#appended + (this.#changes.length > 0 ? 1 : 0);
    if (entries <= this.#durable && this.#held.length === 0) deliver();
    else this.#held.push({ entries, session, deliver });
  }

  #append(): void {
    const entry = encodeChanges(this.#changes);
    this.#changes = [];
    this.#appended++;
    this.#journal?.append(entry);
  }

  #deliver(): void {
    // A delivery may make the store answer another request, or a journal in memory call back at once.
    if (this.#delivering) return;
    this.#delivering = true;
    let count = 0;
    try {
      for (let next = this.#held[0]; next !== undefined && next.entries <= this.#durable; next = this.#held[count]) {
        count++;
        if (!next.session.dropped) next.deliver();
      }
    } finally {
      this.#held.splice(0, count);
      this.#delivering = false;
    }
  }
}
