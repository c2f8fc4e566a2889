import { Engine } from "../src/engine.ts";
import { ACCESS, STATE } from "../src/layout.ts";
import { type EngineOptions, EXIT, type Exit } from "../src/vcpu.ts";
import type { VirtualCpu } from "../src/virtual-cpu.ts";
import {
  type Case,
  type CasePage,
  COMPLETED,
  FX,
  METHOD,
  type Outcome,
  PAGE_ACCESS,
  TIMED_OUT,
  UPPER_BYTES,
} from "./processor-state.ts";

const PRESENT_USER = 5n;
const WRITABLE = 2n;
const NO_EXECUTE = 1n << 63n;
const OWNER = 1;
const OSXSAVE = 0x40000n;
const BREAKPOINT = 3;
const PAGE_FAULT = 14;
const FETCH = 16;
/** A call of `run` executes so many instructions; none of the cases needs more. */
const BUDGET = 1000;
const SLICES = 1000;
/** Most elements of a repeated string instruction in a case: some are done one at a time. */
const MOST_ELEMENTS = 1 << 16;

/** Linux's descriptors of user mode, and two of the kernel's that user mode can't load (arch/x86/kernel/cpu/common.c). */
const DESCRIPTORS: ReadonlyMap<number, bigint> = new Map([
  [0x08, 0x00cf9b000000ffffn],
  [0x10, 0x00af9b000000ffffn],
  [0x18, 0x00cf93000000ffffn],
  [0x20, 0x00cffb000000ffffn],
  [0x28, 0x00cff3000000ffffn],
  [0x30, 0x00affb000000ffffn],
]);
/** Where the selectors of a {@link ProcessorState} stand in the engine's order: DS ES FS GS CS SS. */
const CODE = 1;
const SELECTOR_INDEX = [3, 0, 4, 5, 1, 2] as const;

/** Executes cases on the engine, each from the same pages. */
export class CaseMachine {
  readonly engine: Engine;
  private readonly vcpu: VirtualCpu;
  private readonly root: number;
  private nextFrame: number;
  private readonly pages: readonly { readonly page: CasePage; readonly frame: number; readonly before: Uint8Array }[];

  constructor(pages: readonly CasePage[], options: Pick<EngineOptions, "translate"> = {}) {
    this.engine = new Engine({
      ...options,
      memoryBytes: 1 << 20,
      // Cases are translated when asked to, never because they are hot.
      sampleInterval: 2 ** 30,
      ports: {
        readTsc: () => 0n,
        cpuid: (_vcpu, _leaf, _subleaf, out) => out.fill(0),
        readDescriptor: (_vcpu, selector) => (selector & 4 ? undefined : DESCRIPTORS.get(selector & 0xfff8)),
        mayReachForeign: () => false,
        random: () => 0n,
      },
    });
    this.nextFrame = this.engine.memory.firstFrame;
    this.root = this.frame();
    this.pages = pages.map((page) => ({ page, frame: this.frame(), before: page.image.slice() }));
    for (const { page, frame } of this.pages) {
      this.map(page, frame);
      this.engine.memory.bytes.set(page.image, frame * 4096);
    }
    this.vcpu = this.engine.createVcpu(0);
    this.vcpu.owner = OWNER;
    this.vcpu.setRoot(this.root);
    // As Linux sets them: XSAVE in use for all that the engine has, alignment checks allowed.
    this.vcpu.cr4 |= OSXSAVE;
    this.vcpu.xcr0 = 7n;
    this.warm();
  }

  private frame(): number {
    this.engine.frames.setOwner(this.nextFrame, OWNER);
    return this.nextFrame++;
  }

  private map({ address, access }: CasePage, frame: number): void {
    const { quads } = this.engine.memory;
    let table = this.root;
    for (let level = 4; level > 1; level--) {
      const at = table * 512 + (Math.floor(address / 2 ** (3 + level * 9)) % 512);
      if (quads[at] === 0n) quads[at] = BigInt(this.frame() * 4096) | PRESENT_USER | WRITABLE;
      table = Number(quads[at]! >> 12n);
    }
    let entry = BigInt(frame * 4096) | PRESENT_USER;
    if (access === PAGE_ACCESS.READ_WRITE) entry |= WRITABLE;
    if (access !== PAGE_ACCESS.EXECUTE) entry |= NO_EXECUTE;
    quads[table * 512 + (Math.floor(address / 4096) % 512)] = BigInt.asUintN(64, entry);
  }

