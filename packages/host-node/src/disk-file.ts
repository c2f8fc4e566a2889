import {
  close,
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  readvSync,
  writeSync,
  writevSync,
} from "node:fs";
import { promisify } from "node:util";
import { ParavirtError } from "@paravirt/core";
import type { BlockFile } from "@paravirt/disk";
import { reason } from "./cache.ts";
import { lockFile } from "./file-lock.ts";
import { CAN_PUNCH, createHolePunch, type HolePunch } from "./hole-punch.ts";

/** How {@link openDiskFile} opens a file. */
export interface DiskFileOptions {
  /** Opens it for reading only. */
  readonly readOnly?: boolean;
  /** Makes it if it isn't there: `"new"` fails when it is, `"empty"` empties it. */
  readonly create?: "new" | "empty";
  /**
   * Keeps other programs out, QEMU's among them: a writer is alone, readers share (true). Needs `perl` or `flock` on this
   * machine.
   */
  readonly lock?: boolean;
}

/** Buffers that the kernel takes in one call (IOV_MAX). */
const MAX_BUFFERS = 1024;
const ZEROS = new Uint8Array(1 << 20);
const fdatasyncLater = promisify(fdatasync);
const closeLater = promisify(close);

/**
 * Opens a file or block device as storage for a disk image. Reads and writes go through the host's page cache and are
 * answered at once; `flush` is `fdatasync`. `punch` gives space back on Linux where `perl` is, and elsewhere is missing.
 * Throws `UNAVAILABLE` when it can't be opened, `BUSY` when another program has it.
 */
export function openDiskFile(path: string, options: DiskFileOptions = {}): BlockFile {
  const readOnly = options.readOnly === true;
  const descriptor = openDescriptor(path, options);
  let punching: HolePunch | undefined;
  let size: number;
  let open = true;
  try {
    size = sizeOf(descriptor, path);
    const locker = options.lock === false ? undefined : lockFile(path, descriptor, readOnly);
    // Only now: nobody empties what another program uses.
    if (options.create === "empty") {
      ftruncateSync(descriptor, 0);
      size = 0;
    }
    if (!readOnly && CAN_PUNCH && locker === "perl") punching = createHolePunch(descriptor);
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  const failed = (what: string, error: unknown): ParavirtError =>
    new ParavirtError("IO", `${path} can't be ${what}: ${reason(error)}`, { cause: error });

  function readPart(offset: number, into: readonly Uint8Array[]): void {
    const [first] = into;
    if (first === undefined) return;
    let got =
      into.length === 1 ? readSync(descriptor, first, 0, first.length, offset) : readvSync(descriptor, into, offset);
    let at = 0;
    // Whatever a short read left, one buffer after the other; zeros past the end.
    for (const buffer of into) {
      for (let done = Math.min(Math.max(got - at, 0), buffer.length); done < buffer.length; ) {
        const more = readSync(descriptor, buffer, done, buffer.length - done, offset + at + done);
        if (more === 0) {
          buffer.fill(0, done);
          break;
        }
        done += more;
        got += more;
      }
      at += buffer.length;
    }
  }
  function writePart(offset: number, from: readonly Uint8Array[]): void {
    const [first] = from;
    if (first === undefined) return;
    const put =
      from.length === 1 ? writeSync(descriptor, first, 0, first.length, offset) : writevSync(descriptor, from, offset);
    let at = 0;
    for (const buffer of from) {
      for (let done = Math.min(Math.max(put - at, 0), buffer.length); done < buffer.length; )
        done += writeSync(descriptor, buffer, done, buffer.length - done, offset + at + done);
      at += buffer.length;
    }
    size = Math.max(size, offset + at);
  }

  const file: BlockFile = {
    get size() {
      return size;
    },
    readOnly,
    read(offset, into) {
      try {
        inParts(offset, into, readPart);
      } catch (error) {
        throw failed("read", error);
      }
    },
    write(offset, from) {
      try {
        inParts(offset, from, writePart);
      } catch (error) {
        throw failed("written", error);
      }
    },
    async flush() {
      if (readOnly) return;
      try {
        await fdatasyncLater(descriptor);
      } catch (error) {
        throw failed("flushed", error);
      }
    },
    truncate(length) {
      try {
        ftruncateSync(descriptor, length);
      } catch (error) {
        throw failed("resized", error);
      }
      size = length;
    },
    async close() {
      if (!open) return;
      open = false;
      punching?.close();
      try {
        await closeLater(descriptor);
      } catch (error) {
        throw failed("closed", error);
      }
    },
  };
  if (punching === undefined) return file;
  const helper = punching;
  return Object.defineProperty(file, "punch", {
    async value(offset: number, length: number): Promise<void> {
      // Past the end there is nothing to give back.
      const end = Math.min(offset + length, size);
      if (end <= offset || (await helper.punch(offset, end - offset))) return;
      for (let at = offset; at < end; at += ZEROS.length)
        await file.write(at, [ZEROS.subarray(0, Math.min(ZEROS.length, end - at))]);
    },
  });
}

function openDescriptor(path: string, options: DiskFileOptions): number {
  const access = options.readOnly === true ? constants.O_RDONLY : constants.O_RDWR;
  const create =
    options.create === "new"
      ? constants.O_CREAT | constants.O_EXCL
      : options.create === "empty"
        ? constants.O_CREAT
        : 0;
  try {
    return openSync(path, access | create, 0o644);
  } catch (error) {
    throw new ParavirtError("UNAVAILABLE", `${path} can't be opened: ${reason(error)}`, { cause: error });
  }
}

/** The size of a file; of a block device, for which the kernel tells zero, by trying to read. */
function sizeOf(descriptor: number, path: string): number {
  const status = fstatSync(descriptor);
  if (status.isFile()) return status.size;
  if (!status.isBlockDevice()) throw new ParavirtError("UNAVAILABLE", `${path} is neither a file nor a block device`);
  const byte = new Uint8Array(1);
  const readable = (at: number): boolean => readSync(descriptor, byte, 0, 1, at) === 1;
  if (!readable(0)) return 0;
  let low = 0;
  let high = 1;
  while (readable(high)) {
    low = high;
    high *= 2;
  }
  // `low` can be read, `high` can't.
  while (high - low > 1) {
    const middle = low + Math.floor((high - low) / 2);
    if (readable(middle)) low = middle;
    else high = middle;
  }
  return high;
}

function inParts(
  offset: number,
  buffers: readonly Uint8Array[],
  use: (offset: number, part: readonly Uint8Array[]) => void,
): void {
  if (buffers.length <= MAX_BUFFERS) {
    use(offset, buffers);
    return;
  }
  for (let at = 0; at < buffers.length; at += MAX_BUFFERS) {
    const part = buffers.slice(at, at + MAX_BUFFERS);
    use(offset, part);
    for (const buffer of part) offset += buffer.length;
  }
}
