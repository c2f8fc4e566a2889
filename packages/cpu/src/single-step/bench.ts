import { ParavirtError } from "@paravirt/core";
import { OPCODES } from "@paravirt/x86";
import { engineInstruction } from "../decoding.ts";
import { Engine } from "../engine.ts";
import { ENGINE, STATE } from "../layout.ts";
import { type CpuPorts, EXIT, type Exit } from "../vcpu.ts";
import type { VirtualCpu } from "../virtual-cpu.ts";
import { ADDRESS_SPACE_BYTES, AddressSpace, type MappedPage } from "./address-space.ts";
import type { StepCase, StepException, StepOutcome } from "./case.ts";
import { changedBytes } from "./changes.ts";
import { BENCH_PORTS, CR4, SELECTORS, XCR0 } from "./environment.ts";

const OWNER = 1;
const PAGE = 4096n;
const MAX_CODE = 15;
const INT3 = 0xcc;
/** ES CS SS DS come before it. */
const FS = 4;
const FXSAVE = { size: 512, fcw: 0, fsw: 2, ftw: 4, mxcsr: 24, st: 32, xmm: 160 } as const;
const BREAKPOINT = 3;
const OVERFLOW = 4;
const UNDEFINED = 6;
const GENERAL_PROTECTION = 13;
/** Error code of an exception that a gate in the interrupt table caused: bit 1, IDT. */
const IDT_ERROR = 2;
/** TF and AC: each instruction is looked at. */
const CAREFUL_FLAGS = 0x40100n;
/** Executed at once when a repeated instruction pauses. */
const SLICE = 1;

/** What {@link createStepBench} may be told. */
export interface StepBenchOptions {
  /** Answers of the processor's surroundings: CPUID, TSC, random numbers, descriptors. */
  readonly ports?: Partial<CpuPorts>;
}

/** Executes single instructions: see {@link createStepBench}. */
export interface StepBench {
  /**
   * Executes the case's instruction, a repeated string instruction to its end. Tier 0 interprets it. Tier 1 translates it
   * as a region of its own and runs that; what a guest's translated code leaves to the interpreter too (see
   * {@link StepBench.translates}) is interpreted. Throws `BAD_ARGUMENT` or `OUT_OF_RANGE` for a case that no processor
   * can be in: too long code, misaligned pages, reserved bits in MXCSR.
   */
  run(test: StepCase, tier?: 0 | 1): StepOutcome;
  /** Whether tier 1 executes the case in translated code. */
  translates(test: StepCase): boolean;
}

/** Executes single instructions, each from a state of its own, on one engine that it keeps. */
export class SingleStepBench implements StepBench {
  private readonly engine: Engine;
  private readonly vcpu: VirtualCpu;
  private readonly space: AddressSpace;
  /** Holds the instruction among breakpoints while translated code runs. */
  private readonly codeFrame: number;
  private readonly fpuImage = new Uint8Array(FXSAVE.size);
  private readonly fpuView = new DataView(this.fpuImage.buffer);
  private readonly instruction = engineInstruction();
  /** Whether the case gave upper halves of YMM registers. */
  private upperGiven = false;
  /** Where the case's instruction lies. */
  private start = 0n;

  constructor(options: StepBenchOptions = {}) {
    this.engine = new Engine({ memoryBytes: ADDRESS_SPACE_BYTES, ports: { ...BENCH_PORTS, ...options.ports } });
    this.space = new AddressSpace(this.engine, OWNER);
    this.codeFrame = this.space.newFrame();
    this.vcpu = this.engine.createVcpu(0);
    this.vcpu.owner = OWNER;
    this.vcpu.setRoot(this.space.root);
    this.vcpu.cr4 = CR4;
    this.vcpu.xcr0 = XCR0;
  }

  run(test: StepCase, tier: 0 | 1 = 0): StepOutcome {
    if (tier === 1) {
      const outcome = this.runTranslated(test);
      if (outcome !== undefined) return outcome;
    }
    this.load(test);
    const { vcpu } = this;
    const before = vcpu.instructions;
    let exit = vcpu.step();
    while (exit.reason === EXIT.BUDGET && vcpu.instructions === before) exit = vcpu.step();
    return this.outcome(exit);
  }

  translates(test: StepCase): boolean {
    return this.runTranslated(test) !== undefined;
  }

