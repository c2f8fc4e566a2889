import { ParavirtError } from "@paravirt/core";
import { type ArchiveEntry, writeCpio } from "./cpio.ts";
import { isElf } from "./elf.ts";
import { DHCP_SCRIPT, ROOT_FOLDER, SETUP_SCRIPT } from "./guest-setup.ts";
import { INIT_SCRIPT, sessionScript } from "./init-script.ts";
import { moduleName, unpackModule } from "./kernel-modules.ts";
import { utf8Encode } from "./text.ts";

/** What {@link buildInitramfs} packs. */
export interface InitramfsOptions {
  /** A static busybox, byte for byte as it will lie at `/bin/busybox`. */
  readonly busybox: Uint8Array;
  /** Kernel modules in the order in which `/init` loads them; packed ones are unpacked. */
  readonly modules?: readonly InitramfsModule[];
  /** A script or program to be `/init` instead of the generated one. */
  readonly init?: string | Uint8Array;
  /** More files; they come last, so that they win over the generated ones. */
  readonly extra?: readonly ArchiveEntry[];
}

/** A kernel module for the initramfs. */
export interface InitramfsModule {
  /** Its name or path: `xen-blkfront`, `kernel/drivers/block/xen-blkfront.ko.xz`. */
  readonly name: string;
  /** The file's bytes. */
  readonly data: Uint8Array;
  /** Its parameters, as `insmod` takes them: `max_indirect_segments=256`. */
  readonly parameters?: string;
}

const DIRECTORIES = [
  ..."bin sbin usr usr/bin usr/sbin etc dev proc sys run tmp var root mnt lib paravirt paravirt/modules".split(" "),
  ROOT_FOLDER.slice(1),
];

/**
 * Builds an uncompressed initramfs: busybox, the generated `/init` and the modules. Equal input, equal bytes.
 * Append a `commandArchive` to run one command instead of a shell. Throws `BAD_ARGUMENT` when busybox is no ELF file.
 */
export function buildInitramfs(options: InitramfsOptions): Uint8Array {
  if (!isElf(options.busybox)) throw new ParavirtError("BAD_ARGUMENT", "busybox is no ELF file");
  const modules = options.modules ?? [];
  const script = (text: string | Uint8Array): Uint8Array => (typeof text === "string" ? utf8Encode(text) : text);
  const text = (path: string, content: string): ArchiveEntry => ({
    path,
    type: "file",
    mode: 0o644,
    data: utf8Encode(content),
  });
  const fileName = (module: InitramfsModule): string => `${moduleName(module.name)}.ko`;
  const orderLine = (module: InitramfsModule): string =>
    `${fileName(module)}${module.parameters === undefined ? "" : ` ${module.parameters}`}\n`;
  return writeCpio([
    ...DIRECTORIES.map((path): ArchiveEntry => ({ path, type: "directory", mode: path === "tmp" ? 0o1777 : 0o755 })),
    // The kernel opens /dev/console for /init before anything can be mounted.
    { path: "dev/console", type: "character", mode: 0o600, device: [5, 1] },
    { path: "dev/null", type: "character", mode: 0o666, device: [1, 3] },
    { path: "bin/busybox", type: "file", mode: 0o755, data: options.busybox },
    { path: "bin/sh", type: "symlink", mode: 0o777, target: "busybox" },
    text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    text("etc/group", "root:x:0:\n"),
    text("etc/hosts", "127.0.0.1 localhost paravirt\n"),
    { path: "init", type: "file", mode: 0o755, data: script(options.init ?? INIT_SCRIPT) },
    { path: "paravirt/session", type: "file", mode: 0o755, data: utf8Encode(sessionScript()) },
    text("paravirt/setup", SETUP_SCRIPT),
    { path: "paravirt/dhcp", type: "file", mode: 0o755, data: utf8Encode(DHCP_SCRIPT) },
    text("paravirt/modules.order", modules.map(orderLine).join("")),
    ...modules.map(
      (module): ArchiveEntry => ({
        path: `paravirt/modules/${fileName(module)}`,
        type: "file",
        mode: 0o644,
        data: unpackModule(module.data),
      }),
    ),
    ...(options.extra ?? []),
  ]);
}

