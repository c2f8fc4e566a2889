import { type Instruction, OPERAND, PREFIX, REGISTER_CLASS, SEGMENT } from "@paravirt/x86";
import type { Engine } from "./engine.ts";
import { ACCESS, ENGINE, RECORD, STATE, WATCH } from "./layout.ts";
import { SERVICE_RESULT, type Service } from "./service.ts";
import { FLOAT_OPERATIONS, type FloatOperation } from "./simd-float-operations.ts";
import { FloatContext } from "./soft-float.ts";

const GENERAL_PROTECTION = 13;
const SIMD_EXCEPTION = 19;
const SLOTS = [RECORD.a, RECORD.b, RECORD.c] as const;
const STATUS_FLAGS = 0x8d5n;

/** Machine address of operand `index`; memory was translated before, so this can't fault. */
function addressOf(engine: Engine, record: number, instruction: Instruction, index: number): number {
  if (instruction.kinds[index] === OPERAND.MEMORY)
    return engine.operand(record, instruction.sizes[index] ?? 0, ACCESS.READ);
  return engine.memory.words[(record + SLOTS[index]!) / 4]!;
}

/** Executes a floating-point instruction exactly: what compiled code leaves to JavaScript. */
const floatService =
  (operation: FloatOperation): Service =>
  (engine, record) => {
    const { memory } = engine;
    const instruction = engine.decodeRecord(record);
    const mxcsr = memory.view.getUint32(STATE.mxcsr, true);
    const context = new FloatContext(mxcsr);
    const destination = addressOf(engine, record, instruction, 0);
    const source = addressOf(engine, record, instruction, 1);
    if (source === 0) return SERVICE_RESULT.FAULT;
    const out = new Uint8Array(16);
    const isGeneral = (index: number) =>
      instruction.kinds[index] === OPERAND.REGISTER && instruction.classes[index]! <= REGISTER_CLASS.GPR64;
    const result = operation({
      context,
      a: new DataView(memory.bytes.buffer, destination, 16),
      b: new DataView(memory.bytes.buffer, source, 16),
      out: new DataView(out.buffer),
      immediate: memory.bytes[record + RECORD.immediate]!,
      size: (isGeneral(0) ? instruction.sizes[0]! : instruction.sizes[1]!) * 8,
    });
    memory.view.setUint32(STATE.mxcsr, mxcsr | context.seen, true);
    if (context.unmasked !== 0) return engine.setFault(SIMD_EXCEPTION, 0);
    if (result.flags !== undefined) engine.exports.loadFlags(BigInt(result.flags) & STATUS_FLAGS);
    else if (isGeneral(0)) memory.bytes.set(out.subarray(0, 8), destination);
    else {
      memory.bytes.set(out.subarray(0, result.bytes), destination);
      if (instruction.classes[0] === REGISTER_CLASS.MMX) memory.view.setUint16(destination + 8, 0xffff, true);
    }
    return SERVICE_RESULT.NEXT;
  };

const RDI = 7;
/** MASKMOVQ and MASKMOVDQU: bytes whose mask byte has bit 7 set go to DS:rDI. */
const maskedStore: Service = (engine, record) => {
  const { memory } = engine;
  const instruction = engine.decodeRecord(record);
  const count = instruction.classes[0] === REGISTER_CLASS.MMX ? 8 : 16;
  const source = memory.words[(record + RECORD.a) / 4]!;
  const mask = memory.words[(record + RECORD.b) / 4]!;
  const wide = instruction.mode === 64;
  let address = BigInt.asUintN(instruction.addressSize * 8, memory.quads[STATE.gpr / 8 + RDI]!);
  if (!wide || instruction.segment >= 4) address += memory.quads[STATE.segmentBase / 8 + instruction.segment]!;
  address = BigInt.asUintN(wide ? 64 : 32, address);
  if (!wide && instruction.segment === SEGMENT.CS) return engine.setFault(GENERAL_PROTECTION, 0);
  // AMD's processors check the whole operand whatever the mask says, eight bytes at a time.
  // Alignment, where it is checked, is that of eight bytes.
  const watch = memory.words[ENGINE.watch / 4]!;
  if (engine.exports.translate(address, 8, ACCESS.WRITE) === 0) return SERVICE_RESULT.FAULT;
  memory.words[ENGINE.watch / 4] = watch & ~WATCH.ALIGNMENT;
  const at = engine.exports.translate(address, count, ACCESS.WRITE);
  memory.words[ENGINE.watch / 4] = watch;
  if (at === 0) return SERVICE_RESULT.FAULT;
  for (let i = 0; i < count; i++) if (memory.bytes[mask + i]! & 0x80) memory.bytes[at + i] = memory.bytes[source + i]!;
  engine.commit();
  return SERVICE_RESULT.NEXT;
};

const RAX = 0;
const RCX = 1;
const RDX = 2;

