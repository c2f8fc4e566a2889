// Examples in READMEs: fences marked `ts runnable` are run, and what they print is compared with the `// ` comments behind
// their console.log lines.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { transformSync } from "esbuild";

/** READMEs of the root and of every package: path and name. */
export function readmes(root) {
  const packages = readdirSync(join(root, "packages")).map((name) => ({
    name,
    path: join(root, "packages", name, "README.md"),
  }));
  return [{ name: "root", path: join(root, "README.md") }, ...packages].filter(({ path }) => existsSync(path));
}

/** The runnable examples of a README. */
export function examplesOf(path) {
  return [...readFileSync(path, "utf8").matchAll(/^```ts runnable\n([\s\S]*?)^```/gm)].map(([, code]) => code);
}

/** What an example says that it prints. */
export function expectedOutput(code) {
  return code.split("\n").flatMap((line) => {
    const match = /^\s*console\.log\(.*\);\s*\/\/ (.*)$/.exec(line);
    return match ? [match[1]] : [];
  });
}

/** Runs an example as a module in `folder`, from which its imports are resolved. */
export function runExample(code, folder) {
  const place = mkdtempSync(join(folder, ".example-"));
  try {
    const file = join(place, "example.mjs");
    writeFileSync(file, transformSync(code, { loader: "ts", format: "esm", target: "es2022" }).code);
    const { status, stdout, stderr } = spawnSync(process.execPath, [file], {
      cwd: folder,
      encoding: "utf8",
      timeout: 60_000,
    });
    return { status, lines: stdout.trimEnd().split("\n"), stderr };
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}
