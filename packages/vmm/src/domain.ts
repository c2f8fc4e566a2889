import { buildPvDomain, type KernelImage, type PvPlan, planPvDomain, readKernelImage } from "@paravirt/boot";
import { type Console, createConsole } from "@paravirt/console";
import { type DomId, type Mfn, ParavirtError, type Port } from "@paravirt/core";
import type { Domain, HostChannel, HypercallCount, Hypervisor } from "@paravirt/hypervisor";
import { GNTTAB_RESERVED, SHUTDOWN, XEN_LEGACY_MAX_VCPUS } from "@paravirt/xen-abi";
import type { Device } from "@paravirt/xenbus";
import { populateDomain, removeDomainNodes, type Xenstore } from "@paravirt/xenstore";
import { type ConsoleStreams, StreamConsole } from "./console-streams.ts";
import { type AttachedDevice, DomainDevices } from "./devices.ts";
import type { MachineLoop } from "./loop.ts";
import type { DomainShutdown, MachineDomainOptions } from "./options.ts";

const PAGES_PER_MIB = 256;
const MAX_MIB = 4096;
/** MiB above its target that a domain may have, as xl leaves it: for what a driver needs while it moves. */
const TARGET_SLACK = 1;
const HOST = 0 as DomId;

/** What a domain needs of its machine. */
export interface DomainHost {
  readonly hypervisor: Hypervisor;
  readonly loop: MachineLoop;
  readonly store: Xenstore;
  /** Called when the domain is gone. */
  readonly forget: (domain: MachineDomain) => void;
}

const REASONS = new Map<number, DomainShutdown["reason"]>([
  [SHUTDOWN.poweroff, "poweroff"],
  [SHUTDOWN.reboot, "reboot"],
  [SHUTDOWN.suspend, "suspend"],
  [SHUTDOWN.crash, "crash"],
  [SHUTDOWN.watchdog, "watchdog"],
  [SHUTDOWN.soft_reset, "soft_reset"],
]);

/** A guest of a machine, from its first instruction to its end. */
export class MachineDomain {
  /** Xen's domain id. */
  readonly id: number;
  /** Name given at creation. */
  readonly name: string;
  /** Its console as web streams. */
  readonly console: ConsoleStreams;
  /** Resolves when the domain ended, for whatever reason; its memory is free then. Never rejects. */
  readonly shutdown: Promise<DomainShutdown>;
  private readonly host: DomainHost;
  private readonly domain: Domain;
  private readonly streams: StreamConsole;
  private readonly attachments: DomainDevices;
  private resolveShutdown!: (shutdown: DomainShutdown) => void;
  private ended = false;

  /** @internal Use {@link Machine.createDomain}. */
  constructor(host: DomainHost, plan: PvPlan, options: MachineDomainOptions) {
    this.host = host;
    this.name = options.name ?? "guest";
    this.streams = new StreamConsole(() => host.loop.kick());
    this.console = this.streams;
    this.shutdown = new Promise((resolve) => {
      this.resolveShutdown = resolve;
    });
    this.domain = host.hypervisor.createDomain({
      name: this.name,
      maxPages: Math.max(plan.pages, (options.maxMemory ?? 0) * PAGES_PER_MIB),
      ...(options.vcpus === undefined ? {} : { vcpus: options.vcpus }),
    });
    this.id = this.domain.id;
    const { hypervisor, store, loop } = host;
    this.attachments = new DomainDevices(this.domain, { hypervisor, store, kick: () => loop.kick() });
    try {
      this.build(plan, options);
      host.loop.insert(this.domain.vcpus, this.id as DomId, {
        ...(options.weight === undefined ? {} : { weight: options.weight }),
        ...(options.cap === undefined ? {} : { cap: options.cap }),
      });
    } catch (error) {
      // A failed build leaves nothing behind.
      host.loop.remove(this.domain.vcpus);
      host.store.release(this.id);
      host.hypervisor.destroyDomain(this.domain);
      removeDomainNodes(host.store.local, this.id);
      throw error;
    }
  }

