import { ParavirtError } from "@paravirt/core";
import type { ArchiveEntry } from "./cpio.ts";
import { utf8Decode } from "./text.ts";

/** A file of a tar archive; a hard link names the file that it is. */
export interface TarEntry extends Omit<ArchiveEntry, "type"> {
  /** What the entry is. */
  readonly type: ArchiveEntry["type"] | "hardlink";
}

const BLOCK = 512;
/** A path or link target longer than this is refused. */
const MAX_NAME = 65536;

/**
 * Reads a tar archive (ustar, GNU long names, pax paths) from pieces of any size; stop reading to leave the rest
 * unpacked. Data may be views on a piece. Throws `BAD_IMAGE` for a corrupt or truncated archive.
 */
export function* readTar(pieces: Iterable<Uint8Array>): Generator<TarEntry> {
  const source = takeFrom(pieces);
  let longPath: string | undefined;
  let longTarget: string | undefined;
  for (;;) {
    const header = source(BLOCK);
    if (header === undefined) return; // An archive may end without its two empty blocks.
    if (header.every((byte) => byte === 0)) return;
    checkHeader(header);
    const size = octal(header, 124, 12, "size");
    const kind = String.fromCharCode(header[156] || 0x30);
    const padded = Math.ceil(size / BLOCK) * BLOCK;
    const isLink = kind === "1" || kind === "2";
    const content = isLink ? new Uint8Array(0) : source(padded);
    if (content === undefined) throw new ParavirtError("BAD_IMAGE", "truncated tar archive");
    const data = content.subarray(0, size);
    if (kind === "L" || kind === "K" || kind === "x") {
      if (size > MAX_NAME) throw new ParavirtError("BAD_IMAGE", `a tar name of ${size} bytes, over ${MAX_NAME}`);
      if (kind === "L") longPath = text(data, 0, size);
      else if (kind === "K") longTarget = text(data, 0, size);
      else {
        const records = paxRecords(utf8Decode(data));
        longPath = records.get("path") ?? longPath;
        longTarget = records.get("linkpath") ?? longTarget;
      }
      continue;
    }
    if (kind === "g") continue;
    const prefix = header[257] === 0x75 && header[262] === 0 ? text(header, 345, 155) : "";
    const short = text(header, 0, 100);
    const path = cleanPath(longPath ?? (prefix === "" ? short : `${prefix}/${short}`));
    const target = longTarget ?? text(header, 157, 100);
    longPath = undefined;
    longTarget = undefined;
    const mode = octal(header, 100, 8, "mode") & 0o7777;
    const device = (): readonly [number, number] => [octal(header, 329, 8, "major"), octal(header, 337, 8, "minor")];
    switch (kind) {
      case "0":
      case "7":
        yield { path, type: "file", mode, data };
        break;
      case "1":
        yield { path, type: "hardlink", mode, target: cleanPath(target) };
        break;
      case "2":
        yield { path, type: "symlink", mode, target };
        break;
      case "3":
        yield { path, type: "character", mode, device: device() };
        break;
      case "4":
        yield { path, type: "block", mode, device: device() };
        break;
      case "5":
        yield { path, type: "directory", mode };
        break;
      case "6":
        yield { path, type: "fifo", mode };
        break;
      default:
        throw new ParavirtError("UNSUPPORTED", `tar entry ${path} of type "${kind}"`);
    }
  }
}

/** Answers a function that gives the next `size` bytes, or `undefined` when there aren't as many. */
function takeFrom(pieces: Iterable<Uint8Array>): (size: number) => Uint8Array | undefined {
  const iterator = pieces[Symbol.iterator]();
  let piece = new Uint8Array(0);
  return (size) => {
    const held: Uint8Array[] = [];
    let have = 0;
    while (have + piece.length < size) {
      held.push(piece);
      have += piece.length;
      const next = iterator.next();
      if (next.done) return undefined;
      piece = next.value as Uint8Array<ArrayBuffer>;
    }
    const rest = size - have;
    const last = piece.subarray(0, rest);
    piece = piece.subarray(rest);
    if (have === 0) return last;
    const joined = new Uint8Array(size);
    let at = 0;
    for (const part of [...held, last]) {
      joined.set(part, at);
      at += part.length;
    }
    return joined;
  };
}

function checkHeader(header: Uint8Array): void {
  let sum = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += header[i]!;
  if (sum !== octal(header, 148, 8, "checksum")) throw new ParavirtError("BAD_IMAGE", "corrupt tar header: checksum");
}

function octal(header: Uint8Array, at: number, length: number, what: string): number {
  // GNU's form for what doesn't fit in octal: the top bit set, then a big-endian number.
  if (header[at]! & 0x80) {
    let value = header[at]! & 0x7f;
    for (let i = 1; i < length; i++) value = value * 256 + header[at + i]!;
    if (value > Number.MAX_SAFE_INTEGER) throw new ParavirtError("BAD_IMAGE", `corrupt tar header: ${what}`);
    return value;
  }
  const digits = text(header, at, length).trim();
  if (!/^[0-7]*$/.test(digits)) throw new ParavirtError("BAD_IMAGE", `corrupt tar header: ${what}`);
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

function text(bytes: Uint8Array, at: number, length: number): string {
  let end = at;
  while (end < at + length && end < bytes.length && bytes[end] !== 0) end++;
  return utf8Decode(bytes.subarray(at, end));
}

function paxRecords(body: string): Map<string, string> {
  const records = new Map<string, string>();
  for (let rest = body; rest !== ""; ) {
    const space = rest.indexOf(" ");
    const line = rest.indexOf("\n");
    if (space < 0 || line < 0) throw new ParavirtError("BAD_IMAGE", "corrupt pax header");
    const [key, ...value] = rest.slice(space + 1, line).split("=");
    records.set(key!, value.join("="));
    rest = rest.slice(line + 1);
  }
  return records;
}

const cleanPath = (path: string): string => path.replace(/^(\.?\/)+/, "").replace(/\/+$/, "");
