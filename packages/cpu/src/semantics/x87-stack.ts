import type { CodeEmitter } from "@paravirt/wasm-emit";
import { type Int32, Local32, Local64, Script } from "../expressions.ts";
import { STATE } from "../layout.ts";
import type { Lowering, X87Registers, X87Value } from "../lowering.ts";
import { FSW, TOP_MASK } from "./x87-state.ts";

const REGISTERS = 8;

/** What a block knows of one register. Numbers count from TOP as it was when the block began, or was last synchronized. */
interface Slot {
  /** Whether the register is valid; `undefined` until it was looked at. */
  valid: boolean | undefined;
  /** What the tag word in its local says of that, as far as it is known. */
  tag: boolean | undefined;
  /** The value is in the locals. */
  held: boolean;
  /** The register in memory is older than the locals. */
  dirty: boolean;
}

/**
 * The x87 registers in translated code. Within a block it is known where TOP moves, so values stay in locals, exchanges and
 * copies between registers cost nothing, and tags are looked at once. {@link X87Stack.sync} brings everything back to where
 * helpers and other code expect it; an instruction that leaves the region writes it back on its way ({@link X87Stack.spill}).
 */
export class X87Stack implements X87Registers {
  readonly words: ReadonlyMap<number, number>;
  private readonly e: CodeEmitter;
  private readonly status: Local32;
  private readonly tags: Local32;
  /** Physical number of the register that was on top when the block began. */
  private readonly base: Local32;
  private readonly significands: Local64[] = [];
  private readonly signExponents: Local32[] = [];
  private readonly slots: Slot[] = [];
  /** Which pair of locals each register's value is in: exchanges only swap these. */
  private readonly places: number[] = [];
  /** How far TOP moved. */
  private delta = 0;
  private started = false;

  constructor(e: CodeEmitter) {
    this.e = e;
    this.status = new Local32(e, e.local("i32"));
    this.tags = new Local32(e, e.local("i32"));
    this.base = new Local32(e, e.local("i32"));
    this.words = new Map<number, number>([
      [STATE.fsw, this.status.index],
      [STATE.ftw, this.tags.index],
    ]);
    for (let i = 0; i < REGISTERS; i++) {
      this.significands.push(new Local64(e, e.local("i64")));
      this.signExponents.push(new Local32(e, e.local("i32")));
    }
    this.forget();
  }

  store(): void {
    for (const [address, local] of this.words) this.e.i32(0).get(local).mem("i32_store", address);
  }

  load(): void {
    for (const [address, local] of this.words) this.e.i32(0).mem("i32_load", address).set(local);
  }

  /** Nothing is known of the registers: control may come here from elsewhere. */
  forget(): void {
    this.delta = 0;
    this.started = false;
    this.slots.length = 0;
    this.places.length = 0;
    for (let i = 0; i < REGISTERS; i++) {
      this.slots.push({ valid: undefined, tag: undefined, held: false, dirty: false });
      this.places.push(i);
    }
  }

  private script(): Script {
    return new Script(this.e, () => {
      throw new Error("BUG: the x87 stack calls no helpers");
    });
  }

  /** Register number, counted from the block's first TOP, of ST(`index`). */
  private numberOf(index: number): number {
    return (this.delta + index) & 7;
  }

  private start(): void {
    if (this.started) return;
    this.started = true;
    this.base.set(this.status.shr(11));
  }

  private physical(number: number): Int32 {
    return number === 0 ? this.base.and(7) : this.base.add(number).and(7);
  }

  private address(number: number): Int32 {
    return this.physical(number).shl(4);
  }

  /** Leaves the instruction to the interpreter unless ST(`index`) is valid (or empty). */
  require(c: Lowering, index: number, valid: boolean): void {
    const number = this.numberOf(index);
    const slot = this.slots[number]!;
    if (slot.valid === valid) return;
    if (slot.valid !== undefined) this.e.i32(1);
    else {
      this.start();
      this.tags.shr(this.physical(number)).and(1).push();
      if (valid) this.e.op("i32_eqz");
    }
    c.faultIf(0, 0);
    if (slot.valid !== undefined) return;
    slot.valid = valid;
    slot.tag = valid;
  }

  /** The value of ST(`index`), which {@link X87Stack.require} found valid. */
  value(index: number): X87Value {
    const number = this.numberOf(index);
    const slot = this.slots[number]!;
    const place = this.places[number]!;
    const result = { significand: this.significands[place]!, signExponent: this.signExponents[place]! };
    if (!slot.held) {
      this.start();
      const s = this.script();
      result.significand.set(s.load64(this.address(number), STATE.st));
      result.signExponent.set(s.load32(this.address(number), STATE.st + 8, "i32_load16_u"));
      slot.held = true;
    }
    return result;
  }

  /** The locals to write ST(`index`)'s new value to; nothing may leave the instruction after this. */
  target(index: number): X87Value {
    const number = this.numberOf(index);
    const slot = this.slots[number]!;
    slot.held = true;
    slot.dirty = true;
    slot.valid = true;
    const place = this.places[number]!;
    return { significand: this.significands[place]!, signExponent: this.signExponents[place]! };
  }

  /** Makes room on top; {@link X87Stack.target} of 0 is next. */
  push(): void {
    this.delta = (this.delta - 1) & 7;
  }

  /** Drops the top. */
  pop(): void {
    const slot = this.slots[this.numberOf(0)]!;
    slot.valid = false;
    // The bits stay in the register: FXSAVE shows them.
    if (!slot.held) slot.dirty = false;
    this.delta = (this.delta + 1) & 7;
  }

  /** Exchanges ST(0) and ST(`index`), both valid. */
  exchange(index: number): void {
    this.value(0);
    this.value(index);
    const [a, b] = [this.numberOf(0), this.numberOf(index)];
    [this.places[a], this.places[b]] = [this.places[b]!, this.places[a]!];
    this.slots[a]!.dirty = true;
    this.slots[b]!.dirty = true;
  }

  /** Clears C1, or sets the flags `result` of the status word after clearing it. */
  conclude(result?: Int32): void {
    const cleared = this.status.and(~FSW.C1);
    this.status.set(result ? cleared.or(result) : cleared);
  }

  /** Emits stores of all that memory lacks, the words included; what the block knows does not change. */
  spill(): void {
    const s = this.script();
    for (let number = 0; number < REGISTERS; number++) {
      const { valid, tag, held, dirty } = this.slots[number]!;
      if (held && dirty) {
        const place = this.places[number]!;
        s.store64(this.address(number), STATE.st, this.significands[place]!);
        s.store64(this.address(number), STATE.st + 8, this.signExponents[place]!.wide());
      }
      if (valid === tag) continue;
      const bit = s.i32(1).shl(this.physical(number));
      this.tags.set(valid ? this.tags.or(bit) : this.tags.and(bit.xor(-1)));
    }
    if (this.delta !== 0)
      this.status.set(this.status.and(~TOP_MASK).or(this.status.add(this.delta << 11).and(TOP_MASK)));
  }

  /** Brings memory and the words up to date and starts anew. */
  sync(): void {
    this.spill();
    this.forget();
  }
}
