import {
  type CommandOptions,
  commandArchive,
  createCommandDecoder,
  encodeCommandInput,
  encodeCommandInputEnd,
  type GuestCommandLineOptions,
  guestCommandLine,
  joinArchives,
} from "@paravirt/boot";
import { type DebianGuest, debianGuest, GUEST_MODULES, type GuestProgress, XEN_MODULES } from "@paravirt/host-node";
import type { DomainShutdown } from "@paravirt/vmm";
import { joinInput, pumpInput } from "../console-input.ts";
import { openConsole } from "../console-output.ts";
import { type DebianOptions, debianOptions } from "../debian-options.ts";
import { type GuestOptions, guestOptions } from "../guest-options.ts";
import { addedArchives, checkUnpacks } from "../initrd.ts";
import type { ParsedArguments } from "../options.ts";
import { type GuestSession, runGuest } from "../run-guest.ts";
import { UsageError } from "../usage-error.ts";

/** `paravirt run debian`: a shell, or one command. */
export async function runDebian(parsed: ParsedArguments): Promise<number> {
  const { rest } = parsed;
  const guestSettings = guestOptions(parsed, 256);
  const settings = { ...guestSettings, ...debianOptions(parsed, guestSettings) };
  if (rest !== undefined && rest.length === 0)
    throw new UsageError("run debian -- needs a command after the two dashes");
  const guest = await debianGuest({
    modules: guestModules(settings),
    onProgress: progress(rest === undefined || process.stderr.isTTY === true),
  });
  if (rest !== undefined) return runCommand(guest, rest, settings, false);
  // Without a terminal the shell reads its lines from standard input, and the guest ends with them.
  if (!process.stdin.isTTY && !settings.bootsDisk) return runCommand(guest, ["sh"], settings, true);
  return runShell(guest, settings);
}

type Settings = GuestOptions & DebianOptions;

/** Modules that `/init` loads; those of devices that the guest hasn't would only take time. */
function guestModules({ devices, root }: Settings): readonly string[] {
  return [
    ...XEN_MODULES,
    ...(devices.some(({ kind }) => kind === "share") ? GUEST_MODULES.share : []),
    ...(root === "none" ? [] : GUEST_MODULES.root),
  ];
}

/** What the kernel's command line says in every mode. */
function guestWords({ append, root, devices }: Settings): Omit<GuestCommandLineOptions, "mode"> {
  return {
    root,
    shares: devices.flatMap(({ share }) => (share === undefined ? [] : [share])),
    networks: devices.flatMap(({ network }) => (network === undefined ? [] : [network])),
    ...(append === undefined ? {} : { append }),
  };
}

function commandOptions({ env, workdir }: Settings): CommandOptions {
  return { env, ...(workdir === undefined ? {} : { cwd: workdir }) };
}

function debianInitrd(guest: DebianGuest, options: GuestOptions, last: readonly Uint8Array[] = []): Uint8Array {
  const initrd = joinArchives([guest.initramfs, ...addedArchives(guest.initramfs, options), ...last]);
  checkUnpacks(initrd, options);
  return initrd;
}

/** Shows downloads on standard error: one line for each step, with a percentage where it is a terminal. */
function progress(shown: boolean): (progress: GuestProgress) => void {
  let last = "";
  return ({ step, what, fraction }) => {
    if (!shown) return;
    const label = `${step}: ${what}`;
    if (process.stderr.isTTY)
      process.stderr.write(`\r\x1b[K${label} ${Math.round(fraction * 100)} %${fraction >= 1 ? "\n" : ""}`);
    else if (label !== last) process.stderr.write(`${label}\n`);
    last = label;
  };
}

/** One command, its streams and its status. A shell on standard input ends with 0 whatever its last command said. */
async function runCommand(
  guest: DebianGuest,
  argv: readonly string[],
  options: Settings,
  isShell: boolean,
): Promise<number> {
  const initrd = debianInitrd(guest, options, [commandArchive(argv, commandOptions(options))]);
  const output = openConsole(options.console);
  let session: GuestSession | undefined;
  let letGo = (): void => {};
  let writing = Promise.resolve();
  let status: number | undefined;
  const forwardsInput = !process.stdin.isTTY;
  const write = (bytes: Uint8Array, to: (bytes: Uint8Array) => void | Promise<void>): void => {
    const copy = Uint8Array.from(bytes);
    writing = writing.then(() => to(copy));
  };
  const decoder = createCommandDecoder({
    onStart: () => {
      if (!forwardsInput) return;
      letGo = pumpInput(
        (bytes) => session!.send(encodeCommandInput(bytes)),
        () => void session!.send(encodeCommandInputEnd()).catch(() => {}),
      );
    },
    onStdout: (bytes) => write(bytes, output.write),
    onStderr: (bytes) => write(bytes, writeError),
    onExit: (code) => {
      status = isShell ? 0 : code;
      session?.finish(status);
    },
  });
  try {
    return await runGuest(
      {
        kernel: guest.image,
        initrd,
        commandLine: guestCommandLine({ mode: "command", stdin: forwardsInput, ...guestWords(options) }),
        name: "debian",
        onOutput: (bytes) => {
          decoder.push(bytes);
          return writing;
        },
        onStart: (started) => {
          session = started;
        },
        // The guest may power off, or reboot, before its command's status came out.
        onEnd: (shutdown) => endStatus(shutdown, status),
      },
      options,
    );
  } finally {
    letGo();
    await writing;
    await output.close();
  }
}

function endStatus(shutdown: DomainShutdown, status: number | undefined): number | undefined {
  return shutdown.reason === "poweroff" ? (status ?? 0) : undefined;
}

function writeError(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => process.stderr.write(bytes, () => resolve()));
}

/** A shell in this terminal. */
async function runShell(guest: DebianGuest, options: Settings): Promise<number> {
  // A plain `sh` is what /init starts by itself; this one has variables and a folder.
  const isPlain = options.workdir === undefined && Object.keys(options.env).length === 0;
  const initrd = debianInitrd(guest, options, isPlain ? [] : [commandArchive(["sh", "-i"], commandOptions(options))]);
  const output = openConsole(options.console);
  let letGo = (): void => {};
  const { columns, rows } = process.stdout;
  try {
    return await runGuest(
      {
        kernel: guest.image,
        initrd,
        commandLine: guestCommandLine({
          mode: "shell",
          messages: true,
          ...(columns > 0 && rows > 0 ? { columns, rows } : {}),
          ...(process.env.TERM === undefined ? {} : { term: process.env.TERM }),
          ...guestWords(options),
        }),
        name: "debian",
        onOutput: (bytes) => output.write(bytes),
        onStart: (session) => {
          letGo = joinInput(session, () => session.finish(0));
        },
      },
      options,
    );
  } finally {
    letGo();
    await output.close();
  }
}
