import { BASE_RIP, decode, Instruction, NO_REGISTER, OPCODES, OPERAND, type OpcodeRow } from "@paravirt/x86";
import { fpuImage, fpuOperand, integerOperand, upperHalves } from "./fpu-values.ts";
import { displacementBytes, hasMemory } from "./instructions.ts";
import { PLACE } from "./pages.ts";
import { type Case, type CasePage, FX, METHOD, type Patch, type ProcessorState } from "./processor-state.ts";
import { integer, Random } from "./values.ts";

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;
const RSP = 4;
const RBP = 5;
const RSI = 6;
const RDI = 7;
const UPPER_SEED = 0x2c1b3c6d;
const NON_CANONICAL = 0x800000000000n;
const HALF = 0xffff800000000000n;
const STATUS_FLAGS = 0x8d5n;
const DIRECTION = 0x400n;
const ALIGNMENT_CHECK = 0x40000n;
const CODE64 = 0x33;
const CODE32 = 0x23;
const DATA = 0x2b;
const STACK_ROWS = /^(push|pop|pusha|popa|pushf|popf|call|ret|retf|iret|leave|enter)$/;
/** Rows that store or hide TF, or go on after the first trap or fault (gathers): they end at a breakpoint. */
const BREAKPOINT_ROWS = /^(pushf|movs|cmps|stos|lods|scas|lss|vp?gather.*)$/;

/** A case with what the comparison wants to know of it. */
export interface MadeCase extends Case {
  /** The bytes that the case was made of. */
  readonly original: Uint8Array;
  /** The instruction: the same, but that its displacement may lead to where the case wants it. */
  readonly code: Uint8Array;
  readonly seed: number;
  readonly row: OpcodeRow;
  readonly instruction: Instruction;
  /** Bytes of the instruction; 0 when the decoder says that there is none. */
  readonly length: number;
  /** Bytes that may differ: page × 2¹² + offset. */
  readonly ignored: readonly number[];
}

/** Builds the state around an instruction. */
class Builder {
  readonly random: Random;
  readonly bits: 64 | 32;
  readonly pages: readonly CasePage[];
  readonly code: Uint8Array;
  readonly instruction: Instruction;
  readonly row: OpcodeRow;
  readonly general: BigUint64Array;
  readonly patches: Patch[] = [];
  readonly breakpoint: boolean;
  rip: bigint;
  fsBase = 0n;
  gsBase = 0n;

  constructor(code: Uint8Array, seed: number, bits: 64 | 32, pages: readonly CasePage[]) {
    this.random = new Random(seed);
    this.bits = bits;
    this.pages = pages;
    this.code = code.slice();
    this.instruction = new Instruction({ amd: true });
    decode(this.code, 0, this.code.length, bits, this.instruction);
    this.row = OPCODES[this.instruction.row] ?? OPCODES[0]!;
    this.general = BigUint64Array.from({ length: 16 }, () => integer(this.random));
    this.breakpoint = BREAKPOINT_ROWS.test(this.row.name) || isStackSegment(this.instruction, this.row);
    this.rip = BigInt(this.entry());
  }

  /** Mostly in the middle of a page; sometimes across a border, sometimes with the last byte on the last page. */
  private entry(): number {
    const { random, code } = this;
    // How many bytes of what is no instruction must be there before it is refused, differs from one to the next.
    const kind = this.instruction.length === 0 ? 24 : random.below(24);
    if (kind === 0) return PLACE.code + 4096 - random.below(code.length + 1);
    // A breakpoint needs room.
    if (kind === 1 && !this.breakpoint) return PLACE.codeEnd - code.length;
    if (kind === 2 && !this.breakpoint && random.once(3)) return PLACE.codeEnd - 1 - random.below(code.length);
    return PLACE.code + 0x800 + random.below(64);
  }

