import { type Instruction, OPCODES, OPERAND, PREFIX, SEGMENT } from "@paravirt/x86";
import type { Vcpu } from "../vcpu.ts";

/** Bytes of one port access. */
export type PortSize = 1 | 2 | 4;

/** The ports of a machine: what IN, OUT, INS and OUTS reach. */
export interface PortHandlers {
  /** Answers a read; only the lowest `size` bytes count. */
  read(port: number, size: PortSize): number;
  /** Takes a write. */
  write(port: number, size: PortSize, value: number): void;
}

/** How a port instruction ended: `again` means that a repeated one has more to do, `fault` that memory at `address` refused. */
export type PortOutcome =
  | { readonly kind: "done" }
  | { readonly kind: "again" }
  | { readonly kind: "fault"; readonly address: bigint; readonly write: boolean };

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RSI = 6;
const RDI = 7;
const DIRECTION = 0x400n;
/** Elements that a repeated instruction moves before it looks around. */
const ELEMENTS = 1024;
const NAMES: ReadonlySet<string> = new Set(["in", "out", "ins", "outs"]);

/** Whether `instruction` is IN, OUT, INS or OUTS, in any form. */
export function isPortInstruction(instruction: Instruction): boolean {
  return NAMES.has(OPCODES[instruction.row]?.name ?? "");
}

/** Executes a port instruction at RIP, which stays where it is. */
export function executePortInstruction(vcpu: Vcpu, instruction: Instruction, ports: PortHandlers): PortOutcome {
  switch (OPCODES[instruction.row]?.name) {
    case "in": {
      const size = instruction.sizes[0] as PortSize;
      setAccumulator(vcpu, size, ports.read(portOf(vcpu, instruction, 1), size));
      return { kind: "done" };
    }
    case "out": {
      const size = instruction.sizes[1] as PortSize;
      const value = Number(BigInt.asUintN(size * 8, vcpu.regs[RAX]!));
      ports.write(portOf(vcpu, instruction, 0), size, value);
      return { kind: "done" };
    }
    default:
      return executeString(vcpu, instruction, ports);
  }
}

/** The port is an immediate byte or DX. */
function portOf(vcpu: Vcpu, instruction: Instruction, index: number): number {
  return instruction.kinds[index] === OPERAND.IMMEDIATE
    ? instruction.immediate & 0xff
    : Number(vcpu.regs[RDX]! & 0xffffn);
}

/** AL and AX leave the rest of RAX alone, EAX clears its upper half. */
function setAccumulator(vcpu: Vcpu, size: PortSize, value: number): void {
  const { regs } = vcpu;
  const kept = size === 4 ? 0n : (regs[RAX]! >> BigInt(size * 8)) << BigInt(size * 8);
  regs[RAX] = kept | BigInt.asUintN(size * 8, BigInt(value));
}

function executeString(vcpu: Vcpu, instruction: Instruction, ports: PortHandlers): PortOutcome {
  const toMemory = OPCODES[instruction.row]?.name === "ins";
  const wanted = toMemory ? OPERAND.STRING_DESTINATION : OPERAND.STRING_SOURCE;
  const size = instruction.sizes[instruction.kinds.indexOf(wanted)] as PortSize;
  const repeated = (instruction.prefixes & (PREFIX.REP | PREFIX.REPNE)) !== 0;
  const register = toMemory ? RDI : RSI;
  const bits = instruction.addressSize * 8;
  const step = (vcpu.rflags & DIRECTION) === 0n ? BigInt(size) : BigInt(-size);
  const base = toMemory ? 0n : baseOf(vcpu, instruction.segment);
  const port = Number(vcpu.regs[RDX]! & 0xffffn);
  const element = new Uint8Array(size);
  const view = new DataView(element.buffer);
  for (let count = 0; count < ELEMENTS; count++) {
    if (repeated && BigInt.asUintN(bits, vcpu.regs[RCX]!) === 0n) return { kind: "done" };
    const address = BigInt.asUintN(vcpu.mode, BigInt.asUintN(bits, vcpu.regs[register]!) + base);
    if (toMemory) {
      // Before the port is read: a read may change a device, and must not be lost.
      const refused = [address, address + BigInt(size - 1)].find((at) => vcpu.translate(at, true) === 0);
      if (refused !== undefined) return { kind: "fault", address: refused, write: true };
      writeElement(view, size, ports.read(port, size));
      vcpu.write(address, element);
    } else {
      if (!vcpu.read(address, element)) return { kind: "fault", address, write: false };
      ports.write(port, size, readElement(view, size));
    }
    advance(vcpu, register, bits, step);
    if (!repeated) return { kind: "done" };
    advance(vcpu, RCX, bits, -1n);
  }
  return { kind: "again" };
}

function writeElement(view: DataView, size: PortSize, value: number): void {
  if (size === 1) view.setUint8(0, value);
  else if (size === 2) view.setUint16(0, value, true);
  else view.setUint32(0, value, true);
}

function readElement(view: DataView, size: PortSize): number {
  if (size === 1) return view.getUint8(0);
  return size === 2 ? view.getUint16(0, true) : view.getUint32(0, true);
}

/** In 64-bit mode only FS and GS have a base; flat segments have none anyway. */
function baseOf(vcpu: Vcpu, segment: number): bigint {
  if (segment === SEGMENT.FS) return vcpu.fsBase;
  return segment === SEGMENT.GS ? vcpu.gsBase : 0n;
}

/** A 16-bit address register keeps its upper bits, a 32-bit one loses them. */
function advance(vcpu: Vcpu, register: number, bits: number, by: bigint): void {
  const { regs } = vcpu;
  const old = regs[register]!;
  const next = BigInt.asUintN(bits, old + by);
  regs[register] = bits === 16 ? (old & ~0xffffn) | next : next;
}
