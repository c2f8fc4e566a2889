import { Instruction } from "@paravirt/x86";
import { Engine } from "../src/engine.ts";
import { STATE } from "../src/layout.ts";
import { EXIT, type Exit, type GatePlan } from "../src/vcpu.ts";
import type { VirtualCpu } from "../src/virtual-cpu.ts";
import { CELLS, CODE_PAGES, GATE_RETURN, HOST_CALL, PLACES, SELECTOR, SLOT_BYTES, SLOTS } from "./places.ts";
import type { Image, Program } from "./program.ts";
import { Random } from "./random.ts";

const OWNER = 1;
const READ = 5;
const WRITE = 7;
const TRAP_FLAG = 0x100n;
const DEBUG = 1;
const PAGE_FAULT = 14;
/** A program that has left the processor this often ends. */
const EVENT_LIMIT = 300;
/** Instructions after which a program that doesn't end is stopped. */
const INSTRUCTION_LIMIT = 40_000;
/** Flat segments, and one with a base. */
const DESCRIPTORS: Readonly<Record<number, bigint>> = {
  [SELECTOR.code32 >> 3]: 0x00cffb000000ffffn,
  [SELECTOR.data >> 3]: 0x00cff3000000ffffn,
  [SELECTOR.code64 >> 3]: 0x00affb000000ffffn,
  7: 0x00cff3a01000ffffn,
  // A limit in the middle of the data pages.
  8: 0x00c0f30000000a00n,
};

/** How a machine executes: what must make no difference. */
export interface Style {
  readonly name: string;
  /** `step`: one instruction at a time; `mixed`: now and then. */
  readonly drive: "run" | "step" | "mixed";
  readonly translate: boolean;
  readonly sampleInterval?: number;
  /** Translates all labels at once, without waiting for samples. */
  readonly force?: boolean;
}

/** An exit that something outside had to act on. */
export interface Event {
  readonly text: string;
  readonly registers: BigUint64Array;
  readonly flags: bigint;
  readonly vectors: number;
}

/** All that a program left behind. */
export interface Outcome {
  readonly stopped: "end" | "limit" | "events";
  readonly instructions: number;
  readonly events: readonly Event[];
  readonly rip: bigint;
  readonly mode: number;
  readonly registers: BigUint64Array;
  readonly flags: bigint;
  readonly selectors: Uint16Array;
  readonly bases: readonly bigint[];
  /** FXSAVE image. */
  readonly fpu: Uint8Array;
  /** All frames that the program could reach, its page tables included. */
  readonly memory: Uint8Array;
  /** Where `memory` begins, in machine memory. */
  readonly memoryStart: number;
}

/** How far an execution goes that doesn't end: instructions, and exits if one more follows them. */
export interface Extent {
  readonly instructions: number;
  readonly events: number;
}

interface Frames {
  readonly code: readonly number[];
  readonly code32: number;
  readonly functions: readonly [number, number];
  readonly data: readonly [number, number, number];
  readonly readOnly: number;
  readonly missing: number;
  readonly moving: readonly [number, number];
  readonly stack: readonly [number, number];
  readonly gateStack: number;
  /** Holds the bytes that mask events and tell of them. */
  readonly events: number;
}

/** Executes programs, each from the same beginning, and plays the host for them. */
export class AgreementMachine {
  readonly style: Style;
  readonly engine: Engine;
  private readonly instruction = new Instruction({ amd: true });
  private readonly firstFrame: number;
  private nextFrame: number;
  private frames!: Frames;
  private roots!: readonly [number, number];
  private vcpu!: VirtualCpu;
  private other!: VirtualCpu;
  private image!: Image;
  private program!: Program;
  private gate: GatePlan | undefined;
  private ticks = 0;
  private calls = 0;
  private faults = 0;

  constructor(style: Style) {
    this.style = style;
    this.engine = new Engine({
      memoryBytes: 1 << 20,
      translate: style.translate,
      ...(style.sampleInterval === undefined ? {} : { sampleInterval: style.sampleInterval }),
      ports: {
        readTsc: () => BigInt(++this.ticks) * 1000n,
        cpuid: (_vcpu, leaf, subleaf, out) => {
          for (let i = 0; i < 4; i++) out[i] = Math.imul(leaf + i * 77 + subleaf, 0x9e3779b1);
        },
        readDescriptor: (_vcpu, selector) => DESCRIPTORS[selector >> 3],
        mayReachForeign: () => false,
        random: () => BigInt.asUintN(64, BigInt(++this.ticks) * 0x9e3779b97f4a7c15n),
      },
    });
    this.firstFrame = this.engine.memory.firstFrame;
    this.nextFrame = this.firstFrame;
  }

