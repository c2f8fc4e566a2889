import type { Clock } from "@paravirt/core";
import { EXIT } from "@paravirt/cpu";
import { createTableBuilder, PTE } from "@paravirt/paging";
import { type Domain, type DomainOptions, Hypervisor, type HypervisorOptions, type VirtualCpu } from "../src/index.ts";
import { createFakeEngine, type FakeVcpu } from "./fake-engine.ts";

/** A clock that a test holds still or moves. */
export interface TestClock extends Clock {
  time: bigint;
}

export function testClock(): TestClock {
  return {
    time: 1_000_000n,
    now() {
      return this.time;
    },
    // 2026-11-24 00:00:00.5 UTC
    wallClockBase: 1_795_478_400_500_000_000n,
  };
}

/** Where a fake guest's pages are mapped: pfn N at BASE + N * 4096. */
export const BASE = 0xffff_ffff_8000_0000n;
/** Pages that each fake guest maps. */
export const PAGES = 64;
/** Pfn of the page where tests put a hypercall's arguments, and of the boot stack. */
export const ARGUMENTS = 8;
export const STACK = 12;
export const at = (pfn: number, offset = 0): bigint => BASE + BigInt(pfn * 4096 + offset);

export function testHypervisor(options: Partial<HypervisorOptions> = {}): Hypervisor & { readonly clock: TestClock } {
  return new Hypervisor({ createEngine: createFakeEngine(2048), clock: testClock(), ...options }) as Hypervisor & {
    readonly clock: TestClock;
  };
}

/** A domain whose kernel is a test. */
export class FakeGuest {
  readonly domain: Domain;
  readonly vcpu: VirtualCpu;
  readonly cpu: FakeVcpu;
  /** MFN by pfn. */
  readonly frames: number[] = [];
  /** MFN of the L1 table that maps the pages. */
  l1 = 0;
  root = 0;

  readonly hypervisor: Hypervisor;

  constructor(hypervisor: Hypervisor, options: Partial<DomainOptions> = {}) {
    this.hypervisor = hypervisor;
    this.domain = hypervisor.createDomain({ maxPages: PAGES + 16, ...options });
    this.vcpu = this.domain.vcpus[0] as VirtualCpu;
    this.cpu = this.vcpu.cpu as FakeVcpu;
    const { paging, memory } = hypervisor;
    const take = (pfn: number): number => paging.populatePhysmap(this.domain.memory, 0, pfn);
    for (let pfn = 0; pfn < PAGES; pfn++) this.frames.push(take(pfn));
    this.root = take(PAGES);
    const tables: number[] = [];
    const builder = createTableBuilder({
      memory,
      root: this.root,
      allocateTable: () => {
        const mfn = take(PAGES + 1 + tables.length);
        tables.push(mfn);
        return mfn;
      },
    });
    for (let pfn = 0; pfn < PAGES; pfn++) {
      builder.map(
        at(pfn),
        this.frames[pfn] as number,
        PTE.PRESENT | PTE.WRITABLE | PTE.USER | PTE.ACCESSED | PTE.DIRTY,
      );
    }
    this.l1 = tables[2] as number;
    const pinned = paging.pin(this.domain.memory, 4, this.root);
    if (pinned !== 0) throw new Error(`pin: ${pinned}`);
    this.vcpu.startPv({ entry: at(0), stack: at(STACK + 1), startInfo: at(1), root: this.root });
    this.domain.unpause();
  }

  /** The machine's bytes of a page. */
  page(pfn: number): Uint8Array {
    const mfn = this.frames[pfn] as number;
    return this.hypervisor.memory.bytes.subarray(mfn * 4096, mfn * 4096 + 4096);
  }

  view(pfn: number): DataView {
    const page = this.page(pfn);
    return new DataView(page.buffer, page.byteOffset, 4096);
  }

  /** Puts bytes into the arguments page and answers their address. */
  put(bytes: Uint8Array | readonly number[], offset = 0): bigint {
    this.page(ARGUMENTS).set(bytes, offset);
    return at(ARGUMENTS, offset);
  }

  /** Issues a hypercall from kernel mode, runs the VCPU until its next exit, and answers RAX as a signed number. */
  call(number: number, ...args: (bigint | number)[]): bigint {
    this.queueCall(number, ...args);
    this.hypervisor.runVcpu(this.vcpu, 100);
    return BigInt.asIntN(64, this.cpu.regs[0] as bigint);
  }

  queueCall(number: number, ...args: (bigint | number)[]): void {
    const order = [7, 6, 2, 10, 8, 9];
    this.cpu.scripts.push((cpu) => {
      cpu.regs[0] = BigInt.asUintN(64, BigInt(number));
      for (const [index, register] of order.entries())
        cpu.regs[register] = BigInt.asUintN(64, BigInt(args[index] ?? 0));
      cpu.rip += 2n;
      return { reason: EXIT.SYSCALL };
    });
  }

  /** Has the processor fault. */
  fault(vector: number, errorCode: number | undefined, address = 0n): void {
    this.cpu.scripts.push(() => ({
      reason: EXIT.FAULT,
      vector,
      hasErrorCode: errorCode !== undefined,
      errorCode: errorCode ?? 0,
      address,
    }));
    this.hypervisor.runVcpu(this.vcpu, 100);
  }

  /** The 64-bit words from RSP up. */
  stack(words: number): bigint[] {
    const rsp = this.cpu.regs[4] as bigint;
    const found: bigint[] = [];
    for (let i = 0; i < words; i++) {
      const machine = this.cpu.translate(rsp + BigInt(i * 8), false);
      found.push(this.hypervisor.memory.quads[machine / 8] as bigint);
    }
    return found;
  }
}