  /** A linear address for `size` bytes: in the middle of a page, at one of the borders, or nowhere. */
  target(size: number, aligned: boolean): bigint {
    const target = this.place(size, aligned);
    // Ten bytes are two accesses, and the second's offset wraps at 4 GiB where the address size is 32: a fault at 0, if any.
    const wraps = size === 10 && this.bits === 64 && this.instruction.addressSize === 4;
    return wraps && BigInt.asUintN(32, target) > 0xffffffe0n ? BigInt(PLACE.data + this.random.below(4000)) : target;
  }

  private place(size: number, aligned: boolean): bigint {
    const { random } = this;
    const mask = aligned && random.below(12) > 0 ? ~(size - 1) : -1;
    const around = (border: number) => BigInt((border - random.below(size + 2)) & mask) & 0xffffffffn;
    const kind = random.below(100);
    if (kind < 66)
      return BigInt(
        random.pick([PLACE.data, PLACE.data, PLACE.pair, PLACE.stack]) + (random.below(4096 - size) & mask),
      );
    if (kind < 70) return BigInt(PLACE.readOnly + (random.below(4096 - size) & mask));
    if (kind < 73) return around(PLACE.readOnly);
    if (kind < 77) return around(PLACE.pair + 4096);
    if (kind < 80) return around(PLACE.pairEnd);
    if (kind < 82) return around(PLACE.pair);
    if (kind < 83) return around(PLACE.readOnly + 4096);
    if (kind < 85) return BigInt(PLACE.code + random.below(8000));
    if (kind < 87) return BigInt(PLACE.pairEnd + (random.below(4096) & mask));
    if (kind < 89) return BigInt.asUintN(this.bits, 2n ** 32n - BigInt(random.below(size + 2)));
    if (kind < 90) return BigInt.asUintN(this.bits, BigInt(random.below(2 * size + 2) - size));
    if (this.bits === 32) return BigInt(PLACE.data + (random.below(4000) & mask));
    if (kind < 93) return BigInt(PLACE.userEnd + 4096 - random.below(size + 2));
    if (kind < 94) return NON_CANONICAL - BigInt(random.below(size + 2));
    if (kind < 96) return NON_CANONICAL + BigInt(random.below(4096));
    if (kind < 97) return BigInt.asUintN(64, HALF - BigInt(random.below(size + 2)));
    if (kind < 98) return HALF | (random.next() >> 20n);
    return random.next();
  }

  /** Writes into a page of the case; outside of them nothing happens. */
  poke(linear: bigint, bytes: Uint8Array): void {
    const at = BigInt.asUintN(64, linear);
    let done = 0;
    while (done < bytes.length) {
      const address = Number(at) + done;
      const page = this.pages.findIndex((candidate) => candidate.address === address - (address % 4096));
      const count = Math.min(bytes.length - done, 4096 - (address % 4096));
      const isCode = address >= PLACE.code && address < PLACE.codeEnd;
      if (page >= 0 && !isCode)
        this.patches.push({ page, offset: address % 4096, bytes: bytes.slice(done, done + count) });
      done += count;
    }
  }

