import type { FrameGuard, MachineMemory, TlbPort } from "@paravirt/core";
import { ENGINE, type EngineLayout, FRAME, GATE, SLOTS_PER_FRAME, TLB } from "./layout.ts";

const WORDS_PER_ENTRY = TLB.entryBytes / 4;
const ARRAYS = [TLB.read, TLB.write, TLB.execute] as const;

/** Called when code in a frame may have changed or the frame itself goes away. */
export interface CodeListener {
  /** Bytes of `mfn` may have changed: code decoded from it is stale. */
  codeChanged(mfn: number): void;
  /** Machine address of the code table behind an execute entry belongs to `mfn`. */
  isTableOf(table: number, mfn: number): boolean;
}

/**
 * The software TLB: a context of read, write and execute entries for each of the address spaces used last.
 * wasm code fills and reads it; this class switches contexts and drops entries.
 */
export class SoftTlb implements TlbPort, FrameGuard {
  private readonly memory: MachineMemory;
  private readonly layout: EngineLayout;
  private readonly code: CodeListener;
  /** Key of the address space in each context, -1 when free, and when it was used last. */
  private readonly keys = new Float64Array(TLB.contexts).fill(-1);
  private readonly used = new Float64Array(TLB.contexts);
  private clock = 0;
  private readonly emptyEntries: Uint8Array;
  /** Times an entry or a whole context was dropped. */
  flushes = 0;

  constructor(memory: MachineMemory, layout: EngineLayout, code: CodeListener) {
    this.memory = memory;
    this.layout = layout;
    this.code = code;
    const empty = new Uint32Array(TLB.contextBytes / 4);
    for (let i = 0; i < empty.length; i += WORDS_PER_ENTRY) empty[i] = Number(TLB.invalid);
    this.emptyEntries = new Uint8Array(empty.buffer);
    for (let i = 0; i < TLB.contexts; i++) this.clear(i);
    memory.words[ENGINE.tlb / 4] = TLB.start;
  }

  /** The context that wasm code uses now: the gate switches it, too. */
  private get current(): number {
    return (this.memory.words[ENGINE.tlb / 4]! - TLB.start) / TLB.contextBytes;
  }

  /** Address of the context that belongs to `root` in 64-bit mode, 0 when there is none; it won't be the next to be reused. */
  contextOf(root: number): number {
    const context = this.keys.indexOf(root * 2);
    if (context < 0) return 0;
    this.used[context] = ++this.clock;
    return TLB.start + context * TLB.contextBytes;
  }

  private assign(context: number, key: number): void {
    this.keys[context] = key;
    // The gate's plan names contexts.
    this.memory.words[GATE.armed / 4] = 0;
  }

  private clear(context: number): void {
    this.memory.bytes.set(this.emptyEntries, TLB.start + context * TLB.contextBytes);
  }

  /** Makes the context of the address space `root` (a frame) in `mode` current, empty if it is new. */
  select(root: number, mode: 64 | 32): void {
    const key = root * 2 + (mode === 64 ? 0 : 1);
    let context = this.current;
    if (this.keys[context] !== key) {
      context = this.keys.indexOf(key);
      if (context < 0) {
        context = 0;
        for (let i = 1; i < TLB.contexts; i++) if (this.used[i]! < this.used[context]!) context = i;
        if (this.keys[context] !== -1) this.clear(context);
        this.assign(context, key);
      }
    }
    this.used[context] = ++this.clock;
    this.memory.words[ENGINE.tlb / 4] = TLB.start + context * TLB.contextBytes;
  }

  /** Enters a translation by hand, for frames that the page walker leaves to JavaScript. */
  fill(address: bigint, mfn: number, write: boolean): void {
    const { words } = this.memory;
    const low = Number(address & 0xfffff000n);
    const high = Number((address >> 32n) & 0xffffffffn);
    const entry = this.memory.words[ENGINE.tlb / 4]! / 4 + ((low >>> 12) & (TLB.entries - 1)) * WORDS_PER_ENTRY;
    for (const array of write ? [TLB.read, TLB.write] : [TLB.read]) {
      const at = entry + array / 4;
      words[at] = low;
      words[at + 1] = high;
      words[at + 2] = mfn * 4096 - low;
    }
    this.noteSlot(mfn, entry * 4);
  }

