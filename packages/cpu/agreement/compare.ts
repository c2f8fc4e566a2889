import { AgreementMachine, type Outcome, type Style } from "./machine.ts";
import { assembleProgram, type Image, type Program } from "./program.ts";

const REGISTERS = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");
const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** The ways of execution that must agree. The first one is what the others are compared with. */
export const STYLES: readonly Style[] = [
  { name: "step by step", drive: "step", translate: false },
  { name: "interpreter", drive: "run", translate: false },
  { name: "translated as found", drive: "run", translate: true, sampleInterval: 23 },
  { name: "translated along paths", drive: "run", translate: true, sampleInterval: 97 },
  { name: "translated at once", drive: "run", translate: true, sampleInterval: 3000, force: true },
  { name: "translated, with steps between", drive: "mixed", translate: true, sampleInterval: 61, force: true },
];

/** A program on which two ways of execution differ. */
export interface Disagreement {
  /** The way that differs from the first one. */
  readonly style: string;
  /** What differs, one thing a line. */
  readonly differences: readonly string[];
}

/** Machines of all styles, used for one program after the other. */
export class Comparer {
  private readonly machines: readonly AgreementMachine[];

  constructor(styles: readonly Style[] = STYLES) {
    this.machines = styles.map((style) => new AgreementMachine(style));
  }

  /** Regions translated so far, all machines together. */
  get translated(): number {
    return this.machines.reduce((sum, machine) => sum + machine.engine.stats.blocksTranslated, 0);
  }

  /** Instructions executed so far, all machines together. */
  get instructions(): number {
    return this.machines.reduce((sum, machine) => sum + machine.engine.stats.instructions, 0);
  }

  /** Executes the program in all styles; `undefined` when they agree. */
  compare(program: Program, image: Image = assembleProgram(program)): Disagreement | undefined {
    const [reference, ...others] = this.machines;
    let { style } = reference!;
    try {
      let expected = reference!.execute(program, image);
      for (const machine of others) {
        ({ style } = machine);
        const outcome = machine.execute(program, image);
        // A program without end is cut at a branch: the reference goes exactly as far.
        const { stopped, instructions, events } = outcome;
        if (stopped === "limit" && (instructions !== expected.instructions || events.length !== expected.events.length))
          expected = reference!.execute(program, image, { instructions, events: events.length });
        const differences = differencesOf(expected, outcome);
        if (differences.length > 0) return { style: style.name, differences };
      }
      return undefined;
    } catch (error) {
      return { style: style.name, differences: [`the engine threw: ${(error as Error).stack ?? error}`] };
    }
  }
}

/** What differs between the reference's outcome and another's: the first event first. */
function differencesOf(expected: Outcome, outcome: Outcome): string[] {
  const lines: string[] = [];
  const note = (what: string, left: unknown, right: unknown) => {
    if (left !== right) lines.push(`${what}: ${left} expected, ${right} found`);
  };
  const noteRegisters = (left: BigUint64Array, right: BigUint64Array) => {
    for (const [index, name] of REGISTERS.entries()) note(name, hex(left[index]!), hex(right[index]!));
  };
  const events = Math.min(expected.events.length, outcome.events.length);
  for (let i = 0; i < events && lines.length === 0; i++) {
    const [left, right] = [expected.events[i]!, outcome.events[i]!];
    note("exit", left.text, right.text);
    noteRegisters(left.registers, right.registers);
    note("rflags", hex(left.flags), hex(right.flags));
    if (left.vectors !== right.vectors) lines.push("XMM registers differ");
    if (lines.length > 0) lines.unshift(`at exit ${i} (${left.text})`);
  }
  if (lines.length > 0) return lines;
  note("exits", expected.events.length, outcome.events.length);
  note("stopped by", expected.stopped, outcome.stopped);
  note("instructions", expected.instructions, outcome.instructions);
  note("rip", hex(expected.rip), hex(outcome.rip));
  note("mode", expected.mode, outcome.mode);
  noteRegisters(expected.registers, outcome.registers);
  note("rflags", hex(expected.flags), hex(outcome.flags));
  note("selectors", expected.selectors.join(" "), outcome.selectors.join(" "));
  note("segment bases", expected.bases.map(hex).join(" "), outcome.bases.map(hex).join(" "));
  for (let at = 0; at < 512; at++) note(`FXSAVE byte ${at}`, expected.fpu[at], outcome.fpu[at]);
  note("memory in use", expected.memory.length, outcome.memory.length);
  for (let at = 0; at < expected.memory.length && lines.length < 40; at++)
    note(`machine byte ${hex(expected.memoryStart + at)}`, expected.memory[at], outcome.memory[at]);
  return lines.slice(0, 40);
}
