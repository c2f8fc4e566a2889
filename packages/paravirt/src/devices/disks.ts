import { blockDeviceName, blockDeviceNumber, createBlkback } from "@paravirt/blkback";
import type { ParsedArguments } from "../options.ts";
import { UsageError } from "../usage-error.ts";
import type { DeviceRequest } from "./device-request.ts";
import { type DiskSpec, openDisk } from "./open-disk.ts";

/** A disk as `--disk` asks for it. */
export interface DiskRequest extends DiskSpec {
  /** The device in the guest, `xvda`; the first free one when left out. */
  readonly name?: string;
  /** Whether the guest sees a CD-ROM drive. */
  readonly cdrom: boolean;
}

const SYNTAX = "PATH[,format=raw|qcow2][,ro][,overlay][,cdrom][,dev=xvda]";

/** Reads one `--disk`: `PATH[,format=raw|qcow2][,ro][,overlay][,cdrom][,dev=xvda]`. */
export function parseDisk(text: string): DiskRequest {
  const refuse = (why: string): UsageError => new UsageError(`--disk ${text}: ${why}`);
  const [source = "", ...words] = text.split(",");
  if (source === "") throw refuse(`a path comes first: ${SYNTAX}`);
  let format: DiskSpec["format"];
  let name: string | undefined;
  const flags = new Set<string>();
  for (const word of words) {
    if (word === "ro" || word === "overlay" || word === "cdrom") flags.add(word);
    else if (word === "format=raw" || word === "format=qcow2") format = word === "format=raw" ? "raw" : "qcow2";
    else if (word.startsWith("format=")) throw refuse(`${word.slice(7)} is no format: raw or qcow2`);
    else if (word.startsWith("dev=")) name = word.slice(4).replace(/^\/dev\//, "");
    else throw refuse(`"${word}" isn't known: ${SYNTAX}`);
  }
  if (name !== undefined && !isDeviceName(name)) throw refuse(`dev=${name}: xvda, xvdb, …, or a partition, xvda1`);
  if (flags.has("cdrom") && flags.has("overlay")) throw refuse("a CD-ROM is never written, so it needs no overlay");
  const cdrom = flags.has("cdrom");
  return {
    source,
    readOnly: flags.has("ro") || cdrom,
    overlay: flags.has("overlay"),
    cdrom,
    ...(format === undefined ? {} : { format }),
    ...(name === undefined ? {} : { name }),
  };
}

function isDeviceName(name: string): boolean {
  try {
    blockDeviceNumber(name);
    return true;
  } catch {
    return false;
  }
}

/** The disks that `--disk` asks for; those without a name get the first free ones, in their order. */
export function diskRequests({ lists }: Pick<ParsedArguments, "lists">): readonly DeviceRequest[] {
  const requests = (lists.get("disk") ?? []).map(parseDisk);
  const taken = new Set<string>();
  for (const { name } of requests) {
    if (name === undefined) continue;
    if (taken.has(name)) throw new UsageError(`--disk: two disks are to be ${name}`);
    taken.add(name);
  }
  let next = 0;
  return requests.map((request) => {
    let { name } = request;
    while (name === undefined) {
      const free = blockDeviceName(next++);
      if (!taken.has(free)) name = free;
    }
    return deviceRequest(request, name);
  });
}

function deviceRequest(request: DiskRequest, name: string): DeviceRequest {
  return {
    kind: "disk",
    async open() {
      const { disk, close } = await openDisk(request);
      const media = request.cdrom ? "cdrom" : "disk";
      try {
        return { device: createBlkback({ disk, name, media, description: request.source }), close };
      } catch (error) {
        await close();
        throw error;
      }
    },
  };
}
