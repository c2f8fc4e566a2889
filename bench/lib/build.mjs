// Builds the guest programs, once for each set of sources, flags and compiler.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { CACHE, installPackages } from "./debian.mjs";

/** Folder of the sources. */
export const SOURCES = new URL("../guest/", import.meta.url).pathname;

const FLAGS = {
  64: ["-m64", "-march=x86-64"],
  // What 64-bit programs have by definition: SSE2 and doubles in its registers.
  32: ["-m32", "-march=pentium4", "-mfpmath=sse"],
};
const PACKAGES = { 64: ["gcc", "libc6-dev"], 32: ["gcc", "libc6-dev", "gcc-multilib"] };

/** Builds all programs for 64 or 32 bits as static ones and answers their folder. Throws an Error with one line. */
export function buildPrograms(bits) {
  const missing = installPackages(PACKAGES[bits]);
  if (missing !== undefined) throw new Error(missing);
  const flags = ["-O2", "-static", "-s", ...FLAGS[bits]];
  const sources = readdirSync(SOURCES).filter((name) => /\.[ch]$/.test(name));
  const hash = createHash("sha256").update(flags.join(" "));
  const compiler = spawnSync("gcc", ["--version"], { encoding: "utf8" });
  if (compiler.error !== undefined) throw new Error("gcc can't be run");
  hash.update(compiler.stdout);
  for (const name of sources) hash.update(`\0${name}\0`).update(readFileSync(join(SOURCES, name)));
  const folder = join(CACHE, `programs${bits}-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(folder)) return folder;
  const work = `${folder}.${process.pid}`;
  mkdirSync(work, { recursive: true });
  try {
    console.error(`building the programs for ${bits} bits`);
    for (const name of sources.filter((source) => source.endsWith(".c"))) {
      const output = join(work, name.slice(0, -2));
      const result = spawnSync("gcc", [...flags, "-o", output, join(SOURCES, name), "-lm"], { encoding: "utf8" });
      if (result.status !== 0) throw new Error(`${name} can't be compiled: ${result.stderr.split("\n")[0]}`);
    }
    renameSync(work, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return folder;
}
