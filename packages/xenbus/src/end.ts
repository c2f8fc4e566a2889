import { ParavirtError } from "@paravirt/core";
import { XENBUS_STATE } from "@paravirt/xen-abi";
import { isXenstoreError, type XenstoreNodes, type XenstoreWatch } from "@paravirt/xenstore";
import { isXenbusTransition, parseXenbusState, type XenbusState, xenbusStateName } from "./state.ts";

/** What a device's end needs of a xenstore client; `XenstoreClient` of `@paravirt/xenstore` has it. */
export interface XenbusStore extends Pick<XenstoreNodes, "read" | "write"> {
  /** Reports changes of `path` and below, the first one at once. */
  watch(path: string): XenstoreWatch;
  /** Runs `work` in a transaction, again on conflict. */
  transaction<T>(work: (nodes: XenstoreNodes) => Promise<T> | T): Promise<T>;
}

/** Which device, and which end of it. */
export interface XenbusEndOptions {
  /** The way to xenstore. */
  readonly store: XenbusStore;
  /** The end's own nodes: `/local/domain/0/backend/vbd/1/51712`, say. */
  readonly path: string;
  /** The node that holds the other end's path: `frontend` for a backend, `backend` for a frontend. */
  readonly otherEnd: "frontend" | "backend";
  /**
   * Told of the other end's state, at the start and at each change; Unknown when its nodes are gone. The next call waits
   * for the promise that this one returns; states that were left again meanwhile are skipped.
   */
  readonly onOtherState: (state: XenbusState) => Promise<void> | void;
  /** Gets what `onOtherState` threw or the store refused; the end goes on to listen. */
  readonly onError: (error: unknown) => void;
}

/** One end of a device: its own state, the other's state, and both ends' nodes. */
export interface XenbusEnd {
  /** The end's own nodes. */
  readonly path: string;
  /** The other end's path. */
  readonly otherPath: string;
  /** Our state, as written last. */
  readonly state: XenbusState;
  /** Reads one of our nodes; `undefined` when it is missing. */
  read(name: string): Promise<string | undefined>;
  /** Reads one of the other end's nodes; `undefined` when it is missing. */
  readOther(name: string): Promise<string | undefined>;
  /** Writes several of our nodes in one transaction. */
  write(nodes: Readonly<Record<string, string>>): Promise<void>;
  /**
   * Goes to another state: in a transaction, as Linux does, so that a device that was removed doesn't come back to life.
   * Nothing happens when we are in that state. Throws `BAD_ARGUMENT` for a step that there isn't.
   */
  switchTo(state: XenbusState): Promise<void>;
  /**
   * Ends the device because the other end did what can't be borne: writes `reason` into our `error` node, for people who
   * look, and goes to Closing, unless we are Closed.
   */
  fail(reason: string): Promise<void>;
  /** Stops listening; states stay as they are. Waits for a running `onOtherState`. */
  close(): Promise<void>;
}

/** Opens one end of a device whose nodes the toolstack has made. Rejects with `UNAVAILABLE` when they are missing. */
export async function openXenbusEnd(options: XenbusEndOptions): Promise<XenbusEnd> {
  const { store, path } = options;
  const otherPath = await readIfThere(store, `${path}/${options.otherEnd}`);
  if (otherPath === undefined) {
    throw new ParavirtError("UNAVAILABLE", `${path}/${options.otherEnd} is missing: no such device`);
  }
  let state = parseXenbusState(await readIfThere(store, `${path}/state`));
  const watch = store.watch(`${otherPath}/state`);
  const listening = listen(watch, async () => {
    await options.onOtherState(parseXenbusState(await readIfThere(store, `${otherPath}/state`)));
  }).catch(options.onError);

  /** One step after another: `onError` of one doesn't end the others. */
  async function listen(changes: XenstoreWatch, step: () => Promise<void>): Promise<void> {
    let last: Promise<void> = Promise.resolve();
    for await (const _ of changes) {
      last = step().catch(options.onError);
      await last;
    }
  }

  const end: XenbusEnd = {
    path,
    otherPath,
    get state() {
      return state;
    },
    read: (name) => readIfThere(store, `${path}/${name}`),
    readOther: (name) => readIfThere(store, `${otherPath}/${name}`),
    write: (nodes) =>
      store.transaction(async (transaction) => {
        for (const [name, value] of Object.entries(nodes)) await transaction.write(`${path}/${name}`, value);
      }),
    async switchTo(next) {
      if (next === state) return;
      if (!isXenbusTransition(state, next)) {
        const step = `${xenbusStateName(state)} to ${xenbusStateName(next)}`;
        throw new ParavirtError("BAD_ARGUMENT", `${path} can't go from ${step}`);
      }
      await store.transaction(async (transaction) => {
        const there = await readIfThere(transaction, `${path}/state`);
        if (there !== undefined) await transaction.write(`${path}/state`, String(next));
      });
      state = next;
    },
    async fail(reason) {
      await end.write({ error: reason });
      if (state !== XENBUS_STATE.Closed) await end.switchTo(XENBUS_STATE.Closing);
    },
    async close() {
      await watch.close().catch(() => undefined); // a connection that ended has no watch to end
      await listening;
    },
  };
  return end;
}

async function readIfThere(store: Pick<XenstoreNodes, "read">, path: string): Promise<string | undefined> {
  try {
    return await store.read(path);
  } catch (error) {
    if (isXenstoreError(error) && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** The states in which a frontend has written what a backend needs to connect. */
export function isFrontendReady(state: XenbusState): boolean {
  return state === XENBUS_STATE.Initialised || state === XENBUS_STATE.Connected;
}
