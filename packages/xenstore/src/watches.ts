import { domainPath, parentPath } from "./path.ts";
import { type Caller, isAllowed } from "./permissions.ts";
import type { ChangeEvent } from "./view.ts";

/** One watch of one connection. */
export interface Watch {
  /** The path as an absolute one, or the special name. */
  readonly path: string;
  /** The path as the client wrote it: the initial event carries it, and a relative one makes relative events. */
  readonly sentPath: string;
  readonly token: string;
  /** How many levels below the path count; `undefined` for all. */
  readonly depth: number | undefined;
  readonly caller: Caller;
  /** Position among all watches: events of one change go out in the order of registration. */
  readonly sequence: number;
  /** Tells the client that `path` (in the form that it expects) changed. */
  fire(path: string): void;
}

/** All watches of a store, found by path. */
export class WatchTable {
  readonly #byPath = new Map<string, Set<Watch>>();

  add(watch: Watch): void {
    const set = this.#byPath.get(watch.path);
    if (set === undefined) this.#byPath.set(watch.path, new Set([watch]));
    else set.add(watch);
  }

  remove(watch: Watch): void {
    const set = this.#byPath.get(watch.path);
    set?.delete(watch);
    if (set?.size === 0) this.#byPath.delete(watch.path);
  }

  /** Tells all watches that match `event` and whose owner may know of it. */
  fire(event: ChangeEvent): void {
    if (this.#byPath.size === 0) return;
    const matching: Watch[] = [];
    let level = 0;
    for (let path = event.path; ; path = parentPath(path), level++) {
      for (const watch of this.#byPath.get(path) ?? []) {
        if (watch.depth === undefined || level <= watch.depth) matching.push(watch);
      }
      if (event.exact || path === "/") break;
    }
    if (matching.length > 1) matching.sort((a, b) => a.sequence - b.sequence);
    for (const watch of matching) {
      if (event.readers.some((list) => isAllowed(watch.caller, list, "read"))) watch.fire(eventPath(watch, event.path));
    }
  }

  /** Tells the watches of a special name that `domid` came or went, if their owners may know by `event.readers`. */
  fireSpecial(event: ChangeEvent, domid: number): void {
    const one = `${event.path}/${domid}`;
    const matching = [...(this.#byPath.get(event.path) ?? []), ...(this.#byPath.get(one) ?? [])];
    matching.sort((a, b) => a.sequence - b.sequence);
    for (const watch of matching) {
      if (!event.readers.some((list) => isAllowed(watch.caller, list, "read"))) continue;
      watch.fire(watch.path === one || watch.depth === 1 ? one : event.path);
    }
  }
}

function eventPath(watch: Watch, path: string): string {
  if (watch.sentPath === watch.path) return path;
  return path.slice(domainPath(watch.caller.domid).length + 1);
}
