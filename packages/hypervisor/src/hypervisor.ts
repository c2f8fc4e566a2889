import { type Clock, type MachineMemory, ParavirtError } from "@paravirt/core";
import { type CpuPorts, type Engine, EXIT, type Exit, type Vcpu } from "@paravirt/cpu";
import { createDirectPaging, type DirectPaging, type DomainMemory } from "@paravirt/paging";
import { RUNSTATE } from "@paravirt/xen-abi";
import { type CpuidOptions, CpuidPolicy } from "./cpuid.ts";
import { captureCrash } from "./crash.ts";
import { readDescriptor } from "./descriptors.ts";
import { dispatchHypercall } from "./dispatch.ts";
import { Domain, type DomainOptions } from "./domain.ts";
import { handleFault, handleSoftwareInterrupt } from "./faults.ts";
import { armGate, closeGate } from "./gate.ts";
import { HypercallContext } from "./hypercall.ts";
import { hypercallTable } from "./hypercalls/index.ts";
import { type TscScale, tscAt, tscScale, writeVcpuTime } from "./pv-time.ts";
import { changeRunstate } from "./runstate.ts";
import type { HypercallCount } from "./statistics.ts";
import { domainDeadline, runDomainTimers, sooner } from "./timers.ts";
import { bounceSyscall, bounceSysenter, deliverPending } from "./traps.ts";
import { defaultVersion, type VersionStrings } from "./version.ts";
import { NEVER, type VirtualCpu } from "./virtual-cpu.ts";

/** What the hypervisor tells whoever schedules VCPUs. Calls come in the middle of hypercalls: note them, don't run anything. */
export interface SchedulerPort {
  /** `vcpu` can run now and could not before. */
  wake(vcpu: VirtualCpu): void;
  /** `vcpu` cannot run any more until the next {@link SchedulerPort.wake}. */
  sleep(vcpu: VirtualCpu): void;
}

/** What a {@link Hypervisor} is made of. */
export interface HypervisorOptions {
  /** Makes the processor; it is handed the hypervisor's answers to what guest code asks. */
  readonly createEngine: (ports: CpuPorts) => Engine;
  /** Drives TSC, PV time and timers. */
  readonly clock: Clock;
  /** Told when VCPUs become runnable or stop being so. */
  readonly scheduler?: SchedulerPort;
  /** What CPUID shows. */
  readonly cpuid?: CpuidOptions;
  /** Frequency of the guests' TSC in kHz; 1,000,000 (1 GHz) when left out, at which a tick is a nanosecond. */
  readonly tscKhz?: number;
  /** Strings of xen_version; those of Debian's Xen 4.17.7 when left out. */
  readonly version?: Partial<VersionStrings>;
  /** 64 random bits for RDRAND; a fixed sequence when left out. */
  readonly random?: () => bigint;
  /** Receives what guests write with console_io, which a release Xen refuses, and the hypervisor's own messages. */
  readonly log?: (domain: number, text: string) => void;
}

/** Why {@link Hypervisor.runVcpu} came back. */
export type StopReason =
  /** The budget is spent. */
  | "budget"
  /** It can go on, and had better do so after {@link Hypervisor.runListeners}: a backend may answer what it just sent. */
  | "notified"
  /** It waits for an event or a timer. */
  | "blocked"
  /** SCHEDOP_yield. */
  | "yielded"
  /** It is down, or its domain is paused. */
  | "offline"
  /** The domain shut down or crashed: see {@link Domain.shutdown}. */
  | "shutdown";

/** Budget that an exit costs beside the instructions executed, so that a guest that only faults ends its slice too. */
const EXIT_COST = 20;
/** First reserved domain id; ids of domains are below it. */
const FIRST_RESERVED = 0x7ff0;

