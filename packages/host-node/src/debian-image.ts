import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { userInfo } from "node:os";
import { dirname, join, resolve } from "node:path";
import { ParavirtError } from "@paravirt/core";
import { debianSources, type SourcesOptions } from "./apt-sources.ts";
import { defaultCacheFolder, makeWorkFolder, reason, removeWorkFolder } from "./cache.ts";
import { customizeScript } from "./debian-image-script.ts";

/** Options of {@link buildDebianImage}. */
export interface DebianImageOptions extends SourcesOptions {
  /** Debian release by name (`bookworm`, `sid`); that of the machine's own sources when left out. */
  readonly suite?: string;
  /** Packages beside {@link DEBIAN_IMAGE_PACKAGES}. */
  readonly packages?: readonly string[];
  /** Bytes of the disk, a multiple of 4096; 2 GiB when left out. Only what is used takes space on this machine. */
  readonly size?: number;
  /** Name of the machine that boots it; `debian` when left out. */
  readonly hostname?: string;
  /** Where work that isn't finished lies; {@link defaultCacheFolder} when left out. Needs twice the system's size. */
  readonly cacheFolder?: string;
  /** Hears what is being done, in a few words. */
  onProgress?(what: string): void;
  /** Stops it; what was made is removed. */
  readonly signal?: AbortSignal;
}

/**
 * What every image has: an init, devices, logins, and networks that configure themselves by DHCP. apt is there too, as
 * in every Debian.
 */
export const DEBIAN_IMAGE_PACKAGES: readonly string[] = [
  "systemd-sysv",
  "systemd-resolved",
  "udev",
  "dbus",
  "libpam-systemd",
  "iproute2",
  "iputils-ping",
  "kmod",
  "procps",
];

const DEFAULT_SIZE = 2 * 1024 * 1024 * 1024;
/** Less than the packages that every image has. */
const LEAST_SIZE = 256 * 1024 * 1024;
/** ext4 with 4 KiB blocks and no 64-bit feature ends here; nobody needs more for a root. */
const MOST_SIZE = 16 * 1024 ** 4 - 4096;
const BLOCK = 4096;

/**
 * Makes a bootable Debian as a raw disk image at `path`: one ext4 file system, without partitions, kernel or boot
 * loader, for a kernel that comes from outside. root logs in on the console without a password. Uses mmdebstrap and mke2fs
 * and the machine's own package sources; without root, mmdebstrap needs fakechroot, or newuidmap and a range of the user's
 * own in /etc/subuid and /etc/subgid, and fakeroot packs the files, without capabilities of files (ping is setuid instead).
 * Resolves when the image is complete; until then there
 * is no file at `path`. Throws `UNAVAILABLE` when a program or the folder of `path` is missing or a package can't be had,
 * `OUT_OF_RANGE` for an impossible size or one that is too small.
 */
export async function buildDebianImage(path: string, options: DebianImageOptions = {}): Promise<void> {
  const size = options.size ?? DEFAULT_SIZE;
  if (!Number.isSafeInteger(size) || size < LEAST_SIZE || size > MOST_SIZE || size % BLOCK !== 0)
    throw new ParavirtError(
      "OUT_OF_RANGE",
      `a disk of ${size} bytes; ${LEAST_SIZE} (256 MiB) to ${MOST_SIZE} in steps of ${BLOCK} are possible`,
    );
  for (const name of options.packages ?? []) checkName("package", name, /^[a-z0-9][a-z0-9.+:~=/-]*$/);
  if (options.suite !== undefined) checkName("Debian release", options.suite, /^[a-z][a-z0-9-]*$/);
  const hostname = options.hostname ?? "debian";
  checkName("host name", hostname, /^[a-z0-9]([a-z0-9-]{0,62})$/);
  needFolder(path);
  await needPrograms(options);
  const { suite, lines, settings } = await debianSources(options);
  const work = makeWorkFolder(options.cacheFolder ?? defaultCacheFolder());
  try {
    const archive = join(work, "system.tar");
    const uuid = randomUUID();
    await bootstrap(archive, { suite, lines, settings, hostname, uuid, options });
    options.onProgress?.("making the file system");
    const image = join(work, "image");
    await makeFileSystem(work, archive, image, { uuid, size, options });
    await place(image, path);
  } finally {
    removeWorkFolder(work);
  }
}