  pokeQuad(linear: bigint, value: bigint, size: number): void {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value), true);
    this.poke(linear, bytes.subarray(0, size));
  }

  /** Sets registers, segment base and displacement so that the memory operand lies at `target`; returns where it lies. */
  aim(target: bigint): bigint {
    const { instruction, random, general, bits } = this;
    const addressBits = instruction.addressSize * 8;
    const wrap = (value: bigint) => BigInt.asUintN(addressBits, value);
    let offset = target;
    let segmentBase = 0n;
    if (instruction.segment >= 4) {
      segmentBase = this.segmentBaseFor(target, addressBits);
      if (instruction.segment === 4) this.fsBase = segmentBase;
      else this.gsBase = segmentBase;
      offset = target - segmentBase;
    }
    offset = wrap(offset);
    const setRegister = (number: number, value: bigint) => {
      general[number] =
        addressBits === 64
          ? BigInt.asUintN(64, value)
          : ((general[number]! >> BigInt(addressBits)) << BigInt(addressBits)) | wrap(value);
    };
    const { base, scale } = instruction;
    const index = this.scalarIndex();
    const displacement = BigInt(instruction.displacement);
    if (this.row.name === "xlatb") setRegister(RBX, offset - (general[RAX]! & 0xffn));
    else if (base === BASE_RIP) this.setDisplacement(offset - this.rip - BigInt(instruction.length));
    else if (base >= 0 && base !== index) {
      if (index >= 0 && random.below(3)) setRegister(index, BigInt(random.below(2000)));
      const position = index >= 0 ? wrap(general[index]!) << BigInt(scale) : 0n;
      setRegister(base, offset - position - displacement);
    } else if (base >= 0) {
      setRegister(base, BigInt.asUintN(addressBits, offset - displacement) / (1n + (1n << BigInt(scale))));
      const product = general[base]! * (1n + (1n << BigInt(scale)));
      if (displacementBytes(instruction) === 4) this.setDisplacement(BigInt.asIntN(64, offset - wrap(product)));
    } else if (index >= 0) {
      setRegister(index, BigInt.asUintN(addressBits, offset - displacement) >> BigInt(scale));
      this.setDisplacement(BigInt.asIntN(addressBits, offset - (wrap(general[index]!) << BigInt(scale))));
    } else
      this.setDisplacement(bits === 64 && displacementBytes(instruction) === 4 ? BigInt.asIntN(64, offset) : offset);
    return this.operandAddress();
  }

  /** The index register, unless that is a vector. */
  private scalarIndex(): number {
    return this.row.attributes.has("vsib") ? NO_REGISTER : this.instruction.index;
  }

  private segmentBaseFor(target: bigint, addressBits: number): bigint {
    const room =
      addressBits === 64 ? this.random.next() >> BigInt(this.random.below(64)) : BigInt(this.random.word() >>> 0);
    const base = BigInt.asUintN(64, target - BigInt.asUintN(Math.min(addressBits, 32), room));
    if (this.bits === 32) return BigInt.asUintN(32, base);
    // Linux gives user mode only bases of its own half. AMD's processors want the offset canonical, too, not only the sum.
    if (target >= HALF && target - base < HALF) return 0n;
    return base < BigInt(PLACE.userEnd) ? base : 0n;
  }

  /** Changes the displacement if `value` fits into it. */
  private setDisplacement(value: bigint): void {
    const { instruction, code } = this;
    const size = displacementBytes(instruction);
    if (size === 0) return;
    const signed = BigInt.asIntN(size * 8, value);
    if (size < instruction.addressSize && signed !== BigInt.asIntN(64, value)) return;
    for (let i = 0; i < size; i++) code[instruction.displacementOffset + i] = Number((signed >> BigInt(i * 8)) & 0xffn);
    decode(code, 0, code.length, this.bits, instruction);
  }

  /** Linear address of the memory operand as registers and bases stand now. */
  operandAddress(): bigint {
    const { instruction, general } = this;
    const { base, scale, segment } = instruction;
    const index = this.scalarIndex();
    let at = (BigInt(instruction.displacementHigh) << 32n) | BigInt(instruction.displacement >>> 0);
    if (base === BASE_RIP) at += this.rip + BigInt(instruction.length);
    else if (base >= 0) at += general[base]!;
    if (index >= 0) at += general[index]! << BigInt(scale);
    if (this.row.name === "xlatb") at = general[RBX]! + (general[RAX]! & 0xffn);
    at = BigInt.asUintN(instruction.addressSize * 8, at);
    if (segment === 4) at += this.fsBase;
    if (segment === 5) at += this.gsBase;
    return BigInt.asUintN(this.bits, at);
  }

  /** Where the stack pointer goes: mostly in the middle of its pages. */
  stackTarget(): bigint {
    if (this.random.below(5) === 0) return this.target(16, false);
    return BigInt(PLACE.stack + 0x800 + this.random.below(256) * 8 + (this.random.once(8) ? this.random.below(8) : 0));
  }

  /** An address to jump to. */
  codeTarget(): bigint {
    const { random } = this;
    const kind = random.below(12);
    if (kind < 8) return BigInt(PLACE.code + random.below(0x700));
    if (kind === 8) return BigInt(PLACE.data + random.below(4096));
    return this.target(8, false);
  }
}

