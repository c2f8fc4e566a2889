/**
 * Virtual disks behind one port, {@link @paravirt/core!Disk}: raw and qcow2 images on any storage, copy-on-write overlays,
 * memory, NBD and HTTP ranges.
 * @packageDocumentation
 */
export type { Answer } from "./answer.ts";
export type { BlockFile } from "./block-file.ts";
export { type CopyOptions, compareDisks, copyDisk, copyDiskCompressed } from "./convert.ts";
export { type HttpFetch, type HttpFileOptions, type HttpResponse, openHttpFile } from "./http.ts";
export { memoryFile } from "./memory-file.ts";
export { connectNbd, type NbdOptions } from "./nbd/disk.ts";
export { type OverlayDisk, type OverlayOptions, overlayDisk } from "./overlay.ts";
export { checkQcow2, type Qcow2Report } from "./qcow2/check.ts";
export type { Codecs } from "./qcow2/codecs.ts";
export { type CreateQcow2Options, createQcow2 } from "./qcow2/create.ts";
export { isQcow2 } from "./qcow2/header.ts";
export {
  type OpenQcow2Options,
  openQcow2,
  type Qcow2Disk,
  type Qcow2Extent,
  type Qcow2FileInfo,
  type Qcow2Info,
  readQcow2Info,
} from "./qcow2/qcow2.ts";
export type { Qcow2Snapshot } from "./qcow2/snapshots.ts";
export { type MemoryDiskOptions, memoryDisk, type RawDiskOptions, type ResizableDisk, rawDisk } from "./raw.ts";
