import type { CodeEmitter } from "@paravirt/wasm-emit";
import { STATE } from "../layout.ts";
import { combine, Flags, type Size, type StateAccess, signExtend, stepOverflow } from "../lowering.ts";
import { DEAD, type FlagForm, FULL, flagForm, UntranslatableError, WORDS } from "./flag-forms.ts";

const SIGN = 0x80000000 | 0;

/** Compares signed or unsigned, by the condition's number without its lowest bit. */
const COMPARISONS: Readonly<Record<number, readonly [plain: string, negated: string]>> = {
  1: ["lt_u", "ge_u"],
  2: ["eq", "ne"],
  3: ["le_u", "gt_u"],
  6: ["lt_s", "ge_s"],
  7: ["le_s", "gt_s"],
};

/** The flags' words in the engine's state. */
export const FLAG_WORDS: readonly number[] = [STATE.flagX, STATE.flagY, STATE.flagS, STATE.flagDelta, STATE.flagResult];

/**
 * The flags of translated code: while their origin is known two locals hold what they follow from, and loops carry no more;
 * the words in the engine's state are written where the region is left or the origin gets lost.
 */
export class RegionFlags extends Flags {
  /** What is known at the point that is being emitted. */
  form: FlagForm = FULL;
  /** Whether the words in the engine's state are right, whatever the form. */
  inState = true;
  /** Whether the words in locals are. */
  private inWords = false;
  private readonly code: CodeEmitter;
  /** Locals of the words, by their address in the engine's state. */
  private readonly words: ReadonlyMap<number, number>;
  /**
   * Left and right operand of `subtract` and `add`; CF (in bit 63, else zero) and the result of `inc` and `dec`.
   * Sign-extended.
   */
  private readonly first: number;
  private readonly second: number;

  /** `state` keeps the words in the locals `words`. */
  constructor(e: CodeEmitter, state: StateAccess, words: ReadonlyMap<number, number>) {
    super(e, state);
    this.code = e;
    this.words = words;
    this.first = e.local("i64");
    this.second = e.local("i64");
  }

  /** From here on the flags have `form`. */
  begin(form: FlagForm): void {
    this.form = form;
    this.inState = form === FULL;
    this.inWords = form === WORDS;
  }

  /** What is known now; give it to {@link RegionFlags.restore} where control comes from here on another way. */
  save(): readonly [FlagForm, boolean, boolean] {
    return [this.form, this.inState, this.inWords];
  }

  restore([form, inState, inWords]: readonly [FlagForm, boolean, boolean]): void {
    this.form = form;
    this.inState = inState;
    this.inWords = inWords;
  }

  override add(a: number, b: number, _result: number, size: Size): void {
    this.code.get(a).set(this.first).get(b).set(this.second);
    this.begin(flagForm("add", size));
  }

  override subtract(a: number, b: number, _result: number, size: Size): void {
    this.code.get(a).set(this.first).get(b).set(this.second);
    this.begin(flagForm("subtract", size));
  }

  override logic(result: number, size: Size = 8): void {
    this.code.get(result).set(this.first).i64(0).set(this.second);
    this.begin(flagForm("subtract", size));
  }

  override step(name: "inc" | "dec", result: number, size: Size): void {
    if (this.form.kind !== "inc" && this.form.kind !== "dec") {
      this.carryWord();
      this.code.i64Halves(0, SIGN).op("i64_and").set(this.first);
    }
    this.code.get(result).set(this.second);
    this.begin(flagForm(name, size));
  }

  protected override chain(x: number, y: number, s: number, result: number): void {
    super.chain(x, y, s, result);
    this.begin(WORDS);
  }

  /** Writes the words of the engine's state. */
  fill(): void {
    if (!this.inState) this.emitFill(this.inWords ? WORDS : this.form);
    this.inState = true;
  }

  /** Computes the words in locals. */
  toWords(): void {
    if (this.inWords) return;
    if (this.form === FULL || this.inState)
      for (const [address, local] of this.words) this.code.i32(0).mem("i64_load", address).set(local);
    else this.emitWords(this.form);
    this.inWords = true;
  }

  /** Brings the flags into the form in which the next block expects them. */
  become(form: FlagForm): void {
    if (form === FULL) this.fill();
    else if (form === WORDS) this.toWords();
    else if (form !== DEAD && form !== this.form)
      throw new UntranslatableError(`${form.kind} flags are expected, ${this.form.kind} ones are there`);
  }

  /** After this the origin is forgotten: the words are whatever the instruction made of them. */
  forget(): void {
    this.toWords();
    this.begin(WORDS);
  }

