import { closeSync, constants, fstatSync, openSync, statfsSync } from "node:fs";
import { ParavirtError } from "@paravirt/core";
import type { FileSystem, FileSystemStatistics } from "@paravirt/p9";
import { HostNode } from "./host-folder-node.ts";
import { fdPath, HostVolume, O_PATH } from "./host-volume.ts";

/** A folder of this machine as a file system for guests. */
export interface HostFolder extends FileSystem {
  /** Gives up what it holds; its servers must be done with it. */
  close(): void;
}

/**
 * Opens a folder of this machine for guests. Nothing outside of it can be reached: every step is taken from an open folder
 * with `O_NOFOLLOW`, links are handed to the guest as links, and `..` is never asked of the host. FIFOs, sockets and devices
 * that lie in it are shown and can't be opened; files that belong to others are subject to this process's own rights.
 *
 * As root, owners are what they are on both sides. Otherwise what belongs to this process's user belongs to root in the
 * guest, and everything else to 65534 (nobody), which can't be changed.
 *
 * Throws `UNAVAILABLE` when it isn't there or isn't a folder, and `UNSUPPORTED` on anything but Linux.
 */
export function openHostFolder(path: string): HostFolder {
  if (process.platform !== "linux")
    throw new ParavirtError("UNSUPPORTED", "folders can be shared on Linux only, where /proc/self/fd makes it safe");
  const volume = new HostVolume();
  let fd: number;
  try {
    fd = openSync(path, O_PATH | constants.O_DIRECTORY);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ParavirtError("UNAVAILABLE", `${path} can't be shared: ${reason}`, { cause: error });
  }
  return {
    // Each attachment gets a number of its own for the same folder.
    root: () => {
      const held = volume.open(fdPath(fd), O_PATH);
      return new HostNode(volume, held, fstatSync(held, { bigint: true }));
    },
    statistics: (node) => statistics(node as HostNode),
    close() {
      volume.times.close();
      closeSync(fd);
    },
  };
}

function statistics(node: HostNode): FileSystemStatistics {
  const { bsize, blocks, bfree, bavail, files, ffree } = statfsSync(fdPath(node.fd));
  return {
    blockSize: bsize,
    blocks,
    freeBlocks: bfree,
    availableBlocks: bavail,
    files,
    freeFiles: ffree,
    nameLength: 255,
  };
}
