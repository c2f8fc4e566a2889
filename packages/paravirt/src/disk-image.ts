import { existsSync, rmSync, statSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { ParavirtError } from "@paravirt/core";
import {
  type BlockFile,
  type CreateQcow2Options,
  checkQcow2,
  copyDisk,
  copyDiskCompressed,
  createQcow2,
  isQcow2,
  openQcow2,
  type Qcow2Report,
  type Qcow2Snapshot,
  type ResizableDisk,
  rawDisk,
  readQcow2Info,
} from "@paravirt/disk";
import { diskCodecs, openDiskFile } from "@paravirt/host-node";
import { type DiskFormat, openDisk } from "./devices/open-disk.ts";

/** A format that images can be made in. */
export type ImageFormat = DiskFormat;

/** How a qcow2 image is laid out. */
export type ImageShape = Pick<CreateQcow2Options, "clusterSize" | "refcountBits" | "version">;

/** What {@link createImage} makes. */
export interface CreateImageOptions extends ImageShape {
  readonly format: ImageFormat;
  /** Bytes of the disk; the backing file's when left out. */
  readonly size?: number;
  readonly backing?: { readonly file: string; readonly format: ImageFormat };
}

/** Makes an empty image at `path`, in place of what was there, unless that is in use. */
export async function createImage(path: string, options: CreateImageOptions): Promise<void> {
  const size = options.size ?? (await backingSize(path, options.backing!));
  await writeNew(path, async (file) => {
    try {
      if (options.format === "raw") await file.truncate(size);
      else await createQcow2(file, { ...options, size });
    } finally {
      await file.close();
    }
  });
}

async function backingSize(
  path: string,
  backing: { readonly file: string; readonly format: ImageFormat },
): Promise<number> {
  const source = isAbsolute(backing.file) ? backing.file : join(dirname(path), backing.file);
  const { disk, close } = await openDisk({ source, format: backing.format, readOnly: true });
  await close();
  return disk.sectors * 512;
}

/** What {@link convertImage} makes of which source. */
export interface ConvertImageOptions extends ImageShape {
  readonly format: ImageFormat;
  readonly sourceFormat?: ImageFormat;
  readonly compress: boolean;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Copies the disk at `source` to a new image at `target`. What is there is replaced, unless it is in use. */
export async function convertImage(source: string, target: string, options: ConvertImageOptions): Promise<void> {
  const { sourceFormat, onProgress } = options;
  const from = await openDisk({
    source,
    readOnly: true,
    ...(sourceFormat === undefined ? {} : { format: sourceFormat }),
  });
  const size = from.disk.sectors * 512;
  const progress = onProgress === undefined ? {} : { onProgress };
  try {
    await writeNew(target, async (file) => {
      if (options.format === "raw") {
        await file.truncate(size);
        const disk = rawDisk(file);
        await copyDisk(from.disk, disk, progress);
        await disk.close?.();
        return;
      }
      await createQcow2(file, { ...options, size });
      const disk = await openQcow2(file, { codecs: diskCodecs });
      if (options.compress) await copyDiskCompressed(from.disk, disk, diskCodecs, progress);
      else await copyDisk(from.disk, disk, progress);
      await disk.close?.();
    });
  } finally {
    await from.close();
  }
}

/** Has `fill` write a file; a file that wasn't there before goes again when that fails. */
async function writeNew(path: string, fill: (file: BlockFile) => Promise<void>): Promise<void> {
  const isNew = !existsSync(path);
  const file = openDiskFile(path, { create: "empty" });
  try {
    await fill(file);
  } catch (error) {
    await file.close();
    if (isNew) rmSync(path, { force: true });
    throw error;
  }
}

/** What {@link imageInfo} tells. */
export interface ImageInfo {
  readonly file: string;
  readonly format: ImageFormat;
  /** Bytes of the disk. */
  readonly virtualSize: number;
  /** Bytes that the file takes on the host's disk; a raw image may have holes. */
  readonly actualSize: number;
  readonly version?: 2 | 3;
  readonly clusterSize?: number;
  readonly refcountBits?: number;
  readonly lazyRefcounts?: boolean;
  readonly compression?: "zlib" | "zstd";
  readonly backingFile?: string;
  readonly backingFormat?: string;
  readonly snapshots?: readonly Pick<Qcow2Snapshot, "id" | "name" | "taken">[];
  readonly dirty?: boolean;
  readonly corrupt?: boolean;
}

/** Tells what the file at `path` is, by its first bytes: nothing is believed of a raw disk but its size. */
export async function imageInfo(path: string): Promise<ImageInfo> {
  const file = openDiskFile(path, { readOnly: true });
  try {
    const actualSize = (statSync(path).blocks ?? 0) * 512;
    const start = new Uint8Array(4);
    await file.read(0, [start]);
    if (!isQcow2(start)) return { file: path, format: "raw", virtualSize: file.size, actualSize };
    const { size, snapshots, backingFile, backingFormat, ...rest } = await readQcow2Info(file);
    return {
      file: path,
      format: "qcow2",
      virtualSize: size,
      actualSize,
      ...rest,
      ...(backingFile === undefined ? {} : { backingFile }),
      ...(backingFormat === undefined ? {} : { backingFormat }),
      snapshots: snapshots.map(({ id, name, taken }) => ({ id, name, taken })),
    };
  } finally {
    await file.close();
  }
}

/** Checks the qcow2 image at `path`; after a repair, `after` is what a second check found. */
export async function checkImage(
  path: string,
  repair: "leaks" | "all" | undefined,
): Promise<Qcow2Report & { readonly after?: Qcow2Report }> {
  const file = openDiskFile(path, { readOnly: repair === undefined });
  try {
    const start = new Uint8Array(4);
    await file.read(0, [start]);
    if (!isQcow2(start))
      throw new ParavirtError("UNSUPPORTED", `checking ${path}: only qcow2 images have something to check`);
    const report = await checkQcow2(file, repair === undefined ? {} : { repair });
    return report.repaired ? { ...report, after: await checkQcow2(file) } : report;
  } finally {
    await file.close();
  }
}

/** What {@link resizeImage} does. */
export interface ResizeImageOptions {
  /** Bytes. */
  readonly size: number;
  /** Whether {@link size} is added to what is there. */
  readonly added: boolean;
  /** Whether it may become smaller. */
  readonly shrink: boolean;
  readonly format?: ImageFormat;
}

/** Changes the size of the disk in the image at `path`. */
export async function resizeImage(path: string, options: ResizeImageOptions): Promise<void> {
  const { disk, close } = await openDisk({
    source: path,
    ...(options.format === undefined ? {} : { format: options.format }),
  });
  try {
    const sectors = options.size / 512 + (options.added ? disk.sectors : 0);
    if (sectors < disk.sectors && !options.shrink)
      throw new ParavirtError(
        "DENIED",
        `${path} has ${disk.sectors * 512} bytes: --shrink makes it smaller, and cuts off what is behind`,
      );
    // A file in either format can be resized; other sources can't.
    if (!("resize" in disk)) throw new ParavirtError("UNSUPPORTED", `resizing ${path}`);
    await (disk as ResizableDisk).resize(sectors);
  } finally {
    await close();
  }
}
