import { OPCODES } from "@paravirt/x86";
import { DEFINITIONS } from "./semantics/index.ts";

/** CPU features by the opcode table's names, and what /proc/cpuinfo calls them. */
export const CPUINFO_NAMES: Readonly<Record<string, string>> = {
  sse3: "pni",
  ssse3: "ssse3",
  "sse4.1": "sse4_1",
  "sse4.2": "sse4_2",
  popcnt: "popcnt",
  aes: "aes",
  pclmulqdq: "pclmulqdq",
  sha: "sha_ni",
  movbe: "movbe",
  bmi1: "bmi1",
  bmi2: "bmi2",
  adx: "adx",
  lzcnt: "abm",
  rdrand: "rdrand",
  rdseed: "rdseed",
  fsgsbase: "fsgsbase",
};

/** Features that say nothing of single instructions, or whose instructions every x86-64 processor has. */
const BASIC =
  "fpu de tsc msr pae mce cx8 apic mca cmov pat clflush fxsr syscall nx lm rep_good nopl cx16 hypervisor lahf_lm mmx sse sse2 erms fsrm".split(
    " ",
  );

/**
 * The CPU features that the engine executes completely, by their names in /proc/cpuinfo: those of which every instruction
 * in the opcode table has semantics. What CPUID shows should be among them.
 */
export function implementedFeatures(): string[] {
  const defined = new Set(DEFINITIONS.map((definition) => definition.name.replace(/^(rep|repne)\./, "").split(".")[0]));
  const missing = new Set<string>();
  for (const row of OPCODES) {
    // VEX forms of vector instructions belong to AVX, whatever feature their row names.
    const counts = !row.privileged && (!row.vex || row.feature.startsWith("bmi"));
    if (counts && !defined.has(row.name)) missing.add(row.feature);
  }
  const vector = Object.entries(CPUINFO_NAMES).filter(
    ([feature]) => OPCODES.some((row) => row.feature === feature) && !missing.has(feature),
  );
  return [...BASIC, ...vector.map(([, name]) => name)];
}
