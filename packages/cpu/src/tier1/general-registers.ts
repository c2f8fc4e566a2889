import type { CodeEmitter } from "@paravirt/wasm-emit";
import { STATE } from "../layout.ts";
import { type Place, type Size, signExtend, zeroExtend } from "../lowering.ts";
import { BytesPlace } from "../tier0/lowering.ts";

/** How a region holds the sixteen general registers. */
export interface GeneralRegisters {
  /** Emits what the function does at its start. */
  enter(): void;
  /** Emits what brings the engine's state up to date at the function's end. */
  leave(): void;
  /** Pushes a register's value (i64). */
  push(number: number): void;
  /** A register as an operand; `high` names its second byte. */
  place(number: number, high: boolean): Place;
  /** Control may come here from elsewhere: what was known of values in locals isn't any more. */
  forget(): void;
  /** What is known now; give it to {@link GeneralRegisters.restore} where control comes from here on another way. */
  save(): number;
  restore(known: number): void;
}

/** What places of general registers have in common: they hold no vector, and have no address. */
abstract class RegisterPlace implements Place {
  readonly facts = 0;
  protected readonly e: CodeEmitter;
  /** AH, CH, DH, BH. */
  private readonly high: boolean;
  constructor(e: CodeEmitter, high: boolean) {
    this.e = e;
    this.high = high;
  }
  /** Pushes all 64 bits. */
  protected abstract value(): void;
  /** Stores the i64 that `push` leaves on the stack. */
  protected abstract replace(push: () => void): void;

  private raw(): void {
    this.value();
    if (this.high) this.e.i64(8).op("i64_shr_u");
  }
  signed(size: Size): void {
    this.raw();
    signExtend(this.e, size);
  }
  unsigned(size: Size): void {
    this.raw();
    zeroExtend(this.e, size);
  }
  store(size: Size, push: () => void): void {
    const { e } = this;
    this.replace(() => {
      push();
      if (size === 8) return;
      zeroExtend(e, size);
      if (size === 4) return;
      // The value may read the register: it is computed before the merge.
      if (this.high) e.i64(8).op("i64_shl");
      const mask = this.high ? 0xff00 : size === 1 ? 0xff : 0xffff;
      this.value();
      e.i64Halves(~mask, -1).op("i64_and").op("i64_or");
    });
  }
  vector(): void {
    throw new Error("a general register holds no vector");
  }
  storeVector(): void {
    throw new Error("a general register holds no vector");
  }
  lane(): void {
    throw new Error("a general register holds no vector");
  }
  low(): void {
    throw new Error("a general register holds no vector");
  }
  upper(): Place {
    throw new Error("a general register holds no vector");
  }
  address(): void {
    throw new Error("a general register of translated code has no address");
  }
}

class LocalPlace extends RegisterPlace {
  private readonly local: number;
  private readonly onStore: () => void;
  constructor(e: CodeEmitter, local: number, high: boolean, onStore: () => void) {
    super(e, high);
    this.local = local;
    this.onStore = onStore;
  }
  protected value(): void {
    this.e.get(this.local);
  }
  protected replace(push: () => void): void {
    this.onStore();
    push();
    this.e.set(this.local);
  }
}

/**
 * Registers of code with loops: the most used live in locals from the function's start to its end, the others in the
 * engine's state, since more locals than the host has registers end on its stack, whichever they are.
 */
export class RegistersInLocals implements GeneralRegisters {
  private readonly e: CodeEmitter;
  private readonly locals: ReadonlyMap<number, number>;
  /** Registers that some instruction writes: those are stored at the end. */
  private readonly written = new Set<number>();

  constructor(e: CodeEmitter, numbers: Iterable<number>) {
    this.e = e;
    this.locals = new Map([...numbers].sort((a, b) => a - b).map((number) => [number, e.local("i64")]));
  }

  enter(): void {
    for (const [number, local] of this.locals)
      this.e
        .i32(0)
        .mem("i64_load", STATE.gpr + number * 8)
        .set(local);
  }

  leave(): void {
    for (const [number, local] of this.locals)
      if (this.written.has(number))
        this.e
          .i32(0)
          .get(local)
          .mem("i64_store", STATE.gpr + number * 8);
  }

  push(number: number): void {
    const local = this.locals.get(number);
    if (local === undefined) this.e.i32(0).mem("i64_load", STATE.gpr + number * 8);
    else this.e.get(local);
  }

  place(number: number, high: boolean): Place {
    const { e } = this;
    const local = this.locals.get(number);
    if (local === undefined) return new BytesPlace(e, () => e.i32(STATE.gpr + number * 8 + (high ? 1 : 0)), true);
    return new LocalPlace(e, local, high, () => this.written.add(number));
  }

  forget(): void {}

  save(): number {
    return 0;
  }

  restore(): void {}
}

class CachedPlace extends RegisterPlace {
  private readonly registers: CachedRegisters;
  private readonly number: number;
  constructor(e: CodeEmitter, registers: CachedRegisters, number: number, high: boolean) {
    super(e, high);
    this.registers = registers;
    this.number = number;
  }
  protected value(): void {
    this.registers.push(this.number);
  }
  protected replace(push: () => void): void {
    this.registers.replace(this.number, push);
  }
}

/**
 * Registers of code that runs from one end to the other: they live in the engine's state, which every write reaches at once,
 * and a local holds a copy from the first use to where control may come from elsewhere. Nothing is loaded at the function's
 * start, nothing stored at its many ways out, and no value lives long.
 */
export class CachedRegisters implements GeneralRegisters {
  private readonly e: CodeEmitter;
  /** Local of each register, -1 until it is needed. */
  private readonly locals: number[] = new Array(16).fill(-1);
  /** A bit for each register whose local holds its value. */
  private known = 0;
  /** How many labels are open around the code whose registers are known: what is deeper may not run. */
  private depth = 0;

  constructor(e: CodeEmitter) {
    this.e = e;
  }

  enter(): void {}

  leave(): void {}

  private local(number: number): number {
    if (this.locals[number]! < 0) this.locals[number] = this.e.local("i64");
    return this.locals[number]!;
  }

  private isKnown(number: number): boolean {
    return ((this.known >> number) & 1) !== 0;
  }

  /** Whether what is emitted here always runs. */
  private get isCertain(): boolean {
    return this.e.depth === this.depth;
  }

  push(number: number): void {
    const { e } = this;
    if (this.isKnown(number)) {
      e.get(this.local(number));
      return;
    }
    e.i32(0).mem("i64_load", STATE.gpr + number * 8);
    if (!this.isCertain) return;
    e.tee(this.local(number));
    this.known |= 1 << number;
  }

  /** Stores the i64 that `push` leaves on the stack. */
  replace(number: number, push: () => void): void {
    const { e } = this;
    e.i32(0);
    push();
    if (this.isCertain) this.known |= 1 << number;
    if (this.isKnown(number)) e.tee(this.local(number));
    e.mem("i64_store", STATE.gpr + number * 8);
  }

  place(number: number, high: boolean): Place {
    return new CachedPlace(this.e, this, number, high);
  }

  forget(): void {
    this.restore(0);
  }

  save(): number {
    return this.known;
  }

  restore(known: number): void {
    this.known = known;
    this.depth = this.e.depth;
  }
}
