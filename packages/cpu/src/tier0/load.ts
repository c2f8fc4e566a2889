/// <reference path="../webassembly.d.ts" />
import { HandlerTable } from "./handlers.ts";
import { buildTier0 } from "./module.ts";
import { PREBUILT, type PrebuiltTier0 } from "./prebuilt.ts";

/** The bytes of the interpreter's module; completes what `table` knows once it is built. */
export function loadTier0(table: HandlerTable): Uint8Array {
  const built = PREBUILT as PrebuiltTier0 | undefined;
  if (built === undefined) return buildTier0(table);
  for (const slot of built.helperUsers) table.helperUsers.add(table.handlers[slot]!);
  for (const slot of built.translated) table.translated.add(table.handlers[slot]!);
  return fromBase64(built.module);
}

/** Makes what the package's build puts in place of `PREBUILT`; `encode` gives base64. */
export function prebuildTier0(encode: (bytes: Uint8Array) => string): PrebuiltTier0 {
  const table = new HandlerTable();
  const module = encode(buildTier0(table));
  return {
    module,
    helperUsers: [...table.helperUsers].map((handler) => handler.slot),
    translated: [...table.translated].map((handler) => handler.slot),
  };
}

/** Every host has `atob`; ECMAScript's own types don't. */
const host = globalThis as unknown as { atob(text: string): string };

function fromBase64(text: string): Uint8Array {
  const binary = host.atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}
