import { UsageError } from "./usage-error.ts";

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

const HELP: OptionRow = { name: "help", short: "h", help: "show this" };

const GUEST_OPTIONS: readonly OptionRow[] = [
  {
    name: "disk",
    value: "PATH[,format=raw|qcow2][,ro][,overlay][,cdrom][,dev=xvda]",
    repeatable: true,
    help: "an image or block device as the guest's next disk, or as the one that dev names; repeatable",
  },
  {
    name: "share",
    value: "HOSTDIR[:TAG][,ro]",
    repeatable: true,
    help: "a folder of this machine, which run debian mounts at /mnt/TAG (its own name); repeatable",
  },
  {
    name: "net",
    value:
      "none|user[,allow=HOST[:PORT]|CIDR|*]|hub:SOCKET[,address=CIDR][,filter]|passt:SOCKET[,pcap=FILE][,mac=MAC][,mtu=N][,rate=R]",
    repeatable: true,
    help: "a network card: user reaches what allow names, 10.0.2.2 being this machine's loopback; repeatable (none)",
  },
  {
    name: "publish",
    value: "[ADDR:]HOSTPORT:GUESTPORT",
    repeatable: true,
    help: "a TCP port of this machine that leads to the guest on its user network; repeatable",
  },
  { name: "memory", value: "SIZE", help: "memory of the guest: MiB, or a number with k, m or g (256)" },
  { name: "vcpus", value: "N", help: "virtual processors (1)" },
  {
    name: "cpus",
    value: "N",
    help: "processor time the guest may use, 1.5 say, and as many virtual processors as that takes unless --vcpus is given",
  },
  {
    name: "cpu",
    value: "MODEL",
    help: "x86-64-v1, x86-64-v2, x86-64-v3 (AVX2) or max (all but AVX): what CPUID shows; other instructions raise #UD (max)",
  },
  { name: "name", value: "S", help: "name of the domain" },
  { name: "append", value: "STRING", help: "words added to the kernel's command line" },
  { name: "console", value: "WHERE", help: "stdio, file:PATH or none: where the guest's console goes (stdio)" },
  {
    name: "timeout",
    value: "TIME",
    help: "end the guest after so long, with status 5: seconds, or a number with s, m or h",
  },
  { name: "stats", value: "FILE", help: "write counters as JSON when the guest has ended" },
  {
    name: "hypervisor-log",
    value: "WHERE",
    help: "stderr or a file: the hypervisor's messages and the guest's console_io",
  },
  { name: "on-reboot", value: "ACTION", help: "exit: a guest that asks for a reboot ends with status 3 (exit)" },
  HELP,
];

const INITRD_ADD: OptionRow = {
  name: "initrd-add",
  value: "HOSTPATH[:GUESTPATH]",
  repeatable: true,
  help: "a file or folder for the initramfs, with its programs' libraries; repeatable",
};

const DEBIAN_OPTIONS: readonly OptionRow[] = [
  {
    name: "root",
    value: "WHERE",
    help: "auto: the first disk that holds ext4 with /sbin/init; /dev/xvdXN; or none: the initramfs (auto)",
  },
  {
    name: "env",
    value: "NAME[=VALUE]",
    repeatable: true,
    help: "an environment variable for CMD or the shell, from this machine's without a value; repeatable",
  },
  { name: "workdir", value: "DIR", help: "where CMD or the shell starts (/root, or the only --share)" },
];