  private load(test: StepCase): MappedPage {
    const { vcpu, space, fpuImage, fpuView } = this;
    const { code, at, fpu } = test;
    if (code.length < 1 || code.length > MAX_CODE)
      throw new ParavirtError("BAD_ARGUMENT", `${code.length} bytes of code: 1 to ${MAX_CODE}`);
    this.start = at;
    space.begin();
    for (const page of test.pages) {
      if (page.at % PAGE !== 0n || page.data.length > Number(PAGE))
        throw new ParavirtError(
          "BAD_ARGUMENT",
          `a page of ${page.data.length} bytes at 0x${page.at.toString(16)}: up to ${PAGE} at a multiple of ${PAGE}`,
        );
      space.map(page.at, page.data, page.writable);
    }
    const first = this.layCode(test);
    space.finish();

    vcpu.mode = test.mode;
    vcpu.regs.set(test.regs);
    vcpu.rip = at;
    vcpu.rflags = test.rflags;
    vcpu.selectors.set(SELECTORS[test.mode]);
    vcpu.segments.reset();
    this.engine.memory.quads.fill(0n, STATE.segmentBase / 8, STATE.segmentBase / 8 + FS);
    vcpu.fsBase = test.fsBase;
    vcpu.gsBase = test.gsBase;
    fpuView.setUint16(FXSAVE.fcw, fpu.cw, true);
    fpuView.setUint16(FXSAVE.fsw, fpu.sw, true);
    fpuImage[FXSAVE.ftw] = fpu.tw;
    fpuView.setUint32(FXSAVE.mxcsr, test.mxcsr, true);
    for (let i = 0; i < 8; i++) fpuImage.set(fpu.st.subarray(i * 10, i * 10 + 10), FXSAVE.st + i * 16);
    fpuImage.set(test.xmm, FXSAVE.xmm);
    vcpu.loadFpu(fpuImage);
    this.loadUpper(test.ymmh);
    return first;
  }

  private loadUpper(ymmh: Uint8Array | undefined): void {
    this.upperGiven = ymmh !== undefined;
    const { bytes, quads } = this.engine.memory;
    for (let i = 0; i < 16; i++) {
      const at = STATE.xmm + i * 32 + 16;
      if (ymmh === undefined) quads.fill(0n, at / 8, at / 8 + 2);
      else bytes.set(ymmh.subarray(i * 16, i * 16 + 16), at);
    }
  }

  private upper(): Uint8Array | undefined {
    const { bytes, quads } = this.engine.memory;
    let wanted = this.upperGiven;
    for (let at = STATE.xmm / 8 + 2; at < STATE.end / 8 && !wanted; at += 4)
      wanted = quads[at] !== 0n || quads[at + 1] !== 0n;
    if (!wanted) return undefined;
    const ymmh = new Uint8Array(256);
    for (let i = 0; i < 16; i++) ymmh.set(bytes.subarray(STATE.xmm + i * 32 + 16, STATE.xmm + i * 32 + 32), i * 16);
    return ymmh;
  }

  /** Writes the code into the images of its pages, mapping those that the case has not named; answers the first. */
  private layCode({ code, at, mode }: StepCase): MappedPage {
    const { space } = this;
    const wrap = mode === 64 ? 64 : 32;
    const start = at & ~(PAGE - 1n);
    const first = space.find(start) ?? space.map(start, new Uint8Array(0), false);
    const offset = Number(at - start);
    const room = Math.min(code.length, Number(PAGE) - offset);
    first.image.set(code.subarray(0, room), offset);
    if (room < code.length) {
      const following = BigInt.asUintN(wrap, start + PAGE);
      const second = space.find(following) ?? space.map(following, new Uint8Array(0), false);
      second.image.set(code.subarray(room));
    }
    return first;
  }

