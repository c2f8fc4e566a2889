import { type CommandRow, HELP, JSON_OUTPUT, type OptionRow } from "./command-row.ts";
import { IMAGE_COMMANDS } from "./image-commands.ts";

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
    value: "[ADDR:]HOSTPORT:GUESTPORT[/udp]",
    repeatable: true,
    help: "a TCP port of this machine, or a UDP one, that leads to the guest on its user network; repeatable",
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
  ...IMAGE_COMMANDS,
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
    options: [JSON_OUTPUT, HELP],
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
