import { type CommandRow, HELP, type OptionRow } from "./command-row.ts";
import { COMMANDS } from "./command-table.ts";

/** Help for one command. */
export function commandHelp(command: CommandRow): string {
  const usage = ["paravirt", ...command.words, "[options]", command.operands ?? ""].join(" ").trim();
  const label = (row: OptionRow) =>
    `${row.short === undefined || row === HELP ? "" : `-${row.short}, `}--${row.name}${row.value === undefined ? "" : ` ${row.value}`}`;
  const width = Math.max(...command.options.map((row) => label(row).length));
  const lines = command.options.map((row) => `  ${label(row).padEnd(width)}  ${row.help}`);
  return [`usage: ${usage}`, "", `${command.help}`, "", ...lines, ""].join("\n");
}

/** Help for all of them. */
export function generalHelp(): string {
  const label = (row: CommandRow) =>
    [...row.words, row.words.length === 1 && row.words[0] === "run" ? "--kernel FILE" : "", row.operands ?? ""]
      .filter(Boolean)
      .join(" ");
  const width = Math.max(...COMMANDS.map((row) => label(row).length));
  const lines = COMMANDS.map((row) => `  ${label(row).padEnd(width)}  ${row.help}`);
  return [
    "usage: paravirt COMMAND [options]",
    "",
    "Xen in TypeScript: unmodified 64-bit Linux kernels as Xen guests, without KVM or root.",
    "",
    ...lines,
    "",
    "paravirt COMMAND --help tells a command's options.",
    "",
  ].join("\n");
}
