import { assemble } from "@paravirt/x86";
import { CODE_PAGES, PLACES } from "./places.ts";

/** Which piece of code a line belongs to. */
export type Section = "main" | "code32" | "functions" | "functionsTwo";

/** A line of a program: what shrinking may take away, unless it is pinned. */
export interface Line {
  readonly section: Section;
  /** One or more lines of assembly that stand or fall together. */
  readonly text: string;
  /** Labels and ends stay. */
  readonly pinned: boolean;
}

/** A program and all else that decides what it does. */
export interface Program {
  readonly seed: number;
  readonly lines: readonly Line[];
  /** Where in the first code page the program begins. */
  readonly offset: number;
  /** Whether `syscall` leads through an armed gate to the label `kernel` in the second address space. */
  readonly gate?: boolean;
}

/** A program's bytes. */
export interface Image {
  /** Bytes by section. */
  readonly sections: Readonly<Record<Section, Uint8Array>>;
  /** Addresses of all labels. */
  readonly symbols: ReadonlyMap<string, bigint>;
}

/** Lines of one section as source. */
export function sourceOf(program: Program, section: Section): string {
  return program.lines
    .filter((line) => line.section === section)
    .map((line) => line.text)
    .join("\n");
}

/** Assembles all sections; 32-bit code and functions lie at fixed places that the main part knows by name. */
export function assembleProgram(program: Program): Image {
  const address = BigInt(PLACES.code + program.offset);
  const main = assemble(sourceOf(program, "main"), { address });
  if (main.bytes.length > CODE_PAGES * 4096 - program.offset)
    throw new RangeError(`the program has ${main.bytes.length} bytes: more than its pages hold`);
  const symbols = Object.fromEntries(main.symbols);
  const part = (section: Section, at: number, mode: 64 | 32) =>
    assemble(sourceOf(program, section), { address: BigInt(at), mode, symbols }).bytes;
  return {
    sections: {
      main: main.bytes,
      code32: part("code32", PLACES.code32, 32),
      functions: part("functions", PLACES.functions, 64),
      functionsTwo: part("functionsTwo", PLACES.functions, 64),
    },
    symbols: main.symbols,
  };
}

/** The whole program as text, labels that nothing names left out. */
export function listing(program: Program): string {
  const all = program.lines.map((line) => line.text).join("\n");
  const named = (label: string) => all.split(label).length > 2;
  const parts: string[] = [];
  for (const section of ["main", "code32", "functions", "functionsTwo"] as const) {
    const lines = sourceOf(program, section)
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => !/^[\w]+:$/.test(line) || named(line.slice(0, -1)));
    if (lines.every((line) => line === "" || line.startsWith(".org") || line.includes(" = "))) continue;
    const address =
      section === "main" ? PLACES.code + program.offset : PLACES[section === "code32" ? section : "functions"];
    parts.push(
      `; ${section}, at 0x${address.toString(16)}`,
      ...lines.map((line) => (line.endsWith(":") ? line : `  ${line}`)),
    );
  }
  return parts.join("\n");
}
