import { type Disk, ParavirtError } from "@paravirt/core";
import { type Answer, run, type Steps, settled } from "../answer.ts";
import { type BlockFile, totalBytes } from "../block-file.ts";
import { checkRange, checkWritable, createResizeListeners, SECTOR } from "../range.ts";
import type { ResizableDisk } from "../raw.ts";
import { checkImage } from "./check.ts";
import type { Codecs } from "./codecs.ts";
import { bad, decodeHeader, HEADER, INCOMPATIBLE, LAZY_REFCOUNTS, type Qcow2Header } from "./header.ts";
import { Qcow2Image } from "./image.ts";
import { type Qcow2Snapshot, readSnapshots } from "./snapshots.ts";

/** How {@link openQcow2} opens an image. */
export interface OpenQcow2Options {
  /** Refuses writes, whatever the file allows. */
  readonly readOnly?: boolean;
  /** Unpacks compressed clusters; without, an image that has some fails where one is read. */
  readonly codecs?: Codecs;
  /**
   * Opens what shows where this image has nothing. It is closed with the image. `file` is what the image says: check it
   * when images come from strangers. Missing: an image with a backing file is refused.
   */
  readonly openBacking?: (file: string, format: string | undefined) => Promise<Disk>;
}

/** A run of sectors that are alike. */
export interface Qcow2Extent {
  /** Whether the image has data for them, has them as zeros, or has nothing. */
  readonly kind: "data" | "zero" | "absent";
  /** How many they are. */
  readonly count: number;
}

/** What an image's header says. */
export interface Qcow2Info {
  /** Version of the format. */
  readonly version: 2 | 3;
  /** Bytes of a cluster. */
  readonly clusterSize: number;
  /** Bits of a reference count. */
  readonly refcountBits: number;
  /** Whether programs may leave refcounts to be computed after a crash. */
  readonly lazyRefcounts: boolean;
  /** How compressed clusters are. */
  readonly compression: "zlib" | "zstd";
  /** What shows where the image has nothing, as the image says. */
  readonly backingFile: string | undefined;
  /** Its format, if the image says it. */
  readonly backingFormat: string | undefined;
  /** Its internal snapshots. */
  readonly snapshots: readonly Qcow2Snapshot[];
  /** Whether whoever wrote it last left refcounts to be computed; they are, when it is opened for writing. */
  readonly dirty: boolean;
  /** Whether somebody found it damaged. */
  readonly corrupt: boolean;
}

/** What {@link readQcow2Info} tells. */
export interface Qcow2FileInfo extends Qcow2Info {
  /** Bytes of the disk. */
  readonly size: number;
}

/** A disk in a qcow2 image. */
export interface Qcow2Disk extends ResizableDisk {
  /** What its header says. */
  readonly info: Qcow2Info;
  /** Puts a whole cluster, packed as {@link Qcow2Info.compression} says, where nothing was written before. */
  writeCompressed(sector: number, packed: Uint8Array): Answer<void>;
  /**
   * What is at `sector`, and how many sectors after it are alike, at least to the end of a cluster: data of this image, zeros,
   * or nothing, so that the backing file shows, or zeros without one.
   */
  status(sector: number): Answer<Qcow2Extent>;
}

/** Reads what `file` says about itself, without its backing file. */
export async function readQcow2Info(file: BlockFile): Promise<Qcow2FileInfo> {
  return run(
    (function* (): Steps<Qcow2FileInfo> {
      const header = yield* readHeader(file);
      const { snapshots } = yield* readSnapshots(file, header);
      return { ...infoOf(header, snapshots), size: header.size };
    })(),
  );
}

/**
 * Opens the qcow2 image in `file`, version 2 or 3. Throws `UNSUPPORTED` naming a feature this package doesn't have,
 * `BAD_IMAGE` for a damaged one. An image marked dirty gets its refcounts computed before it is written.
 */
export async function openQcow2(file: BlockFile, options: OpenQcow2Options = {}): Promise<Qcow2Disk> {
  const readOnly = options.readOnly === true || file.readOnly;
  let header = await run(readHeader(file));
  if (!readOnly) {
    await run(makeWritable(file, header));
    header = await run(readHeader(file));
  }
  const { snapshots } = await run(readSnapshots(file, header));
  const l1 = new Uint8Array(header.l1Entries * 8);
  const refcountTable = new Uint8Array(header.refcountTableClusters * 2 ** header.clusterBits);
  await file.read(header.l1Offset, [l1]);
  await file.read(header.refcountTableOffset, [refcountTable]);
  const backing = await openBacking(header, options);
  const image = new Qcow2Image({ file, header, l1, refcountTable, backing, codecs: options.codecs });
  return createDisk(image, file, backing, infoOf(header, snapshots), readOnly);
}

function* readHeader(file: BlockFile): Steps<Qcow2Header> {
  const bytes = new Uint8Array(65536);
  yield* settled(file.read(0, [bytes]));
  return decodeHeader(bytes.subarray(0, Math.min(bytes.length, file.size)));
}

