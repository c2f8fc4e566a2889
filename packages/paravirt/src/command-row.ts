/** One option of a command, as help shows it and parsing checks it. */
export interface OptionRow {
  readonly name: string;
  /** A letter that stands for it after one dash. */
  readonly short?: string;
  /** Name of its value in help; a flag has none. */
  readonly value?: string;
  /** Whether it may be given more than once; its values are in {@link ParsedArguments.lists}. */
  readonly repeatable?: true;
  readonly help: string;
}

/** One command: its words, what may follow, its options. */
export interface CommandRow {
  readonly words: readonly string[];
  /** What follows the words and options in the usage line. */
  readonly operands?: string;
  readonly help: string;
  readonly options: readonly OptionRow[];
  /** How many operands it takes at most. */
  readonly maxOperands: number;
  /** Whether words after `--` are the guest's. */
  readonly takesCommand?: boolean;
}

/** What every command has. */
export const HELP: OptionRow = { name: "help", short: "h", help: "show this" };

/** For commands that tell something. */
export const JSON_OUTPUT: OptionRow = { name: "json", help: "as JSON" };
