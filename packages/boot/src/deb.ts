import { ParavirtError } from "@paravirt/core";
import { detectCompression, unpack } from "./decompress/unpack.ts";
import { decodeXzBlock, xzBlocks } from "./decompress/xz.ts";
import { readTar, type TarEntry } from "./tar.ts";
import { utf8Decode } from "./text.ts";

/** A Debian package. */
export interface Deb {
  /** Fields of its control file: `Package`, `Version`, … */
  readonly control: ReadonlyMap<string, string>;
  /**
   * Its files, in the archive's order, unpacked as far as they are read: leave the loop early to save the rest.
   * Data may be views on a large piece; copy what is kept.
   */
  files(): Generator<TarEntry>;
}

/** Most bytes that one piece of a package (an xz block, a whole gzip or zstd member) may unpack to: 1 GiB. */
const PIECE_LIMIT = 1024 * 1024 * 1024;
const AR_MAGIC = "!<arch>\n";

/** Reads a `.deb`: ar, then control and data as tar, plain or packed by gzip, xz, zstd. Throws `BAD_IMAGE`. */
export function readDeb(bytes: Uint8Array): Deb {
  const members = readAr(bytes);
  if (!members.has("debian-binary"))
    throw new ParavirtError("BAD_IMAGE", "no Debian package: debian-binary is missing");
  const member = (prefix: string): Uint8Array => {
    for (const [name, data] of members) if (name === prefix || name.startsWith(`${prefix}.`)) return data;
    throw new ParavirtError("BAD_IMAGE", `no Debian package: ${prefix} is missing`);
  };
  const control = new Map<string, string>();
  for (const entry of readTar(pieces(member("control.tar")))) {
    if (entry.path !== "control" || entry.data === undefined) continue;
    let key = "";
    for (const line of utf8Decode(entry.data).split("\n")) {
      if (/^[ \t]/.test(line)) control.set(key, `${control.get(key) ?? ""}\n${line.slice(1)}`);
      else if (line.includes(":")) {
        key = line.slice(0, line.indexOf(":"));
        control.set(key, line.slice(line.indexOf(":") + 1).trim());
      }
    }
  }
  const data = member("data.tar");
  return { control, files: () => readTar(pieces(data)) };
}

/** A member's bytes, unpacked block by block where its format allows it. */
function* pieces(data: Uint8Array): Generator<Uint8Array> {
  const format = detectCompression(data);
  if (format === undefined) {
    yield data;
  } else if (format === "xz") {
    for (const block of xzBlocks(data)) {
      if (block.size > PIECE_LIMIT) {
        throw new ParavirtError("OUT_OF_RANGE", `an xz block of ${block.size} bytes, over the limit of ${PIECE_LIMIT}`);
      }
      const out = new Uint8Array(block.size);
      decodeXzBlock(data, block, out, 0);
      yield out;
    }
  } else {
    yield unpack(data, { limit: PIECE_LIMIT });
  }
}

/** Reads an `ar` archive: its members by name, views on `bytes`. Throws `BAD_IMAGE`. */
export function readAr(bytes: Uint8Array): ReadonlyMap<string, Uint8Array> {
  const ascii = (at: number, length: number): string => utf8Decode(bytes.subarray(at, at + length));
  if (ascii(0, 8) !== AR_MAGIC) throw new ParavirtError("BAD_IMAGE", "no ar archive: no !<arch> at its start");
  const members = new Map<string, Uint8Array>();
  let at = 8;
  while (at < bytes.length) {
    const size = ascii(at + 48, 10).trim();
    if (at + 60 > bytes.length || ascii(at + 58, 2) !== "`\n" || !/^[0-9]+$/.test(size)) {
      throw new ParavirtError("BAD_IMAGE", `corrupt ar header at byte ${at}`);
    }
    const end = at + 60 + Number(size);
    if (end > bytes.length) {
      throw new ParavirtError("BAD_IMAGE", `truncated ar archive: it needs ${end} bytes, the file has ${bytes.length}`);
    }
    members.set(ascii(at, 16).trim().replace(/\/$/, ""), bytes.subarray(at + 60, end));
    at = end + (end % 2);
  }
  return members;
}
