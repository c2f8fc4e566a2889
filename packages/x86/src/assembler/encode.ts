import { decode, type Mode } from "../decode.ts";
import { Instruction, NO_REGISTER, REGISTER_CLASS } from "../instruction.ts";
import { FROM, type OperandShape, operandShape } from "../table/operand.ts";
import type { OpcodeRow } from "../table/parse.ts";
import { MULTIPLICATIONS, PREDICATES } from "../text/common.ts";
import { absoluteSize, addressBytes, fits, fitsSigned, pushValue } from "./address.ts";
import { ALIASES, type Candidate, candidatesOf } from "./candidates.ts";
import type { ImmediateOperand, MemoryOperand, SourceOperand } from "./operand.ts";

/** What stands before the mnemonic. */
export interface SourcePrefixes {
  readonly lock: boolean;
  /** F3, F2 or 0. */
  readonly repeat: number;
  /** 3E before an indirect branch. */
  readonly notrack: boolean;
  /** Operand size that `data16`, `data32`, `data64` ask for, in bytes; 0 for none. */
  readonly operandSize: number;
}

const PSEUDO = /^(v?cmp)([a-z_]+)([ps][sd])$/;

/** An instruction that was asked for. */
export interface Request {
  readonly mnemonic: string;
  readonly operands: readonly SourceOperand[];
  readonly prefixes: SourcePrefixes;
  /** `far` stands before the operand: an indirect or direct far branch. */
  readonly far: boolean;
  readonly mode: Mode;
  /** Address of the instruction. */
  readonly address: bigint;
  /** Shortest length that the answer may have: what it had in the pass before. */
  readonly minimum: number;
}

/** Why nothing was encoded. */
export type Refusal = "no-mnemonic" | "no-form" | "ambiguous-size";

const check = new Instruction();

/** The shortest encoding of a request, at least `minimum` long; every answer is checked by decoding it again. */
export function encode(request: Request): Uint8Array | Refusal {
  let { mnemonic, operands } = request;
  mnemonic = ALIASES[mnemonic] ?? mnemonic;
  const pseudo = PSEUDO.exec(mnemonic);
  const predicate = PREDICATES.indexOf(pseudo?.[2] ?? "");
  if (pseudo && predicate >= 0 && candidatesOf(mnemonic).length === 0) {
    mnemonic = pseudo[1]! + pseudo[3]!;
    operands = [...operands, constant(predicate)];
  }
  const product = /^(v?pclmul)([lh]q[lh]q)dq$/.exec(mnemonic);
  if (product) {
    mnemonic = `${product[1]}qdq`;
    operands = [...operands, constant(MULTIPLICATIONS.get(product[2]!) ?? 0)];
  }
  const list = candidatesOf(mnemonic);
  if (list.length === 0) return "no-mnemonic";
  let best: Uint8Array | undefined;
  const memory = operands.find((operand) => operand.kind === "memory");
  const sizes = new Set<number>();
  for (const candidate of list) {
    const encoded = encodeCandidate(candidate, { ...request, mnemonic, operands });
    if (encoded === undefined) continue;
    const { bytes, memorySize } = encoded;
    const length = decode(bytes, 0, bytes.length, request.mode, check);
    // XCHG EAX, EAX as 90 would be NOP, a VEX form with fields that another row claims would be that row.
    if (length !== bytes.length || check.row !== candidate.index) continue;
    if (memorySize > 0) sizes.add(memorySize);
    if (bytes.length >= request.minimum && (best === undefined || bytes.length < best.length)) best = bytes;
  }
  if (memory?.kind === "memory" && memory.size === 0 && sizes.size > 1) return "ambiguous-size";
  return best ?? "no-form";
}

const constant = (value: number): ImmediateOperand => ({
  kind: "immediate",
  value: { value: BigInt(value), symbolic: false, unknown: false },
  selector: undefined,
});

/** The operand slots that the source writes: a string instruction's accumulator, or all of its operands, may be left out. */
function shownSlots(row: OpcodeRow, count: number): readonly number[] | undefined {
  const all = row.operands.map((_, slot) => slot);
  if (all.length === count) return all;
  if (row.attributes.has("rep") || row.attributes.has("repe")) {
    if (count === 0) return [];
    const shown = all.filter((slot) => !/^(AL|rAX)$/.test(row.operands[slot]!));
    if (shown.length === count) return shown;
  }
  if (row.name === "xlatb" && count === 0) return [];
  return undefined;
}

