import { COMMANDS, commandHelp } from "./options.ts";

/** docs/command-line.md, from the table that parses the command line. */
export function renderCommandLine(): string {
  const sections = COMMANDS.map(
    (command) => `## paravirt ${command.words.join(" ")}\n\n\`\`\`text\n${commandHelp(command)}\`\`\`\n`,
  );
  return [
    "# The command line",
    "",
    "Generated from the option table by `node scripts/generate-command-line-doc.mjs`.",
    "",
    "Exit statuses of `run`: 0 the guest powered off, 3 it asked for a reboot, 4 it crashed, 5 timeout, 2 wrong usage or an",
    "image that can't boot. `run debian -- CMD` exits with the status of CMD.",
    "",
    ...sections,
  ].join("\n");
}