  private build(plan: PvPlan, options: MachineDomainOptions): void {
    const { domain } = this;
    const { hypervisor } = this.host;
    const { paging, memory } = hypervisor;
    const storePort = openPort(domain);
    const consolePort = openPort(domain);
    const built = buildPvDomain(
      plan,
      {
        populate: (pfn) => {
          const mfn = paging.populatePhysmap(domain.memory, 0, pfn);
          if (mfn < 0) {
            const free = Math.floor(pfn / PAGES_PER_MIB);
            throw new ParavirtError(
              "OUT_OF_MEMORY",
              `the machine has ${free} MiB left, ${plan.pages / PAGES_PER_MIB} MiB were asked for`,
            );
          }
          return mfn as Mfn;
        },
        write: (mfn, offset, bytes) => memory.bytes.set(bytes, mfn * 4096 + offset),
        writeEntry: (table, index, target, flags) => {
          const at = table * 1024 + index * 2;
          memory.words[at] = ((target & 0xfffff) * 4096 + flags) >>> 0;
          memory.words[at + 1] = Math.floor(target / 0x100000);
        },
      },
      { sharedInfo: domain.sharedInfoMfn as Mfn, storePort: storePort as Port, consolePort: consolePort as Port },
    );
    const status = paging.pin(domain.memory, 4, built.vcpu.cr3);
    if (status !== 0) throw new ParavirtError("BUG", `the first page tables were refused: errno ${-status}`);
    domain.grants.seed(GNTTAB_RESERVED.CONSOLE, HOST, built.consoleFrame);
    domain.grants.seed(GNTTAB_RESERVED.XENSTORE, HOST, built.storeFrame);
    this.connect(
      { storePort, consolePort, storeFrame: built.storeFrame, consoleFrame: built.consoleFrame },
      plan,
      options,
    );
    domain.vcpus[0]!.startPv({
      entry: built.vcpu.rip,
      stack: built.vcpu.rsp,
      startInfo: built.vcpu.rsi,
      root: built.vcpu.cr3,
    });
  }

  /** Puts the host's ends of the two rings in place, and the domain into xenstore. */
  private connect(
    rings: { storePort: number; consolePort: number; storeFrame: number; consoleFrame: number },
    plan: PvPlan,
    options: MachineDomainOptions,
  ): void {
    const { domain, streams } = this;
    const { hypervisor, store } = this.host;
    const page = (mfn: number) => hypervisor.memory.bytes.subarray(mfn * 4096, mfn * 4096 + 4096);
    populateDomain(store.local, {
      domid: this.id,
      name: this.name,
      uuid: uuidOf(this.id),
      memoryKiB: domain.maxPages * 4,
      targetKiB: plan.pages * 4,
      vcpus: options.vcpus ?? 1,
      store: { port: rings.storePort, frame: rings.storeFrame },
      console: { port: rings.consolePort, frame: rings.consoleFrame },
      addDevices: () => {
        for (const device of options.devices ?? []) this.starting.push(this.attachments.add(device));
      },
    });
    const storeEnd: { channel?: HostChannel } = {};
    const ring = store.introduce(this.id, { page: page(rings.storeFrame), notify: () => storeEnd.channel?.notify() });
    storeEnd.channel = bindPort(domain, rings.storePort, () => ring.event());
    const consoleEnd: { channel?: HostChannel; backend?: Console } = {};
    const backend = createConsole({
      page: page(rings.consoleFrame),
      notify: () => consoleEnd.channel?.notify(),
      onOutput: (bytes) => streams.output(bytes),
      onBroken: (reason) => hypervisor.log(this.id, `console: ${reason}\n`),
    });
    consoleEnd.channel = bindPort(domain, rings.consolePort, () => backend.event());
    streams.attach(backend);
  }

  /** Devices whose nodes are written and whose backends are still to be started. */
  private readonly starting: ReturnType<DomainDevices["add"]>[] = [];

  /** @internal Starts the backends of the devices that the domain was made with. */
  async startDevices(): Promise<void> {
    for (const device of this.starting.splice(0)) await this.attachments.start(device);
  }

  /** The devices that it has now. */
  get devices(): readonly AttachedDevice[] {
    return this.attachments.list();
  }

  /**
   * Gives it a device, as `xl block-attach` and its kind do; the guest's driver connects when it finds the time.
   * Rejects with `BUSY` when it has one of that type and number, `UNAVAILABLE` when it has ended, and with what the
   * device's backend can't be started for.
   */
  async attach(device: Device): Promise<AttachedDevice> {
    if (this.ended) throw new ParavirtError("UNAVAILABLE", `domain ${this.id} has ended`);
    const attached = this.attachments.add(device);
    await this.attachments.start(attached);
    return attached;
  }

  /** MiB that it has now, its last when it ended. Its balloon driver changes that: {@link MachineDomain.setMemoryTarget}. */
  get memory(): number {
    return this.domain.memory.ownedFrames / PAGES_PER_MIB;
  }

  /**
   * Has the guest's balloon driver keep `mebibytes` of memory, by `memory/target` in xenstore, and lets it have no more
   * from now on. What it gives up is the machine's again at once, for other domains; a guest without the driver, or one that
   * needs its memory itself, keeps it. Throws `OUT_OF_RANGE` for less than 1 or more than it was made for.
   */
  setMemoryTarget(mebibytes: number): void {
    const most = this.domain.maxPages / PAGES_PER_MIB;
    if (!Number.isInteger(mebibytes) || mebibytes < 1 || mebibytes > most)
      throw new ParavirtError("OUT_OF_RANGE", `a target of ${mebibytes} MiB; this domain can have 1 to ${most}`);
    if (this.ended) return;
    this.domain.memory.maxFrames = Math.min(mebibytes + TARGET_SLACK, most) * PAGES_PER_MIB;
    this.host.store.local.write(`/local/domain/${this.id}/memory/target`, String(mebibytes * 1024));
    this.host.loop.kick();
  }