/** What can't be written in the end is better said at once. */
function needFolder(path: string): void {
  const folder = dirname(resolve(path));
  try {
    accessSync(folder, constants.W_OK);
  } catch (error) {
    throw new ParavirtError("UNAVAILABLE", `no image can be made in ${folder}: ${reason(error)}`, { cause: error });
  }
}

function checkName(what: string, name: string, shape: RegExp): void {
  if (!shape.test(name)) throw new ParavirtError("BAD_ARGUMENT", `"${name}" is no ${what}`);
}

const isRoot = (): boolean => process.getuid?.() === 0;

/** Programs of this kind lie where only root looks. */
const ENVIRONMENT = (): NodeJS.ProcessEnv => ({
  ...process.env,
  LC_ALL: "C",
  DEBIAN_FRONTEND: "noninteractive",
  PATH: `${process.env.PATH ?? "/usr/bin:/bin"}:/usr/local/sbin:/usr/sbin:/sbin`,
});

async function needPrograms({ signal }: DebianImageOptions): Promise<void> {
  const packages: Record<string, string> = { mmdebstrap: "mmdebstrap", mke2fs: "e2fsprogs", tar: "tar" };
  if (!isRoot()) packages.fakeroot = "fakeroot";
  const names = Object.keys(packages);
  const test = `for name in ${names.join(" ")}; do command -v $name >/dev/null || echo $name; done`;
  const { stdout } = await run("sh", ["-c", test], { signal });
  const missing = stdout.split("\n").filter((name) => name !== "");
  if (missing.length === 0) {
    if (!isRoot()) await needUserMode(signal);
    return;
  }
  const install = [...new Set(missing.map((name) => packages[name]!))].join(" ");
  throw new ParavirtError(
    "UNAVAILABLE",
    `${missing.join(" and ")} missing: install them by "apt-get install ${install}"`,
  );
}

/** mmdebstrap says of this only that it can't choose. */
async function needUserMode(signal: AbortSignal | undefined): Promise<void> {
  const { uid, username } = userInfo();
  const has = async (name: string): Promise<boolean> =>
    (await run("sh", ["-c", `command -v ${name}`], { signal })).status === 0;
  if (await has("fakechroot")) return;
  const range = (file: string): boolean => {
    const text = existsSync(file) ? readFileSync(file, "utf8") : "";
    return text.split("\n").some((line) => [String(uid), username].includes(line.split(":")[0]!));
  };
  if ((await has("newuidmap")) && range("/etc/subuid") && range("/etc/subgid")) return;
  throw new ParavirtError(
    "UNAVAILABLE",
    'without root an image needs fakechroot ("apt-get install fakechroot"), or newuidmap (uidmap) and a range for ' +
      `${username} in /etc/subuid and /etc/subgid`,
  );
}

interface Bootstrap {
  readonly suite: string;
  readonly lines: readonly string[];
  readonly settings: readonly string[];
  readonly hostname: string;
  readonly uuid: string;
  readonly options: DebianImageOptions;
}

async function bootstrap(
  archive: string,
  { suite, lines, settings, hostname, uuid, options }: Bootstrap,
): Promise<void> {
  const args = [
    "--variant=minbase",
    "--format=tar",
    `--include=${[...DEBIAN_IMAGE_PACKAGES, ...(options.packages ?? [])].join(",")}`,
    ...settings.map((setting) => `--aptopt=${setting}`),
    // A script in a file would have to be readable for the users of a namespace.
    `--customize-hook=${customizeScript({ hostname, uuid })}`,
    suite,
    "-",
    ...lines,
  ];
  const out = openSync(archive, "wx");
  try {
    const result = await run("mmdebstrap", args, {
      signal: options.signal,
      stdout: out,
      onLine: (line) => {
        const step = /^I: (.*?)(\.\.\.)?$/.exec(line)?.[1];
        if (
          step !== undefined &&
          !/tempdir|success|^done$|^automatically|^chroot arch|^finding|^running --customize|received signal/.test(step)
        )
          options.onProgress?.(step);
      },
    });
    if (result.status !== 0) throw failed("mmdebstrap", result.stderr);
  } finally {
    closeSync(out);
  }
}

