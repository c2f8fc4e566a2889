import { Engine } from "../src/engine.ts";
import { type EngineOptions, EXIT, type ExitReason } from "../src/vcpu.ts";
import type { VirtualCpu } from "../src/virtual-cpu.ts";
import { LAYOUT } from "./cases.ts";

const PRESENT_USER = 5;
const WRITABLE = 2;
const OWNER = 1;

/** What tests and benchmarks choose. */
export type MachineOptions = Pick<EngineOptions, "translate" | "sampleInterval" | "features"> & {
  /** Instructions in one call of `run`; 1000 when left out. */
  readonly budget?: number;
};

/** State after a program. */
export interface ProgramOutcome {
  readonly exit: ExitReason;
  readonly rip: bigint;
  readonly registers: bigint[];
  readonly flags: bigint;
  readonly data: number[];
  readonly stack: number[];
  /** Instructions that the engine executed since it was made. */
  readonly instructions: number;
}

/** Executes small programs on the engine, each from the same pages. Single instructions are for `CaseMachine`. */
export class ConformanceMachine {
  readonly engine: Engine;
  readonly vcpu: VirtualCpu;
  private readonly budget: number;
  private readonly root: number;
  private nextFrame: number;
  private readonly frames: Readonly<Record<"code" | "data" | "readOnly" | "stack", number>>;
  private readonly images: { readonly data: Uint8Array; readonly stack: Uint8Array };

  constructor(data: Uint8Array, stack: Uint8Array, options: MachineOptions = {}) {
    const { budget, ...engine } = options;
    this.budget = budget ?? 1000;
    this.engine = new Engine({
      ...engine,
      memoryBytes: 1 << 20,
      ports: {
        readTsc: () => 0n,
        cpuid: (_vcpu, _leaf, _subleaf, out) => out.fill(0),
        readDescriptor: () => undefined,
        mayReachForeign: () => false,
        random: () => 0n,
      },
    });
    this.images = { data, stack };
    this.nextFrame = this.engine.memory.firstFrame;
    this.root = this.frame();
    this.frames = { code: this.frame(), data: this.frame(), readOnly: this.frame(), stack: this.frame() };
    this.map(LAYOUT.code, this.frames.code, WRITABLE);
    this.map(LAYOUT.data, this.frames.data, WRITABLE);
    this.map(LAYOUT.readOnly, this.frames.readOnly, 0);
    this.map(LAYOUT.stack, this.frames.stack, WRITABLE);
    this.engine.memory.bytes.set(data, this.frames.readOnly * 4096);
    this.vcpu = this.engine.createVcpu(0);
    this.vcpu.owner = OWNER;
    this.vcpu.setRoot(this.root);
  }

  private frame(): number {
    this.engine.frames.setOwner(this.nextFrame, OWNER);
    return this.nextFrame++;
  }

  private map(address: number, frame: number, flags: number): void {
    const { quads } = this.engine.memory;
    let table = this.root;
    for (let level = 4; level > 1; level--) {
      const at = table * 512 + (Math.floor(address / 2 ** (3 + level * 9)) % 512);
      if (quads[at] === 0n) quads[at] = BigInt(this.frame() * 4096 + PRESENT_USER + WRITABLE);
      table = Number(quads[at]! >> 12n);
    }
    quads[table * 512 + (Math.floor(address / 4096) % 512)] = BigInt(frame * 4096 + PRESENT_USER + flags);
  }

  /** Executes a program from the entry to its breakpoint; `seeds` go to the registers that programs may use freely. */
  execute(code: Uint8Array, seeds: readonly bigint[]): ProgramOutcome {
    const { engine, vcpu, frames, images } = this;
    const { bytes } = engine.memory;
    bytes.set(code, frames.code * 4096 + (LAYOUT.entry - LAYOUT.code));
    engine.frames.written(frames.code);
    bytes.set(images.data, frames.data * 4096);
    bytes.set(images.stack, frames.stack * 4096);
    vcpu.regs.fill(0n);
    [0, 1, 2, 6, 7, 5, 8, 9, 10, 11, 12, 13].forEach((number, index) => {
      vcpu.regs[number] = seeds[index] ?? 0n;
    });
    vcpu.regs[3] = BigInt(LAYOUT.data);
    vcpu.regs[4] = BigInt(LAYOUT.stack + 0x800);
    vcpu.rip = BigInt(LAYOUT.entry);
    let exit = vcpu.run(this.budget);
    while (exit.reason === EXIT.BUDGET) exit = vcpu.run(this.budget);
    return {
      exit: exit.reason,
      rip: vcpu.rip,
      registers: Array.from(vcpu.regs),
      flags: vcpu.rflags,
      data: Array.from(bytes.subarray(frames.data * 4096, frames.data * 4096 + 4096)),
      stack: Array.from(bytes.subarray(frames.stack * 4096, frames.stack * 4096 + 4096)),
      instructions: engine.stats.instructions,
    };
  }
}
