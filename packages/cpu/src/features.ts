import { type Instruction, OPCODES, type OpcodeRow, PREFIX } from "@paravirt/x86";
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
  avx: "avx",
  avx2: "avx2",
  fma: "fma",
  f16c: "f16c",
  vaes: "vaes",
  vpclmulqdq: "vpclmulqdq",
};

/** The same for features that are about the system more than about computing. */
const SYSTEM_NAMES: Readonly<Record<string, string>> = {
  rdtscp: "rdtscp",
  rdpid: "rdpid",
  xsave: "xsave",
  clflushopt: "clflushopt",
  clwb: "clwb",
};
const NAMES: Readonly<Record<string, string>> = { ...CPUINFO_NAMES, ...SYSTEM_NAMES };

/** Rows with a feature of their own within what the table calls by one name. */
const ROW_NAMES: Readonly<Record<string, string>> = {
  xsaveopt: "xsaveopt",
  xsavec: "xsavec",
  lahf: "lahf_lm",
  sahf: "lahf_lm",
};

/** What an encoding means where its feature is missing: the repeat prefix is ignored. */
const OLDER: Readonly<Record<string, string>> = { tzcnt: "bsf", lzcnt: "bsr" };

/** Features that say nothing of single instructions, or whose instructions every x86-64 processor has. */
const BASIC = words(
  "fpu de tsc msr pae mce cx8 apic mca cmov pat clflush fxsr syscall nx lm rep_good nopl hypervisor mmx sse sse2",
);
/** What no row of its own tells: a form of one, or what it does for some registers; the engine has them all. */
const FORMS = words("cx16 erms fsrm xgetbv1 3dnowprefetch");

/** Processors that can be asked for by name: the levels of the x86-64 psABI. */
export type CpuModel = "x86-64-v1" | "x86-64-v2" | "x86-64-v3";

const V2 = [...BASIC, ...words("cx16 lahf_lm pni ssse3 sse4_1 sse4_2 popcnt")];

/** The features of each {@link CpuModel}, by their names in /proc/cpuinfo. */
export const CPU_MODELS: Readonly<Record<CpuModel, readonly string[]>> = {
  "x86-64-v1": BASIC,
  "x86-64-v2": V2,
  "x86-64-v3": [...V2, ...words("xsave avx avx2 bmi1 bmi2 f16c fma abm movbe")],
};

function words(text: string): string[] {
  return text.split(" ");
}

function featureOf(row: OpcodeRow): string | undefined {
  return ROW_NAMES[row.name] ?? NAMES[row.feature];
}

/** What the 128-bit forms of these need: the features of their legacy forms. */
const NARROW: Readonly<Record<string, string>> = { vaes: "aes", vpclmulqdq: "pclmulqdq" };

/** Features of AVX that are implemented: making all of `semantics/avx.ts` to find out would cost each start; a test does. */
const AVX_FEATURES: readonly string[] = ["avx", "avx2", "fma", "f16c", "vaes", "vpclmulqdq"];

/** Whether a row stands behind a VEX prefix for the vectors' sake. */
export function isAvx(row: OpcodeRow): boolean {
  return row.vex && !row.feature.startsWith("bmi");
}

/** Whether a processor with `features` has an AVX instruction: AVX itself, and what its row or legacy form belongs to. */
function hasAvx(row: OpcodeRow, wide: boolean, features: ReadonlySet<string>): boolean {
  const own = wide ? row.feature : (NARROW[row.feature] ?? row.feature);
  return features.has("avx") && features.has(NAMES[own] ?? own);
}

/**
 * What `instruction` is to a processor that has `features` only: the row's name in the opcode table, that of an older
 * instruction which its encoding means there, or `undefined` when it raises #UD.
 */
export function nameAmong(instruction: Instruction, features: ReadonlySet<string>): string | undefined {
  const row = OPCODES[instruction.row]!;
  if (isAvx(row)) return hasAvx(row, (instruction.prefixes & PREFIX.VEX_L) !== 0, features) ? row.name : undefined;
  const feature = row.name === "cmpxchg8b" && instruction.sizes[0] === 16 ? "cx16" : featureOf(row);
  // LAHF and SAHF are optional in 64-bit mode only.
  if (feature === undefined || features.has(feature) || (feature === "lahf_lm" && instruction.mode !== 64))
    return row.name;
  return OLDER[row.name];
}

/**
 * The CPU features that the engine executes completely, by their names in /proc/cpuinfo: those of which every instruction
 * in the opcode table has semantics. What CPUID shows should be among them.
 */
export function implementedFeatures(): string[] {
  const defined = new Set(DEFINITIONS.map((definition) => definition.name.replace(/^(rep|repne)\./, "").split(".")[0]));
  const missing = new Set<string>();
  const known = new Set<string>();
  for (const row of OPCODES) {
    const feature = featureOf(row);
    // VEX forms of other features' instructions need AVX besides.
    if (feature === undefined || row.privileged || isAvx(row)) continue;
    known.add(feature);
    if (!defined.has(row.name)) missing.add(feature);
  }
  return [...BASIC, ...[...known].filter((name) => !missing.has(name)), ...AVX_FEATURES, ...FORMS];
}
