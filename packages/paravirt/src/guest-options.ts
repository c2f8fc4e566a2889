import { existsSync } from "node:fs";
import { CPU_MODELS, type CpuModel } from "@paravirt/cpu";
import type { HostFile } from "@paravirt/host-node";
import { XEN_LEGACY_MAX_VCPUS } from "@paravirt/xen-abi";
import type { ParsedArguments } from "./options.ts";
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
  readonly cpu: CpuModel | "max";
  readonly name: string | undefined;
  readonly append: string | undefined;
  readonly console: ConsoleChoice;
  readonly timeout: number | undefined;
  readonly stats: string | undefined;
  readonly hypervisorLog: string | undefined;
  /** What `--initrd-add` puts into the initramfs. */
  readonly initrdAdd: readonly HostFile[];
}

/** MiB of machine memory beside the guest's own. */
export const SPARE_MIB = 8;
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
    memory: wholeNumber(options, "memory", memory, 1, MAX_MEMORY, " MiB"),
    vcpus: wholeNumber(options, "vcpus", 1, 1, XEN_LEGACY_MAX_VCPUS, ""),
    cpu: cpuModel(options.get("cpu") ?? "max"),
    name: options.get("name"),
    append: options.get("append"),
    console: consoleChoice(options.get("console") ?? "stdio"),
    timeout: timeout === undefined ? undefined : seconds(timeout),
    stats: options.get("stats"),
    hypervisorLog: options.get("hypervisor-log"),
    initrdAdd: (lists.get("initrd-add") ?? []).map(hostFile),
  };
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

function seconds(text: string): number {
  const value = Number(text);
  if (!/^[0-9]*\.?[0-9]+$/.test(text) || !(value > 0) || value > 2_000_000)
    throw new UsageError(`--timeout ${text}: more than 0 and at most 2000000 seconds`);
  return value;
}

function consoleChoice(text: string): ConsoleChoice {
  if (text === "stdio" || text === "none") return { kind: text };
  if (text.startsWith("file:") && text.length > 5) return { kind: "file", path: text.slice(5) };
  throw new UsageError(`--console ${text}: stdio, file:PATH or none`);
}