  /** Address of a label; a shrunk program may lack it. */
  private label(name: string): bigint {
    return this.image.symbols.get(name) ?? 0n;
  }

  /** Prepares memory, both address spaces and both VCPUs. */
  private load(program: Program, image: Image): void {
    const { engine } = this;
    const { bytes, quads } = engine.memory;
    for (let frame = this.firstFrame; frame < this.nextFrame; frame++) engine.frames.setOwner(frame, OWNER);
    bytes.fill(0, this.firstFrame * 4096, this.nextFrame * 4096);
    engine.tlb.flushAll();
    this.nextFrame = this.firstFrame;
    this.program = program;
    this.image = image;
    this.ticks = this.calls = this.faults = 0;
    const frame = () => {
      engine.frames.setOwner(this.nextFrame, OWNER);
      return this.nextFrame++;
    };
    const frames: Frames = {
      code: Array.from({ length: CODE_PAGES }, frame),
      code32: frame(),
      functions: [frame(), frame()],
      data: [frame(), frame(), frame()],
      readOnly: frame(),
      missing: frame(),
      moving: [frame(), frame()],
      stack: [frame(), frame()],
      gateStack: frame(),
      events: frame(),
    };
    this.frames = frames;
    this.roots = [frame(), frame()];
    const random = new Random(program.seed ^ 0x5eed);
    for (const data of [...frames.data, frames.readOnly, frames.missing, ...frames.moving])
      for (let i = 0; i < 512; i++) quads[data * 512 + i] = random.chance(10) ? BigInt(random.below(3)) : random.wide();
    image.sections.main.forEach((byte, index) => {
      const at = program.offset + index;
      bytes[frames.code[at >> 12]! * 4096 + (at & 4095)] = byte;
    });
    bytes.set(image.sections.code32, frames.code32 * 4096);
    bytes.set(image.sections.functions, frames.functions[0] * 4096);
    bytes.set(image.sections.functionsTwo, frames.functions[1] * 4096);
    for (const data of [frames.data[0], frames.data[2]]) this.writeCells(data * 4096);
    for (const space of [0, 1] as const) {
      const map = (address: number | bigint, mfn: number, flags: number) =>
        this.map(this.roots[space], BigInt(address), mfn, flags, frame);
      map(PLACES.data, frames.data[space * 2]!, WRITE);
      map(PLACES.data + 4096, frames.data[1], WRITE);
      map(PLACES.readOnly, frames.readOnly, READ);
      map(PLACES.missing, 0, 0);
      map(PLACES.moving, frames.moving[space], WRITE);
      frames.stack.forEach((mfn, index) => {
        map(PLACES.stack + index * 4096, mfn, WRITE);
      });
      frames.code.forEach((mfn, index) => {
        map(PLACES.code + index * 4096, mfn, WRITE);
        map(PLACES.alias + index * 4096, mfn, WRITE);
      });
      map(PLACES.gateStack, frames.gateStack, WRITE);
      map(PLACES.code32, frames.code32, WRITE);
      map(PLACES.functions, frames.functions[space], WRITE);
      map(PLACES.high, frames.data[0], WRITE);
      map(PLACES.high + 4096n, frames.data[1], WRITE);
    }
    this.vcpu = this.newVcpu(0);
    this.other = this.newVcpu(1);
    this.gate = program.gate
      ? {
          inKernel: false,
          kernelRoot: this.roots[1],
          userRoot: this.roots[0],
          otherGsBase: BigInt(PLACES.data + 64),
          kernelStack: BigInt(PLACES.gateStack + 4096),
          entry: this.label("kernel"),
          returnNumber: GATE_RETURN,
          flatSelectors: SELECTOR.code64 | (SELECTOR.data << 16),
          knownSelectors: 0,
          maskAt: frames.events * 4096,
          pendingAt: frames.events * 4096 + 1,
        }
      : undefined;
    const { vcpu } = this;
    for (let i = 0; i < 16; i++) vcpu.regs[i] = random.chance(20) ? BigInt(random.below(300)) : random.wide();
    vcpu.regs[3] = BigInt(PLACES.data);
    vcpu.regs[4] = BigInt(PLACES.stack + 8192 - 256);
    vcpu.rip = BigInt(PLACES.code + program.offset);
  }

