import { type BigIntStats, closeSync, openSync, readFileSync } from "node:fs";
import { ParavirtError } from "@paravirt/core";
import { encodeName, FileError } from "@paravirt/p9";
import { ExactTimes } from "./exact-times.ts";
import type { HostNode } from "./host-folder-node.ts";

/** Linux's O_PATH, which Node.js doesn't name: a file by itself, without opening it for anything. */
export const O_PATH = 0o10000000;

/** What the nodes of one folder share. */
export class HostVolume {
  readonly times: ExactTimes = new ExactTimes();
  /** Nodes that are held, by file: a rename tells them their new name. */
  readonly nodes: Map<bigint, Set<HostNode>> = new Map();
  readonly owners: OwnerMap = createOwnerMap();
  readonly #devices = new Map<bigint, bigint>();
  readonly #limit = openFileLimit();
  #open = 0;

  /** Opens a path that is known to be inside; counted, so that a guest can't take all files that this process may have. */
  open(path: string | Buffer, flags: number, mode?: number): number {
    this.count();
    try {
      return openSync(path, flags, mode);
    } catch (error) {
      this.uncount();
      throw error;
    }
  }

  close(fd: number): void {
    this.uncount();
    closeSync(fd);
  }

  /** Counts a descriptor that is opened elsewhere. */
  count(): void {
    if (this.#open >= this.#limit) throw new FileError("ENFILE", `more than ${this.#limit} open files`);
    this.#open++;
  }

  uncount(): void {
    this.#open--;
  }

  /** A file's number: its inode's, with another part in front for each further file system that is mounted below. */
  numberOf({ dev, ino }: BigIntStats): bigint {
    let index = this.#devices.get(dev);
    if (index === undefined) {
      index = BigInt(this.#devices.size);
      this.#devices.set(dev, index);
    }
    return BigInt.asUintN(64, ino ^ (index << 48n));
  }
}

/** The path of an open file, whatever its names are. */
export function fdPath(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

/**
 * The path of a name in an open folder: what `openat` and its kind take as two arguments. The kernel goes from the folder
 * itself, so it doesn't matter where that has been moved.
 */
export function childPath(folder: number, name: string): string | Buffer {
  if (name === "" || name === "." || name === ".." || name.includes("/") || name.includes("\0"))
    throw new ParavirtError("BUG", `${JSON.stringify(name)} was taken for a name`);
  const path = `/proc/self/fd/${folder}/${name}`;
  // Names that aren't UTF-8 have lone surrogates, which Node.js wouldn't turn back into their bytes.
  return /[\udc80-\udcff]/.test(name) ? Buffer.from(encodeName(path)) : path;
}

/** How owners on this machine and in the guest correspond. */
export interface OwnerMap {
  /** Whether owners are kept as they are. */
  readonly keeps: boolean;
  /** What the guest sees. */
  uid(host: number): number;
  gid(host: number): number;
}

const NOBODY = 65534;

function createOwnerMap(): OwnerMap {
  const ownUid = process.geteuid?.() ?? 0;
  const ownGid = process.getegid?.() ?? 0;
  if (ownUid === 0) return { keeps: true, uid: (id) => id, gid: (id) => id };
  return {
    keeps: false,
    uid: (id) => (id === ownUid ? 0 : NOBODY),
    gid: (id) => (id === ownGid ? 0 : NOBODY),
  };
}

/** Files that guests may have open: half of what this process may. */
function openFileLimit(): number {
  const line = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  const limit = Number(line);
  return Number.isInteger(limit) && limit > 0 ? Math.max(16, Math.floor(limit / 2)) : 65_536;
}