/** Puts archives one after another, each at a multiple of four bytes, as the kernel wants an initrd of several. */
export function joinArchives(archives: readonly Uint8Array[]): Uint8Array {
  const size = archives.reduce((sum, archive) => sum + Math.ceil(archive.length / 4) * 4, 0);
  const out = new Uint8Array(size);
  let at = 0;
  for (const archive of archives) {
    out.set(archive, at);
    at += Math.ceil(archive.length / 4) * 4;
  }
  return out;
}

/** A shared folder as the generated `/init` mounts it. */
export interface SharedFolder {
  /** What the host calls it. */
  readonly tag: string;
  /** Mounts it read-only. */
  readonly readOnly?: boolean;
}

/** What {@link guestCommandLine} says to the kernel and to the generated `/init`. */
export interface GuestCommandLineOptions {
  /**
   * `shell`: an interactive one on hvc0. `command`: what the appended `commandArchive` says, its streams framed on hvc0.
   * `agent`: the appended `/paravirt/command`, which needs no console.
   */
  readonly mode: "shell" | "command" | "agent";
  /** Whether the command gets standard input through frames; otherwise it reads end of file. */
  readonly stdin?: boolean;
  /** Size of the terminal behind a shell. */
  readonly rows?: number;
  /** Characters in a line; only with {@link GuestCommandLineOptions.rows}. */
  readonly columns?: number;
  /** Value of TERM. */
  readonly term?: string;
  /** Whether kernel messages are shown on the console; never in command mode, where they would mix with frames. */
  readonly messages?: boolean;
  /**
   * Where the root file system is: `auto` takes the first disk that holds ext4 with `/sbin/init`, `/dev/xvda1` names one,
   * `none` (when left out) stays in the initramfs. In shell mode that system's init takes over; a command runs in it.
   */
  readonly root?: string;
  /** Shared folders, mounted at `/mnt/TAG`; a tag is letters, digits, `.`, `_` and `-`. */
  readonly shares?: readonly SharedFolder[];
  /**
   * Networks to configure: `dhcp` for all interfaces, `eth0:dhcp` for one, `eth1:192.168.7.2/24` or
   * `eth1:192.168.7.2/24,192.168.7.1` (with a gateway) without DHCP.
   */
  readonly networks?: readonly string[];
  /** Words to add. */
  readonly append?: string;
}

const TAG = /^[A-Za-z0-9_.-]{1,31}$/;
const ADDRESS = "[0-9]{1,3}(\\.[0-9]{1,3}){3}";
const NETWORK = new RegExp(`^([a-z0-9]{1,15}:)?(dhcp|${ADDRESS}/[0-9]{1,2}(,${ADDRESS})?)$`);

/**
 * The kernel command line that goes with a {@link buildInitramfs} archive. Throws `BAD_ARGUMENT` for a tag, a network or
 * a root that isn't spelled as above.
 */
export function guestCommandLine(options: GuestCommandLineOptions): string {
  const words = ["console=hvc0"];
  if (options.mode === "command" || options.messages !== true) words.push("quiet", "loglevel=0");
  // What they guard against is a processor that guesses where a branch of the guest's leads; here none does, and a retpoline
  // costs several times the branch that it stands for.
  words.push("mitigations=off");
  words.push(`paravirt.mode=${options.mode}`);
  if (options.stdin === true) words.push("paravirt.stdin=1");
  if (options.rows !== undefined && options.columns !== undefined) {
    words.push(`paravirt.rows=${options.rows}`, `paravirt.columns=${options.columns}`);
  }
  if (options.term !== undefined && /^[A-Za-z0-9._+-]+$/.test(options.term))
    words.push(`paravirt.term=${options.term}`);
  if (options.root !== undefined && options.root !== "none") {
    check("root", options.root, /^(auto|\/dev\/[a-z0-9]{1,31})$/);
    words.push(`paravirt.root=${options.root}`);
  }
  for (const { tag, readOnly } of options.shares ?? []) {
    check("tag of a shared folder", tag, TAG);
    // "." and ".." would be other folders than their own.
    check("tag of a shared folder", tag, /[^.]/);
    words.push(`paravirt.share=${tag}${readOnly === true ? ",ro" : ""}`);
  }
  for (const network of options.networks ?? []) {
    check("network", network, NETWORK);
    words.push(`paravirt.net=${network}`);
  }
  if (options.append !== undefined && options.append !== "") words.push(options.append);
  return words.join(" ");
}

function check(what: string, text: string, shape: RegExp): void {
  if (!shape.test(text)) throw new ParavirtError("BAD_ARGUMENT", `"${text}" is no ${what}`);
}