  private newVcpu(id: number): VirtualCpu {
    const vcpu = this.engine.createVcpu(id);
    vcpu.owner = OWNER;
    vcpu.setRoot(this.roots[0]);
    vcpu.selectors.set([SELECTOR.data, SELECTOR.code64, SELECTOR.data, SELECTOR.data, 0, 0]);
    return vcpu;
  }

  private writeCells(at: number): void {
    const { view } = this.engine.memory;
    for (let i = 0; i < 8; i++)
      view.setBigUint64(at + CELLS.calls + i * 8, this.label(i < 3 ? `leaf${i}` : `func${i % SLOTS}`), true);
    for (let slot = 0; slot < SLOTS; slot++) {
      view.setUint32(at + CELLS.far + slot * 8, PLACES.code32 + slot * SLOT_BYTES, true);
      view.setUint16(at + CELLS.far + slot * 8 + 4, SELECTOR.code32, true);
    }
    view.setUint16(at + CELLS.back + 4, SELECTOR.code64, true);
  }

  /** Index of the leaf entry for `address` in `quads`, tables made on the way. */
  private entry(root: number, address: bigint, frame: () => number): number {
    const { quads } = this.engine.memory;
    let table = root;
    for (let level = 4; level > 1; level--) {
      const at = table * 512 + Number((address >> BigInt(3 + level * 9)) & 511n);
      if (quads[at] === 0n) quads[at] = BigInt(frame() * 4096 + WRITE);
      table = Number(quads[at]! >> 12n);
    }
    return table * 512 + Number((address >> 12n) & 511n);
  }

  private map(root: number, address: bigint, mfn: number, flags: number, frame: () => number): void {
    this.engine.memory.quads[this.entry(root, address, frame)] = BigInt(mfn * 4096 + flags);
  }

  /** Changes the leaf entry at `address` of the address space in use, and drops what is cached in one of three ways. */
  private change(address: number, edit: (entry: bigint) => bigint): void {
    const { quads } = this.engine.memory;
    const at = this.entry(this.vcpu.root, BigInt(address), () => 0);
    quads[at] = edit(quads[at]!);
    const { tlb } = this.engine;
    const way = this.calls % 3;
    if (way === 0) tlb.flushPage(BigInt(address));
    else if (way === 1) tlb.flushAddressSpace(this.vcpu.root);
    else tlb.flushAll();
  }

  /** Executes the program to its end, or to the first chance to stop where `until` says (exactly there by steps). */
  execute(program: Program, image: Image, until: Extent = { instructions: INSTRUCTION_LIMIT, events: 0 }): Outcome {
    this.load(program, image);
    const { style, vcpu, engine } = this;
    const slices = new Random(program.seed ^ style.name.length);
    const events: Event[] = [];
    let stopped: Outcome["stopped"] = "limit";
    if (style.force) this.translateLabels();
    const runs = () =>
      vcpu.instructions < until.instructions ||
      (vcpu.instructions === until.instructions && events.length < until.events);
    while (runs()) {
      const exit = this.next(slices, until.instructions);
      if (exit.reason === EXIT.BUDGET) {
        // Putting the state away and bringing it back changes nothing.
        if (slices.chance(5)) engine.activate(this.other);
        continue;
      }
      events.push(this.event(exit));
      if (!this.handle(exit)) {
        stopped = "end";
        break;
      }
      if (events.length === EVENT_LIMIT) {
        stopped = "events";
        break;
      }
      if (style.force && slices.chance(25)) this.translateLabels();
    }
    return this.outcome(stopped, events);
  }

  /** Executes a slice, through the gate if there is one. */
  private next(slices: Random, limit: number): Exit {
    if (this.gate === undefined) return this.slice(slices, limit);
    this.openContexts();
    this.vcpu.armGate(this.gate);
    const exit = this.slice(slices, limit);
    const passed = this.vcpu.closeGate();
    if (passed !== undefined) this.gate = { ...this.gate, inKernel: passed.inKernel, otherGsBase: passed.otherGsBase };
    return exit;
  }

  /**
   * Has the TLB know both address spaces in both modes. The gate shuts where one is new, which would depend on how a program
   * is cut into slices.
   */
  private openContexts(): void {
    const { vcpu } = this;
    const { root, mode } = vcpu;
    for (const each of mode === 64 ? ([32, 64] as const) : ([64, 32] as const)) {
      vcpu.mode = each;
      for (const space of this.roots) vcpu.setRoot(space);
    }
    vcpu.setRoot(root);
  }

