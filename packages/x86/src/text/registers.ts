import { REGISTER_CLASS } from "../instruction.ts";

const numbered = (prefix: string, count: number, suffix = ""): string[] =>
  Array.from({ length: count }, (_, number) => `${prefix}${number}${suffix}`);
const LEGACY = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
const HIGH = ["8", "9", "10", "11", "12", "13", "14", "15"];

/** Names of the registers of each class, by their number. */
const NAMES: readonly (readonly string[])[] = (() => {
  const names: string[][] = [];
  names[REGISTER_CLASS.GPR8] = ["al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil", ...HIGH.map((n) => `r${n}b`)];
  names[REGISTER_CLASS.GPR8_HIGH] = ["ah", "ch", "dh", "bh"];
  names[REGISTER_CLASS.GPR16] = [...LEGACY, ...HIGH.map((n) => `r${n}w`)];
  names[REGISTER_CLASS.GPR32] = [...LEGACY.map((name) => `e${name}`), ...HIGH.map((n) => `r${n}d`)];
  names[REGISTER_CLASS.GPR64] = [...LEGACY.map((name) => `r${name}`), ...HIGH.map((n) => `r${n}`)];
  names[REGISTER_CLASS.SEGMENT] = ["es", "cs", "ss", "ds", "fs", "gs"];
  names[REGISTER_CLASS.CONTROL] = numbered("cr", 16);
  names[REGISTER_CLASS.DEBUG] = numbered("dr", 16);
  names[REGISTER_CLASS.ST] = numbered("st(", 8, ")");
  names[REGISTER_CLASS.MMX] = numbered("mm", 8);
  names[REGISTER_CLASS.XMM] = numbered("xmm", 16);
  names[REGISTER_CLASS.YMM] = numbered("ymm", 16);
  names[REGISTER_CLASS.BOUND] = numbered("bnd", 4);
  return names;
})();

/** Name of register `number` of a class of `REGISTER_CLASS`, lower case, as in Intel's manuals; `?` where there is none. */
export function registerName(registerClass: number, number: number): string {
  return NAMES[registerClass]?.[number] ?? "?";
}

/** A register's class and number. */
export interface RegisterReference {
  /** A value of `REGISTER_CLASS`. */
  readonly registerClass: number;
  /** Its number in the class. */
  readonly number: number;
}

const BY_NAME: ReadonlyMap<string, RegisterReference> = new Map(
  NAMES.flatMap((names, registerClass) => names.map((name, number) => [name, { registerClass, number }] as const)),
);

/** The register of a name (lower case; `st` is `st(0)`), or `undefined`. */
export function registerOf(name: string): RegisterReference | undefined {
  return BY_NAME.get(name === "st" ? "st(0)" : name);
}

/** Class of the general registers that an address of `size` bytes (2, 4, 8) is made of. */
export function addressClass(size: number): number {
  if (size === 2) return REGISTER_CLASS.GPR16;
  return size === 4 ? REGISTER_CLASS.GPR32 : REGISTER_CLASS.GPR64;
}
