import { parentPath } from "./path.ts";
import type { Permissions } from "./permissions.ts";
import type { Tree } from "./tree.ts";

/** What an operation looked at or changed of a node: bits that a {@link View} is told. */
export const ASPECT = { existence: 0, value: 1, permissions: 2, children: 4, all: 7 } as const;

/** A change of one node, already permitted. */
export type Change =
  /** A node that didn't exist; `implied` when it is only an ancestor of the one that was asked for. */
  | {
      readonly kind: "create";
      readonly path: string;
      readonly value: Uint8Array;
      readonly permissions: Permissions;
      readonly implied: boolean;
    }
  | { readonly kind: "value"; readonly path: string; readonly value: Uint8Array }
  | { readonly kind: "permissions"; readonly path: string; readonly permissions: Permissions }
  | { readonly kind: "remove"; readonly path: string };

/** What watches are told. */
export interface ChangeEvent {
  readonly path: string;
  /** Only watches of exactly this path are told: the node went away with an ancestor. */
  readonly exact: boolean;
  /** Whoever may read by one of these lists may know: the node's before and after, and its parent's. */
  readonly readers: readonly Permissions[];
}

/** The tree as one operation sees it: the store itself, or a transaction's. */
export interface View {
  readonly tree: Tree;
  /** Notes that the outcome depends on `path`. */
  touch(path: string, aspects: number): void;
  apply(change: Change): void;
}

/**
 * Makes the view of operations outside transactions: a change takes effect at once, `record` gets it, and `emit` hears
 * of it.
 */
export function createDirectView(
  tree: Tree,
  emit: (event: ChangeEvent) => void,
  record: (change: Change) => void,
): View {
  return {
    tree,
    touch() {},
    apply(change) {
      const before = tree.get(change.path)?.permissions;
      const parent = tree.get(parentPath(change.path))?.permissions;
      const events: ChangeEvent[] = [];
      if (change.kind === "remove") {
        forEachBelow(tree, change.path, (path, permissions, above) => {
          events.push({ path, exact: true, readers: [permissions, above] });
        });
      }
      applyToTree(tree, change);
      record(change);
      if (change.kind === "create" && change.implied) return;
      const after = tree.get(change.path)?.permissions;
      const readers = [before, after, parent].filter((list) => list !== undefined);
      events.push({ path: change.path, exact: false, readers });
      for (const event of events) emit(event);
    },
  };
}

/** Does `change` to `tree` and tells nobody. */
export function applyToTree(tree: Tree, change: Change): void {
  switch (change.kind) {
    case "create":
      tree.create(change.path, change.value, change.permissions);
      return;
    case "value":
      tree.setValue(change.path, change.value);
      return;
    case "permissions":
      tree.setPermissions(change.path, change.permissions);
      return;
    case "remove":
      tree.remove(change.path);
      return;
  }
}

/** Calls `visit` for each node below `path`, children before their parents, with its own and its parent's permissions. */
export function forEachBelow(
  tree: Tree,
  path: string,
  visit: (path: string, permissions: Permissions, above: Permissions) => void,
): void {
  const node = tree.get(path);
  if (node === undefined) return;
  for (const [name, child] of node.children) {
    const below = path === "/" ? `/${name}` : `${path}/${name}`;
    forEachBelow(tree, below, visit);
    visit(below, child.permissions, node.permissions);
  }
}
