import { ParavirtError } from "@paravirt/core";
import type { Vcpu } from "@paravirt/cpu";
import type { AddressSpaceRoots, MmuextCaller } from "@paravirt/paging";
import { FLAT, NR_VIRQS, RUNSTATE, XEN_ERRNO } from "@paravirt/xen-abi";
import { VCPU_INFO } from "./abi.ts";
import { resetDebug } from "./debug-registers.ts";
import type { Domain } from "./domain.ts";
import { KernelGate } from "./gate.ts";
import { guestLoad } from "./guest-memory.ts";
import { HypercallHistory } from "./history.ts";

/** A callback the guest registered: where to go, and whether events are masked on the way. */
export interface Callback {
  /** Linear address of the entry, 0 for none. */
  address: bigint;
  /** Whether evtchn_upcall_mask is set on the way. */
  masksEvents: boolean;
}

/** Where a PV kernel begins (public/arch-x86/xen.h, "start of day"). */
export interface PvStart {
  /** RIP: the image's entry. */
  readonly entry: bigint;
  /** RSP: the top of the boot stack. */
  readonly stack: bigint;
  /** RSI: linear address of start_info. */
  readonly startInfo: bigint;
  /** MFN of the top-level page table, pinned already. */
  readonly root: number;
}

/** No deadline: a timer that isn't set. */
export const NEVER = -1n;

/** DR6 and DR7 as the processor resets them. */
/** CR0 as a PV guest reads it: PE MP ET NE WP AM PG. */
const CR0_DEFAULT = 0x80050033n;
const RFLAGS_IF = 0x200n;

/**
 * One virtual processor of a domain: Xen's `struct vcpu` with its PV part. Plain data; the processor's registers are in
 * {@link VirtualCpu.cpu}.
 */
export class VirtualCpu {
  /** Its domain. */
  readonly domain: Domain;
  /** Its number in the domain. */
  readonly id: number;
  /** The engine's processor. */
  readonly cpu: Vcpu;
  /** Whether registers were ever given to it (the builder, or VCPUOP_initialise). */
  initialised = false;
  /** VPF_down: not brought up, or taken down by VCPUOP_down. */
  down = true;
  /** Sleeping in SCHEDOP_block or SCHEDOP_poll. */
  blocked = false;
  /** Ports that SCHEDOP_poll waits for; undefined when not polling. */
  pollPorts: readonly number[] | undefined = undefined;
  /** Clock time at which SCHEDOP_poll gives up, or -1n. */
  pollDeadline: bigint = NEVER;
  /** SCHEDOP_yield was called in this slice. */
  yielded = false;

  /** Whether the guest's kernel runs (Xen's TF_kernel_mode); its user space otherwise. */
  kernelMode = true;
  /** Top-level tables of the guest's kernel and user space, which paging holds references to. */
  readonly roots: AddressSpaceRoots;
  /** GS base of the half that does not run now: user's in kernel mode, the kernel's in user mode. */
  otherGsBase = 0n;
  /** SS of the kernel's stack; Xen's flat segment is what is loaded. */
  kernelSs = 0;
  /** Where the kernel's stack begins when user space enters it. */
  kernelSp = 0n;
  /** Virtual I/O privilege level, set by PHYSDEVOP_set_iopl. */
  iopl = 0;
  /** Guest address of the I/O bitmap. */
  ioBitmap = 0n;
  /** Ports that the bitmap covers. */
  ioBitmapPorts = 0;

  /** What the engine is told to go through system calls by itself. */
  readonly gate: KernelGate = new KernelGate();

  /** Virtual IDT: address of each vector. */
  readonly trapAddress: BigUint64Array = new BigUint64Array(256);
  /** Code selector of each vector. */
  readonly trapCs: Uint16Array = new Uint16Array(256);
  /** Bits 0-1: DPL; bit 2: masks events. */
  readonly trapFlags: Uint8Array = new Uint8Array(256);
  /** Event upcall. */
  readonly event: Callback = { address: 0n, masksEvents: true };
  /** Called when a return to the guest faults. */
  readonly failsafe: Callback = { address: 0n, masksEvents: false };
  /** Entry of `syscall` in user space. */
  readonly syscall: Callback = { address: 0n, masksEvents: false };
  /** Entry of `syscall` in 32-bit user space. */
  readonly syscall32: Callback = { address: 0n, masksEvents: false };
  /** Entry of `sysenter`. */
  readonly sysenter: Callback = { address: 0n, masksEvents: false };
  /** An NMI waits. */
  nmiPending = false;
  /** Between an NMI's entry and the next iret. */
  nmiMasked = false;

