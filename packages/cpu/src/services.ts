import { OPERAND, PREFIX } from "@paravirt/x86";
import type { Engine } from "./engine.ts";
import { ACCESS, ENGINE, RECORD, STATE } from "./layout.ts";
import { operandByte, SERVICE_RESULT, type Service } from "./service.ts";
import { AVX_SERVICES } from "./services-avx.ts";
import { FLAG_SERVICES } from "./services-flags.ts";
import { FPU_SERVICES } from "./services-fpu.ts";
import { LEGACY_SERVICES } from "./services-legacy.ts";
import { SIMD_SERVICES } from "./services-simd.ts";
import { TRANSCENDENTAL_SERVICES } from "./services-transcendental.ts";
import { X87_SERVICES } from "./services-x87.ts";
import { inUse } from "./services-xsave.ts";
import { EXIT } from "./vcpu.ts";

const { NEXT, JUMP, FAULT, LEAVE, LEAVE_AFTER } = SERVICE_RESULT;
const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;
const GENERAL_PROTECTION = 13;
const NESTED_TASK = 0x4000;
const UNDEFINED = 6;

function setRegister32(engine: Engine, number: number, value: number): void {
  engine.memory.quads[(STATE.gpr + number * 8) / 8] = BigInt(value >>> 0);
}

function register(engine: Engine, number: number): number {
  return engine.memory.words[(STATE.gpr + number * 8) / 4]!;
}

const cpuid: Service = (engine) => {
  const out = engine.cpuidResult;
  engine.ports.cpuid(engine.current, register(engine, RAX), register(engine, RCX), out);
  setRegister32(engine, RAX, out[0]!);
  setRegister32(engine, RBX, out[1]!);
  setRegister32(engine, RCX, out[2]!);
  setRegister32(engine, RDX, out[3]!);
  return NEXT;
};

const rdpid: Service = (engine, record) => {
  engine.memory.quads[engine.memory.words[(record + RECORD.a) / 4]! / 8] = BigInt(engine.current.tscAux);
  return NEXT;
};

/** The vector of INT n is in the immediate. */
function interrupt(vector: number | undefined): Service {
  return (engine, record) => {
    engine.exit.reason = EXIT.INTERRUPT;
    engine.exit.vector = vector ?? engine.memory.bytes[record + RECORD.immediate]!;
    engine.exit.length = engine.memory.bytes[record + RECORD.length]!;
    return LEAVE;
  };
}

const into: Service = (engine, record) => {
  if ((engine.exports.readFlags() & 0x800n) === 0n) return NEXT;
  return interrupt(4)(engine, record);
};

const syscall: Service = (engine) => {
  engine.exit.reason = EXIT.SYSCALL;
  return LEAVE_AFTER;
};

const sysenter: Service = (engine) => {
  engine.exit.reason = EXIT.SYSENTER;
  return LEAVE_AFTER;
};

/** RDRAND and RDSEED: CF tells success, the other status flags are cleared. */
const random: Service = (engine, record) => {
  const instruction = engine.decodeRecord(record);
  const size = instruction.sizes[0]!;
  const value = engine.ports.random();
  const at = engine.memory.words[(record + RECORD.a) / 4]!;
  if (size === 2) engine.memory.view.setUint16(at, Number(value & 0xffffn), true);
  else engine.memory.quads[at / 8] = BigInt.asUintN(size * 8, value);
  engine.exports.loadFlags(1n);
  return NEXT;
};

const xgetbv: Service = (engine) => {
  const { current } = engine;
  if ((current.cr4 & 0x40000n) === 0n) return engine.setFault(UNDEFINED, 0);
  const index = register(engine, RCX);
  if (index > 1) return engine.setFault(GENERAL_PROTECTION, 0);
  const value = index === 0 ? current.xcr0 : current.xcr0 & inUse(engine);
  setRegister32(engine, RAX, Number(value & 0xffffffffn));
  setRegister32(engine, RDX, Number(value >> 32n));
  return NEXT;
};

