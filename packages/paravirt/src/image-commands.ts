import { type CommandRow, HELP, JSON_OUTPUT, type OptionRow } from "./command-row.ts";

const CLUSTER_SIZE: OptionRow = {
  name: "cluster-size",
  value: "SIZE",
  help: "bytes of a qcow2 cluster, a power of two from 512 to 2m (64k)",
};
const COMPAT: OptionRow = { name: "compat", value: "v3|v2", help: "version of qcow2 (v3)" };

/** The commands that make and look after disk images. */
export const IMAGE_COMMANDS: readonly CommandRow[] = [
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
      CLUSTER_SIZE,
      { name: "refcount-bits", value: "N", help: "bits of a qcow2 reference count: 1, 2, 4 … 64 (16)" },
      COMPAT,
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
      CLUSTER_SIZE,
      COMPAT,
      HELP,
    ],
    maxOperands: 2,
  },
  {
    words: ["image", "info"],
    operands: "FILE",
    help: "tell what a disk image is",
    options: [JSON_OUTPUT, HELP],
    maxOperands: 1,
  },
  {
    words: ["image", "check"],
    operands: "FILE",
    help: "check a qcow2 image: status 0 when it is right, 3 when it only lost space, 4 when it is damaged",
    options: [
      { name: "repair", short: "r", value: "leaks|all", help: "mend lost space, or all that can be" },
      JSON_OUTPUT,
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
];
