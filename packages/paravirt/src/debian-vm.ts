import { guestCommandLine, joinArchives, type SharedFolder } from "@paravirt/boot";
import { ParavirtError } from "@paravirt/core";
import type { CpuModel } from "@paravirt/cpu";
import { agentArchive, createExec, EXEC_TAG, type Exec, type ExecOptions, type ExecProcess } from "@paravirt/exec";
import { type DebianGuestOptions, debianGuest, GUEST_MODULES, XEN_MODULES } from "@paravirt/host-node";
import { createP9Server, createShareDevice } from "@paravirt/p9";
import { createMachine, type DomainShutdown, type Machine, type MachineDomain } from "@paravirt/vmm";
import type { Device } from "@paravirt/xenbus";
import { openDevices } from "./devices/device-request.ts";
import { deviceRequests } from "./devices/device-requests.ts";
import { SPARE_MIB } from "./guest-options.ts";

/** What {@link createDebianVm} can be told. */
export interface DebianVmOptions {
  /** MiB of memory; 256 when left out. */
  readonly memory?: number;
  /** MiB that `vm.domain.setMemoryTarget` may give it later; `memory` when left out. */
  readonly maxMemory?: number;
  /** Virtual processors; 1 when left out. */
  readonly vcpus?: number;
  /** Percent of one processor that it may use; 0, no limit, when left out. */
  readonly cap?: number;
  /** The processor that it sees; `"max"` when left out. */
  readonly cpu?: CpuModel | "max";
  /** Disks, each as `--disk` has it on the command line: `"root.qcow2"`, `"data.img,format=raw,ro"`. */
  readonly disks?: readonly string[];
  /** Shared folders, each as `--share` has it: `"."`, `"/src:code,ro"`. They are mounted at `/mnt/TAG`. */
  readonly shares?: readonly string[];
  /** Networks, each as `--net` has it: `"user,allow=*"`. */
  readonly networks?: readonly string[];
  /** Ports, each as `--publish` has it: `"8080:80"`. */
  readonly publish?: readonly string[];
  /** Devices of your own making beside those. */
  readonly devices?: readonly Device[];
  /** Tags among `devices` that are to be mounted as shared folders. */
  readonly sharedFolders?: readonly SharedFolder[];
  /**
   * Where commands run: `"auto"`, the first disk with a root file system; a disk's name in the guest; or `"none"`, the
   * initramfs with busybox. `"auto"` when there are disks and it is left out.
   */
  readonly root?: string;
  /**
   * Boots that root's own systemd, as `paravirt run debian --disk FILE` does, and runs commands in it as a service of its
   * own would; without (the default), commands have the root to themselves.
   */
  readonly systemd?: boolean;
  /** Words added to the kernel's command line. */
  readonly append?: string;
  /** Gets what the guest prints on its console: the kernel's messages. */
  readonly onConsole?: (bytes: Uint8Array) => void;
  /** Where the kernel comes from. */
  readonly guest?: DebianGuestOptions;
  /** A machine to make it in, which stays when it ends; one of its own when left out. */
  readonly machine?: Machine;
  /** Ends it when aborted. */
  readonly signal?: AbortSignal;
}

/** A Debian guest that runs, and takes commands. */
export interface DebianVm extends AsyncDisposable {
  /** The domain: its console, devices that come and go, its memory. */
  readonly domain: MachineDomain;
  /** The machine that it is in. */
  readonly machine: Machine;
  /**
   * Runs a program in the guest. Several may run at once. Resolves when it runs; its streams and status come with it.
   * Rejects with `UNAVAILABLE` when the guest has ended.
   */
  exec(argv: readonly (string | Uint8Array)[], options?: ExecOptions): Promise<ExecProcess>;
  /** Ends everything in it, unmounts, and powers off. Resolves when it has ended and its devices are closed. */
  powerOff(): Promise<DomainShutdown>;
  /** Pulls the plug. Resolves when its devices are closed; what a disk was given before is kept. */
  close(): Promise<void>;
}

/** The device's number: those of shared folders count from 0. */
const EXEC_DEVICE = 1000;
/** Rings of 2^6 pages: a piece of 64 KiB goes in one message. */
const EXEC_RING_ORDER = 6;

/** Bytes of console output kept to say why a guest didn't come up. */
const TAIL = 2000;

/**
 * Boots Debian's own kernel, as `paravirt run debian` does, and keeps it running for commands. Resolves when the guest takes
 * them. Rejects with `UNAVAILABLE` when the kernel can't be had or the guest ends first, and with what a device can't be
 * opened for.
 */
