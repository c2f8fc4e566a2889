import { COMMANDS } from "./command-table.ts";
import { commandHelp } from "./help.ts";
import { STEP_DOC } from "./step-doc.ts";

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

/** Paragraphs on `--initrd-add`. */
const INITRD_ADD: readonly string[] = [
  "`--initrd-add /usr/bin/perl` puts a file of this machine into the guest, `--initrd-add ./tests:/opt/tests` a folder with",
  "all that is in it. GUESTPATH is absolute and defaults to HOSTPATH's own absolute path; one that ends in `/` gets the name",
  "added. HOSTPATH itself may be a symbolic link and is followed; those inside a folder stay links. Modes and special files",
  "stay as they are, owners become root. What comes later replaces what came before, generated files included.",
  "",
  "A dynamically linked x86 program or library, 64 or 32 bits, brings its dynamic linker and the libraries that it names, at",
  "the paths where this machine has them, found as the dynamic linker does: run path, `/etc/ld.so.cache` (which then comes,",
  "too), its default folders. What a program opens later does not come by itself: modules, data, plug-ins, the interpreter of",
  "a script. So `perl -MPOSIX` wants `--initrd-add /usr/lib/x86_64-linux-gnu/perl-base` or the full `perl` and",
  "`/usr/share/perl` folders, and python its `/usr/lib/python3.11`. A missing library is a warning on standard error.",
  "",
  "The guest unpacks the initramfs into memory: `run debian` needs three times its size and 60 MiB (60 MiB of files fit into",
  "the default 256), and says how much when `--memory` is less. paravirt itself holds it twice while it starts. With",
  "`run --kernel` the archive follows the one of `--initrd`, and folders that are links there are followed.",
];

/** Paragraphs on `--share`. */
const SHARE: readonly string[] = [
  "`--share .` makes a folder of this machine a folder of the guest, which `run debian` mounts at `/mnt/TAG`; with one of",
  "them, a command starts there. TAG is the folder's own name up to 31 characters, with `_` for each that isn't a letter of",
  "ASCII, a digit, `.`, `_` or `-`; `share` when nothing is left, of `/` say. What follows the last colon is a tag, unless it",
  "has a slash: give a folder whose own name has a colon a tag, too. `,ro` at the end refuses all changes.",
  "",
  "Nothing outside the folder can be reached from the guest, links included: they are the guest's own and lead to what it has",
  "there. As root, owners are the same on both sides; otherwise what is yours belongs to the guest's root. Files are looked at",
  "anew each time, so both sides see what the other does. FIFOs, sockets and devices can't be opened or made. Other kernels",
  "(`run --kernel`) mount it by `mount -t 9p -o trans=xen,version=9p2000.L TAG FOLDER`.",
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
    ...STEP_DOC,
    "## What --initrd-add adds",
    "",
    ...INITRD_ADD,
    "",
    "## What --net plugs in",
    "",
    "Each --net is a card, eth0 first; without any the guest has none. `run debian` configures them: `user` and `passt` by",
    "DHCP, a hub's by `address=`.",
    "",
    "`--net user` needs no rights: the guest is 10.0.2.15, 10.0.2.2 stands for this machine's own loopback, 10.0.2.3 answers names,",
    "those of `/etc/hosts` always. The guest may connect to what `allow=` names, and to nothing without one: a name, an address,",
    "a network or `*`, each with `:PORT` or `:LOW-HIGH` or for all ports. Several are given by several `allow=`, or several",
    "`--net user`, which are one card. A name is matched by the addresses that the guest was told for it.",
    "`--publish 8080:80` lets connections in; without an address it listens at all of this machine's.",
    "",
    "`--net hub:SOCKET` joins guests of several processes: the first one makes the socket and is the switch for those that come",
    "later, until it ends. With `filter`, a guest sends from its own Ethernet address only, and from its `address=`.",
    "`--net passt:SOCKET` uses passt(1), started by you: `passt -f -s SOCKET`. `pcap=FILE` records what passes for tcpdump,",
    "`rate=10Mb/s` limits what the guest sends.",
    "",
    "## What --share shares",
    "",
    ...SHARE,
    "",
    "## What --stats writes",
    "",
    ...STATS.map(([name, meaning]) => `- \`${name}\`: ${meaning}`),
    "",
  ].join("\n");
}
