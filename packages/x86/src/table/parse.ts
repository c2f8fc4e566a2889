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

/** Parses the rows of one table text. */
export function parseRows(text: string): OpcodeRow[] {
  const rows: OpcodeRow[] = [];
  let feature = "general";
  for (const line of text.split("\n")) {
    if (line.startsWith("[")) feature = line.slice(1, line.indexOf("]"));
    else if (line !== "") rows.push(parseRow(line, feature));
  }
  return rows;
}

interface Key {
  vex: boolean;
  map: number;
  opcode: number;
  span: number;
  prefix: MandatoryPrefix;
  digit: number;
  modrm: number;
  mod: number;
  only: number;
  addressSize: number;
  w: number;
  l: number;
}

function parseKey(text: string): Key {
  const key: Key = {
    vex: false,
    map: 0,
    opcode: -1,
    span: 1,
    prefix: "any",
    digit: -1,
    modrm: -1,
    mod: 0,
    only: 0,
    addressSize: 0,
    w: -1,
    l: -1,
  };
  const tokens = text.trim().split(/ +/);
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at]!;
    const next = tokens[at + 1] ?? "";
    const moreOpcode = /^(0f|0f38|0f3a|[0-9a-f]{2}(\+.*)?)$/.test(next);
    if (token === "vex") key.vex = true;
    else if (token === "np" || ((token === "66" || token === "f3" || token === "f2") && moreOpcode && key.map === 0))
      key.prefix = token as MandatoryPrefix;
    else if (token in MAPS && moreOpcode && key.map === 0) key.map = MAPS[token]!;
    else if (token.startsWith("/")) key.digit = Number(token.slice(1));
    else if (token.startsWith("=")) key.modrm = Number.parseInt(token.slice(1), 16);
    else if (token === "mem") key.mod = 1;
    else if (token === "reg") key.mod = 2;
    else if (token === "m32" || token === "m64") key.only = Number(token.slice(1));
    else if (token === "a16" || token === "a32" || token === "a64") key.addressSize = Number(token.slice(1)) / 8;
    else if (token === "w0" || token === "w1") key.w = Number(token.slice(1));
    else if (token === "l0" || token === "l1") key.l = Number(token.slice(1));
    else {
      key.opcode = Number.parseInt(token, 16);
      key.span = token.endsWith("+r") ? 8 : token.endsWith("+cc") ? 16 : 1;
    }
  }
  return key;
}

function parseRow(line: string, feature: string): OpcodeRow {
  const [keyText = "", nameText = "", operandText = "", attributeText = ""] = line.split("|");
  const key = parseKey(keyText);
  const [name = "", textList = name] = nameText.trim().split("=");
  const [text16 = name, text32 = text16, text64 = text32] = textList.split("/");
  const operands: string[] = [];
  const access: Access[] = [];
  for (const token of words(operandText)) {
    const how = ACCESS[token[0]!];
    access.push(how ?? "read");
    operands.push(how === undefined ? token : token.slice(1));
  }
  let mod = key.mod;
  if (mod === 0 && operands.some((code) => MEMORY_ONLY.test(code))) mod = 1;
  const attributes = new Set<string>();
  const values: Record<string, string> = {};
  for (const token of words(attributeText)) {
    const equals = token.indexOf("=");
    if (equals < 0) attributes.add(token);
    else values[token.slice(0, equals)] = token.slice(equals + 1);
  }
  if (mod === 0 && !attributes.has("modreg") && operands.some((code) => REGISTER_ONLY.test(code))) mod = 2;
  const hasModrm =
    key.digit >= 0 ||
    key.modrm >= 0 ||
    mod !== 0 ||
    operands.some((code) => MODRM_OPERAND.test(code) && !NOT_MODRM.test(code));
  return {
    ...key,
    name,
    texts: [text16, text32, text64],
    mod,
    hasModrm,
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
    implicitReads: values.R?.split(",") ?? [],
    implicitWrites: values.W?.split(",") ?? [],
    attributes,
  };
}

function words(text: string): string[] {
  const trimmed = text.trim();
  return trimmed === "" ? [] : trimmed.split(/ +/);
}
