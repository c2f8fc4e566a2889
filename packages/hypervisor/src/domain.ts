import { ParavirtError } from "@paravirt/core";
import type { DomainMemory } from "@paravirt/paging";
import { SHUTDOWN, writeHypercallPage, XEN_LEGACY_MAX_VCPUS } from "@paravirt/xen-abi";
import { SHARED_INFO, VCPU_INFO } from "./abi.ts";
import { type CrashReport, captureCrash } from "./crash.ts";
import { EventChannels } from "./event-channels.ts";
import type { GuestMapping } from "./grant-map.ts";
import { GrantTable } from "./grants.ts";
import type { Hypervisor } from "./hypervisor.ts";
import { writeVcpuTime, writeWallClock } from "./pv-time.ts";
import { HypercallStatistics } from "./statistics.ts";
import { NEVER, VirtualCpu } from "./virtual-cpu.ts";

/** Most VCPUs of a PV domain (Xen's MAX_VIRT_CPUS). */
const MAX_VCPUS = 8192;

/** What a domain is made of. */
export interface DomainOptions {
  /** Domain id, 1 to 0x7fef; the next free one when left out. */
  readonly id?: number;
  /** Name for messages; not unique. */
  readonly name?: string;
  /** Frames of memory that the domain may own at most. */
  readonly maxPages: number;
  /** VCPUs that may ever be up; 1 when left out. All begin down. */
  readonly vcpus?: number;
  /** Highest event channel port; 1023 when left out, as xl sets it. */
  readonly maxEventChannels?: number;
  /** Frames that the grant table may grow to; 64 when left out. */
  readonly maxGrantFrames?: number;
  /** Seconds added to the wall clock that the guest sees; 0 when left out. */
  readonly timeOffsetSeconds?: number;
  /** Sixteen bytes that identify the domain (XENVER_guest_handle); zeros when left out. */
  readonly handle?: Uint8Array;
}

/** Why a domain is not running any more. */
export interface Shutdown {
  /** A SHUTDOWN number of public/sched.h: 0 poweroff, 1 reboot, 2 suspend, 3 crash, 4 watchdog. */
  readonly reason: number;
  /** Present when it crashed. */
  readonly crash?: CrashReport;
}

/** A guest: its memory, VCPUs, event channels and grant table. Made by {@link Hypervisor.createDomain}. */
export class Domain {
  /** The hypervisor that it belongs to. */
  readonly machine: Hypervisor;
  /** Domain id. */
  readonly id: number;
  /** Name for messages. */
  readonly name: string;
  /** Its frames and their accounts, in paging. */
  readonly memory: DomainMemory;
  /** All its VCPUs, by id; those that are not up are there too. */
  readonly vcpus: readonly VirtualCpu[];
  /** Its event channels. */
  readonly events: EventChannels;
  /** Its grant table. */
  readonly grants: GrantTable;
  /** How often it issued which hypercall. */
  readonly statistics: HypercallStatistics = new HypercallStatistics();
  /** MFN and machine address of the shared_info page. */
  readonly sharedInfoMfn: number;
  /** Machine address of that page. */
  readonly sharedInfoAt: number;
  /** Sixteen bytes that identify it. */
  readonly handle: Uint8Array;
  /** Frames that it may own at most. */
  readonly maxPages: number;
  /** Seconds added to the wall clock that it sees. */
  timeOffsetSeconds: number;
  /** VMASST bits 0 to 31 that are on. */
  vmAssist = 0;
  /** Latch of I/O port 0xcf8. */
  pciAddress = 0xffffffff;
  /** Page of PHYSDEVOP_pirq_eoi_gmfn, 0 for none. */
  eoiMapMfn = 0;
  /** Grants of other domains that this one has mapped, by handle. */
  readonly mappings: Map<number, GuestMapping> = new Map();
  /** Handle of the next mapping. */
  nextHandle = 0;
  /** Clock times of the two SCHEDOP_watchdog timers. */
  readonly watchdogs: [bigint, bigint] = [NEVER, NEVER];
  /** Paused by the toolstack: no VCPU runs. Domains begin paused. */
  paused = true;
  /** Set when the domain shut down or crashed. */
  shutdown: Shutdown | undefined;
  /** Being destroyed. */
  dying = false;
  /** Reason that SCHEDOP_shutdown_code left for a shutdown to come. */
  shutdownCode: number | undefined;

  constructor(machine: Hypervisor, id: number, options: DomainOptions) {
    const vcpus = options.vcpus ?? 1;
    if (!Number.isInteger(vcpus) || vcpus < 1 || vcpus > MAX_VCPUS) {
      throw new ParavirtError("OUT_OF_RANGE", `${vcpus} VCPUs asked for; a domain has 1 to ${MAX_VCPUS}`);
    }
    if (options.handle !== undefined && options.handle.length !== 16) {
      throw new ParavirtError("BAD_ARGUMENT", `domain handle has ${options.handle.length} bytes; it must have 16`);
    }
    this.machine = machine;
    this.id = id;
    this.name = options.name ?? `domain ${id}`;
    this.maxPages = options.maxPages;
    this.handle = options.handle?.slice() ?? new Uint8Array(16);
    this.timeOffsetSeconds = options.timeOffsetSeconds ?? 0;
    this.memory = machine.paging.createDomain({ id, maxFrames: options.maxPages });
    const shared = this.allocateXenFrame();
    if (shared === undefined) throw new ParavirtError("OUT_OF_MEMORY", "no frame is left for a shared_info page");
    this.sharedInfoMfn = shared;
    this.sharedInfoAt = shared * 4096;
    this.vcpus = Array.from({ length: vcpus }, (_, vcpu) => {
      const inShared = vcpu < XEN_LEGACY_MAX_VCPUS;
      const at = inShared ? this.sharedInfoAt + vcpu * VCPU_INFO.size : machine.dummyInfoAt;
      const virtual = new VirtualCpu(this, vcpu, machine.createCpu(), at);
      machine.adopt(virtual);
      if (inShared) {
        virtual.upcallMasked = true;
        writeVcpuTime(virtual);
      }
      return virtual;
    });
    writeWallClock(this);
    this.events = new EventChannels(this, options.maxEventChannels ?? 1023);
    this.grants = new GrantTable(this, options.maxGrantFrames ?? 64);
  }