/** Xen's role in one machine: domains, their VCPUs, and everything that guests may ask. */
export class Hypervisor {
  /** The processor. */
  readonly engine: Engine;
  /** The machine's memory. */
  readonly memory: MachineMemory;
  /** Frames, page types and page tables. */
  readonly paging: DirectPaging;
  /** The machine's clock. */
  readonly clock: Clock;
  /** What CPUID answers. */
  readonly cpuid: CpuidPolicy;
  /** Frequency of the guests' time-stamp counter. */
  readonly tsc: TscScale;
  /** What xen_version answers. */
  readonly version: VersionStrings;
  /** Bits of a machine address: what CPUID leaf 0x40000005 tells. */
  readonly addressWidth: number;
  /** A frame of the hypervisor's own, for emulation. */
  readonly scratchMfn: number;
  /** Machine address of a vcpu_info for VCPUs that have none of their own yet. */
  readonly dummyInfoAt: number;
  private readonly hostMemory: DomainMemory;
  /** Receives messages. */
  readonly log: (domain: number, text: string) => void;
  private readonly scheduler: SchedulerPort | undefined;
  private readonly domains = new Map<number, Domain>();
  private readonly byCpu = new Map<Vcpu, VirtualCpu>();
  private readonly call: HypercallContext;
  private readonly batched: HypercallContext;
  private listeners: (() => void)[] = [];
  private interrupted = false;
  private hostPorts = 0;
  private cpus = 0;

  constructor(options: HypervisorOptions) {
    this.clock = options.clock;
    this.tsc = tscScale(options.tscKhz ?? 1_000_000);
    this.version = { ...defaultVersion, ...options.version };
    this.cpuid = new CpuidPolicy(options.cpuid ?? {}, this.tsc, (this.version.major << 16) | this.version.minor);
    this.log = options.log ?? (() => {});
    this.scheduler = options.scheduler;
    this.engine = options.createEngine(this.ports(options.random ?? pseudoRandom()));
    this.memory = this.engine.memory;
    this.paging = createDirectPaging({ memory: this.memory, guard: this.engine.frames, tlb: this.engine.tlb });
    this.addressWidth = 12 + Math.ceil(Math.log2(this.memory.frames));
    // Frames of Xen's own are accounted to domain 0, which no guest can be.
    this.hostMemory = this.paging.createDomain({ id: 0, maxFrames: 0, privileged: true });
    this.scratchMfn = this.ownFrame();
    this.dummyInfoAt = this.ownFrame() * 4096;
    // Masked for ever: what is pending in the dummy is never delivered.
    this.memory.bytes[this.dummyInfoAt + 1] = 1;
    this.call = new HypercallContext(this, hypercallTable);
    this.batched = new HypercallContext(this, hypercallTable);
    this.batched.inMulticall = true;
  }

  private ownFrame(): number {
    const mfn = this.paging.shareXenPage(this.hostMemory, true);
    if (mfn < 0) throw new ParavirtError("OUT_OF_MEMORY", "no frame is left for the hypervisor itself");
    return mfn;
  }

  private ports(random: () => bigint): CpuPorts {
    const owner = (cpu: Vcpu): VirtualCpu => {
      const vcpu = this.byCpu.get(cpu);
      if (vcpu === undefined) throw new ParavirtError("BUG", "a processor asks that no domain owns");
      return vcpu;
    };
    return {
      readTsc: () => this.readTsc(),
      cpuid: (cpu, leaf, subleaf, out) => this.cpuid.answer(owner(cpu), leaf, subleaf, out),
      readDescriptor: (cpu, selector) => {
        const vcpu = owner(cpu);
        // In the middle of a run: which half asks is known only now.
        closeGate(vcpu);
        return readDescriptor(vcpu, selector);
      },
      mayReachForeign: (cpu, mfn, write) => this.paging.mayReachForeign(cpu.owner, mfn, write),
      random,
    };
  }

  /** The guests' time-stamp counter now. */
  readTsc(): bigint {
    return tscAt(this.tsc, this.clock.now());
  }

  /** Makes a domain, paused, with memory still to be given and VCPUs down. Throws `ParavirtError` for impossible options. */
  createDomain(options: DomainOptions): Domain {
    let id = options.id;
    if (id === undefined) for (id = 1; this.domains.has(id); id++);
    if (!Number.isInteger(id) || id < 1 || id >= FIRST_RESERVED) {
      throw new ParavirtError("OUT_OF_RANGE", `domain id ${id} is not in 1 to ${FIRST_RESERVED - 1}`);
    }
    if (this.domains.has(id)) throw new ParavirtError("BAD_ARGUMENT", `domain ${id} exists already`);
    const domain = new Domain(this, id, options);
    this.domains.set(id, domain);
    return domain;
  }

