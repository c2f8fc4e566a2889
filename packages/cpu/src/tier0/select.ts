import {
  BASE_RIP,
  type Instruction,
  NO_REGISTER,
  OPCODES,
  OPERAND,
  PREFIX,
  REGISTER_CLASS,
  SEGMENT,
} from "@paravirt/x86";
import { nameAmong } from "../features.ts";
import { RECORD, STATE } from "../layout.ts";
import { type Handler, type HandlerTable, PSEUDO } from "./handlers.ts";

const REPEATABLE = new Set(["movs", "stos", "lods", "cmps", "scas", "ins", "outs"]);
/** Rows whose operand size is part of the definition's name. */
const SIZED_BY_OPERAND = new Set(["pushf", "popf", "ret", "leave", "cbw", "cwd"]);
const SIZED_BY_ADDRESS = new Set(["loop", "loope", "loopne", "jrcxz", "jcxz", "jecxz"]);
const BIT_TESTS = new Set(["bt", "bts", "btr", "btc"]);
const LETTER: Record<number, string> = {
  [REGISTER_CLASS.GPR8]: "r",
  [REGISTER_CLASS.GPR8_HIGH]: "r",
  [REGISTER_CLASS.GPR16]: "r",
  [REGISTER_CLASS.GPR32]: "r",
  [REGISTER_CLASS.GPR64]: "r",
  [REGISTER_CLASS.SEGMENT]: "g",
  [REGISTER_CLASS.CONTROL]: "c",
  [REGISTER_CLASS.DEBUG]: "d",
  [REGISTER_CLASS.ST]: "s",
  [REGISTER_CLASS.MMX]: "q",
  [REGISTER_CLASS.XMM]: "x",
  [REGISTER_CLASS.YMM]: "y",
};

/** The operand form of `instruction` as the definitions write it. */
export function shapeOf(instruction: Instruction): string {
  let shape = "";
  for (let i = 0; i < instruction.operandCount; i++) {
    const size = instruction.sizes[i] ?? 0;
    switch (instruction.kinds[i]) {
      case OPERAND.REGISTER: {
        const letter = LETTER[instruction.classes[i] ?? 0] ?? "?";
        shape += letter === "r" ? `r${size}` : letter;
        break;
      }
      case OPERAND.MEMORY:
        shape += `m${size}`;
        break;
      case OPERAND.IMMEDIATE:
      case OPERAND.IMMEDIATE2:
      case OPERAND.ONE:
        shape += "i";
        break;
      case OPERAND.RELATIVE:
        shape += "b";
        break;
      case OPERAND.FAR:
        shape += "p";
        break;
      default:
        shape += `t${size}`;
    }
  }
  return shape;
}