/** MOV to a segment register, from a general one or memory. */
const movSegment: Service = (engine, record) => {
  const instruction = engine.decodeRecord(record);
  const { memory } = engine;
  let selector: number;
  if (instruction.kinds[1] === OPERAND.MEMORY) {
    const at = engine.operand(record, 2, ACCESS.READ);
    if (at === 0) return FAULT;
    selector = memory.view.getUint16(at, true);
  } else selector = memory.view.getUint16(memory.words[(record + RECORD.b) / 4]!, true);
  return engine.loadSegmentRegister(instruction.registers[0]!, selector);
};

const pushSegment: Service = (engine, record) => {
  const instruction = engine.decodeRecord(record);
  const size = instruction.operandSize;
  const selector = engine.current.selectors[instruction.registers[0]!]!;
  return engine.push(BigInt(selector), size) ? NEXT : FAULT;
};

const popSegment: Service = (engine, record) => {
  const instruction = engine.decodeRecord(record);
  const value = engine.peek(0, instruction.operandSize);
  if (value === undefined) return FAULT;
  const result = engine.loadSegmentRegister(instruction.registers[0]!, Number(value & 0xffffn));
  if (result === NEXT) engine.dropStack(instruction.operandSize);
  return result;
};

/** IRET within the same privilege, or to it: SDM 2A, IRET/IRETD. In 64-bit mode RSP and SS always come off the stack. */
const iret: Service = (engine, record) => {
  // There are no task returns in IA-32e mode.
  if ((engine.memory.words[STATE.eflags / 4]! & NESTED_TASK) !== 0) return engine.setFault(GENERAL_PROTECTION, 0);
  const instruction = engine.decodeRecord(record);
  const size = instruction.operandSize;
  const wide = engine.current.mode === 64;
  const values: bigint[] = [];
  // AMD's processors look at the flags first: CR2 tells.
  for (const i of wide ? [2, 1, 0, 4, 3] : [2, 1, 0]) {
    const value = engine.peek(i * size, size);
    if (value === undefined) return FAULT;
    values[i] = value;
  }
  const [rip, cs, flags, rsp, ss] = values as [bigint, bigint, bigint, bigint, bigint];
  if (!wide && (cs & 3n) !== 3n && engine.peek(4 * size, size) === undefined) return FAULT;
  const result = engine.farTransfer(Number(cs & 0xffffn), rip, wide ? { rsp, ss: Number(ss & 0xffffn) } : undefined);
  if (result !== JUMP) return result;
  if (!wide) engine.dropStack(size * 3);
  engine.setFlagsAtUserLevel(flags, size);
  return JUMP;
};

const retFar: Service = (engine, record) => {
  const instruction = engine.decodeRecord(record);
  const size = instruction.operandSize;
  const rip = engine.peek(0, size);
  const cs = engine.peek(size, size);
  if (rip === undefined || cs === undefined) return FAULT;
  const extra = instruction.operandCount > 0 ? instruction.immediate & 0xffff : 0;
  // A return to another level would look for the new SS first.
  if ((cs & 3n) !== 3n && engine.peek(size * 3 + extra, size) === undefined) return FAULT;
  const result = engine.farTransfer(Number(cs & 0xffffn), rip, undefined);
  if (result === JUMP) engine.dropStack(size * 2 + extra);
  return result;
};

/** Reads the far pointer operand: offset, then selector. */
function farPointer(engine: Engine, record: number): { offset: bigint; selector: number } | undefined {
  const instruction = engine.decodeRecord(record);
  if (instruction.kinds[0] === OPERAND.FAR)
    return { offset: BigInt(instruction.immediate >>> 0), selector: instruction.immediate2 & 0xffff };
  return readFarPointer(engine, record, instruction.operandSize);
}

/** An offset of `size` bytes, then a selector; `undefined` with the fault set. */
function readFarPointer(
  engine: Engine,
  record: number,
  size: number,
): { offset: bigint; selector: number } | undefined {
  const offset = engine.readLinear(engine.exports.operandAddress(record), size);
  if (offset === undefined) return undefined;
  const selector = engine.readLinear(operandByte(engine, record, size), 2);
  return selector === undefined ? undefined : { offset, selector: Number(selector) };
}

