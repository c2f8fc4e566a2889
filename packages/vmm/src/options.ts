import type { KernelImage } from "@paravirt/boot";
import type { Clock } from "@paravirt/core";
import type { CpuModel } from "@paravirt/cpu";
import type { CrashReport, HypercallCount } from "@paravirt/hypervisor";
import type { Device } from "@paravirt/xenbus";

/** What {@link createMachine} can be told. */
export interface MachineOptions {
  /** MiB of memory for all domains together; 1024 when left out. Only what guests touch is really used. */
  readonly memory?: number;
  /** Drives everything that has to do with time; the host's clock when left out. */
  readonly clock?: Clock;
  /** Who gets the processor: `"credit2"` (the default) shares it by weight, `"null"` gives it to the first VCPU. */
  readonly scheduler?: "credit2" | "null";
  /** 64 random bits for guests' RDRAND; the host's generator when left out, a fixed sequence with an instruction clock. */
  readonly random?: () => bigint;
  /** Gets the hypervisor's own messages and what guests write with console_io, by domain id. */
  readonly log?: (domain: number, text: string) => void;
  /**
   * The processor that guests see: a level of the x86-64 psABI, or `"max"` (the default), all that the engine implements
   * but FSGSBASE, which makes a PV kernel's context switches slower, and AVX, which `"x86-64-v3"` has. Instructions that
   * CPUID doesn't show raise #UD.
   */
  readonly cpu?: CpuModel | "max";
  /** CPU features that guests see, by their names in /proc/cpuinfo, instead of those of `cpu`. */
  readonly cpuFeatures?: readonly string[];
  /** Whether hot code is translated; `false` interprets everything. */
  readonly translate?: boolean;
  /** Closes the machine when aborted. */
  readonly signal?: AbortSignal;
}

/** What {@link Machine.createDomain} needs. */
export interface MachineDomainOptions {
  /** The kernel: an ELF file or bzImage, or one that was read before. */
  readonly kernel: Uint8Array | KernelImage;
  /** The initial ramdisk. */
  readonly initrd?: Uint8Array;
  /** The kernel's command line. */
  readonly commandLine?: string;
  /** MiB of memory; 256 when left out. */
  readonly memory?: number;
  /**
   * MiB that {@link MachineDomain.setMemoryTarget} may give it later; `memory` when left out. The guest's kernel keeps
   * books for all of it, 2 % or so.
   */
  readonly maxMemory?: number;
  /** Virtual processors; 1 when left out. */
  readonly vcpus?: number;
  /** Name for messages and xenstore. */
  readonly name?: string;
  /** Share of the processor relative to other domains: 1 to 65535, 256 when left out. */
  readonly weight?: number;
  /** Percent of one processor that the domain may use, 0 for no limit. */
  readonly cap?: number;
  /** Devices that it has from the start: disks, networks, shared folders. */
  readonly devices?: readonly Device[];
  /** Leaves the domain paused until {@link MachineDomain.unpause}. */
  readonly paused?: boolean;
  /** Destroys the domain when aborted. */
  readonly signal?: AbortSignal;
}

/** Why a domain ended. */
export interface DomainShutdown {
  /** How it ended; `"destroyed"` when the host did it. */
  readonly reason: "poweroff" | "reboot" | "suspend" | "crash" | "watchdog" | "soft_reset" | "destroyed";
  /** SHUTDOWN number of Xen's public/sched.h; -1 when the host destroyed the domain. */
  readonly code: number;
  /** Registers, stack and last hypercalls, when it crashed. */
  readonly crash?: CrashReport;
}

/** Counters of a machine. */
export interface MachineStatistics {
  /** Guest instructions executed. */
  readonly instructions: number;
  /** Entries that page walks brought into the TLB. */
  readonly tlbFills: number;
  /** Faults raised by guest code, page faults included. */
  readonly faults: number;
  /** Pieces of code decoded for the interpreter. */
  readonly blocksDecoded: number;
  /** Pieces of code translated to WebAssembly. */
  readonly blocksTranslated: number;
  /** Hypercalls by domain id and name. */
  readonly hypercalls: Readonly<Record<number, Readonly<Record<string, HypercallCount>>>>;
}
