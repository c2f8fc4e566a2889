import { XS } from "@paravirt/xen-abi";
import { createRequests, type Requests } from "./client-requests.ts";
import { createWatches } from "./client-watches.ts";
import { XenstoreError } from "./errors.ts";
import type { XenstoreLink } from "./link.ts";
import { formatPermission, type Permission, type Permissions, parsePermission } from "./permissions.ts";
import { latin1Decode, latin1Encode, utf8Decode, utf8Encode } from "./text.ts";

/**
 * Nodes as a client reads and changes them. Paths are absolute, or relative to the domain's own `/local/domain/N`.
 * Every method rejects with a {@link XenstoreError} whose code is what the store answered, `CLOSED` after the link's end.
 */
export interface XenstoreNodes {
  /** The value as text (UTF-8). */
  read(path: string): Promise<string>;
  /** The value's bytes. */
  readBytes(path: string): Promise<Uint8Array>;
  /** Writes a value; makes the node and its ancestors if they are missing. */
  write(path: string, value: string | Uint8Array): Promise<void>;
  /** Makes the node and its ancestors if they are missing. */
  mkdir(path: string): Promise<void>;
  /** Removes the node and all below. */
  remove(path: string): Promise<void>;
  /** The children's names, of a list of any length. */
  list(path: string): Promise<string[]>;
  /** Whether the node exists; false too where the domain may not know. */
  exists(path: string): Promise<boolean>;
  /** The permission list. */
  permissions(path: string): Promise<Permissions>;
  /** Replaces the permission list. */
  setPermissions(path: string, permissions: Permissions): Promise<void>;
}

/** How a transaction is retried. */
export interface TransactionOptions {
  /** How often it is tried before EAGAIN is passed on; 100 unless given. */
  readonly attempts?: number;
}

/** The changes that a watch reports, as an endless list of paths; the first is the watched path itself. */
export interface XenstoreWatch extends AsyncIterableIterator<string> {
  /** Resolves when the store has accepted the watch, rejects when it refused it. */
  readonly ready: Promise<void>;
  /** Ends the watch and the iteration. */
  close(): Promise<void>;
}

/** A client of a xenstore. */
export interface XenstoreClient extends XenstoreNodes {
  /**
   * Watches `path` and what is below it, `depth` levels at most where given. Paths that change again before they were
   * taken are reported once. Leaving the `for await` loop ends the watch.
   */
  watch(path: string, options?: { readonly depth?: number }): XenstoreWatch;
  /**
   * Runs `work` in a transaction and commits it; runs it again when something that it read was changed meanwhile.
   * When `work` throws, the transaction is dropped and the error passed on.
   */
  transaction<T>(work: (nodes: XenstoreNodes) => Promise<T> | T, options?: TransactionOptions): Promise<T>;
  /** The home of domain `domid`: `/local/domain/N`. */
  domainPath(domid: number): Promise<string>;
  /** Whether the store serves domain `domid`; domain 0 alone may ask. */
  isIntroduced(domid: number): Promise<boolean>;
  /** Sends any request with strings as its body, a NUL after each; answers the reply's body. For what has no method here. */
  request(type: number, words: readonly string[]): Promise<Uint8Array>;
  /** Drops all watches and transactions of this connection. Iterations of its watches end. */
  resetWatches(): Promise<void>;
  /** Ends the connection; what is still open rejects with `CLOSED`. */
  close(): void;
}

/** Makes a client over a link. */
export function createXenstoreClient(link: XenstoreLink): XenstoreClient {
  const watches = createWatches((type, body) => requests.send(type, 0, body));
  const requests = createRequests(link, {
    onEvent: (path, token) => watches.deliver(path, token),
    onClose: () => watches.closeAll(),
  });
  return {
    ...nodesOf(requests, 0),
    watch: (path, options = {}) => watches.open(path, options.depth),
    transaction: (work, options = {}) => runTransaction(requests, work, options.attempts ?? 100),
    domainPath: async (domid) => firstWord(await requests.send(XS.GET_DOMAIN_PATH, 0, words([String(domid)]))),
    isIntroduced: async (domid) =>
      firstWord(await requests.send(XS.IS_DOMAIN_INTRODUCED, 0, words([String(domid)]))) === "T",
    request: (type, list) => requests.send(type, 0, words(list)),
    async resetWatches() {
      await requests.send(XS.RESET_WATCHES, 0, words([""]));
      watches.closeAll();
    },
    close: () => requests.close(),
  };
}

