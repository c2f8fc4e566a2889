/// <reference path="../webassembly.d.ts" />
import { HandlerTable } from "./handlers.ts";
import { buildAvx, buildTier0, type Tier0Exports } from "./module.ts";
import { PREBUILT, type PrebuiltTier0 } from "./prebuilt.ts";

/** The interpreter's instance: module and table, with AVX's handlers where `table` has any. Completes what `table` knows. */
export function loadTier0(table: HandlerTable, memory: WebAssembly.Memory, readTsc: () => bigint): Tier0Exports {
  const { base, avx } = modules(table);
  const exports = instantiate(base, { m: memory, t: readTsc }) as unknown as Tier0Exports;
  if (avx !== undefined) {
    const { table: functions } = instantiate(avx, { m: memory, t: exports.translate }) as unknown as Tier0Exports;
    exports.table.grow(functions.length);
    for (let index = 0; index < functions.length; index++)
      exports.table.set(table.baseCount + index, functions.get(index));
  }
  return exports;
}

/** What both modules import: memory, and one function each. */
type Imports = { readonly m: WebAssembly.Memory; readonly t: (() => bigint) | Tier0Exports["translate"] };

function instantiate(bytes: Uint8Array, e: Imports): Record<string, unknown> {
  const module = new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);
  return new WebAssembly.Instance(module, { e }).exports;
}

interface Modules {
  readonly base: Uint8Array;
  readonly avx: Uint8Array | undefined;
}

function modules(table: HandlerTable): Modules {
  const built = PREBUILT as PrebuiltTier0 | undefined;
  const hasAvx = table.handlers.length > table.baseCount;
  if (built === undefined) return { base: buildTier0(table), avx: hasAvx ? buildAvx(table) : undefined };
  for (const slot of built.helperUsers) table.helperUsers.add(table.handlers[slot]!);
  for (const slot of built.translated) {
    const handler = table.handlers[slot];
    if (handler) table.translated.add(handler);
  }
  return { base: fromBase64(built.module), avx: hasAvx ? fromBase64(built.avx) : undefined };
}

/** Makes what the package's build puts in place of `PREBUILT`; `encode` gives base64. */
export function prebuildTier0(encode: (bytes: Uint8Array) => string): PrebuiltTier0 {
  const table = new HandlerTable({ avx: true });
  const module = encode(buildTier0(table));
  const avx = encode(buildAvx(table));
  return {
    module,
    avx,
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
