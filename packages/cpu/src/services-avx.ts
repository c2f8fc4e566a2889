import { type Instruction, NO_REGISTER, OPERAND, PREFIX, REGISTER_CLASS } from "@paravirt/x86";
import type { Engine } from "./engine.ts";
import { ACCESS, ENGINE, RECORD, STATE, WATCH } from "./layout.ts";
import { FUSED } from "./semantics/avx-float.ts";
import { isScalar, typeOf } from "./semantics/simd-float.ts";
import { operandByte, SERVICE_RESULT, type Service } from "./service.ts";
import {
  dotProducts,
  FLOAT_OPERATIONS,
  type FloatOperation,
  fusedOperation,
  VEX_COMPARISONS,
} from "./simd-float-operations.ts";
import { DOUBLE, FloatContext, type Format, halfToSingle, SINGLE, singleToHalf } from "./soft-float.ts";

const SIMD_EXCEPTION = 19;
const SLOTS = [RECORD.a, RECORD.b, RECORD.c] as const;
const STATUS_FLAGS = 0x8d5n;

/** Machine address of operand `index`, 0 with the fault set. */
function addressOf(engine: Engine, record: number, instruction: Instruction, index: number): number {
  if (instruction.kinds[index] === OPERAND.MEMORY)
    return engine.operand(record, instruction.sizes[index] ?? 0, ACCESS.READ);
  return engine.memory.words[(record + SLOTS[index]!) / 4]!;
}

/** Ends a floating-point instruction: the exceptions that it raised are seen, and fault unless they are masked. */
function settle(engine: Engine, context: FloatContext): boolean {
  engine.memory.view.setUint32(STATE.mxcsr, context.mxcsr | context.seen, true);
  if (context.unmasked === 0) return true;
  engine.setFault(SIMD_EXCEPTION, 0);
  return false;
}

/** Stores a vector register and clears what lies above it. */
function storeVector(engine: Engine, at: number, value: Uint8Array): void {
  engine.memory.bytes.fill(0, at, at + 32);
  engine.memory.bytes.set(value, at);
}

const isVector = ({ kinds, classes }: Instruction, index: number): boolean =>
  kinds[index] === OPERAND.REGISTER && (classes[index] === REGISTER_CLASS.XMM || classes[index] === REGISTER_CLASS.YMM);

/** Executes the VEX form of a floating-point instruction exactly: `operation` on one half, or on both. */
const floatService =
  (operation: FloatOperation): Service =>
  (engine, record) => {
    const { memory } = engine;
    const instruction = engine.decodeRecord(record);
    const { kinds, sizes } = instruction;
    const context = new FloatContext(memory.view.getUint32(STATE.mxcsr, true));
    const three = kinds[2] === OPERAND.REGISTER || kinds[2] === OPERAND.MEMORY;
    const destination = addressOf(engine, record, instruction, 0);
    const first = addressOf(engine, record, instruction, three ? 1 : 0);
    const second = addressOf(engine, record, instruction, three ? 2 : 1);
    if (second === 0) return SERVICE_RESULT.FAULT;
    const halves = Math.max(sizes[0]!, sizes[1]!) === 32 ? 2 : 1;
    const toVector = isVector(instruction, 0);
    // Conversions that widen read eight bytes for each half, those that narrow leave eight.
    const stride = halves === 2 && sizes[three ? 2 : 1] === 16 ? 8 : 16;
    const outStride = halves === 2 && sizes[0] === 16 ? 8 : 16;
    const out = new Uint8Array(16);
    const result = new Uint8Array(32);
    const isGeneral = (index: number) => kinds[index] === OPERAND.REGISTER && !isVector(instruction, index);
    const general = isGeneral(0) ? 0 : three ? 2 : 1;
    let flags: number | undefined;
    for (let half = 0; half < halves; half++) {
      const made = operation({
        context,
        a: new DataView(memory.bytes.buffer, first + half * 16, 16),
        b: new DataView(memory.bytes.buffer, second + half * stride, 16),
        out: new DataView(out.buffer),
        immediate: memory.bytes[record + RECORD.immediate]!,
        size: sizes[general]! * 8,
      });
      flags = made.flags;
      // A scalar's upper bits are the first operand's.
      if (three && made.bytes < 16) result.set(memory.bytes.subarray(first, first + 16));
      result.set(out.subarray(0, Math.min(made.bytes, outStride)), half * outStride);
    }
    if (!settle(engine, context)) return SERVICE_RESULT.FAULT;
    if (flags !== undefined) engine.exports.loadFlags(BigInt(flags) & STATUS_FLAGS);
    else if (toVector) storeVector(engine, destination, result);
    else memory.bytes.set(result.subarray(0, 8), destination);
    return SERVICE_RESULT.NEXT;
  };