  /** Brings all pages into both modes' TLBs, so that translated code finds them and needs no interpreter. */
  private warm(): void {
    for (const bits of [32, 64] as const) {
      this.vcpu.mode = bits;
      for (const { page } of this.pages) {
        this.vcpu.translate(BigInt(page.address), false);
        if (page.access === PAGE_ACCESS.READ_WRITE) this.vcpu.translate(BigInt(page.address), true);
      }
    }
  }

  /**
   * Executes the case; a repeated string instruction to its end. Tier 1 goes through translated code: `undefined` when the
   * instruction is one that is never translated.
   */
  run(test: Case, tier: 0 | 1 = 0): Outcome | undefined {
    const { engine } = this;
    const { bytes } = engine.memory;
    for (const { page, offset, bytes: patch } of test.patches) {
      const { frame, before, page: there } = this.pages[page]!;
      bytes.set(patch, frame * 4096 + offset);
      before.set(patch, offset);
      if (there.access === PAGE_ACCESS.EXECUTE) engine.frames.written(frame);
    }
    this.load(test);
    const { rip } = test.state;
    let outcome: Outcome | undefined;
    if (tier === 0) outcome = this.finish(this.step(rip, test.method === METHOD.BREAKPOINT), rip);
    else if (this.translate(rip)) outcome = this.finish(this.runTranslated(), rip);
    this.restore(test);
    return outcome;
  }

  private load(test: Case): void {
    const { vcpu } = this;
    const { state } = test;
    const { bytes, view, words } = this.engine.memory;
    vcpu.mode = test.bits;
    vcpu.regs.set(state.general);
    vcpu.rflags = state.flags;
    vcpu.rip = state.rip;
    const { selectors } = vcpu;
    SELECTOR_INDEX.forEach((number, index) => {
      const selector = state.selectors[index]!;
      vcpu.loadSegment(number, selector);
      // Neither CS nor what a case left behind comes in by that way.
      selectors[number] = selector;
    });
    vcpu.segments.load(CODE, DESCRIPTORS.get(selectors[CODE]! & 0xfff8));
    for (let i = 0; i < 4; i++) view.setBigUint64(STATE.segmentBase + i * 8, 0n, true);
    vcpu.fsBase = state.fsBase;
    vcpu.gsBase = state.gsBase;
    const fx = new DataView(state.fx.buffer, state.fx.byteOffset, state.fx.length);
    const statusWord = fx.getUint16(FX.statusWord, true);
    words[STATE.fcw / 4] = fx.getUint16(FX.controlWord, true);
    words[STATE.fsw / 4] = statusWord;
    words[STATE.ftw / 4] = fx.getUint8(FX.tags);
    words[STATE.mxcsr / 4] = fx.getUint32(FX.mxcsr, true);
    words[STATE.fop / 4] = 0;
    view.setBigUint64(STATE.fip, 0n, true);
    view.setBigUint64(STATE.fdp, 0n, true);
    for (let i = 0; i < 8; i++)
      bytes.set(state.fx.subarray(FX.st + i * 16, FX.st + i * 16 + 10), this.stackSlot(statusWord, i));
    for (let i = 0; i < 16; i++) {
      bytes.set(state.fx.subarray(FX.xmm + i * 16, FX.xmm + i * 16 + 16), STATE.xmm + i * 32);
      bytes.set(state.upper.subarray(i * 16, i * 16 + 16), STATE.xmm + i * 32 + 16);
    }
  }

  private stackSlot(statusWord: number, index: number): number {
    return STATE.st + (((statusWord >> 11) + index) & 7) * 16;
  }

  private step(rip: bigint, repeated: boolean): Exit {
    let exit = this.vcpu.step();
    // Long string instructions pause.
    for (let i = 0; repeated && exit.reason === EXIT.BUDGET && this.vcpu.rip === rip && i < MOST_ELEMENTS; i++)
      exit = this.vcpu.step();
    return exit;
  }

  private translate(rip: bigint): boolean {
    if (this.engine.exports.walk(rip, ACCESS.EXECUTE) !== 0) return false;
    const frame = this.pages.find(({ page }) => BigInt(page.address) === (rip & ~4095n))!.frame;
    const { blocksTranslated } = this.engine.stats;
    return (
      this.engine.translator.translate(frame, Number(rip & 4095n), this.vcpu.mode) &&
      this.engine.stats.blocksTranslated === blocksTranslated + 1
    );
  }

