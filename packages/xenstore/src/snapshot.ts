import { ParavirtError } from "@paravirt/core";
import { childPath, parentPath } from "./path.ts";
import type { Permissions } from "./permissions.ts";
import type { XenstoreQuotas } from "./quota.ts";
import type { SpecialName } from "./special.ts";
import { decodeChanges, encodeChanges, type StoreChange } from "./store-change.ts";
import type { Tree, TreeNode } from "./tree.ts";
import { applyToTree } from "./view.ts";

/** What a journal's entries change, and a snapshot tells. */
export interface KeptState {
  readonly tree: Tree;
  readonly specials: Map<SpecialName, Permissions>;
  /** Limits that were set while the store ran. */
  readonly setQuotas: Map<keyof XenstoreQuotas, number>;
}

/** Bytes of values and names, or thereabouts, in one entry of a snapshot. */
const ENTRY_SIZE = 32_768;

/** Makes the changes of `entries`, and answers how many entries there were. Throws `BAD_IMAGE` with the entry's number. */
export function restoreEntries(state: KeptState, entries: Iterable<Uint8Array>): number {
  let count = 0;
  for (const entry of entries) {
    count++;
    for (const change of decodeChanges(entry)) {
      const reason = restore(state, change);
      if (reason !== undefined) throw new ParavirtError("BAD_IMAGE", `entry ${count} of a xenstore journal: ${reason}`);
    }
  }
  return count;
}

function restore(state: KeptState, change: StoreChange): string | undefined {
  switch (change.kind) {
    case "special":
      state.specials.set(change.name, change.permissions);
      return undefined;
    case "quota":
      state.setQuotas.set(change.quota, change.limit);
      return undefined;
    case "create": {
      if (state.tree.get(change.path) !== undefined) return `${change.path} is made twice`;
      if (state.tree.get(parentPath(change.path)) === undefined) return `${change.path} has no parent`;
      break;
    }
    default:
      if (state.tree.get(change.path) === undefined) return `${change.path} doesn't exist`;
      if (change.kind === "remove" && change.path === "/") return "the root is removed";
  }
  applyToTree(state.tree, change);
  return undefined;
}

/** Entries that make a store as `state` is now. */
export function snapshotOf(state: KeptState): Iterable<Uint8Array> {
  const rest: StoreChange[] = [...state.specials].map(([name, permissions]) => ({
    kind: "special",
    name,
    permissions,
  }));
  for (const [quota, limit] of state.setQuotas) rest.push({ kind: "quota", quota, limit });
  return entriesOf(state.tree.fork(), rest);
}

function* entriesOf(tree: Tree, rest: readonly StoreChange[]): Generator<Uint8Array> {
  const root = tree.get("/")!;
  let changes: StoreChange[] = [
    ...rest,
    { kind: "permissions", path: "/", permissions: root.permissions },
    { kind: "value", path: "/", value: root.value },
  ];
  let size = 0;
  for (const [path, { value, permissions }] of nodesBelow("/", root)) {
    changes.push({ kind: "create", path, value, permissions, implied: false });
    size += path.length + value.length;
    if (size < ENTRY_SIZE) continue;
    yield encodeChanges(changes);
    changes = [];
    size = 0;
  }
  if (changes.length > 0) yield encodeChanges(changes);
}

/** Nodes below `path`, each after its parent and in order of creation among its siblings. */
function* nodesBelow(path: string, node: TreeNode): Generator<[string, TreeNode]> {
  for (const [name, child] of node.children) {
    const below = childPath(path, name);
    yield [below, child];
    yield* nodesBelow(below, child);
  }
}