export async function createDebianVm(options: DebianVmOptions = {}): Promise<DebianVm> {
  options.signal?.throwIfAborted();
  const requests = deviceRequests({ options: new Map(), lists: deviceLists(options) });
  const root = options.root ?? (requests.some(({ kind }) => kind === "disk") ? "auto" : "none");
  if (options.systemd === true && root === "none")
    throw new ParavirtError("BAD_ARGUMENT", "systemd boots from a disk: disks or a root are needed");
  const guest = await debianGuest({
    modules: [...XEN_MODULES, ...GUEST_MODULES.share, ...(root === "none" ? [] : GUEST_MODULES.root)],
    ...options.guest,
  });
  const commandLine = guestCommandLine({
    mode: options.systemd === true ? "shell" : "agent",
    root,
    messages: true,
    shares: [
      ...requests.flatMap(({ share }) => (share === undefined ? [] : [share])),
      ...(options.sharedFolders ?? []),
    ],
    networks: requests.flatMap(({ network }) => (network === undefined ? [] : [network])),
    ...(options.append === undefined ? {} : { append: options.append }),
  });
  const opened = await openDevices(requests);
  const exec = createExec();
  const memory = options.memory ?? 256;
  const machine =
    options.machine ??
    createMachine({
      memory: Math.max(memory, options.maxMemory ?? 0) + SPARE_MIB,
      ...(options.cpu === undefined ? {} : { cpu: options.cpu }),
    });
  const owned = options.machine === undefined ? machine : undefined;
  try {
    const domain = await machine.createDomain({
      kernel: guest.image,
      initrd: joinArchives([guest.initramfs, agentArchive()]),
      commandLine,
      name: "debian",
      memory,
      devices: [execDevice(exec), ...opened.devices, ...(options.devices ?? [])],
      ...(options.maxMemory === undefined ? {} : { maxMemory: options.maxMemory }),
      ...(options.vcpus === undefined ? {} : { vcpus: options.vcpus }),
      ...(options.cap === undefined ? {} : { cap: options.cap }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    return await started(new RunningVm(domain, machine, owned, exec, opened.close), options);
  } catch (error) {
    owned?.close();
    await opened.close();
    throw error;
  }
}

function execDevice({ files }: Exec): Device {
  const server = createP9Server({ fileSystem: files });
  return createShareDevice({ server, tag: EXEC_TAG, id: EXEC_DEVICE, maxRingPageOrder: EXEC_RING_ORDER });
}

/** The options as the command line would have them. */
function deviceLists({ disks, shares, networks, publish }: DebianVmOptions): Map<string, readonly string[]> {
  return new Map([
    ["disk", disks ?? []],
    ["share", shares ?? []],
    ["net", networks ?? []],
    ["publish", publish ?? []],
  ]);
}

/** Waits until the guest's agent is there. */
async function started(vm: RunningVm, options: DebianVmOptions): Promise<DebianVm> {
  let tail = "";
  void (async () => {
    const decoder = new TextDecoder();
    for await (const bytes of vm.domain.console.readable) {
      options.onConsole?.(bytes);
      tail = (tail + decoder.decode(bytes, { stream: true })).slice(-TAIL);
    }
  })();
  const ended = await Promise.race([vm.ready, vm.domain.shutdown]);
  if (ended === undefined) return vm;
  await vm.close();
  options.signal?.throwIfAborted();
  const last = tail.trim().split(/\r?\n/).slice(-3).join(" / ");
  throw new ParavirtError("UNAVAILABLE", `the guest ended (${ended.reason}) before it took commands: ${last}`);
}

class RunningVm implements DebianVm {
  readonly domain: MachineDomain;
  readonly machine: Machine;
  /** Resolves when the guest takes commands. */
  readonly ready: Promise<undefined>;
  private readonly commands: Exec;
  private readonly ending: Promise<DomainShutdown>;

  /** `owned` is the machine when it ends with its domain. */
  constructor(
    domain: MachineDomain,
    machine: Machine,
    owned: Machine | undefined,
    commands: Exec,
    closeDevices: () => Promise<void>,
  ) {
    this.domain = domain;
    this.machine = machine;
    this.commands = commands;
    this.ready = commands.ready.then(() => undefined);
    this.ending = domain.shutdown.then(async (shutdown) => {
      commands.close();
      owned?.close();
      await closeDevices();
      return shutdown;
    });
    // Whoever asks for the end hears of it; nobody has to.
    this.ending.catch(() => {});
  }

  exec(argv: readonly (string | Uint8Array)[], options?: ExecOptions): Promise<ExecProcess> {
    return this.commands.run(argv, options);
  }

  powerOff(): Promise<DomainShutdown> {
    this.commands.powerOff();
    return this.ending;
  }

  async close(): Promise<void> {
    this.domain.destroy();
    await this.ending;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
