import { XENSTORE_ABS_PATH_MAX, XENSTORE_PAYLOAD_MAX } from "@paravirt/xen-abi";
import type { XenstoreErrno } from "./errors.ts";
import { absolutePath, domainPath, leafName, parentPath } from "./path.ts";
import { type Access, type Caller, isAllowed, type Permissions } from "./permissions.ts";
import { isOver, type XenstoreQuotas } from "./quota.ts";
import { latin1Encode } from "./text.ts";
import type { TreeNode } from "./tree.ts";
import { ASPECT, type View } from "./view.ts";

/** Everything an operation on nodes needs to know of its surroundings. */
export interface NodeCall {
  readonly caller: Caller;
  readonly view: View;
  /** The limits of an unprivileged caller. */
  readonly quotas: XenstoreQuotas;
}

/** Bytes that a node costs besides value, permissions and names: the record header of Xen's xenstored. */
const NODE_OVERHEAD = 20;
const PERMISSION_BYTES = 8;
const NOTHING = new Uint8Array(0);

/** READ: the value at `path`. */
export function readNode(call: NodeCall, path: string): Uint8Array | XenstoreErrno {
  const node = find(call, path, ["read"], ASPECT.value);
  return typeof node === "string" ? node : node.value;
}

/** DIRECTORY: the children's names, a NUL after each. */
export function listNode(call: NodeCall, path: string): Uint8Array | XenstoreErrno {
  const node = find(call, path, ["read"], ASPECT.children);
  if (typeof node === "string") return node;
  return node.childBytes > XENSTORE_PAYLOAD_MAX ? "E2BIG" : childNames(node);
}

/** DIRECTORY_PART: a stamp that changes with the list, then whole names from byte `offset` on, an empty one at the end. */
export function listNodePart(call: NodeCall, path: string, offset: number): Uint8Array | XenstoreErrno {
  const node = find(call, path, ["read"], ASPECT.children);
  if (typeof node === "string") return node;
  const stamp = latin1Encode(`${node.childrenStamp}\0`);
  const names = childNames(node);
  const room = XENSTORE_PAYLOAD_MAX - stamp.length - 1;
  let end = Math.min(offset, names.length);
  const start = end;
  while (end < names.length) {
    const next = names.indexOf(0, end) + 1;
    if (next - start > room) break;
    end = next;
  }
  const last = end === names.length ? 1 : 0;
  const body = new Uint8Array(stamp.length + end - start + last);
  body.set(stamp);
  body.set(names.subarray(start, end), stamp.length);
  return body;
}

/** GET_PERMS. */
export function permissionsOfNode(call: NodeCall, path: string): Permissions | XenstoreErrno {
  const node = find(call, path, ["read"], ASPECT.permissions);
  return typeof node === "string" ? node : node.permissions;
}

/** WRITE: makes the node and its missing ancestors, or replaces its value. */
export function writeNode(call: NodeCall, path: string, value: Uint8Array): XenstoreErrno | undefined {
  const node = find(call, path, ["write"], ASPECT.value);
  if (node === "ENOENT") return createNode(call, path, value);
  if (typeof node === "string") return node;
  if (isTooBig(call, value.length, node.permissions.length, node.childBytes)) return "ENOSPC";
  call.view.apply({ kind: "value", path, value });
  return undefined;
}

/** MKDIR: makes the node and its missing ancestors; does nothing when it is there. */
export function makeNode(call: NodeCall, path: string): XenstoreErrno | undefined {
  const node = find(call, path, ["write"], ASPECT.existence);
  if (node === "ENOENT") return createNode(call, path, NOTHING);
  return typeof node === "string" ? node : undefined;
}

/** RM: removes the node and all below; no error when it is missing and its parent isn't. */
export function removeNode(call: NodeCall, path: string): XenstoreErrno | undefined {
  const node = find(call, path, ["write"], ASPECT.all);
  if (node === "ENOENT") {
    call.view.touch(parentPath(path), ASPECT.existence);
    return call.view.tree.get(parentPath(path)) === undefined ? "ENOENT" : undefined;
  }
  if (typeof node === "string") return node;
  if (path === "/") return "EINVAL";
  // Xen's xenstored changes the parent next, which decides when its watches are told.
  call.view.touch(parentPath(path), ASPECT.existence);
  call.view.apply({ kind: "remove", path });
  return undefined;
}

