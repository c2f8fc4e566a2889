// Debian's own packages as test material, downloaded once into a folder that outlives the run.
import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

const FOLDER = join(process.env.XDG_CACHE_HOME ?? join(process.env.HOME ?? tmpdir(), ".cache"), "paravirt-test");

/** Fetches the package lists; another test file may be doing the same, and then apt's lock is taken. */
function updateLists(): void {
  for (let attempt = 0; ; attempt++) {
    try {
      execFileSync("apt-get", ["update", "-q"], { stdio: "pipe" });
      return;
    } catch (error) {
      if (attempt === 5) throw error;
      execFileSync("sleep", ["3"]);
    }
  }
}

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
      updateLists();
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
    updateLists();
    text = show();
  }
  return debianPackage(/^Depends: (linux-image-[^ ,]+)/m.exec(text)![1]!);
}

/** A file of a package, by the end of its path. */
export function debianFile(deb: string, suffix: RegExp): Uint8Array {
  const list = execFileSync("dpkg-deb", ["--fsys-tarfile", deb], { maxBuffer: 1 << 30 });
  const names = execFileSync("tar", ["-tf", "-"], { input: list, encoding: "utf8", maxBuffer: 1 << 26 }).split("\n");
  const name = names.find((path) => suffix.test(path));
  if (name === undefined) throw new Error(`${deb} has no ${suffix}`);
  return execFileSync("tar", ["-xOf", "-", name], { input: list, maxBuffer: 1 << 30 });
}

/** Debian's kernel as the package has it, and unpacked by `xz`: made once. */
export function debianKernel(): { readonly vmlinuz: Uint8Array; readonly vmlinux: Uint8Array } {
  const stem = join(FOLDER, basename(debianKernelPackage(), ".deb"));
  const keep = (name: string, make: () => Uint8Array): Uint8Array => {
    const path = `${stem}.${name}`;
    if (!existsSync(path)) {
      const temporary = `${path}.${process.pid}`;
      writeFileSync(temporary, make());
      renameSync(temporary, path);
    }
    return readFileSync(path);
  };
  const vmlinuz = keep("vmlinuz", () => debianFile(`${stem}.deb`, /boot\/vmlinuz-/));
  const vmlinux = keep("vmlinux", () => {
    const start = Buffer.from(vmlinuz).indexOf(Buffer.from("fd377a585a00", "hex"));
    // The stream is followed by its size and the rest of the boot code; xz says so, after having unpacked it all.
    return spawnSync("xz", ["-dc", "--single-stream"], { input: vmlinuz.subarray(start), maxBuffer: 1 << 30 }).stdout;
  });
  return { vmlinuz, vmlinux };
}
