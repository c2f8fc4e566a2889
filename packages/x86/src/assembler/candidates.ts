import { CONDITIONS, OPCODES } from "../table/compile.ts";
import type { OpcodeRow } from "../table/parse.ts";

/** One way to write a mnemonic: a row at one operand size and vector length. */
export interface Candidate {
  readonly row: OpcodeRow;
  readonly index: number;
  readonly condition: number;
  /** Operand size index: 0, 1, 2 for 16, 32, 64. */
  readonly sizeIndex: number;
  readonly w: number;
  readonly l: number;
}

let candidates: Map<string, Candidate[]> | undefined;

/** Candidates for each mnemonic, built from the opcode table when the assembler is first used. */
export function candidatesOf(mnemonic: string): readonly Candidate[] {
  candidates ??= buildCandidates();
  return candidates.get(mnemonic) ?? [];
}

/** Other names of conditions. */
const CONDITION_ALIASES: Readonly<Record<string, readonly string[]>> = {
  b: ["c", "nae"],
  ae: ["nc", "nb"],
  e: ["z"],
  ne: ["nz"],
  be: ["na"],
  a: ["nbe"],
  p: ["pe"],
  np: ["po"],
  l: ["nge"],
  ge: ["nl"],
  le: ["ng"],
  g: ["nle"],
};
/** Other names of a few instructions that people write. */
export const ALIASES: Readonly<Record<string, string>> = {
  sal: "shl",
  movabs: "mov",
  xlatb: "xlat",
  wait: "fwait",
  repz: "repe",
  loopz: "loope",
  loopnz: "loopne",
  retn: "ret",
  icebp: "int1",
};

function buildCandidates(): Map<string, Candidate[]> {
  const map = new Map<string, Candidate[]>();
  const add = (name: string, candidate: Candidate): void => {
    const list = map.get(name);
    if (list) list.push(candidate);
    else map.set(name, [candidate]);
  };
  OPCODES.forEach((row, index) => {
    if (index === 0) return;
    for (const sizeIndex of row.vex ? [1, 2] : [0, 1, 2])
      for (const l of row.vex ? [0, 1] : [0]) {
        if (row.l >= 0 && row.l !== l) continue;
        if (row.w >= 0 && row.w !== sizeIndex - 1) continue;
        const text = row.texts[sizeIndex]!;
        const candidate = { row, index, condition: 0, sizeIndex, w: row.vex ? sizeIndex - 1 : 0, l };
        if (!row.conditional) add(text, candidate);
        else
          CONDITIONS.forEach((name, condition) => {
            for (const alias of [name, ...(CONDITION_ALIASES[name] ?? [])])
              add(text + alias, { ...candidate, condition });
          });
      }
  });
  return map;
}