async function runTransaction<T>(
  requests: Requests,
  work: (nodes: XenstoreNodes) => Promise<T> | T,
  attempts: number,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const id = Number(firstWord(await requests.send(XS.TRANSACTION_START, 0, words([""]))));
    let result: T;
    try {
      result = await work(nodesOf(requests, id));
    } catch (error) {
      // The work's own error matters more than how the store takes the end of a transaction that is of no use now.
      await requests.send(XS.TRANSACTION_END, id, words(["F"])).catch(() => undefined);
      throw error;
    }
    try {
      await requests.send(XS.TRANSACTION_END, id, words(["T"]));
      return result;
    } catch (error) {
      if (!(error instanceof XenstoreError) || error.code !== "EAGAIN" || attempt >= attempts) throw error;
    }
  }
}

function nodesOf(requests: Requests, transaction: number): XenstoreNodes {
  const send = (type: number, ...list: string[]): Promise<Uint8Array> => requests.send(type, transaction, words(list));
  return {
    read: async (path) => utf8Decode(await send(XS.READ, path)),
    readBytes: (path) => send(XS.READ, path),
    async write(path, value) {
      const bytes = typeof value === "string" ? utf8Encode(value) : value;
      const body = new Uint8Array(path.length + 1 + bytes.length);
      body.set(latin1Encode(path));
      body.set(bytes, path.length + 1);
      await requests.send(XS.WRITE, transaction, body);
    },
    async mkdir(path) {
      await send(XS.MKDIR, path);
    },
    async remove(path) {
      await send(XS.RM, path);
    },
    async list(path) {
      try {
        return splitWords(await send(XS.DIRECTORY, path));
      } catch (error) {
        if (!(error instanceof XenstoreError) || error.code !== "E2BIG") throw error;
        return listInParts((offset) => send(XS.DIRECTORY_PART, path, String(offset)));
      }
    },
    async exists(path) {
      try {
        await send(XS.READ, path);
        return true;
      } catch (error) {
        if (error instanceof XenstoreError && (error.code === "ENOENT" || error.code === "EACCES")) return false;
        throw error;
      }
    },
    async permissions(path) {
      return splitWords(await send(XS.GET_PERMS, path)).map(permissionOf);
    },
    async setPermissions(path, permissions) {
      await send(XS.SET_PERMS, path, ...permissions.map(formatPermission));
    },
  };
}

/** Puts a long list together; starts again when it changed between two parts. */
async function listInParts(part: (offset: number) => Promise<Uint8Array>): Promise<string[]> {
  let stamp: string | undefined;
  let names: string[] = [];
  for (let offset = 0; ; ) {
    const body = await part(offset);
    const end = body.indexOf(0);
    const found = latin1Decode(body, 0, end);
    if (stamp !== undefined && found !== stamp) {
      stamp = undefined;
      names = [];
      offset = 0;
      continue;
    }
    stamp = found;
    const rest = splitWords(body.subarray(end + 1));
    for (const name of rest) {
      if (name === "") return names;
      names.push(name);
      offset += name.length + 1;
    }
  }
}

function permissionOf(word: string): Permission {
  const permission = parsePermission(word);
  if (permission === undefined) throw new XenstoreError("EIO", `the store answered ${word} for a permission`);
  return permission;
}

function words(list: readonly string[]): Uint8Array {
  return latin1Encode(list.map((word) => `${word}\0`).join(""));
}

function splitWords(body: Uint8Array): string[] {
  const text = latin1Decode(body);
  return text === "" ? [] : text.slice(0, text.endsWith("\0") ? -1 : undefined).split("\0");
}

function firstWord(body: Uint8Array): string {
  return splitWords(body)[0] ?? "";
}
