import { ParavirtError } from "@paravirt/core";

/** Field offsets and limits of the qcow2 header (QEMU, docs/interop/qcow2.txt); all numbers are big-endian. */
export const HEADER = {
  magic: 0x514649fb,
  version: 4,
  backingOffset: 8,
  backingLength: 16,
  clusterBits: 20,
  size: 24,
  cryptMethod: 32,
  l1Entries: 36,
  l1Offset: 40,
  refcountTableOffset: 48,
  refcountTableClusters: 56,
  snapshotCount: 60,
  snapshotsOffset: 64,
  v2Length: 72,
  incompatible: 72,
  compatible: 80,
  autoclear: 88,
  refcountOrder: 96,
  headerLength: 100,
  compressionType: 104,
  v3Length: 112,
} as const;

const EXTENSION = {
  end: 0,
  backingFormat: 0xe2792aca,
  featureNames: 0x6803f857,
  bitmaps: 0x23852875,
  encryption: 0x0537be77,
  dataFile: 0x44415441,
} as const;

/** Bits of the incompatible features. */
export const INCOMPATIBLE = { dirty: 1n, corrupt: 2n, dataFile: 4n, compressionType: 8n, extendedL2: 16n } as const;
const SUPPORTED = INCOMPATIBLE.dirty | INCOMPATIBLE.corrupt | INCOMPATIBLE.compressionType;
const KNOWN_NAMES: ReadonlyMap<number, string> = new Map([
  [2, "external data file"],
  [4, "extended L2 entries"],
]);
/** Bit of the compatible features. */
export const LAZY_REFCOUNTS = 1n;

/** The longest L1 table that QEMU opens, in bytes. */
export const MAX_L1_BYTES: number = 32 << 20;
/** The longest refcount table that QEMU opens, in bytes. */
export const MAX_REFCOUNT_TABLE_BYTES: number = 8 << 20;
const MAX_SNAPSHOTS = 65536;
const MAX_BACKING_NAME = 1023;

/** A decoded and checked header. */
export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  /** Bytes of the disk. */
  readonly size: number;
  readonly l1Entries: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  /** Refcounts are 2 to the power of this many bits wide. */
  readonly refcountOrder: number;
  readonly snapshotCount: number;
  readonly snapshotsOffset: number;
  readonly incompatible: bigint;
  readonly compatible: bigint;
  readonly autoclear: bigint;
  readonly compression: "zlib" | "zstd";
  readonly backingFile: string | undefined;
  readonly backingFormat: string | undefined;
  /** Where the directory of persistent bitmaps is, for images that have some. */
  readonly bitmaps:
    | { readonly count: number; readonly directoryOffset: number; readonly directoryBytes: number }
    | undefined;
}

/** Whether `bytes`, the first four or more of a file, begin a qcow2 image. */
export function isQcow2(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && viewOf(bytes).getUint32(0) === HEADER.magic;
}

/**
 * Decodes the header in `bytes`, the file's first 64 KiB or as much as there is. Throws `BAD_IMAGE` for what contradicts
 * itself, `UNSUPPORTED` naming each feature that this package doesn't have.
 */
