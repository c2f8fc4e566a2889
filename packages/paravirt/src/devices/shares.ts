import { basename, resolve } from "node:path";
import { openHostFolder } from "@paravirt/host-node";
import { createP9Server, createShareDevice } from "@paravirt/p9";
import type { ParsedArguments } from "../options.ts";
import { UsageError } from "../usage-error.ts";
import type { DeviceRequest, OpenedDevice } from "./device-request.ts";

/** A folder that `--share` names. */
export interface ShareSpec {
  /** The folder on this machine. */
  readonly folder: string;
  /** What the guest mounts it by, and the name of its folder in `/mnt`. */
  readonly tag: string;
  readonly readOnly: boolean;
}

/** What Linux takes as a tag: letters, digits, `.`, `_` and `-`, of which one isn't a dot. */
const TAG = /^(?=.*[^.])[A-Za-z0-9_.-]{1,31}$/;

/** Reads `HOSTDIR[:TAG][,ro]`. Throws {@link UsageError}. */
export function parseShare(text: string): ShareSpec {
  const readOnly = text.endsWith(",ro");
  const rest = readOnly ? text.slice(0, -3) : text;
  // What follows the last colon is a tag unless it has a slash; a folder with a colon in its name is written with one at the end.
  const at = rest.lastIndexOf(":");
  const [folder, given] =
    at < 0 || rest.slice(at + 1).includes("/") ? [rest, undefined] : [rest.slice(0, at), rest.slice(at + 1)];
  if (folder === "") throw new UsageError(`--share ${text}: a folder of this machine comes first`);
  if (given !== undefined && !TAG.test(given))
    throw new UsageError(`--share ${text}: a tag is 1 to 31 letters, digits, ".", "_" and "-"`);
  return { folder, tag: given ?? defaultTag(folder), readOnly };
}

/** The folder's own name, each character that a tag can't have replaced by `_`; `share` when nothing is left of it. */
function defaultTag(folder: string): string {
  const name = basename(resolve(folder))
    .replace(/[^A-Za-z0-9_.-]/gu, "_")
    .slice(0, 31);
  return TAG.test(name) ? name : "share";
}

/** The devices of all `--share` options. */
export function shareRequests({ lists }: Pick<ParsedArguments, "lists">): readonly DeviceRequest[] {
  const tags = new Set<string>();
  return (lists.get("share") ?? []).map((text, id) => {
    const spec = parseShare(text);
    if (tags.has(spec.tag))
      throw new UsageError(`--share ${text}: the tag ${spec.tag} is taken; give another after a colon`);
    tags.add(spec.tag);
    return { kind: "share", share: { tag: spec.tag, readOnly: spec.readOnly }, open: () => openShare(spec, id) };
  });
}

async function openShare({ folder, tag, readOnly }: ShareSpec, id: number): Promise<OpenedDevice> {
  const fileSystem = openHostFolder(folder);
  const onError = (error: unknown): void => {
    process.stderr.write(`paravirt: share ${tag}: ${error instanceof Error ? error.message : String(error)}\n`);
  };
  const server = createP9Server({ fileSystem, readOnly, onError });
  return { device: createShareDevice({ server, tag, id }), close: () => fileSystem.close() };
}