/** The definition's name for `instruction`: the row's, with what else decides the semantics. */
export function semanticName(instruction: Instruction): string {
  const row = OPCODES[instruction.row];
  if (row === undefined) return "invalid";
  const name = row.name;
  // Relative branches with 16-bit operand size cut their target.
  const short = instruction.kinds[0] === OPERAND.RELATIVE && instruction.operandSize === 2 ? ".16" : "";
  if (row.conditional) return `${name}.${instruction.condition}${short}`;
  if (REPEATABLE.has(name)) {
    if (instruction.prefixes & PREFIX.REP) return `rep.${name}`;
    if (instruction.prefixes & PREFIX.REPNE) return `repne.${name}`;
    return name;
  }
  if (SIZED_BY_OPERAND.has(name)) return `${name}.${instruction.operandSize}`;
  // A repeat prefix decides on the condition of LOOPE and LOOPNE, as it does for string instructions: measured, not documented.
  if (name === "loope" || name === "loopne") {
    const { prefixes } = instruction;
    const condition = prefixes & PREFIX.REP ? "loope" : prefixes & PREFIX.REPNE ? "loopne" : name;
    return `${condition}.${instruction.addressSize}${short}`;
  }
  if (SIZED_BY_ADDRESS.has(name)) return `${name.endsWith("cxz") ? "jrcxz" : name}.${instruction.addressSize}${short}`;
  const memory = instruction.kinds[0] === OPERAND.MEMORY;
  if (instruction.kinds[0] === OPERAND.FAR || row.operands[0] === "Mp") return `${name}.far`;
  if (name === "call" && instruction.kinds[0] === OPERAND.RELATIVE && instruction.operandSize !== 8)
    return `call.${instruction.operandSize}`;
  if (name === "jmp" && short !== "") return "jmp.16";
  if (name === "push" && instruction.kinds[0] === OPERAND.IMMEDIATE) return `push.immediate.${instruction.operandSize}`;
  if (name === "pop" && memory) return `pop.memory.${instruction.sizes[0]}`;
  if (BIT_TESTS.has(name) && memory && instruction.kinds[1] === OPERAND.REGISTER) return `${name}.string`;
  const segment = hasClass(instruction, REGISTER_CLASS.SEGMENT);
  if (
    segment &&
    name === "mov" &&
    !(instruction.kinds[0] === OPERAND.REGISTER && instruction.classes[0] === REGISTER_CLASS.SEGMENT)
  )
    return memory || instruction.classes[0] === REGISTER_CLASS.GPR16 ? "mov.from.segment" : "mov.from.segment.wide";
  if (segment && (name === "mov" || name === "push" || name === "pop")) return `${name}.segment`;
  if (name === "mov" && (hasClass(instruction, REGISTER_CLASS.CONTROL) || hasClass(instruction, REGISTER_CLASS.DEBUG)))
    return "mov.control";
  return name;
}

function hasClass(instruction: Instruction, registerClass: number): boolean {
  for (let i = 0; i < instruction.operandCount; i++)
    if (instruction.kinds[i] === OPERAND.REGISTER && instruction.classes[i] === registerClass) return true;
  return false;
}

/** Whether a compatibility-mode instruction writes through CS, which no code segment allows: #GP(0). */
function writesCode(instruction: Instruction): boolean {
  if (instruction.mode === 64) return false;
  const row = OPCODES[instruction.row];
  const index = instruction.kinds.indexOf(OPERAND.MEMORY);
  const access = index < 0 ? undefined : row?.access[index];
  // ARPL looks before it writes.
  if (row?.name === "arpl") return false;
  return access === "write" || access === "readwrite";
}

/** x87 and MMX instructions that don't wait report no exception before they touch memory. */
const NOT_WAITING = /^fn/;

/** Answers that the selector keeps at hand; a power of two. */
const RECENT = 4096;

/** Finds the handler of an instruction, remembering the answer for each row and form. */
export class Selector {
  readonly table: HandlerTable;
  private readonly cache = new Map<number, Map<number, Handler>>();
  /** In front of it: the last answer for each hash, since decoding asks once an instruction. */
  private readonly recentForms = new Float64Array(RECENT).fill(-1);
  private readonly recentOperands = new Float64Array(RECENT);
  private readonly recentHandlers: Handler[] = new Array(RECENT);
  readonly undefinedHandler: Handler;
  readonly gotoHandler: Handler;
  readonly decodeHandler: Handler;
  readonly checkHandler: Handler;
  private readonly protectedHandler: Handler;
  private readonly protectedWaitingHandler: Handler;
  /** Names and shapes that guest code used and no definition covers; they raise #UD. */
  readonly missing: Set<string> = new Set();

  private readonly features: ReadonlySet<string> | undefined;

  /** `features`, by their names in /proc/cpuinfo, hides the instructions of all others; without it none is hidden. */
  constructor(table: HandlerTable, features?: ReadonlySet<string>) {
    this.table = table;
    this.features = features;
    this.undefinedHandler = table.find(PSEUDO.undefined, "")!;
    this.gotoHandler = table.find(PSEUDO.goto, "")!;
    this.decodeHandler = table.find(PSEUDO.decode, "")!;
    this.checkHandler = table.find(PSEUDO.check, "")!;
    this.protectedHandler = table.find(PSEUDO.protected, "")!;
    this.protectedWaitingHandler = table.find(PSEUDO.protectedWaiting, "")!;
  }

