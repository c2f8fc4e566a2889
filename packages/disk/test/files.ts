import { deflateRawSync, inflateRawSync } from "node:zlib";
import { type BlockFile, type Codecs, memoryFile } from "../src/index.ts";

/** `file`, answering late as a file on a network does, and in another order than it was asked. */
export function slowFile(file: BlockFile): BlockFile {
  let turn = 0;
  const late = async <T>(work: () => T | Promise<T>): Promise<T> => {
    for (let n = turn++ % 3; n >= 0; n--) await new Promise((resolve) => setImmediate(resolve));
    return work();
  };
  return {
    get size() {
      return file.size;
    },
    readOnly: file.readOnly,
    read: (offset, into) => late(() => file.read(offset, into)),
    write: (offset, from) => late(() => file.write(offset, from)),
    flush: () => late(() => file.flush()),
    truncate: (size) => late(() => file.truncate(size)),
    ...(file.punch === undefined ? {} : { punch: (offset, length) => late(() => file.punch!(offset, length)) }),
    close: () => late(() => file.close()),
  };
}

/** `file`, which survives being closed: a disk on it can be opened again. */
export function lastingFile(file: BlockFile): BlockFile {
  return {
    get size() {
      return file.size;
    },
    readOnly: file.readOnly,
    read: (offset, into) => file.read(offset, into),
    write: (offset, from) => file.write(offset, from),
    flush: () => file.flush(),
    truncate: (size) => file.truncate(size),
    ...(file.punch === undefined ? {} : { punch: (offset, length) => file.punch!(offset, length) }),
    close() {},
  };
}

/** `file` without a way to give space back. */
export function withoutPunch(file: BlockFile): BlockFile {
  const { punch: _, ...rest } = lastingFile(file);
  return Object.defineProperty(rest, "size", { get: () => file.size }) as BlockFile;
}

/** Node's zlib. */
export const codecs: Codecs = {
  inflateRaw: (data, size) => inflateRawSync(data, { maxOutputLength: size }),
  deflateRaw: (data) => deflateRawSync(data, { windowBits: 12 }),
};

interface Written {
  readonly offset: number;
  /** Missing: a hole, or the file's new end. */
  readonly bytes?: Uint8Array;
  readonly length: number;
  readonly truncate?: true;
}

/** A file that remembers every write and barrier, so that a test can stop the machine at any of them. */
export interface RecordedFile extends BlockFile {
  /** Writes and, as `undefined`, barriers, in order. */
  readonly log: readonly (Written | undefined)[];
  /** The file as it is when the process stops after `count` entries of the log. */
  after(count: number): BlockFile;
  /**
   * The file as it may be when the machine loses power after `count` entries: of those behind the last barrier, only some
   * have reached the medium, as `reached` says, each as a whole.
   */
  afterPowerLoss(count: number, reached: (index: number) => boolean): BlockFile;
}

/** Records what happens to `file`, which must be empty. */
export function recordedFile(file: BlockFile): RecordedFile {
  const log: (Written | undefined)[] = [];
  const apply = (target: BlockFile, entry: Written | undefined): void => {
    if (entry === undefined) return;
    if (entry.truncate === true) void target.truncate(entry.length);
    else if (entry.bytes === undefined) void target.punch!(entry.offset, entry.length);
    else void target.write(entry.offset, [entry.bytes]);
  };
  const replay = (count: number, counts: (index: number) => boolean): BlockFile => {
    const copy = lastingFile(memoryFile());
    for (let index = 0; index < count; index++) if (counts(index)) apply(copy, log[index]);
    return copy;
  };
  const kept = lastingFile(file);
  return {
    get size() {
      return file.size;
    },
    readOnly: false,
    log,
    read: kept.read,
    write(offset, from) {
      const bytes = Uint8Array.from(Buffer.concat(from));
      log.push({ offset, bytes, length: bytes.length });
      return file.write(offset, from);
    },
    flush() {
      log.push(undefined);
    },
    truncate(length) {
      log.push({ offset: 0, length, truncate: true });
      return file.truncate(length);
    },
    punch(offset, length) {
      log.push({ offset, length });
      return file.punch!(offset, length);
    },
    close() {},
    after: (count) => replay(count, () => true),
    afterPowerLoss(count, reached) {
      const barrier = log.lastIndexOf(undefined, count - 1);
      return replay(count, (index) => index <= barrier || reached(index));
    },
  };
}