/** LES, LDS, LSS, LFS, LGS: the segment register first, since it may fault. */
function loadFar(segment: number): Service {
  return (engine, record) => {
    const size = engine.decodeRecord(record).sizes[0]!;
    const pointer = readFarPointer(engine, record, size);
    if (pointer === undefined) return FAULT;
    const result = engine.loadSegmentRegister(segment, pointer.selector);
    if (result !== NEXT) return result;
    const { memory } = engine;
    const register = memory.words[(record + RECORD.a) / 4]!;
    if (size === 2) memory.view.setUint16(register, Number(pointer.offset), true);
    else memory.quads[register / 8] = pointer.offset;
    return NEXT;
  };
}

/** Jumps and calls may name any RPL, CS gets that of CPL 3; returns must name 3. */
const jmpFar: Service = (engine, record) => {
  const pointer = farPointer(engine, record);
  return pointer === undefined ? FAULT : engine.farTransfer(pointer.selector | 3, pointer.offset, undefined);
};

/** Whether a write there would not fault; else the fault is set. */
function isWritable(engine: Engine, address: bigint, size: number): boolean {
  const at = engine.exports.translate(engine.wrapStack(address), size, ACCESS.WRITE);
  engine.memory.words[ENGINE.commitCount / 4] = 0;
  engine.memory.words[ENGINE.codeWriteCount / 4] = 0;
  return at !== 0;
}

const callFar: Service = (engine, record) => {
  const pointer = farPointer(engine, record);
  if (pointer === undefined) return FAULT;
  // With REX.W AMD's processors push 64 bits, though the pointer in memory has 32.
  const instruction = engine.decodeRecord(record);
  const size = instruction.prefixes & PREFIX.REX_W ? 8 : instruction.operandSize;
  const returnTo = engine.ripOf(record) + BigInt(engine.memory.bytes[record + RECORD.length]!);
  const stack = engine.memory.quads[(STATE.gpr + 4 * 8) / 8]!;
  const cs = engine.current.selectors[1]!;
  const { current } = engine;
  const before = current.mode;
  const result = engine.farTransfer(pointer.selector | 3, pointer.offset, undefined);
  if (result !== JUMP) return result;
  // The target is good; the stack must be writable, too, before anything is pushed.
  // It is pushed to as the new code segment's mode has it.
  if ([1n, 2n].some((slots) => !isWritable(engine, stack - slots * BigInt(size), size))) {
    engine.memory.view.setUint16(STATE.selectors + 2, cs, true);
    current.segments.load(1, engine.ports.readDescriptor(current, cs));
    current.mode = before;
    return FAULT;
  }
  engine.push(BigInt(cs), size);
  engine.push(returnTo, size);
  return JUMP;
};

/** ENTER: nesting levels copy the enclosing frame pointers. */
const enter: Service = (engine, record) => {
  const instruction = engine.decodeRecord(record);
  const size = instruction.operandSize;
  const level = instruction.immediate2 & 31;
  const { quads } = engine.memory;
  const stackAt = (STATE.gpr + 4 * 8) / 8;
  const baseAt = (STATE.gpr + 5 * 8) / 8;
  const stack = quads[stackAt]!;
  const base = quads[baseAt]!;
  const undo = () => {
    quads[stackAt] = stack;
    return FAULT;
  };
  if (!engine.push(BigInt.asUintN(size * 8, base), size)) return undo();
  const frame = quads[stackAt]!;
  for (let i = 1; i < level; i++) {
    const value = engine.readLinear(base - BigInt(size * i), size);
    if (value === undefined || !engine.push(value, size)) return undo();
  }
  if (level > 0 && !engine.push(BigInt.asUintN(size * 8, frame), size)) return undo();
  const top = engine.wrapStack(quads[stackAt]! - BigInt(instruction.immediate & 0xffff));
  // The new top must be writable, though nothing is written to it.
  if (!isWritable(engine, top, size)) return undo();
  quads[stackAt] = top;
  if (size === 2) engine.memory.view.setUint16(STATE.gpr + 5 * 8, Number(frame & 0xffffn), true);
  else quads[baseAt] = frame;
  return NEXT;
};

