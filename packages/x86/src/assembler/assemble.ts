import type { Mode } from "../decode.ts";
import { encode, type SourcePrefixes } from "./encode.ts";
import { AssemblerError } from "./errors.ts";
import { evaluate, type Lookup, unescaped } from "./expression.ts";
import { parseOperand } from "./operand.ts";

/** Options of {@link assemble}. */
export interface AssembleOptions {
  /** Mode of the code; 64 unless told. */
  readonly mode?: Mode;
  /** Address of the first byte; 0 unless told. */
  readonly address?: bigint;
  /** Names that the source may use beside its own, with their values. */
  readonly symbols?: Readonly<Record<string, bigint | number>>;
}

/** What {@link assemble} made. */
export interface Assembled {
  /** The bytes, from the first address on. */
  readonly bytes: Uint8Array;
  /** Address of the first byte. */
  readonly address: bigint;
  /** Labels and `.equ` names of the source, with their values. */
  readonly symbols: ReadonlyMap<string, bigint>;
}

interface Line {
  readonly number: number;
  readonly label: string | undefined;
  readonly word: string;
  readonly rest: string;
  /** Length in the pass before; lengths only grow, so that passes come to an end. */
  length: number;
}

const MAX_PASSES = 64;
const LABEL = /^([A-Za-z_.$@][\w.$@]*)\s*:(?!:)/;
const EQUATE = /^([A-Za-z_$@][\w.$@]*)\s*=\s*(.+)$/;
const DATA: Readonly<Record<string, number>> = {
  ".byte": 1,
  db: 1,
  ".word": 2,
  ".short": 2,
  dw: 2,
  ".long": 4,
  ".int": 4,
  dd: 4,
  ".quad": 8,
  dq: 8,
};

/**
 * Assembles Intel-syntax source, an instruction, label (`name:`) or directive a line; comments begin with `;`, `#` or `//`.
 *
 * Directives: `.byte .word .long .quad` (or `db dw dd dq`) with expressions and strings, `.ascii`, `.asciz`,
 * `.align N[, fill]`, `.zero N`, `.org ADDRESS`, `.equ NAME, VALUE` (or `NAME = VALUE`). `.` is the address of the line.
 * Branches take their short form where it reaches. A name in `[rip+name]` is the address to reach.
 * @throws AssemblerError with the line and what is wrong with it.
 */
export function assemble(source: string, options: AssembleOptions = {}): Assembled {
  const { mode = 64, address = 0n } = options;
  const lines = parseLines(source);
  const given = new Map(Object.entries(options.symbols ?? {}).map(([name, value]) => [name, BigInt(value)]));
  let symbols = new Map<string, bigint>();
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    const result = runPass(lines, { mode, address, given, before: symbols, final: false });
    const settled = !result.grew && sameSymbols(symbols, result.symbols);
    symbols = result.symbols;
    if (settled) {
      const { bytes } = runPass(lines, { mode, address, given, before: symbols, final: true });
      return { bytes, address, symbols };
    }
  }
  throw new AssemblerError("OUT_OF_RANGE", `addresses do not settle within ${MAX_PASSES} passes`);
}

function sameSymbols(left: ReadonlyMap<string, bigint>, right: ReadonlyMap<string, bigint>): boolean {
  if (left.size !== right.size) return false;
  for (const [name, value] of right) if (left.get(name) !== value) return false;
  return true;
}

