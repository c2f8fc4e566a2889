import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import {
  buildInitramfs,
  type InitramfsModule,
  isModulePath,
  type KernelImage,
  moduleDependencies,
  moduleName,
  readDeb,
  readKernelImage,
  resolveModules,
} from "@paravirt/boot";
import { isParavirtError, ParavirtError } from "@paravirt/core";
import { openApt } from "./apt.ts";
import {
  defaultCacheFolder,
  describe,
  type ManifestFile,
  makeWorkFolder,
  publishFolder,
  readVerified,
  removeWorkFolder,
  replaceFile,
} from "./cache.ts";

/** What {@link debianGuest} is doing. */
export interface GuestProgress {
  /** Fetching package lists, downloading a package, unpacking it, unpacking the kernel. */
  readonly step: "lists" | "package" | "unpack" | "kernel";
  /** What it is about, in a few words. */
  readonly what: string;
  /** 0 to 1. */
  readonly fraction: number;
}

/** Options of {@link debianGuest}. */
export interface DebianGuestOptions {
  /** The cache folder; {@link defaultCacheFolder} when left out. */
  readonly cacheFolder?: string;
  /** Asks apt for newer packages although the cache has some. */
  readonly refresh?: boolean;
  /** Modules that `/init` loads; their dependencies come by themselves. */
  readonly modules?: readonly string[];
  /** Hears what is going on; never called when everything is in the cache. */
  onProgress?(progress: GuestProgress): void;
  /** Stops downloads. */
  readonly signal?: AbortSignal;
  /** Program names, for tests: `apt-get` and `apt-cache`. */
  readonly programs?: { readonly get: string; readonly cache: string };
}

/** Debian's own kernel and busybox, ready to boot. */
export interface DebianGuest {
  /** The kernel, read from the package's unmodified `vmlinuz`. */
  readonly image: KernelImage;
  /** busybox, the generated `/init` and the modules; append a `commandArchive` to run a command. */
  readonly initramfs: Uint8Array;
  /** Names and versions of the two packages. */
  readonly packages: readonly { readonly name: string; readonly version: string }[];
  /** The folder with `vmlinuz`, `busybox` and the modules, unchanged from their packages. */
  readonly folder: string;
}

/** The modules that a guest with Xen's disks and networks needs. */
export const XEN_MODULES: readonly string[] = ["xen-blkfront", "xen-netfront"];

const META_PACKAGE = "linux-image-amd64";
const BUSYBOX_PACKAGE = "busybox-static";
/** Changes when the folder's contents would. */
const LAYOUT = 1;
const POINTER = "debian.json";
const MANIFEST = "manifest.json";

interface Manifest {
  readonly layout: number;
  readonly packages: readonly { readonly name: string; readonly version: string }[];
  readonly files: Readonly<Record<string, ManifestFile>>;
  /** Module files by name, and what each says it depends on. */
  readonly modules: Readonly<Record<string, { readonly file: string; readonly depends: readonly string[] }>>;
}

/**
 * Gets Debian's kernel and busybox from the cache or, the first time, from the machine's own package sources.
 * Needs no root. Everything read from the cache is checked; what is missing or damaged is made again.
 * Throws `UNAVAILABLE` (no apt, no network, no such package), with one line that says which.
 */
export async function debianGuest(options: DebianGuestOptions = {}): Promise<DebianGuest> {
  const cache = options.cacheFolder ?? defaultCacheFolder();
  const wanted = options.modules ?? XEN_MODULES;
  if (options.refresh !== true) {
    const cached = currentFolder(cache);
    const guest = cached === undefined ? undefined : load(cached, wanted);
    if (guest !== undefined) return guest;
  }
  const apt = openApt({
    stateFolder: join(cache, "apt"),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.programs === undefined ? {} : { programs: options.programs }),
    onProgress: (step, what, fraction) => options.onProgress?.({ step, what, fraction }),
  });
  const meta = await apt.find(META_PACKAGE);
  const kernelName = /\b(linux-image-[a-z0-9.+-]+)/.exec(meta.fields.get("Depends") ?? "")?.[1];
  if (kernelName === undefined) {
    throw new ParavirtError("UNAVAILABLE", `${META_PACKAGE} ${meta.version} depends on no linux-image package`);
  }
  const found = [await apt.find(kernelName), await apt.find(BUSYBOX_PACKAGE)];
  const name = found
    .map((one) => `${one.name}_${one.version}`)
    .join("+")
    .replace(/[^A-Za-z0-9.+_-]/g, "-");
  const folder = join(cache, `debian-${LAYOUT}-${name}`);
  const known = load(folder, wanted);
  if (known !== undefined) {
    point(cache, folder);
    return known;
  }
  const work = makeWorkFolder(cache);
  try {
    const debs = join(cache, "debs");
    mkdirSync(debs, { recursive: true });
    const packages: { name: string; version: string }[] = [];
    const files = new Map<string, Uint8Array>();
    for (const one of found) {
      // A package kept from an earlier run saves the download when only what was made of it is damaged.
      let deb = join(debs, `${one.name}_${one.version.replaceAll(":", "%3a")}_amd64.deb`);
      let fetched = !existsSync(deb);
      for (;;) {
        if (fetched) {
          const path = await apt.download(one, work);
          deb = join(debs, basename(path));
          renameSync(path, deb);
        }
        try {
          packages.push({ name: one.name, version: unpackDeb(deb, files, options) });
          break;
        } catch (error) {
          if (fetched || !isParavirtError(error)) throw error;
          rmSync(deb, { force: true });
          fetched = true;
        }
      }
    }
    const made = join(work, "guest");
    mkdirSync(made);
    writeGuest(made, files, packages, options);
    rmSync(folder, { recursive: true, force: true });
    publishFolder(made, folder);
    point(cache, folder);
  } finally {
    removeWorkFolder(work);
  }
  const guest = load(folder, wanted);
  if (guest === undefined) throw new ParavirtError("UNAVAILABLE", `the cache folder ${folder} can't be read back`);
  return guest;
}