  /** Whether it still runs, or could. */
  get running(): boolean {
    return !this.ended;
  }

  /** Lets it run: after {@link MachineDomain.pause}, or when it was created paused. */
  unpause(): void {
    this.domain.unpause();
    this.host.loop.kick();
  }

  /** Stops its VCPUs until {@link MachineDomain.unpause}. */
  pause(): void {
    this.domain.pause();
    for (const vcpu of this.domain.vcpus) this.host.loop.sleep(vcpu);
  }

  /** Asks the guest to end, through `control/shutdown` in xenstore; a guest may take its time, or ignore it. */
  requestShutdown(kind: "poweroff" | "reboot" | "halt" | "suspend" = "poweroff"): void {
    if (this.ended) return;
    this.host.store.local.write(`/local/domain/${this.id}/control/shutdown`, kind);
    this.host.loop.kick();
  }

  /** Ends it at once, as pulling the plug does. */
  destroy(): void {
    this.end({ reason: "destroyed", code: -1 });
  }

  /** Hypercalls so far, by name. */
  hypercalls(): Readonly<Record<string, HypercallCount>> {
    return this.host.hypervisor.hypercallCounts(this.domain);
  }

  /** Nanoseconds of processor time that its VCPUs have had; fixed once it ended. */
  get cpuTime(): number {
    if (!this.ended) this.lastCpuTime = this.domain.vcpus.reduce((sum, vcpu) => sum + this.host.loop.timeOf(vcpu), 0);
    return this.lastCpuTime;
  }

  private lastCpuTime = 0;

  /** @internal Called by the machine, outside of any hypercall, when the guest shut down. */
  finish(): void {
    const { shutdown } = this.domain;
    if (shutdown === undefined) return;
    const reason = REASONS.get(shutdown.reason) ?? "crash";
    this.end({ reason, code: shutdown.reason, ...(shutdown.crash === undefined ? {} : { crash: shutdown.crash }) });
  }

  private end(shutdown: DomainShutdown): void {
    if (this.ended) return;
    void this.cpuTime;
    this.ended = true;
    const { hypervisor, loop, store } = this.host;
    this.streams.close();
    loop.remove(this.domain.vcpus);
    store.shutdown(this.id);
    hypervisor.destroyDomain(this.domain);
    store.release(this.id);
    // Backends let go first, and what they hold of the outside is closed when the promise resolves.
    this.attachments.close().then(() => {
      removeDomainNodes(store.local, this.id);
      this.host.forget(this);
      this.resolveShutdown(shutdown);
    });
  }
}

/** Reads the kernel and lays the domain out; throws `ParavirtError` before anything is touched. */
export function planDomain(options: MachineDomainOptions): PvPlan {
  const memory = options.memory ?? 256;
  if (!Number.isInteger(memory) || memory < 1 || memory > MAX_MIB)
    throw new ParavirtError("OUT_OF_RANGE", `${memory} MiB of memory; a domain has 1 to ${MAX_MIB}`);
  checkNumber("MiB of memory at most", options.maxMemory, memory, MAX_MIB);
  checkNumber("VCPUs", options.vcpus, 1, XEN_LEGACY_MAX_VCPUS);
  checkNumber("weight", options.weight, 1, 65535);
  checkNumber("cap", options.cap, 0, 100 * XEN_LEGACY_MAX_VCPUS);
  const image: KernelImage = options.kernel instanceof Uint8Array ? readKernelImage(options.kernel) : options.kernel;
  return planPvDomain(image, {
    pages: memory * PAGES_PER_MIB,
    ...(options.initrd === undefined ? {} : { initrd: options.initrd }),
    ...(options.commandLine === undefined ? {} : { commandLine: options.commandLine }),
  });
}

function checkNumber(what: string, value: number | undefined, least: number, most: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= least && value <= most)) return;
  throw new ParavirtError("OUT_OF_RANGE", `${what}: ${value}; ${least} to ${most} is possible`);
}

function openPort(domain: Domain): number {
  const port = domain.events.allocateUnbound(HOST);
  if (port < 0) throw new ParavirtError("BUG", `no event channel for a new domain: errno ${-port}`);
  return port;
}

function bindPort(domain: Domain, port: number, listener: () => void): HostChannel {
  const channel = domain.events.bindHost(port, listener);
  if (typeof channel === "number")
    throw new ParavirtError("BUG", `port ${port} of a new domain can't be bound: errno ${-channel}`);
  return channel;
}

/** A UUID of the machine's own making: unique in it, equal from run to run. */
function uuidOf(id: number): string {
  return `00000000-0000-4000-8000-${id.toString(16).padStart(12, "0")}`;
}
