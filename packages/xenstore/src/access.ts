import { ParavirtError } from "@paravirt/core";
import { isXenstoreErrno, XenstoreError } from "./errors.ts";
import {
  makeNode,
  type NodeCall,
  permissionsOfNode,
  readNode,
  removeNode,
  resolvePath,
  setNodePermissions,
  writeNode,
} from "./operations.ts";
import type { Permissions } from "./permissions.ts";
import type { StoreState } from "./state.ts";
import type { Xenstore } from "./store.ts";
import { utf8Decode, utf8Encode } from "./text.ts";
import type { Watch } from "./watches.ts";

/**
 * Domain 0's direct way into a store in the same program: each call acts and answers at once, before a journal has the
 * change; see {@link Xenstore.durable}.
 * Paths are absolute or relative to `/local/domain/0`; a path that isn't one throws `BAD_ARGUMENT`.
 */
export interface XenstoreAccess {
  /** The value as text (UTF-8), or `undefined` when there is no such node. */
  read(path: string): string | undefined;
  /** Writes a value; makes the node and its ancestors if they are missing. */
  write(path: string, value: string | Uint8Array): void;
  /** Makes the node and its ancestors if they are missing. */
  mkdir(path: string): void;
  /** Removes the node and all below; nothing happens when it is missing. */
  remove(path: string): void;
  /** The children's names in order of creation, or `undefined` when there is no such node. */
  list(path: string): string[] | undefined;
  /** The permission list, or `undefined` when there is no such node. */
  permissions(path: string): Permissions | undefined;
  /** Replaces the permission list. Throws {@link XenstoreError} `ENOENT` when there is no such node. */
  setPermissions(path: string, permissions: Permissions): void;
  /**
   * Calls `listener` with the path of each change at or below `path`, and once at the start; answers the function that
   * ends it. The listener runs in the middle of the change's operation: it may use the store, and must not throw.
   */
  watch(path: string, listener: (path: string) => void): () => void;
}

/** Makes domain 0's access to a store. */
export function createAccess(state: StoreState): XenstoreAccess {
  const { caller } = state.domain(0);
  const call: NodeCall = { caller, view: state.direct, quotas: state.quotas };
  const change = (path: string, work: (absolute: string) => string | undefined): void => {
    const absolute = resolve(path);
    check(
      state.recorder.operation(() => work(absolute)),
      path,
    );
  };
  const resolve = (path: string): string => {
    const absolute = resolvePath(caller, path);
    if (absolute === undefined)
      throw new ParavirtError("BAD_ARGUMENT", `${JSON.stringify(path)} is not a xenstore path`);
    return absolute;
  };
  return {
    read(path) {
      const value = readNode(call, resolve(path));
      return typeof value === "string" ? undefined : utf8Decode(value);
    },
    write(path, value) {
      const bytes = typeof value === "string" ? utf8Encode(value) : value.slice();
      change(path, (absolute) => writeNode(call, absolute, bytes));
    },
    mkdir(path) {
      change(path, (absolute) => makeNode(call, absolute));
    },
    remove(path) {
      change(path, (absolute) => (state.tree.get(absolute) === undefined ? undefined : removeNode(call, absolute)));
    },
    list(path) {
      const node = state.tree.get(resolve(path));
      return node === undefined ? undefined : [...node.children.keys()];
    },
    permissions(path) {
      const permissions = permissionsOfNode(call, resolve(path));
      return typeof permissions === "string" ? undefined : permissions;
    },
    setPermissions(path, permissions) {
      if (permissions.length === 0)
        throw new ParavirtError("BAD_ARGUMENT", "a permission list of 0 entries has no owner");
      change(path, (absolute) => setNodePermissions(call, absolute, permissions));
    },
    watch(path, listener) {
      const watch: Watch = {
        path: path.startsWith("@") ? path : resolve(path),
        sentPath: path,
        token: "",
        depth: undefined,
        caller,
        sequence: state.nextWatchSequence(),
        fire: listener,
      };
      state.watches.add(watch);
      listener(path);
      return () => state.watches.remove(watch);
    },
  };
}

function check(outcome: string | undefined, path: string): void {
  if (outcome !== undefined && isXenstoreErrno(outcome)) throw new XenstoreError(outcome, `${path}: ${outcome}`);
}
