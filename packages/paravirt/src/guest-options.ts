import { existsSync } from "node:fs";
import { CPU_MODELS, type CpuModel } from "@paravirt/cpu";
import type { HostFile } from "@paravirt/host-node";
import { XEN_LEGACY_MAX_VCPUS } from "@paravirt/xen-abi";
import type { DeviceRequest } from "./devices/device-request.ts";
import { deviceRequests } from "./devices/device-requests.ts";
import type { ParsedArguments } from "./options.ts";
import { parseSize } from "./sizes.ts";
import { UsageError } from "./usage-error.ts";

/** Where a guest's console goes. */
export type ConsoleChoice =
  | { readonly kind: "stdio" }
  | { readonly kind: "none" }
  | { readonly kind: "file"; readonly path: string };

/** The options that all `run` commands share, checked. */
export interface GuestOptions {
  readonly memory: number;
  readonly vcpus: number;
  /** Percent of one processor that the guest may use; 0 for no limit. */
  readonly cap: number;
  readonly cpu: CpuModel | "max";
  readonly name: string | undefined;
  readonly append: string | undefined;
  readonly console: ConsoleChoice;
  readonly timeout: number | undefined;
  readonly stats: string | undefined;
  readonly hypervisorLog: string | undefined;
  /** What `--initrd-add` puts into the initramfs. */
  readonly initrdAdd: readonly HostFile[];
  /** Devices to open before the guest starts. */
  readonly devices: readonly DeviceRequest[];
}

/** MiB of machine memory beside the guest's own. */
export const SPARE_MIB = 8;
const MIB = 1024 * 1024;
/** A machine of 3800 MiB less what is spared; 4 GiB is WebAssembly's limit. */
const MAX_MEMORY = 3800 - SPARE_MIB;

/** Reads the shared options; `memory` is the default in MiB. */
export function guestOptions(
  { options, lists }: Pick<ParsedArguments, "options" | "lists">,
  memory: number,
): GuestOptions {
  const onReboot = options.get("on-reboot") ?? "exit";
  if (onReboot !== "exit") throw new UsageError(`--on-reboot ${onReboot}: only exit is supported`);
  const timeout = options.get("timeout");
  return {
    memory: memorySize(options.get("memory"), memory),
    ...processors(options),
    cpu: cpuModel(options.get("cpu") ?? "max"),
    name: options.get("name"),
    append: options.get("append"),
    console: consoleChoice(options.get("console") ?? "stdio"),
    timeout: timeout === undefined ? undefined : duration(timeout),
    stats: options.get("stats"),
    hypervisorLog: options.get("hypervisor-log"),
    initrdAdd: (lists.get("initrd-add") ?? []).map(hostFile),
    devices: deviceRequests({ options, lists }),
  };
}

/** MiB, or a number with a unit as container tools write it: `512m`, `1g`, `524288k`. */
function memorySize(text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  // A guest has whole MiB; what is asked for beyond is little.
  const whole = Math.floor((parseSize(text, "m") ?? 0) / MIB);
  if (whole < 1 || whole > MAX_MEMORY)
    throw new UsageError(`--memory ${text}: 1 to ${MAX_MEMORY} MiB, as a number or with k, m or g`);
  return whole;
}

/** `--cpus 1.5` is a share of processor time, `--vcpus 2` how many the guest sees. */
function processors(options: ReadonlyMap<string, string>): { vcpus: number; cap: number } {
  const text = options.get("cpus");
  if (text === undefined) return { vcpus: wholeNumber(options, "vcpus", 1, 1, XEN_LEGACY_MAX_VCPUS, ""), cap: 0 };
  const cpus = Number(text);
  if (!/^[0-9]*\.?[0-9]+$/.test(text) || cpus < 0.01 || cpus > XEN_LEGACY_MAX_VCPUS)
    throw new UsageError(`--cpus ${text}: 0.01 to ${XEN_LEGACY_MAX_VCPUS}`);
  const vcpus = wholeNumber(options, "vcpus", Math.ceil(cpus), 1, XEN_LEGACY_MAX_VCPUS, "");
  // Whole processors need no limit where the guest has no more of them.
  return { vcpus, cap: cpus >= vcpus ? 0 : Math.round(cpus * 100) };
}

/** `HOSTPATH[:GUESTPATH]`: a guest path is absolute, so `:/` is where it starts. */
function hostFile(text: string): HostFile {
  const at = text.lastIndexOf(":/");
  const [hostPath, guestPath] = at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
  if (hostPath === "") throw new UsageError(`--initrd-add ${text}: a file or folder of this machine comes first`);
  if (existsSync(hostPath)) return guestPath === undefined ? { hostPath } : { hostPath, guestPath };
  const hint = at < 0 && text.includes(":") ? "; after a colon, a path in the guest starts with /" : "";
  throw new UsageError(`--initrd-add ${text}: ${hostPath} doesn't exist${hint}`);
}

/** A processor model; `v1` stands for `x86-64-v1`. */
function cpuModel(text: string): CpuModel | "max" {
  const name = /^v[0-9]+$/.test(text) ? `x86-64-${text}` : text;
  if (name === "max" || Object.hasOwn(CPU_MODELS, name)) return name as CpuModel | "max";
  throw new UsageError(`--cpu ${text}: ${Object.keys(CPU_MODELS).join(", ")} or max`);
}

function wholeNumber(
  options: ReadonlyMap<string, string>,
  name: string,
  otherwise: number,
  least: number,
  most: number,
  unit: string,
): number {
  const text = options.get(name);
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!/^[0-9]+$/.test(text) || value < least || value > most)
    throw new UsageError(`--${name} ${text}: ${least} to ${most}${unit}`);
  return value;
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

/** Seconds, or a number with s, m or h. */
function duration(text: string): number {
  const match = /^([0-9]*\.?[0-9]+)([smh]?)$/.exec(text);
  const value = match === null ? 0 : Number(match[1]) * (SECONDS[match[2]!] ?? 1);
  if (!(value > 0) || value > 2_000_000)
    throw new UsageError(`--timeout ${text}: more than 0 and at most 2000000 seconds`);
  return value;
}

function consoleChoice(text: string): ConsoleChoice {
  if (text === "stdio" || text === "none") return { kind: text };
  if (text.startsWith("file:") && text.length > 5) return { kind: "file", path: text.slice(5) };
  throw new UsageError(`--console ${text}: stdio, file:PATH or none`);
}