  /** The domain with this id. */
  domain(id: number): Domain | undefined {
    return this.domains.get(id);
  }

  /** All domains that exist, in the order they were made. */
  list(): Domain[] {
    return [...this.domains.values()];
  }

  /** Ends a domain and frees what it has, but for frames that others still map. */
  destroyDomain(domain: Domain): void {
    if (domain.dying) return;
    domain.dying = true;
    for (const vcpu of domain.vcpus) {
      this.scheduler?.sleep(vcpu);
      this.byCpu.delete(vcpu.cpu);
    }
    domain.events.reset();
    for (const mapping of domain.mappings.values()) mapping.owner.grants.release(mapping.ref, mapping.readOnly);
    domain.mappings.clear();
    this.domains.delete(domain.id);
    domain.grants.destroy();
    for (const vcpu of domain.vcpus) {
      if (vcpu.infoMfn !== 0) domain.releaseWritable(vcpu.infoMfn);
      for (const mfn of vcpu.gdtFrames) this.paging.putDescriptorPage(mfn);
      this.paging.releaseRoots(vcpu.roots);
    }
    if (domain.eoiMapMfn !== 0) domain.releaseWritable(domain.eoiMapMfn);
    this.paging.relinquish(domain.memory);
  }

  /** Makes the engine's processor of a VCPU. */
  createCpu(): Vcpu {
    return this.engine.createVcpu(this.cpus++);
  }

  /** Tells the ports which VCPU a processor belongs to. */
  adopt(vcpu: VirtualCpu): void {
    this.byCpu.set(vcpu.cpu, vcpu);
  }

  /** The number of the next host-side event channel port. */
  nextHostPort(): number {
    return ++this.hostPorts;
  }

  /** Has `listener` called by the next {@link Hypervisor.runListeners}. */
  queueListener(listener: () => void): void {
    this.listeners.push(listener);
  }

  /** Ends the running VCPU's run after its present hypercall, with `"notified"`. */
  interrupt(): void {
    this.interrupted = true;
  }

  /** Whether {@link Hypervisor.runListeners} has something to do. */
  get listenersWaiting(): boolean {
    return this.listeners.length > 0;
  }

  /** Calls the listeners of channels that guests notified. Those that are notified meanwhile wait for the next call. */
  runListeners(): void {
    const ready = this.listeners;
    if (ready.length === 0) return;
    this.listeners = [];
    for (const listener of ready) listener();
  }

  /** Called by VCPUs that stop waiting. */
  noteRunnable(vcpu: VirtualCpu): void {
    if (!vcpu.runnable) return;
    if (vcpu.runstate !== RUNSTATE.running) changeRunstate(vcpu, RUNSTATE.runnable, this.clock.now());
    this.scheduler?.wake(vcpu);
  }

  /** Called by VCPUs that another VCPU or the toolstack stops. */
  noteStopped(vcpu: VirtualCpu): void {
    if (vcpu.runstate !== RUNSTATE.running) changeRunstate(vcpu, RUNSTATE.offline, this.clock.now());
    this.scheduler?.sleep(vcpu);
  }

  /** Called by a domain that shut down. */
  noteShutdown(domain: Domain): void {
    for (const vcpu of domain.vcpus) this.scheduler?.sleep(vcpu);
    this.onShutdown?.(domain);
  }

  /** Called when a domain shuts down or crashes; it still exists then. */
  onShutdown: ((domain: Domain) => void) | undefined;

  /** Clock time of the next timer, -1n when none is set. */
  nextDeadline(): bigint {
    let earliest = NEVER;
    for (const domain of this.domains.values()) earliest = sooner(earliest, domainDeadline(domain));
    return earliest;
  }

  /** Fires all timers that are due. */
  runTimers(): void {
    const now = this.clock.now();
    for (const domain of this.domains.values()) runDomainTimers(domain, now);
  }