/** Counters, strings and pointers that instructions use without naming them as operands. */
function implicitRegisters(builder: Builder): void {
  const { random, general, row, instruction } = builder;
  const { name } = row;
  const low = (number: number, value: bigint) => {
    const bits = BigInt(instruction.addressSize * 8);
    general[number] =
      bits === 64n
        ? BigInt.asUintN(64, value)
        : ((general[number]! >> bits) << bits) | BigInt.asUintN(Number(bits), value);
  };
  const kinds = instruction.kinds;
  if (kinds.includes(OPERAND.STRING_SOURCE) || kinds.includes(OPERAND.STRING_DESTINATION)) {
    let source = builder.target(8, false);
    if (instruction.segment >= 4 && kinds.includes(OPERAND.STRING_SOURCE)) {
      // The offset must be canonical, too.
      const base = source >= HALF ? 0n : BigInt(random.below(1 << 20));
      if (instruction.segment === 4) builder.fsBase = base;
      else builder.gsBase = base;
      source -= base;
    }
    low(RSI, source);
    low(RDI, random.once(3) ? source + BigInt(random.below(32) - 16) : builder.target(8, false));
    low(RCX, BigInt(random.once(12) ? 500 + random.below(800) : random.below(40)));
    if (random.once(2)) general[RAX] = (general[RAX]! & ~0xffn) | BigInt(random.below(4));
  }
  if (name.startsWith("loop") || name === "jcxz") low(RCX, BigInt(random.below(3)));
  if (name.startsWith("maskmov")) {
    const target = builder.target(16, false);
    // Like ten bytes, sixteen are two accesses here: see Builder.target.
    const wraps = builder.bits === 64 && instruction.addressSize === 4 && target > 0xfffffff0n - 16n;
    low(RDI, wraps ? BigInt(PLACE.data) : target);
  }
  if (/^pcmpestr/.test(name))
    for (const number of [RAX, RDX])
      if (random.below(4)) general[number] = BigInt.asUintN(64, BigInt(random.below(40) - 20));
  if (STACK_ROWS.test(name)) {
    general[RSP] = builder.stackTarget();
    if (name === "leave" || (name === "enter" && random.below(2))) general[RBP] = builder.stackTarget();
  }
  if (/^i?div$/.test(name)) {
    const kind = random.below(4);
    if (kind === 0) general[RDX] = 0n;
    else if (kind === 1) general[RDX] = BigInt.asIntN(64, general[RAX]!) < 0n ? 2n ** 64n - 1n : 0n;
    else if (kind === 2) general[RDX] = BigInt(random.below(8));
    if (instruction.sizes[0] === 1 && random.below(2)) general[RAX] = BigInt(random.below(2000));
  }
  if (/^(xgetbv|rdpru|rdpmc)$/.test(name)) low(RCX, BigInt(random.below(3)));
  if (/^xsave|^xrstor/.test(name)) {
    general[RAX] = BigInt(random.below(4));
    general[RDX] = 0n;
  }
}

