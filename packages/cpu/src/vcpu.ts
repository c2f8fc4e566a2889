import type { FrameGuard, MachineMemory, TlbPort } from "@paravirt/core";
import type { Instruction } from "@paravirt/x86";

/** Why {@link Vcpu.run} came back. */
export const EXIT = {
  /** The budget is spent. */
  BUDGET: 0,
  /** A fault: `vector`, `errorCode`, `address` (CR2) say which; RIP is at the faulting instruction. */
  FAULT: 1,
  /** `int n`, `int3`, `int1` or `into`: `vector`; RIP is at the instruction, `length` gives its size. */
  INTERRUPT: 2,
  /** `syscall`: RIP is after it; RCX and R11 are untouched (the receiver sets them). */
  SYSCALL: 3,
  /** `sysenter`: RIP is after it. */
  SYSENTER: 4,
} as const;
/** One of the {@link EXIT} values. */
export type ExitReason = (typeof EXIT)[keyof typeof EXIT];

/** What {@link Vcpu.run} returns; the same object every time, valid until the next call. */
export interface Exit {
  /** What must happen next. */
  readonly reason: ExitReason;
  /** Vector of the fault or interrupt. */
  readonly vector: number;
  /** Whether the fault pushes an error code. */
  readonly hasErrorCode: boolean;
  /** Error code of the fault, if it has one. */
  readonly errorCode: number;
  /** Faulting linear address of a #PF. */
  readonly address: bigint;
  /** Bytes of the instruction, for {@link EXIT.INTERRUPT}. */
  readonly length: number;
  /**
   * For a #DB (vector 1): the bits that it sets in DR6, B0–B3 for breakpoints, 0x4000 (BS) for single step. RIP is at the
   * instruction for a breakpoint on its execution, behind it for the others.
   */
  readonly debugStatus: number;
}

/** What the engine asks of its embedder while guest code runs. The engine itself knows no hypervisor. */
export interface CpuPorts {
  /** Time-stamp counter of `vcpu`, for RDTSC and RDTSCP. */
  readTsc(vcpu: Vcpu): bigint;
  /** Answers CPUID into `out` (EAX, EBX, ECX, EDX). */
  cpuid(vcpu: Vcpu, leaf: number, subleaf: number, out: Uint32Array): void;
  /** The descriptor (GDT or LDT, by the selector's TI bit) that a segment load names; `undefined` past the limit. */
  readDescriptor(vcpu: Vcpu, selector: number): bigint | undefined;
  /** Whether `vcpu` may reach a frame of another owner that its page tables map (a grant). */
  mayReachForeign(vcpu: Vcpu, mfn: number, write: boolean): boolean;
  /** 64 random bits for RDRAND and RDSEED. */
  random(): bigint;
}

/**
 * The plan of a gate between the two halves of a guest, its kernel and its user space, each with a page table and a GS
 * base of its own: what {@link Vcpu.armGate} takes. `syscall` in user space then enters the kernel, and `syscall` in
 * the kernel with {@link GatePlan.returnNumber} in RAX returns by the frame on its stack, without leaving
 * {@link Vcpu.run}; whatever is not the common case still leaves with {@link EXIT.SYSCALL}.
 *
 * An entry pushes RCX (the return address) R11 (the flags) RIP CS RFLAGS RSP SS, with the event mask in bits 32 to 39
 * of CS and as the inverse of IF, and masks events. A return takes RAX R11 RCX, flags, RIP CS RFLAGS RSP SS: to user
 * space if CS has RPL 3; IF unmasks events, and the gate stays shut when some wait.
 */