  /** Raises #GP(0), after the exception that an x87 or MMX instruction reports first. */
  private protectedBy(instruction: Instruction): Handler {
    const row = OPCODES[instruction.row]!;
    const waits =
      (row.feature === "x87" && !NOT_WAITING.test(row.name)) || row.operands.some((code) => /^[PQ]/.test(code));
    return waits ? this.protectedWaitingHandler : this.protectedHandler;
  }

  select(instruction: Instruction): Handler {
    if (instruction.segment === SEGMENT.CS && writesCode(instruction)) return this.protectedBy(instruction);
    const form = formKey(instruction);
    const operands = operandKey(instruction);
    const slot = (Math.imul(instruction.row, 37) ^ instruction.condition ^ (operands % 65521)) & (RECENT - 1);
    if (this.recentForms[slot] === form && this.recentOperands[slot] === operands) return this.recentHandlers[slot]!;
    const handler = this.selectForm(instruction, form, operands);
    this.recentForms[slot] = form;
    this.recentOperands[slot] = operands;
    this.recentHandlers[slot] = handler;
    return handler;
  }

  private selectForm(instruction: Instruction, form: number, operands: number): Handler {
    let forms = this.cache.get(form);
    if (forms === undefined) {
      forms = new Map();
      this.cache.set(form, forms);
    }
    const known = forms.get(operands);
    if (known !== undefined) return known;
    const visible = this.features === undefined ? undefined : nameAmong(instruction, this.features);
    if (this.features !== undefined && visible === undefined) {
      forms.set(operands, this.undefinedHandler);
      return this.undefinedHandler;
    }
    const name = visible === "bsf" || visible === "bsr" ? visible : semanticName(instruction);
    let shape = shapeOf(instruction);
    // POP to memory, LEA-like and bit strings translate by themselves: the operand's size is in the name.
    // AMD's processors read 32 bits for a 16-bit destination, too.
    if (name === "movsxd") shape = shape.replace("m2", "m4");
    if (name.startsWith("pop.memory") || name === "lea" || name.endsWith(".string"))
      shape = shape.replace(/m\d+/, "m0");
    const handler = this.table.find(name, shape);
    if (handler === undefined) this.missing.add(`${name}:${shape}`);
    const chosen = handler ?? this.undefinedHandler;
    forms.set(operands, chosen);
    return chosen;
  }
}

/** Row, condition, prefixes and sizes in one exact integer. */
function formKey(instruction: Instruction): number {
  const size = 31 - Math.clz32(instruction.operandSize);
  const address = 31 - Math.clz32(instruction.addressSize);
  const repeat = (instruction.prefixes >> 1) & 3;
  const mode = instruction.mode === 64 ? 1 : 0;
  return (
    (instruction.row * 16 + instruction.condition) * 256 +
    ((((size & 7) << 2) | (address & 3)) << 3) +
    (repeat << 1) +
    mode
  );
}

/** Kinds, classes and sizes of the first four operands: 12 bits each, exact below 2^48. */
function operandKey(instruction: Instruction): number {
  const { kinds, classes, sizes, operandCount } = instruction;
  let key = 0;
  for (let i = 0; i < operandCount && i < 4; i++) {
    const kind = kinds[i] ?? 0;
    const registerClass = kind === OPERAND.REGISTER ? (classes[i] ?? 0) : 0;
    const size = sizes[i] ?? 0;
    const sizeCode =
      size <= 8
        ? size
        : size === 10
          ? 9
          : size === 16
            ? 10
            : size === 32
              ? 11
              : size === 64
                ? 12
                : size === 512
                  ? 13
                  : size < 64
                    ? 14
                    : 15;
    key = key * 4096 + (((kind << 4) | registerClass) << 4) + sizeCode;
  }
  return key * 8 + operandCount;
}

/** Address of the bytes of register `number` of `registerClass`. x87 registers give their number: TOP moves. */
export function registerAddress(registerClass: number, number: number): number {
  switch (registerClass) {
    case REGISTER_CLASS.GPR8_HIGH:
      return STATE.gpr + number * 8 + 1;
    case REGISTER_CLASS.XMM:
    case REGISTER_CLASS.YMM:
      return STATE.xmm + number * 32;
    case REGISTER_CLASS.MMX:
      return STATE.st + number * 16;
    case REGISTER_CLASS.GPR8:
    case REGISTER_CLASS.GPR16:
    case REGISTER_CLASS.GPR32:
    case REGISTER_CLASS.GPR64:
      return STATE.gpr + number * 8;
    default:
      return number;
  }
}

