import { randomBytes } from "node:crypto";
import {
  close,
  closeSync,
  constants,
  fdatasync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  realpathSync,
  rename,
  renameSync,
  rmSync,
  write,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { ParavirtError } from "@paravirt/core";
import { reason } from "./cache.ts";
import { lockFile } from "./file-lock.ts";
import { type DecodedLog, decodeLog, encodeFrame, encodeLogHeader, LOG_HEADER_SIZE } from "./record-log-format.ts";

/** How {@link openRecordLog} opens a log. */
export interface RecordLogOptions {
  /** Told once when the file can't be written any more; nothing is durable from then on. */
  readonly onError: (error: ParavirtError) => void;
  /** Size in bytes from which on the log is compacted, once it is also four times what compaction left last time; 4 MiB unless given. */
  readonly compactFrom?: number;
}

/**
 * A file of records that are appended and survive the end of this process, however it comes, from the moment when they
 * are called durable. Records that are appended while others are on their way share one write.
 */
export interface RecordLog {
  /** Bytes at the end of the file that belonged to a write that never ended, and were cut off. */
  readonly unfinished: number;
  /** Answers the records that were in the file, in order, the first time. */
  takeRecords(): Uint8Array[];
  /** Appends a record, which becomes durable as a whole or not at all. The log keeps the array: leave it as it is. */
  append(record: Uint8Array): void;
  /** Names the function to call with how many records, counted from the first {@link RecordLog.append} on, are durable. */
  onDurable(listener: (records: number) => void): void;
  /**
   * Lets the log be compacted: `snapshot` answers records that stand for all appended so far. They are taken bit by bit
   * while appending goes on.
   */
  compactWith(snapshot: () => Iterable<Uint8Array>): void;
  /** Resolves when everything is durable and the file closed. */
  close(): Promise<void>;
}

const writeLater = promisify(write);
const syncLater = promisify(fdatasync);
const closeLater = promisify(close);
const renameLater = promisify(rename);
/** Bytes of records in one frame, or thereabouts. */
const FRAME_SIZE = 1 << 20;
const COMPACT_FROM = 4 << 20;
const COMPACT_RATIO = 4;
/** Opened so, a write returns when its bytes are on the disk: half the processor time of a write and an `fdatasync`. */
const SYNCED = constants.O_DSYNC ?? 0;

/**
 * Opens or makes the log at `path`, for its owner only, and locks it (`PATH.lock`) against other processes. Throws `BUSY`
 * when another has it, `UNAVAILABLE` when it can't be opened, `BAD_IMAGE` when it is something else or was damaged
 * before its end.
 */
export function openRecordLog(path: string, options: RecordLogOptions): RecordLog {
  const target = existingTarget(path);
  let lock: number | undefined;
  let file: number | undefined;
  try {
    lock = openSync(`${target}.lock`, "a+", 0o600);
    lockFile(`${target}.lock`, lock, false);
    rmSync(newName(target), { force: true });
    const { decoded, size } = readLog(target);
    file = openSync(target, constants.O_RDWR | SYNCED);
    if (decoded.end < size) {
      ftruncateSync(file, decoded.end);
      fsyncSync(file);
    }
    return new Log({ ...decoded, path: target, file, lock, unfinished: size - decoded.end }, options);
  } catch (error) {
    if (file !== undefined) closeSync(file);
    if (lock !== undefined) closeSync(lock);
    if (error instanceof ParavirtError) throw error;
    throw new ParavirtError("UNAVAILABLE", `${path} can't be opened: ${reason(error)}`, { cause: error });
  }
}

/** Compaction replaces the file: what a symbolic link names, not the link. */
function existingTarget(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function newName(path: string): string {
  return `${path}.new`;
}

function readLog(path: string): { readonly decoded: DecodedLog; readonly size: number } {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    bytes = new Uint8Array(0);
  }
  if (bytes.length === 0) {
    // Made under another name, so that there never is a file with half a header.
    const { file } = createNew(path);
    fsyncSync(file);
    closeSync(file);
    renameSync(newName(path), path);
    syncFolder(path);
    bytes = readFileSync(path);
  }
  return { decoded: decodeLog(bytes, path), size: bytes.length };
}

/** Makes an empty log that is to become the one at `path`. */
function createNew(path: string): { readonly file: number; readonly salt: number } {
  const file = openSync(newName(path), "w", 0o600);
  const salt = randomBytes(4).readUInt32LE();
  writeSync(file, encodeLogHeader(salt));
  return { file, salt };
}

/** Makes a new name in `path`'s folder durable. */
function syncFolder(path: string): void {
  const folder = openSync(dirname(path), "r");
  fsyncSync(folder);
  closeSync(folder);
}

interface OpenLog extends DecodedLog {
  readonly path: string;
  readonly file: number;
  readonly lock: number;
  readonly unfinished: number;
}

/** A file of frames that is written at its end. */
class FrameFile {
  readonly descriptor: number;
  end: number;
  readonly #salt: number;
  #sequence: number;

  constructor(descriptor: number, { salt, end, sequence }: { salt: number; end: number; sequence: number }) {
    this.descriptor = descriptor;
    this.end = end;
    this.#salt = salt;
    this.#sequence = sequence;
  }

  /** The same file by another descriptor. */
  reopened(descriptor: number): FrameFile {
    return new FrameFile(descriptor, { salt: this.#salt, end: this.end, sequence: this.#sequence });
  }

  async write(records: readonly Uint8Array[]): Promise<void> {
    const frame = encodeFrame(this.#salt, this.#sequence + 1, records);
    for (let at = 0; at < frame.length; ) {
      const { bytesWritten } = await writeLater(this.descriptor, frame, at, frame.length - at, this.end + at);
      at += bytesWritten;
    }
    this.#sequence++;
    this.end += frame.length;
  }
}

/** A compaction underway: the new file, and what was appended since its snapshot. */
interface Compaction {
  readonly file: FrameFile;
  readonly tail: Uint8Array[];
  /** The snapshot is in the file. */
  ready: boolean;
}

class Log implements RecordLog {
  readonly unfinished: number;
  readonly #path: string;
  readonly #lock: number;
  readonly #options: RecordLogOptions;
  #records: Uint8Array[];
  #file: FrameFile;
  #pending: Uint8Array[] = [];
  #appended = 0;
  #durable = 0;
  #listener: (records: number) => void = () => {};
  #snapshot: (() => Iterable<Uint8Array>) | undefined;
  #compaction: Compaction | undefined;
  #compacting: Promise<void> | undefined;
  #compactedSize = 0;
  #running: Promise<void> | undefined;
  #failed = false;
  #closed = false;

  constructor(open: OpenLog, options: RecordLogOptions) {
    this.unfinished = open.unfinished;
    this.#path = open.path;
    this.#lock = open.lock;
    this.#records = open.records;
    this.#file = new FrameFile(open.file, open);
    this.#options = options;
  }

  takeRecords(): Uint8Array[] {
    const records = this.#records;
    this.#records = [];
    return records;
  }

  append(record: Uint8Array): void {
    if (this.#closed) throw new ParavirtError("UNAVAILABLE", `${this.#path} is closed`);
    this.#pending.push(record);
    this.#compaction?.tail.push(record);
    this.#appended++;
    this.#run();
  }

  onDurable(listener: (records: number) => void): void {
    this.#listener = listener;
  }

  compactWith(snapshot: () => Iterable<Uint8Array>): void {
    this.#snapshot = snapshot;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#compacting;
    while (this.#running !== undefined) await this.#running;
    await closeLater(this.#file.descriptor);
    await closeLater(this.#lock);
  }

  /** Writes until nothing is left to do; whatever is appended meanwhile joins the next write. */
  #run(): void {
    if (this.#running !== undefined || this.#failed) return;
    this.#running = this.#work()
      .catch((error: unknown) => {
        // After a write that failed nobody knows what is on the disk: trying again could call lost bytes durable.
        this.#failed = true;
        this.#options.onError(
          new ParavirtError("IO", `${this.#path} can't be written: ${reason(error)}`, { cause: error }),
        );
      })
      .finally(() => {
        this.#running = undefined;
        if (this.#pending.length > 0) this.#run();
      });
  }

  async #work(): Promise<void> {
    // The rest of this turn's records come along.
    await undefined;
    while (this.#pending.length > 0 || this.#compaction?.ready === true) {
      if (this.#compaction?.ready === true) await this.#replace(this.#compaction);
      else {
        const batch = this.#takeBatch();
        await this.#file.write(batch);
        if (SYNCED === 0) await syncLater(this.#file.descriptor);
        this.#tell(this.#durable + batch.length);
        this.#compactIfLarge();
      }
    }
  }

  #takeBatch(): Uint8Array[] {
    let size = 0;
    let count = 0;
    while (count < this.#pending.length && size < FRAME_SIZE) size += this.#pending[count++]!.length;
    return this.#pending.splice(0, count);
  }

  #tell(durable: number): void {
    this.#durable = durable;
    this.#listener(durable);
  }

  #compactIfLarge(): void {
    const { compactFrom = COMPACT_FROM } = this.#options;
    if (this.#snapshot === undefined || this.#compaction !== undefined || this.#closed) return;
    if (this.#file.end < compactFrom || this.#file.end < COMPACT_RATIO * this.#compactedSize) return;
    try {
      const { file, salt } = createNew(this.#path);
      const start = { salt, end: LOG_HEADER_SIZE, sequence: 0 };
      const compaction: Compaction = { file: new FrameFile(file, start), tail: [], ready: false };
      this.#compaction = compaction;
      this.#compacting = this.#write(compaction, this.#snapshot());
    } catch {
      this.#compactedSize = this.#file.end;
    }
  }

  async #write(compaction: Compaction, snapshot: Iterable<Uint8Array>): Promise<void> {
    try {
      for (const record of snapshot) {
        if (this.#closed) throw new ParavirtError("UNAVAILABLE", `${this.#path} is closed`);
        await compaction.file.write([record]);
      }
      await syncLater(compaction.file.descriptor);
      compaction.ready = true;
    } catch {
      this.#abandon(compaction);
    }
    this.#run();
  }

  /** The old file is as good as before: a full disk, say, isn't the end while there is room for small writes. */
  #abandon({ file }: Compaction): void {
    this.#compaction = undefined;
    this.#compactedSize = this.#file.end;
    closeSync(file.descriptor);
    rmSync(newName(this.#path), { force: true });
  }

  /** Puts the new file in the old one's place, with everything that was appended until now. */
  async #replace(compaction: Compaction): Promise<void> {
    const { file, tail } = compaction;
    // What waits was appended before the snapshot, and is in it, or after, and is in the tail.
    const waiting = this.#pending.length;
    const appended = this.#appended;
    this.#compaction = undefined;
    try {
      const snapshotSize = file.end;
      if (tail.length > 0) await file.write(tail);
      await syncLater(file.descriptor);
      this.#compactedSize = snapshotSize;
    } catch {
      this.#abandon(compaction);
      return;
    }
    await renameLater(newName(this.#path), this.#path);
    syncFolder(this.#path);
    const old = this.#file;
    this.#file = file.reopened(openSync(this.#path, constants.O_RDWR | SYNCED));
    this.#pending.splice(0, waiting);
    await Promise.all([closeLater(old.descriptor), closeLater(file.descriptor)]);
    this.#tell(appended);
  }
}