export interface GatePlan {
  /** Whether the kernel runs now. */
  readonly inKernel: boolean;
  /** MFN of the kernel's top-level table. */
  readonly kernelRoot: number;
  /** MFN of user space's top-level table, 0 for none. */
  readonly userRoot: number;
  /** GS base of the half that does not run. */
  readonly otherGsBase: bigint;
  /** Top of the kernel's stack, and where `syscall` enters it; an entry of 0 leaves to the caller. */
  readonly kernelStack: bigint;
  /** See {@link GatePlan.kernelStack}. */
  readonly entry: bigint;
  /** What RAX holds to ask for a return. */
  readonly returnNumber: number;
  /** Selectors of flat 64-bit segments, CS in the low 16 bits and SS above: what an entry loads, and a return may. */
  readonly flatSelectors: number;
  /** Another such pair that a return may load, as the caller has checked. */
  readonly knownSelectors: number;
  /** Machine address of the byte that masks events when it isn't 0. */
  readonly maskAt: number;
  /** Machine address of the byte that isn't 0 while events wait. */
  readonly pendingAt: number;
}

/** A virtual processor at CPL 3, as a PV guest sees it. 64-bit values are `bigint`. */
export interface Vcpu {
  /** Number given at creation. */
  readonly id: number;
  /** RAX RCX RDX RBX RSP RBP RSI RDI R8–R15. Fetch anew after {@link Vcpu.run} of any VCPU: the view may move. */
  readonly regs: BigUint64Array;
  /** The same registers as 32-bit words: register `n` has its low half at `2n`, its high half at `2n + 1`. */
  readonly regWords: Uint32Array;
  /** Instruction pointer. */
  rip: bigint;
  /** RFLAGS, status flags included. */
  rflags: bigint;
  /** ES CS SS DS FS GS. Setting an entry loads no base; use {@link Vcpu.loadSegment}. */
  readonly selectors: Uint16Array;
  /** Linear base of FS. */
  fsBase: bigint;
  /** Linear base of GS. */
  gsBase: bigint;
  /** 64 in 64-bit mode, 32 in compatibility mode; follows CS. */
  mode: 64 | 32;
  /** CR0: TS and EM make FPU instructions raise #NM. */
  cr0: bigint;
  /** CR4: OSXSAVE enables XGETBV. */
  cr4: bigint;
  /** DR0–DR3 (linear addresses) and DR7, by number. DR6 is the embedder's: see {@link Exit.debugStatus}. */
  debugRegister(number: number): bigint;
  /**
   * Sets DR0–DR3 or DR7; throws `OUT_OF_RANGE` for another number. While DR7 enables a breakpoint each instruction is
   * interpreted by itself, some twenty times slower; nothing costs anything otherwise. Port breakpoints are never hit.
   */
  setDebugRegister(number: number, value: bigint): void;
  /** IA32_TSC_AUX: the 32 bits that RDTSCP and RDPID give. */
  tscAux: number;
  /** Extended state that XSAVE knows. */
  xcr0: bigint;
  /** Tag compared with a frame's owner at each TLB fill: the domain id. */
  owner: number;
  /** MFN of the top-level page table in use. */
  readonly root: number;
  /** Switches the address space. Cached translations of both survive. */
  setRoot(mfn: number): void;
  /** Loads a data segment as MOV Sreg does; `false` where the processor would fault. */
  loadSegment(segment: number, selector: number): boolean;
  /**
   * Tells the limit and type of a segment whose selector the embedder has set by itself, as for a return to compatibility
   * mode: CS and SS, which {@link Vcpu.loadSegment} doesn't load from there.
   */
  describeSegment(segment: number, descriptor: bigint): void;
  /**
   * Executes about `budget` instructions (checked at branches) until something outside the processor must act. What takes
   * longer than an instruction, long string instructions and work in JavaScript, costs more of the budget.
   * All registers are architecturally exact when it returns.
   */
  run(budget: number): Exit;
  /**
   * Arms the gate for runs to come, until {@link Vcpu.closeGate}; nothing that the plan says may change meanwhile.
   * Address spaces that were not run yet stay behind {@link EXIT.SYSCALL}.
   */
  armGate(plan: GatePlan): void;
  /**
   * Shuts the gate, and tells what going through it changed: the same object every time, `undefined` when nothing went
   * through since it was armed or closed last.
   */
  closeGate(): GateState | undefined;
  /** Executes exactly one instruction. */
  step(): Exit;
  /**
   * Executes one instruction with the 4 KiB page at `page` (linear, aligned) replaced by machine frame `overlay`,
   * readable and writable. Used to emulate writes to read-only page tables: the caller looks at what changed.
   */
  stepOverlaid(page: bigint, overlay: number): Exit;
  /** Instructions executed so far. */
  readonly instructions: number;
  /** Decodes the instruction at RIP; `false` when its bytes can't be fetched or are none. */
  fetch(into: Instruction): boolean;
  /** Machine address behind linear `address` for this access, 0 when it would fault. Sets accessed and dirty bits. */
  translate(address: bigint, write: boolean): number;
  /** Like {@link Vcpu.translate} in another address space of this VCPU's domain. */
  translateIn(root: number, address: bigint, write: boolean): number;
  /** Like {@link Vcpu.translate} for an address in two halves, without a `bigint`. */
  translateWords(low: number, high: number, write: boolean): number;
  /** Puts RIP into RCX and RFLAGS into R11, as the processor does at SYSCALL. */
  setSyscallRegisters(): void;
  /** Copies linear memory into `into`; `false` when any byte is unmapped (nothing is promised about `into` then). */
  read(address: bigint, into: Uint8Array): boolean;
  /** Copies `from` to linear memory if all of it is writable, else writes nothing and answers `false`. */
  write(address: bigint, from: Uint8Array): boolean;
  /** Saves or loads the FPU and SSE state, 512 bytes in FXSAVE format. */
  saveFpu(into: Uint8Array): void;
  /** Loads what {@link Vcpu.saveFpu} saved; throws `BAD_ARGUMENT` when MXCSR has reserved bits set. */
  loadFpu(from: Uint8Array): void;
}

