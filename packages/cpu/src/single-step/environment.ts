import type { CpuPorts } from "../vcpu.ts";

/** Descriptors by selector: flat user segments where Linux has them, so that programs find what they are used to. */
const DESCRIPTORS: Readonly<Record<number, bigint>> = {
  35: 0x00cffb000000ffffn, // 32-bit code
  43: 0x00cff3000000ffffn, // data
  51: 0x00affb000000ffffn, // 64-bit code
};

/** ES CS SS DS FS GS of a user program on Linux, by mode. */
export const SELECTORS = {
  64: [0, 0x33, 0x2b, 0, 0, 0],
  32: [0x2b, 0x23, 0x2b, 0x2b, 0, 0],
} as const;

/** PAE, OSFXSR, OSXMMEXCPT, FSGSBASE, OSXSAVE. */
export const CR4 = 0x50620n;
/** x87, SSE and AVX state. */
export const XCR0 = 7n;

/** Surroundings that answer the same every time. */
export const BENCH_PORTS: CpuPorts = {
  readTsc: () => 0n,
  cpuid: (_vcpu, _leaf, _subleaf, out) => {
    out.fill(0);
  },
  readDescriptor: (_vcpu, selector) => DESCRIPTORS[selector | 3],
  mayReachForeign: () => false,
  random: () => 0x0123456789abcdefn,
};
