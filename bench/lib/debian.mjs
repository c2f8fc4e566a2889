// Debian packages for the benchmarks: installed ones, and files of packages that can't or shouldn't be installed.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { defaultCacheFolder } from "@paravirt/host-node";

const ENVIRONMENT = { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" };

/** Where the benchmarks keep what takes long to make. */
export const CACHE = join(defaultCacheFolder(), "bench");

function isInstalled(name) {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
  const answer = spawnSync("dpkg-query", ["-W", "-f", "${db:Status-Status}", name], { encoding: "utf8" });
  // A system without dpkg has its own names; whether the program is there shows when it is started.
  return answer.error !== undefined || answer.stdout === "installed";
}

/**
 * Installs those of `names` that are missing, when this is root. Answers undefined, or a line that says what is missing
 * and how to get it.
 */
export function installPackages(names) {
  const missing = names.filter((name) => !isInstalled(name));
  if (missing.length === 0) return undefined;
  const command = `apt-get install -y --no-install-recommends ${missing.join(" ")}`;
  if (process.getuid?.() !== 0) return `Debian packages are missing: ${missing.join(" ")}; as root: ${command}`;
  console.error(`installing ${missing.join(" ")}`);
  const apt = (...args) => spawnSync("apt-get", args, { env: ENVIRONMENT, encoding: "utf8" });
  const install = () => apt("install", "-y", "-qq", "--no-install-recommends", ...missing);
  if (install().status === 0) return undefined;
  apt("update", "-qq");
  const last = install();
  return last.status === 0 ? undefined : `${command} failed: ${mainLine(last.stderr)}`;
}

/**
 * Files of packages of another architecture, without adding that architecture to the system: apt gets a state of its
 * own in the cache. `wanted` lists, for each file, a package and a pattern of the file's path in it; of a kernel's
 * metapackage the real one is taken. Answers the files' paths; throws an Error with one line.
 */
export function foreignFiles(architecture, wanted) {
  const folder = join(CACHE, architecture);
  const settings = aptSettings(folder, architecture);
  return Object.fromEntries(
    Object.entries(wanted).map(([key, [name, pattern]]) => {
      const kept = join(folder, "files", key);
      if (!existsSync(kept)) fetchFile({ folder, settings, name, pattern, kept });
      return [key, kept];
    }),
  );
}

function aptSettings(folder, architecture) {
  return [
    ...["-o", `APT::Architecture=${architecture}`, "-o", `APT::Architectures::=${architecture}`],
    ...["-o", `Dir::State=${join(folder, "state")}`, "-o", `Dir::State::status=${join(folder, "state", "status")}`],
    ...["-o", `Dir::Cache=${join(folder, "cache")}`, "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=2"],
    ...["-o", "Acquire::Languages=none"],
  ];
}

function fetchFile({ folder, settings, name, pattern, kept }) {
  for (const path of ["state/lists/partial", "cache/archives/partial", "files"]) {
    mkdirSync(join(folder, path), { recursive: true });
  }
  const status = join(folder, "state", "status");
  if (!existsSync(status)) spawnSync("touch", [status]);
  const run = (program, args, cwd = folder) =>
    spawnSync(program, args, { cwd, env: ENVIRONMENT, encoding: "utf8", maxBuffer: 1 << 28 });
  const show = (what) => run("apt-cache", [...settings, "show", "--no-all-versions", what]).stdout ?? "";
  const update = () => {
    console.error(`fetching package lists for ${name}`);
    return run("apt-get", [...settings, "update", "-qq"]);
  };
  if (show(name) === "") {
    const updated = update();
    if (show(name) === "") {
      throw new Error(`apt knows no ${name}: ${mainLine(updated.stderr ?? "apt-get can't be run")}`);
    }
  }
  const work = join(folder, `tmp-${process.pid}`);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work);
  try {
    let download;
    const fetch = () => {
      // A metapackage has no files; the real one is the first that it depends on.
      const real = /^Depends: (linux-image-[^ ,]+)/m.exec(show(name))?.[1] ?? name;
      console.error(`downloading ${real}`);
      download = run("apt-get", [...settings, "download", "-qq", real], work);
      return readdirSync(work).find((file) => file.endsWith(".deb"));
    };
    let deb = fetch();
    if (deb === undefined) {
      // Lists that are too old name versions that the mirror has dropped.
      update();
      deb = fetch();
    }
    if (deb === undefined) throw new Error(`${name} could not be downloaded: ${mainLine(download.stderr)}`);
    const unpacked = run("dpkg-deb", ["-x", deb, "files"], work);
    if (unpacked.status !== 0) throw new Error(`${deb} could not be unpacked: ${mainLine(unpacked.stderr)}`);
    const path = readdirSync(join(work, "files"), { recursive: true }).find((file) => pattern.test(file));
    if (path === undefined) throw new Error(`${deb} has no file like ${pattern}`);
    renameSync(join(work, "files", path), kept);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The first error that apt tells of, else its last line. */
function mainLine(text) {
  const lines = text.trim().split("\n");
  return lines.find((line) => /^(E:|Err:)/.test(line)) ?? lines.at(-1) ?? "";
}