/** Fields of an encoding while it is put together. */
interface Fields {
  reg: number;
  rm: number;
  opcodeLow: number;
  vvvv: number;
  is4: number;
  /** Byte registers that need a REX, or must not have one. */
  needsRex: boolean;
  forbidsRex: boolean;
  memory: MemoryOperand | undefined;
  memorySize: number;
  moffs: boolean;
  segment: number | undefined;
  addressSize: number;
  immediates: { size: number; value: bigint; relative: boolean }[];
}

function encodeCandidate(
  candidate: Candidate,
  request: Request,
): { bytes: Uint8Array; memorySize: number } | undefined {
  const { row, sizeIndex, l } = candidate;
  const { mode, prefixes } = request;
  const long = mode === 64;
  if (row.only !== 0 && (row.only === 64) !== long) return undefined;
  const sizePrefix = row.vex
    ? sizeIndex === 2 && !long && row.w < 0
      ? undefined
      : 0
    : sizePrefixOf(row, sizeIndex, mode);
  if (sizePrefix === undefined) return undefined;
  if (prefixes.operandSize !== 0) {
    if (prefixes.operandSize !== 2 << sizeIndex) return undefined;
  } else if (row.attributes.has("sized") && sizePrefix === 0x66) return undefined;
  if (prefixes.lock && !row.lockable) return undefined;
  // A far pointer written `selector:offset` needs no `far`.
  const pointer = request.operands.some((operand) => operand.kind === "immediate" && operand.selector !== undefined);
  if (row.attributes.has("far") !== (request.far || pointer)) return undefined;
  const slots = shownSlots(row, request.operands.length);
  if (slots === undefined) return undefined;
  const fields: Fields = {
    reg: Math.max(row.digit, 0),
    rm: 0,
    opcodeLow: 0,
    vvvv: 0,
    is4: 0,
    needsRex: false,
    forbidsRex: false,
    memory: undefined,
    memorySize: 0,
    moffs: false,
    segment: undefined,
    addressSize: row.addressSize,
    immediates: [],
  };
  for (const [place, slot] of slots.entries()) {
    const operand = request.operands[place]!;
    const code = row.operands[slot]!;
    const shape = operandShape(code, sizeIndex, l);
    if (!placeOperand(operand, shape, code, row, fields)) return undefined;
  }
  return emit(candidate, fields, sizePrefix, request);
}

/** 0x66, REX.W as 0x48, 0 for none; `undefined` where the row has no such operand size in this mode. */
function sizePrefixOf(row: OpcodeRow, sizeIndex: number, mode: Mode): number | undefined {
  const fixed66 = row.prefix === "66" && !row.attributes.has("opsize");
  if (mode !== 64) {
    if (sizeIndex === 2) return undefined;
    if ((mode === 32 ? 1 : 0) === sizeIndex) return 0;
    return fixed66 ? undefined : 0x66;
  }
  if (row.attributes.has("f64")) return sizeIndex === 2 ? 0 : undefined;
  if (row.attributes.has("d64")) return sizeIndex === 2 ? 0 : sizeIndex === 0 ? 0x66 : undefined;
  if (sizeIndex === 1) return 0;
  if (sizeIndex === 2) return 0x48;
  return fixed66 ? undefined : 0x66;
}

function placeOperand(
  operand: SourceOperand,
  shape: OperandShape,
  code: string,
  row: OpcodeRow,
  fields: Fields,
): boolean {
  const { from, registerClass, size } = shape;
  switch (operand.kind) {
    case "register":
      return placeRegister(operand.registerClass, operand.number, shape, row, fields);
    case "immediate":
      if (from === FROM.ONE) return operand.value.value === 1n && !operand.value.symbolic;
      return placeImmediate(operand, from, size, fields);
    case "memory":
      break;
  }
  const structure = size === 0 || size > 32 || size === 14 || size === 28 || code === "Ms";
  if (!structure && operand.size !== 0 && operand.size !== size) return false;
  fields.memorySize = structure ? 0 : size;
  if (operand.segment !== undefined && from !== FROM.DESTINATION) fields.segment = operand.segment;
  if (from === FROM.SOURCE || from === FROM.DESTINATION) {
    if (operand.base !== (from === FROM.SOURCE ? 6 : 7) || operand.index !== NO_REGISTER) return false;
    if (operand.displacement.value !== 0n || operand.displacement.symbolic) return false;
    fields.addressSize = operand.addressSize;
    return true;
  }
  if (from === FROM.XLAT) {
    fields.addressSize = operand.addressSize;
    return operand.base === 3 && operand.index === NO_REGISTER;
  }
  if (from === FROM.MOFFS) {
    if (operand.base !== NO_REGISTER || operand.index !== NO_REGISTER) return false;
    fields.moffs = true;
    fields.memory = operand;
    return true;
  }
  if (from !== FROM.RM && from !== FROM.RM8 && from !== FROM.RM_LOW3) return false;
  const vector = operand.indexClass === REGISTER_CLASS.XMM || operand.indexClass === REGISTER_CLASS.YMM;
  if (row.attributes.has("vsib") !== vector || registerClass === REGISTER_CLASS.ST) return false;
  fields.memory = operand;
  return true;
}