/** VDPPS and VDPPD. */
const dotProduct =
  (format: Format): Service =>
  (engine, record) => {
    const { memory } = engine;
    const instruction = engine.decodeRecord(record);
    const context = new FloatContext(memory.view.getUint32(STATE.mxcsr, true));
    const [destination, first, second] = [0, 1, 2].map((index) => addressOf(engine, record, instruction, index)) as [
      number,
      number,
      number,
    ];
    if (second === 0) return SERVICE_RESULT.FAULT;
    const { buffer } = memory.bytes;
    const result = new Uint8Array(instruction.sizes[0]!);
    const halves = [];
    for (let at = 0; at < result.length; at += 16)
      halves.push({
        a: new DataView(buffer, first + at, 16),
        b: new DataView(buffer, second + at, 16),
        out: new DataView(result.buffer, at, 16),
      });
    dotProducts(context, format, memory.bytes[record + RECORD.immediate]!, halves);
    if (!settle(engine, context)) return SERVICE_RESULT.FAULT;
    storeVector(engine, destination, result);
    return SERVICE_RESULT.NEXT;
  };

/** A fused multiplication and addition: see {@link FUSED}. */
const fusedService = (fused: (typeof FUSED)[number]): Service => {
  const scalar = isScalar(fused.kind);
  const format = typeOf(fused.kind) === "f32" ? SINGLE : DOUBLE;
  return (engine, record) => {
    const { memory } = engine;
    const instruction = engine.decodeRecord(record);
    const context = new FloatContext(memory.view.getUint32(STATE.mxcsr, true));
    const operands = [0, 1, 2].map((index) => addressOf(engine, record, instruction, index));
    if (operands[2] === 0) return SERVICE_RESULT.FAULT;
    const bytes = format.bits / 8;
    const size = scalar ? 16 : instruction.sizes[0]!;
    const lanes = scalar ? 1 : size / bytes;
    const result = memory.bytes.slice(operands[0]!, operands[0]! + size);
    const [a, b, c] = fused.order.map((index) => new DataView(memory.bytes.buffer, operands[index]!)) as [
      DataView,
      DataView,
      DataView,
    ];
    fusedOperation({ context, format, lanes, signs: fused.signs, a, b, c, out: new DataView(result.buffer) });
    if (!settle(engine, context)) return SERVICE_RESULT.FAULT;
    storeVector(engine, operands[0]!, result);
    return SERVICE_RESULT.NEXT;
  };
};

const fromHalf: Service = (engine, record) => {
  const { memory } = engine;
  const instruction = engine.decodeRecord(record);
  const context = new FloatContext(memory.view.getUint32(STATE.mxcsr, true));
  const source = addressOf(engine, record, instruction, 1);
  if (source === 0) return SERVICE_RESULT.FAULT;
  const size = instruction.sizes[0]!;
  const result = new DataView(new ArrayBuffer(size));
  for (let lane = 0; lane < size / 4; lane++)
    result.setUint32(lane * 4, halfToSingle(context, memory.view.getUint16(source + lane * 2, true)), true);
  if (!settle(engine, context)) return SERVICE_RESULT.FAULT;
  storeVector(engine, addressOf(engine, record, instruction, 0), new Uint8Array(result.buffer));
  return SERVICE_RESULT.NEXT;
};

const toHalf: Service = (engine, record) => {
  const { memory } = engine;
  const instruction = engine.decodeRecord(record);
  const { sizes } = instruction;
  const context = new FloatContext(memory.view.getUint32(STATE.mxcsr, true));
  const source = addressOf(engine, record, instruction, 1);
  const toMemory = instruction.kinds[0] === OPERAND.MEMORY;
  // Memory is looked at first: an exception of the operation comes after its faults.
  const destination = toMemory
    ? engine.operand(record, sizes[0]!, ACCESS.WRITE)
    : addressOf(engine, record, instruction, 0);
  if (destination === 0) return SERVICE_RESULT.FAULT;
  const control = memory.bytes[record + RECORD.immediate]!;
  const rounding = control & 4 ? context.rounding : control & 3;
  const result = new DataView(new ArrayBuffer(sizes[1]! / 2));
  for (let lane = 0; lane < sizes[1]! / 4; lane++)
    result.setUint16(lane * 2, singleToHalf(context, memory.view.getUint32(source + lane * 4, true), rounding), true);
  if (!settle(engine, context)) return SERVICE_RESULT.FAULT;
  const bytes = new Uint8Array(result.buffer);
  if (toMemory) {
    memory.bytes.set(bytes, destination);
    engine.commit();
  } else storeVector(engine, destination, bytes);
  return SERVICE_RESULT.NEXT;
};

/** Linear address of `offset` from the base of the record's segment, cut to the address size. */
function linear(engine: Engine, record: number, instruction: Instruction, offset: bigint): bigint {
  const { quads, words } = engine.memory;
  const base = quads[words[(record + RECORD.segment) / 4]! / 8]!;
  return engine.wrapStack(BigInt.asUintN(instruction.addressSize * 8, offset) + base);
}

