/**
 * Units, ports and typed errors that the paravirt packages share. No logic.
 * @packageDocumentation
 */
export { isParavirtError, ParavirtError, type ParavirtErrorCode } from "./errors.ts";
export type {
  ByteStream,
  Clock,
  Disk,
  FrameGuard,
  MachineMemory,
  PacketOffload,
  PacketPort,
  TlbPort,
  Trace,
} from "./ports.ts";
export { type DomId, type Gfn, type GrantRef, type Mfn, PAGE_SHIFT, PAGE_SIZE, type Pfn, type Port } from "./units.ts";