/** Cuts a comment off, leaving strings and character literals alone. */
function withoutComment(line: string): string {
  const match = /^(?:[^;#/"']|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])'|\/(?!\/)|'|")*/.exec(line);
  return match ? match[0].trim() : "";
}

function parseLines(source: string): Line[] {
  const lines: Line[] = [];
  source.split("\n").forEach((raw, index) => {
    const number = index + 1;
    let text = withoutComment(raw);
    for (let label = LABEL.exec(text); label; label = LABEL.exec(text)) {
      // `fs:[…]` cannot begin a line, so what stands before a colon is a label.
      lines.push({ number, label: label[1]!, word: "", rest: "", length: 0 });
      text = text.slice(label[0].length).trim();
    }
    if (text === "") return;
    const equate = EQUATE.exec(text);
    if (equate) {
      lines.push({ number, label: undefined, word: ".equ", rest: `${equate[1]}, ${equate[2]}`, length: 0 });
      return;
    }
    const [word = ""] = /^\S+/.exec(text) ?? [];
    lines.push({ number, label: undefined, word: word.toLowerCase(), rest: text.slice(word.length).trim(), length: 0 });
  });
  return lines;
}

interface Pass {
  readonly mode: Mode;
  readonly address: bigint;
  readonly given: ReadonlyMap<string, bigint>;
  /** Symbols of the pass before. */
  readonly before: ReadonlyMap<string, bigint>;
  /** All names must be known. */
  readonly final: boolean;
}

interface PassResult {
  readonly bytes: Uint8Array;
  readonly symbols: Map<string, bigint>;
  readonly grew: boolean;
}

function runPass(lines: readonly Line[], pass: Pass): PassResult {
  const bytes: number[] = [];
  const symbols = new Map<string, bigint>();
  let grew = false;
  for (const line of lines) {
    const here = pass.address + BigInt(bytes.length);
    const lookup: Lookup = (name) => {
      if (name === "." || name === "$") return here;
      const value = symbols.get(name) ?? pass.before.get(name) ?? pass.given.get(name);
      if (value === undefined && pass.final)
        throw new AssemblerError("UNDEFINED_SYMBOL", `"${name}" is defined nowhere`);
      return value;
    };
    try {
      if (line.label !== undefined) define(symbols, line.label, here);
      else if (line.word === ".equ" || line.word === ".set") {
        const [name = "", value = ""] = splitList(line.rest);
        define(symbols, name, evaluate(value, lookup).value);
      } else {
        const data = lineBytes(line, here, lookup, pass.mode);
        if (data.length !== line.length) {
          line.length = data.length;
          grew = true;
        }
        for (const byte of data) bytes.push(byte);
      }
    } catch (error) {
      if (error instanceof AssemblerError && error.line === 0)
        throw new AssemblerError(error.code, error.message, line.number);
      throw error;
    }
  }
  return { bytes: Uint8Array.from(bytes), symbols, grew };
}

function define(symbols: Map<string, bigint>, name: string, value: bigint): void {
  if (symbols.has(name)) throw new AssemblerError("SYNTAX", `"${name}" is defined twice`);
  symbols.set(name, value);
}

/** Splits at commas outside of brackets, strings and character literals. */
function splitList(text: string): string[] {
  const parts = text.match(/(?:\[[^\]]*\]|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])'|\([^()]*\)|[^,])+/g) ?? [];
  return parts.map((part) => part.trim());
}

function lineBytes(
  line: Line,
  here: bigint,
  lookup: Lookup,
  mode: Mode,
): Iterable<number> & { readonly length: number } {
  const { word, rest } = line;
  const size = DATA[word];
  if (size !== undefined) return splitList(rest).flatMap((item) => dataBytes(item, size, lookup));
  switch (word) {
    case ".ascii":
    case ".asciz":
    case ".string":
      return splitList(rest).flatMap((item) => [...stringBytes(item), ...(word === ".ascii" ? [] : [0])]);
    case ".align":
    case ".balign": {
      const [to = "1", fill = "0"] = splitList(rest);
      const unit = evaluate(to, lookup).value;
      if (unit <= 0n || unit > 0x100000n)
        throw new AssemblerError("OUT_OF_RANGE", `alignment ${unit} is not in 1 to 1048576`);
      const padding = Number((unit - (here % unit)) % unit);
      return new Uint8Array(padding).fill(Number(BigInt.asUintN(8, evaluate(fill, lookup).value)));
    }
    case ".zero":
    case ".space":
    case ".skip":
      return new Uint8Array(countOf(evaluate(rest, lookup).value));
    case ".org":
      return new Uint8Array(countOf(evaluate(rest, lookup).value - here));
  }
  if (word.startsWith(".")) throw new AssemblerError("SYNTAX", `there is no directive ${word}`);
  return instructionBytes(line, here, lookup, mode);
}

function countOf(value: bigint): number {
  if (value < 0n || value > 0x4000000n)
    throw new AssemblerError("OUT_OF_RANGE", `${value} bytes is not in 0 to 67108864`);
  return Number(value);
}

function stringBytes(item: string): number[] {
  if (!/^".*"$/.test(item)) throw new AssemblerError("SYNTAX", `${item} is no string`);
  const bytes: number[] = [];
  for (const character of unescaped(item.slice(1, -1))) bytes.push(...utf8(character.codePointAt(0)!));
  return bytes;
}

function utf8(point: number): number[] {
  if (point < 0x80) return [point];
  if (point < 0x800) return [0xc0 | (point >> 6), 0x80 | (point & 63)];
  if (point < 0x10000) return [0xe0 | (point >> 12), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63)];
  return [0xf0 | (point >> 18), 0x80 | ((point >> 12) & 63), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63)];
}

