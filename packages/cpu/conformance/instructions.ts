import { decode, type Instruction, OPCODES, OPERAND, type OpcodeRow } from "@paravirt/x86";
import type { Random } from "./values.ts";

const LOCK = 0xf0;
const ESCAPES: readonly (readonly number[])[] = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];
const MANDATORY: Readonly<Record<string, number>> = { "66": 0x66, f3: 0xf3, f2: 0xf2 };
const SEGMENT_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
/** So many tries to hit a row with random bytes around its opcode. */
const TRIES = 60;
const LONGEST = 15;

/** Makes the bytes of an instruction of row `index`, all forms and prefixes by chance; `undefined` where the mode has none. */
export function makeInstruction(
  random: Random,
  index: number,
  bits: 64 | 32,
  into: Instruction,
): Uint8Array | undefined {
  const row = OPCODES[index]!;
  if (row.only !== 0 && row.only !== bits) return undefined;
  for (let i = 0; i < TRIES; i++) {
    const code = new Uint8Array(LONGEST + 1);
    for (let at = 0; at < code.length; at++) code[at] = random.below(256);
    code.set(row.vex ? vexStart(random, row, bits) : legacyStart(random, row, bits));
    const length = decode(code, 0, code.length, bits, into);
    if (length > 0 && into.row === index) return code.slice(0, length);
  }
  return undefined;
}

function modrm(random: Random, row: OpcodeRow, lock: boolean): number {
  if (row.modrm >= 0) return row.modrm;
  const reg = row.digit >= 0 ? row.digit : random.below(8);
  const memory = lock || row.mod === 1 || (row.mod === 0 && random.below(5) < 3);
  return ((memory ? random.below(3) : 3) << 6) | (reg << 3) | random.below(8);
}

function legacyStart(random: Random, row: OpcodeRow, bits: 64 | 32): number[] {
  const bytes: number[] = [];
  const lock = row.lockable && random.once(3);
  if (lock || random.once(60)) bytes.push(LOCK);
  const mandatory = MANDATORY[row.prefix];
  if (mandatory !== undefined) bytes.push(mandatory);
  const strings = row.attributes.has("rep") || row.attributes.has("repe");
  if (strings ? random.below(3) > 0 : random.once(40)) bytes.push(random.pick([0xf2, 0xf3]));
  if (random.below(row.prefix === "any" ? 4 : 12) === 0) bytes.push(0x66);
  if (random.once(row.addressSize === 0 || row.addressSize * 8 === bits ? 10 : 1)) bytes.push(0x67);
  if (random.once(8)) bytes.push(random.pick(SEGMENT_PREFIXES));
  if (random.once(4)) bytes.reverse();
  if (bits === 64 && random.below(2)) bytes.push(0x40 + random.below(16));
  bytes.push(...ESCAPES[row.map]!, row.opcode + random.below(row.span));
  if (row.hasModrm) bytes.push(modrm(random, row, lock));
  return bytes;
}

/** C4 with random R X B, vvvv, W and L, as far as the row leaves them open (SDM 2A, 2.3.5). */
function vexStart(random: Random, row: OpcodeRow, bits: 64 | 32): number[] {
  const bytes: number[] = [];
  if (random.once(10)) bytes.push(0x67);
  if (random.once(8)) bytes.push(random.pick(SEGMENT_PREFIXES));
  const w = row.w >= 0 ? row.w : random.below(2);
  const l = row.l >= 0 ? row.l : random.below(2);
  const prefix = { np: 0, any: 0, "66": 1, f3: 2, f2: 3 }[row.prefix];
  const inverted = bits === 64 ? random.below(8) : 7;
  const vvvv = row.operands.some((code) => /^[BH]/.test(code)) ? random.below(16) : 15;
  bytes.push(0xc4, (inverted << 5) | row.map, (w << 7) | (vvvv << 3) | (l << 2) | prefix, row.opcode);
  if (row.hasModrm) bytes.push(modrm(random, row, false));
  return bytes;
}

/** Whether `instruction` has a memory operand by ModRM or address. */
export function hasMemory(instruction: Instruction): boolean {
  return instruction.kinds.includes(OPERAND.MEMORY);
}

/** Bytes of the displacement in the instruction. */
export function displacementBytes(instruction: Instruction): number {
  if (instruction.displacementOffset === 0) return 0;
  return (instruction.immediateOffset || instruction.length) - instruction.displacementOffset;
}