  private slice(slices: Random, limit: number): Exit {
    const { style, vcpu } = this;
    if (style.drive === "step" || (style.drive === "mixed" && slices.chance(30))) return vcpu.step();
    const slice = slices.pick([1, 2, 7, 50, 300, 300, 3000, 3000, 20_000]);
    return vcpu.run(Math.max(1, Math.min(slice, limit - vcpu.instructions)));
  }

  private translateLabels(): void {
    for (const [name, address] of this.image.symbols) {
      const isFunction = name.startsWith("func");
      const frame = isFunction
        ? this.frames.functions[0]
        : this.frames.code[Number(address - BigInt(PLACES.code)) >> 12];
      if (frame !== undefined) this.engine.translator.translate(frame, Number(address & 4095n));
    }
  }

  private event(exit: Exit): Event {
    const { vcpu } = this;
    const names = ["", "fault", "interrupt", "syscall", "sysenter"];
    const vector = exit.reason <= EXIT.INTERRUPT ? ` ${exit.vector}` : "";
    const error = exit.reason === EXIT.FAULT && exit.hasErrorCode ? ` error ${exit.errorCode}` : "";
    const address =
      exit.reason === EXIT.FAULT && exit.vector === PAGE_FAULT ? ` at 0x${exit.address.toString(16)}` : "";
    const text = `${names[exit.reason]}${vector}${error}${address}, rip 0x${vcpu.rip.toString(16)}, after ${vcpu.instructions} instructions, ${vcpu.mode}-bit`;
    return { text, registers: vcpu.regs.slice(), flags: vcpu.rflags, vectors: this.digestOfVectors() };
  }

  private digestOfVectors(): number {
    const { words } = this.engine.memory;
    let hash = 0;
    for (let at = STATE.xmm / 4; at < STATE.end / 4; at++) hash = Math.imul(hash ^ words[at]!, 0x01000193);
    return Math.imul(hash ^ words[STATE.mxcsr / 4]!, 0x01000193);
  }

  /** What the host does about an exit; `false` when the program ends. */
  private handle(exit: Exit): boolean {
    const { vcpu } = this;
    switch (exit.reason) {
      case EXIT.SYSCALL:
        vcpu.regs[1] = vcpu.rip;
        vcpu.regs[11] = vcpu.rflags;
        if (this.gate?.inKernel) {
          this.gate = { ...this.gate, inKernel: false };
          vcpu.setRoot(this.roots[0]);
        }
        return true;
      case EXIT.INTERRUPT:
        vcpu.rip += BigInt(exit.length);
        return this.hostCall(exit.vector);
      case EXIT.FAULT:
        this.fault(exit);
        return true;
      default:
        return true;
    }
  }

  private hostCall(vector: number): boolean {
    const { vcpu, frames, engine } = this;
    this.calls++;
    switch (vector) {
      case HOST_CALL.end:
        return false;
      case HOST_CALL.firstSpace:
        vcpu.setRoot(this.roots[0]);
        break;
      case HOST_CALL.secondSpace:
        vcpu.setRoot(this.roots[1]);
        break;
      case HOST_CALL.move: {
        const [one, two] = frames.moving;
        this.change(
          PLACES.moving,
          (entry) => BigInt((Number(entry >> 12n) === one ? two : one) * 4096) | (entry & 0x7n),
        );
        break;
      }
      case HOST_CALL.protect:
        this.change(PLACES.moving, (entry) => entry ^ 2n);
        break;
      case HOST_CALL.unmap:
        this.change(PLACES.missing, () => 0n);
        break;
      case HOST_CALL.moveFunctions: {
        const [one, two] = frames.functions;
        this.change(PLACES.functions, (entry) => BigInt((Number(entry >> 12n) === one ? two : one) * 4096 + WRITE));
        break;
      }
      case HOST_CALL.patch:
        this.patch(this.calls);
        break;
      case HOST_CALL.crossPatch:
        this.runOther("writer");
        break;
      case HOST_CALL.otherVcpu:
        this.runOther("spin");
        break;
      case HOST_CALL.forget: {
        const all = [...frames.code, ...frames.data, ...frames.functions, ...frames.moving];
        engine.frames.forget(all[this.calls % all.length]!);
        break;
      }
      case HOST_CALL.flush:
        engine.tlb.flushAll();
        break;
    }
    return true;
  }

