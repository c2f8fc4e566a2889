import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { readCpio } from "@paravirt/boot";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type DebianGuestOptions, debianGuest } from "./debian-guest.ts";

let folder: string;
let cache: string;
let options: DebianGuestOptions & { programs: { get: string; cache: string } };

const script = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
};

/** A kernel module that depends on `depends`: an object file with nothing but what a module says about itself. */
function makeModule(path: string, depends: string): void {
  const source = `.section .modinfo,"a"\n.asciz "license=GPL"\n.asciz "depends=${depends}"\n`;
  execFileSync("as", ["-o", path, "-"], { input: source });
}

function makePackage(name: string, version: string, files: Record<string, (path: string) => void>): void {
  const tree = join(folder, `tree-${name}`);
  rmSync(tree, { recursive: true, force: true });
  mkdirSync(join(tree, "DEBIAN"), { recursive: true });
  writeFileSync(
    join(tree, "DEBIAN/control"),
    `Package: ${name}\nVersion: ${version}\nArchitecture: amd64\nMaintainer: t <t@example.org>\nDescription: t\n`,
  );
  for (const [path, make] of Object.entries(files)) {
    mkdirSync(join(tree, path, ".."), { recursive: true });
    make(join(tree, path));
  }
  const file = join(folder, "mirror", `${name}_${version}_amd64.deb`);
  execFileSync("dpkg-deb", ["--root-owner-group", "-b", tree, file], { stdio: "pipe" });
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "paravirt-guest-"));
  mkdirSync(join(folder, "mirror"));
  const program = readFileSync("/bin/true");
  makePackage("linux-image-9.9-amd64", "9.9.1-1", {
    "boot/vmlinuz-9.9-amd64": (path) => writeFileSync(path, program),
    "lib/modules/9.9-amd64/kernel/drivers/block/xen-blkfront.ko": (path) => makeModule(path, "xen-helper,early"),
    "lib/modules/9.9-amd64/kernel/arch/early.ko": (path) => makeModule(path, ""),
    "lib/modules/9.9-amd64/modules.builtin": (path) => writeFileSync(path, "kernel/drivers/built-in-one.ko\n"),
    "lib/modules/9.9-amd64/kernel/drivers/net/xen-netfront.ko": (path) => makeModule(path, ""),
    "lib/modules/9.9-amd64/kernel/lib/xen-helper.ko": (path) => makeModule(path, ""),
  });
  makePackage("busybox-static", "1.0", { "bin/busybox": (path) => writeFileSync(path, program) });
  // Stands in for apt: knows the meta package and two more, serves them from a folder, counts its downloads.
  script(
    "apt-cache",
    `for last; do :; done
case $last in
  linux-image-amd64) printf 'Package: %s\\nVersion: 9.9.1\\nDepends: linux-image-9.9-amd64 (= 9.9.1-1)\\n' "$last" ;;
  linux-image-9.9-amd64) printf 'Package: %s\\nVersion: 9.9.1-1\\n' "$last" ;;
  busybox-static) printf 'Package: %s\\nVersion: 1.0\\n' "$last" ;;
  *) exit 100 ;;
esac`,
  );
  script(
    "apt-get",
    `for last; do :; done
case "$*" in update*|*" update "*) exit 0 ;; esac
echo "$last" >>${folder}/log
cp ${folder}/mirror/\${last%%=*}_*.deb . && echo 'dlstatus:1:50:half' >&3`,
  );
});
beforeEach(() => {
  rmSync(join(folder, "log"), { force: true });
  cache = join(mkdtempSync(join(folder, "cache-")), "paravirt");
  options = { cacheFolder: cache, programs: { get: join(folder, "apt-get"), cache: join(folder, "apt-cache") } };
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const downloads = (): number =>
  existsSync(join(folder, "log")) ? readFileSync(join(folder, "log"), "utf8").trim().split("\n").length : 0;
/** What is in the cache and should not be. */
const leftovers = (): string[] =>
  existsSync(cache) ? readdirSync(cache).filter((name) => name.startsWith("tmp-")) : [];

test("the first call downloads and unpacks, the second takes everything from the cache", async () => {
  const steps: string[] = [];
  const first = await debianGuest({ ...options, onProgress: (p) => steps.push(`${p.step} ${p.fraction}`) });
  expect(first.packages).toEqual([
    { name: "linux-image-9.9-amd64", version: "9.9.1-1" },
    { name: "busybox-static", version: "1.0" },
  ]);
  const files = new Map(readCpio(first.initramfs).map((entry) => [entry.path, entry]));
  expect(Buffer.compare(files.get("bin/busybox")!.data!, readFileSync("/bin/true"))).toBe(0);
  const order = Buffer.from(files.get("paravirt/modules.order")!.data!).toString();
  expect(order).toBe("xen_helper.ko\nearly.ko\nxen_blkfront.ko max_indirect_segments=256\nxen_netfront.ko\n");
  expect(steps).toEqual(expect.arrayContaining(["package 0", "package 0.5", "package 1", "unpack 1", "kernel 1"]));
  expect(downloads()).toBe(2);
  const second = await debianGuest({ ...options, onProgress: (p) => expect(p).toBe("not called") });
  expect(Buffer.compare(second.initramfs, first.initramfs)).toBe(0);
  expect(downloads()).toBe(2);
  expect(leftovers()).toEqual([]);
});

test.each(["vmlinuz", "vmlinux", "busybox", "modules/xen-blkfront.ko", "manifest.json"])(
  "a damaged %s in the cache is noticed, and made again without a download",
  async (name) => {
    const { folder: guest, initramfs } = await debianGuest(options);
    const bytes = readFileSync(join(guest, name));
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(join(guest, name), name === "manifest.json" ? bytes.subarray(0, 40) : bytes);
    expect(Buffer.compare((await debianGuest(options)).initramfs, initramfs)).toBe(0);
    expect(downloads()).toBe(2);
  },
);

test("a damaged package in the cache is downloaded again", async () => {
  const { folder: guest } = await debianGuest(options);
  rmSync(guest, { recursive: true });
  for (const deb of readdirSync(join(cache, "debs"))) writeFileSync(join(cache, "debs", deb), "!<arch>\ncut");
  await debianGuest(options);
  expect(downloads()).toBe(4);
});

test("a folder given up half-way by a killed process is removed by the next one", async () => {
  mkdirSync(join(cache, "tmp-999999999-dead"), { recursive: true });
  await debianGuest(options);
  expect(leftovers()).toEqual([]);
});

test("lists that name a version which the mirror no longer has are fetched anew", async () => {
  const get = script(
    "apt-get-stale",
    `for last; do :; done
case "$*" in *update*) touch ${cache}.fresh; exit 0 ;; esac
[ -e ${cache}.fresh ] || { echo 'E: Failed to fetch http://deb/x 404 Not Found' >&2; exit 100; }
cp ${folder}/mirror/\${last%%=*}_*.deb .`,
  );
  const guest = await debianGuest({ ...options, programs: { ...options.programs, get } });
  expect(guest.packages[0]!.version).toBe("9.9.1-1");
});

test("without apt, one line says so and nothing is left in the cache", async () => {
  const programs = { get: "no-such-apt-get", cache: "no-such-apt-cache" };
  await expect(debianGuest({ ...options, programs })).rejects.toThrow(
    /^no-such-apt-cache is not on this machine: [^\n]+$/,
  );
  expect(leftovers()).toEqual([]);
});

test("without a network, one line says so and nothing half-written is left in the cache", async () => {
  const get = script(
    "apt-get-offline",
    `echo half >part.deb; echo "E: Failed to fetch http://deb/x Could not resolve 'deb'" >&2; exit 100`,
  );
  const failed = debianGuest({ ...options, programs: { ...options.programs, get } });
  await expect(failed).rejects.toThrow(/^apt-get could not [^\n]+ \(no network\?\): Failed to fetch [^\n]+$/);
  expect(leftovers()).toEqual([]);
  expect(readdirSync(cache).filter((name) => name !== "debs" && name !== "apt")).toEqual([]);
});

test("a module that is built into the kernel needs no file, and one that does not exist is named", async () => {
  const guest = await debianGuest({ ...options, modules: ["built-in-one", "xen-netfront"] });
  const order = readCpio(guest.initramfs).find((entry) => entry.path === "paravirt/modules.order")!;
  expect(Buffer.from(order.data!).toString()).toBe("xen_netfront.ko\n");
  const failed = debianGuest({ ...options, modules: ["no-such"] });
  await expect(failed).rejects.toThrow("kernel module no_such isn't in linux-image-9.9-amd64");
  expect(leftovers()).toEqual([]);
});

test("a package that apt does not know is named", async () => {
  const unknown = script("apt-cache-empty", "exit 100");
  const failed = debianGuest({ ...options, programs: { ...options.programs, cache: unknown } });
  await expect(failed).rejects.toThrow(/apt knows no package linux-image-amd64/);
});

test("a cache folder that can't be written is named", async () => {
  writeFileSync(join(folder, "a-file"), "");
  const failed = debianGuest({ ...options, cacheFolder: join(folder, "a-file", "cache") });
  await expect(failed).rejects.toThrow(/cache folder .*a-file.cache can't be written/);
});

test("a download can be stopped", async () => {
  const get = script("apt-get-slow", "exec sleep 30");
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error("stopped by the user")), 100);
  const failed = debianGuest({ ...options, programs: { ...options.programs, get }, signal: controller.signal });
  await expect(failed).rejects.toThrow(/stopped by the user/);
  expect(leftovers()).toEqual([]);
});

test("two processes that start at once both get a guest", async () => {
  const both = await Promise.all([debianGuest(options), debianGuest(options)]);
  expect(both[0]!.folder).toBe(both[1]!.folder);
  expect(leftovers()).toEqual([]);
});

test("Debian's own packages give a bootable kernel and the unchanged busybox", async () => {
  // A folder that outlives the run, so that 70 MB are downloaded once.
  const base = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  const guest = await debianGuest({ cacheFolder: join(base, "paravirt-test", "host-node") });
  expect(guest.image).toMatchObject({ format: "bzimage", xen: { guestOs: "linux" } });
  const deb = join(
    base,
    "paravirt-test",
    "host-node",
    "debs",
    readdirSync(join(guest.folder, "..", "debs")).find((n) => n.startsWith("busybox"))!,
  );
  const original = execFileSync("sh", ["-c", 'dpkg-deb --fsys-tarfile "$0" | tar -xO ./bin/busybox', deb], {
    maxBuffer: 1 << 26,
  });
  const packed = readCpio(guest.initramfs).find((entry) => entry.path === "bin/busybox")!;
  expect(Buffer.compare(packed.data!, original)).toBe(0);
});

test.each(["exit", "SIGINT", "SIGTERM"])(
  "a process that ends by %s in the middle of a download leaves no temporary folder",
  async (how) => {
    const get = script("apt-get-hang", "exec sleep 5");
    const source = new URL("./debian-guest.ts", import.meta.url).pathname;
    const bundled = join(folder, "interrupted.mjs");
    const flags = ["--bundle", "--platform=node", "--format=esm", "--conditions=@paravirt/source", "--log-level=error"];
    execFileSync("npx", ["esbuild", source, ...flags, `--outfile=${bundled}`]);
    const end = how === "exit" ? "process.exit(3)" : `process.kill(process.pid, "${how}")`;
    const code = `import { debianGuest } from ${JSON.stringify(bundled)};
    setTimeout(() => ${end}, 500);
    await debianGuest(${JSON.stringify({ ...options, programs: { ...options.programs, get } })});`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", code]);
    const ended = await new Promise((resolve) => child.on("exit", (status, signal) => resolve(signal ?? status)));
    expect(ended).toBe(how === "exit" ? 3 : how);
    expect(leftovers()).toEqual([]);
  },
);
