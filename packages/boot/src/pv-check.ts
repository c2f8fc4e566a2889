import { PAGE_SIZE, ParavirtError, type Pfn } from "@paravirt/core";
import { XENFEAT } from "@paravirt/xen-abi";
import type { KernelImage } from "./kernel-image.ts";
import { parseXenFeatures } from "./xen-notes.ts";

/** Where a PV kernel wants to be, after libelf's rules for absent notes. */
export interface PvPlace {
  /** Linear address of pfn 0. */
  readonly virtBase: bigint;
  /** What is subtracted from the file's physical addresses. */
  readonly paddrOffset: bigint;
  /** Linear address of the first instruction. */
  readonly entry: bigint;
  /** First and last-plus-one physical address of its segments. */
  readonly physicalStart: bigint;
  /** Past the last byte of any segment. */
  readonly physicalEnd: bigint;
  /** Page that HYPERCALL_PAGE names. */
  readonly hypercallPage: Pfn | undefined;
}

const EM_X86_64 = 62;
const MASK64 = (1n << 64n) - 1n;
/** Features that a kernel may not require of a PV domU. */
const NOT_FOR_PV = [
  XENFEAT.auto_translated_physmap,
  XENFEAT.supervisor_mode_kernel,
  XENFEAT.hvm_callback_vector,
  XENFEAT.hvm_safe_pvclock,
  XENFEAT.hvm_pirqs,
  XENFEAT.dom0,
];

/**
 * Checks that a kernel can boot as an x86-64 PV domU, with the rules of Xen's libelf (libelf-dominfo.c).
 * Throws `UNSUPPORTED` (another kind of kernel, with what is missing) or `BAD_IMAGE` (contradictory notes).
 */
export function checkPvBootable(image: KernelImage): PvPlace {
  const { elf, xen } = image;
  if (xen === undefined) {
    throw new ParavirtError("UNSUPPORTED", "not a Xen kernel: it has no Xen ELF notes and no __xen_guest section");
  }
  if (elf.bits !== 64 || elf.machine !== EM_X86_64) {
    const what =
      elf.bits === 32 && elf.machine === 3 ? "a 32-bit x86 PV kernel" : `a kernel for ELF machine ${elf.machine}`;
    throw new ParavirtError("UNSUPPORTED", `${what}; only 64-bit x86 (ELF machine ${EM_X86_64}) kernels boot`);
  }
  if (!(xen.xenVersion ?? "").startsWith("xen-3.0")) {
    throw missing("XEN_VERSION", xen.xenVersion, "xen-3.0");
  }
  if (!(xen.loader ?? "").startsWith("generic") && !(xen.guestOs ?? "").startsWith("linux")) {
    throw missing("LOADER", xen.loader, "generic");
  }
  // A PVH-only kernel has a 32-bit entry note and none of those that direct paging needs.
  if (xen.entry === undefined && xen.virtBase === undefined && xen.phys32Entry !== undefined) {
    throw new ParavirtError("UNSUPPORTED", "a PVH-only kernel: it has PHYS32_ENTRY, but the ENTRY note is missing");
  }
  const { required } = parseXenFeatures(xen);
  for (const bit of NOT_FOR_PV) {
    if (required & (1 << bit)) {
      const name = Object.entries(XENFEAT).find(([, value]) => value === bit)![0];
      throw new ParavirtError("UNSUPPORTED", `the kernel requires the feature "${name}", which no PV domU has`);
    }
  }
  const loads = elf.segments.filter((segment) => segment.type === 1 && (segment.flags & 7) !== 0);
  if (loads.length === 0) throw new ParavirtError("BAD_IMAGE", "the kernel has no segment to load");
  const virtBase = xen.virtBase ?? 0n;
  const paddrOffset = xen.paddrOffset ?? virtBase;
  let physicalStart = loads[0]!.paddr;
  let physicalEnd = 0n;
  for (const segment of loads) {
    if (segment.paddr < physicalStart) physicalStart = segment.paddr;
    const segmentEnd = segment.paddr + BigInt(segment.memSize);
    if (segmentEnd > physicalEnd) physicalEnd = segmentEnd;
  }
  const virtOffset = virtBase - paddrOffset;
  const start = (physicalStart + virtOffset) & MASK64;
  const end = start + (physicalEnd - physicalStart);
  const entry = xen.entry ?? elf.entry;
  if (end > MASK64 + 1n || entry < start || entry >= end || virtBase > start || physicalStart < paddrOffset) {
    const bounds = `addresses out of bounds: VIRT_BASE ${hex(virtBase)}, kernel ${hex(start)} to ${hex(end)}`;
    throw new ParavirtError("BAD_IMAGE", `${bounds}, ENTRY ${hex(entry)}`);
  }
  if (physicalEnd - paddrOffset > 1n << 40n) {
    throw new ParavirtError("OUT_OF_MEMORY", `the kernel ends at ${hex(physicalEnd)}, past 1 TiB`);
  }
  if (virtBase % BigInt(PAGE_SIZE) !== 0n) {
    throw new ParavirtError("BAD_IMAGE", `VIRT_BASE ${hex(virtBase)} is not at a page`);
  }
  let hypercallPage: Pfn | undefined;
  if (xen.hypercallPage !== undefined) {
    const page = xen.hypercallPage;
    if (page % BigInt(PAGE_SIZE) !== 0n || page < start || page + BigInt(PAGE_SIZE) > roundUp(end)) {
      const bounds = `${hex(start)} to ${hex(end)}`;
      throw new ParavirtError("BAD_IMAGE", `HYPERCALL_PAGE ${hex(page)} is no page of the kernel (${bounds})`);
    }
    hypercallPage = Number((page - virtBase) / BigInt(PAGE_SIZE)) as Pfn;
  }
  if (xen.initP2m !== undefined && xen.initP2m >= start && xen.initP2m < end) {
    throw new ParavirtError(
      "BAD_IMAGE",
      `INIT_P2M ${hex(xen.initP2m)} is inside the kernel (${hex(start)} to ${hex(end)})`,
    );
  }
  return { virtBase, paddrOffset, entry, physicalStart, physicalEnd, hypercallPage };
}

const roundUp = (value: bigint): bigint => (value + BigInt(PAGE_SIZE - 1)) & ~BigInt(PAGE_SIZE - 1);
const hex = (value: bigint): string => `0x${value.toString(16)}`;

function missing(note: string, value: string | undefined, wanted: string): ParavirtError {
  const is = value === undefined ? "is missing" : `says "${value}"`;
  return new ParavirtError("UNSUPPORTED", `not a kernel for this Xen: its ${note} note ${is}, "${wanted}" is needed`);
}