  /** Frames of the guest's descriptor table. */
  readonly gdtFrames: number[] = [];
  /** Descriptors in those frames. */
  gdtEntries = 0;
  /** Linear address of the LDT. */
  ldtBase = 0n;
  /** Descriptors in the LDT. */
  ldtEntries = 0;

  /** CR0 as the guest reads it. */
  cr0: bigint = CR0_DEFAULT;
  /** CR4 as the guest reads it. */
  cr4 = 0n;
  /** DR0 to DR7 as the guest reads them. */
  readonly debug: BigUint64Array = new BigUint64Array(8);

  /** Machine address of the vcpu_info structure in use. */
  infoAt: number;
  /** MFN of a registered vcpu_info page, 0 while it is in shared_info (or nowhere). */
  infoMfn = 0;
  /** Ports that this VCPU's VIRQs are bound to; 0 for none. */
  readonly virqPorts: Uint32Array = new Uint32Array(NR_VIRQS);

  /** Clock time of the one-shot timer, -1n when stopped. */
  singleshot: bigint = NEVER;
  /** Nanoseconds between ticks of the periodic timer, 0 when stopped. A PV guest starts with 100 Hz. */
  period = 10_000_000n;
  /** Clock time of the last tick. */
  periodicLast = 0n;
  /** Guest address of the vcpu_time_info copy registered with VCPUOP_register_vcpu_time_memory_area. */
  timeArea = 0n;
  /** Clock time at which its vcpu_time_info was written. */
  timeStamp = 0n;

  /** A `RUNSTATE` of public/vcpu.h. */
  runstate: number = RUNSTATE.offline;
  /** Clock time at which it went to that state. */
  runstateEntry = 0n;
  /** Nanoseconds in each state so far. */
  readonly runstateTime: BigUint64Array = new BigUint64Array(4);
  /** Guest address of the runstate area, 0 when none is registered. */
  runstateArea = 0n;

  /** Its last hypercalls. */
  readonly history: HypercallHistory = new HypercallHistory();
  /** What mmuext_op needs to know and do of this VCPU. */
  readonly mmuext: MmuextCaller;

  constructor(domain: Domain, id: number, cpu: Vcpu, infoAt: number) {
    this.domain = domain;
    this.id = id;
    this.cpu = cpu;
    this.infoAt = infoAt;
    this.roots = domain.machine.paging.createRoots();
    this.mmuext = {
      domain: domain.memory,
      roots: this.roots,
      checkVcpuMask: (address) => checkVcpuMask(this, address),
      setLdt: (base, entries) => {
        this.ldtBase = base;
        this.ldtEntries = entries;
      },
      // The LDT is read through the guest's page tables at each use: no frame of it is held.
      releaseLdt: () => {},
    };
    this.resetRegisters();
  }

  /** Puts registers and PV state back to where a VCPU begins. */
  resetRegisters(): void {
    const { cpu } = this;
    cpu.regs.fill(0n);
    cpu.rip = 0n;
    cpu.rflags = RFLAGS_IF | 2n;
    cpu.selectors.fill(0);
    cpu.selectors[1] = FLAT.KERNEL_CS;
    cpu.selectors[2] = FLAT.KERNEL_SS;
    cpu.fsBase = 0n;
    cpu.gsBase = 0n;
    cpu.mode = 64;
    cpu.xcr0 = 1n;
    cpu.tscAux = 0;
    cpu.owner = this.domain.id;
    this.cr0 = CR0_DEFAULT;
    cpu.cr0 = CR0_DEFAULT;
    this.cr4 = this.domain.machine.cpuid.initialCr4;
    cpu.cr4 = this.cr4;
    resetDebug(this);
    this.otherGsBase = 0n;
    this.kernelMode = true;
  }