  /** Adds one to the immediate of a patchable instruction: through the address space, or at the frame. */
  private patch(number: number): void {
    const { engine, frames, vcpu } = this;
    const address = this.label(`patch${number % 4}`) + 1n;
    if (number % 2 === 0) {
      const byte = new Uint8Array(1);
      if (vcpu.read(address, byte)) vcpu.write(address, Uint8Array.of(byte[0]! + 1));
      return;
    }
    const at = Number(address) - PLACES.code;
    const mfn = frames.code[at >> 12] ?? frames.code32;
    const { bytes } = engine.memory;
    bytes[mfn * 4096 + (at & 4095)] = bytes[mfn * 4096 + (at & 4095)]! + 1;
    engine.frames.written(mfn);
  }

  /** The other VCPU runs a routine to its breakpoint, in this address space. */
  private runOther(label: string): void {
    const { other, vcpu } = this;
    other.setRoot(vcpu.root);
    other.rip = this.label(label);
    other.regs[1] = BigInt(20 + (this.calls % 50));
    const from = other.instructions;
    while (other.instructions - from < 2000 && other.run(100).reason === EXIT.BUDGET);
  }

  /** Repairs the cause, has the guest's handler run, or skips the instruction. */
  private fault(exit: Exit): void {
    const { vcpu, instruction } = this;
    this.faults++;
    if (exit.vector === DEBUG) {
      if (this.faults % 3 === 0) vcpu.rflags &= ~TRAP_FLAG;
      return;
    }
    const choice = (this.faults * 7 + this.program.seed) % 8;
    if (exit.vector === PAGE_FAULT && choice < 5) {
      const page = Number(exit.address & ~4095n);
      if (page === PLACES.missing && (exit.errorCode & 1) === 0) {
        this.change(page, () => BigInt(this.frames.missing * 4096 + WRITE));
        return;
      }
      if (page === PLACES.moving && (exit.errorCode & 2) !== 0) {
        this.change(page, (entry) => entry | 2n);
        return;
      }
    }
    if (!vcpu.fetch(instruction)) {
      this.recover();
      return;
    }
    const resume = vcpu.rip + BigInt(instruction.length);
    if (choice % 3 !== 0 || !this.deliver(resume)) vcpu.rip = resume;
  }

  /** Puts an IRETQ frame below the red zone and goes to the guest's handler. */
  private deliver(resume: bigint): boolean {
    const { vcpu } = this;
    const rsp = BigInt.asUintN(64, vcpu.regs[4]! - 128n - 40n) & ~15n;
    const frame = BigUint64Array.of(
      resume,
      BigInt(vcpu.selectors[1]!),
      vcpu.rflags & ~TRAP_FLAG,
      vcpu.regs[4]!,
      BigInt(SELECTOR.data),
    );
    if (!vcpu.write(rsp, new Uint8Array(frame.buffer))) return false;
    vcpu.regs[4] = rsp;
    this.goTo("handler");
    return true;
  }

  /** Control went astray: back to the loop's end. */
  private recover(): void {
    this.vcpu.regs[4] = BigInt(PLACES.stack + 8192 - 256);
    this.vcpu.regs[3] = BigInt(PLACES.data);
    this.goTo("next");
  }

  private goTo(label: string): void {
    const { vcpu } = this;
    vcpu.mode = 64;
    vcpu.selectors[1] = SELECTOR.code64;
    vcpu.rip = this.label(label);
  }

  private outcome(stopped: Outcome["stopped"], events: readonly Event[]): Outcome {
    const { vcpu, engine } = this;
    const fpu = new Uint8Array(512);
    vcpu.saveFpu(fpu);
    const { bytes, quads } = engine.memory;
    return {
      stopped,
      instructions: vcpu.instructions,
      events,
      rip: vcpu.rip,
      mode: vcpu.mode,
      registers: vcpu.regs.slice(),
      flags: vcpu.rflags,
      selectors: vcpu.selectors.slice(),
      bases: Array.from(quads.subarray(STATE.segmentBase / 8, STATE.segmentBase / 8 + 6)),
      fpu,
      memory: bytes.slice(this.firstFrame * 4096, this.nextFrame * 4096),
      memoryStart: this.firstFrame * 4096,
    };
  }
}