/** All commands. Help, parsing and suggestions read this table. */
export const COMMANDS: readonly CommandRow[] = [
  {
    words: ["run", "debian"],
    operands: "[-- CMD ARG…]",
    help: "boot Debian's own kernel to a shell, or run CMD in it and exit with its status",
    options: [...DEBIAN_OPTIONS, INITRD_ADD, ...GUEST_OPTIONS],
    maxOperands: 0,
    takesCommand: true,
  },
  {
    words: ["run", "mini"],
    help: "boot a tiny guest of our own, which needs no download",
    options: GUEST_OPTIONS,
    maxOperands: 0,
  },
  {
    words: ["run"],
    help: "boot a Xen PV kernel (ELF or bzImage)",
    options: [
      { name: "kernel", value: "FILE", help: "the kernel" },
      { name: "initrd", value: "FILE", help: "its initial ramdisk" },
      INITRD_ADD,
      ...GUEST_OPTIONS,
    ],
    maxOperands: 0,
  },
  {
    words: ["image", "debian"],
    help: "make a disk with a bootable Debian from this machine's own package sources",
    options: [
      {
        name: "output",
        short: "o",
        value: "FILE",
        help: "the image to make: qcow2, or raw when its name ends in .raw or .img",
      },
      { name: "suite", value: "NAME", help: "Debian release: bookworm, sid, … (that of this machine's sources)" },
      { name: "packages", value: "A,B", help: "packages to install beside a minimal system with systemd" },
      { name: "size", value: "SIZE", help: "size of the disk: GiB, or a number with m, g or t (2)" },
      HELP,
    ],
    maxOperands: 0,
  },
  {
    words: ["image", "create"],
    operands: "FILE [SIZE]",
    help: "make an empty disk image; its size is its backing file's unless given",
    options: [
      { name: "format", short: "f", value: "raw|qcow2", help: "format (qcow2, or raw when FILE ends in .raw or .img)" },
      { name: "backing", short: "b", value: "FILE", help: "what shows where nothing was written, itself only read" },
      { name: "backing-format", short: "F", value: "raw|qcow2", help: "format of the backing file, which needs one" },
      { name: "cluster-size", value: "SIZE", help: "bytes of a qcow2 cluster, a power of two from 512 to 2m (64k)" },
      { name: "refcount-bits", value: "N", help: "bits of a qcow2 reference count: 1, 2, 4 … 64 (16)" },
      { name: "compat", value: "v3|v2", help: "version of qcow2 (v3)" },
      HELP,
    ],
    maxOperands: 2,
  },
  {
    words: ["image", "convert"],
    operands: "SOURCE TARGET",
    help: "copy a disk image into a new one, of another format or with other clusters; zeros take no place",
    options: [
      { name: "source-format", short: "f", value: "raw|qcow2", help: "format of SOURCE, when its name doesn't tell" },
      { name: "format", short: "O", value: "raw|qcow2", help: "format of TARGET (qcow2, or raw for .raw and .img)" },
      { name: "compress", short: "c", help: "compress clusters, with zlib" },
      { name: "cluster-size", value: "SIZE", help: "bytes of a qcow2 cluster (64k)" },
      { name: "compat", value: "v3|v2", help: "version of qcow2 (v3)" },
      HELP,
    ],
    maxOperands: 2,
  },
  {
    words: ["image", "info"],
    operands: "FILE",
    help: "tell what a disk image is",
    options: [{ name: "json", help: "as JSON" }, HELP],
    maxOperands: 1,
  },
  {
    words: ["image", "check"],
    operands: "FILE",
    help: "check a qcow2 image: status 0 when it is right, 3 when it only lost space, 4 when it is damaged",
    options: [
      { name: "repair", short: "r", value: "leaks|all", help: "mend lost space, or all that can be" },
      { name: "json", help: "as JSON" },
      HELP,
    ],
    maxOperands: 1,
  },
  {
    words: ["image", "resize"],
    operands: "FILE SIZE",
    help: "change the size of a disk: SIZE, or +SIZE to add",
    options: [
      { name: "format", short: "f", value: "raw|qcow2", help: "format of FILE, when its name doesn't tell" },
      { name: "shrink", help: "allow a smaller size, which cuts data off" },
      HELP,
    ],
    maxOperands: 2,
  },
  {
    words: ["disasm"],
    operands: "FILE",
    help: "list the instructions in a flat file",
    options: [
      { name: "mode", value: "64|32|16", help: "mode of the code (64)" },
      { name: "syntax", value: "intel|att", help: "how operands are written (intel)" },
      { name: "at", value: "ADDRESS", help: "address of the first byte (0)" },
      {
        name: "hex",
        help: "answer standard input, one instruction's bytes in hex a line, with length, mnemonic, operands",
      },
      HELP,
    ],
    maxOperands: 1,
  },
  {
    words: ["step"],
    help: "execute single instructions: a case in JSON a line on standard input, an answer in JSON a line",
    options: [
      { name: "tier", value: "0|1", help: "0 interprets the instruction, 1 translates it to WebAssembly first (0)" },
      HELP,
    ],
    maxOperands: 0,
  },
  {
    words: ["inspect"],
    operands: "FILE",
    help: "tell what a kernel image is, and whether and how it can boot",
    options: [{ name: "json", help: "as JSON" }, HELP],
    maxOperands: 1,
  },
  {
    words: ["xenstored"],
    help: "serve a xenstore on a unix socket, for Xen's own tools and clients, until a signal ends it",
    options: [
      { name: "socket", value: "PATH", help: "where to listen; who can open it has domain 0's rights" },
      { name: "db", value: "FILE", help: "keep the store in FILE: what was answered survives kill -9 (memory only)" },
      HELP,
    ],
    maxOperands: 0,
  },
];

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
