import { ParavirtError } from "@paravirt/core";
import { detectCompression, unpack } from "./decompress/unpack.ts";
import { utf8Decode, utf8Encode } from "./text.ts";

/** A file of an archive. */
export interface ArchiveEntry {
  /** Path without a leading slash. */
  readonly path: string;
  /** What the entry is. */
  readonly type: "file" | "directory" | "symlink" | "character" | "block" | "fifo" | "socket";
  /** Permission bits, octal 7777. */
  readonly mode: number;
  /** Bytes of a file. */
  readonly data?: Uint8Array;
  /** Instead of `data`: bytes that are read when the archive is written, so that they are in memory once. */
  readonly source?: ArchiveSource;
  /** Target of a symlink. */
  readonly target?: string;
  /** Major and minor number of a device. */
  readonly device?: readonly [number, number];
}

/** Contents of a file that are fetched late. */
export interface ArchiveSource {
  /** How many bytes there are; below 4 GiB, which is what the format can say. */
  readonly size: number;
  /** Fills `target`, which has `size` bytes. */
  read(target: Uint8Array): void;
}

const TYPES = {
  socket: 0o140000,
  symlink: 0o120000,
  file: 0o100000,
  block: 0o060000,
  directory: 0o040000,
  character: 0o020000,
  fifo: 0o010000,
} as const;
const HEADER = 110;
const TRAILER = "TRAILER!!!";
const MAX_FILE = 0xffff_ffff;

const pad4 = (length: number): number => Math.ceil(length / 4) * 4;

/**
 * Writes a `newc` cpio archive, the form that the kernel unpacks as its initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Owners are root, times 0: equal input, equal bytes.
 * Archives may follow each other; its length is a multiple of 512. Throws `OUT_OF_RANGE` for a file of 4 GiB.
 */
export function writeCpio(entries: readonly ArchiveEntry[]): Uint8Array {
  const all: readonly (ArchiveEntry & { readonly end?: boolean })[] = [
    ...entries,
    { path: TRAILER, type: "file", mode: 0, end: true },
  ];
  const parts = all.map((entry) => {
    const name = utf8Encode(entry.path);
    const body = entry.type === "symlink" ? utf8Encode(entry.target ?? "") : (entry.data ?? new Uint8Array(0));
    const size =
      entry.type === "symlink" ? body.length : entry.type === "file" ? (entry.source?.size ?? body.length) : 0;
    if (size > MAX_FILE) throw new ParavirtError("OUT_OF_RANGE", `${entry.path} of ${size} bytes, over ${MAX_FILE}`);
    return { entry, name, body, size, length: pad4(HEADER + name.length + 1) + pad4(size) };
  });
  const total = parts.reduce((sum, part) => sum + part.length, 0);
  const out = new Uint8Array(Math.ceil(total / 512) * 512);
  let at = 0;
  let inode = 1;
  for (const { entry, name, body, size, length } of parts) {
    const fields = [
      entry.end ? 0 : inode++,
      entry.end ? 0 : TYPES[entry.type] | entry.mode,
      0,
      0,
      entry.type === "directory" ? 2 : 1,
      0,
      size,
      0,
      0,
      entry.device?.[0] ?? 0,
      entry.device?.[1] ?? 0,
      name.length + 1,
      0,
    ];
    let header = "070701";
    for (const field of fields) header += field.toString(16).padStart(8, "0");
    for (let i = 0; i < HEADER; i++) out[at + i] = header.charCodeAt(i);
    out.set(name, at + HEADER);
    const dataAt = at + pad4(HEADER + name.length + 1);
    if (entry.type === "file" && entry.source !== undefined) entry.source.read(out.subarray(dataAt, dataAt + size));
    else if (size > 0) out.set(body, dataAt);
    at += length;
  }
  return out;
}

/**
 * Reads uncompressed `newc` archives, one after another, with zero bytes between. Data are views on `bytes`.
 * Throws `BAD_IMAGE` for what is no such archive, or ends early.
 */
export function readCpio(bytes: Uint8Array): readonly ArchiveEntry[] {
  return readArchives(bytes, () => false).entries;
}

/**
 * Reads an initrd as the kernel does: archives one after another, the last of which may be compressed
 * (early-userspace/buffer-format.rst). Throws `BAD_IMAGE` for what is neither, `OUT_OF_RANGE` over `limit` bytes.
 */
export function readInitrd(bytes: Uint8Array, limit: number): readonly ArchiveEntry[] {
  const isPacked = (at: number): boolean => detectCompression(bytes.subarray(at, at + 8)) !== undefined;
  const { entries, end } = readArchives(bytes, isPacked);
  return end === bytes.length ? entries : [...entries, ...readCpio(unpack(bytes.subarray(end), { limit }))];
}

/** Reads archives to the end of `bytes`, or to the place where `stop` answers true in front of one. */
function readArchives(bytes: Uint8Array, stop: (at: number) => boolean): { entries: ArchiveEntry[]; end: number } {
  const entries: ArchiveEntry[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (bytes[at] === 0) {
      at++;
      continue;
    }
    if (stop(at)) return { entries, end: at };
    if (at + HEADER > bytes.length) throw short(at + HEADER, bytes.length);
    const magic = ascii(bytes, at, 6);
    if (magic !== "070701" && magic !== "070702") {
      throw new ParavirtError("BAD_IMAGE", `no newc cpio header at byte ${at}`);
    }
    const field = (index: number): number => {
      const text = ascii(bytes, at + 6 + index * 8, 8);
      if (!/^[0-9a-fA-F]{8}$/.test(text)) throw new ParavirtError("BAD_IMAGE", `corrupt cpio header at byte ${at}`);
      return Number.parseInt(text, 16);
    };
    const nameSize = field(11);
    const size = field(6);
    const dataAt = at + pad4(HEADER + nameSize);
    const end = dataAt + size;
    if (nameSize === 0 || nameSize > 4096) throw new ParavirtError("BAD_IMAGE", `a cpio name of ${nameSize} bytes`);
    if (end > bytes.length) throw short(end, bytes.length);
    const path = utf8Decode(bytes.subarray(at + HEADER, at + HEADER + nameSize - 1));
    const mode = field(1);
    const next = pad4(size) + dataAt;
    if (path === TRAILER) {
      at = next;
      continue;
    }
    const type = (Object.keys(TYPES) as (keyof typeof TYPES)[]).find((key) => TYPES[key] === (mode & 0o170000));
    if (type === undefined) throw new ParavirtError("BAD_IMAGE", `cpio entry ${path} of mode 0${mode.toString(8)}`);
    const data = bytes.subarray(dataAt, end);
    const base = { path, type, mode: mode & 0o7777 };
    if (type === "file") entries.push({ ...base, data });
    else if (type === "symlink") entries.push({ ...base, target: utf8Decode(data) });
    else if (type === "character" || type === "block") entries.push({ ...base, device: [field(9), field(10)] });
    else entries.push(base);
    at = next;
  }
  return { entries, end: bytes.length };
}

function ascii(bytes: Uint8Array, at: number, length: number): string {
  let text = "";
  for (let i = at; i < at + length; i++) text += String.fromCharCode(bytes[i] ?? 0);
  return text;
}

function short(needed: number, length: number): ParavirtError {
  return new ParavirtError("BAD_IMAGE", `a cpio archive that needs ${needed} bytes has ${length}: truncated`);
}