/** Collects what a guest needs of one package into `files`, and answers the package's version. */
function unpackDeb(path: string, files: Map<string, Uint8Array>, options: DebianGuestOptions): string {
  options.onProgress?.({ step: "unpack", what: basename(path), fraction: 0 });
  const deb = readDeb(readFileSync(path));
  const names = new Set(options.modules ?? XEN_MODULES);
  const missing = new Set([...names].map(moduleName));
  const isKernel = deb.control.get("Package") !== BUSYBOX_PACKAGE;
  for (const entry of deb.files()) {
    if (entry.data === undefined) continue;
    if (!isKernel) {
      if (entry.path !== "bin/busybox" && entry.path !== "usr/bin/busybox") continue;
      files.set("busybox", entry.data.slice());
      break;
    }
    if (/^boot\/vmlinuz-/.test(entry.path)) files.set("vmlinuz", entry.data.slice());
    else if (isModulePath(entry.path) && missing.delete(moduleName(entry.path))) {
      files.set(`modules/${basename(entry.path)}`, entry.data.slice());
      // The package's modules come in the order of their paths, so one that a later one needs may have gone by.
      for (const need of moduleDependencies(entry.data)) if (!files.has(`modules/${need}.ko`)) missing.add(need);
    }
    if (files.has("vmlinuz") && missing.size === 0) break;
  }
  options.onProgress?.({ step: "unpack", what: basename(path), fraction: 1 });
  return deb.control.get("Version") ?? "unknown";
}

function writeGuest(
  folder: string,
  files: ReadonlyMap<string, Uint8Array>,
  packages: Manifest["packages"],
  options: DebianGuestOptions,
): void {
  for (const need of ["vmlinuz", "busybox"]) {
    if (!files.has(need))
      throw new ParavirtError("UNAVAILABLE", `${packages.map((p) => p.name).join(", ")}: no ${need}`);
  }
  options.onProgress?.({ step: "kernel", what: "vmlinuz", fraction: 0 });
  const image = readKernelImage(files.get("vmlinuz")!);
  options.onProgress?.({ step: "kernel", what: "vmlinuz", fraction: 1 });
  mkdirSync(join(folder, "modules"));
  const listed: Record<string, ManifestFile> = {};
  const modules: Record<string, { file: string; depends: readonly string[] }> = {};
  // Unpacking takes a second of processor time, reading this back a tenth of it.
  for (const [name, bytes] of [...files, ["vmlinux", image.elf.bytes] as const]) {
    writeFileSync(join(folder, name), bytes);
    listed[name] = describe(bytes);
    if (isModulePath(name)) modules[moduleName(name)] = { file: name, depends: moduleDependencies(bytes) };
  }
  const manifest: Manifest = { layout: LAYOUT, packages, files: listed, modules };
  writeFileSync(join(folder, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** Reads a guest from its folder; `undefined` when anything in it is missing or damaged. */
function load(folder: string, wanted: readonly string[]): DebianGuest | undefined {
  try {
    const manifest = JSON.parse(readFileSync(join(folder, MANIFEST), "utf8")) as Manifest;
    if (manifest.layout !== LAYOUT) return undefined;
    const read = (name: string): Uint8Array => {
      const listed = manifest.files[name];
      const bytes = listed === undefined ? undefined : readVerified(join(folder, name), listed);
      if (bytes === undefined) throw new ParavirtError("UNAVAILABLE", `${name} is damaged`);
      return bytes;
    };
    const order = resolveModules(wanted, (name) => manifest.modules[name]?.depends);
    const modules = order.map((name): InitramfsModule => ({ name, data: read(manifest.modules[name]!.file) }));
    const image = readKernelImage(read("vmlinuz"), { unpacked: read("vmlinux") });
    const initramfs = buildInitramfs({ busybox: read("busybox"), modules });
    return { image, initramfs, packages: manifest.packages, folder };
  } catch {
    // Whatever is wrong with a cached guest, making it again is the answer.
    return undefined;
  }
}

function currentFolder(cache: string): string | undefined {
  try {
    const { folder } = JSON.parse(readFileSync(join(cache, POINTER), "utf8")) as { folder?: unknown };
    return typeof folder === "string" && basename(folder) === folder ? join(cache, folder) : undefined;
  } catch {
    return undefined;
  }
}

function point(cache: string, folder: string): void {
  replaceFile(join(cache, POINTER), `${JSON.stringify({ folder: basename(folder) })}\n`);
}
