import { ParavirtError } from "@paravirt/core";

const XVD_MAJOR = 202;
/** Numbers from here on have room for more disks and partitions (`vbd-interface` of Xen's documentation). */
const EXTENDED = 1 << 28;
const MAX_DISK = 2 ** 20 - 1;

/**
 * The number by which xenstore knows a virtual disk: 51712 for `xvda`, 51728 for `xvdb`, 51713 for the partition `xvda1`.
 * Throws `BAD_ARGUMENT` for other names.
 */
export function blockDeviceNumber(name: string): number {
  const match = /^xvd([a-z]{1,4})([1-9][0-9]{0,2})?$/.exec(name);
  let disk = 0;
  for (const letter of match?.[1] ?? "") disk = disk * 26 + letter.charCodeAt(0) - 96;
  const partition = Number(match?.[2] ?? 0);
  disk--;
  if (match === null || disk > MAX_DISK || partition > 255)
    throw new ParavirtError("BAD_ARGUMENT", `"${name}" is no virtual disk: xvda to xvdz, xvdaa and so on, xvda1`);
  if (disk < 16 && partition < 16) return (XVD_MAJOR << 8) | (disk << 4) | partition;
  return EXTENDED | (disk << 8) | partition;
}

/** The name of disk number `index`, from 0: `xvda`, `xvdb`, …, `xvdz`, `xvdaa`. */
export function blockDeviceName(index: number): string {
  let letters = "";
  for (let rest = index + 1; rest > 0; rest = Math.floor((rest - 1) / 26))
    letters = String.fromCharCode(97 + ((rest - 1) % 26)) + letters;
  return `xvd${letters}`;
}