export function decodeHeader(bytes: Uint8Array): Qcow2Header {
  if (bytes.length < HEADER.v2Length || !isQcow2(bytes)) throw bad("it doesn't begin as a qcow2 image");
  const view = viewOf(bytes);
  const version = view.getUint32(HEADER.version);
  if (version !== 2 && version !== 3) throw new ParavirtError("UNSUPPORTED", `qcow2 version ${version}; 2 and 3 are`);
  const clusterBits = view.getUint32(HEADER.clusterBits);
  if (clusterBits < 9 || clusterBits > 21) throw bad(`clusters of 2^${clusterBits} bytes; 2^9 to 2^21 are allowed`);
  const clusterSize = 2 ** clusterBits;
  const isV3 = version === 3;
  if (isV3 && bytes.length < HEADER.compressionType) throw bad("the header is cut off");
  const headerLength = isV3 ? view.getUint32(HEADER.headerLength) : HEADER.v2Length;
  if (
    headerLength < (isV3 ? HEADER.compressionType : HEADER.v2Length) ||
    headerLength > Math.min(clusterSize, bytes.length)
  )
    throw bad(`a header of ${headerLength} bytes`);
  const crypt = view.getUint32(HEADER.cryptMethod);
  if (crypt !== 0)
    throw new ParavirtError(
      "UNSUPPORTED",
      `${["", "AES", "LUKS"][crypt] ?? `method ${crypt}`} encryption of a qcow2 image`,
    );
  const extensions = decodeExtensions(bytes, headerLength, clusterSize);
  const incompatible = isV3 ? view.getBigUint64(HEADER.incompatible) : 0n;
  refuseUnknown(incompatible, extensions.featureNames);
  const hasType = isV3 && headerLength > HEADER.compressionType;
  const type = hasType ? view.getUint8(HEADER.compressionType) : 0;
  if (type > 1) throw new ParavirtError("UNSUPPORTED", `compression type ${type} of a qcow2 image; zlib and zstd are`);
  if ((type !== 0) !== ((incompatible & INCOMPATIBLE.compressionType) !== 0n))
    throw bad("compression type and its feature bit contradict each other");
  const refcountOrder = isV3 ? view.getUint32(HEADER.refcountOrder) : 4;
  if (refcountOrder > 6) throw bad(`refcounts of 2^${refcountOrder} bits; 2^6 is the most`);

  const l1Entries = view.getUint32(HEADER.l1Entries);
  const size = safe(view, HEADER.size, "size of the disk");
  const l1Offset = safe(view, HEADER.l1Offset, "L1 table");
  const refcountTableOffset = safe(view, HEADER.refcountTableOffset, "refcount table");
  const refcountTableClusters = view.getUint32(HEADER.refcountTableClusters);
  const snapshotCount = view.getUint32(HEADER.snapshotCount);
  const snapshotsOffset = safe(view, HEADER.snapshotsOffset, "snapshot table");
  if (l1Entries * 8 > MAX_L1_BYTES) throw bad(`an L1 table of ${l1Entries} entries; ${MAX_L1_BYTES / 8} is the most`);
  if (l1Entries < Math.ceil(size / (clusterSize * (clusterSize / 8))))
    throw bad(`an L1 table of ${l1Entries} entries is too short for ${size} bytes`);
  if (refcountTableClusters === 0 || refcountTableClusters * clusterSize > MAX_REFCOUNT_TABLE_BYTES)
    throw bad(`a refcount table of ${refcountTableClusters} clusters`);
  if (snapshotCount > MAX_SNAPSHOTS) throw bad(`${snapshotCount} snapshots; ${MAX_SNAPSHOTS} is the most`);
  for (const offset of [l1Offset, refcountTableOffset, snapshotCount === 0 ? 0 : snapshotsOffset])
    if (offset % clusterSize !== 0) throw bad(`a table at ${offset}, which no cluster begins at`);
  return {
    version,
    clusterBits,
    size,
    l1Entries,
    l1Offset,
    refcountTableOffset,
    refcountTableClusters,
    refcountOrder,
    snapshotCount,
    snapshotsOffset,
    incompatible,
    compatible: isV3 ? view.getBigUint64(HEADER.compatible) : 0n,
    autoclear: isV3 ? view.getBigUint64(HEADER.autoclear) : 0n,
    compression: type === 1 ? "zstd" : "zlib",
    backingFile: backingName(bytes, view, clusterSize),
    backingFormat: extensions.backingFormat,
    bitmaps: extensions.bitmaps,
  };
}

interface Extensions {
  backingFormat?: string;
  featureNames: Map<number, string>;
  bitmaps: Qcow2Header["bitmaps"];
}

function decodeExtensions(bytes: Uint8Array, from: number, clusterSize: number): Extensions {
  const view = viewOf(bytes);
  const found: Extensions = { featureNames: new Map(), bitmaps: undefined };
  const backingOffset = safe(view, HEADER.backingOffset, "backing file's name");
  const limit = Math.min(bytes.length, clusterSize, backingOffset > 0 ? backingOffset : clusterSize);
  for (let at = from; at + 8 <= limit; ) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    if (type === EXTENSION.end) break;
    if (length > limit - at - 8) throw bad(`a header extension of ${length} bytes doesn't fit`);
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (type === EXTENSION.backingFormat) found.backingFormat = textOf(data);
    if (type === EXTENSION.featureNames)
      for (let row = 0; row + 48 <= length; row += 48)
        if (data[row] === 0)
          found.featureNames.set(data[row + 1]!, textOf(data.subarray(row + 2, row + 48)).replace(/\0.*$/s, ""));
    if (type === EXTENSION.bitmaps && length >= 24)
      found.bitmaps = {
        count: viewOf(data).getUint32(0),
        directoryBytes: safe(viewOf(data), 8, "bitmap directory"),
        directoryOffset: safe(viewOf(data), 16, "bitmap directory"),
      };
    if (type === EXTENSION.encryption) throw new ParavirtError("UNSUPPORTED", "encryption of a qcow2 image");
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}