  /** Runs until the breakpoint that follows the instruction, or what it jumps to. */
  private runTranslated(): Exit {
    let exit = this.vcpu.run(BUDGET);
    for (let i = 0; exit.reason === EXIT.BUDGET && i < SLICES; i++) exit = this.vcpu.run(BUDGET);
    return exit;
  }

  private finish(exit: Exit, rip: bigint): Outcome {
    const { vcpu } = this;
    const { bytes, view, words } = this.engine.memory;
    const fx = new Uint8Array(FX.end);
    const fxView = new DataView(fx.buffer);
    const statusWord = words[STATE.fsw / 4]!;
    fxView.setUint16(FX.controlWord, words[STATE.fcw / 4]!, true);
    fxView.setUint16(FX.statusWord, statusWord, true);
    fxView.setUint8(FX.tags, words[STATE.ftw / 4]!);
    fxView.setUint32(FX.mxcsr, words[STATE.mxcsr / 4]!, true);
    for (let i = 0; i < 8; i++) {
      const at = this.stackSlot(statusWord, i);
      fx.set(bytes.subarray(at, at + 10), FX.st + i * 16);
    }
    const upper = new Uint8Array(UPPER_BYTES);
    for (let i = 0; i < 16; i++) {
      const at = STATE.xmm + i * 32;
      fx.set(bytes.subarray(at, at + 16), FX.xmm + i * 16);
      upper.set(bytes.subarray(at + 16, at + 32), i * 16);
    }
    const { selectors } = vcpu;
    const completed = this.completed(exit, rip);
    return {
      vector: completed ? COMPLETED : exit.reason === EXIT.BUDGET ? TIMED_OUT : exit.vector,
      error: completed || !exit.hasErrorCode ? 0 : exit.errorCode,
      cr2: completed ? 0n : exit.address,
      state: {
        rip: vcpu.rip,
        general: vcpu.regs.slice(),
        flags: vcpu.rflags,
        fsBase: view.getBigUint64(STATE.segmentBase + 32, true),
        gsBase: view.getBigUint64(STATE.segmentBase + 40, true),
        selectors: Uint16Array.from(SELECTOR_INDEX, (number) => selectors[number]!),
        fx,
        upper,
      },
      changes: this.changes(),
    };
  }

  /** Whether the instruction is done: stepped over, or the breakpoint or the missing page after it was met. */
  private completed(exit: Exit, rip: bigint): boolean {
    if (this.vcpu.rip === rip) return exit.reason === EXIT.BUDGET;
    if (exit.reason === EXIT.BUDGET) return true;
    if (exit.reason === EXIT.INTERRUPT) return exit.vector === BREAKPOINT;
    return exit.reason === EXIT.FAULT && exit.vector === PAGE_FAULT && (exit.errorCode & FETCH) !== 0;
  }

  private changes(): number[] {
    const { bytes, words } = this.engine.memory;
    const found: number[] = [];
    this.pages.forEach(({ frame, before }, index) => {
      const wanted = new Int32Array(before.buffer);
      for (let word = 0; word < 1024; word++) {
        if (words[frame * 1024 + word]! >> 0 === wanted[word]! >> 0) continue;
        for (let offset = word * 4; offset < word * 4 + 4; offset++)
          if (bytes[frame * 4096 + offset] !== before[offset])
            found.push(index * 2 ** 20 + offset * 256 + bytes[frame * 4096 + offset]!);
      }
    });
    for (const change of found) {
      const page = this.pages[Math.floor(change / 2 ** 20)]!;
      const offset = (change >> 8) & 4095;
      bytes[page.frame * 4096 + offset] = page.before[offset]!;
    }
    return found;
  }

  private restore(test: Case): void {
    const { bytes } = this.engine.memory;
    for (const { page, offset, bytes: patch } of test.patches) {
      const { frame, before, page: there } = this.pages[page]!;
      const original = there.image.subarray(offset, offset + patch.length);
      bytes.set(original, frame * 4096 + offset);
      before.set(original, offset);
      if (there.access === PAGE_ACCESS.EXECUTE) this.engine.frames.written(frame);
    }
  }
}
