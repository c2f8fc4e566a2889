import { type Disk, ParavirtError } from "@paravirt/core";

/** Bytes of the unit in which every disk counts. */
export const SECTOR = 512;

/** Throws `OUT_OF_RANGE` unless `bytes` bytes from `sector` on lie on `disk`, in whole sectors. */
export function checkRange(disk: Pick<Disk, "sectors" | "sectorSize">, sector: number, bytes: number): void {
  const count = bytes / SECTOR;
  if (!Number.isSafeInteger(sector) || sector < 0 || !Number.isSafeInteger(count) || count < 0)
    throw new ParavirtError("BAD_ARGUMENT", `${bytes} bytes at sector ${sector} aren't whole sectors of 512`);
  if (sector + count > disk.sectors)
    throw new ParavirtError(
      "OUT_OF_RANGE",
      `sectors ${sector} to ${sector + count} reach past the end of a ${disk.sectors}-sector disk`,
    );
  const unit = (disk.sectorSize ?? SECTOR) / SECTOR;
  if (sector % unit !== 0 || count % unit !== 0)
    throw new ParavirtError(
      "BAD_ARGUMENT",
      `${count} sectors at ${sector} aren't whole sectors of ${disk.sectorSize ?? SECTOR} bytes`,
    );
}

/** Throws `DENIED` when `disk` is read-only. */
export function checkWritable(disk: Pick<Disk, "readOnly">): void {
  if (disk.readOnly) throw new ParavirtError("DENIED", "the disk is read-only");
}

/** Listeners for `Disk.onResize`. */
export interface ResizeListeners {
  /** Adds a listener; answers how to remove it. */
  listen(listener: () => void): () => void;
  /** Calls them all. */
  tell(): void;
}

/** Makes an empty list of listeners. */
export function createResizeListeners(): ResizeListeners {
  const listeners = new Set<() => void>();
  return {
    listen(listener) {
      // A wrapper, so that the same function can be registered twice.
      const own = (): void => listener();
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    tell() {
      for (const listener of listeners) listener();
    },
  };
}
