import { INVALID, type Instruction, NO_REGISTER, OPERAND, PREFIX, REGISTER_CLASS, SEGMENT } from "./instruction.ts";
import { OPCODES } from "./table/compile.ts";
import type { Access, Flow } from "./table/parse.ts";
import { branchTarget, indexName } from "./text/common.ts";
import { addressClass, registerName } from "./text/registers.ts";

/** One operand as the instruction uses it. */
export interface OperandInfo {
  /** An `OPERAND` value. */
  readonly kind: number;
  /** Which way it is used. */
  readonly access: Access;
  /** Bytes; 0 where memory has no size, as for LEA. */
  readonly size: number;
  /** Name of the register, for register operands. */
  readonly register: string | undefined;
}

/**
 * What an instruction does to flags, each a string of the letters `o d i t s z a p c`. A shift or rotate by a count of zero
 * and a REP CMPS or SCAS of none leave all of them as they were.
 */
export interface FlagsInfo {
  /** Read. */
  readonly tested: string;
  /** Set by the result. */
  readonly modified: string;
  /** Cleared. */
  readonly cleared: string;
  /** Set to one. */
  readonly set: string;
  /** Undefined afterwards. */
  readonly undefined: string;
}

/** What {@link instructionInfo} tells. */
export interface InstructionInfo {
  /** Explicit operands in Intel order. */
  readonly operands: readonly OperandInfo[];
  /** Registers read, explicitly, implicitly or in an address: general registers by their 64-bit names, vectors as written. */
  readonly reads: readonly string[];
  /** Registers written; a destination under a condition (CMOVcc) counts. */
  readonly writes: readonly string[];
  /** Access to the memory operands together; `undefined` when there is none. */
  readonly memory: Access | undefined;
  /** Use of the flags. */
  readonly flags: FlagsInfo;
  /** CPU feature it needs; `general` for what every x86-64 has. */
  readonly feature: string;
  /** How it changes the flow of control. */
  readonly flow: Flow;
  /** Target of a direct near branch. */
  readonly target: bigint | undefined;
  /** Needs CPL 0. */
  readonly privileged: boolean;
}

const CONDITION_FLAGS = ["o", "c", "z", "zc", "s", "p", "so", "zso"];

const isGeneral = (registerClass: number): boolean => registerClass <= REGISTER_CLASS.GPR64;
/** The 64-bit register that a general register is part of; AH to BH are part of the first four. */
function wholeName(registerClass: number, number: number): string {
  return isGeneral(registerClass) ? registerName(REGISTER_CLASS.GPR64, number) : registerName(registerClass, number);
}

/**
 * What a decoded instruction reads, writes and needs; `address` is where it stands, for its branch target.
 * Made for tools and tests: it allocates, unlike `decode`. Returns `undefined` for what is no instruction.
 */
export function instructionInfo(instruction: Instruction, address: bigint = 0n): InstructionInfo | undefined {
  if (instruction.invalid !== INVALID.VALID) return undefined;
  const row = OPCODES[instruction.row]!;
  const reads = new Set<string>(row.implicitReads.map(wholeImplicit));
  const writes = new Set<string>(row.implicitWrites.map(wholeImplicit));
  const operands: OperandInfo[] = [];
  let memory: Access | undefined;
  let target: bigint | undefined;
  for (let slot = 0; slot < instruction.operandCount; slot++) {
    const kind = instruction.kinds[slot]!;
    const access = row.access[slot]!;
    let register: string | undefined;
    if (kind === OPERAND.REGISTER) {
      const registerClass = instruction.classes[slot]!;
      register = registerName(registerClass, instruction.registers[slot]!);
      const name = wholeName(registerClass, instruction.registers[slot]!);
      if (access !== "write" && access !== "address") reads.add(name);
      // What is written in part keeps the rest: it depends on the old value.
      if (access === "write" && isGeneral(registerClass) && registerClass <= REGISTER_CLASS.GPR16) reads.add(name);
      if (access !== "read" && access !== "address") writes.add(name);
    } else if (kind === OPERAND.MEMORY || kind === OPERAND.STRING_SOURCE || kind === OPERAND.STRING_DESTINATION) {
      memory = joined(memory, access);
      if (kind === OPERAND.MEMORY) addressReads(instruction, reads);
    } else if (kind === OPERAND.RELATIVE) target = branchTarget(instruction, address);
    operands.push({ kind, access, size: instruction.sizes[slot]!, register });
  }
  const repeats = row.attributes.has("rep") || row.attributes.has("repe");
  if (repeats && instruction.prefixes & (PREFIX.REP | PREFIX.REPNE)) {
    reads.add("rcx");
    writes.add("rcx");
  }
  const tested = row.flagsTested + (row.conditional ? CONDITION_FLAGS[instruction.condition >> 1]! : "");
  return {
    operands,
    reads: [...reads],
    writes: [...writes],
    memory,
    flags: {
      tested,
      modified: row.flagsModified,
      cleared: row.flagsCleared,
      set: row.flagsSet,
      undefined: row.flagsUndefined,
    },
    feature: row.feature,
    flow: row.flow,
    target,
    privileged: row.privileged,
  };
}

const PARTS: Readonly<Record<string, string>> = { al: "rax", ah: "rax", ax: "rax" };
const wholeImplicit = (name: string): string => PARTS[name] ?? name;

function joined(left: Access | undefined, right: Access): Access {
  if (left === undefined || left === right) return right;
  return "readwrite";
}

function addressReads(instruction: Instruction, reads: Set<string>): void {
  const { base, index, segment } = instruction;
  const registerClass = addressClass(8);
  if (base !== NO_REGISTER && base < 16) reads.add(registerName(registerClass, base));
  if (index !== NO_REGISTER) {
    const name = indexName(instruction);
    reads.add(/^[xy]mm/.test(name) ? name : registerName(registerClass, index));
  }
  if (segment === SEGMENT.FS || segment === SEGMENT.GS) reads.add(segment === SEGMENT.FS ? "fs" : "gs");
}