/** SET_PERMS on a node; who isn't privileged must own it and can't give it away. */
export function setNodePermissions(call: NodeCall, path: string, permissions: Permissions): XenstoreErrno | undefined {
  if (!call.caller.privileged && isOver(call.quotas.permissions, permissions.length)) return "ENOSPC";
  const node = find(call, path, ["write", "owner"], ASPECT.permissions);
  if (typeof node === "string") return node;
  const owner = permissions[0]!.domid;
  if (!call.caller.privileged && owner !== node.permissions[0]!.domid) return "EPERM";
  if (isTooBig(call, node.value.length, permissions.length, node.childBytes)) return "ENOSPC";
  call.view.apply({ kind: "permissions", path, permissions });
  return undefined;
}

/** The absolute path that the caller means, or `EINVAL`. */
export function resolvePath(caller: Caller, path: string): string | undefined {
  const absolute = absolutePath(path, domainPath(caller.domid));
  return absolute === undefined || absolute.length > XENSTORE_ABS_PATH_MAX ? undefined : absolute;
}

/**
 * The node, if the caller may have it. A caller who has no right to the nearest existing ancestor isn't told whether a
 * node exists (`errno_from_parents` of Xen's xenstored): EACCES either way.
 */
function find(
  { caller, view }: NodeCall,
  path: string,
  needed: readonly Access[],
  aspects: number,
): TreeNode | XenstoreErrno {
  const node = view.tree.get(path);
  view.touch(path, node === undefined ? ASPECT.existence : aspects | ASPECT.permissions);
  let ancestor = parentPath(path);
  if (node !== undefined) {
    if (isGranted(caller, node, needed)) return node;
    // Xen's xenstored looks at the parent here as well, and events come in the order of looking.
    view.touch(ancestor, ASPECT.existence);
    return "EACCES";
  }
  let nearest = view.tree.get(ancestor);
  while (nearest === undefined) {
    view.touch(ancestor, ASPECT.existence);
    ancestor = parentPath(ancestor);
    nearest = view.tree.get(ancestor);
  }
  view.touch(ancestor, ASPECT.permissions);
  return needed.some((access) => isGranted(caller, nearest, [access])) ? "ENOENT" : "EACCES";
}

function isGranted(caller: Caller, node: TreeNode, needed: readonly Access[]): boolean {
  return needed.every((access) => isAllowed(caller, node.permissions, access));
}

function createNode(call: NodeCall, path: string, value: Uint8Array): XenstoreErrno | undefined {
  const { caller, view, quotas } = call;
  const missing = [path];
  let ancestor = parentPath(path);
  for (let node = view.tree.get(ancestor); node === undefined; node = view.tree.get(ancestor)) {
    view.touch(ancestor, ASPECT.existence);
    missing.push(ancestor);
    ancestor = parentPath(ancestor);
  }
  view.touch(ancestor, ASPECT.permissions);
  const nearest = view.tree.get(ancestor)!;
  const permissions = inherit(caller, nearest.permissions);
  if (!caller.privileged) {
    if (isOver(quotas.nodes, view.tree.ownedBy(permissions[0]!.domid) + missing.length)) return "ENOSPC";
    const names = nearest.childBytes + leafName(missing.at(-1)!).length + 1;
    if (isTooBig(call, nearest.value.length, nearest.permissions.length, names)) return "ENOSPC";
    for (const made of missing.slice(1)) {
      const child = missing[missing.indexOf(made) - 1]!;
      if (isTooBig(call, 0, permissions.length, leafName(child).length + 1)) return "ENOSPC";
    }
    if (isTooBig(call, value.length, permissions.length, 0)) return "ENOSPC";
  }
  for (let at = missing.length - 1; at >= 0; at--) {
    const implied = at > 0;
    view.apply({ kind: "create", path: missing[at]!, value: implied ? NOTHING : value, permissions, implied });
  }
  return undefined;
}

/** A new node has its parent's permissions, but belongs to the domain that made it, if that one isn't privileged. */
function inherit(caller: Caller, parent: Permissions): Permissions {
  if (caller.privileged || parent[0]!.domid === caller.domid) return parent;
  return [{ ...parent[0]!, domid: caller.domid }, ...parent.slice(1)];
}

function isTooBig({ caller, quotas }: NodeCall, value: number, permissions: number, names: number): boolean {
  if (caller.privileged) return false;
  return isOver(quotas["node-size"], NODE_OVERHEAD + PERMISSION_BYTES * permissions + value + names);
}

function childNames(node: TreeNode): Uint8Array {
  const names = new Uint8Array(node.childBytes);
  let at = 0;
  for (const name of node.children.keys()) {
    for (let from = 0; from < name.length; from++) names[at++] = name.charCodeAt(from);
    at++;
  }
  return names;
}
