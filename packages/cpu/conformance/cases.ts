import { decode, Instruction, OPCODES, OPERAND } from "@paravirt/x86";
import { semanticName } from "../src/tier0/select.ts";

/** Where the pages of a case lie: code, read-write data followed by a read-only page, stack; nothing else is mapped. */
export const LAYOUT = { code: 0xc00000, entry: 0xc00800, data: 0xa00000, readOnly: 0xa01000, stack: 0xb00000 } as const;

/** A small deterministic generator (xorshift64), so that a case is its code bytes and a seed. */
export class Random {
  private state: bigint;
  constructor(seed: number) {
    this.state = (BigInt(seed >>> 0) * 0x9e3779b97f4a7c15n + 0x2545f4914f6cdd1dn) & 0xffffffffffffffffn;
    for (let i = 0; i < 4; i++) this.next();
  }
  next(): bigint {
    let { state } = this;
    state ^= (state << 13n) & 0xffffffffffffffffn;
    state ^= state >> 7n;
    state ^= (state << 17n) & 0xffffffffffffffffn;
    this.state = state;
    return state;
  }
  below(limit: number): number {
    return Number(this.next() % BigInt(limit));
  }
}

/** State before one instruction. */
export interface Case {
  readonly code: Uint8Array;
  readonly seed: number;
  readonly registers: BigUint64Array;
  readonly flags: bigint;
  /** Flags that the processor leaves undefined. */
  readonly undefinedFlags: bigint;
  readonly name: string;
}

const EDGES = [0n, 1n, 2n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0x8000n, 0xffffn, 0x7fffffffn, 0x80000000n, 0xffffffffn];
const WIDE_EDGES = [0x7fffffffffffffffn, 0x8000000000000000n, 0xffffffffffffffffn, 0xfffffffffffffffen];
const FLAG_BITS: Readonly<Record<string, bigint>> = { o: 0x800n, s: 0x80n, z: 0x40n, a: 0x10n, p: 4n, c: 1n };
/** Rows whose OF (and AF) hold only for a count of 1; processors differ beyond. */
const SHIFTS = /^(shl|shr|sar|rol|ror|rcl|rcr|shld|shrd)$/;

/** Data and stack pages before each case. */
export function pageImage(seed: number): Uint8Array {
  const random = new Random(seed);
  return Uint8Array.from({ length: 4096 }, () => random.below(256));
}

function value(random: Random): bigint {
  const kind = random.below(6);
  if (kind < 2) return EDGES[random.below(EDGES.length)]!;
  if (kind === 2) return WIDE_EDGES[random.below(WIDE_EDGES.length)]!;
  return kind === 3 ? random.next() >> BigInt(random.below(64)) : random.next();
}

/**
 * Fills registers and flags for the instruction in `code` from `seed`. Memory operands mostly hit the data page, its
 * borders included. `undefined` for instructions that such a case can't try (RIP-relative, FS and GS, prefixes of size).
 */
export function makeCase(
  code: Uint8Array,
  seed: number,
  instruction: Instruction = new Instruction(),
): Case | undefined {
  if (decode(code, 0, code.length, 64, instruction) !== code.length) return undefined;
  const row = OPCODES[instruction.row]!;
  if (instruction.base === 16 || instruction.addressSize !== 8 || instruction.segment >= 4) return undefined;
  const random = new Random(seed);
  const registers = BigUint64Array.from({ length: 16 }, () => value(random));
  registers[4] = BigInt(LAYOUT.stack + 0x800 + random.below(64) * 8);
  const name = semanticName(instruction);
  if (instruction.kinds.subarray(0, instruction.operandCount).includes(OPERAND.MEMORY)) {
    const { base, index } = instruction;
    if (base < 0 || index === base || (base === 4 && (index >= 0 || /^(push|pop)$/.test(row.name)))) return undefined;
    const place = random.below(20);
    let target =
      BigInt(LAYOUT.data) +
      BigInt(place < 2 ? 4080 + random.below(32) : place === 2 ? random.below(16) - 8 : 8 + random.below(4000));
    if (index >= 0) {
      registers[index] = BigInt(random.below(2000));
      target -= registers[index] << BigInt(instruction.scale);
    }
    if (name.endsWith(".string")) {
      const position = instruction.registers[1]!;
      if (position === base || position === index) return undefined;
      registers[position] = BigInt.asUintN(64, BigInt(random.below(4000) - 2000));
    }
    registers[base] = BigInt.asUintN(64, target - BigInt(instruction.displacement));
  }
  const isString =
    instruction.kinds.includes(OPERAND.STRING_SOURCE) || instruction.kinds.includes(OPERAND.STRING_DESTINATION);
  if (isString) {
    registers[6] = BigInt(LAYOUT.data + random.below(4096));
    registers[7] = BigInt(LAYOUT.data + random.below(4000));
    registers[1] = BigInt(random.below(40));
  }
  const flags = 0x202n | (random.next() & 0x8d5n) | (isString && random.below(4) === 0 ? 0x400n : 0n);
  let undefinedFlags = SHIFTS.test(row.name) ? 0x810n : 0n;
  for (const letter of row.flagsUndefined) undefinedFlags |= FLAG_BITS[letter] ?? 0n;
  return { code, seed, registers, flags, undefinedFlags, name };
}

/** What became of a case. */
export interface Outcome {
  /** Vector of the fault, or -1 when the instruction completed. */
  readonly vector: number;
  readonly rip: bigint;
  readonly registers: ArrayLike<bigint>;
  readonly flags: bigint;
  /** Bytes of the data and stack pages that changed: address and value. */
  readonly changes: readonly (readonly [number, number])[];
}

/** A 32-bit digest (FNV-1a) of everything in an outcome that is defined. */
export function digest(test: Case, outcome: Outcome): number {
  let hash = 0x811c9dc5;
  const mix = (word: bigint): void => {
    for (let rest = BigInt.asUintN(64, word), i = 0; i < 8; i++, rest >>= 8n)
      hash = Math.imul(hash ^ Number(rest & 0xffn), 0x01000193);
  };
  mix(BigInt(outcome.vector));
  mix(outcome.rip);
  for (let i = 0; i < 16; i++) mix(outcome.registers[i]!);
  mix(outcome.flags & 0xcd5n & ~test.undefinedFlags);
  for (const [address, byte] of outcome.changes) mix(BigInt(address) * 256n + BigInt(byte));
  return hash >>> 0;
}

/** Bytes of one recorded case: length, fifteen code bytes, seed, digest. */
export const CASE_BYTES = 24;
