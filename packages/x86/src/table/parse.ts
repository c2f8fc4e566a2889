/**
 * The rows of the opcode table, from their text. One line is one row:
 *
 *   KEY | NAME | OPERANDS | ATTRIBUTES        and `[feature]` before the rows that need that CPU feature.
 *
 * KEY: `[vex] [np|66|f3|f2] [0f|0f38|0f3a] OPCODE[+r|+cc]` and then any of `/0`…`/7` (ModRM.reg), `=c1` (the exact ModRM
 * byte), `mem`/`reg` (ModRM.mod), `m32`/`m64` (not in / only in 64-bit mode), `a16 a32 a64` (address size), `w0 w1 l0 l1`
 * (VEX). Without `np|66|f3|f2` those prefixes select nothing; among them the row takes what no other row claims.
 * NAME: the base name, or `base=text` or `base=text16/text32/text64` where the mnemonic depends on the operand size.
 * OPERANDS: codes of operand.ts, each after its access: none read, `=` written, `+` read and written, `~` written under
 * a condition, `@` only its address used.
 * ATTRIBUTES: flags `m=` set by the result, `t=` read, `u=` undefined after, `0=` cleared, `1=` set; implicit operands
 * `R=`, `W=`; words of {@link OpcodeRow}.
 */

/** The mandatory prefix of a row. */
export type MandatoryPrefix = "any" | "np" | "66" | "f3" | "f2";
/** How an instruction changes the flow of control. */
export type Flow = "next" | "branch" | "jump" | "call" | "ret" | "int" | "syscall";
/** Which way an operand is used. */
export type Access = "read" | "write" | "readwrite" | "conditional" | "address";

/** One instruction of the opcode table. The decoder, the formatters, the assembler and the CPU engine read it. */
export interface OpcodeRow {
  /** Base name, without condition and size suffix of a string operation: `add`, `j`, `set`, `cmov`, `movs`, `paddb`. */
  readonly name: string;
  /** Mnemonics in text for operand sizes 16, 32, 64, before the condition is added. */
  readonly texts: readonly [string, string, string];
  /** Whether the row stands behind a VEX prefix. */
  readonly vex: boolean;
  /** Opcode map: 0 one byte, 1 is 0F, 2 is 0F38, 3 is 0F3A. */
  readonly map: number;
  /** First opcode byte of the row in its map. */
  readonly opcode: number;
  /** Opcodes that the row spans: 1, 8 (register in the opcode) or 16 (condition in the opcode). */
  readonly span: number;
  /** Prefix that belongs to the opcode. */
  readonly prefix: MandatoryPrefix;
  /** ModRM.reg that the row needs, or -1. */
  readonly digit: number;
  /** The whole ModRM byte that the row needs, or -1. */
  readonly modrm: number;
  /** Form of ModRM.mod: 0 any, 1 memory, 2 register. */
  readonly mod: number;
  /** Whether a ModRM byte follows the opcode. */
  readonly hasModrm: boolean;
  /** Mode in which it exists: 0 all, 32 not in 64-bit mode, 64 only there. */
  readonly only: number;
  /** Address size in bytes that the row needs, or 0. */
  readonly addressSize: number;
  /** VEX.W that the row needs, or -1. */
  readonly w: number;
  /** VEX.L that the row needs, or -1. */
  readonly l: number;
  /** Operand codes in Intel order, see `operand.ts`. */
  readonly operands: readonly string[];
  /** Access to each of {@link OpcodeRow.operands}. */
  readonly access: readonly Access[];
  /** The mnemonic ends in the condition of the opcode's low four bits. */
  readonly conditional: boolean;
  /** LOCK is legal when the destination is memory. */
  readonly lockable: boolean;
  /** Needs CPL 0. */
  readonly privileged: boolean;
  /** CPU feature, lower case; `general` for what every x86-64 has. */
  readonly feature: string;
  /** Flow of control. */
  readonly flow: Flow;
  /** Flags set by the result, a string of the letters `o d i t s z a p c`. */
  readonly flagsModified: string;
  /** Flags read. */
  readonly flagsTested: string;
  /** Flags undefined afterwards. */
  readonly flagsUndefined: string;
  /** Flags cleared. */
  readonly flagsCleared: string;
  /** Flags set to one. */
  readonly flagsSet: string;
  /** Registers read beside the operands, by their 64-bit names. */
  readonly implicitReads: readonly string[];
  /** Registers written beside the operands, by their 64-bit names. */
  readonly implicitWrites: readonly string[];
  /** Further properties: `d64`, `f64`, `rep`, `repe`, `io`, `iopl`, … */
  readonly attributes: ReadonlySet<string>;
}

const ACCESS: Readonly<Record<string, Access>> = {
  "=": "write",
  "+": "readwrite",
  "~": "conditional",
  "@": "address",
};
const MAPS: Readonly<Record<string, number>> = { "0f": 1, "0f38": 2, "0f3a": 3 };
const MODRM_OPERAND = /^([EGMRVWUPQNSCD]|STi)/;
const NOT_MODRM = /^(ES|CS|SS|DS|GS|CL|DX|ST0)$/;
const MEMORY_ONLY = /^M/;
const REGISTER_ONLY = /^([RUN]|STi)/;

/** What a row's operand column says; many rows share one. */
interface OperandColumn {
  readonly operands: readonly string[];
  readonly access: readonly Access[];
  readonly memoryOnly: boolean;
  readonly registerOnly: boolean;
  readonly modrm: boolean;
}

/** What a row's attribute column says. */
interface AttributeColumn {
  readonly attributes: ReadonlySet<string>;
  readonly values: Readonly<Record<string, string>>;
  readonly implicitReads: readonly string[];
  readonly implicitWrites: readonly string[];
}

