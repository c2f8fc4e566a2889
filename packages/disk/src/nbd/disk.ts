import { type ByteStream, type Disk, ParavirtError } from "@paravirt/core";
import { sliceBuffers, totalBytes, zeroBuffers } from "../block-file.ts";
import { checkRange, checkWritable, SECTOR } from "../range.ts";
import { type NbdExport, shakeHands } from "./handshake.ts";
import { CHUNK, COMMAND, encodeOption, encodeRequest, NBD, OPTION, requestError, TRANSMISSION } from "./protocol.ts";
import { StreamReader } from "./reader.ts";

/** How {@link connectNbd} uses a connection. */
export interface NbdOptions {
  /** The export's name; servers have one without a name, usually. */
  readonly exportName?: string;
  /** Refuses writes, whatever the server allows. */
  readonly readOnly?: boolean;
}

interface Pending {
  readonly what: string;
  /** Where a read's data go, from `offset` on. */
  readonly into: readonly Uint8Array[];
  readonly offset: number;
  readonly length: number;
  error: Error | undefined;
  resolve(): void;
  reject(error: Error): void;
}

/**
 * The disk that an NBD server exports, over a connection that is just open: newstyle handshake, structured replies when the
 * server has them, any number of requests under way. A lost connection makes all requests fail with `IO`; it isn't made
 * anew. No TLS.
 */
export async function connectNbd(stream: ByteStream, options: NbdOptions = {}): Promise<Disk> {
  const reader = new StreamReader(stream);
  let found: NbdExport;
  try {
    found = await shakeHands(stream, reader, nameBytes(options.exportName ?? ""));
    checkExport(found);
  } catch (error) {
    stream.write(encodeOption(OPTION.abort, new Uint8Array(0)));
    stream.close();
    throw error;
  }
  const connection = new Connection(stream, reader, found);
  const sectorSize = found.minimumBlock > SECTOR ? 4096 : SECTOR;
  const readOnly = options.readOnly === true || (found.flags & TRANSMISSION.readOnly) !== 0;
  const bytes = Math.floor(found.size / sectorSize) * sectorSize;
  const has = (flag: number): boolean => (found.flags & flag) !== 0;
  const disk: Disk = {
    sectors: bytes / SECTOR,
    sectorSize,
    readOnly,
    read(sector, into) {
      const length = totalBytes(into);
      checkRange(disk, sector, length);
      return connection.transfer(COMMAND.read, sector * SECTOR, into, length);
    },
    write(sector, from) {
      checkWritable(disk);
      const length = totalBytes(from);
      checkRange(disk, sector, length);
      return connection.transfer(COMMAND.write, sector * SECTOR, from, length);
    },
    flush: () => (has(TRANSMISSION.flush) ? connection.range(COMMAND.flush, 0, 0) : undefined),
    async close() {
      if (!readOnly) await disk.flush();
      connection.close();
    },
  };
  if (has(TRANSMISSION.trim))
    disk.discard = (sector, count) => {
      checkWritable(disk);
      checkRange(disk, sector, count * SECTOR);
      return connection.range(COMMAND.trim, sector * SECTOR, count * SECTOR);
    };
  if (has(TRANSMISSION.writeZeroes))
    disk.writeZeroes = (sector, count) => {
      checkWritable(disk);
      checkRange(disk, sector, count * SECTOR);
      return connection.range(COMMAND.writeZeroes, sector * SECTOR, count * SECTOR);
    };
  return disk;
}

function checkExport(found: NbdExport): void {
  if (!Number.isSafeInteger(found.size)) throw new ParavirtError("UNSUPPORTED", `an NBD export of ${found.size} bytes`);
  if (found.minimumBlock > 4096 || found.maximumRequest < 4096)
    throw new ParavirtError(
      "UNSUPPORTED",
      `an NBD export with blocks of ${found.minimumBlock} bytes and requests up to ${found.maximumRequest}; 4096 is the most and the least`,
    );
}

/** Bytes of ranges without data, in one request. */
const LONGEST_RANGE = 1 << 30;

class Connection {
  readonly #stream: ByteStream;
  readonly #reader: StreamReader;
  readonly #most: number;
  readonly #structured: boolean;
  readonly #pending = new Map<number, Pending>();
  #cookie = 0;
  #failure: Error | undefined;
  #closing = false;

  constructor(stream: ByteStream, reader: StreamReader, found: NbdExport) {
    this.#stream = stream;
    this.#reader = reader;
    this.#most = Math.floor(found.maximumRequest / 4096) * 4096;
    this.#structured = found.structured;
    void this.#listen();
  }