/** Registers that hold what the operation compares or jumps to. */
function meaningfulOperands(builder: Builder): void {
  const { random, general, row, instruction } = builder;
  const { name } = row;
  const memory = hasMemory(instruction);
  const size = instruction.sizes[0]!;
  if (name.startsWith("cmpxchg") && random.below(2)) {
    if (memory) builder.pokeQuad(builder.operandAddress(), general[RAX]!, Math.min(size, 8));
    else general[RAX] = general[instruction.registers[0]!]!;
    if (name === "cmpxchg16b") builder.pokeQuad(builder.operandAddress() + 8n, general[RDX]!, 8);
    if (name === "cmpxchg8b") builder.pokeQuad(builder.operandAddress() + 4n, general[RDX]!, 4);
  } else if (/^(jmp|call)$/.test(name) && instruction.kinds[0] !== OPERAND.RELATIVE) {
    const target = builder.codeTarget();
    if (memory) {
      builder.pokeQuad(builder.operandAddress(), target, 8);
      if (row.operands[0] === "Mp") {
        const offset = instruction.operandSize;
        builder.pokeQuad(builder.operandAddress() + BigInt(offset), selectorFor(random), 2);
      }
    } else if (instruction.kinds[0] === OPERAND.REGISTER && random.below(8))
      general[instruction.registers[0]!] = target;
  } else if (memory && random.below(3) === 0) {
    const bytes = row.feature === "general" ? integerOperand(random, size || 8) : undefined;
    if (bytes) builder.poke(builder.operandAddress(), bytes);
  }
  if (memory) {
    const index = instruction.kinds.indexOf(OPERAND.MEMORY);
    // What lies in the pages would set MXCSR bits that not every processor has.
    const wanted = random.below(4) > 0 || /^(v?ldmxcsr|fxrstor)$/.test(name);
    const bytes = wanted ? fpuOperand(random, row, instruction.sizes[index]!) : undefined;
    if (bytes) builder.poke(builder.operandAddress(), bytes);
  }
  if (/^l[dsfge]s$/.test(name))
    builder.pokeQuad(builder.operandAddress() + BigInt(instruction.operandSize), selectorFor(random), 2);
  if (name === "mov" && row.operands[0] === "Sw") {
    const selector = selectorFor(random);
    if (memory) builder.pokeQuad(builder.operandAddress(), selector, 2);
    else general[instruction.registers[1]!] = selector;
  }
  stackContents(builder);
}

function selectorFor(random: Random): bigint {
  return BigInt(random.pick([0, 3, CODE32, DATA, DATA, DATA, CODE64, 0x10, 0x18, 0x28, 0x8, 0x2a]));
}

/** What returns find on the stack. */
function stackContents(builder: Builder): void {
  const { random, general, row, instruction, bits } = builder;
  const { name } = row;
  const size = instruction.operandSize;
  const at = BigInt.asUintN(bits, general[RSP]!);
  const slot = (index: number, value: bigint) => builder.pokeQuad(at + BigInt(index * size), value, size);
  const code = () =>
    BigInt(random.once(8) ? random.pick([0, 0x10, 0x18, DATA, 0x30, 0x20]) : random.below(2) ? CODE64 : CODE32);
  if (name === "ret") slot(0, builder.codeTarget());
  else if (name === "retf") {
    slot(0, builder.codeTarget());
    slot(1, code());
  } else if (name === "iret") {
    slot(0, builder.codeTarget());
    slot(1, code());
    slot(2, (random.next() & 0x244ed5n) | 2n);
    if (bits === 64) {
      slot(3, builder.stackTarget());
      slot(4, BigInt(random.once(8) ? random.pick([0, 3, CODE32, 0x18, CODE64]) : DATA));
    }
  } else if (name === "popf" && random.below(4)) slot(0, (random.next() & 0x244ed5n) | 2n);
  else if (name === "pop" && instruction.kinds[0] === OPERAND.REGISTER && row.operands[0]!.length === 2)
    if (/^[DEFGS]S$/.test(row.operands[0]!)) slot(0, selectorFor(random));
}

function memorySize(instruction: Instruction): number {
  const index = instruction.kinds.indexOf(OPERAND.MEMORY);
  return index < 0 ? 8 : instruction.sizes[index] || 8;
}

/** With AC set these fault by rules that no manual tells: halves without a mask, code segments, FXSAVE's own alignment. */
const UNCLEAR_ALIGNMENT = /^(maskmov|fxsave|fxrstor)/;