  /**
   * Runs a VCPU for about `budget` instructions or until it cannot go on. Whatever its guest does is an answer, not an
   * exception; a mistake of ours ends that domain only, and is told to the log.
   */
  runVcpu(vcpu: VirtualCpu, budget: number): StopReason {
    const { domain } = vcpu;
    if (!vcpu.runnable) return stopped(vcpu);
    vcpu.yielded = false;
    this.interrupted = false;
    changeRunstate(vcpu, RUNSTATE.running, this.clock.now());
    this.refreshTime(vcpu);
    try {
      this.execute(vcpu, budget);
    } catch (error) {
      const text = error instanceof Error ? `${error.name}: ${error.message}\n${error.stack ?? ""}` : String(error);
      this.log(domain.id, `BUG while domain ${domain.id} vcpu ${vcpu.id} ran: ${text}\n`);
      domain.crash(vcpu, `hypervisor error: ${error instanceof Error ? error.message : String(error)}`);
    }
    const runstate =
      !domain.running || vcpu.down ? RUNSTATE.offline : vcpu.blocked ? RUNSTATE.blocked : RUNSTATE.runnable;
    changeRunstate(vcpu, runstate, this.clock.now());
    if (!vcpu.runnable) return stopped(vcpu);
    if (vcpu.yielded) return "yielded";
    return this.interrupted ? "notified" : "budget";
  }

  private execute(vcpu: VirtualCpu, budget: number): void {
    const { cpu } = vcpu;
    let end = cpu.instructions + budget;
    while (true) {
      deliverPending(vcpu);
      if (!vcpu.runnable || vcpu.yielded) return;
      const left = end - cpu.instructions;
      if (left <= 0) return;
      armGate(vcpu);
      const exit = cpu.run(left);
      closeGate(vcpu);
      // The budget pays for more than instructions: by their number something may be left of it.
      if (exit.reason === EXIT.BUDGET) return;
      this.handle(vcpu, exit);
      end -= EXIT_COST;
      if (this.interrupted) return;
    }
  }

  private handle(vcpu: VirtualCpu, exit: Exit): void {
    switch (exit.reason) {
      case EXIT.BUDGET:
        return;
      case EXIT.SYSCALL:
        if (vcpu.kernelMode) dispatchHypercall(vcpu, this.call, this.batched);
        else bounceSyscall(vcpu);
        return;
      case EXIT.FAULT:
        handleFault(vcpu, exit);
        return;
      case EXIT.INTERRUPT:
        handleSoftwareInterrupt(vcpu, exit.vector, exit.length);
        return;
      case EXIT.SYSENTER:
        bounceSysenter(vcpu);
        return;
      default:
        vcpu.domain.crash(vcpu, `the processor stopped for an unknown reason ${exit.reason as number}`);
    }
  }

  // The scale is rounded unless a tick is a nanosecond, so the pair of stamps is renewed every second, as Xen does.
  private refreshTime(vcpu: VirtualCpu): void {
    if (this.tsc.khz === 1_000_000) return;
    if (this.clock.now() - vcpu.timeStamp > 1_000_000_000n) writeVcpuTime(vcpu);
  }

  /** How often a domain issued which hypercall, and which of its operations, by Xen's names. */
  hypercallCounts(domain: Domain): { readonly [name: string]: HypercallCount } {
    return domain.statistics.report(hypercallTable);
  }

  /** Takes down a VCPU's registers, stack and last hypercalls, as for a crash. */
  inspect(vcpu: VirtualCpu, reason: string): ReturnType<typeof captureCrash> {
    return captureCrash(vcpu, reason);
  }
}

function stopped(vcpu: VirtualCpu): StopReason {
  if (vcpu.domain.shutdown !== undefined) return "shutdown";
  if (vcpu.down || vcpu.domain.paused || vcpu.domain.dying) return "offline";
  return "blocked";
}

/** A fixed sequence (xorshift64*): a machine without a source of randomness repeats exactly. */
function pseudoRandom(): () => bigint {
  let state = 0x9e37_79b9_7f4a_7c15n;
  return () => {
    state ^= state >> 12n;
    state = BigInt.asUintN(64, state ^ (state << 25n));
    state ^= state >> 27n;
    return BigInt.asUintN(64, state * 0x2545_f491_4f6c_dd1dn);
  };
}
