import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { type Disk, ParavirtError } from "@paravirt/core";
import { type BlockFile, isQcow2, openHttpFile, openQcow2, overlayDisk, rawDisk } from "@paravirt/disk";
import { diskCodecs, openDiskFile, openNbd } from "@paravirt/host-node";

/** How the bytes of a source are a disk. */
export type DiskFormat = "raw" | "qcow2";

/** A disk that an option names: where it is and how it is to be opened. */
export interface DiskSpec {
  /** A path, or an `nbd://`, `nbd+unix://`, `http://` or `https://` address. */
  readonly source: string;
  /** How the source's bytes are a disk; told by its name and its first bytes when left out. */
  readonly format?: DiskFormat;
  /** Refuses writes. */
  readonly readOnly?: boolean;
  /** Leaves the source as it is: what is written goes to a temporary file and is gone after {@link OpenedDisk.close}. */
  readonly overlay?: boolean;
}

/** An open disk and its end. */
export interface OpenedDisk {
  readonly disk: Disk;
  /** How the source's bytes are a disk. */
  readonly format: DiskFormat;
  /** Flushes, and gives up files, locks and connections. */
  close(): Promise<void>;
}

/** Opens the disk that `spec` describes. Throws what the user is told in one line. */
export async function openDisk(spec: DiskSpec): Promise<OpenedDisk> {
  const readOnly = spec.readOnly === true || spec.overlay === true;
  const { disk: base, format } = await openImage(spec.source, spec.format, readOnly, 0);
  let disk = base;
  if (spec.overlay === true && spec.readOnly !== true) {
    try {
      disk = overlayDisk(base, { store: temporaryFile() });
    } catch (error) {
      await base.close?.();
      throw error;
    }
  }
  return { disk, format, close: async () => disk.close?.() };
}

/** Backing files of backing files: as many as anybody has, and an end for a chain that leads back to itself. */
const DEEPEST = 64;

async function openImage(
  source: string,
  format: DiskFormat | undefined,
  readOnly: boolean,
  depth: number,
): Promise<{ readonly disk: Disk; readonly format: DiskFormat }> {
  if (depth > DEEPEST)
    throw new ParavirtError("BAD_IMAGE", `${source} has more than ${DEEPEST} backing files below it`);
  if (/^nbds?(\+unix)?:/i.test(source)) {
    if (format === "qcow2")
      throw new ParavirtError("UNSUPPORTED", `${source}: a qcow2 image behind NBD; its server reads that`);
    return { disk: await openNbd(source, { readOnly }), format: "raw" };
  }
  const isRemote = /^https?:/i.test(source);
  if (isRemote && !readOnly)
    throw new ParavirtError("DENIED", `${source} can't be written: add ,ro, or ,overlay for writes that are dropped`);
  const file = isRemote ? await openHttpFile(source, { fetch }) : openDiskFile(source, { readOnly });
  try {
    const chosen = format ?? (await chooseFormat(source, file));
    if (chosen === "raw") return { disk: rawDisk(file), format: chosen };
    const disk = await openQcow2(file, {
      codecs: diskCodecs,
      openBacking: async (name, backingFormat) => {
        const path = backingPath(source, name);
        return (await openImage(path, knownFormat(path, backingFormat), true, depth + 1)).disk;
      },
    });
    return { disk, format: chosen };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * The format of a file whose user said none. Bytes alone don't decide: a guest that owns a raw disk could write a qcow2
 * header there, name any file of the host as its backing file, and read it after the next start.
 */
async function chooseFormat(source: string, file: BlockFile): Promise<DiskFormat> {
  const first = new Uint8Array(4);
  await file.read(0, [first]);
  const isNamed = /\.qcow2?$/i.test(source.replace(/[?#].*$/, ""));
  if (isQcow2(first) === isNamed) return isNamed ? "qcow2" : "raw";
  if (isNamed) throw new ParavirtError("BAD_IMAGE", `${source} is no qcow2 image: say format=raw if it is none`);
  throw new ParavirtError(
    "BAD_ARGUMENT",
    `${source} begins as a qcow2 image, and its name doesn't end in .qcow2: say format=qcow2, or format=raw if a guest wrote that`,
  );
}

function knownFormat(path: string, format: string | undefined): DiskFormat {
  if (format === "raw" || format === "qcow2") return format;
  throw new ParavirtError(
    "UNSUPPORTED",
    format === undefined
      ? `the backing file ${path}, since the image doesn't say its format: qemu-img rebase -u -b FILE -F FORMAT does`
      : `the backing file ${path} of format ${format}; raw and qcow2 are read`,
  );
}

function backingPath(source: string, name: string): string {
  // A stranger's image would choose among this machine's files.
  if (/^https?:/i.test(source))
    throw new ParavirtError("UNSUPPORTED", `the backing file ${name} of ${source}: images from the web stand alone`);
  // QEMU writes protocols into names too ("json:", "nbd:…"); a file's name may have a colon after a slash only.
  if (/^[a-z][a-z0-9+.-]*:/i.test(name) && !name.startsWith("file:"))
    throw new ParavirtError("UNSUPPORTED", `the backing file ${name}: only local files are opened as such`);
  const path = name.replace(/^file:/, "");
  return isAbsolute(path) ? path : join(dirname(source), path);
}

/** A file that nobody else sees and that is gone when it is closed, however this process ends. */
function temporaryFile(): BlockFile {
  const folder = mkdtempSync(join(tmpdir(), "paravirt-overlay-"));
  try {
    return openDiskFile(join(folder, "changes"), { create: "new", lock: false });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
