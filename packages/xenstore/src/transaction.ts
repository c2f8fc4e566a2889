import { parentPath } from "./path.ts";
import { isOver } from "./quota.ts";
import type { Tree, TreeNode } from "./tree.ts";
import { ASPECT, applyToTree, type Change, type ChangeEvent, forEachBelow, type View } from "./view.ts";

interface Modified {
  /** Watches below an ancestor aren't told: the node went with its parent. */
  exact: boolean;
  /** Created only because a child was. */
  implied: boolean;
}

/**
 * A transaction: a fork of the tree, the nodes it depends on and the nodes it changed. Its size is bounded by the number
 * of different nodes touched, however often a guest writes them.
 */
export class Transaction implements View {
  readonly tree: Tree;
  readonly #base: Tree;
  readonly #touched = new Map<string, number>();
  readonly #modified = new Map<string, Modified>();

  constructor(main: Tree) {
    this.#base = main.fork();
    this.tree = this.#base.fork();
  }

  /** Different nodes that were looked at or changed. */
  get touched(): number {
    return this.#touched.size;
  }

  touch(path: string, aspects: number): void {
    this.#touched.set(path, (this.#touched.get(path) ?? ASPECT.existence) | aspects);
  }

  apply(change: Change): void {
    if (change.kind === "remove") {
      forEachBelow(this.tree, change.path, (path) => {
        this.touch(path, ASPECT.all);
        this.#modify(path, { exact: true, implied: false });
      });
    }
    this.#modify(change.path, { exact: false, implied: change.kind === "create" && change.implied });
    applyToTree(this.tree, change);
  }

  #modify(path: string, how: Modified): void {
    const known = this.#modified.get(path);
    if (known === undefined) this.#modified.set(path, how);
    // As with Xen's xenstored: to be made for a child's sake tells nobody anything, nor does it change who is told.
    else if (!how.implied) {
      known.exact = how.exact && (known.implied || known.exact);
      known.implied = false;
    }
  }

  /** Tells whether something that this transaction depends on has changed in `main` since it began. */
  conflictsWith(main: Tree): boolean {
    if (main.isSame(this.#base)) return false;
    for (const [path, aspects] of this.#touched) {
      if (differs(this.#base.get(path), main.get(path), aspects)) return true;
    }
    return false;
  }

  /** Tells whether carrying it out would leave an unprivileged domain with more than `limit` nodes. */
  exceeds(main: Tree, limit: number, domid: number): boolean {
    const more = this.tree.ownedBy(domid) - this.#base.ownedBy(domid);
    return more > 0 && isOver(limit, main.ownedBy(domid) + more);
  }

  /**
   * Carries the changes out in `main`, which must not conflict, and hands each to `record`, if anybody wants them; answers
   * the events. The transaction is over.
   */
  commit(main: Tree, record: ((change: Change) => void) | undefined): ChangeEvent[] {
    const events: ChangeEvent[] = [];
    const done = new Set<string>();
    // As Xen's xenstored tells them: in the order in which the transaction first looked at the nodes.
    for (const path of this.#touched.keys()) {
      const modified = this.#modified.get(path);
      if (modified === undefined) continue;
      done.add(path);
      const { exact, implied } = modified;
      const before = main.get(path)?.permissions;
      const after = this.tree.get(path)?.permissions;
      if (implied || (before === undefined && after === undefined)) continue;
      // Of a node that goes only those hear who could read it, as with Xen's xenstored; outside transactions its parent's
      // readers do, too. A parent that was first looked at later than its child isn't yet what the transaction made it.
      const above = parentPath(path);
      const parent = after && (done.has(above) ? this.tree : main).get(above)?.permissions;
      const readers = [before, after, parent].filter((list) => list !== undefined);
      events.push({ path, exact, readers });
    }
    // Nothing has happened since it began, so `main` becomes what the tree here is.
    if (record === undefined && main.isSame(this.#base)) main.adopt(this.tree);
    else this.#carryOut(main, record ?? (() => {}));
    return events;
  }

  #carryOut(main: Tree, record: (change: Change) => void): void {
    // Parents before children, and siblings in the order of their creation, in which they are listed.
    const steps = [...this.#modified.keys()].map((path) => ({
      path,
      depth: depthOf(path),
      created: this.tree.get(path)?.creationStamp ?? 0,
    }));
    for (const { path } of steps.sort((a, b) => a.depth - b.depth || a.created - b.created)) {
      for (const change of this.#changesOf(main, path)) {
        applyToTree(main, change);
        record(change);
      }
    }
  }

  /** What makes the node at `path` in `main` what it is here. */
  #changesOf(main: Tree, path: string): Change[] {
    const wanted = this.tree.get(path);
    const present = main.get(path);
    if (wanted === undefined) return present === undefined ? [] : [{ kind: "remove", path }];
    const { value, permissions } = wanted;
    const create: Change = { kind: "create", path, value, permissions, implied: false };
    if (present === undefined) return [create];
    const base = this.#base.get(path);
    // Removed and made again: what is listed last is the newest.
    if (wanted.creationStamp !== base?.creationStamp) return [{ kind: "remove", path }, create];
    const changes: Change[] = [];
    if (wanted.valueStamp !== base?.valueStamp) changes.push({ kind: "value", path, value });
    if (wanted.permissionsStamp !== base?.permissionsStamp) changes.push({ kind: "permissions", path, permissions });
    return changes;
  }
}

function differs(before: TreeNode | undefined, now: TreeNode | undefined, aspects: number): boolean {
  if (before === undefined || now === undefined) return before !== now;
  return (
    ((aspects & ASPECT.value) !== 0 && before.valueStamp !== now.valueStamp) ||
    ((aspects & ASPECT.permissions) !== 0 && before.permissionsStamp !== now.permissionsStamp) ||
    ((aspects & ASPECT.children) !== 0 && before.childrenStamp !== now.childrenStamp)
  );
}

function depthOf(path: string): number {
  let depth = 0;
  for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) depth++;
  return depth;
}