/** Brings an image to where it may be written: what was left undone is done, what we don't keep up is refused. */
function* makeWritable(file: BlockFile, header: Qcow2Header): Steps<void> {
  if ((header.incompatible & INCOMPATIBLE.corrupt) !== 0n)
    throw bad("it is marked as damaged; repair it before writing");
  if (header.bitmaps !== undefined && header.bitmaps.count > 0)
    throw new ParavirtError(
      "UNSUPPORTED",
      "writing a qcow2 image that has persistent bitmaps: they would become wrong",
    );
  if ((header.incompatible & INCOMPATIBLE.dirty) !== 0n) {
    const report = yield* checkImage(file, "all");
    if (!report.repaired) throw bad(`it was left in use and can't be repaired: ${report.problems[0] ?? ""}`);
  }
  if (header.autoclear !== 0n) {
    // Whoever doesn't know a feature of this kind clears its bit (qcow2.txt).
    yield* settled(file.write(HEADER.autoclear, [new Uint8Array(8)]));
    yield* settled(file.flush());
  }
}

async function openBacking(header: Qcow2Header, options: OpenQcow2Options): Promise<Disk | undefined> {
  if (header.backingFile === undefined) return undefined;
  if (options.openBacking === undefined)
    throw new ParavirtError("UNSUPPORTED", `a backing file (${header.backingFile}), since nothing opens it here`);
  return options.openBacking(header.backingFile, header.backingFormat);
}

function infoOf(header: Qcow2Header, snapshots: readonly Qcow2Snapshot[]): Qcow2Info {
  return {
    version: header.version,
    clusterSize: 2 ** header.clusterBits,
    refcountBits: 2 ** header.refcountOrder,
    lazyRefcounts: (header.compatible & LAZY_REFCOUNTS) !== 0n,
    compression: header.compression,
    backingFile: header.backingFile,
    backingFormat: header.backingFormat,
    snapshots,
    dirty: (header.incompatible & INCOMPATIBLE.dirty) !== 0n,
    corrupt: (header.incompatible & INCOMPATIBLE.corrupt) !== 0n,
  };
}

function createDisk(
  image: Qcow2Image,
  file: BlockFile,
  backing: Disk | undefined,
  info: Qcow2Info,
  readOnly: boolean,
): Qcow2Disk {
  const resized = createResizeListeners();
  const perCluster = info.clusterSize / SECTOR;
  const disk: Qcow2Disk = {
    // A size that isn't a multiple of 512 (nobody makes these any more) loses its last bytes.
    get sectors() {
      return Math.floor(image.size / SECTOR);
    },
    readOnly,
    info,
    read(sector, into) {
      checkRange(disk, sector, totalBytes(into));
      return image.read(sector * SECTOR, into);
    },
    write(sector, from) {
      checkWritable(disk);
      checkRange(disk, sector, totalBytes(from));
      return image.write(sector * SECTOR, from);
    },
    flush: () => (readOnly ? undefined : image.flush()),
    discard(sector, count) {
      checkWritable(disk);
      checkRange(disk, sector, count * SECTOR);
      return image.discard(sector * SECTOR, count * SECTOR);
    },
    writeZeroes(sector, count) {
      checkWritable(disk);
      checkRange(disk, sector, count * SECTOR);
      return image.writeZeroes(sector * SECTOR, count * SECTOR);
    },
    writeCompressed(sector, packed) {
      checkWritable(disk);
      const whole = Math.min(perCluster, disk.sectors - sector);
      checkRange(disk, sector, whole * SECTOR);
      if (sector % perCluster !== 0) throw new ParavirtError("BAD_ARGUMENT", `sector ${sector} begins no cluster`);
      return image.writeCompressed(sector / perCluster, packed);
    },
    status(sector) {
      checkRange(disk, sector, SECTOR);
      const cluster = Math.floor(sector / perCluster);
      const clusters = Math.ceil(disk.sectors / perCluster) - cluster;
      const tell = (found: { readonly kind: string; readonly count: number }) => ({
        kind: found.kind === "compressed" ? "data" : (found.kind as "data" | "zero" | "absent"),
        count: Math.min(disk.sectors, (cluster + found.count) * perCluster) - sector,
      });
      const answer = image.status(cluster, clusters);
      return answer instanceof Promise ? answer.then(tell) : tell(answer);
    },
    onResize: resized.listen,
    resize(sectors) {
      checkWritable(disk);
      if (!Number.isSafeInteger(sectors * SECTOR) || sectors < 0)
        throw new ParavirtError("BAD_ARGUMENT", `${sectors} sectors aren't the size of a disk`);
      const answer = image.resize(sectors * SECTOR);
      return answer instanceof Promise ? answer.then(resized.tell) : resized.tell();
    },
    async close() {
      try {
        if (!readOnly) {
          await image.flush();
          // What a busy reader put off.
          await image.flush();
        }
      } finally {
        await file.close();
        await backing?.close?.();
      }
    },
  };
  return disk;
}
