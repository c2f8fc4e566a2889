import { isParavirtError } from "@paravirt/core";
import { XENFEAT } from "@paravirt/xen-abi";
import { cString } from "./elf.ts";
import { type KernelImage, readKernelImage } from "./kernel-image.ts";
import { checkPvBootable } from "./pv-check.ts";
import { noteName, noteNumber, parseXenFeatures } from "./xen-notes.ts";

/** One way to boot, and whether the image can. */
export interface BootWay {
  /** Whether the image can boot this way. */
  readonly possible: boolean;
  /** Why not, in one line. */
  readonly reason?: string;
}

/** A segment that is loaded. */
export interface SegmentReport {
  /** Physical address. */
  readonly physical: string;
  /** Virtual address. */
  readonly virtual: string;
  /** Bytes in the file. */
  readonly fileSize: number;
  /** Bytes in memory. */
  readonly memorySize: number;
  /** `r-x` and the like. */
  readonly access: string;
}

/** A Xen note. */
export interface NoteReport {
  /** Its name in Xen's headers, or its number. */
  readonly name: string;
  /** Text, a number in hexadecimal, or bytes. */
  readonly value: string;
}

/** Xen features by name. */
export interface FeatureReport {
  /** Those that the kernel can't do without. */
  readonly required: readonly string[];
  /** Those that it can use, required ones included. */
  readonly supported: readonly string[];
}

/** How an image can boot. */
export interface BootReport {
  /** As a 64-bit PV guest. */
  readonly pv64: BootWay;
  /** As a PVH guest. */
  readonly pvh: BootWay;
}

/** What an image is, in plain JSON values; addresses are hexadecimal text. */
export interface ImageReport {
  /** What the file is. */
  readonly format: KernelImage["format"];
  /** How its payload is packed, or `none`. */
  readonly compression: string;
  /** Bytes of the unpacked kernel. */
  readonly unpackedSize: number;
  /** A bzImage's version text. */
  readonly kernelVersion?: string;
  /** 64 or 32. */
  readonly bits: 32 | 64;
  /** ELF machine number: 62 is x86-64. */
  readonly machine: number;
  /** Entry point of the ELF header. */
  readonly elfEntry: string;
  /** Entry point for Xen, where a note names one. */
  readonly entry?: string;
  /** What is loaded, in file order. */
  readonly segments: readonly SegmentReport[];
  /** Where Xen's notes were found. */
  readonly noteSource: "elf-notes" | "__xen_guest" | "none";
  /** The Xen notes in file order. */
  readonly notes: readonly NoteReport[];
  /** Features that the notes name. */
  readonly features: FeatureReport;
  /** Whether and how it can boot. */
  readonly boot: BootReport;
}

/** Describes a kernel image for `paravirt inspect`. Throws what {@link readKernelImage} throws. */
export function inspectImage(bytes: Uint8Array): ImageReport {
  const image = readKernelImage(bytes);
  const { elf, xen } = image;
  let features: ImageReport["features"] = { required: [], supported: [] };
  if (xen !== undefined) {
    try {
      const masks = parseXenFeatures(xen);
      features = { required: featureNames(masks.required), supported: featureNames(masks.supported) };
    } catch (error) {
      // A required feature of unknown name: pv64 below says so.
      if (!isParavirtError(error)) throw error;
    }
  }
  return {
    format: image.format,
    compression: image.compression ?? "none",
    unpackedSize: elf.bytes.length,
    ...(image.bzImage?.kernelVersion === undefined ? {} : { kernelVersion: image.bzImage.kernelVersion }),
    bits: elf.bits,
    machine: elf.machine,
    elfEntry: hex(elf.entry),
    ...(xen?.entry === undefined ? {} : { entry: hex(xen.entry) }),
    segments: elf.segments
      .filter((segment) => segment.type === 1)
      .map((segment) => ({
        physical: hex(segment.paddr),
        virtual: hex(segment.vaddr),
        fileSize: segment.fileSize,
        memorySize: segment.memSize,
        access: `${segment.flags & 4 ? "r" : "-"}${segment.flags & 2 ? "w" : "-"}${segment.flags & 1 ? "x" : "-"}`,
      })),
    noteSource: xen?.source ?? "none",
    notes: elf.notes
      .filter((note) => note.name === "Xen")
      .map((note) => ({ name: noteName(note.type), value: noteValue(note.desc) })),
    features,
    boot: { pv64: pv64(image), pvh: pvh(image) },
  };
}

function pv64(image: KernelImage): BootWay {
  try {
    checkPvBootable(image);
    return { possible: true };
  } catch (error) {
    if (!isParavirtError(error)) throw error;
    return { possible: false, reason: error.message };
  }
}

function pvh(image: KernelImage): BootWay {
  const entry = image.xen?.phys32Entry;
  if (entry === undefined) return { possible: false, reason: "the PHYS32_ENTRY note is missing" };
  return {
    possible: false,
    reason: `the kernel has an entry for it, ${hex(BigInt(entry))}; this release boots PV only`,
  };
}

function featureNames(mask: number): string[] {
  const names: string[] = [];
  for (let bit = 0; bit < 32; bit++) {
    if ((mask & (1 << bit)) === 0) continue;
    names.push(Object.entries(XENFEAT).find(([, value]) => value === bit)?.[0] ?? `bit ${bit}`);
  }
  return names;
}

function noteValue(desc: Uint8Array): string {
  // FEATURES comes without a terminating zero; a number is at most eight bytes long.
  const body = desc[desc.length - 1] === 0 ? desc.subarray(0, -1) : desc;
  const textual = body.length > 0 && (body !== desc || desc.length > 8) && body.every((b) => b >= 0x20 && b < 0x7f);
  if (textual) return cString(desc, 0);
  const number = noteNumber(desc);
  if (number !== undefined) return hex(number);
  return [...desc.subarray(0, 32)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;