function placeRegister(
  registerClass: number,
  number: number,
  shape: OperandShape,
  row: OpcodeRow,
  fields: Fields,
): boolean {
  const { from } = shape;
  let encoded = number;
  if (from === FROM.REG8 || from === FROM.RM8 || from === FROM.OPCODE8) {
    if (registerClass === REGISTER_CLASS.GPR8_HIGH) {
      encoded += 4;
      fields.forbidsRex = true;
    } else if (registerClass !== REGISTER_CLASS.GPR8) return false;
    else if (number >= 4 && number < 8) fields.needsRex = true;
  } else if (shape.size === 0 && shape.registerClass === REGISTER_CLASS.GPR64) {
    // It holds an address: its size is the address size.
    if (registerClass < REGISTER_CLASS.GPR16 || registerClass > REGISTER_CLASS.GPR64) return false;
    fields.addressSize = 2 << (registerClass - REGISTER_CLASS.GPR16);
  } else if (registerClass !== shape.registerClass) return false;
  switch (from) {
    case FROM.REG:
    case FROM.REG8:
    case FROM.REG_LOW3:
    case FROM.SEGMENT:
    case FROM.CONTROL:
    case FROM.DEBUG:
      fields.reg = encoded;
      return true;
    case FROM.RM:
    case FROM.RM8:
    case FROM.RM_LOW3:
      fields.rm = encoded;
      return row.mod !== 1;
    case FROM.OPCODE:
    case FROM.OPCODE8:
      fields.opcodeLow = encoded;
      return true;
    case FROM.VVVV:
      fields.vvvv = encoded;
      return true;
    case FROM.IS4:
      fields.is4 = encoded;
      fields.immediates.push({ size: 1, value: BigInt(encoded << 4), relative: false });
      return true;
    case FROM.FIXED:
      return number === shape.number;
  }
  return false;
}

function placeImmediate(operand: ImmediateOperand, from: number, size: number, fields: Fields): boolean {
  const { value } = operand.value;
  const push = (bytes: number, ok: boolean, relative = false): boolean => {
    if (ok) fields.immediates.push({ size: bytes, value, relative });
    return ok;
  };
  if (from === FROM.FAR16 || from === FROM.FAR32) {
    if (operand.selector === undefined) return false;
    const bytes = from === FROM.FAR16 ? 2 : 4;
    push(bytes, true);
    fields.immediates.push({ size: 2, value: operand.selector, relative: false });
    return fits(value, bytes * 8) && fits(operand.selector, 16);
  }
  if (operand.selector !== undefined) return false;
  switch (from) {
    case FROM.IMM8_SIGNED:
      // Sign-extended to the operand: 0xffffffff is -1 for a 32-bit one.
      if (size === 1) return push(1, fits(value, 8));
      return push(1, fits(value, size * 8) && fitsSigned(BigInt.asIntN(size * 8, value), 8));
    case FROM.IMM8:
    case FROM.IMM8_SECOND:
      return push(1, fits(value, 8));
    case FROM.IMM16:
    case FROM.IMM16_SIGNED:
      return push(2, fits(value, 16));
    case FROM.IMM32:
      if (size === 4) return push(4, fits(value, 32));
      return push(4, fits(value, 64) && fitsSigned(BigInt.asIntN(64, value), 32));
    case FROM.IMM64:
      return push(8, fits(value, 64));
    case FROM.REL8:
      return push(1, true, true);
    case FROM.REL16:
      return push(2, true, true);
    case FROM.REL32:
      return push(4, true, true);
  }
  return false;
}

