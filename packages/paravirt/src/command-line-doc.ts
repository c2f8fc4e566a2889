import { COMMANDS, commandHelp } from "./options.ts";

/** The fields of the counters' file, in its order. */
const STATS: readonly (readonly [string, string])[] = [
  ["instructions", "guest instructions executed"],
  ["tlbFills", "page walks that filled a TLB entry"],
  ["faults", "faults that guest code raised"],
  ["blocksDecoded, blocksTranslated", "pieces of code decoded for the interpreter, and translated to WebAssembly"],
  ["cpuSeconds", "processor time of the whole process, user and system"],
  ["hypercalls", "by name: `calls`, and `operations` by name where there are several"],
  ["peakMemory", "largest resident size of the process in bytes; `peakMemoryMiB` rounds it"],
  ["firstInstructionMs", "from process start to the guest's first instruction"],
  ["initOutputMs", "from process start to the first console output that isn't the kernel's log; null without any"],
];

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
    "## What --stats writes",
    "",
    ...STATS.map(([name, meaning]) => `- \`${name}\`: ${meaning}`),
    "",
  ].join("\n");
}
