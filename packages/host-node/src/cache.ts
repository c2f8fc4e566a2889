import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { ParavirtError } from "@paravirt/core";

/** The cache folder: `$XDG_CACHE_HOME/paravirt`, else `~/.cache/paravirt`. It may not exist yet. */
export function defaultCacheFolder(environment: Readonly<Record<string, string | undefined>> = process.env): string {
  const base = environment.XDG_CACHE_HOME;
  // The XDG specification says to ignore a relative path.
  if (base !== undefined && isAbsolute(base)) return join(base, "paravirt");
  return join(environment.HOME ?? homedir(), ".cache", "paravirt");
}

/** Temporary folders of this process that are to go when it does. */
const open = new Set<string>();
let watching = false;
const ENDINGS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];

function removeOpen(): void {
  for (const left of open) rmSync(left, { recursive: true, force: true });
  open.clear();
}

function onEnding(signal: NodeJS.Signals): void {
  removeOpen();
  unwatch();
  // If nobody else listens, the signal does now what it does without us.
  if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
}

function watch(): void {
  if (watching) return;
  watching = true;
  process.on("exit", removeOpen);
  for (const signal of ENDINGS) process.on(signal, onEnding);
}

function unwatch(): void {
  watching = false;
  process.off("exit", removeOpen);
  for (const signal of ENDINGS) process.off(signal, onEnding);
}

/**
 * Makes a folder in `cache` for work that is not finished. It is removed when the process ends, however it ends short
 * of SIGKILL, and left-overs of dead processes are removed first. Throws `UNAVAILABLE` when it can't be made.
 */
export function makeWorkFolder(cache: string): string {
  const path = join(cache, `tmp-${process.pid}-${randomBytes(4).toString("hex")}`);
  try {
    mkdirSync(cache, { recursive: true });
    for (const name of readdirSync(cache)) {
      const owner = /^tmp-([0-9]+)-/.exec(name)?.[1];
      if (owner !== undefined && !isAlive(Number(owner))) rmSync(join(cache, name), { recursive: true, force: true });
    }
    mkdirSync(path);
  } catch (error) {
    throw new ParavirtError("UNAVAILABLE", `the cache folder ${cache} can't be written: ${reason(error)}`);
  }
  open.add(path);
  watch();
  return path;
}

/** Removes a {@link makeWorkFolder} folder. */
export function removeWorkFolder(path: string): void {
  open.delete(path);
  rmSync(path, { recursive: true, force: true });
  if (open.size === 0 && watching) unwatch();
}

/** Gives a finished work folder its name. Another process may have been first: then its result stays. */
export function publishFolder(work: string, target: string): void {
  try {
    renameSync(work, target);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== "ENOTEMPTY" && code !== "EEXIST") {
      throw new ParavirtError("UNAVAILABLE", `${target} can't be written: ${reason(error)}`);
    }
    removeWorkFolder(work);
  }
  open.delete(work);
}

/** Replaces a file in one step: readers see the old bytes or the new ones. */
export function replaceFile(path: string, bytes: Uint8Array | string): void {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, bytes);
  renameSync(temporary, path);
}

/** A file as a manifest lists it. */
export interface ManifestFile {
  /** Bytes. */
  readonly size: number;
  /** SHA-256 in hexadecimal. */
  readonly sha256: string;
}

/** Size and hash of `bytes`. */
export function describe(bytes: Uint8Array): ManifestFile {
  return { size: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
}

/** Reads a file that a manifest describes, or `undefined` when it is missing or not as described. */
export function readVerified(path: string, expected: ManifestFile): Uint8Array | undefined {
  try {
    if (statSync(path).size !== expected.size) return undefined;
    const bytes = readFileSync(path);
    return describe(bytes).sha256 === expected.sha256 ? bytes : undefined;
  } catch {
    return undefined;
  }
}

/** The first line of an error's message. */
export function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0]!;
}

function isAlive(process_: number): boolean {
  try {
    process.kill(process_, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
