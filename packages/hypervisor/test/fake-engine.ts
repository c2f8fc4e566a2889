import type { FrameGuard, MachineMemory, TlbPort } from "@paravirt/core";
import { type CpuPorts, type Engine, EXIT, type Exit, type Vcpu } from "@paravirt/cpu";
import { decode, type Instruction } from "@paravirt/x86";

/** What a test has the fake processor do instead of running code: it may change registers and says how it stopped. */
export type Script = (cpu: FakeVcpu, budget: number) => Partial<Exit>;

const PRESENT = 1n;
const WRITABLE = 2n;
const USER = 4n;

/** A processor that executes scripts, with real registers and real page-table walks. */
export class FakeVcpu implements Vcpu {
  readonly regs = new BigUint64Array(16);
  readonly regWords = new Uint32Array(this.regs.buffer);
  readonly selectors = new Uint16Array(6);
  rip = 0n;
  rflags = 0x202n;
  fsBase = 0n;
  gsBase = 0n;
  mode: 64 | 32 = 64;
  cr0 = 0n;
  cr4 = 0n;
  xcr0 = 1n;
  tscAux = 0;
  owner = 0;
  root = 0;
  instructions = 0;
  /** What `run` does next; without one it spends its budget. */
  scripts: Script[] = [];
  /** What `stepOverlaid` does to the overlay page. */
  overlaid: ((page: Uint8Array, offsetOf: (address: bigint) => number) => Partial<Exit>) | undefined;

  readonly id: number;
  readonly memory: MachineMemory;
  readonly ports: CpuPorts;

  constructor(id: number, memory: MachineMemory, ports: CpuPorts) {
    this.id = id;
    this.memory = memory;
    this.ports = ports;
  }

  setRoot(mfn: number): void {
    this.root = mfn;
  }

  // Scripts play system calls, never the gate.
  armGate(): void {}

  closeGate(): undefined {}

  setSyscallRegisters(): void {
    this.regs[1] = this.rip;
    this.regs[11] = this.rflags;
  }

  translateWords(low: number, high: number, write: boolean): number {
    return this.translate((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0), write);
  }

  describeSegment(): void {}

  /** DR0–DR3 and DR7 as the hypervisor set them. */
  readonly debugRegisters = new BigUint64Array(8);

  debugRegister(number: number): bigint {
    return this.debugRegisters[number] as bigint;
  }

  setDebugRegister(number: number, value: bigint): void {
    this.debugRegisters[number] = value;
  }

  loadSegment(segment: number, selector: number): boolean {
    if (selector > 3) {
      const descriptor = this.ports.readDescriptor(this, selector);
      if (descriptor === undefined) return false;
    }
    this.selectors[segment] = selector;
    return true;
  }

  private exit(partial: Partial<Exit>): Exit {
    return {
      reason: EXIT.BUDGET,
      vector: 0,
      hasErrorCode: false,
      errorCode: 0,
      address: 0n,
      length: 0,
      debugStatus: 0,
      ...partial,
    };
  }

  run(budget: number): Exit {
    const script = this.scripts.shift();
    if (script === undefined) {
      this.instructions += budget;
      return this.exit({});
    }
    this.instructions++;
    return this.exit(script(this, budget));
  }

  step(): Exit {
    return this.run(1);
  }

  stepOverlaid(_page: bigint, overlay: number): Exit {
    const bytes = this.memory.bytes.subarray(overlay * 4096, overlay * 4096 + 4096);
    return this.exit(this.overlaid?.(bytes, (address) => Number(address & 0xfffn)) ?? {});
  }

  fetch(into: Instruction): boolean {
    const code = new Uint8Array(15);
    for (let length = 15; length > 0; length--) {
      if (!this.read(this.rip, code.subarray(0, length))) continue;
      return decode(code, 0, length, this.mode, into) > 0;
    }
    return false;
  }

  translateIn(root: number, address: bigint, write: boolean): number {
    if (root === 0 || root >= this.memory.frames) return 0;
    const top = address >> 47n;
    if (top !== 0n && top !== 0x1ffffn) return 0;
    let table = root;
    for (let level = 3; level >= 0; level--) {
      const index = Number((address >> BigInt(12 + 9 * level)) & 511n);
      const entry = this.memory.quads[table * 512 + index] as bigint;
      if ((entry & PRESENT) === 0n || (entry & USER) === 0n || (write && (entry & WRITABLE) === 0n)) return 0;
      table = Number((entry >> 12n) & 0xf_ffff_ffffn);
      if (table >= this.memory.frames) return 0;
    }
    return table * 4096 + Number(address & 0xfffn);
  }

  translate(address: bigint, write: boolean): number {
    return this.translateIn(this.root, address, write);
  }

  private each(
    address: bigint,
    length: number,
    write: boolean,
    act: (machine: number, index: number) => void,
  ): boolean {
    for (let index = 0; index < length; index++) {
      const machine = this.translate(address + BigInt(index), write);
      if (machine === 0) return false;
      act(machine, index);
    }
    return true;
  }

  read(address: bigint, into: Uint8Array): boolean {
    return this.each(address, into.length, false, (machine, index) => {
      into[index] = this.memory.bytes[machine] as number;
    });
  }

  write(address: bigint, from: Uint8Array): boolean {
    if (!this.each(address, from.length, true, () => {})) return false;
    return this.each(address, from.length, true, (machine, index) => {
      this.memory.bytes[machine] = from[index] as number;
    });
  }

  saveFpu(): void {}
  loadFpu(): void {}
}

/** An engine of scripted processors over `frames` frames of memory. */
export function createFakeEngine(frames: number): (ports: CpuPorts) => Engine & { readonly cpus: FakeVcpu[] } {
  const buffer = new ArrayBuffer(frames * 4096);
  const memory: MachineMemory = {
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
    words: new Uint32Array(buffer),
    quads: new BigUint64Array(buffer),
    frames,
    firstFrame: 16,
  };
  const guard: FrameGuard = {
    setOwner() {},
    setWritable() {},
    setReadableByAll() {},
    forget() {},
    written() {},
  };
  const tlb: TlbPort = { flushPage() {}, flushAddressSpace() {}, flushAll() {} };
  return (ports) => {
    const cpus: FakeVcpu[] = [];
    return {
      memory,
      frames: guard,
      tlb,
      cpus,
      createVcpu(id) {
        const cpu = new FakeVcpu(id, memory, ports);
        cpus.push(cpu);
        return cpu;
      },
      stats: { instructions: 0, tlbFills: 0, faults: 0, blocksDecoded: 0, blocksTranslated: 0 },
    };
  };
}