  /** Whether its VCPUs may run. */
  get running(): boolean {
    return !this.paused && !this.dying && this.shutdown === undefined;
  }

  /** Lets the domain run. */
  unpause(): void {
    if (!this.paused) return;
    this.paused = false;
    for (const vcpu of this.vcpus) if (vcpu.runnable) this.machine.noteRunnable(vcpu);
  }

  /** Stops the domain's VCPUs until {@link Domain.unpause}. */
  pause(): void {
    this.paused = true;
  }

  /** Ends the domain's run for `reason`, as SCHEDOP_shutdown does; the first reason counts. */
  shutDown(reason: number, crash?: CrashReport): void {
    if (this.shutdown !== undefined) return;
    const why = this.shutdownCode ?? reason;
    this.shutdown = crash === undefined ? { reason: why } : { reason: why, crash };
    this.machine.noteShutdown(this);
  }

  /** The guest asked to be shut down; a crash it reports itself is shown like one that Xen finds. */
  guestShutDown(vcpu: VirtualCpu, reason: number): void {
    if (reason === SHUTDOWN.crash)
      this.crash(vcpu, "the guest reported that it crashed (SCHEDOP_shutdown, reason crash)");
    else this.shutDown(reason);
  }

  /** Crashes the domain for something Xen would crash it for. */
  crash(vcpu: VirtualCpu, reason: string): void {
    if (this.shutdown !== undefined) return;
    this.shutDown(SHUTDOWN.crash, captureCrash(vcpu, reason));
  }

  /** Ends SCHEDOP_poll of the VCPUs that wait for `port`. */
  wakePollers(port: number): void {
    for (const vcpu of this.vcpus) {
      if (vcpu.pollPorts === undefined) continue;
      if (vcpu.pollPorts.includes(port)) vcpu.unblock();
    }
  }

  /** Clears the 2-level ABI's words in shared_info and every vcpu_info. */
  clearEventBits(): void {
    const { bytes, view } = this.machine.memory;
    const at = this.sharedInfoAt;
    bytes.fill(0, at + SHARED_INFO.evtchnPending, at + SHARED_INFO.evtchnMask + 512);
    for (const vcpu of this.vcpus) {
      if (vcpu.infoAt === this.machine.dummyInfoAt) continue;
      bytes[vcpu.infoAt + VCPU_INFO.upcallPending] = 0;
      view.setBigUint64(vcpu.infoAt + VCPU_INFO.pendingSel, 0n, true);
    }
  }

  /** A zeroed frame of Xen's that the guest may map; undefined when memory is out. */
  allocateXenFrame(): number | undefined {
    const mfn = this.machine.paging.shareXenPage(this.memory, true);
    return mfn < 0 ? undefined : mfn;
  }

  /** Gives a frame from {@link Domain.allocateXenFrame} up; it is free when the guest no longer maps it. */
  freeXenFrame(mfn: number): void {
    this.machine.paging.unshareXenPage(mfn);
  }

  /** Takes a reference to a frame of the domain; `false` when it isn't its own. */
  holdPage(mfn: number): boolean {
    return this.machine.paging.hold(this.memory, mfn, false);
  }

  /** Gives {@link Domain.holdPage} back. */
  releasePage(mfn: number): void {
    this.machine.paging.release(mfn, false);
  }

  /** Takes a reference to a frame of the domain as a writable page; `false` when it isn't its own, or a page table. */
  holdWritable(mfn: number): boolean {
    return this.machine.paging.hold(this.memory, mfn, true);
  }

  /** Gives {@link Domain.holdWritable} back. */
  releaseWritable(mfn: number): void {
    this.machine.paging.release(mfn, true);
  }

  /** Loads another top-level table for the guest's kernel; 0 or `-errno`. */
  newBasePointer(vcpu: VirtualCpu, mfn: number): number {
    const status = this.machine.paging.setKernelRoot(this.memory, vcpu.roots, mfn);
    if (status === 0) vcpu.loadRoot();
    return status;
  }

  /** Fills the page that a write to MSR 0x40000000 names with hypercall stubs; `false` where Xen raises #GP. */
  writeHypercallPage(value: bigint): boolean {
    // Bits 0 to 11 choose a page of stubs, and there is only one.
    if ((value & 0xfffn) !== 0n) return false;
    const mfn = Number(value >> 12n);
    if (!this.holdWritable(mfn)) return false;
    writeHypercallPage(this.machine.memory.bytes, mfn * 4096);
    this.machine.engine.frames.written(mfn);
    this.releaseWritable(mfn);
    return true;
  }
}
