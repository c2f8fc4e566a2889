/**
 * Reads kernels (ELF, bzImage, Xen notes), unpacks their payloads, builds initramfs archives and Xen PV domains.
 * @packageDocumentation
 */
export { type BzImage, isBzImage, readBzImage } from "./bzimage.ts";
export {
  COMMAND_INPUT_LIMIT,
  type CommandDecoder,
  type CommandOptions,
  type CommandReceiver,
  commandArchive,
  commandScript,
  createCommandDecoder,
  encodeCommandInput,
  encodeCommandInputEnd,
  quoteWord,
} from "./command-protocol.ts";
export { type ArchiveEntry, type ArchiveSource, readCpio, readInitrd, writeCpio } from "./cpio.ts";
export { type Deb, readAr, readDeb } from "./deb.ts";
export { crc32 } from "./decompress/crc.ts";
export { type Compression, detectCompression, type UnpackOptions, unpack } from "./decompress/unpack.ts";
export { cString, type ElfFile, type ElfNote, type ElfSection, type ElfSegment, isElf, readElf } from "./elf.ts";
export { type ElfDynamic, readElfDynamic } from "./elf-dynamic.ts";
export { ROOT_FOLDER } from "./guest-setup.ts";
export { GUEST_PLACES, INIT_SCRIPT, type SessionPlaces, sessionScript } from "./init-script.ts";
export {
  buildInitramfs,
  type GuestCommandLineOptions,
  guestCommandLine,
  type InitramfsModule,
  type InitramfsOptions,
  joinArchives,
  type SharedFolder,
} from "./initramfs.ts";
export {
  type BootReport,
  type BootWay,
  type FeatureReport,
  type ImageReport,
  inspectImage,
  type NoteReport,
  type SegmentReport,
} from "./inspect.ts";
export {
  bzImagePayload,
  DEFAULT_KERNEL_LIMIT,
  type KernelImage,
  type ReadKernelOptions,
  readKernelImage,
} from "./kernel-image.ts";
export {
  isModulePath,
  moduleDependencies,
  moduleName,
  parseModulesDep,
  readModuleInfo,
  resolveModules,
  unpackModule,
} from "./kernel-modules.ts";
export {
  type BuiltPvDomain,
  buildPvDomain,
  type PvBuildOptions,
  type PvBuildPorts,
  type PvVcpuState,
} from "./pv-build.ts";
export { checkPvBootable, type PvPlace } from "./pv-check.ts";
export { type PvLoad, type PvPlan, type PvPlanOptions, type PvRegion, planPvDomain } from "./pv-plan.ts";
export { type PvLevelRange, type PvMapping, type PvTableEntry, planMapping, tableEntries } from "./pv-tables.ts";
export { type DomuStartInfo, encodeStartInfo } from "./start-info.ts";
export { readTar, type TarEntry } from "./tar.ts";
export { parseXenFeatures, readXenKernelInfo, type XenFeatures, type XenKernelInfo } from "./xen-notes.ts";
