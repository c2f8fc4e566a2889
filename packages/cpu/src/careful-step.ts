import { type Instruction, OPCODES, OPERAND, PREFIX, REGISTER_CLASS } from "@paravirt/x86";
import { SINGLE_STEP } from "./debug-registers.ts";
import type { Engine } from "./engine.ts";
import { ENGINE, STATE, WATCH } from "./layout.ts";
import { EXIT, type Exit } from "./vcpu.ts";
import type { VirtualCpu } from "./virtual-cpu.ts";

const TRAP_FLAG = 0x100;
const RESUME_FLAG = 0x10000;
const ALIGNMENT_FLAG = 0x40000;
/** CR0.AM. */
const ALIGNMENT_MASK = 0x40000;
const ZERO_FLAG = 0x40n;
const FLAGS = STATE.eflags / 4;
const RCX = STATE.gpr / 8 + 1;
const STACK_SEGMENT = 2;
const REPEATS = PREFIX.REP | PREFIX.REPNE;

/** Whether flags ask for a look at each instruction: single step, or alignment checks where CR0 allows them. */
export function flagsNeedCare(words: Uint32Array): boolean {
  const flags = words[FLAGS]! & (TRAP_FLAG | ALIGNMENT_FLAG);
  return flags !== 0 && ((flags & TRAP_FLAG) !== 0 || (words[STATE.cr0 / 4]! & ALIGNMENT_MASK) !== 0);
}

/** Forgets RF: it holds for one instruction, and only the look at single instructions minds it. */
export function dropResumeFlag(words: Uint32Array): void {
  words[FLAGS] = words[FLAGS]! & ~RESUME_FLAG;
}

/** What single-stepped execution adds to an instruction: TF, RF, alignment checks, breakpoints, repetitions one by one. */
export class CarefulStep {
  private readonly engine: Engine;
  private rip = 0n;
  private trap = false;
  private resumes = false;
  /** The prefixes of a repeated string instruction of which one repetition is executed. */
  private repeats = 0;
  /** Holds back debug exceptions until the next instruction is done: MOV SS and POP SS. */
  private shadows = false;
  private returns = false;
  private compares = false;
  private addressSize = 8;
  /** The repeated instruction that was executed last has repetitions left. */
  unfinished = false;

  constructor(engine: Engine) {
    this.engine = engine;
  }

  /** Before the instruction is even fetched: DR6 bits of breakpoints on it, 0 when it may go on. */
  begin(vcpu: VirtualCpu, rip: bigint): number {
    const flags = this.engine.memory.words[FLAGS]!;
    this.rip = rip;
    this.trap = (flags & TRAP_FLAG) !== 0;
    this.resumes = (flags & RESUME_FLAG) !== 0;
    return vcpu.debug.armed && !this.resumes ? vcpu.debug.executed(rip) : 0;
  }

  /** The instruction is decoded and about to be executed; may make one repetition of it. */
  start(vcpu: VirtualCpu, instruction: Instruction): void {
    const { words, quads } = this.engine.memory;
    const row = OPCODES[instruction.row]!;
    const checks = (words[FLAGS]! & ALIGNMENT_FLAG) !== 0 && (words[STATE.cr0 / 4]! & ALIGNMENT_MASK) !== 0;
    const watch = (checks ? WATCH.ALIGNMENT : 0) | (vcpu.debug.watchesData ? WATCH.LOG : 0);
    words[ENGINE.watch / 4] = watch;
    words[ENGINE.accessCount / 4] = 0;
    this.shadows = (row.name === "mov" || row.name === "pop") && loadsStackSegment(instruction);
    this.returns = row.name === "iret";
    this.repeats = 0;
    if (
      (instruction.prefixes & REPEATS) === 0 ||
      !isString(instruction) ||
      (watch === 0 && !this.trap && !vcpu.limited)
    )
      return;
    this.addressSize = instruction.addressSize;
    if (BigInt.asUintN(this.addressSize * 8, quads[RCX]!) === 0n) return;
    this.compares = row.name === "cmps" || row.name === "scas";
    this.repeats = instruction.prefixes & REPEATS;
    instruction.prefixes &= ~REPEATS;
  }

  /** The instruction is over, with `exit`: adds the debug exception that follows it, if one does. */
  finish(vcpu: VirtualCpu, exit: Exit): Exit {
    const { engine } = this;
    const { words } = engine.memory;
    const isLogged = (words[ENGINE.watch / 4]! & WATCH.LOG) !== 0;
    words[ENGINE.watch / 4] = 0;
    this.unfinished = false;
    if (exit.reason !== EXIT.BUDGET) return exit;
    if (this.repeats !== 0) this.repeat(vcpu);
    if (this.resumes && !this.returns) dropResumeFlag(words);
    const hits = (isLogged ? vcpu.debug.touched(engine.memory) : 0) | (this.trap ? SINGLE_STEP : 0);
    if (this.shadows) {
      // Only what the instruction itself touched is remembered; the next one traps by itself.
      vcpu.pendingDebug = hits & ~SINGLE_STEP;
      return exit;
    }
    const all = hits | vcpu.pendingDebug;
    vcpu.pendingDebug = 0;
    return all === 0 ? exit : engine.leaveWithDebug(vcpu, vcpu.ripValue, all);
  }

  /** One repetition is done: counts it, and goes back to the instruction while there are more. */
  private repeat(vcpu: VirtualCpu): void {
    const { memory, exports } = this.engine;
    const { quads } = memory;
    const bits = this.addressSize * 8;
    const before = quads[RCX]!;
    const count = BigInt.asUintN(bits, before - 1n);
    quads[RCX] = this.addressSize === 2 ? (before & ~0xffffn) | count : count;
    const isZero = (exports.readFlags() & ZERO_FLAG) !== 0n;
    const ends = this.compares && isZero !== ((this.repeats & PREFIX.REP) !== 0);
    if (count === 0n || ends) return;
    vcpu.ripValue = this.rip;
    this.unfinished = true;
  }
}

function isString(instruction: Instruction): boolean {
  return instruction.kinds.includes(OPERAND.STRING_SOURCE) || instruction.kinds.includes(OPERAND.STRING_DESTINATION);
}

function loadsStackSegment(instruction: Instruction): boolean {
  return (
    instruction.kinds[0] === OPERAND.REGISTER &&
    instruction.classes[0] === REGISTER_CLASS.SEGMENT &&
    instruction.registers[0] === STACK_SEGMENT
  );
}
