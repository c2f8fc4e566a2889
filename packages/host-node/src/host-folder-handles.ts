import { type Dir, fdatasync, fsync, ftruncateSync, lstatSync, opendirSync, readSync, writeSync } from "node:fs";
import { promisify } from "node:util";
import { type DirectoryEntry, decodeName, FILE_TYPE, type FileHandle } from "@paravirt/p9";
import type { HostNode } from "./host-folder-node.ts";
import { childPath, fdPath, type HostVolume } from "./host-volume.ts";

const fsyncLater = promisify(fsync);
const fdatasyncLater = promisify(fdatasync);

/**
 * An open file of this machine. Reads and writes are answered at once, since the kernel's page cache nearly always has
 * them, and a turn through Node.js's threads costs more; what must reach a disk is waited for elsewhere.
 */
export class HostFileHandle implements FileHandle {
  readonly #volume: HostVolume;
  readonly #fd: number;

  constructor(volume: HostVolume, fd: number) {
    this.#volume = volume;
    this.#fd = fd;
  }

  read(offset: number, into: Uint8Array): number {
    return into.length === 0 ? 0 : readSync(this.#fd, into, 0, into.length, offset);
  }

  write(offset: number, from: Uint8Array): number {
    return from.length === 0 ? 0 : writeSync(this.#fd, from, 0, from.length, offset);
  }

  setSize(size: number): void {
    ftruncateSync(this.#fd, size);
  }

  sync({ dataOnly }: { readonly dataOnly: boolean }): Promise<void> {
    return dataOnly ? fdatasyncLater(this.#fd) : fsyncLater(this.#fd);
  }

  close(): void {
    this.#volume.close(this.#fd);
  }
}

/** Entries in one go, and in one system call or two. */
const BATCH = 256;

/** An open folder of this machine: read as far as it is asked for, so that a large one costs no more than its listing. */
export class HostFolderHandle implements FileHandle {
  readonly #volume: HostVolume;
  readonly #node: HostNode;
  #dir: Dir | undefined;
  /** The last entries, in case that not all were taken: those of the names from `#first` to `#position`. */
  #batch: DirectoryEntry[] = [];
  #first = 0;
  #position = 0;

  /** Takes over a hold of `node`. */
  constructor(volume: HostVolume, node: HostNode) {
    this.#volume = volume;
    this.#node = node;
    try {
      volume.count();
      this.#dir = this.#open();
    } catch (error) {
      node.release();
      throw error;
    }
  }

  list(cookie: number): readonly DirectoryEntry[] {
    // The beginning is asked for anew, and so is what was passed already: the host's own places can't be had.
    if (cookie < this.#first || (cookie === 0 && this.#position > 0)) this.#restart();
    for (;;) {
      const rest = this.#batch.filter((entry) => entry.cookie > cookie);
      if (rest.length > 0 || !this.#next()) return rest;
    }
  }

  async sync(): Promise<void> {
    const fd = this.#volume.open(fdPath(this.#node.fd), 0);
    try {
      await fsyncLater(fd);
    } finally {
      this.#volume.close(fd);
    }
  }

  close(): void {
    this.#dir?.closeSync();
    this.#volume.uncount();
    this.#node.release();
  }

  #open(): Dir {
    // The types say that names are strings, whatever the encoding.
    const options = { encoding: "buffer" as BufferEncoding, bufferSize: BATCH };
    return opendirSync(fdPath(this.#node.fd), options);
  }

  #restart(): void {
    this.#dir?.closeSync();
    this.#dir = undefined;
    this.#dir = this.#open();
    this.#batch = [];
    this.#first = 0;
    this.#position = 0;
  }

  /** Reads the next names; false at the end. */
  #next(): boolean {
    this.#first = this.#position;
    this.#batch = [];
    while (this.#position < this.#first + BATCH) {
      const entry = this.#dir?.readSync() ?? null;
      if (entry === null) break;
      this.#position++;
      const name = decodeName(entry.name as unknown as Buffer);
      const stats = lstatSync(childPath(this.#node.fd, name), { bigint: true, throwIfNoEntry: false });
      // A name that is gone by now keeps its place: later ones mustn't move.
      if (stats === undefined) continue;
      const type = Number(stats.mode) & FILE_TYPE.mask;
      this.#batch.push({ name, path: this.#volume.numberOf(stats), type, cookie: this.#position });
    }
    return this.#position > this.#first;
  }
}