  /**
   * Puts the first VCPU where Xen starts a 64-bit PV kernel, and brings it up; the domain still has to be unpaused.
   * Throws `ParavirtError` (`BAD_ARGUMENT`) when `root` is not a top-level table that paging accepts.
   */
  startPv(state: PvStart): void {
    const { domain, cpu } = this;
    this.resetRegisters();
    const status = domain.machine.paging.setKernelRoot(domain.memory, this.roots, state.root);
    if (status !== 0) {
      throw new ParavirtError(
        "BAD_ARGUMENT",
        `frame ${state.root} is not a top-level page table of domain ${domain.id}: errno ${-status}`,
      );
    }
    this.loadRoot();
    cpu.rip = state.entry;
    cpu.regs[6] = state.startInfo;
    cpu.regs[4] = state.stack;
    this.initialised = true;
    this.down = false;
    domain.machine.noteRunnable(this);
  }

  /** Whether it could run now. */
  get runnable(): boolean {
    return !this.down && !this.blocked && this.domain.running;
  }

  /** evtchn_upcall_mask. */
  get upcallMasked(): boolean {
    return this.domain.machine.memory.bytes[this.infoAt + VCPU_INFO.upcallMask] !== 0;
  }

  /** Sets evtchn_upcall_mask. */
  set upcallMasked(masked: boolean) {
    this.domain.machine.memory.bytes[this.infoAt + VCPU_INFO.upcallMask] = masked ? 1 : 0;
  }

  /** evtchn_upcall_pending. */
  get upcallPending(): boolean {
    return this.domain.machine.memory.bytes[this.infoAt + VCPU_INFO.upcallPending] !== 0;
  }

  /** Sets evtchn_upcall_pending and wakes the VCPU the first time. */
  markEventsPending(): void {
    const { bytes } = this.domain.machine.memory;
    const at = this.infoAt + VCPU_INFO.upcallPending;
    if (bytes[at] !== 0) return;
    bytes[at] = 1;
    this.unblock();
  }

  /** Ends a block or poll. */
  unblock(): void {
    if (!this.blocked) return;
    this.blocked = false;
    this.pollPorts = undefined;
    this.pollDeadline = NEVER;
    this.domain.machine.noteRunnable(this);
  }

  /** MFN of the guest kernel's top-level table, 0 for none. */
  get kernelRoot(): number {
    return this.roots.kernel;
  }

  /** MFN of the guest user space's top-level table, 0 for none. */
  get userRoot(): number {
    return this.roots.user;
  }

  /** Loads the top-level table of the half that runs into the processor. */
  loadRoot(): void {
    const root = this.kernelMode ? this.roots.kernel : this.roots.user;
    if (this.cpu.root !== root) this.cpu.setRoot(root);
  }

  /** Loads CR0.TS, the guest's lazy FPU flag, into the processor. */
  setTaskSwitched(set: boolean): void {
    this.cr0 = set ? this.cr0 | 8n : this.cr0 & ~8n;
    this.cpu.cr0 = this.cr0;
  }

  /** Switches between the guest's kernel and user space: page tables and GS base (Xen's toggle_guest_mode). */
  toggleMode(): void {
    const { cpu } = this;
    const base = cpu.gsBase;
    cpu.gsBase = this.otherGsBase;
    this.otherGsBase = base;
    this.kernelMode = !this.kernelMode;
    this.loadRoot();
  }
}

const maskBytes = new Uint8Array(1024);

/**
 * Reads the bitmap of VCPUs at a guest address (vcpumask_to_pcpumask in x86/mm.c): 0, or -EFAULT. Bits past the
 * domain's VCPUs mean nothing.
 */
export function checkVcpuMask(vcpu: VirtualCpu, address: bigint): number {
  const words = Math.ceil(vcpu.domain.vcpus.length / 64);
  return guestLoad(vcpu, address, maskBytes, words * 8) ? 0 : -XEN_ERRNO.EFAULT;
}