function dataBytes(item: string, size: number, lookup: Lookup): number[] {
  if (item.startsWith('"')) return stringBytes(item);
  const { value, unknown } = evaluate(item, lookup);
  const bits = size * 8;
  if (!unknown && BigInt.asIntN(bits, value) !== value && BigInt.asUintN(bits, value) !== value)
    throw new AssemblerError("OUT_OF_RANGE", `${value} does not fit in ${size} bytes`);
  return Array.from({ length: size }, (_, byte) => Number((value >> BigInt(byte * 8)) & 0xffn));
}

const REPEAT: Readonly<Record<string, number>> = {
  rep: 0xf3,
  repe: 0xf3,
  repz: 0xf3,
  xrelease: 0xf3,
  repne: 0xf2,
  repnz: 0xf2,
  xacquire: 0xf2,
  bnd: 0xf2,
};

function instructionBytes(line: Line, here: bigint, lookup: Lookup, mode: Mode): Uint8Array {
  let { word, rest } = line;
  const prefixes = { lock: false, repeat: 0, notrack: false, operandSize: 0 };
  while (takePrefix(word, prefixes)) {
    const next = /^\S+/.exec(rest);
    if (!next) throw new AssemblerError("SYNTAX", `"${word}" stands alone`);
    word = next[0].toLowerCase();
    rest = rest.slice(next[0].length).trim();
  }
  const far = /^far\s+/i.exec(rest);
  if (far) rest = rest.slice(far[0].length);
  const operands = splitList(rest).map((operand) => parseOperand(operand, lookup));
  const answer = encode({
    mnemonic: word,
    operands,
    prefixes: prefixes as SourcePrefixes,
    far: far !== null,
    mode,
    address: here,
    minimum: line.length,
  });
  const text = `${word} ${rest}`.trim();
  switch (answer) {
    case "no-mnemonic":
      throw new AssemblerError("NO_SUCH_INSTRUCTION", `there is no instruction "${word}"`);
    case "no-form":
      throw new AssemblerError("NO_SUCH_FORM", `"${text}" has no encoding in ${mode}-bit mode`);
    case "ambiguous-size":
      throw new AssemblerError("NO_SUCH_FORM", `"${text}" needs a size: byte, word, dword or qword ptr`);
    default:
      return answer;
  }
}

function takePrefix(
  word: string,
  prefixes: { lock: boolean; repeat: number; notrack: boolean; operandSize: number },
): boolean {
  if (word === "lock") prefixes.lock = true;
  else if (word === "notrack") prefixes.notrack = true;
  else if (word === "data16") prefixes.operandSize = 2;
  else if (word === "data32") prefixes.operandSize = 4;
  else if (word === "data64") prefixes.operandSize = 8;
  else if (word in REPEAT) prefixes.repeat = REPEAT[word]!;
  else return false;
  return true;
}
