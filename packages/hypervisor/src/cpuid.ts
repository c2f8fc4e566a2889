import { ParavirtError } from "@paravirt/core";
import type { Domain } from "./domain.ts";
import type { TscScale } from "./pv-time.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

/** Where a feature flag lies: leaf, subleaf, and which of EAX EBX ECX EDX. */
interface FeatureWord {
  readonly leaf: number;
  readonly register: number;
  /** Names of bits, as in Linux's /proc/cpuinfo. */
  readonly bits: { readonly [name: string]: number };
}

const EAX = 0;
const EBX = 1;
const ECX = 2;
const EDX = 3;

/** Feature flags by name; the recorded policy of a Xen 4.17.7 PV domain has a subset of each word. */
const FEATURE_WORDS: readonly FeatureWord[] = [
  {
    leaf: 1,
    register: EDX,
    bits: {
      fpu: 0,
      de: 2,
      tsc: 4,
      msr: 5,
      pae: 6,
      mce: 7,
      cx8: 8,
      apic: 9,
      mca: 14,
      cmov: 15,
      pat: 16,
      clflush: 19,
      mmx: 23,
      fxsr: 24,
      sse: 25,
      sse2: 26,
      ss: 27,
      ht: 28,
    },
  },
  {
    leaf: 1,
    register: ECX,
    bits: {
      pni: 0,
      pclmulqdq: 1,
      ssse3: 9,
      fma: 12,
      cx16: 13,
      sse4_1: 19,
      sse4_2: 20,
      movbe: 22,
      popcnt: 23,
      aes: 25,
      xsave: 26,
      avx: 28,
      f16c: 29,
      rdrand: 30,
      hypervisor: 31,
    },
  },
  {
    leaf: 7,
    register: EBX,
    bits: {
      fsgsbase: 0,
      bmi1: 3,
      avx2: 5,
      bmi2: 8,
      erms: 9,
      rdseed: 18,
      adx: 19,
      clflushopt: 23,
      clwb: 24,
      sha_ni: 29,
    },
  },
  { leaf: 7, register: ECX, bits: { vaes: 9, vpclmulqdq: 10, rdpid: 22 } },
  { leaf: 7, register: EDX, bits: { fsrm: 4 } },
  {
    leaf: 0x80000001,
    register: EDX,
    bits: {
      fpu: 0,
      de: 2,
      tsc: 4,
      msr: 5,
      pae: 6,
      mce: 7,
      cx8: 8,
      apic: 9,
      syscall: 11,
      mca: 14,
      cmov: 15,
      pat: 16,
      nx: 20,
      mmxext: 22,
      mmx: 23,
      fxsr: 24,
      fxsr_opt: 25,
      rdtscp: 27,
      lm: 29,
    },
  },
  {
    leaf: 0x80000001,
    register: ECX,
    bits: { lahf_lm: 0, cmp_legacy: 1, abm: 5, sse4a: 6, "3dnowprefetch": 8 },
  },
];

/** Bits of leaf 0xD, subleaf 1. */
const XSAVE_BITS: { readonly [name: string]: number } = { xsaveopt: 0, xsavec: 1, xgetbv1: 2 };
/** Components of XCR0: x87 and SSE have the first 512 bytes, a header follows; AVX has what is in {@link AVX_AREA}. */
const XCR0 = { LEGACY: 3n, AVX: 4n } as const;
const XSAVE_BYTES = 576;
const AVX_AREA = { bytes: 256, offset: 576 } as const;
const CR4_OSXSAVE = 0x40000n;
const OSXSAVE = 1 << 27;

/** Flags that Linux shows but no CPUID bit carries. */
const SYNTHETIC: ReadonlySet<string> = new Set(["rep_good", "nopl", "cpuid"]);
/** Names that mean another: what compilers call a flag, and what Linux calls it. */
const ALIASES: { readonly [name: string]: string } = {
  pclmul: "pclmulqdq",
  sha: "sha_ni",
  sse3: "pni",
  lzcnt: "abm",
  ssse_3: "ssse3",
};

/**
 * Features a guest gets unless the caller names others: x86-64-v2 and what Xen 4.17 shows a PV domain beside it.
 */
export const DEFAULT_FEATURES: readonly string[] = [
  "fpu",
  "de",
  "tsc",
  "msr",
  "pae",
  "mce",
  "cx8",
  "apic",
  "mca",
  "cmov",
  "pat",
  "clflush",
  "mmx",
  "fxsr",
  "sse",
  "sse2",
  "syscall",
  "nx",
  "lm",
  "rep_good",
  "nopl",
  "pni",
  "ssse3",
  "cx16",
  "sse4_1",
  "sse4_2",
  "popcnt",
  "hypervisor",
  "lahf_lm",
];