  /** Runs the case in a region of its own; `undefined` when some of it was not executed there. */
  private runTranslated(test: StepCase): StepOutcome | undefined {
    // What looks at each instruction is interpreted.
    if ((test.rflags & CAREFUL_FLAGS) !== 0n) return undefined;
    const page = this.load(test);
    const { engine, vcpu, space, codeFrame } = this;
    const { bytes, words, quads } = engine.memory;
    const offset = Number(test.at & (PAGE - 1n));
    // The region sees a frame where breakpoints surround the instruction; data accesses to the page go to its bytes.
    bytes.fill(INT3, codeFrame * 4096, codeFrame * 4096 + 4096);
    const length = this.lengthAt(test);
    if (length === 0 || offset + length > 4096) return undefined;
    const shown = page.image.subarray(offset, offset + length);
    bytes.set(shown, codeFrame * 4096 + offset);
    engine.frames.written(codeFrame);
    if (!engine.translator.translate(codeFrame, offset, test.mode)) return undefined;
    const writable = (page.leaf & 2n) !== 0n;
    space.executeOnly(page, codeFrame);
    quads[ENGINE.overlayPage / 8] = page.at;
    words[ENGINE.overlayAddress / 4] = page.frame * 4096;
    words[ENGINE.overlayReadOnly / 4] = writable ? 0 : 1;
    const before = vcpu.instructions;
    let exit = vcpu.run(SLICE);
    while (exit.reason === EXIT.BUDGET && vcpu.instructions === before) exit = vcpu.run(SLICE);
    quads[ENGINE.overlayPage / 8] = 1n;
    words[ENGINE.overlayReadOnly / 4] = 0;
    const executed = vcpu.instructions - before;
    // A branch into its own bytes, and what faults elsewhere, has begun a second instruction.
    if (executed > 1) return undefined;
    return this.outcome(executed === 1 ? { ...exit, reason: EXIT.BUDGET } : exit);
  }

  private lengthAt(test: StepCase): number {
    const { vcpu, instruction } = this;
    vcpu.rip = test.at;
    return vcpu.fetch(instruction) ? instruction.length : 0;
  }

  private outcome(exit: Exit): StepOutcome {
    const { vcpu, fpuImage, fpuView } = this;
    const exception = this.exceptionOf(exit);
    vcpu.saveFpu(fpuImage);
    const st = new Uint8Array(80);
    for (let i = 0; i < 8; i++) st.set(fpuImage.subarray(FXSAVE.st + i * 16, FXSAVE.st + i * 16 + 10), i * 10);
    return {
      rip: vcpu.rip,
      exception,
      regs: vcpu.regs.slice(),
      rflags: vcpu.rflags,
      xmm: fpuImage.slice(FXSAVE.xmm, FXSAVE.xmm + 256),
      ymmh: this.upper(),
      mxcsr: fpuView.getUint32(FXSAVE.mxcsr, true),
      fpu: {
        cw: fpuView.getUint16(FXSAVE.fcw, true),
        sw: fpuView.getUint16(FXSAVE.fsw, true),
        tw: fpuImage[FXSAVE.ftw]!,
        st,
      },
      changes: changedBytes(this.engine.memory, this.space.sorted()),
    };
  }

  /** Whether the instruction is INT n. */
  private isNumbered(): boolean {
    const { vcpu, instruction } = this;
    return vcpu.fetch(instruction) && OPCODES[instruction.row]!.name === "int";
  }

  /** What the exit is to a processor whose system has gates 3 and 4 open to user mode, and no SYSCALL or SYSENTER. */
  private exceptionOf(exit: Exit): StepException | undefined {
    const { vcpu } = this;
    const exception = (vector: number, error = 0, cr2 = 0n) => ({ vector, error, cr2 });
    switch (exit.reason) {
      case EXIT.FAULT:
        return exception(exit.vector, exit.hasErrorCode ? exit.errorCode : 0, exit.address);
      case EXIT.INTERRUPT: {
        // INT3, INT1 and INTO are traps by themselves; INT n asks the interrupt table.
        const { vector, length } = exit;
        if (vector !== BREAKPOINT && vector !== OVERFLOW && this.isNumbered())
          return exception(GENERAL_PROTECTION, vector * 8 + IDT_ERROR);
        vcpu.rip = BigInt.asUintN(vcpu.mode, vcpu.rip + BigInt(length));
        return exception(vector);
      }
      case EXIT.SYSCALL:
        vcpu.rip = this.start;
        return exception(UNDEFINED);
      case EXIT.SYSENTER:
        vcpu.rip = this.start;
        return exception(GENERAL_PROTECTION);
      default:
        return undefined;
    }
  }
}

/**
 * Makes a bench for single instructions: a processor at CPL 3 whose memory is what each case says, with an interrupt
 * table whose gates 3 and 4 are open to user mode and no SYSCALL or SYSENTER (as after reset), flat segments where Linux
 * has them (0x23, 0x2b, 0x33), TSC and random numbers that are always the same. For fuzzers, and for comparing with others.
 */
export function createStepBench(options: StepBenchOptions = {}): StepBench {
  return new SingleStepBench(options);
}
