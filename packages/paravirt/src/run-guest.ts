import { accessSync, appendFileSync, constants, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { KernelImage } from "@paravirt/boot";
import { formatCrash } from "@paravirt/hypervisor";
import { createMachine, type DomainShutdown, type Machine, type MachineDomain } from "@paravirt/vmm";
import type { Device } from "@paravirt/xenbus";
import { openDevices } from "./devices/device-request.ts";
import { type GuestOptions, SPARE_MIB } from "./guest-options.ts";
import { createInitWatch } from "./init-output.ts";
import { reasonOf } from "./read-input.ts";
import { STATUS } from "./status.ts";
import { UsageError } from "./usage-error.ts";

/** A guest to run, and what is done with its console. */
export interface GuestRun {
  readonly kernel: Uint8Array | KernelImage;
  readonly initrd?: Uint8Array;
  readonly commandLine: string;
  readonly name: string;
  /** Gets all that the guest prints; the guest waits while the promise does. */
  onOutput(bytes: Uint8Array): void | Promise<void>;
  /** Called once the guest runs, for input. */
  onStart?(session: GuestSession): void;
  /** Called when the guest has ended, before the exit status is settled; whatever it answers wins. */
  onEnd?(shutdown: DomainShutdown): number | undefined;
}

/** A running guest as its console's code sees it. */
export interface GuestSession {
  readonly domain: MachineDomain;
  /** Sends input to the guest's console; resolves when the guest took it. */
  send(bytes: Uint8Array): Promise<void>;
  /** Ends the guest at once, with this exit status. */
  finish(status: number): void;
}

const MIB = 1024 * 1024;
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Runs one guest to its end and answers the exit status of the contract: 0, 3, 4, 5, or what the console's code chose. */
export async function runGuest(run: GuestRun, options: GuestOptions): Promise<number> {
  if (options.stats !== undefined) checkWritable(options.stats);
  const opened = await openDevices(options.devices);
  try {
    return await runWith(opened.devices, run, options);
  } finally {
    await opened.close();
  }
}

async function runWith(devices: readonly Device[], run: GuestRun, options: GuestOptions): Promise<number> {
  using machine = createMachine({
    memory: options.memory + SPARE_MIB,
    cpu: options.cpu,
    log: hypervisorLog(options.hypervisorLog),
  });
  const domain = await machine.createDomain({
    kernel: run.kernel,
    commandLine: run.commandLine,
    memory: options.memory,
    vcpus: options.vcpus,
    cap: options.cap,
    devices,
    name: options.name ?? run.name,
    ...(run.initrd === undefined ? {} : { initrd: run.initrd }),
  });
  const times: { firstInstruction: number; init?: number } = { firstInstruction: performance.now() };
  let chosen: number | undefined;
  const finish = (status: number): void => {
    chosen ??= status;
    domain.destroy();
  };
  const writer = domain.console.writable.getWriter();
  const session: GuestSession = {
    domain,
    send: (bytes) => writer.write(bytes),
    finish,
  };
  const timer =
    options.timeout === undefined
      ? undefined
      : setTimeout(() => {
          process.stderr.write(`paravirt: the guest still ran after ${options.timeout} s\n`);
          finish(STATUS.TIMEOUT);
        }, options.timeout * 1000);
  const onSignal = (signal: NodeJS.Signals): void => finish(SIGNALS[signal as keyof typeof SIGNALS]);
  for (const signal of Object.keys(SIGNALS)) process.on(signal, onSignal);
  run.onStart?.(session);
  const watch = createInitWatch();
  await readConsole(domain, async (bytes) => {
    if (times.init === undefined && watch(bytes)) times.init = performance.now();
    await run.onOutput(bytes);
  });
  const shutdown = await domain.shutdown;
  clearTimeout(timer);
  for (const signal of Object.keys(SIGNALS)) process.off(signal, onSignal);
  if (machine.error !== undefined) throw machine.error;
  const status = chosen ?? run.onEnd?.(shutdown) ?? statusOf(shutdown);
  if (shutdown.reason === "crash") reportCrash(shutdown);
  if (options.stats !== undefined) writeStats(options.stats, machine, domain, times);
  return status;
}

async function readConsole(domain: MachineDomain, onOutput: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  const reader = domain.console.readable.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    await onOutput(value);
  }
}

function statusOf({ reason }: DomainShutdown): number {
  if (reason === "poweroff") return STATUS.OK;
  return reason === "reboot" ? STATUS.REBOOT : STATUS.CRASH;
}

function reportCrash({ crash }: DomainShutdown): void {
  process.stderr.write(crash === undefined ? "paravirt: the guest crashed\n" : formatCrash(crash));
}

function hypervisorLog(where: string | undefined): (domain: number, text: string) => void {
  if (where === undefined) return () => {};
  const format = (domain: number, text: string) => `(d${domain}) ${text.endsWith("\n") ? text : `${text}\n`}`;
  if (where === "stderr") return (domain, text) => void process.stderr.write(format(domain, text));
  try {
    writeFileSync(where, "");
  } catch (error) {
    throw new UsageError(`--hypervisor-log ${where} can't be written: ${reasonOf(error)}`);
  }
  return (domain, text) => appendFileSync(where, format(domain, text));
}

/** The counters are written at the end; that they can't be is said before the guest starts. */
function checkWritable(file: string): void {
  try {
    const status = statSync(file, { throwIfNoEntry: false });
    if (status?.isDirectory()) throw new Error("a folder");
    accessSync(status === undefined ? dirname(file) : file, constants.W_OK);
  } catch (error) {
    throw new UsageError(`--stats ${file} can't be written: ${reasonOf(error)}`);
  }
}

/** Milliseconds count from the start of the process; memory is the process's largest resident size. */
function writeStats(
  file: string,
  machine: Machine,
  domain: MachineDomain,
  times: { firstInstruction: number; init?: number },
): void {
  const { hypercalls, ...counters } = machine.statistics();
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const stats = {
    ...counters,
    cpuSeconds: (userCPUTime + systemCPUTime) / 1e6,
    hypercalls: hypercalls[domain.id] ?? {},
    peakMemory: maxRSS * 1024,
    peakMemoryMiB: Math.round((maxRSS * 1024) / MIB),
    firstInstructionMs: Math.round(times.firstInstruction),
    initOutputMs: times.init === undefined ? null : Math.round(times.init),
  };
  writeFileSync(file, `${JSON.stringify(stats, null, 2)}\n`);
}