/** PCMPxSTRx, SDM 1 and 2B 4.1: compares the strings in two vectors; explicit lengths come from RAX and RDX. */
const compareStrings =
  (explicit: boolean, mask: boolean): Service =>
  (engine, record) => {
    const { memory } = engine;
    const instruction = engine.decodeRecord(record);
    const first = addressOf(engine, record, instruction, 0);
    const second = addressOf(engine, record, instruction, 1);
    if (second === 0) return SERVICE_RESULT.FAULT;
    const control = memory.bytes[record + RECORD.immediate]!;
    const width = control & 1 ? 2 : 1;
    const count = 16 / width;
    const sign = control & 2 ? 32 - width * 8 : 0;
    const read = (at: number): number[] => {
      const values: number[] = [];
      for (let i = 0; i < count; i++) {
        const value =
          width === 1 ? memory.bytes[at + i]! : memory.bytes[at + i * 2]! | (memory.bytes[at + i * 2 + 1]! << 8);
        values.push((value << sign) >> sign);
      }
      return values;
    };
    const a = read(first);
    const b = read(second);
    const wide = instruction.mode === 64 && (instruction.prefixes & PREFIX.REX_W) !== 0;
    const explicitLength = (register: number): number => {
      const value = memory.quads[STATE.gpr / 8 + register]!;
      const signed = wide ? BigInt.asIntN(64, value) : BigInt.asIntN(32, value);
      const magnitude = signed < 0n ? -signed : signed;
      return magnitude > BigInt(count) ? count : Number(magnitude);
    };
    const implicitLength = (values: readonly number[]): number => {
      const end = values.indexOf(0);
      return end < 0 ? count : end;
    };
    const lengthA = explicit ? explicitLength(RAX) : implicitLength(a);
    const lengthB = explicit ? explicitLength(RDX) : implicitLength(b);
    const raw = AGGREGATIONS[(control >> 2) & 3]!(a.slice(0, lengthA), b.slice(0, lengthB), count);
    const all = (1 << count) - 1;
    const valid = (1 << lengthB) - 1;
    const polarity = (control >> 4) & 3;
    const bits = (polarity === 1 ? ~raw : polarity === 3 ? raw ^ valid : raw) & all;
    if (mask) {
      const at = STATE.xmm;
      memory.bytes.fill(0, at, at + (instruction.prefixes & PREFIX.VEX ? 32 : 16));
      if (control & 0x40)
        for (let i = 0; i < 16; i++) memory.bytes[at + i] = (bits >> Math.floor(i / width)) & 1 ? 0xff : 0;
      else memory.view.setUint16(at, bits, true);
    } else {
      const index = bits === 0 ? count : control & 0x40 ? 31 - Math.clz32(bits) : 31 - Math.clz32(bits & -bits);
      memory.quads[STATE.gpr / 8 + RCX] = BigInt(index);
    }
    const flags =
      (bits === 0 ? 0 : 1) | (lengthB < count ? 0x40 : 0) | (lengthA < count ? 0x80 : 0) | (bits & 1 ? 0x800 : 0);
    engine.exports.loadFlags(BigInt(flags));
    return SERVICE_RESULT.NEXT;
  };

type Aggregation = (a: readonly number[], b: readonly number[], count: number) => number;
const bitsWhere = (length: number, test: (index: number) => boolean): number => {
  let bits = 0;
  for (let i = 0; i < length; i++) if (test(i)) bits |= 1 << i;
  return bits;
};
/** Equal any, ranges, equal each, equal ordered. */
const AGGREGATIONS: readonly Aggregation[] = [
  (a, b) => bitsWhere(b.length, (i) => a.includes(b[i]!)),
  (a, b) =>
    bitsWhere(b.length, (i) => {
      for (let j = 0; j + 1 < a.length; j += 2) if (b[i]! >= a[j]! && b[i]! <= a[j + 1]!) return true;
      return false;
    }),
  (a, b, count) =>
    bitsWhere(count, (i) => (i < a.length && i < b.length ? a[i] === b[i] : i >= a.length && i >= b.length)),
  (a, b, count) =>
    bitsWhere(count, (i) => {
      for (let j = 0; j < a.length && i + j < count; j++) if (i + j >= b.length || b[i + j] !== a[j]) return false;
      return true;
    }),
];

/** What SIMD instructions leave to JavaScript, by name of the definition. */
export const SIMD_SERVICES: Readonly<Record<string, Service>> = {
  ...Object.fromEntries(Object.entries(FLOAT_OPERATIONS).map(([name, operation]) => [name, floatService(operation)])),
  maskmovq: maskedStore,
  maskmovdqu: maskedStore,
  pcmpestrm: compareStrings(true, true),
  pcmpestri: compareStrings(true, false),
  pcmpistrm: compareStrings(false, true),
  pcmpistri: compareStrings(false, false),
  vmaskmovdqu: maskedStore,
  vpcmpestrm: compareStrings(true, true),
  vpcmpestri: compareStrings(true, false),
  vpcmpistrm: compareStrings(false, true),
  vpcmpistri: compareStrings(false, false),
};