/** The case of `code` and `seed`: registers, flags and memory that suit the instruction, edges included. */
export function makeCase(code: Uint8Array, seed: number, bits: 64 | 32, pages: readonly CasePage[]): MadeCase {
  const builder = new Builder(code, seed, bits, pages);
  const { random, general, row, instruction } = builder;
  if (bits === 32) for (let i = 0; i < 16; i++) general[i] = i < 8 ? general[i]! & 0xffffffffn : 0n;
  general[RSP] = BigInt(PLACE.stack + 0x800 + random.below(128) * 8);
  implicitRegisters(builder);
  const valid = instruction.length > 0;
  const memory = valid && hasMemory(instruction);
  if (memory) {
    if (/\.string$/.test(row.name) || row.attributes.has("bitbase")) {
      const number = instruction.registers[1]!;
      if (random.below(6)) general[number] = BigInt.asUintN(64, BigInt(random.below(8000) - 4000));
    }
    const size = memorySize(instruction);
    builder.aim(builder.target(Math.min(size, 512), size >= 16));
  }
  if (valid) meaningfulOperands(builder);
  if (bits === 32) for (let i = 0; i < 8; i++) general[i] = general[i]! & 0xffffffffn;
  let flags = 0x202n | (random.next() & STATUS_FLAGS);
  if (builder.breakpoint && random.once(3)) flags |= DIRECTION;
  if (!UNCLEAR_ALIGNMENT.test(row.name) && random.once(24)) flags |= ALIGNMENT_CHECK;
  const state: ProcessorState = {
    rip: builder.rip,
    general,
    flags,
    fsBase: builder.fsBase,
    gsBase: builder.gsBase,
    selectors: Uint16Array.of(
      DATA,
      DATA,
      bits === 64 ? 0 : DATA,
      bits === 64 ? 0 : DATA,
      bits === 64 ? CODE64 : CODE32,
      DATA,
    ),
    fx: fpuImage(random, row),
    // A generator of its own: older cases stay as they were recorded.
    upper: upperHalves(new Random(seed ^ UPPER_SEED), row),
  };
  if (memory && row.attributes.has("vsib")) gatherIndices(builder, state);
  return {
    bits,
    method: builder.breakpoint ? METHOD.BREAKPOINT : METHOD.SINGLE_STEP,
    state,
    patches: [...builder.patches, ...codePatches(builder)],
    original: code,
    code: builder.code,
    seed,
    row,
    instruction,
    length: instruction.length,
    ignored: memory ? hostBytes(builder) : [],
  };
}

/** Indices of a gather: mostly near each other, and some far from all pages. */
function gatherIndices({ random, row, instruction }: Builder, { fx, upper }: ProcessorState): void {
  const size = /gatherd/.test(row.name) ? 4 : 8;
  const set = (bytes: Uint8Array, at: number) => {
    const index = random.once(30) ? Number(BigInt.asIntN(32, random.next())) : random.below(200) - 100;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    if (size === 4) view.setInt32(at, index, true);
    else view.setBigInt64(at, BigInt(index), true);
  };
  for (let at = 0; at < 16; at += size) {
    set(fx, FX.xmm + instruction.index * 16 + at);
    set(upper, instruction.index * 16 + at);
  }
}

/** FXSAVE writes which MXCSR bits exist: AMD's misaligned-exception mask, bit 17, is in the third byte of that mask. */
function hostBytes(builder: Builder): number[] {
  if (builder.row.name !== "fxsave") return [];
  const at = Number(BigInt.asUintN(builder.bits, builder.operandAddress() + 30n));
  const page = builder.pages.findIndex(({ address }) => address === at - (at % 4096));
  return page < 0 ? [] : [page * 4096 + (at % 4096)];
}

/** Whether the row loads SS: the trap after it is held off. */
function isStackSegment(instruction: Instruction, row: OpcodeRow): boolean {
  return row.operands[0] === "SS" || (row.operands[0] === "Sw" && instruction.registers[0] === 2);
}

/** The instruction itself, as far as it lies on pages. */
function codePatches({ rip, code }: Builder): Patch[] {
  const patches: Patch[] = [];
  const offset = Number(rip) - PLACE.code;
  const first = code.subarray(0, Math.max(0, Math.min(code.length, 4096 - offset)));
  if (first.length > 0) patches.push({ page: 0, offset, bytes: first });
  const second = code.subarray(first.length, Math.min(code.length, 8192 - offset));
  if (second.length > 0) patches.push({ page: 1, offset: offset + first.length - 4096, bytes: second });
  return patches;
}
