import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { renderCommandLine } from "./command-line-doc.ts";
import { COMMANDS } from "./command-table.ts";
import { commandHelp } from "./help.ts";
import { editDistance, parseArguments } from "./options.ts";

test("options may be given with a space or an equals sign, and words after -- are the guest's", () => {
  const parsed = parseArguments(["run", "debian", "--memory", "128", "--name=x", "--", "sh", "-c", "exit --7"]);
  expect(parsed.command.words).toEqual(["run", "debian"]);
  expect([...parsed.options]).toEqual([
    ["memory", "128"],
    ["name", "x"],
  ]);
  expect(parsed.rest).toEqual(["sh", "-c", "exit --7"]);
});

test.each([
  [["run", "debian", "--memroy", "1"], "no option --memroy in run debian: did you mean --memory?"],
  [["run", "--kernle", "x"], "no option --kernle in run: did you mean --kernel?"],
  [["rnu"], 'no command "rnu": did you mean run?'],
  [["run", "debain"], 'run doesn\'t take "debain": did you mean debian?'],
  [["run", "--memory", "64", "debian"], 'run doesn\'t take "debian" after options; write run debian first'],
  [["run", "debian", "uname"], 'run debian doesn\'t take "uname"; a command for the guest follows --'],
  [["run", "mini", "--timeout"], "--timeout needs a value: TIME"],
  [["inspect", "--json=yes", "x"], '--json takes no value, not "yes"'],
  [["disasm", "--", "x"], "disasm takes nothing after --"],
])("%j is refused: %s", (argv, message) => {
  expect(() => parseArguments(argv)).toThrow(message);
});

test("the distance counts insertions, deletions, replacements and swaps", () => {
  expect([
    editDistance("kernel", "kernle"),
    editDistance("a", ""),
    editDistance("memory", "memroy"),
    editDistance("stats", "state"),
  ]).toEqual([1, 1, 1, 1]);
});

test("help names every option of a command", () => {
  for (const command of COMMANDS)
    for (const { name } of command.options) expect(commandHelp(command)).toContain(`--${name}`);
});

test("docs/command-line.md is what the table says", () => {
  expect(readFileSync(new URL("../../../docs/command-line.md", import.meta.url), "utf8")).toBe(renderCommandLine());
});
