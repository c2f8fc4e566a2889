import { XS } from "@paravirt/xen-abi";
import type { XenstoreErrno } from "./errors.ts";
import { type Permission, parsePermission } from "./permissions.ts";
import { latin1Decode } from "./text.ts";

/**
 * Message types that xenstore.txt of Xen 4.17 describes and whose numbers its `io/xs_wire.h` doesn't have yet; later
 * releases number them so.
 */
export const XS_LATER = { GET_FEATURE: 23, SET_FEATURE: 24, GET_QUOTA: 25, SET_QUOTA: 26 } as const;

/** A request after its body was taken apart. Paths are as the client sent them, unchecked and perhaps relative. */
export type XenstoreRequest =
  | { readonly kind: "read"; readonly path: string }
  | { readonly kind: "mkdir"; readonly path: string }
  | { readonly kind: "rm"; readonly path: string }
  | { readonly kind: "directory"; readonly path: string }
  | { readonly kind: "get-perms"; readonly path: string }
  | { readonly kind: "write"; readonly path: string; readonly value: Uint8Array }
  | { readonly kind: "directory-part"; readonly path: string; readonly offset: number }
  | { readonly kind: "set-perms"; readonly path: string; readonly permissions: readonly Permission[] }
  | { readonly kind: "watch"; readonly path: string; readonly token: string; readonly depth: number | undefined }
  | { readonly kind: "unwatch"; readonly path: string; readonly token: string }
  | { readonly kind: "reset-watches" | "transaction-start" }
  | { readonly kind: "transaction-end"; readonly commit: boolean }
  | { readonly kind: "introduce"; readonly domid: number; readonly gfn: number; readonly port: number }
  | { readonly kind: "release" | "resume" | "get-domain-path" | "is-introduced"; readonly domid: number }
  | { readonly kind: "set-target"; readonly domid: number; readonly target: number }
  | { readonly kind: "get-feature"; readonly domid: number | undefined }
  | { readonly kind: "set-feature"; readonly domid: number; readonly value: number }
  | { readonly kind: "get-quota"; readonly domid: number | undefined; readonly quota: string | undefined }
  | { readonly kind: "set-quota"; readonly domid: number | undefined; readonly quota: string; readonly value: number }
  | { readonly kind: "control"; readonly words: readonly string[] };

/** Takes a request's body apart by its type; `EINVAL` for a body that isn't one, `ENOSYS` for a type that isn't known. */
export function decodeRequest(type: number, body: Uint8Array): XenstoreRequest | XenstoreErrno {
  switch (type) {
    case XS.READ:
      return onPath("read", body);
    case XS.MKDIR:
      return onPath("mkdir", body);
    case XS.RM:
      return onPath("rm", body);
    case XS.DIRECTORY:
      return onPath("directory", body);
    case XS.GET_PERMS:
      return onPath("get-perms", body);
    case XS.WRITE:
      return decodeWrite(body);
    case XS.DIRECTORY_PART:
      return decodeDirectoryPart(body);
    case XS.SET_PERMS:
      return decodeSetPermissions(body);
    case XS.WATCH:
      return decodeWatch(body);
    case XS.UNWATCH:
      return decodeUnwatch(body);
    case XS.RESET_WATCHES:
      return { kind: "reset-watches" };
    case XS.TRANSACTION_START:
      return { kind: "transaction-start" };
    case XS.TRANSACTION_END:
      return decodeTransactionEnd(body);
    case XS.INTRODUCE:
    case XS.SET_TARGET:
      return decodeDomainNumbers(type, body);
    case XS.RELEASE:
      return onDomain("release", body);
    case XS.RESUME:
      return onDomain("resume", body);
    case XS.GET_DOMAIN_PATH:
      return onDomain("get-domain-path", body);
    case XS.IS_DOMAIN_INTRODUCED:
      return onDomain("is-introduced", body);
    case XS.CONTROL: {
      const words = stringsOf(body);
      return words === undefined || words.length === 0 ? "EINVAL" : { kind: "control", words };
    }
    default:
      return decodeLater(type, body);
  }
}

function onPath(
  kind: "read" | "mkdir" | "rm" | "directory" | "get-perms",
  body: Uint8Array,
): XenstoreRequest | "EINVAL" {
  const nul = body.indexOf(0);
  return nul < 0 || nul !== body.length - 1 ? "EINVAL" : { kind, path: latin1Decode(body, 0, nul) };
}

function onDomain(
  kind: "release" | "resume" | "get-domain-path" | "is-introduced",
  body: Uint8Array,
): XenstoreRequest | "EINVAL" {
  const domid = domainOf(stringsOf(body)?.[0]);
  return domid === undefined ? "EINVAL" : { kind, domid };
}

