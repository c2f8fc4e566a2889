import { XS } from "@paravirt/xen-abi";
import type { XenstoreWatch } from "./client.ts";
import { latin1Encode } from "./text.ts";

/** The watches of one client. */
export interface Watches {
  open(path: string, depth: number | undefined): XenstoreWatch;
  deliver(path: string, token: string): void;
  closeAll(): void;
}

/** Makes a client's watches; `send` sends a request outside transactions. */
export function createWatches(send: (type: number, body: Uint8Array) => Promise<Uint8Array>): Watches {
  const open = new Map<string, ClientWatch>();
  let lastToken = 0;
  return {
    open(path, depth) {
      const token = String(++lastToken);
      const watch = new ClientWatch(async () => {
        if (open.delete(token)) await send(XS.UNWATCH, latin1Encode(`${path}\0${token}\0`));
      });
      // In the map before the request is sent: a store in the same program answers, and reports, while it is sent.
      open.set(token, watch);
      const limit = depth === undefined ? "" : `${depth}\0`;
      const accepted = send(XS.WATCH, latin1Encode(`${path}\0${token}\0${limit}`));
      watch.start(
        accepted.then(
          () => undefined,
          (error: unknown) => {
            open.delete(token);
            watch.finish();
            throw error;
          },
        ),
      );
      return watch;
    },
    deliver: (path, token) => open.get(token)?.push(path),
    closeAll() {
      for (const watch of open.values()) watch.finish();
      open.clear();
    },
  };
}

class ClientWatch implements XenstoreWatch {
  ready: Promise<void> = Promise.resolve();
  readonly #end: () => Promise<void>;
  /** A set: a path that changes ten times before anyone looks is one entry. */
  readonly #changed = new Set<string>();
  #wake: (() => void) | undefined;
  #finished = false;

  constructor(end: () => Promise<void>) {
    this.#end = end;
  }

  start(ready: Promise<void>): void {
    this.ready = ready;
    // A refusal is reported by `ready` and `next`; one that nobody waits for shall not end the program.
    ready.catch(() => undefined);
  }

  push(path: string): void {
    this.#changed.add(path);
    this.#wake?.();
  }

  finish(): void {
    this.#finished = true;
    this.#wake?.();
  }

  async next(): Promise<IteratorResult<string>> {
    await this.ready;
    while (this.#changed.size === 0 && !this.#finished) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    for (const path of this.#changed) {
      this.#changed.delete(path);
      return { done: false, value: path };
    }
    return { done: true, value: undefined };
  }

  async close(): Promise<void> {
    this.#changed.clear();
    this.finish();
    await this.#end();
  }

  async return(): Promise<IteratorResult<string>> {
    await this.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<string> {
    return this;
  }
}
