import { assemble } from "@paravirt/x86";
import { Engine } from "../src/engine.ts";
import { EXIT, type Exit } from "../src/vcpu.ts";
import type { VirtualCpu } from "../src/virtual-cpu.ts";
import { SELECTOR } from "./places.ts";

const OWNER = 1;
const NOBODY = 0x7fff;
const FLAT: Readonly<Record<number, bigint>> = {
  [SELECTOR.code32]: 0x00cffb000000ffffn,
  [SELECTOR.data]: 0x00cff3000000ffffn,
  [SELECTOR.code64]: 0x00affb000000ffffn,
};

/** Rights of a page, as in its entry. */
export const PAGE = { readOnly: 5n, writable: 7n, noExecute: 7n | (1n << 63n), absent: 0n } as const;

/** The ways of execution that a stress test tries. */
export const WAYS = ["interpreted", "translated", "stepped"] as const;
export type Way = (typeof WAYS)[number];

/** An engine, address spaces and VCPUs for tests that change pages under running code. */
export class Stage {
  readonly engine: Engine;
  private readonly way: Way;
  private nextFrame: number;
  private nextId = 0;

  constructor(way: Way, memoryBytes = 4 << 20) {
    this.way = way;
    this.engine = new Engine({
      memoryBytes,
      translate: way === "translated",
      sampleInterval: 40,
      ports: {
        readTsc: () => 0n,
        cpuid: (_vcpu, _leaf, _subleaf, out) => out.fill(0),
        readDescriptor: (_vcpu, selector) => FLAT[selector],
        mayReachForeign: () => false,
        random: () => 0n,
      },
    });
    this.nextFrame = this.engine.memory.firstFrame;
  }

  /** Forgets all frames, address spaces and code: a new engine for each test would cost more. */
  reset(): void {
    const { memory, frames, tlb } = this.engine;
    for (let frame = memory.firstFrame; frame < this.nextFrame; frame++) frames.setOwner(frame, NOBODY);
    memory.bytes.fill(0, memory.firstFrame * 4096, this.nextFrame * 4096);
    for (let frame = memory.firstFrame; frame < this.nextFrame; frame++) frames.setWritable(frame, true);
    tlb.flushAll();
    this.nextFrame = memory.firstFrame;
  }

  /** An empty frame; a new address space is one, too. */
  frame(): number {
    this.engine.frames.setOwner(this.nextFrame, OWNER);
    return this.nextFrame++;
  }

  /** A frame of which each quad holds `value`. */
  filled(value: bigint): number {
    const frame = this.frame();
    this.engine.memory.quads.fill(value, frame * 512, frame * 512 + 512);
    return frame;
  }

  /** A frame with assembled code for `address` at its right offset. */
  code(source: string, address: bigint, mode: 64 | 32 = 64): number {
    const frame = this.frame();
    this.patch(frame, source, address, mode);
    return frame;
  }

  /** Writes code into a frame from outside of any guest, without telling the engine. */
  patch(frame: number, source: string, address: bigint, mode: 64 | 32 = 64): void {
    this.engine.memory.bytes.set(assemble(source, { address, mode }).bytes, frame * 4096 + Number(address & 4095n));
  }

  /** Index of an entry in memory's quads: of the leaf table, or of a higher `level`. */
  entry(root: number, address: bigint, level = 1): number {
    const { quads } = this.engine.memory;
    let table = root;
    for (let at = 4; at > level; at--) {
      const entry = table * 512 + Number((address >> BigInt(3 + at * 9)) & 511n);
      if (quads[entry] === 0n) quads[entry] = BigInt(this.frame() * 4096) | PAGE.writable;
      table = Number((quads[entry]! >> 12n) & 0xfffffn);
    }
    return table * 512 + Number((address >> BigInt(3 + level * 9)) & 511n);
  }

  /** Enters a translation; nothing is flushed. */
  map(root: number, address: bigint, frame: number, rights: bigint = PAGE.writable): void {
    this.engine.memory.quads[this.entry(root, address)] = rights === 0n ? 0n : BigInt(frame * 4096) | rights;
  }

  vcpu(root: number, rip: bigint): VirtualCpu {
    const vcpu = this.engine.createVcpu(this.nextId++);
    vcpu.owner = OWNER;
    vcpu.setRoot(root);
    vcpu.rip = rip;
    vcpu.selectors.set([SELECTOR.data, SELECTOR.code64, SELECTOR.data, SELECTOR.data, 0, 0]);
    return vcpu;
  }

  /** Executes until the processor leaves for something else than the budget, or `instructions` are done. */
  run(vcpu: VirtualCpu, instructions = 100_000): Exit {
    const end = vcpu.instructions + instructions;
    for (;;) {
      const exit = this.way === "stepped" ? vcpu.step() : vcpu.run(Math.max(1, end - vcpu.instructions));
      if (exit.reason !== EXIT.BUDGET || vcpu.instructions >= end) return exit;
    }
  }
}