function refuseUnknown(incompatible: bigint, names: ReadonlyMap<number, string>): void {
  const unknown: string[] = [];
  for (let bit = 0; bit < 64; bit++)
    if (((incompatible & ~SUPPORTED) >> BigInt(bit)) & 1n)
      unknown.push(KNOWN_NAMES.get(bit) ?? names.get(bit) ?? `incompatible feature ${bit}`);
  if (unknown.length > 0) throw new ParavirtError("UNSUPPORTED", `qcow2 features of this image: ${unknown.join(", ")}`);
}

function backingName(bytes: Uint8Array, view: DataView, clusterSize: number): string | undefined {
  const offset = safe(view, HEADER.backingOffset, "backing file's name");
  if (offset === 0) return undefined;
  const length = view.getUint32(HEADER.backingLength);
  if (length > MAX_BACKING_NAME || offset + length > Math.min(clusterSize, bytes.length))
    throw bad(`a backing file's name of ${length} bytes at ${offset}`);
  return length === 0 ? undefined : textOf(bytes.subarray(offset, offset + length));
}

/** What {@link encodeHeader} takes: a header without what follows from the rest. */
export type NewHeader = Omit<Qcow2Header, "bitmaps" | "snapshotCount" | "snapshotsOffset">;

/** The header's cluster, as a new image begins. Throws `BAD_ARGUMENT` when a backing file's name is too long for it. */
export function encodeHeader(header: NewHeader): Uint8Array {
  const clusterSize = 2 ** header.clusterBits;
  const bytes = new Uint8Array(clusterSize);
  const view = viewOf(bytes);
  const isV3 = header.version === 3;
  view.setUint32(0, HEADER.magic);
  view.setUint32(HEADER.version, header.version);
  view.setUint32(HEADER.clusterBits, header.clusterBits);
  view.setBigUint64(HEADER.size, BigInt(header.size));
  view.setUint32(HEADER.l1Entries, header.l1Entries);
  view.setBigUint64(HEADER.l1Offset, BigInt(header.l1Offset));
  view.setBigUint64(HEADER.refcountTableOffset, BigInt(header.refcountTableOffset));
  view.setUint32(HEADER.refcountTableClusters, header.refcountTableClusters);
  let at: number = HEADER.v2Length;
  if (isV3) {
    view.setBigUint64(HEADER.incompatible, header.incompatible);
    view.setBigUint64(HEADER.compatible, header.compatible);
    view.setUint32(HEADER.refcountOrder, header.refcountOrder);
    view.setUint32(HEADER.headerLength, HEADER.v3Length);
    view.setUint8(HEADER.compressionType, header.compression === "zstd" ? 1 : 0);
    at = HEADER.v3Length;
  }
  if (header.backingFile !== undefined) {
    const format = bytesOf(header.backingFormat ?? "");
    const name = bytesOf(header.backingFile);
    const end = at + (format.length > 0 ? 8 + Math.ceil(format.length / 8) * 8 : 0) + 8;
    if (name.length > MAX_BACKING_NAME || end + name.length > clusterSize)
      throw new ParavirtError(
        "BAD_ARGUMENT",
        `a backing file's name of ${name.length} bytes; ${Math.min(MAX_BACKING_NAME, clusterSize - end)} fit`,
      );
    if (format.length > 0) {
      view.setUint32(at, EXTENSION.backingFormat);
      view.setUint32(at + 4, format.length);
      bytes.set(format, at + 8);
    }
    bytes.set(name, end);
    view.setBigUint64(HEADER.backingOffset, BigInt(end));
    view.setUint32(HEADER.backingLength, name.length);
  }
  return bytes;
}

/** A table's view, for big-endian access. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A typed error about what an image says. */
export function bad(what: string): ParavirtError {
  return new ParavirtError("BAD_IMAGE", `this qcow2 image can't be right: ${what}`);
}

function safe(view: DataView, at: number, what: string): number {
  const value = view.getBigUint64(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw bad(`${what} at or of ${value}`);
  return Number(value);
}

/** Bytes as text, UTF-8 taken byte by byte where it isn't any: names only. */
export function textOf(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  try {
    return decodeURIComponent(text.replace(/[%\x80-\xff]/g, (one) => `%${one.charCodeAt(0).toString(16)}`));
  } catch {
    return text;
  }
}

function bytesOf(text: string): Uint8Array {
  const escaped = encodeURIComponent(text).replace(/%([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Uint8Array.from(escaped, (one) => one.charCodeAt(0));
}
