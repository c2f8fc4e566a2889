// `npm run check:packages`: packs every package, installs the tarballs in an empty folder, and runs each README's example
// there, as a user would.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { examplesOf, expectedOutput, readmes, runExample } from "./readme-examples.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "paravirt-packages-"));

function run(command, args, cwd) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed:\n${stdout}${stderr}`);
  return stdout;
}

let failed = 0;
try {
  run("npx", ["turbo", "run", "build", "--output-logs=errors-only"], root);
  run("npm", ["pack", "--workspaces", "--pack-destination", folder], root);
  const tarballs = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "check", private: true, type: "module" }));
  run("npm", ["install", "--no-audit", "--no-fund", ...tarballs.map((name) => `./${name}`)], folder);
  console.log(`${tarballs.length} packages packed and installed`);
  for (const { name, path } of readmes(root)) {
    for (const code of examplesOf(path)) {
      const { status, lines, stderr } = runExample(code, folder);
      const good = status === 0 && lines.join("\n") === expectedOutput(code).join("\n");
      console.log(`${good ? "ok    " : "FAILED"} README of ${name}`);
      if (!good) console.error(`${lines.join("\n")}\n${stderr}`);
      failed += good ? 0 : 1;
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(failed === 0 ? 0 : 1);