function decodeWrite(body: Uint8Array): XenstoreRequest | "EINVAL" {
  const nul = body.indexOf(0);
  if (nul < 0) return "EINVAL";
  return { kind: "write", path: latin1Decode(body, 0, nul), value: body.slice(nul + 1) };
}

function decodeDirectoryPart(body: Uint8Array): XenstoreRequest | "EINVAL" {
  const words = stringsOf(body);
  const offset = numberOf(words?.[1]);
  if (words?.length !== 2 || offset === undefined) return "EINVAL";
  return { kind: "directory-part", path: words[0]!, offset };
}

function decodeSetPermissions(body: Uint8Array): XenstoreRequest | "EINVAL" {
  const words = stringsOf(body, "reserved");
  if (words === undefined || words.length < 2) return "EINVAL";
  const permissions: Permission[] = [];
  for (const word of words.slice(1)) {
    const permission = parsePermission(word);
    if (permission === undefined) return "EINVAL";
    permissions.push(permission);
  }
  return { kind: "set-perms", path: words[0]!, permissions };
}

function decodeWatch(body: Uint8Array): XenstoreRequest | "EINVAL" {
  const words = stringsOf(body, "reserved");
  if (words === undefined || words.length < 2 || words.length > 3) return "EINVAL";
  const depth = numberOf(words[2]);
  if (words.length === 3 && depth === undefined) return "EINVAL";
  return { kind: "watch", path: words[0]!, token: words[1]!, depth };
}

function decodeUnwatch(body: Uint8Array): XenstoreRequest | "EINVAL" {
  const words = stringsOf(body, "reserved");
  if (words === undefined || words.length < 2) return "EINVAL";
  return { kind: "unwatch", path: words[0]!, token: words[1]! };
}

function decodeTransactionEnd(body: Uint8Array): XenstoreRequest | "EINVAL" {
  const words = stringsOf(body);
  if (words?.length !== 1 || (words[0] !== "T" && words[0] !== "F")) return "EINVAL";
  return { kind: "transaction-end", commit: words[0] === "T" };
}

function decodeDomainNumbers(type: number, body: Uint8Array): XenstoreRequest | "EINVAL" {
  const words = stringsOf(body, "reserved");
  const domid = domainOf(words?.[0]);
  if (words === undefined || domid === undefined) return "EINVAL";
  if (type === XS.SET_TARGET) {
    const target = domainOf(words[1]);
    return target === undefined ? "EINVAL" : { kind: "set-target", domid, target };
  }
  // The frame is sent as signed decimal (xenstore.txt): a high one comes as a negative number.
  const gfn = /^-?\d{1,15}$/.test(words[1] ?? "") ? Number(words[1]) : undefined;
  const port = numberOf(words[2]);
  return gfn === undefined || port === undefined ? "EINVAL" : { kind: "introduce", domid, gfn, port };
}

function decodeLater(type: number, body: Uint8Array): XenstoreRequest | XenstoreErrno {
  const words = stringsOf(body) ?? [];
  const first = domainOf(words[0]);
  switch (type) {
    case XS_LATER.GET_FEATURE:
      return words.length > 0 && words[0] !== "" && first === undefined
        ? "EINVAL"
        : { kind: "get-feature", domid: first };
    case XS_LATER.SET_FEATURE: {
      const value = numberOf(words[1]);
      return first === undefined || value === undefined ? "EINVAL" : { kind: "set-feature", domid: first, value };
    }
    case XS_LATER.GET_QUOTA: {
      const quota = first === undefined ? words[0] : words[1];
      return { kind: "get-quota", domid: first, quota: quota === "" ? undefined : quota };
    }
    case XS_LATER.SET_QUOTA: {
      const rest = first === undefined ? words : words.slice(1);
      const value = numberOf(rest[1]);
      if (rest.length !== 2 || value === undefined) return "EINVAL";
      return { kind: "set-quota", domid: first, quota: rest[0]!, value };
    }
    default:
      return "ENOSYS";
  }
}

/**
 * The NUL-terminated strings that fill `body`; `undefined` when the last has no NUL, unless xenstore.txt allows a
 * `reserved` tail there (`?`), which is ignored.
 */
function stringsOf(body: Uint8Array, tail?: "reserved"): string[] | undefined {
  const words: string[] = [];
  for (let start = 0; start < body.length; ) {
    const nul = body.indexOf(0, start);
    if (nul < 0) return tail === "reserved" ? words : undefined;
    words.push(latin1Decode(body, start, nul));
    start = nul + 1;
  }
  return words;
}

function numberOf(word: string | undefined): number | undefined {
  return word !== undefined && /^\d{1,10}$/.test(word) && Number(word) <= 0xffff_ffff ? Number(word) : undefined;
}

function domainOf(word: string | undefined): number | undefined {
  const domid = numberOf(word);
  return domid === undefined || domid > 0xffff ? undefined : domid;
}