/** Unpacks the archive and packs the file system in one go, since owners last only as long as one fakeroot does. */
async function makeFileSystem(
  work: string,
  archive: string,
  image: string,
  { uuid, size, options }: { uuid: string; size: number; options: DebianImageOptions },
): Promise<void> {
  const root = join(work, "root");
  mkdirSync(root);
  // The image is a new file, so its inode tables are zeros already, and no guest has to write them.
  const features = "-q -F -t ext4 -m 1 -E assume_storage_prezeroed=1,root_owner=0:0";
  // A capability that fakeroot pretends to set makes mke2fs give up. ping is the only file of Debian's base that has one,
  // and setuid is how its package helps itself where there are none.
  const unpack = isRoot()
    ? `tar -C "$1" --numeric-owner --xattrs --xattrs-include='*' -xpf "$2"`
    : `tar -C "$1" --numeric-owner -xpf "$2" && chmod u+s "$1/usr/bin/ping"`;
  const script = `${unpack} && rm "$2" &&
    mke2fs ${features} -L root -U "$4" -b ${BLOCK} -d "$1" "$3" "$5"`;
  const words = ["sh", "-c", script, "sh", root, archive, image, uuid, String(size / BLOCK)];
  const program = isRoot() ? words : ["fakeroot", "--", ...words];
  const { status, stderr } = await run(program[0]!, program.slice(1), { signal: options.signal });
  if (status === 0) return;
  if (/No space left|Could not allocate block|not enough space/i.test(stderr) && /mke2fs|ext2fs/.test(stderr))
    throw new ParavirtError("OUT_OF_RANGE", `the system doesn't fit on a disk of ${size} bytes; make it larger`);
  throw failed("mke2fs", stderr);
}

/** A file system of another kind than the cache's can't be renamed to; then `cp` keeps the holes. */
async function place(image: string, path: string): Promise<void> {
  try {
    renameSync(image, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EXDEV") throw error;
    const copy = `${path}.${process.pid}.tmp`;
    try {
      const { status, stderr } = await run("cp", ["--sparse=always", image, copy], { signal: undefined });
      if (status !== 0) throw failed("cp", stderr);
      renameSync(copy, path);
    } finally {
      rmSync(copy, { force: true });
    }
  }
}

interface RunOptions {
  readonly signal: AbortSignal | undefined;
  /** A file for its standard output; otherwise it is in the result. */
  readonly stdout?: number;
  onLine?(line: string): void;
}

interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Lines of standard error kept for a message. */
const KEPT_LINES = 200;

function run(program: string, args: readonly string[], options: RunOptions): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: ENVIRONMENT(),
      stdio: ["ignore", options.stdout ?? "pipe", "pipe"],
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    let stdout = "";
    let rest = "";
    const lines: string[] = [];
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      const parts = (rest + text).split("\n");
      rest = parts.pop()!;
      for (const line of parts) options.onLine?.(line);
      lines.push(...parts);
      lines.splice(0, lines.length - KEPT_LINES);
    });
    child.on("error", (error) => {
      if (options.signal?.aborted === true) reject(options.signal.reason);
      else reject(new ParavirtError("UNAVAILABLE", `${program} could not be started: ${error.message}`));
    });
    child.on("close", (status) => resolve({ status: status ?? 1, stdout, stderr: [...lines, rest].join("\n") }));
  });
}

/** One clear line from what a program said. */
function failed(program: string, stderr: string): ParavirtError {
  const lines = stderr.split("\n").filter((line) => line.trim() !== "");
  const said = lines.find((line) => /^E:/.test(line) && !/ failed to (start|run)|(setup|command) failed/.test(line));
  // What fails inside of the new system says so itself, before mmdebstrap repeats the whole command.
  const command = lines.findIndex((line) => /^E: (setup|command) failed/.test(line));
  const line = said ?? lines[command - 1] ?? lines.at(-1) ?? "no message";
  return new ParavirtError("UNAVAILABLE", `${program} failed: ${line.replace(/^E:\s*/, "")}`);
}