  /** Remembers that the TLB slot at machine address `slot` may hold `mfn`. */
  private noteSlot(mfn: number, slot: number): void {
    const { words } = this.memory;
    const first = this.layout.slotTable / 4 + mfn * SLOTS_PER_FRAME;
    this.mark(mfn, FRAME.cached);
    for (let at = first; at < first + SLOTS_PER_FRAME; at++) {
      if (words[at] === slot) return;
      if (words[at] !== 0) continue;
      words[at] = slot;
      return;
    }
    this.mark(mfn, FRAME.scattered);
  }

  /** Enters the code table of the page at `address` into the execute array. */
  fillExecute(address: bigint, table: number, mfn: number): void {
    const { words } = this.memory;
    const low = Number(address & 0xfffff000n);
    const entry = words[ENGINE.tlb / 4]! / 4 + ((low >>> 12) & (TLB.entries - 1)) * WORDS_PER_ENTRY;
    const at = entry + TLB.execute / 4;
    words[at] = low;
    words[at + 1] = Number((address >> 32n) & 0xffffffffn);
    words[at + 2] = table;
    this.noteSlot(mfn, entry * 4);
  }

  flushPage(address: bigint): void {
    const { words } = this.memory;
    const low = Number(address & 0xfffff000n);
    const high = Number((address >> 32n) & 0xffffffffn);
    const index = ((low >>> 12) & (TLB.entries - 1)) * WORDS_PER_ENTRY;
    this.flushes++;
    for (let context = 0; context < TLB.contexts; context++) {
      if (this.keys[context] === -1) continue;
      for (const array of ARRAYS) {
        const at = (TLB.start + context * TLB.contextBytes + array) / 4 + index;
        if (words[at] === low && words[at + 1] === high) words[at] = Number(TLB.invalid);
      }
    }
  }

  flushAddressSpace(root: number): void {
    const { current } = this;
    this.flushes++;
    for (let context = 0; context < TLB.contexts; context++) {
      const key = this.keys[context]!;
      if (key === -1 || Math.floor(key / 2) !== root) continue;
      this.clear(context);
      if (context !== current) this.assign(context, -1);
    }
  }

  flushAll(): void {
    const { current } = this;
    this.flushes++;
    for (let context = 0; context < TLB.contexts; context++) {
      if (this.keys[context] === -1) continue;
      this.clear(context);
      if (context !== current) this.assign(context, -1);
    }
  }

  setOwner(mfn: number, owner: number): void {
    const at = this.info(mfn);
    this.forget(mfn);
    this.memory.words[at] = (this.memory.words[at]! & ~FRAME.ownerMask) | (owner & FRAME.ownerMask);
  }

  setWritable(mfn: number, writable: boolean): void {
    const at = this.info(mfn);
    const word = this.memory.words[at]!;
    if (writable) this.memory.words[at] = word & ~FRAME.readOnly;
    else {
      this.memory.words[at] = word | FRAME.readOnly;
      this.dropWritable(mfn);
    }
  }

  setReadableByAll(mfn: number, readable: boolean): void {
    const at = this.info(mfn);
    if (!readable) this.forget(mfn);
    const word = this.memory.words[at]!;
    this.memory.words[at] = readable ? word | FRAME.readableByAll : word & ~FRAME.readableByAll;
  }

  forget(mfn: number): void {
    const at = this.info(mfn);
    const word = this.memory.words[at]!;
    if (word & FRAME.code) this.code.codeChanged(mfn);
    if ((word & FRAME.cached) === 0) return;
    this.drop(mfn, true);
    this.memory.words[at] = this.memory.words[at]! & ~FRAME.cached;
  }

  written(mfn: number): void {
    if (this.memory.words[this.info(mfn)]! & FRAME.code) this.code.codeChanged(mfn);
  }

  /** Drops writable entries to `mfn`, so that the next write takes the slow path. */
  dropWritable(mfn: number): void {
    if (this.memory.words[this.info(mfn)]! & FRAME.cached) this.drop(mfn, false);
  }

