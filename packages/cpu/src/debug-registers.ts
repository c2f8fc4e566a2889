import { ParavirtError } from "@paravirt/core";
import { ACCESS, ENGINE } from "./layout.ts";

/** DR6 bit of single step. */
export const SINGLE_STEP = 0x4000;
/** Kinds of breakpoints in DR7 (SDM 3B, 18.2.4). */
const ON_EXECUTION = 0;
const ON_WRITE = 1;
const ON_PORT = 2;
const LENGTHS = [1n, 2n, 8n, 4n] as const;
const DR7 = 7;

interface Point {
  /** Its bit in DR6. */
  readonly bit: number;
  readonly kind: number;
  readonly first: bigint;
  readonly last: bigint;
}

/** The memory of the engine that holds the log of an instruction's accesses. */
interface LogMemory {
  readonly words: Uint32Array;
  readonly quads: BigUint64Array;
}

/** DR0–DR3 and DR7 of a VCPU, and what they watch. Port breakpoints never match: ports are not the engine's. */
export class DebugRegisters {
  private readonly values = new BigUint64Array(8);
  private onExecution: readonly Point[] = [];
  private onData: readonly Point[] = [];

  /** Whether any breakpoint is enabled. */
  get armed(): boolean {
    return this.onExecution.length > 0 || this.onData.length > 0;
  }

  /** Whether accesses to memory are watched. */
  get watchesData(): boolean {
    return this.onData.length > 0;
  }

  get(number: number): bigint {
    return this.values[this.checked(number)]!;
  }

  set(number: number, value: bigint): void {
    this.values[this.checked(number)] = value;
    const control = Number(this.values[DR7]! & 0xffffffffn);
    const points = [0, 1, 2, 3].flatMap((index): Point[] => {
      if (((control >>> (index * 2)) & 3) === 0) return [];
      const kind = (control >>> (16 + index * 4)) & 3;
      const length = LENGTHS[(control >>> (18 + index * 4)) & 3]!;
      // Data breakpoints ignore the address bits below their length.
      const first = kind === ON_EXECUTION ? this.values[index]! : this.values[index]! & -length;
      return [{ bit: 1 << index, kind, first, last: first + length - 1n }];
    });
    this.onExecution = points.filter(({ kind }) => kind === ON_EXECUTION);
    this.onData = points.filter(({ kind }) => kind !== ON_EXECUTION && kind !== ON_PORT);
  }

  private checked(number: number): number {
    if (number === DR7 || (number >= 0 && number <= 3)) return number;
    throw new ParavirtError("OUT_OF_RANGE", `debug register ${number}: 0 to 3 and 7`);
  }

  /** DR6 bits of the breakpoints on executing the instruction at `rip`. */
  executed(rip: bigint): number {
    let hits = 0;
    for (const { bit, first } of this.onExecution) if (first === rip) hits |= bit;
    return hits;
  }

  /** DR6 bits of the breakpoints that the logged accesses touch. */
  touched({ words, quads }: LogMemory): number {
    let hits = 0;
    const count = words[ENGINE.accessCount / 4]!;
    for (let i = 0; i < count; i++) {
      const at = ENGINE.accessLog + i * 16;
      const from = quads[at / 8]!;
      const to = from + BigInt(words[at / 4 + 2]!) - 1n;
      const isWrite = words[at / 4 + 3] === ACCESS.WRITE;
      for (const { bit, kind, first, last } of this.onData)
        if ((isWrite || kind !== ON_WRITE) && from <= last && to >= first) hits |= bit;
    }
    return hits;
  }
}
