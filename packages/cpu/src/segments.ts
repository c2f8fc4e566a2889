import { type Instruction, OPCODES, OPERAND, SEGMENT } from "@paravirt/x86";
import type { Engine } from "./engine.ts";
import { ENGINE, STATE } from "./layout.ts";

const LAST = 0xffffffff;
const GENERAL_PROTECTION = 13;
const STACK_FAULT = 12;
const RECORD = ENGINE.scratchRecords;

/** What a compatibility-mode segment allows: offsets `first` to `last`. */
interface Cache {
  readonly first: number;
  readonly last: number;
  readonly readable: boolean;
  readonly writable: boolean;
}

const FLAT: Cache = { first: 0, last: LAST, readable: true, writable: true };
const FLAT_CODE: Cache = { first: 0, last: LAST, readable: true, writable: false };
const NULL: Cache = { first: 1, last: 0, readable: false, writable: false };

/**
 * Limits and types of a VCPU's segments, ES CS SS DS FS GS. They matter outside 64-bit mode only, and there nearly all
 * segments are flat: just where one isn't, instructions are looked at one by one.
 */
export class Segments {
  private readonly caches: Cache[] = Array.from({ length: 6 }, () => FLAT);
  /** Whether any segment in use forbids something. FS and GS may be null unnoticed, as they are in most programs. */
  limited = false;

  /** All segments are flat. */
  reset(): void {
    this.caches.fill(FLAT);
    this.limited = false;
  }

  /** `segment` was loaded with `descriptor`, `undefined` for a null selector. */
  load(segment: number, descriptor: bigint | undefined): void {
    const cache = descriptor === undefined ? NULL : cacheOf(descriptor);
    if (this.caches[segment] === cache) return;
    this.caches[segment] = cache;
    this.limited = this.caches.some(
      (cache, index) =>
        !(cache === NULL && index >= SEGMENT.FS) &&
        (cache.first > 0 || cache.last < LAST || (index !== SEGMENT.CS && !(cache.readable && cache.writable))),
    );
  }

  /** Whether `size` bytes at `offset` may be accessed. */
  allows(segment: number, offset: number, size: number, write: boolean): boolean {
    const { first, last, readable, writable } = this.caches[segment]!;
    return offset >= first && offset + size - 1 <= last && (write ? writable : readable);
  }

  /** Whether an instruction of `size` bytes may be fetched at `offset`. */
  executes(offset: number, size: number): boolean {
    const { first, last } = this.caches[SEGMENT.CS]!;
    return offset >= first && offset + size - 1 <= last;
  }
}

/** SDM 3A, 3.4.5. */
function cacheOf(descriptor: bigint): Cache {
  const high = Number(descriptor >> 32n);
  const pages = (high & 0x800000) !== 0;
  const raw = (Number(descriptor & 0xffffn) | (high & 0xf0000)) >>> 0;
  const limit = pages ? raw * 4096 + 4095 : raw;
  const bit = (high >>> 9) & 1;
  if ((high & 0x800) !== 0)
    return limit === LAST && bit === 1 ? FLAT_CODE : { first: 0, last: limit, readable: bit === 1, writable: false };
  if ((high & 0x400) === 0)
    return limit === LAST && bit === 1 ? FLAT : { first: 0, last: limit, readable: true, writable: bit === 1 };
  return { first: limit + 1, last: high & 0x400000 ? LAST : 0xffff, readable: true, writable: bit === 1 };
}

const PUSHES = new Set(["push", "pushf", "call", "pusha", "enter"]);
const POPS = new Set(["pop", "popf", "ret", "retf", "iret", "popa"]);
/** Memory operands that are addresses only. */
const UNTOUCHED = /^(lea|nop|prefetch.*|invlpg|clflush.*|clwb|endbr.*)$/;

/** Checks the decoded instruction in the scratch record against the limits; `false` with the fault set. */
export function segmentsAllow(engine: Engine, instruction: Instruction): boolean {
  const { segments, ripValue } = engine.current;
  if (!segments.executes(Number(ripValue), instruction.length)) {
    engine.setFault(GENERAL_PROTECTION, 0);
    return false;
  }
  const row = OPCODES[instruction.row]!;
  const words = engine.memory.words;
  const mask = instruction.addressSize === 2 ? 0xffff : LAST;
  const check = (segment: number, offset: number, size: number, write: boolean): boolean => {
    if (segments.allows(segment, offset, size, write)) return true;
    engine.setFault(segment === SEGMENT.SS ? STACK_FAULT : GENERAL_PROTECTION, 0);
    return false;
  };
  for (let index = 0; index < instruction.operandCount; index++) {
    const size = instruction.sizes[index]!;
    const access = row.access[index];
    const write = access === "write" || access === "readwrite";
    const kind = instruction.kinds[index];
    if (kind === OPERAND.STRING_SOURCE || kind === OPERAND.STRING_DESTINATION) {
      const isSource = kind === OPERAND.STRING_SOURCE;
      const offset = (words[(STATE.gpr + (isSource ? 6 : 7) * 8) / 4]! & mask) >>> 0;
      if (!check(isSource ? instruction.segment : SEGMENT.ES, offset, size, write)) return false;
    } else if (kind === OPERAND.MEMORY && !UNTOUCHED.test(row.name)) {
      const { segment } = instruction;
      const base = engine.memory.quads[STATE.segmentBase / 8 + segment]!;
      const offset = Number(BigInt.asUintN(32, engine.exports.operandAddress(RECORD) - base));
      if (!check(segment, offset, Math.max(1, size), write)) return false;
    }
  }
  const top = words[(STATE.gpr + 4 * 8) / 4]!;
  const count = row.name === "pusha" || row.name === "popa" ? 8 : row.name === "iret" ? 3 : row.name === "retf" ? 2 : 1;
  const bytes = instruction.operandSize * count;
  if (PUSHES.has(row.name)) return check(SEGMENT.SS, (top - bytes) >>> 0, bytes, true);
  if (POPS.has(row.name)) return check(SEGMENT.SS, top, bytes, false);
  if (row.name === "leave") return check(SEGMENT.SS, words[(STATE.gpr + 5 * 8) / 4]!, bytes, false);
  return true;
}
