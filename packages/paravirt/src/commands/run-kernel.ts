import { joinInput } from "../console-input.ts";
import { openConsole } from "../console-output.ts";
import { type GuestOptions, guestOptions } from "../guest-options.ts";
import type { ParsedArguments } from "../options.ts";
import { readInput } from "../read-input.ts";
import { runGuest } from "../run-guest.ts";
import { UsageError } from "../usage-error.ts";

const MINI_MIB = 16;

/** `paravirt run --kernel FILE`. */
export async function runKernel({ options }: ParsedArguments): Promise<number> {
  const kernel = options.get("kernel");
  if (kernel === undefined) throw new UsageError("run needs a guest: run debian, run mini, or run --kernel FILE");
  const guest = guestOptions(options, 256);
  const initrd = options.get("initrd");
  return runPlain(
    { kernel: readInput(kernel), ...(initrd === undefined ? {} : { initrd: readInput(initrd) }), name: "guest" },
    guest,
  );
}

/** `paravirt run mini`. */
export async function runMini({ options }: ParsedArguments): Promise<number> {
  const { miniGuest } = await import("@paravirt/vmm");
  return runPlain({ kernel: miniGuest(), name: "mini" }, guestOptions(options, MINI_MIB));
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
