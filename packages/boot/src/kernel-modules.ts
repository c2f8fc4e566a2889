import { ParavirtError } from "@paravirt/core";
import { detectCompression, unpack } from "./decompress/unpack.ts";
import { readElf } from "./elf.ts";
import { utf8Decode } from "./text.ts";

/** Most bytes that one packed module may unpack to: 64 MiB. */
const MODULE_LIMIT = 64 * 1024 * 1024;

/** A module's name as the kernel spells it: no folder, no `.ko`, `_` for `-`. */
export function moduleName(path: string): string {
  return path
    .replace(/^.*\//, "")
    .replace(/\.ko(\.(xz|zst|gz))?$/, "")
    .replaceAll("-", "_");
}

/** Whether `path` is that of a kernel module. */
export function isModulePath(path: string): boolean {
  return /\.ko(\.(xz|zst|gz))?$/.test(path);
}

/** The bytes of a module file, unpacked when it is `.ko.xz`, `.ko.zst` or `.ko.gz`. Throws `BAD_IMAGE`. */
export function unpackModule(bytes: Uint8Array): Uint8Array {
  return detectCompression(bytes) === undefined ? bytes : unpack(bytes, { limit: MODULE_LIMIT });
}

/** The `key=value` pairs of a module's `.modinfo` section; a key may come more than once. Throws `BAD_IMAGE`. */
export function readModuleInfo(module: Uint8Array): ReadonlyMap<string, readonly string[]> {
  const elf = readElf(unpackModule(module));
  const section = elf.sections.find((s) => s.name === ".modinfo");
  if (section === undefined) throw new ParavirtError("BAD_IMAGE", "a kernel module without a .modinfo section");
  const info = new Map<string, string[]>();
  const text = utf8Decode(elf.bytes.subarray(section.offset, section.offset + section.size));
  for (const pair of text.split("\0")) {
    const equals = pair.indexOf("=");
    if (equals <= 0) continue;
    const values = info.get(pair.slice(0, equals)) ?? [];
    values.push(pair.slice(equals + 1));
    info.set(pair.slice(0, equals), values);
  }
  return info;
}

/** Names of the modules that a module file says it depends on. */
export function moduleDependencies(module: Uint8Array): readonly string[] {
  const depends = readModuleInfo(module).get("depends") ?? [];
  return depends
    .flatMap((list) => list.split(","))
    .filter((name) => name !== "")
    .map(moduleName);
}

/** Dependencies by module name, from the text of a `modules.dep` file. */
export function parseModulesDep(text: string): ReadonlyMap<string, readonly string[]> {
  const out = new Map<string, readonly string[]>();
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const needs = line
      .slice(colon + 1)
      .split(" ")
      .filter((path) => path !== "");
    // depmod lists the last to load first.
    out.set(moduleName(line.slice(0, colon)), needs.reverse().map(moduleName));
  }
  return out;
}

/**
 * Orders `wanted` modules and all that they need so that each comes after its dependencies.
 * `dependenciesOf` answers `undefined` for a module that does not exist, which throws `UNAVAILABLE` unless
 * `builtIn` has it.
 */
export function resolveModules(
  wanted: readonly string[],
  dependenciesOf: (name: string) => readonly string[] | undefined,
  builtIn: ReadonlySet<string> = new Set(),
): readonly string[] {
  const order: string[] = [];
  const state = new Map<string, "open" | "done">();
  const visit = (name: string, by: string): void => {
    if (state.get(name) === "done" || builtIn.has(name)) return;
    if (state.get(name) === "open") throw new ParavirtError("BAD_IMAGE", `kernel module ${name} depends on itself`);
    const needs = dependenciesOf(name);
    if (needs === undefined) throw new ParavirtError("UNAVAILABLE", `kernel module ${name}${by} isn't in the package`);
    state.set(name, "open");
    for (const need of needs) visit(need, `, needed by ${name},`);
    state.set(name, "done");
    order.push(name);
  };
  for (const name of wanted) visit(moduleName(name), "");
  return order;
}