  async transfer(command: number, offset: number, buffers: readonly Uint8Array[], length: number): Promise<void> {
    const parts: Promise<void>[] = [];
    for (let at = 0; at < length; at += this.#most) {
      const size = Math.min(this.#most, length - at);
      parts.push(this.#request(command, offset + at, size, sliceBuffers(buffers, at, size)));
    }
    await Promise.all(parts);
  }

  async range(command: number, offset: number, length: number): Promise<void> {
    const parts: Promise<void>[] = [];
    let at = 0;
    do {
      const size = Math.min(LONGEST_RANGE, length - at);
      parts.push(this.#request(command, offset + at, size, []));
      at += size;
    } while (at < length);
    await Promise.all(parts);
  }

  close(): void {
    this.#closing = true;
    if (this.#failure === undefined) this.#stream.write(encodeRequest(COMMAND.disconnect, 0, 0, 0));
    this.#stream.close();
    this.#fail(new ParavirtError("IO", "the NBD disk is closed"));
  }

  #request(command: number, offset: number, length: number, buffers: readonly Uint8Array[]): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      const cookie = ++this.#cookie;
      const what = Object.entries(COMMAND).find(([, number]) => number === command)![0];
      const into = command === COMMAND.read ? buffers : [];
      this.#pending.set(cookie, { what, into, offset, length, error: undefined, resolve, reject });
      this.#stream.write(encodeRequest(command, cookie, offset, length));
      if (command === COMMAND.write) for (const buffer of buffers) this.#stream.write(buffer);
    });
  }

  async #listen(): Promise<void> {
    try {
      for (;;) {
        const magic = (await this.#reader.take(4)).getUint32(0);
        if (magic === NBD.simpleReplyMagic) await this.#simple();
        else if (magic === NBD.structuredReplyMagic && this.#structured) await this.#structuredChunk();
        else throw nonsense(`a reply that begins with ${magic}`);
      }
    } catch (error) {
      this.#fail(error as Error);
      if (!this.#closing) this.#stream.close();
    }
  }

  async #simple(): Promise<void> {
    const head = await this.#reader.take(12);
    const pending = this.#find(head.getBigUint64(4));
    const error = head.getUint32(0);
    if (error !== 0) pending.error = requestError(error, pending.what);
    else if (pending.into.length > 0) {
      if (this.#structured) throw nonsense("data in a simple reply, after structured ones were agreed on");
      await this.#reader.fill(pending.into);
    }
    this.#finish(head.getBigUint64(4), pending);
  }

  async #structuredChunk(): Promise<void> {
    const head = await this.#reader.take(16);
    const flags = head.getUint16(0);
    const type = head.getUint16(2);
    const cookie = head.getBigUint64(4);
    const length = head.getUint32(12);
    const pending = this.#find(cookie);
    if (type === CHUNK.data && length > 8) {
      const at = await this.#place(pending, length - 8);
      await this.#reader.fill(sliceBuffers(pending.into, at, length - 8));
    } else if (type === CHUNK.hole && length === 12) {
      const data = await this.#reader.take(12);
      const size = data.getUint32(8);
      zeroBuffers(sliceBuffers(pending.into, within(pending, data.getBigUint64(0), size), size));
    } else if ((type & CHUNK.error) !== 0 && length >= 6 && length <= 65536) {
      const data = await this.#reader.take(length);
      pending.error ??= requestError(data.getUint32(0), pending.what);
    } else if (type !== CHUNK.none || length !== 0) throw nonsense(`a piece of kind ${type} and ${length} bytes`);
    if ((flags & CHUNK.done) !== 0) this.#finish(cookie, pending);
  }

  async #place(pending: Pending, length: number): Promise<number> {
    return within(pending, (await this.#reader.take(8)).getBigUint64(0), length);
  }

  #find(cookie: bigint): Pending {
    const pending = this.#pending.get(Number(cookie));
    if (pending === undefined) throw nonsense(`a reply to request ${cookie}, which nobody made`);
    return pending;
  }

  #finish(cookie: bigint, pending: Pending): void {
    this.#pending.delete(Number(cookie));
    if (pending.error === undefined) pending.resolve();
    else pending.reject(pending.error);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }
}

/** Where within a read's buffers `size` bytes at `offset` of the disk belong. */
function within(pending: Pending, offset: bigint, size: number): number {
  const at = Number(offset) - pending.offset;
  if (pending.into.length === 0 || at < 0 || at + size > pending.length) throw nonsense("data that nobody asked for");
  return at;
}

function nonsense(what: string): ParavirtError {
  return new ParavirtError("IO", `the NBD server sent ${what}`);
}

function nameBytes(name: string): Uint8Array {
  const escaped = encodeURIComponent(name).replace(/%([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Uint8Array.from(escaped, (one) => one.charCodeAt(0));
}
