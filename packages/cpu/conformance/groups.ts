import { OPCODES, type OpcodeRow } from "@paravirt/x86";
import { CPUINFO_NAMES, implementedFeatures } from "../src/features.ts";
import { NOT_COMPARED } from "./undefined.ts";

/** What every x86-64 processor has, by the opcode table's names. */
const BASE = new Set(["general", "x87", "mmx", "sse", "sse2", "fxsr"]);

/** Families of the general instructions, by the rows' names; the first that fits. */
const FAMILIES: readonly (readonly [group: string, names: RegExp])[] = [
  ["arithmetic", /^(add|adc|sub|sbb|cmp|inc|dec|neg|xadd|cmpxchg.*|cbw|cwd)$/],
  ["logic", /^(and|or|xor|not|test)$/],
  ["shift", /^(shl|shr|sar|rol|ror|rcl|rcr|shld|shrd)$/],
  ["bit", /^(bt|bts|btr|btc|bsf|bsr|set|bswap)$/],
  ["multiply and divide", /^(i?mul|i?div)$/],
  ["decimal", /^(aaa|aas|aad|aam|daa|das|salc)$/],
  ["string", /^(movs|cmps|stos|lods|scas)$/],
  ["stack", /^(push|pop|pusha|popa|pushf|popf|enter|leave)$/],
  ["branch", /^(j|jmp|call|ret|loop|loope|loopne|jcxz)$/],
  ["far transfer", /^(retf|iret)$/],
  ["segment", /^(l[defgs]s|arpl|bound)$/],
  ["flag", /^(cl.|st.|cmc|lahf|sahf)$/],
  ["system", /^(ud.|hlt|rsm|in|out|clts|.*msr|.*invd|sys.*|getsec|l[gil]dt|ltr|lmsw|invlpg|swapgs|rdpmc|vmmcall)$/],
];

/** Name of the group that a row is reported in. */
export function groupOf(row: OpcodeRow): string {
  if (row.feature !== "general") return row.feature;
  if (row.privileged) return "system";
  return FAMILIES.find(([, names]) => names.test(row.name))?.[0] ?? "move";
}

/** Rows of the opcode table that are compared, and why the others are not. */
export interface Selection {
  /** Indices into `OPCODES`. */
  readonly rows: readonly number[];
  /** Names of rows to the reason why they are left out. */
  readonly skipped: ReadonlyMap<string, string>;
}

/** Chooses the rows whose feature the engine has and `host` (names of /proc/cpuinfo) too. */
export function selectRows(host: ReadonlySet<string>): Selection {
  const implemented = new Set(implementedFeatures());
  const rows: number[] = [];
  const skipped = new Map<string, string>();
  OPCODES.forEach((row, index) => {
    if (index === 0) return;
    const feature = CPUINFO_NAMES[row.feature] ?? row.feature;
    const reason = NOT_COMPARED.get(row.name);
    if (!BASE.has(row.feature) && !implemented.has(feature)) skipped.set(`[${feature}]`, "not in the engine");
    else if (!BASE.has(row.feature) && !host.has(feature)) skipped.set(`[${feature}]`, "not in this processor");
    else if (reason !== undefined) skipped.set(row.name, reason);
    else rows.push(index);
  });
  return { rows, skipped };
}
