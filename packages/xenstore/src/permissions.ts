/** One entry of a node's permission list. */
export interface Permission {
  /** Whom the entry is about. */
  readonly domid: number;
  /** May read value, children and permissions. */
  readonly read: boolean;
  /** May write the value, make children, and remove the node. */
  readonly write: boolean;
}

/** A node's permissions: the first entry names the owner, and what everybody who isn't listed may do. Never empty. */
export type Permissions = readonly Permission[];

/** Who asks. */
export interface Caller {
  readonly domid: number;
  /** May do everything and has no quota: domain 0 and the toolstack. */
  readonly privileged: boolean;
  /** The domain that this one serves (SET_TARGET): it has that domain's rights too. */
  readonly target: number | undefined;
}

/** What an operation needs of a node. */
export type Access = "read" | "write" | "owner";

/** Tells whether `caller` has `access` to a node with `permissions` (xenstore.txt, and `perm_for_conn` of Xen's xenstored). */
export function isAllowed(caller: Caller, permissions: Permissions, access: Access): boolean {
  if (caller.privileged) return true;
  const owner = permissions[0]!;
  if (isSelf(caller, owner.domid)) return true;
  if (access === "owner") return false;
  for (let at = 1; at < permissions.length; at++) {
    const entry = permissions[at]!;
    if (isSelf(caller, entry.domid)) return entry[access];
  }
  return owner[access];
}

function isSelf(caller: Caller, domid: number): boolean {
  return domid === caller.domid || domid === caller.target;
}

/** Reads one entry as it travels, `n0`, `r1`, `w2` or `b3`; `undefined` when it isn't one. */
export function parsePermission(text: string): Permission | undefined {
  const match = /^([nrwb])(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const domid = Number(match[2]);
  if (domid > 0xffff) return undefined;
  const kind = match[1];
  return { domid, read: kind === "r" || kind === "b", write: kind === "w" || kind === "b" };
}

/** Writes one entry as it travels. */
export function formatPermission(permission: Permission): string {
  const kind = permission.read ? (permission.write ? "b" : "r") : permission.write ? "w" : "n";
  return `${kind}${permission.domid}`;
}

/** Reads a list as `xenstore-ls -p` shows it, `n0,r1`; `undefined` when an entry isn't one. */
export function parsePermissions(text: string): Permissions | undefined {
  const list: Permission[] = [];
  for (const part of text.split(",")) {
    const entry = parsePermission(part);
    if (entry === undefined) return undefined;
    list.push(entry);
  }
  return list;
}

/** Writes a list as `xenstore-ls -p` shows it: `n0,r1`. */
export function formatPermissions(permissions: Permissions): string {
  return permissions.map(formatPermission).join(",");
}
