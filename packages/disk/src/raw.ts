import { type Disk, ParavirtError } from "@paravirt/core";
import { type Answer, run, type Steps, settled } from "./answer.ts";
import { type BlockFile, totalBytes } from "./block-file.ts";
import { memoryFile } from "./memory-file.ts";
import { checkRange, checkWritable, createResizeListeners, SECTOR } from "./range.ts";

/** How {@link rawDisk} presents a file. */
export interface RawDiskOptions {
  /** Refuses writes, whatever the file allows. */
  readonly readOnly?: boolean;
  /** Smallest piece that can be written, as a guest is told (512). */
  readonly sectorSize?: 512 | 4096;
}

/** A disk that can change its size while somebody uses it. */
export interface ResizableDisk extends Disk {
  /** Makes the disk `sectors` sectors long; what is new reads as zeros. */
  resize(sectors: number): Answer<void>;
}

const ZEROS = new Uint8Array(1 << 20);

/** The disk whose sectors are the bytes of `file`, one after the other. Zeros fill the last sector when it is cut off. */
export function rawDisk(file: BlockFile, options: RawDiskOptions = {}): ResizableDisk {
  const sectorSize = options.sectorSize ?? 512;
  const readOnly = options.readOnly === true || file.readOnly;
  const resized = createResizeListeners();
  let sectors = Math.ceil(file.size / sectorSize) * (sectorSize / SECTOR);

  function* clear(offset: number, length: number): Steps<void> {
    if (file.punch !== undefined) {
      yield* settled(file.punch(offset, length));
      return;
    }
    for (let at = 0; at < length; at += ZEROS.length)
      yield* settled(file.write(offset + at, [ZEROS.subarray(0, Math.min(ZEROS.length, length - at))]));
  }

  const disk: ResizableDisk = {
    get sectors() {
      return sectors;
    },
    sectorSize,
    readOnly,
    read(sector, into) {
      checkRange(disk, sector, totalBytes(into));
      return file.read(sector * SECTOR, into);
    },
    write(sector, from) {
      checkWritable(disk);
      checkRange(disk, sector, totalBytes(from));
      return file.write(sector * SECTOR, from);
    },
    flush: () => file.flush(),
    writeZeroes(sector, count) {
      checkWritable(disk);
      checkRange(disk, sector, count * SECTOR);
      return run(clear(sector * SECTOR, count * SECTOR));
    },
    // Without a way to give space back, a discard has no use: the sectors stay as they are.
    discard(sector, count) {
      checkWritable(disk);
      checkRange(disk, sector, count * SECTOR);
      return file.punch?.(sector * SECTOR, count * SECTOR);
    },
    onResize: resized.listen,
    resize(count) {
      checkWritable(disk);
      checkSize(count, sectorSize);
      const done = (): void => {
        sectors = count;
        resized.tell();
      };
      const answer = file.truncate(count * SECTOR);
      return answer instanceof Promise ? answer.then(done) : done();
    },
    close() {
      const flushed = readOnly ? undefined : file.flush();
      return flushed instanceof Promise ? flushed.then(() => file.close()) : file.close();
    },
  };
  return disk;
}

/** How large {@link memoryDisk} is. */
export interface MemoryDiskOptions extends RawDiskOptions {
  /** Sectors of 512 bytes. */
  readonly sectors: number;
  /** What it holds at first, from sector 0 on; zeros follow. */
  readonly content?: Uint8Array;
}

/** A disk in memory, empty or with `content`; only what was written takes memory. */
export function memoryDisk(options: MemoryDiskOptions): ResizableDisk {
  checkSize(options.sectors, options.sectorSize ?? 512);
  const bytes = options.sectors * SECTOR;
  const content = options.content;
  if (content !== undefined && content.length > bytes)
    throw new ParavirtError("OUT_OF_RANGE", `${content.length} bytes don't fit on a disk of ${bytes}`);
  const file = memoryFile(content);
  void file.truncate(bytes);
  return rawDisk(file, options);
}

function checkSize(sectors: number, sectorSize: number): void {
  if (!Number.isSafeInteger(sectors * SECTOR) || sectors < 0 || (sectors * SECTOR) % sectorSize !== 0)
    throw new ParavirtError("BAD_ARGUMENT", `${sectors} sectors of 512 aren't whole sectors of ${sectorSize}`);
}