  /** Emits what writes all words of the state from the locals of `form`. */
  emitFill(form: FlagForm): void {
    const e = this.code;
    if (form === FULL) return;
    if (form !== WORDS) this.emitWords(form);
    for (const [address, local] of this.words) e.i32(0).get(local).mem("i64_store", address);
  }

  private emitWords({ kind, size }: FlagForm): void {
    const { code: e, first, second } = this;
    const [x, y, s, delta, result] = FLAG_WORDS.map((address) => this.words.get(address)!) as [
      number,
      number,
      number,
      number,
      number,
    ];
    e.i64(0).set(delta);
    switch (kind) {
      case "subtract":
        combine(e, "sub", size, first, second);
        e.tee(result).set(x).get(second).set(y).get(first).set(s);
        break;
      case "add":
        combine(e, "add", size, first, second);
        e.tee(result).set(s).get(first).set(x).get(second).set(y);
        break;
      case "inc":
      case "dec": {
        const [before, overflow] = [e.temporary("i64"), e.temporary("i64")];
        stepOverflow(e, kind, second, before, overflow, size);
        e.get(second).set(result).get(first).tee(x).set(y);
        e.get(overflow).i64Halves(0, SIGN).op("i64_and").get(first).op("i64_xor");
        e.get(before).get(second).op("i64_xor").i64(16).op("i64_and").op("i64_or").set(s);
        e.release("i64", before, overflow);
      }
    }
  }

  /** Loads the locals of `form` and pushes whether the state's words are what they would give (i32). */
  check({ kind, size }: FlagForm): void {
    const { code: e, first, second } = this;
    const load = (address: number) => e.i32(0).mem("i64_load", address);
    const extended = (local: number) => {
      e.get(local);
      signExtend(e, size);
      e.get(local).op("i64_xor").op("i64_or");
    };
    const subtracts = kind === "subtract";
    load(subtracts ? STATE.flagS : STATE.flagX);
    e.set(first);
    load(STATE.flagY);
    e.set(second);
    combine(e, subtracts ? "sub" : "add", size, first, second);
    load(subtracts ? STATE.flagX : STATE.flagS);
    e.op("i64_xor");
    load(STATE.flagResult);
    load(subtracts ? STATE.flagX : STATE.flagS);
    e.op("i64_xor").op("i64_or");
    extended(first);
    extended(second);
    load(STATE.flagDelta);
    e.op("i64_or").op("i64_eqz");
  }

  override carryWord(): void {
    const e = this.code;
    switch (this.form.kind) {
      case "subtract":
        this.compareOperands("lt_u");
        e.op("i64_extend_i32_u").i64(63).op("i64_shl");
        return;
      case "inc":
      case "dec":
        e.get(this.first);
        return;
      default:
        this.toWords();
        super.carryWord();
    }
  }

  override overflowWord(): void {
    this.toWords();
    super.overflowWord();
  }

  override signWord(): void {
    const result = this.resultLocal();
    if (result !== undefined) this.code.get(result);
    else {
      this.toWords();
      super.signWord();
    }
  }

  override adjustBit(): void {
    this.toWords();
    super.adjustBit();
  }

  override zero(): void {
    const result = this.resultLocal();
    if (result !== undefined) this.code.get(result).op("i64_eqz");
    else if (this.form.kind === "subtract") this.compareOperands("eq");
    else {
      this.toWords();
      super.zero();
    }
  }

  /** The local from which SF, ZF and PF follow, if there is one. */
  private resultLocal(): number | undefined {
    const { kind } = this.form;
    return kind === "inc" || kind === "dec" ? this.second : undefined;
  }

  /** After a subtraction: compares left and right, as 32-bit numbers where they are no longer. */
  private compareOperands(relation: string): void {
    const e = this.code;
    const narrow = this.form.size < 8;
    e.get(this.first);
    if (narrow) e.op("i32_wrap_i64");
    e.get(this.second);
    if (narrow) e.op("i32_wrap_i64");
    e.op(`${narrow ? "i32" : "i64"}_${relation}` as Parameters<CodeEmitter["op"]>[0]);
  }

  override condition(code: number): void {
    const { code: e, first, second } = this;
    const relation = COMPARISONS[code >> 1]?.[code & 1];
    const { kind, size } = this.form;
    if (kind === "subtract" && relation !== undefined) this.compareOperands(relation);
    else if (kind === "subtract" && code >> 1 === 4) {
      combine(e, "sub", size, first, second);
      e.i64(0).op(code & 1 ? "i64_ge_s" : "i64_lt_s");
    } else super.condition(code);
  }
}