const SLOTS = [RECORD.a, RECORD.b, RECORD.c] as const;

/**
 * Writes the record of `instruction` at byte `at` of `view`. `offset` is the instruction's offset in its page.
 * Whether the main loop may execute it is left to the caller.
 */
export function writeRecord(
  view: DataView,
  at: number,
  instruction: Instruction,
  handler: Handler,
  offset: number,
): void {
  view.setUint32(at + RECORD.hot, handler.hot, true);
  view.setUint32(at + RECORD.slot, handler.slot, true);
  view.setUint8(at + RECORD.length, instruction.length);
  view.setUint16(at + RECORD.offset, offset, true);
  view.setUint32(at + RECORD.target, instruction.immediate2, true);
  let low = instruction.immediate;
  let high = instruction.immediateHigh;
  let hasMemory = false;
  for (let i = 0; i < instruction.operandCount; i++) {
    let address: number = at + RECORD.immediate;
    switch (instruction.kinds[i]) {
      case OPERAND.REGISTER:
        address = registerAddress(instruction.classes[i] ?? 0, instruction.registers[i] ?? 0);
        break;
      case OPERAND.IMMEDIATE2:
        address = at + RECORD.target;
        break;
      case OPERAND.ONE:
        low = 1;
        high = 0;
        break;
      case OPERAND.RELATIVE:
        // Branch targets are kept relative to the page, as RIP is.
        low = offset + instruction.length + instruction.immediate;
        high = low < 0 ? -1 : 0;
        view.setUint32(at + RECORD.target, 0, true);
        break;
      case OPERAND.MEMORY:
        hasMemory = true;
        break;
      case OPERAND.STRING_SOURCE:
      case OPERAND.STRING_DESTINATION:
        hasMemory = true;
        break;
    }
    // A fourth register, the mask of VBLENDVPS and its like, is where few instructions have a second immediate.
    const slot = i === 3 && instruction.kinds[i] === OPERAND.REGISTER ? RECORD.target : SLOTS[i];
    if (slot !== undefined) view.setUint32(at + slot, address, true);
  }
  view.setInt32(at + RECORD.immediate, low, true);
  view.setInt32(at + RECORD.immediate + 4, high, true);
  if (hasMemory) writeMemoryOperand(view, at, instruction, offset);
}

function writeMemoryOperand(view: DataView, at: number, instruction: Instruction, offset: number): void {
  let low = instruction.displacement;
  let high = instruction.displacementHigh;
  let base: number = STATE.zero;
  if (instruction.base === BASE_RIP) {
    base = STATE.ripBase;
    low = offset + instruction.length + instruction.displacement;
    high = low < 0 ? -1 : 0;
  } else if (instruction.base !== NO_REGISTER) base = STATE.gpr + instruction.base * 8;
  view.setUint32(at + RECORD.base, base, true);
  view.setUint32(
    at + RECORD.indexRegister,
    instruction.index === NO_REGISTER ? STATE.zero : STATE.gpr + instruction.index * 8,
    true,
  );
  view.setUint8(at + RECORD.scale, instruction.scale);
  view.setInt32(at + RECORD.displacement, low, true);
  view.setInt32(at + RECORD.displacement + 4, high, true);
  // Outside 64-bit mode every segment has a base; in it only FS and GS do.
  const segment = instruction.segment;
  const based = segment >= 4 || instruction.mode !== 64;
  view.setUint32(at + RECORD.segment, based ? STATE.segmentBase + segment * 8 : STATE.zero, true);
  const mask = instruction.addressSize;
  view.setUint32(at + RECORD.addressMask, mask === 2 ? 0xffff : 0xffffffff, true);
  view.setUint32(at + RECORD.addressMask + 4, mask === 8 ? 0xffffffff : 0, true);
}
