import { ParavirtError } from "@paravirt/core";
import { parentPath } from "./path.ts";
import type { Permissions } from "./permissions.ts";

/** One node, as others see it: nobody but {@link Tree} changes it. */
export interface TreeNode {
  readonly value: Uint8Array;
  readonly permissions: Permissions;
  /** In order of creation, as Xen's xenstored lists them. */
  readonly children: ReadonlyMap<string, TreeNode>;
  /** Bytes of the children's names, with a NUL each. */
  readonly childBytes: number;
  /** Unlike the other stamps this one stays: it tells a node from a later one of the same name. */
  readonly creationStamp: number;
  /** Stamps are unique in a store: equal stamps mean that nothing happened in between. */
  readonly valueStamp: number;
  readonly permissionsStamp: number;
  readonly childrenStamp: number;
}

interface MutableNode {
  value: Uint8Array;
  permissions: Permissions;
  children: Map<string, MutableNode>;
  childBytes: number;
  readonly creationStamp: number;
  valueStamp: number;
  permissionsStamp: number;
  childrenStamp: number;
  /** The tree that may change this node in place; any other one copies it first. */
  epoch: number;
}

const NO_CHILDREN: Map<string, MutableNode> = new Map();

/**
 * A copy-on-write tree of nodes. {@link Tree.fork} takes no time: both trees share all nodes from then on, and each
 * copies the nodes on the way to its next change. A tree that was never forked changes its nodes in place.
 */
export class Tree {
  #root: MutableNode;
  #epoch: number;
  readonly #stamps: { next: number };
  #owned: Map<number, number>;

  private constructor(root: MutableNode, epoch: number, stamps: { next: number }, owned: Map<number, number>) {
    this.#root = root;
    this.#epoch = epoch;
    this.#stamps = stamps;
    this.#owned = owned;
  }

  /** A tree of a root node alone. */
  static create(permissions: Permissions): Tree {
    const root = newNode(new Uint8Array(0), permissions, 1, 0);
    return new Tree(root, 0, { next: 2 }, new Map([[permissions[0]!.domid, 1]]));
  }

  /** A tree with the same content that changes by itself. */
  fork(): Tree {
    this.#epoch = this.#stamps.next++;
    return new Tree(this.#root, this.#stamps.next++, this.#stamps, new Map(this.#owned));
  }

  /** Takes over everything of `fork`, a fork of this tree that nobody uses from now on: no time either. */
  adopt(fork: Tree): void {
    this.#root = fork.#root;
    this.#epoch = fork.#epoch;
    this.#owned = fork.#owned;
  }

  /** Tells whether both trees have the same nodes, without looking at them: false may be a false alarm. */
  isSame(other: Tree): boolean {
    return this.#root === other.#root;
  }

  /** How many nodes `domid` owns. */
  ownedBy(domid: number): number {
    return this.#owned.get(domid) ?? 0;
  }

  /** How many nodes each domain owns. */
  get owned(): ReadonlyMap<number, number> {
    return this.#owned;
  }

  get(path: string): TreeNode | undefined {
    let node: MutableNode | undefined = this.#root;
    for (let start = 1; start < path.length && node !== undefined; ) {
      const slash = path.indexOf("/", start);
      const end = slash < 0 ? path.length : slash;
      node = node.children.get(path.slice(start, end));
      start = end + 1;
    }
    return node;
  }

  /** Makes `path` under a parent that exists. */
  create(path: string, value: Uint8Array, permissions: Permissions): void {
    const parent = this.#own(parentPath(path));
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (parent.children.has(name)) throw new ParavirtError("BUG", `xenstore node ${path} was created twice`);
    if (parent.children === NO_CHILDREN) parent.children = new Map();
    parent.children.set(name, newNode(value, permissions, this.#stamps.next++, this.#epoch));
    parent.childBytes += name.length + 1;
    parent.childrenStamp = this.#stamps.next++;
    this.#count(permissions, 1);
  }

  setValue(path: string, value: Uint8Array): void {
    const node = this.#own(path);
    node.value = value;
    node.valueStamp = this.#stamps.next++;
  }

  setPermissions(path: string, permissions: Permissions): void {
    const node = this.#own(path);
    this.#count(node.permissions, -1);
    this.#count(permissions, 1);
    node.permissions = permissions;
    node.permissionsStamp = this.#stamps.next++;
  }

  /** Removes `path`, not the root, with everything below it. */
  remove(path: string): void {
    const parent = this.#own(parentPath(path));
    const name = path.slice(path.lastIndexOf("/") + 1);
    const node = parent.children.get(name);
    if (node === undefined) throw new ParavirtError("BUG", `xenstore node ${path} was removed twice`);
    parent.children.delete(name);
    parent.childBytes -= name.length + 1;
    parent.childrenStamp = this.#stamps.next++;
    this.#forget(node);
  }

  #forget(node: MutableNode): void {
    this.#count(node.permissions, -1);
    for (const child of node.children.values()) this.#forget(child);
  }

  #count(permissions: Permissions, change: number): void {
    const owner = permissions[0]!.domid;
    const owned = this.ownedBy(owner) + change;
    if (owned === 0) this.#owned.delete(owner);
    else this.#owned.set(owner, owned);
  }

  /** The node at `path`, which must exist, copied with its ancestors unless this tree has them for itself. */
  #own(path: string): MutableNode {
    let node = this.#ownNode(this.#root);
    this.#root = node;
    for (let start = 1; start < path.length; ) {
      const slash = path.indexOf("/", start);
      const end = slash < 0 ? path.length : slash;
      const name = path.slice(start, end);
      const shared = node.children.get(name);
      if (shared === undefined) throw new ParavirtError("BUG", `xenstore node ${path} does not exist`);
      const child = this.#ownNode(shared);
      if (child !== shared) node.children.set(name, child);
      node = child;
      start = end + 1;
    }
    return node;
  }

  #ownNode(node: MutableNode): MutableNode {
    if (node.epoch === this.#epoch) return node;
    const children = node.children.size === 0 ? NO_CHILDREN : new Map(node.children);
    return { ...node, children, epoch: this.#epoch };
  }
}

function newNode(value: Uint8Array, permissions: Permissions, stamp: number, epoch: number): MutableNode {
  return {
    value,
    permissions,
    children: NO_CHILDREN,
    childBytes: 0,
    creationStamp: stamp,
    valueStamp: stamp,
    permissionsStamp: stamp,
    childrenStamp: stamp,
    epoch,
  };
}