/** What {@link Vcpu.closeGate} found. */
export interface GateState {
  /** Whether the kernel runs. */
  readonly inKernel: boolean;
  /** GS base of the half that does not run. */
  readonly otherGsBase: bigint;
  /** Entries and returns since the gate was armed. */
  readonly entries: number;
  /** See {@link GateState.entries}. */
  readonly returns: number;
}

/** Counters since the engine was made. */
export interface EngineStats {
  /** Guest instructions executed. */
  readonly instructions: number;
  /** Entries that page walks brought into the TLB. */
  readonly tlbFills: number;
  /** Faults raised by guest code. */
  readonly faults: number;
  /** Pieces of guest code decoded for the interpreter. */
  readonly blocksDecoded: number;
  /** Regions translated to WebAssembly. */
  readonly blocksTranslated: number;
  /**
   * How often guest code came back to JavaScript: by the instruction that JavaScript executed, else by reason (`budget`,
   * `decode`, `fault` …).
   */
  readonly exits: { readonly [cause: string]: number };
}

/** A processor package: memory, TLB and code caches that its VCPUs share. */
export interface Engine {
  /** All of memory; domains own frames from `firstFrame` on. */
  readonly memory: MachineMemory;
  /** Who may touch which frame. */
  readonly frames: FrameGuard;
  /** Invalidation by address. */
  readonly tlb: TlbPort;
  /** Makes a virtual processor, reset. */
  createVcpu(id: number): Vcpu;
  /** Counters so far. */
  readonly stats: EngineStats;
}

/** What {@link createEngine} needs. */
export interface EngineOptions {
  /** Bytes of memory for domains; the engine adds its own. */
  readonly memoryBytes: number;
  /** Answers to what guest code asks. */
  readonly ports: CpuPorts;
  /**
   * CPU features, by their names in /proc/cpuinfo: instructions of others raise #UD, or are what their encoding means
   * without the feature (TZCNT is BSF then). All that the engine has when left out. CPUID is the embedder's to answer alike.
   */
  readonly features?: readonly string[];
  /** Whether hot code is translated to WebAssembly; `true` when left out. Without, everything is interpreted. */
  readonly translate?: boolean;
  /** Instructions between two looks at where a guest is: fewer find hot code sooner. 60,000 when left out. */
  readonly sampleInterval?: number;
}
