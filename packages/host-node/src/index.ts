/**
 * What paravirt needs of Node.js: files, terminals, Debian packages through apt.
 * @packageDocumentation
 */
export { type Apt, type AptOptions, type AptPackage, type AptPrograms, openApt } from "./apt.ts";
export { type DebianSources, debianSources, type SourcesOptions } from "./apt-sources.ts";
export { defaultCacheFolder } from "./cache.ts";
export {
  type DebianGuest,
  type DebianGuestOptions,
  debianGuest,
  GUEST_MODULES,
  type GuestPackage,
  type GuestProgress,
  MODULE_PARAMETERS,
  XEN_MODULES,
} from "./debian-guest.ts";
export { buildDebianImage, DEBIAN_IMAGE_PACKAGES, type DebianImageOptions } from "./debian-image.ts";
export { diskCodecs } from "./disk-codecs.ts";
export { type DiskFileOptions, openDiskFile } from "./disk-file.ts";
export { type HostArchiveOptions, type HostFile, hostFileArchive } from "./host-archive.ts";
export { type HostFolder, openHostFolder } from "./host-folder.ts";
export { type NbdAddress, openNbd, parseNbdAddress } from "./nbd-socket.ts";
export { type NodeNetworkHostOptions, nodeNetworkHost } from "./network-host.ts";
export { openPcapFile, type PcapFile } from "./pcap-file.ts";
export { openRecordLog, type RecordLog, type RecordLogOptions } from "./record-log.ts";
export {
  createLibraryFinder,
  LD_CACHE,
  type LibraryFinder,
  type NeededFile,
  type ProgramFile,
} from "./shared-libraries.ts";
export { type ByteSink, type ByteSource, fileSink, nullSink, readSource, streamSink } from "./streams.ts";
export { LEAVE_KEY, openTerminal, type Terminal, type TerminalOptions } from "./terminal.ts";
export { connectUnix, listenUnix, type UnixServer, type UnixStreamOptions } from "./unix-socket.ts";
export { connectUnixStream, listenUnixStream, type UnixListener } from "./unix-stream.ts";
export { startXenstoreDaemon, type XenstoreDaemon, type XenstoreDaemonOptions } from "./xenstore-daemon.ts";
