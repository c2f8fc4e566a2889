import { hostFileArchive } from "@paravirt/host-node";
import type { GuestOptions } from "./guest-options.ts";
import { UsageError } from "./usage-error.ts";

const MIB = 1024 * 1024;
/** What Debian's kernel takes for itself beside a 64th of the memory, its page list, in MiB; measured, rounded up. */
const KERNEL_MIB = 60;

/**
 * Refuses an initramfs that Debian's kernel could unpack only in part. It is in memory packed and unpacked at once, and
 * its file system (tmpfs) holds no more than half of what the packed one leaves: three times its size in all.
 */
export function checkUnpacks(initrd: Uint8Array, { initrdAdd, memory }: GuestOptions): void {
  const needed = Math.ceil(((3 * initrd.length) / MIB + KERNEL_MIB) / (1 - 1 / 64));
  if (initrdAdd.length === 0 || needed <= memory) return;
  const size = Math.ceil(initrd.length / MIB);
  throw new UsageError(`--initrd-add makes an initramfs of ${size} MiB, which needs --memory ${needed}, not ${memory}`);
}

/** What `--initrd-add` puts behind `initrd`: no archive, or one. Libraries that are missing are named on standard error. */
export function addedArchives(initrd: Uint8Array | undefined, { initrdAdd }: GuestOptions): readonly Uint8Array[] {
  if (initrdAdd.length === 0) return [];
  const onMissing = (library: string, needer: string): void => {
    process.stderr.write(`paravirt: ${needer} needs ${library}, which this machine doesn't have\n`);
  };
  return [hostFileArchive(initrdAdd, { onMissing, ...(initrd === undefined ? {} : { initrd }) })];
}