const SEGMENT_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
const MANDATORY: Readonly<Record<string, number>> = { "66": 0x66, f3: 0xf3, f2: 0xf2 };
function emit(
  candidate: Candidate,
  fields: Fields,
  sizePrefix: number,
  request: Request,
): { bytes: Uint8Array; memorySize: number } | undefined {
  const { row } = candidate;
  const { mode, prefixes } = request;
  const { memory } = fields;
  const long = mode === 64;
  const usual = mode / 8;
  const addressSize = fields.addressSize || memory?.addressSize || absoluteSize(memory, mode);
  if (long ? addressSize === 2 : addressSize === 8) return undefined;

  const bytes: number[] = [];
  if (prefixes.lock) bytes.push(0xf0);
  if (prefixes.notrack) bytes.push(0x3e);
  if (fields.segment !== undefined) bytes.push(SEGMENT_PREFIXES[fields.segment]!);
  if (addressSize !== usual) bytes.push(0x67);
  if (sizePrefix === 0x66) bytes.push(0x66);
  if (prefixes.repeat !== 0) bytes.push(prefixes.repeat);

  const address =
    memory === undefined || fields.moffs
      ? undefined
      : addressBytes(memory, addressSize, long, fields.reg, row.attributes.has("vsib"));
  if (address === "none") return undefined;
  const high = (number: number): number => (number >> 3) & 1;
  const rexB = address ? address.rexB : high(fields.rm) | high(fields.opcodeLow);
  const rexX = address ? address.rexX : 0;
  const rexR = high(fields.reg);
  const wide = row.vex ? candidate.w : sizePrefix === 0x48 ? 1 : 0;
  if (!long && (rexB | rexX | rexR | high(fields.vvvv) | high(fields.is4)) !== 0) return undefined;

  if (row.vex) {
    const pp = { any: 0, np: 0, "66": 1, f3: 2, f2: 3 }[row.prefix];
    const last = ((~fields.vvvv & 15) << 3) | (candidate.l << 2) | pp;
    if (row.map === 1 && (rexB | rexX | wide) === 0) bytes.push(0xc5, ((rexR ^ 1) << 7) | last);
    else bytes.push(0xc4, ((rexR ^ 1) << 7) | ((rexX ^ 1) << 6) | ((rexB ^ 1) << 5) | row.map, (wide << 7) | last);
  } else {
    const mandatory = MANDATORY[row.prefix];
    if (mandatory !== undefined && !(mandatory === 0x66 && sizePrefix === 0x66)) bytes.push(mandatory);
    const rex = (wide << 3) | (rexR << 2) | (rexX << 1) | rexB;
    if (rex !== 0 || fields.needsRex) {
      if (fields.forbidsRex || !long) return undefined;
      bytes.push(0x40 | rex);
    }
    if (row.map > 0) bytes.push(0x0f);
    if (row.map === 2) bytes.push(0x38);
    if (row.map === 3) bytes.push(0x3a);
  }
  bytes.push(row.opcode + candidate.condition + (row.span === 8 ? fields.opcodeLow & 7 : 0));
  let ripField = -1;
  if (row.modrm >= 0) bytes.push(row.modrm);
  else if (row.hasModrm) {
    if (address) {
      bytes.push(...address.bytes);
      if (address.ripRelative) ripField = bytes.length - 4;
    } else bytes.push(0xc0 | ((fields.reg & 7) << 3) | (fields.rm & 7));
  }
  if (fields.moffs) pushValue(bytes, memory!.displacement.value, addressSize);
  return finish(bytes, fields, ripField, request);
}

/** Appends the immediates, then fills what counts from the end of the instruction. */
function finish(
  bytes: number[],
  fields: Fields,
  ripField: number,
  request: Request,
): { bytes: Uint8Array; memorySize: number } | undefined {
  const { memory, immediates } = fields;
  const length = bytes.length + immediates.reduce((sum, immediate) => sum + immediate.size, 0);
  const next = request.address + BigInt(length);
  for (const { size, value, relative } of immediates) {
    let number = value;
    if (relative) {
      number = BigInt.asIntN(request.mode === 64 ? 64 : 32, value - next);
      // A branch with a 16-bit operand wraps at 64 KiB.
      if (size === 2 && (request.mode === 16 || request.prefixes.operandSize === 2)) number = BigInt.asIntN(16, number);
      if (!fitsSigned(number, size * 8)) return undefined;
    }
    pushValue(bytes, number, size);
  }
  if (ripField >= 0) {
    // A name in [rip+name] is what shall be reached; a bare number is the displacement itself.
    const { value, symbolic } = memory!.displacement;
    const distance = symbolic ? BigInt.asIntN(64, value - next) : value;
    if (!fitsSigned(distance, 32)) return undefined;
    for (let byte = 0; byte < 4; byte++) bytes[ripField + byte] = Number((distance >> BigInt(byte * 8)) & 0xffn);
  }
  return { bytes: Uint8Array.from(bytes), memorySize: fields.memorySize };
}
