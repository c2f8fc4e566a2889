/**
 * What paravirt needs of Node.js: files, terminals, Debian packages through apt.
 * @packageDocumentation
 */
export { type Apt, type AptOptions, type AptPackage, type AptPrograms, openApt } from "./apt.ts";
export { defaultCacheFolder } from "./cache.ts";
export {
  type DebianGuest,
  type DebianGuestOptions,
  debianGuest,
  type GuestPackage,
  type GuestProgress,
  XEN_MODULES,
} from "./debian-guest.ts";
export { type HostArchiveOptions, type HostFile, hostFileArchive } from "./host-archive.ts";
export {
  createLibraryFinder,
  LD_CACHE,
  type LibraryFinder,
  type NeededFile,
  type ProgramFile,
} from "./shared-libraries.ts";
export { type ByteSink, type ByteSource, fileSink, nullSink, readSource, streamSink } from "./streams.ts";
export { LEAVE_KEY, openTerminal, type Terminal, type TerminalOptions } from "./terminal.ts";
