import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import {
  buildInitramfs,
  type Deb,
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
import { type AptPrograms, openApt } from "./apt.ts";
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
  /** Other programs than `apt-get` and `apt-cache`. */
  readonly programs?: AptPrograms;
}

/** A package that a guest was made of. */
export interface GuestPackage {
  /** Package name. */
  readonly name: string;
  /** Package version. */
  readonly version: string;
}

/** Debian's own kernel and busybox, ready to boot. */
export interface DebianGuest {
  /** The kernel, read from the package's unmodified `vmlinuz`. */
  readonly image: KernelImage;
  /** busybox, the generated `/init` and the modules; append a `commandArchive` to run a command. */
  readonly initramfs: Uint8Array;
  /** Names and versions of the two packages. */
  readonly packages: readonly GuestPackage[];
  /** The folder with `vmlinuz`, `busybox` and the modules, unchanged from their packages. */
  readonly folder: string;
}

/** The modules that a guest with Xen's disks and networks needs. */
export const XEN_MODULES: readonly string[] = ["xen-blkfront", "xen-netfront"];

/**
 * What a guest needs beside {@link XEN_MODULES}, for {@link DebianGuestOptions.modules}: for shared folders, and for a
 * root file system on a disk (ext4, its checksum, and what systemd mounts by). These are always in the cache.
 */
export const GUEST_MODULES: {
  /** For shared folders. */
  readonly share: readonly string[];
  /** For a root on a disk. */
  readonly root: readonly string[];
} = {
  share: ["9pnet_xen", "9p"],
  // jbd2 asks for crc32c by its algorithm's name, which no module says that it depends on.
  root: ["crc32c_generic", "ext4", "autofs4"],
};

/**
 * Parameters that modules of the kernel are loaded with, by `moduleName`. A request of a disk's driver is 32 pages at most
 * unless it is told otherwise; here a request costs more than in hardware, and a page less.
 */
export const MODULE_PARAMETERS: Readonly<Record<string, string>> = { xen_blkfront: "max_indirect_segments=256" };

const META_PACKAGE = "linux-image-amd64";
const BUSYBOX_PACKAGE = "busybox-static";
/** Changes when the folder's contents would. */
const LAYOUT = 2;
const POINTER = "debian.json";
const MANIFEST = "manifest.json";

interface Manifest {
  readonly layout: number;
  readonly packages: readonly GuestPackage[];
  readonly files: Readonly<Record<string, ManifestFile>>;
  /** Module files by name, and what each says it depends on. */
  readonly modules: Readonly<Record<string, { readonly file: string; readonly depends: readonly string[] }>>;
  /** Wanted modules that are part of the kernel itself. */
  readonly builtIn: readonly string[];
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
    const packages: GuestPackage[] = [];
    const parts: Parts = { files: new Map(), builtIn: new Set() };
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
          packages.push({ name: one.name, version: unpackDeb(deb, parts, options) });
          break;
        } catch (error) {
          // Only damage is a reason to fetch a package again.
          if (fetched || !isParavirtError(error) || error.code !== "BAD_IMAGE") throw error;
          rmSync(deb, { force: true });
          fetched = true;
        }
      }
    }
    const made = join(work, "guest");
    mkdirSync(made);
    writeGuest(made, parts, packages, options);
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

/** What is taken out of the two packages. */
interface Parts {
  /** By name in the guest's folder. */
  readonly files: Map<string, Uint8Array>;
  /** Wanted modules that are part of the kernel itself. */
  readonly builtIn: Set<string>;
}

/** Collects what a guest needs of one package, and answers the package's version. */
function unpackDeb(path: string, parts: Parts, options: DebianGuestOptions): string {
  options.onProgress?.({ step: "unpack", what: basename(path), fraction: 0 });
  const deb = readDeb(readFileSync(path));
  if (deb.control.get("Package") === BUSYBOX_PACKAGE) {
    for (const entry of deb.files()) {
      if (entry.data === undefined || !/^(usr\/)?bin\/busybox$/.test(entry.path)) continue;
      parts.files.set("busybox", entry.data.slice());
      break;
    }
  } else {
    const total = 1024 * Number(deb.control.get("Installed-Size") ?? 0) || 1;
    let told = 0;
    unpackKernel(deb, parts, options.modules ?? XEN_MODULES, (done) => {
      const fraction = Math.min(0.99, done / total);
      if (fraction < told + 0.01) return;
      told = fraction;
      options.onProgress?.({ step: "unpack", what: basename(path), fraction });
    });
  }
  options.onProgress?.({ step: "unpack", what: basename(path), fraction: 1 });
  return deb.control.get("Version") ?? "unknown";
}

function unpackKernel(deb: Deb, parts: Parts, wanted: readonly string[], onBytes: (done: number) => void): void {
  const kept = [...XEN_MODULES, ...GUEST_MODULES.share, ...GUEST_MODULES.root];
  const missing = new Set([...kept, ...wanted].map(moduleName));
  const have = new Set<string>();
  for (;;) {
    const before = have.size;
    let done = 0;
    for (const entry of deb.files()) {
      if (entry.data === undefined) continue;
      done += entry.data.length;
      onBytes(done);
      if (/^boot\/vmlinuz-/.test(entry.path)) parts.files.set("vmlinuz", entry.data.slice());
      else if (isModulePath(entry.path) && missing.delete(moduleName(entry.path))) {
        have.add(moduleName(entry.path));
        parts.files.set(`modules/${basename(entry.path)}`, entry.data.slice());
        for (const need of moduleDependencies(entry.data)) if (!have.has(need)) missing.add(need);
      } else if (/\/modules\.builtin$/.test(entry.path)) {
        for (const line of new TextDecoder().decode(entry.data).split("\n")) {
          if (missing.delete(moduleName(line))) parts.builtIn.add(moduleName(line));
        }
      }
      // The rest of a package of 400 MB stays packed.
      if (parts.files.has("vmlinuz") && missing.size === 0) return;
    }
    // Files come in the order of their paths, so a module may need one that has gone by: then once more.
    if (have.size === before) break;
  }
  const name = deb.control.get("Package") ?? "the kernel's package";
  const needed = missingModules(wanted, parts, missing);
  if (needed.length > 0) throw new ParavirtError("UNAVAILABLE", `kernel module ${needed[0]} isn't in ${name}`);
}

/** Those of `missing` that `wanted` modules are or depend on; what is only kept for later may be missing. */
function missingModules(wanted: readonly string[], { files }: Parts, missing: ReadonlySet<string>): readonly string[] {
  const byName = new Map(
    [...files].filter(([name]) => isModulePath(name)).map(([name, data]) => [moduleName(name), data]),
  );
  const seen = new Set<string>();
  const visit = (name: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    const data = byName.get(name);
    if (data !== undefined) for (const need of moduleDependencies(data)) visit(need);
  };
  for (const name of wanted) visit(moduleName(name));
  return [...missing].filter((name) => seen.has(name));
}

function writeGuest(
  folder: string,
  { files, builtIn }: Parts,
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
  const manifest: Manifest = { layout: LAYOUT, packages, files: listed, modules, builtIn: [...builtIn] };
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
    const order = resolveModules(wanted, (name) => manifest.modules[name]?.depends, new Set(manifest.builtIn));
    const modules = order.map(
      (name): InitramfsModule => ({
        name,
        data: read(manifest.modules[name]!.file),
        ...(name in MODULE_PARAMETERS ? { parameters: MODULE_PARAMETERS[name]! } : {}),
      }),
    );
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
