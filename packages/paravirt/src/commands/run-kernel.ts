import { joinArchives } from "@paravirt/boot";
import { joinInput } from "../console-input.ts";
import { openConsole } from "../console-output.ts";
import { type GuestOptions, guestOptions } from "../guest-options.ts";
import { addedArchives } from "../initrd.ts";
import type { ParsedArguments } from "../options.ts";
import { readInput } from "../read-input.ts";
import { runGuest } from "../run-guest.ts";
import { UsageError } from "../usage-error.ts";

const MINI_MIB = 16;

/** `paravirt run --kernel FILE`. */
export async function runKernel(parsed: ParsedArguments): Promise<number> {
  const { options } = parsed;
  const kernel = options.get("kernel");
  if (kernel === undefined) throw new UsageError("run needs a guest: run debian, run mini, or run --kernel FILE");
  const guest = guestOptions(parsed, 256);
  const file = options.get("initrd");
  const initrd = file === undefined ? undefined : readInput(file);
  const archives = [...(initrd === undefined ? [] : [initrd]), ...addedArchives(initrd, guest)];
  return runPlain(
    {
      kernel: readInput(kernel),
      ...(archives.length === 0 ? {} : { initrd: joinArchives(archives) }),
      name: "guest",
    },
    guest,
  );
}

/** `paravirt run mini`. */
export async function runMini(parsed: ParsedArguments): Promise<number> {
  const { miniGuest } = await import("@paravirt/vmm");
  return runPlain({ kernel: miniGuest(), name: "mini" }, guestOptions(parsed, MINI_MIB));
}

/** A guest whose console is this process's standard input and output, or what `--console` says. */
async function runPlain(
  guest: { kernel: Uint8Array; initrd?: Uint8Array; name: string },
  options: GuestOptions,
): Promise<number> {
  const output = openConsole(options.console);
  let letGo = (): void => {};
  try {
    return await runGuest(
      {
        ...guest,
        commandLine: options.append ?? "",
        onOutput: (bytes) => output.write(bytes),
        onStart: (session) => {
          if (options.console.kind === "stdio") letGo = joinInput(session, () => session.finish(0));
        },
      },
      options,
    );
  } finally {
    letGo();
    await output.close();
  }
}
