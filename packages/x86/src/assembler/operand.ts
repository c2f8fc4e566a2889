import { BASE_RIP, NO_REGISTER, REGISTER_CLASS } from "../instruction.ts";
import { registerOf } from "../text/registers.ts";
import { AssemblerError } from "./errors.ts";
import { evaluate, type Lookup, type Value } from "./expression.ts";

/** A register operand. */
export interface RegisterOperand {
  readonly kind: "register";
  readonly registerClass: number;
  readonly number: number;
}
/** A number, a branch target, or a `selector:offset` pair. */
export interface ImmediateOperand {
  readonly kind: "immediate";
  readonly value: Value;
  /** Selector of a far pointer. */
  readonly selector: bigint | undefined;
}
/** A memory operand. */
export interface MemoryOperand {
  readonly kind: "memory";
  /** Bytes that `dword ptr` and the like say; 0 when the source says nothing. */
  readonly size: number;
  /** Segment register number of an override, or `undefined`. */
  readonly segment: number | undefined;
  readonly base: number;
  readonly index: number;
  /** log2 of the scale. */
  readonly scale: number;
  readonly displacement: Value;
  /** Bytes of the address registers: 2, 4, 8; 0 when there are none. */
  readonly addressSize: number;
  /** Class of the index register. */
  readonly indexClass: number;
}
/** An operand as the source names it. */
export type SourceOperand = RegisterOperand | ImmediateOperand | MemoryOperand;

const SIZES: Readonly<Record<string, number>> = {
  byte: 1,
  word: 2,
  dword: 4,
  fword: 6,
  qword: 8,
  tbyte: 10,
  xmmword: 16,
  ymmword: 32,
};
const SIZE = /^(byte|word|dword|fword|qword|tbyte|xmmword|ymmword)\s+(?:ptr\b\s*)?/i;
const MEMORY = /^(?:([c-gs]s)\s*:\s*)?\[([^\]]*)\]$/i;
const ADDRESS_SIZE: Readonly<Record<number, number>> = {
  [REGISTER_CLASS.GPR16]: 2,
  [REGISTER_CLASS.GPR32]: 4,
  [REGISTER_CLASS.GPR64]: 8,
};

/** Parses one operand of Intel syntax. */
export function parseOperand(source: string, lookup: Lookup): SourceOperand {
  const text = source.trim();
  const register = registerOf(text.toLowerCase());
  if (register) return { kind: "register", ...register };
  const sized = SIZE.exec(text);
  const rest = sized ? text.slice(sized[0].length) : text;
  const memory = MEMORY.exec(rest.trim());
  if (memory)
    return parseMemory(memory[2]!, memory[1]?.toLowerCase(), sized ? SIZES[sized[1]!.toLowerCase()]! : 0, lookup);
  if (sized) throw new AssemblerError("SYNTAX", `"${text}" names a size but no memory`);
  const colon = text.indexOf(":");
  if (colon > 0)
    return {
      kind: "immediate",
      selector: evaluate(text.slice(0, colon), lookup).value,
      value: evaluate(text.slice(colon + 1), lookup),
    };
  return { kind: "immediate", value: evaluate(text, lookup), selector: undefined };
}

function parseMemory(inside: string, segment: string | undefined, size: number, lookup: Lookup): MemoryOperand {
  let base = NO_REGISTER;
  let index = NO_REGISTER;
  let scale = 0;
  let addressSize = 0;
  let indexClass: number = REGISTER_CLASS.GPR64;
  let rest = "";
  for (const [, sign = "+", term = ""] of inside.matchAll(/([-+]?)([^-+]+)/g)) {
    let [name = "", factor] = term.split("*").map((part) => part.trim());
    if (factor !== undefined && registerOf(factor.toLowerCase())) [name, factor] = [factor, name];
    const lower = name.toLowerCase();
    if (lower === "rip" || lower === "eip") {
      base = BASE_RIP;
      addressSize = lower === "rip" ? 8 : 4;
      continue;
    }
    const register = registerOf(lower);
    if (!register) {
      rest += `${sign || "+"}${term}`;
      continue;
    }
    if (sign === "-") throw new AssemblerError("SYNTAX", `register ${name} cannot be subtracted in an address`);
    const vector = register.registerClass === REGISTER_CLASS.XMM || register.registerClass === REGISTER_CLASS.YMM;
    if (!vector) addressSize = ADDRESS_SIZE[register.registerClass] ?? 0;
    if (!vector && addressSize === 0) throw new AssemblerError("SYNTAX", `register ${name} is no part of an address`);
    if (factor === undefined && base === NO_REGISTER && !vector) base = register.number;
    else if (index === NO_REGISTER) {
      index = register.number;
      indexClass = register.registerClass;
      scale = factor === undefined ? 0 : [1, 2, 4, 8].indexOf(Number(factor));
      if (scale < 0) throw new AssemblerError("SYNTAX", `scale ${factor} is none of 1, 2, 4, 8`);
    } else throw new AssemblerError("SYNTAX", `[${inside}] has a register too many`);
  }
  // ESP and RSP are no index: exchanged, they may stand in either place.
  if (index === 4 && scale === 0 && indexClass !== REGISTER_CLASS.XMM && indexClass !== REGISTER_CLASS.YMM) {
    index = base;
    base = 4;
  }
  const displacement = rest === "" ? { value: 0n, symbolic: false, unknown: false } : evaluate(rest, lookup);
  const number = segment === undefined ? undefined : registerOf(segment)?.number;
  return { kind: "memory", size, segment: number, base, index, scale, displacement, addressSize, indexClass };
}
