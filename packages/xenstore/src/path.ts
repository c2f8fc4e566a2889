import { XENSTORE_ABS_PATH_MAX, XENSTORE_REL_PATH_MAX } from "@paravirt/xen-abi";

/** Tells whether `path` names a special watch, not a node. */
export function isSpecial(path: string): boolean {
  return path.startsWith("@");
}

/** The home of a domain's nodes, and the base of the relative paths it sends: `/local/domain/N`. */
export function domainPath(domid: number): string {
  return `/local/domain/${domid}`;
}

/**
 * Makes the absolute path that `path` means for a caller at home in `base`; `undefined` when xenstore.txt forbids it:
 * empty, over-long (3072 bytes, relative 2048), a doubled or trailing slash, a character outside `A-Za-z0-9-/_@`.
 */
export function absolutePath(path: string, base: string): string | undefined {
  const relative = !path.startsWith("/");
  if (path.length > (relative ? XENSTORE_REL_PATH_MAX : XENSTORE_ABS_PATH_MAX)) return undefined;
  if (path === "/") return path;
  const absolute = relative ? `${base}/${path}` : path;
  return isNodePath(absolute) ? absolute : undefined;
}

function isNodePath(path: string): boolean {
  let afterSlash = false;
  for (let at = 0; at < path.length; at++) {
    const code = path.charCodeAt(at);
    const slash = code === 0x2f;
    if (slash ? afterSlash : !isNameCharacter(code)) return false;
    afterSlash = slash;
  }
  return !afterSlash && path.length > 0;
}

function isNameCharacter(code: number): boolean {
  return (
    (code >= 0x61 && code <= 0x7a) || // a-z
    (code >= 0x40 && code <= 0x5a) || // @ A-Z
    (code >= 0x30 && code <= 0x39) || // 0-9
    code === 0x2d || // -
    code === 0x5f // _
  );
}

/** The path of the node that `path` is a child of; the root is its own parent. */
export function parentPath(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash <= 0 ? "/" : path.slice(0, slash);
}

/** The last part of `path`. */
export function leafName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** The path of `parent`'s child called `name`. */
export function childPath(parent: string, name: string): string {
  return parent === "/" ? `/${name}` : `${parent}/${name}`;
}
