// The machines that run the benchmark guest as processes of this host.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";
import { foreignFiles } from "./debian.mjs";
import { runMachine } from "./measure.mjs";

/** Memory of every machine, MiB. */
export const MEMORY = 256;

/**
 * Kernel command lines: nothing but the marks may be written between marks. All guests go without mitigations, as those of
 * `paravirt run debian` do.
 */
export const COMMAND_LINES = {
  paravirt: "console=hvc0 quiet loglevel=0 mitigations=off",
  pc: "console=ttyS0 quiet loglevel=0 mitigations=off",
};

const CLI = new URL("../../packages/paravirt/bin/paravirt.js", import.meta.url).pathname;

/**
 * The engine paravirt, through the command line, in this Node.js. `kernel` is another kernel than the guest's, which
 * needs no initramfs.
 */
export function paravirtEngine({ guest }) {
  const run = ({ initrd, kernel, ...rest }) =>
    runMachine({
      ...rest,
      command: process.execPath,
      args: [
        ...[CLI, "run", "--memory", String(MEMORY), "--append", COMMAND_LINES.paravirt],
        // The kernel as `run debian` boots it: unpacked once, into the cache.
        ...["--kernel", kernel ?? join(guest.folder, "vmlinux")],
        ...(initrd === undefined ? [] : ["--initrd", initrd]),
      ],
    });
  return { bits: 64, run, takesAnyKernel: true };
}

/** The engine QEMU TCG, with the same kernel and initramfs. */
export function tcgEngine({ guest }) {
  const command = "qemu-system-x86_64";
  if (spawnSync(command, ["--version"]).status !== 0) {
    return { missing: `${command} is not installed (Debian package qemu-system-x86)` };
  }
  const run = ({ initrd, ...rest }) =>
    runMachine({
      ...rest,
      command,
      args: [
        ...["-accel", "tcg", "-m", String(MEMORY), "-nographic", "-no-reboot", "-nic", "none"],
        ...["-append", COMMAND_LINES.pc, "-kernel", join(guest.folder, "vmlinuz"), "-initrd", initrd],
      ],
    });
  return { bits: 64, run };
}

/** The engine v86, with Debian's kernel and busybox for i386 and 32-bit builds of the programs. */
export function v86Engine() {
  const files = v86Files();
  if (files.missing !== undefined) return files;
  const { kernel, bios, vgaBios, busybox } = files;
  const script = new URL("v86-machine.mjs", import.meta.url).pathname;
  const run = ({ initrd, ...rest }) => {
    const settings = { kernel, bios, vgaBios, initrd, memory: MEMORY, append: COMMAND_LINES.pc };
    return runMachine({ ...rest, command: process.execPath, args: [script, JSON.stringify(settings)] });
  };
  return { bits: 32, busybox, run };
}

/** Paths of what v86 needs and its package doesn't have, fetched once, or `{ missing }`. */
export function v86Files() {
  try {
    createRequire(import.meta.url).resolve("v86");
  } catch {
    return { missing: "the npm package v86 is not installed" };
  }
  try {
    return foreignFiles("i386", {
      kernel: ["linux-image-686", /^boot\/vmlinuz-/],
      busybox: ["busybox-static", /^(usr\/)?bin\/busybox$/],
      bios: ["seabios", /seabios\/bios\.bin$/],
      vgaBios: ["seabios", /seabios\/vgabios-stdvga\.bin$/],
    });
  } catch (error) {
    return { missing: error.message };
  }
}
