import { AssemblerError } from "./errors.ts";

/** Gives the value of a name, or `undefined` where it is not known (yet). */
export type Lookup = (name: string) => bigint | undefined;

/** A value and whether names took part in it. */
export interface Value {
  readonly value: bigint;
  /** A name was used: the value may differ in the next pass. */
  readonly symbolic: boolean;
  /** A name was not known; `value` counts it as the place it stands at. */
  readonly unknown: boolean;
}

const TOKEN = /\s*(0x[0-9a-f]+|0b[01]+|\d+|'(?:\\.|[^\\'])'|[A-Za-z_.$@][\w.$@]*|<<|>>|[-+*/%&|^~()])/iy;
const ESCAPES: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", "0": "\0" };

/** Replaces `\n`, `\t`, `\r`, `\0` and escaped characters in a literal. */
export function unescaped(text: string): string {
  return text.replaceAll(/\\(.)/g, (_, letter: string) => ESCAPES[letter] ?? letter);
}

const LEVELS: readonly (readonly string[])[] = [["|"], ["^"], ["&"], ["<<", ">>"], ["+", "-"], ["*", "/", "%"]];

/** Evaluates an expression of numbers, names, character literals and `+ - * / % & | ^ ~ << >> ( )`. */
export function evaluate(text: string, lookup: Lookup): Value {
  const tokens = tokenize(text);
  let at = 0;
  let symbolic = false;
  let unknown = false;

  const primary = (): bigint => {
    const token = tokens[at++];
    if (token === undefined) throw new AssemblerError("SYNTAX", `"${text}" ends where a value should stand`);
    if (token === "-") return -primary();
    if (token === "+") return primary();
    if (token === "~") return ~primary();
    if (token === "(") {
      const value = level(0);
      if (tokens[at++] !== ")") throw new AssemblerError("SYNTAX", `")" is missing in "${text}"`);
      return value;
    }
    if (/^\d/.test(token)) return BigInt(token.toLowerCase());
    if (token.startsWith("'")) return BigInt(unescaped(token.slice(1, -1)).charCodeAt(0));
    if (/^[A-Za-z_.$@]/.test(token)) {
      symbolic = true;
      const value = lookup(token);
      if (value === undefined) {
        unknown = true;
        return lookup(".") ?? 0n;
      }
      return value;
    }
    throw new AssemblerError("SYNTAX", `"${token}" is no value in "${text}"`);
  };
  const level = (depth: number): bigint => {
    const operators = LEVELS[depth];
    if (operators === undefined) return primary();
    let value = level(depth + 1);
    for (let operator = tokens[at]; operator !== undefined && operators.includes(operator); operator = tokens[at]) {
      at++;
      value = apply(operator, value, level(depth + 1), text);
    }
    return value;
  };

  const value = level(0);
  if (at < tokens.length) throw new AssemblerError("SYNTAX", `"${tokens[at]}" is one too many in "${text}"`);
  return { value, symbolic, unknown };
}

function tokenize(text: string): string[] {
  const tokens: string[] = [];
  const trimmed = text.trim();
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < trimmed.length) {
    const from = TOKEN.lastIndex;
    const match = TOKEN.exec(trimmed);
    if (!match) throw new AssemblerError("SYNTAX", `"${trimmed.slice(from)}" is no expression`);
    tokens.push(match[1]!);
  }
  return tokens;
}

function apply(operator: string, left: bigint, right: bigint, text: string): bigint {
  switch (operator) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "&":
      return left & right;
    case "|":
      return left | right;
    case "^":
      return left ^ right;
    case "<<":
      return left << right;
    case ">>":
      return left >> right;
  }
  if (right === 0n) throw new AssemblerError("OUT_OF_RANGE", `division by zero in "${text}"`);
  return operator === "/" ? left / right : left % right;
}