/** Machine address of one lane, 0 with the fault set. Alignment is never checked. */
function translate(engine: Engine, address: bigint, size: number, access: number): number {
  const { words } = engine.memory;
  const watch = words[ENGINE.watch / 4]!;
  words[ENGINE.watch / 4] = watch & ~WATCH.ALIGNMENT;
  const at = engine.exports.translate(address, size, access);
  words[ENGINE.watch / 4] = watch;
  return at;
}

/** VMASKMOVPS and its like: lanes whose mask has its sign set; the others are not accessed. */
const masked =
  (size: 4 | 8): Service =>
  (engine, record) => {
    const { memory } = engine;
    const { bytes } = memory;
    const instruction = engine.decodeRecord(record);
    const isStore = instruction.kinds[0] === OPERAND.MEMORY;
    const length = instruction.sizes[0]!;
    const mask = memory.words[(record + RECORD.b) / 4]!;
    const register = memory.words[(record + (isStore ? RECORD.c : RECORD.a)) / 4]!;
    const chosen: number[] = [];
    for (let at = 0; at < length; at += size) if (bytes[mask + at + size - 1]! & 0x80) chosen.push(at);
    const addressAt = (at: number) => operandByte(engine, record, at);
    if (!isStore) {
      const result = new Uint8Array(length);
      for (const at of chosen) {
        const from = translate(engine, addressAt(at), size, ACCESS.READ);
        if (from === 0) return SERVICE_RESULT.FAULT;
        result.set(bytes.subarray(from, from + size), at);
      }
      storeVector(engine, register, result);
      return SERVICE_RESULT.NEXT;
    }
    // Nothing is written unless all lanes can be.
    for (const at of chosen)
      if (translate(engine, addressAt(at), size, ACCESS.WRITE) === 0) return SERVICE_RESULT.FAULT;
    for (const at of chosen) {
      const to = translate(engine, addressAt(at), size, ACCESS.WRITE);
      if (to === 0) return SERVICE_RESULT.FAULT;
      bytes.set(bytes.subarray(register + at, register + at + size), to);
      engine.commit();
    }
    return SERVICE_RESULT.NEXT;
  };

/** Gathers elements of `size` bytes by indices of `indexSize` bytes; each that is there clears its mask (SDM 2C, VPGATHERDD). */
const gather =
  (indexSize: 4 | 8, size: 4 | 8): Service =>
  (engine, record) => {
    const { memory } = engine;
    const { bytes, view, quads } = memory;
    const instruction = engine.decodeRecord(record);
    const wide = (instruction.prefixes & PREFIX.VEX_L) !== 0;
    const length = wide ? 32 : 16;
    const count = length / Math.max(indexSize, size);
    const destination = memory.words[(record + RECORD.a) / 4]!;
    const mask = memory.words[(record + RECORD.c) / 4]!;
    const indices = STATE.xmm + instruction.index * 32;
    let start = (BigInt(instruction.displacementHigh) << 32n) | BigInt(instruction.displacement >>> 0);
    if (instruction.base !== NO_REGISTER) start += quads[STATE.gpr / 8 + instruction.base]!;
    // Lanes before one that faults have a mask of zero, gathered or not.
    for (let i = 0; i < count; i++) {
      const at = mask + i * size;
      const isWanted = (bytes[at + size - 1]! & 0x80) !== 0;
      if (!isWanted) {
        bytes.fill(0, at, at + size);
        continue;
      }
      const index =
        indexSize === 4 ? BigInt(view.getInt32(indices + i * 4, true)) : view.getBigInt64(indices + i * 8, true);
      const address = linear(engine, record, instruction, start + (index << BigInt(instruction.scale)));
      const from = translate(engine, address, size, ACCESS.READ);
      if (from === 0) return SERVICE_RESULT.FAULT;
      bytes.copyWithin(destination + i * size, from, from + size);
      bytes.fill(0, at, at + size);
    }
    bytes.fill(0, mask, mask + 32);
    bytes.fill(0, destination + count * size, destination + 32);
    return SERVICE_RESULT.NEXT;
  };

/** By the name of the definition. */
export const AVX_SERVICES: Readonly<Record<string, Service>> = {
  ...Object.fromEntries(
    Object.entries({ ...FLOAT_OPERATIONS, ...VEX_COMPARISONS }).map(([name, operation]) => [
      `v${name}`,
      floatService(operation),
    ]),
  ),
  ...Object.fromEntries(FUSED.map((fused) => [fused.name, fusedService(fused)])),
  vdpps: dotProduct(SINGLE),
  vdppd: dotProduct(DOUBLE),
  vcvtph2ps: fromHalf,
  vcvtps2ph: toHalf,
  vmaskmovps: masked(4),
  vmaskmovpd: masked(8),
  vpmaskmovd: masked(4),
  vpmaskmovq: masked(8),
  vpgatherdd: gather(4, 4),
  vpgatherdq: gather(4, 8),
  vpgatherqd: gather(8, 4),
  vpgatherqq: gather(8, 8),
  vgatherdps: gather(4, 4),
  vgatherdpd: gather(4, 8),
  vgatherqps: gather(8, 4),
  vgatherqpd: gather(8, 8),
};
