import type { CommandRow } from "./command-row.ts";
import { COMMANDS } from "./command-table.ts";
import { UsageError } from "./usage-error.ts";

/** What the words on a command line say. */
export interface ParsedArguments {
  readonly command: CommandRow;
  readonly options: ReadonlyMap<string, string>;
  /** Values of repeatable options, in order. */
  readonly lists: ReadonlyMap<string, readonly string[]>;
  readonly operands: readonly string[];
  /** Words after `--`; `undefined` without one. */
  readonly rest: readonly string[] | undefined;
}

/** Finds the command and its options. Throws {@link UsageError} naming the nearest right word. */
export function parseArguments(argv: readonly string[]): ParsedArguments {
  const command = findCommand(argv);
  const options = new Map<string, string>();
  const lists = new Map<string, string[]>();
  const operands: string[] = [];
  let rest: readonly string[] | undefined;
  for (let at = command.words.length; at < argv.length; at++) {
    const word = argv[at]!;
    if (word === "--") {
      rest = argv.slice(at + 1);
      if (!command.takesCommand) throw new UsageError(`${command.words.join(" ")} takes nothing after --`);
      break;
    }
    if (!word.startsWith("-") || word === "-") {
      operands.push(word);
      continue;
    }
    const [name, given] = splitOption(word);
    const row = command.options.find((option) => option.name === name || option.short === name);
    if (row === undefined) throw unknownOption(word, command);
    if (row.value === undefined) {
      if (given !== undefined) throw new UsageError(`--${name} takes no value, not "${given}"`);
      options.set(row.name, "");
      continue;
    }
    const value = given ?? argv[++at];
    if (value === undefined) throw new UsageError(`--${name} needs a value: ${row.value}`);
    if (row.repeatable === true) lists.set(row.name, [...(lists.get(row.name) ?? []), value]);
    else options.set(row.name, value);
  }
  if (operands.length > command.maxOperands && !options.has("help")) throw extraOperand(operands, command);
  return { command, options, lists, operands, rest };
}

function findCommand(argv: readonly string[]): CommandRow {
  const fits = COMMANDS.filter((row) => row.words.every((word, index) => argv[index] === word));
  const best = fits.sort((a, b) => b.words.length - a.words.length)[0];
  if (best !== undefined) return best;
  const word = argv[0] ?? "";
  throw new UsageError(
    `no command "${word}"${suggestion(word, [...new Set(COMMANDS.map((row) => row.words[0]!))])}; see paravirt --help`,
  );
}

function extraOperand(operands: readonly string[], command: CommandRow): UsageError {
  const word = operands[command.maxOperands]!;
  // `run debain` is a wrong guest rather than a stray word.
  const subcommands = COMMANDS.filter(
    (row) => row.words.length > command.words.length && row.words[0] === command.words[0],
  ).map((row) => row.words[1]!);
  const hint = command.takesCommand
    ? "; a command for the guest follows --"
    : subcommands.includes(word)
      ? ` after options; write ${command.words.join(" ")} ${word} first`
      : suggestion(word, subcommands);
  return new UsageError(`${command.words.join(" ")} doesn't take "${word}"${hint}`);
}

function splitOption(word: string): [string, string | undefined] {
  const text = word.replace(/^--?/, "");
  const equals = text.indexOf("=");
  return equals < 0 ? [text, undefined] : [text.slice(0, equals), text.slice(equals + 1)];
}

function unknownOption(word: string, command: CommandRow): UsageError {
  const [name] = splitOption(word);
  const names = command.options.map((option) => option.name);
  return new UsageError(
    `no option ${word.split("=")[0]} in ${command.words.join(" ")}${suggestion(name, names, "--")}`,
  );
}

function suggestion(word: string, names: readonly string[], prefix = ""): string {
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const name of names) {
    const distance = editDistance(word, name);
    if (distance < least) {
      least = distance;
      best = name;
    }
  }
  return best === undefined ? "" : `: did you mean ${prefix}${best}?`;
}

/** Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
export function editDistance(a: string, b: string): number {
  const rows = Array.from({ length: a.length + 1 }, (_, i) => [i, ...new Array<number>(b.length).fill(0)]);
  for (let j = 0; j <= b.length; j++) rows[0]![j] = j;
  for (let i = 1; i <= a.length; i++)
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let cost = Math.min(rows[i - 1]![j]! + 1, rows[i]![j - 1]! + 1, rows[i - 1]![j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, rows[i - 2]![j - 2]! + 1);
      rows[i]![j] = cost;
    }
  return rows[a.length]![b.length]!;
}
