import { commandHelp, generalHelp } from "./help.ts";
import { parseArguments } from "./options.ts";
import { STATUS } from "./status.ts";
import { UsageError } from "./usage-error.ts";

/** Errors that are the user's or the machine's, not ours: their message is enough. */
const EXPECTED = new Set(["UsageError", "ParavirtError"]);

/** Runs the command line `argv` (without node and script) and answers the exit status. */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    return await dispatch(argv);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const isExpected = EXPECTED.has(error.name) && (error as { code?: string }).code !== "BUG";
    process.stderr.write(
      isExpected || "syscall" in error
        ? `paravirt: ${oneLine(error.message)}\n`
        : `paravirt: ${error.stack ?? error.message}\n`,
    );
    return isExpected || "syscall" in error ? STATUS.USAGE : 1;
  }
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, " ");
}

async function dispatch(argv: readonly string[]): Promise<number> {
  if (argv.length === 0 || argv[0] === "--help" || argv[0] === "-h" || argv[0] === "help") {
    process.stdout.write(generalHelp());
    return argv.length === 0 ? STATUS.USAGE : STATUS.OK;
  }
  if (argv[0] === "--version") {
    const { readFileSync } = await import("node:fs");
    process.stdout.write(`${JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")).version}\n`);
    return STATUS.OK;
  }
  const parsed = parseArguments(argv);
  if (parsed.options.has("help")) {
    process.stdout.write(commandHelp(parsed.command));
    return STATUS.OK;
  }
  // Each command brings its own libraries in: listing code must not load a hypervisor.
  switch (parsed.command.words.join(" ")) {
    case "disasm":
      return (await import("./commands/disasm.ts")).disasm(parsed);
    case "image check":
    case "image convert":
    case "image create":
    case "image info":
    case "image resize":
      return (await import("./commands/image.ts")).image(parsed);
    case "image debian":
      return (await import("./commands/image-debian.ts")).imageDebian(parsed);
    case "inspect":
      return (await import("./commands/inspect.ts")).inspect(parsed);
    case "step":
      return (await import("./commands/step.ts")).step(parsed);
    case "run debian":
      return (await import("./commands/run-debian.ts")).runDebian(parsed);
    case "run mini":
      return (await import("./commands/run-kernel.ts")).runMini(parsed);
    case "run":
      return (await import("./commands/run-kernel.ts")).runKernel(parsed);
    case "xenstored":
      return (await import("./commands/xenstored.ts")).xenstored(parsed);
    default:
      throw new UsageError(`no command "${parsed.command.words.join(" ")}"`);
  }
}
