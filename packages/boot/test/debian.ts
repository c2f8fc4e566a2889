// Debian's own packages as test material, downloaded once into a folder that outlives the run.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FOLDER = join(process.env["XDG_CACHE_HOME"] ?? join(process.env["HOME"] ?? tmpdir(), ".cache"), "paravirt-test");

/** Path of the newest `name` package, downloaded by apt when the folder has none. */
export function debianPackage(name: string): string {
  mkdirSync(FOLDER, { recursive: true });
  const have = (): string | undefined => readdirSync(FOLDER).find((file) => file.startsWith(`${name}_`));
  const found = have();
  if (found !== undefined) return join(FOLDER, found);
  const work = mkdtempSync(join(FOLDER, "tmp-"));
  try {
    const download = (): void => {
      execFileSync("apt-get", ["download", "-q", "-o", "APT::Sandbox::User=root", name], { cwd: work, stdio: "pipe" });
    };
    try {
      download();
    } catch {
      execFileSync("apt-get", ["update", "-q"], { stdio: "pipe" });
      download();
    }
    for (const file of readdirSync(work)) renameSync(join(work, file), join(FOLDER, file));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return join(FOLDER, have()!);
}

/** Path of the package of Debian's current amd64 kernel. */
export function debianKernelPackage(): string {
  if (existsSync(FOLDER)) {
    const found = readdirSync(FOLDER).find((file) => /^linux-image-.*_amd64\.deb$/.test(file));
    if (found !== undefined) return join(FOLDER, found);
  }
  const show = (): string =>
    execFileSync("apt-cache", ["show", "--no-all-versions", "linux-image-amd64"], { encoding: "utf8", stdio: "pipe" });
  let text: string;
  try {
    text = show();
  } catch {
    execFileSync("apt-get", ["update", "-q"], { stdio: "pipe" });
    text = show();
  }
  return debianPackage(/^Depends: (linux-image-[^ ,]+)/m.exec(text)![1]!);
}
