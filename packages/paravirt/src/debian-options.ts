import type { GuestOptions } from "./guest-options.ts";
import type { ParsedArguments } from "./options.ts";
import { UsageError } from "./usage-error.ts";

/** What `run debian` knows beside the options of every guest. */
export interface DebianOptions {
  /** `auto`, `none`, or a disk by its name in the guest. */
  readonly root: string;
  /** Whether a system on a disk may take over, so that nothing of ours starts a shell. */
  readonly bootsDisk: boolean;
  readonly env: Readonly<Record<string, string>>;
  /** Where the command starts. */
  readonly workdir: string | undefined;
}

/** Reads the options of `run debian`. `environment` is this machine's, for `--env NAME`. */
export function debianOptions(
  { options, lists, rest }: Pick<ParsedArguments, "options" | "lists" | "rest">,
  { devices }: Pick<GuestOptions, "devices">,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): DebianOptions {
  const hasDisk = devices.some((device) => device.kind === "disk");
  const root = rootChoice(options.get("root"), hasDisk);
  const bootsDisk = root !== "none" && rest === undefined;
  const env = variables(lists.get("env") ?? [], environment);
  const given = options.get("workdir");
  if (given !== undefined && !given.startsWith("/"))
    throw new UsageError(`--workdir ${given}: a path in the guest starts with /`);
  if (bootsDisk && (given !== undefined || lists.has("env"))) {
    const name = given === undefined ? "env" : "workdir";
    throw new UsageError(
      `--${name} is for a command, and a disk's own system may boot here: add -- CMD or --root none`,
    );
  }
  const shares = devices.flatMap((device) => (device.share === undefined ? [] : [device.share]));
  const workdir = given ?? (shares.length === 1 && !bootsDisk ? `/mnt/${shares[0]!.tag}` : undefined);
  return { root, bootsDisk, env, workdir };
}

function rootChoice(text: string | undefined, hasDisk: boolean): string {
  const choice = text ?? (hasDisk ? "auto" : "none");
  if (choice !== "none" && !hasDisk) throw new UsageError(`--root ${choice} needs a --disk`);
  if (choice === "none" || choice === "auto" || /^\/dev\/[a-z0-9]{1,31}$/.test(choice)) return choice;
  throw new UsageError(`--root ${choice}: auto, none or a disk as the guest names it, /dev/xvda1 say`);
}

/** `NAME=VALUE`, or `NAME` alone for this machine's value, which is nothing where it has none. */
function variables(
  texts: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  const env: Record<string, string> = {};
  for (const text of texts) {
    const equals = text.indexOf("=");
    const name = equals < 0 ? text : text.slice(0, equals);
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new UsageError(`--env ${text}: NAME=VALUE or NAME`);
    const value = equals < 0 ? environment[name] : text.slice(equals + 1);
    if (value !== undefined) env[name] = value;
  }
  return env;
}