/** Which CPUID answers a machine gives its guests. */
export interface CpuidOptions {
  /** Flags as /proc/cpuinfo names them; others are hidden. `DEFAULT_FEATURES` when left out. */
  readonly features?: readonly string[];
  /** The 48-character name of leaves 0x80000002 to 4. */
  readonly brand?: string;
}

/** Feature names as /proc/cpuinfo has them: compilers call some otherwise. */
export function featureNames(names: readonly string[]): readonly string[] {
  return names.map((name) => ALIASES[name] ?? name);
}

/**
 * Base leaves as recorded (columns EAX EBX ECX EDX); feature words are filled by name, others by code. The signature is not
 * the recorded 0x663 but that of QEMU's qemu64 today, family 15: Linux believes an older AMD processor's string
 * instructions to be slow (REP_GOOD), and clears and copies pages word by word.
 */
const BASE_LEAVES: readonly (readonly [number, number, number, number, number])[] = [
  [0x00000000, 0x0000000d, 0x68747541, 0x444d4163, 0x69746e65], // "AuthenticAMD"
  [0x00000001, 0x00060fb1, 0x00000800, 0x00000000, 0x00000000], // CLFLUSH line of 64 bytes
  [0x80000000, 0x80000008, 0x68747541, 0x444d4163, 0x69746e65],
  [0x80000001, 0x00060fb1, 0x00000000, 0x00000000, 0x00000000],
  [0x80000005, 0x01ff01ff, 0x01ff01ff, 0x40020140, 0x40020140],
  [0x80000006, 0x00000000, 0x42004200, 0x02008140, 0x00808140],
  [0x80000008, 0x00003028, 0x00000000, 0x00000000, 0x00000000],
];

const XEN_BASE = 0x40000000;
/** Highest Xen leaf that 4.17 answers. */
const XEN_MAX_LEAF = 0x40000005;
/** XEN_CPUID_MMU_PT_UPDATE_PRESERVE_AD and the hypercall MSR. */
const HYPERCALL_MSR = 0x40000000;

/** Answers CPUID for the guests of a machine from one table. */
export class CpuidPolicy {
  /** Names of the flags that guests see, aliases resolved. */
  readonly features: ReadonlySet<string>;
  /** CR4 a VCPU begins with, as its guest reads it. */
  readonly initialCr4: bigint;
  /** CR4 bits the guest may change. */
  readonly guestCr4: bigint;
  /** Components that the guest may enable in XCR0; 0 without XSAVE. */
  readonly xcr0: bigint;
  private readonly leaves = new Map<number, Uint32Array>();
  private readonly tsc: TscScale;
  private readonly version: number;

  constructor(options: CpuidOptions, tsc: TscScale, version: number) {
    this.tsc = tsc;
    this.version = version;
    const names = featureNames(options.features ?? DEFAULT_FEATURES);
    this.features = new Set(names);
    for (const [leaf, ...registers] of BASE_LEAVES) this.leaves.set(leaf, Uint32Array.from(registers));
    this.leaves.set(7, new Uint32Array(4));
    const unknown = new Set(names);
    for (const word of FEATURE_WORDS) {
      const leaf = this.leaves.get(word.leaf) as Uint32Array;
      for (const [name, bit] of Object.entries(word.bits)) {
        if (!this.features.has(name)) continue;
        unknown.delete(name);
        leaf[word.register] = ((leaf[word.register] as number) | (1 << bit)) >>> 0;
      }
    }
    for (const name of [...SYNTHETIC, ...Object.keys(XSAVE_BITS)]) unknown.delete(name);
    for (const name of unknown)
      throw new ParavirtError("BAD_ARGUMENT", `CPU feature "${name}" is not one a PV guest can be given`);
    this.xcr0 = this.features.has("xsave") ? XCR0.LEGACY | (this.features.has("avx") ? XCR0.AVX : 0n) : 0n;
    const brand = (options.brand ?? "paravirt virtual processor").padEnd(48, "\0").slice(0, 48);
    for (let index = 0; index < 3; index++) {
      const words = new Uint32Array(4);
      for (let byte = 0; byte < 16; byte++) {
        words[byte >> 2] =
          ((words[byte >> 2] as number) | (brand.charCodeAt(index * 16 + byte) << ((byte & 3) * 8))) >>> 0;
      }
      this.leaves.set(0x80000002 + index, words);
    }
    // PAE, MCE, OSFXSR and OSXMMEXCPT are on; TSD and DE are the guest's, FSGSBASE where it has the feature.
    const fsgsbase = this.features.has("fsgsbase") ? 0x10000n : 0n;
    this.initialCr4 = 0x660n | fsgsbase;
    this.guestCr4 = 0xcn | fsgsbase | (this.xcr0 === 0n ? 0n : CR4_OSXSAVE);
  }