/** SGDT, SIDT, SLDT, STR and SMSW fault at CPL 3, as with CR4.UMIP: there are no tables whose addresses a guest could learn. */
const storeSystemTable: Service = (engine) => engine.setFault(GENERAL_PROTECTION, 0);

/** LAR, LSL, VERR, VERW: ZF tells whether the selector may be used at CPL 3. */
function inspectSelector(kind: "lar" | "lsl" | "verr" | "verw"): Service {
  return (engine, record) => {
    const instruction = engine.decodeRecord(record);
    const operandIndex = kind === "lar" || kind === "lsl" ? 1 : 0;
    const { memory } = engine;
    let selector: number;
    if (instruction.kinds[operandIndex] === OPERAND.MEMORY) {
      const at = engine.operand(record, 2, ACCESS.READ);
      if (at === 0) return FAULT;
      selector = memory.view.getUint16(at, true);
    } else selector = memory.view.getUint16(memory.words[(record + (operandIndex ? RECORD.b : RECORD.a)) / 4]!, true);
    const descriptor = (selector & 0xfffc) === 0 ? undefined : engine.ports.readDescriptor(engine.current, selector);
    const value = descriptor === undefined ? undefined : usable(descriptor, selector, kind);
    const flags = engine.exports.readFlags();
    engine.exports.loadFlags(value === undefined ? flags & ~0x40n : flags | 0x40n);
    if (value !== undefined && operandIndex === 1) {
      const at = memory.words[(record + RECORD.a) / 4]!;
      if (instruction.sizes[0] === 2) memory.view.setUint16(at, value & 0xffff, true);
      else memory.quads[at / 8] = BigInt(value >>> 0);
    }
    return NEXT;
  };
}

/** SDM 2A, LAR/LSL/VERR: the value to return, or `undefined` when the selector can't be used at CPL 3. */
function usable(descriptor: bigint, selector: number, kind: "lar" | "lsl" | "verr" | "verw"): number | undefined {
  const high = Number(descriptor >> 32n);
  const system = (high & 0x1000) === 0;
  const type = (high >> 8) & 15;
  const code = !system && (type & 8) !== 0;
  const conforming = code && (type & 4) !== 0;
  const dpl = (high >> 13) & 3;
  if (!conforming && (dpl < 3 || dpl < (selector & 3))) return undefined;
  if (kind === "verr") return system || (code && (type & 2) === 0) ? undefined : 1;
  if (kind === "verw") return system || code || (type & 2) === 0 ? undefined : 1;
  const allowed = kind === "lar" ? [1, 2, 3, 4, 5, 9, 11, 12] : [1, 2, 3, 9, 11];
  if (system && !allowed.includes(type)) return undefined;
  if (kind === "lar") return high & 0xffff00;
  const limit = (Number(descriptor & 0xffffn) | (high & 0xf0000)) >>> 0;
  return high & 0x800000 ? ((limit << 12) | 0xfff) >>> 0 : limit;
}

/** By the name of the definition. */
export const SERVICES: Readonly<Record<string, Service>> = {
  cpuid,
  rdpid,
  syscall,
  sysenter,
  int: interrupt(undefined),
  int3: interrupt(3),
  int1: interrupt(1),
  into,
  iret,
  "mov.segment": movSegment,
  "push.segment": pushSegment,
  "pop.segment": popSegment,
  "jmp.far": jmpFar,
  "call.far": callFar,
  retf: retFar,
  les: loadFar(0),
  lss: loadFar(2),
  lds: loadFar(3),
  lfs: loadFar(4),
  lgs: loadFar(5),
  enter,
  rdrand: random,
  rdseed: random,
  xgetbv,
  lar: inspectSelector("lar"),
  lsl: inspectSelector("lsl"),
  verr: inspectSelector("verr"),
  verw: inspectSelector("verw"),
  sgdt: storeSystemTable,
  sidt: storeSystemTable,
  sldt: storeSystemTable,
  str: storeSystemTable,
  smsw: storeSystemTable,
  ...FLAG_SERVICES,
  ...FPU_SERVICES,
  ...LEGACY_SERVICES,
  ...TRANSCENDENTAL_SERVICES,
  ...SIMD_SERVICES,
  ...AVX_SERVICES,
  ...X87_SERVICES,
};