/** Makes `parse` remember its answers: a module that loads quickly must not parse a column a hundred times. */
function remembering<T>(parse: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    let answer = known.get(text);
    if (answer === undefined) {
      answer = parse(text);
      known.set(text, answer);
    }
    return answer;
  };
}

const parseOperands = remembering((text: string): OperandColumn => {
  const operands: string[] = [];
  const access: Access[] = [];
  for (const token of words(text)) {
    const how = ACCESS[token[0]!];
    access.push(how ?? "read");
    operands.push(how === undefined ? token : token.slice(1));
  }
  return {
    operands,
    access,
    memoryOnly: operands.some((code) => MEMORY_ONLY.test(code)),
    registerOnly: operands.some((code) => REGISTER_ONLY.test(code)),
    modrm: operands.some((code) => MODRM_OPERAND.test(code) && !NOT_MODRM.test(code)),
  };
});

const parseAttributes = remembering((text: string): AttributeColumn => {
  const attributes = new Set<string>();
  const values: Record<string, string> = {};
  for (const token of words(text)) {
    const equals = token.indexOf("=");
    if (equals < 0) attributes.add(token);
    else values[token.slice(0, equals)] = token.slice(equals + 1);
  }
  return {
    attributes,
    values,
    implicitReads: values.R?.split(",") ?? [],
    implicitWrites: values.W?.split(",") ?? [],
  };
});

function words(text: string): string[] {
  if (text === "") return [];
  const split = text.split(" ");
  return split.includes("") ? split.filter((word) => word !== "") : split;
}

/** The selectors of a key behind its opcode. */
interface Selectors {
  readonly digit: number;
  readonly modrm: number;
  readonly mod: number;
  readonly only: number;
  readonly addressSize: number;
  readonly w: number;
  readonly l: number;
}

const parseSelectors = remembering((text: string): Selectors => {
  let digit = -1;
  let modrm = -1;
  let mod = 0;
  let only = 0;
  let addressSize = 0;
  let w = -1;
  let l = -1;
  for (const token of words(text)) {
    const number = Number(token.slice(1));
    if (token[0] === "/") digit = number;
    else if (token[0] === "=") modrm = Number.parseInt(token.slice(1), 16);
    else if (token === "mem") mod = 1;
    else if (token === "reg") mod = 2;
    else if (token[0] === "m") only = number;
    else if (token[0] === "a") addressSize = number / 8;
    else if (token[0] === "w") w = number;
    else if (token[0] === "l") l = number;
    else throw new Error(`BUG: selector "${token}" in the opcode table`);
  }
  return { digit, modrm, mod, only, addressSize, w, l };
});

/** A feature line or a row: vex, prefix, map, opcode, span, selectors, name, operands, attributes. One pass, for speed. */
const LINE =
  /^(?:\[(.+)\]|(vex )?(?:(np|66|f3|f2) )?(?:(0f|0f38|0f3a) )?([0-9a-f]{2})(\+r|\+cc)?([^|]*)\| *([^ |]+) *\| *([^|]*?) *\|(.*)) *$/gm;

/** Parses the rows of the table's text. */
export function parseRows(text: string): OpcodeRow[] {
  const rows: OpcodeRow[] = [];
  let feature = "general";
  LINE.lastIndex = 0;
  for (let match = LINE.exec(text); match !== null; match = LINE.exec(text)) {
    if (match[1] !== undefined) feature = match[1];
    else rows.push(rowOf(match, feature));
  }
  return rows;
}

function textsOf(list: string): [string, string, string] {
  const [text16 = "", text32 = text16, text64 = text32] = list.split("/");
  return [text16, text32, text64];
}

function rowOf(match: RegExpExecArray, feature: string): OpcodeRow {
  const { operands, access, memoryOnly, registerOnly, modrm: usesModrm } = parseOperands(match[9]!);
  const { attributes, values, implicitReads, implicitWrites } = parseAttributes(match[10]!);
  const selectors = parseSelectors(match[7]!);
  const { digit, modrm } = selectors;
  let mod = selectors.mod;
  if (mod === 0) {
    if (memoryOnly) mod = 1;
    else if (registerOnly && !attributes.has("modreg")) mod = 2;
  }
  const names = match[8]!;
  const equals = names.indexOf("=");
  const name = equals < 0 ? names : names.slice(0, equals);
  const spanText = match[6];
  return {
    name,
    texts: equals < 0 ? [name, name, name] : textsOf(names.slice(equals + 1)),
    vex: match[2] !== undefined,
    map: MAPS[match[4] ?? ""] ?? 0,
    opcode: Number.parseInt(match[5]!, 16),
    span: spanText === undefined ? 1 : spanText === "+r" ? 8 : 16,
    prefix: (match[3] ?? "any") as MandatoryPrefix,
    digit,
    modrm,
    mod,
    hasModrm: usesModrm || digit >= 0 || modrm >= 0 || mod !== 0,
    only: selectors.only,
    addressSize: selectors.addressSize,
    w: selectors.w,
    l: selectors.l,
    operands,
    access,
    conditional: attributes.has("cc"),
    lockable: attributes.has("lock"),
    privileged: attributes.has("priv"),
    feature,
    flow: (values.flow ?? "next") as Flow,
    flagsModified: values.m ?? "",
    flagsTested: values.t ?? "",
    flagsUndefined: values.u ?? "",
    flagsCleared: values["0"] ?? "",
    flagsSet: values["1"] ?? "",
    implicitReads,
    implicitWrites,
    attributes,
  };
}