  /** Fills EAX, EBX, ECX, EDX of a leaf into `out`; `isForced` for CPUID behind Xen's forced-emulation prefix. */
  answer(vcpu: VirtualCpu, leaf: number, subleaf: number, out: Uint32Array, isForced: boolean = false): void {
    out.fill(0);
    if (leaf >= XEN_BASE && leaf < XEN_BASE + 0x100) {
      this.xenLeaf(vcpu.domain, leaf, subleaf, out);
      return;
    }
    if (leaf === 7 && subleaf !== 0) return;
    if (leaf === 0xd) {
      this.stateLeaf(vcpu, subleaf, out);
      return;
    }
    const known = this.leaves.get(leaf);
    if (known === undefined) return;
    out.set(known);
    // Initial APIC id, and the logical processors of the package.
    if (leaf === 1) {
      out[EBX] = ((out[EBX] as number) | ((vcpu.id * 2) << 24) | (2 << 16)) >>> 0;
      // Linux as a PV guest uses XSAVE only if its kernel sees OSXSAVE before it has set it: Xen shows it to a forced CPUID.
      const isKernel = isForced && vcpu.kernelMode && this.xcr0 !== 0n;
      if (isKernel || (vcpu.cr4 & CR4_OSXSAVE) !== 0n) out[ECX] = ((out[ECX] as number) | OSXSAVE) >>> 0;
    }
  }

  // What XSAVE saves, and where: SDM 1, 13.2.
  private stateLeaf(vcpu: VirtualCpu, subleaf: number, out: Uint32Array): void {
    if (this.xcr0 === 0n) return;
    const bytes = (components: bigint) => XSAVE_BYTES + ((components & XCR0.AVX) === 0n ? 0 : AVX_AREA.bytes);
    const compacts = this.features.has("xsavec");
    if (subleaf === 0) {
      out[EAX] = Number(this.xcr0);
      out[EBX] = bytes(vcpu.cpu.xcr0);
      out[ECX] = bytes(this.xcr0);
    } else if (subleaf === 1) {
      for (const [name, bit] of Object.entries(XSAVE_BITS))
        if (this.features.has(name)) out[EAX] = (out[EAX] as number) | (1 << bit);
      if (compacts) out[EBX] = bytes(vcpu.cpu.xcr0);
    } else if (subleaf === 2 && (this.xcr0 & XCR0.AVX) !== 0n) {
      out[EAX] = AVX_AREA.bytes;
      out[EBX] = AVX_AREA.offset;
    }
  }

  // The answers of Xen's own leaves: public/arch-x86/cpuid.h.
  private xenLeaf(domain: Domain, leaf: number, subleaf: number, out: Uint32Array): void {
    switch (leaf - XEN_BASE) {
      case 0:
        out[EAX] = XEN_MAX_LEAF;
        out[EBX] = 0x566e6558; // "XenVMMXenVMM"
        out[ECX] = 0x65584d4d;
        out[EDX] = 0x4d4d566e;
        break;
      case 1:
        out[EAX] = this.version;
        break;
      case 2:
        out[EAX] = 1;
        out[EBX] = HYPERCALL_MSR;
        out[ECX] = 1;
        break;
      case 3:
        this.timeLeaf(subleaf, out);
        break;
      case 5:
        out[EBX] = domain.machine.addressWidth;
        break;
      default:
        break;
    }
  }

  private timeLeaf(subleaf: number, out: Uint32Array): void {
    switch (subleaf) {
      case 0:
        // The counter is not emulated, is safe to use, and its mode is "default".
        out[EAX] = 2 | (this.features.has("rdtscp") ? 4 : 0);
        out[ECX] = this.tsc.khz;
        break;
      case 1:
        out[ECX] = this.tsc.multiplier;
        out[EDX] = this.tsc.shift & 0xff;
        break;
      case 2:
        out[EAX] = this.tsc.khz;
        break;
      default:
        break;
    }
  }
}
