import { type Clock, ParavirtError } from "@paravirt/core";
import { CPU_MODELS, createEngine, implementedFeatures } from "@paravirt/cpu";
import { type Domain, featureNames, Hypervisor, type VirtualCpu } from "@paravirt/hypervisor";
import { createCredit2Scheduler, createNullScheduler } from "@paravirt/scheduler";
import { createXenstore, populateHost, type Xenstore, type XenstoreAccess } from "@paravirt/xenstore";
import { isVirtualClock, realTimeClock } from "./clock.ts";
import { MachineDomain, planDomain } from "./domain.ts";
import { MachineLoop } from "./loop.ts";
import type { MachineDomainOptions, MachineOptions, MachineStatistics } from "./options.ts";

/** MiB that a machine needs beside its domains' memory: shared pages, the M2P table, grant tables. */
const OWN_MIB = 24;
const MAX_MEMORY = 3800;

/** A Xen machine: domains, a hypervisor and a xenstore, run by a loop that shares the thread with the host. */
export class Machine {
  /** Domain 0's direct access to the store. */
  readonly xenstore: XenstoreAccess;
  /** The store itself, to connect sockets or further clients to. */
  readonly store: Xenstore;
  private readonly hypervisor: Hypervisor;
  private readonly loop: MachineLoop;
  private readonly members = new Map<number, MachineDomain>();
  private readonly finished = new Map<number, MachineStatistics["hypercalls"][number]>();
  private closed = false;
  private failure: unknown;

  /** @internal Use {@link createMachine}. */
  constructor(options: MachineOptions) {
    const memory = options.memory ?? 1024;
    if (!Number.isInteger(memory) || memory < 1 || memory > MAX_MEMORY)
      throw new ParavirtError("OUT_OF_RANGE", `${memory} MiB of machine memory; a machine has 1 to ${MAX_MEMORY}`);
    const clock: Clock = options.clock ?? realTimeClock();
    const random = options.random ?? (isVirtualClock(clock) ? undefined : hostRandom);
    this.loop = new MachineLoop(clock, (tickle) =>
      options.scheduler === "null"
        ? createNullScheduler<VirtualCpu>({ tickle })
        : createCredit2Scheduler<VirtualCpu>({ tickle }),
    );
    const features = featureNames(options.cpuFeatures ?? cpuFeatures(options.cpu ?? "max"));
    this.hypervisor = new Hypervisor({
      createEngine: (ports) =>
        createEngine({
          memoryBytes: (memory + OWN_MIB) * 1024 * 1024,
          ports,
          features,
          ...(options.translate === undefined ? {} : { translate: options.translate }),
        }),
      clock,
      scheduler: this.loop,
      cpuid: { features },
      ...(random === undefined ? {} : { random }),
      ...(options.log === undefined ? {} : { log: options.log }),
    });
    this.loop.attach(this.hypervisor);
    this.loop.onFailure = (error) => {
      this.failure = error;
      void this.close();
    };
    this.hypervisor.onShutdown = (domain: Domain) =>
      this.hypervisor.queueListener(() => this.members.get(domain.id)?.finish());
    this.store = createXenstore();
    this.xenstore = this.store.local;
    populateHost(this.xenstore);
    if (isVirtualClock(clock)) clock.advance(0);
    options.signal?.addEventListener("abort", () => void this.close(), { once: true });
    if (options.signal?.aborted) void this.close();
  }

  /** Domains that haven't ended. */
  get domains(): readonly MachineDomain[] {
    return [...this.members.values()].filter((domain) => domain.running);
  }

  /**
   * Builds a domain and starts it, unless told to leave it paused. Throws `ParavirtError`, with nothing left behind:
   * `BAD_IMAGE` and `UNSUPPORTED` for kernels, `OUT_OF_MEMORY` and `OUT_OF_RANGE` for sizes.
   */
  async createDomain(options: MachineDomainOptions): Promise<MachineDomain> {
    if (this.closed)
      throw new ParavirtError("UNAVAILABLE", "the machine is closed", this.failure ? { cause: this.failure } : {});
    options.signal?.throwIfAborted();
    const plan = planDomain(options);
    const domain = new MachineDomain(
      { hypervisor: this.hypervisor, loop: this.loop, store: this.store, forget: (gone) => this.forget(gone) },
      plan,
      options,
    );
    this.members.set(domain.id, domain);
    try {
      await domain.startDevices();
    } catch (error) {
      domain.destroy();
      throw error;
    }
    const { signal } = options;
    if (signal !== undefined) {
      const abort = () => domain.destroy();
      signal.addEventListener("abort", abort, { once: true });
      domain.shutdown.then(() => signal.removeEventListener("abort", abort));
    }
    if (options.paused !== true) domain.unpause();
    return domain;
  }

  private forget(domain: MachineDomain): void {
    this.finished.set(domain.id, domain.hypercalls());
    this.members.delete(domain.id);
  }

  /** MiB that no domain has. */
  get freeMemory(): number {
    return this.hypervisor.paging.freeFrames / 256;
  }

  /** Counters since the machine was made. */
  statistics(): MachineStatistics {
    const hypercalls: Record<number, MachineStatistics["hypercalls"][number]> = Object.fromEntries(this.finished);
    for (const domain of this.members.values()) hypercalls[domain.id] = domain.hypercalls();
    const { instructions, tlbFills, faults, blocksDecoded, blocksTranslated } = this.hypervisor.engine.stats;
    return { instructions, tlbFills, faults, blocksDecoded, blocksTranslated, hypercalls };
  }

  /**
   * Destroys all domains and ends the machine loop. Resolves when their devices have let go of what they had outside:
   * files are written, sockets closed. What broke the machine, if something did, is in {@link Machine.error}.
   */
  async close(): Promise<void> {
    const domains = [...this.members.values()];
    if (!this.closed) {
      this.closed = true;
      for (const domain of domains) domain.destroy();
      this.loop.close();
    }
    await Promise.all(domains.map((domain) => domain.shutdown));
  }

  /** The mistake of ours that ended the machine loop; `undefined` while all is well. */
  get error(): unknown {
    return this.failure;
  }

  /** Closes the machine: `using machine = createMachine()`. */
  [Symbol.dispose](): void {
    void this.close();
  }

  /** Closes the machine and waits for its devices: `await using machine = createMachine()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Implemented, and yet hidden unless asked for: with FSGSBASE a PV kernel reads an MSR at each context switch; vectors of 256
 * bits are computed as two of 128, which gains a guest nothing and makes its kernel save more.
 */
const HIDDEN_FEATURES: ReadonlySet<string> = new Set(["fsgsbase", "avx", "avx2", "fma", "f16c", "vaes", "vpclmulqdq"]);

function cpuFeatures(cpu: NonNullable<MachineOptions["cpu"]>): readonly string[] {
  if (cpu === "max") return implementedFeatures().filter((name) => !HIDDEN_FEATURES.has(name));
  const features = CPU_MODELS[cpu];
  if (features === undefined)
    throw new ParavirtError("BAD_ARGUMENT", `cpu "${String(cpu)}": ${Object.keys(CPU_MODELS).join(", ")} or max`);
  return features;
}

/** 64 bits of the host's random generator. */
function hostRandom(): bigint {
  return crypto.getRandomValues(new BigUint64Array(1))[0]!;
}

/** Makes a machine without domains. It uses no processor time until a domain runs. Throws `ParavirtError` for impossible sizes. */
export function createMachine(options: MachineOptions = {}): Machine {
  return new Machine(options);
}