  /** Drops execute entries that lead to a code table. */
  dropExecute(table: number): void {
    const { words } = this.memory;
    const invalid = Number(TLB.invalid);
    for (let context = 0; context < TLB.contexts; context++) {
      if (this.keys[context] === -1) continue;
      const start = (TLB.start + context * TLB.contextBytes + TLB.execute) / 4;
      for (let at = start; at < start + TLB.entries * WORDS_PER_ENTRY; at += WORDS_PER_ENTRY)
        if (words[at + 2] === table) words[at] = invalid;
    }
  }

  /** Sets or clears bits of a frame's word. */
  mark(mfn: number, bits: number): void {
    const at = this.info(mfn);
    this.memory.words[at] = this.memory.words[at]! | bits;
  }

  unmark(mfn: number, bits: number): void {
    const at = this.info(mfn);
    this.memory.words[at] = this.memory.words[at]! & ~bits;
  }

  private info(mfn: number): number {
    if (!(mfn >= 0 && mfn < this.memory.frames))
      throw new RangeError(`frame ${mfn} is beyond the machine's ${this.memory.frames}`);
    return this.layout.frameTable / 4 + mfn;
  }

  /** Drops what the TLB holds of `mfn`: writable entries only, or all of them. */
  private drop(mfn: number, all: boolean): void {
    const { words } = this.memory;
    const first = this.layout.slotTable / 4 + mfn * SLOTS_PER_FRAME;
    this.flushes++;
    if ((words[this.info(mfn)]! & FRAME.scattered) === 0) {
      for (let at = first; at < first + SLOTS_PER_FRAME; at++) {
        const slot = words[at]!;
        if (slot === 0) break;
        this.dropAt(slot / 4, mfn, all);
      }
    } else this.dropEverywhere(mfn, all);
    if (!all) return;
    words.fill(0, first, first + SLOTS_PER_FRAME);
    this.unmark(mfn, FRAME.scattered);
  }

  /** Looks through all entries of all contexts. Where few slots still hold the frame, they are noted: the next time is cheap. */
  private dropEverywhere(mfn: number, all: boolean): void {
    const { words } = this.memory;
    const holders: number[] = [];
    for (let context = 0; context < TLB.contexts; context++) {
      if (this.keys[context] === -1) continue;
      const from = (TLB.start + context * TLB.contextBytes + TLB.read) / 4;
      for (let read = from; read < from + TLB.entries * WORDS_PER_ENTRY; read += WORDS_PER_ENTRY) {
        this.dropAt(read, mfn, all);
        if (holders.length <= SLOTS_PER_FRAME && this.holds(read, mfn)) holders.push(read * 4);
      }
    }
    if (all || holders.length > SLOTS_PER_FRAME) return;
    const first = this.layout.slotTable / 4 + mfn * SLOTS_PER_FRAME;
    for (let index = 0; index < SLOTS_PER_FRAME; index++) words[first + index] = holders[index] ?? 0;
    this.unmark(mfn, FRAME.scattered);
  }

  /** Whether a slot's read or execute entry may lead to `mfn`; writable ones were dropped. */
  private holds(read: number, mfn: number): boolean {
    const { words } = this.memory;
    if ((words[read]! + words[read + 2]!) >>> 12 === mfn) return true;
    const execute = read + TLB.execute / 4;
    return words[execute] !== Number(TLB.invalid) && this.code.isTableOf(words[execute + 2]!, mfn);
  }

  /** Drops `mfn` from one slot's entries, given as the word index of its read entry. */
  private dropAt(read: number, mfn: number, all: boolean): void {
    const { words } = this.memory;
    const invalid = Number(TLB.invalid);
    const write = read + TLB.write / 4;
    if ((words[write]! + words[write + 2]!) >>> 12 === mfn) words[write] = invalid;
    if (!all) return;
    if ((words[read]! + words[read + 2]!) >>> 12 === mfn) words[read] = invalid;
    const execute = read + TLB.execute / 4;
    if (words[execute] !== invalid && this.code.isTableOf(words[execute + 2]!, mfn)) words[execute] = invalid;
  }
}
