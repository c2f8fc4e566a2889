import { ParavirtError } from "@paravirt/core";
import { OPCODES } from "@paravirt/x86";
import { engineInstruction } from "../decoding.ts";
import { createEngine } from "../engine.ts";
import { type CpuPorts, type Engine, type EngineOptions, EXIT, type Exit, type Vcpu } from "../vcpu.ts";
import { PageMap, type PageRights } from "./pages.ts";
import { executePortInstruction, isPortInstruction, type PortHandlers } from "./port-instruction.ts";

/** A fault of the program. */
export interface BareFault {
  /** Vector: 0 is #DE, 6 #UD, 13 #GP, 14 #PF. */
  readonly vector: number;
  /** Error code, 0 for faults that have none. */
  readonly errorCode: number;
  /** Faulting address of a #PF (CR2), else 0. */
  readonly address: bigint;
  /** Where the instruction is. */
  readonly rip: bigint;
}

/** What a callback wants: execute on at RIP, execute on after the instruction, or come back from {@link BareMachine.run}. */
export type BareAction = "resume" | "skip" | "stop";

/** A stop without anything to tell but its reason. */
export interface BarePlainStop {
  /**
   * `limit`: as many instructions as were allowed, or a few more. `halt`: HLT; RIP is after it. `stopped`:
   * {@link BareMachine.stop}. `syscall`: `syscall` or `sysenter` that no callback took; RIP is after the instruction.
   */
  readonly reason: "limit" | "halt" | "stopped" | "syscall";
}

/** A fault that no callback took; RIP is at the instruction. */
export interface BareFaultStop {
  /** Tells it from the other stops. */
  readonly reason: "fault";
  /** The fault. */
  readonly fault: BareFault;
}

/** `int n`, `int3` or `into` that no callback took; RIP is after the instruction. */
export interface BareInterruptStop {
  /** Tells it from the other stops. */
  readonly reason: "interrupt";
  /** The interrupt's number. */
  readonly vector: number;
}

/** A function that was called has returned. */
export interface BareReturnStop {
  /** Tells it from the other stops. */
  readonly reason: "return";
  /** What it returned in RAX, or EAX in 32-bit mode. */
  readonly value: bigint;
}

/** Why {@link BareMachine.run} or {@link BareMachine.call} came back; look at `reason` first. */
export type BareStop = BarePlainStop | BareFaultStop | BareInterruptStop | BareReturnStop;

/** What {@link createBareMachine} needs; everything has a default. */
export interface BareMachineOptions extends Pick<EngineOptions, "translate" | "sampleInterval"> {
  /** Bytes of memory for pages and page tables; 16 MiB when left out. */
  readonly memoryBytes?: number;
  /** 64-bit or 32-bit code; 64 when left out. */
  readonly mode?: 64 | 32;
  /** Ports for IN and OUT. Without, they are faults: #GP. */
  readonly ports?: PortHandlers;
  /** Asked at each fault; it may change registers and pages. Without, the first fault stops the machine. */
  readonly onFault?: (fault: BareFault, machine: BareMachine) => BareAction;
  /** Asked at `int n`; RIP is after the instruction. Without, the first one stops the machine. */
  readonly onInterrupt?: (vector: number, machine: BareMachine) => "resume" | "stop";
  /** Asked at `syscall`; RIP is after it, RCX and R11 are set. Without, the first one stops the machine. */
  readonly onSyscall?: (machine: BareMachine) => "resume" | "stop";
  /** Answers CPUID; all zeros when left out. */
  readonly cpuid?: CpuPorts["cpuid"];
  /** Answers RDTSC; executed instructions when left out. */
  readonly readTsc?: CpuPorts["readTsc"];
  /** 64 bits for RDRAND and RDSEED; always the same number when left out. */
  readonly random?: CpuPorts["random"];
}

/** A processor with memory and nothing else: see {@link createBareMachine}. */
export interface BareMachine {
  /** The engine, for its counters. */
  readonly engine: Engine;
  /** The processor: registers, flags, FPU. */
  readonly vcpu: Vcpu;
  /** Maps the pages that `size` bytes at `address` touch, filled with zeros where nothing was mapped, with these rights. */
  map(address: bigint, size: number, rights?: PageRights): void;
  /** Takes pages away; their contents are lost. */
  unmap(address: bigint, size: number): void;
  /** Copies `bytes` into mapped pages, whatever their rights; throws `BAD_ARGUMENT` where nothing is mapped. */
  write(address: bigint, bytes: Uint8Array): void;
  /** Copies bytes out of mapped pages; throws `BAD_ARGUMENT` where nothing is mapped. */
  read(address: bigint, size: number): Uint8Array;
  /** Executes from RIP on until something stops it; `limit` is the number of instructions, without end when left out. */
  run(limit?: number): BareStop;
  /**
   * Calls the function at `address` on a stack of the machine's own and runs until it returns or something else stops it.
   * Arguments are integers and pointers as the System V ABI passes them: RDI RSI RDX RCX R8 R9, then the stack; in 32-bit
   * mode the stack alone.
   */
  call(address: bigint, args?: readonly (bigint | number)[], limit?: number): BareStop;
  /** Makes {@link BareMachine.run} come back; for callbacks. */
  stop(): void;
}

const OWNER = 1;
const STACK_BYTES = 0x10000;
/** Below 4 GiB, so that both modes reach them. */
const STACK = 0x7ffe0000n;
const RETURN_PAGE = 0x7fff0000n;
const HLT = 0xf4;
const GENERAL_PROTECTION = 13;
const PAGE_FAULT = 14;
const SLICE = 1_000_000;
const ARGUMENTS = [7, 6, 2, 1, 8, 9];
const RAX = 0;
const RSP = 4;
/** Flat segments at CPL 3, with the selectors that Linux gives them. */
const CODE32 = 0x23;
const DATA = 0x2b;
const CODE64 = 0x33;
const DESCRIPTORS: Readonly<Record<number, bigint>> = {
  [CODE32]: 0x00cffb000000ffffn,
  [DATA]: 0x00cff3000000ffffn,
  [CODE64]: 0x00affb000000ffffn,
};

class Machine implements BareMachine {
  readonly engine: Engine;
  readonly vcpu: Vcpu;
  private readonly options: BareMachineOptions;
  private readonly pages: PageMap;
  private readonly instruction = engineInstruction();
  private stopping = false;
  private hasStack = false;

  constructor(options: BareMachineOptions) {
    this.options = options;
    const { translate, sampleInterval } = options;
    this.engine = createEngine({
      memoryBytes: options.memoryBytes ?? 16 << 20,
      ...(translate === undefined ? {} : { translate }),
      ...(sampleInterval === undefined ? {} : { sampleInterval }),
      ports: {
        readTsc: options.readTsc ?? ((vcpu) => BigInt(vcpu.instructions)),
        cpuid:
          options.cpuid ??
          ((_vcpu, _leaf, _subleaf, out) => {
            out.fill(0);
          }),
        readDescriptor: (_vcpu, selector) => DESCRIPTORS[selector | 3],
        mayReachForeign: () => false,
        random: options.random ?? (() => 0x0123456789abcdefn),
      },
    });
    this.pages = new PageMap(this.engine, OWNER);
    this.vcpu = this.engine.createVcpu(0);
    this.vcpu.owner = OWNER;
    this.vcpu.setRoot(this.pages.root);
    this.vcpu.mode = options.mode ?? 64;
    this.vcpu.selectors.set([DATA, this.vcpu.mode === 64 ? CODE64 : CODE32, DATA, DATA, 0, 0]);
  }

  map(address: bigint, size: number, rights: PageRights = {}): void {
    this.pages.map(address, size, rights);
  }

  unmap(address: bigint, size: number): void {
    this.pages.unmap(address, size);
  }

  write(address: bigint, bytes: Uint8Array): void {
    this.pages.write(address, bytes);
  }

  read(address: bigint, size: number): Uint8Array {
    return this.pages.read(address, size);
  }

  stop(): void {
    this.stopping = true;
  }

  run(limit: number = Number.POSITIVE_INFINITY): BareStop {
    if (!(limit >= 0)) throw new ParavirtError("BAD_ARGUMENT", `a limit of ${limit} instructions`);
    const { vcpu } = this;
    this.stopping = false;
    // Port instructions are executed here, so the processor doesn't count them.
    let handled = 0;
    const start = vcpu.instructions;
    for (;;) {
      const left = limit - (vcpu.instructions - start) - handled;
      if (left <= 0) return { reason: "limit" };
      const exit = vcpu.run(Math.min(left, SLICE));
      if (exit.reason === EXIT.BUDGET) continue;
      handled++;
      const stop = this.act(exit);
      if (stop !== undefined) return stop;
      if (this.stopping) return { reason: "stopped" };
    }
  }

  /** Deals with what the processor left for; `undefined` to execute on. */
  private act(exit: Exit): BareStop | undefined {
    const { vcpu, options } = this;
    switch (exit.reason) {
      case EXIT.INTERRUPT: {
        const { vector } = exit;
        vcpu.rip += BigInt(exit.length);
        return options.onInterrupt?.(vector, this) === "resume" ? undefined : { reason: "interrupt", vector };
      }
      case EXIT.SYSCALL:
        vcpu.regs[1] = vcpu.rip;
        vcpu.regs[11] = vcpu.rflags;
        return options.onSyscall?.(this) === "resume" ? undefined : { reason: "syscall" };
      case EXIT.SYSENTER:
        return options.onSyscall?.(this) === "resume" ? undefined : { reason: "syscall" };
      default:
        return this.fault(exit);
    }
  }

  private fault(exit: Exit): BareStop | undefined {
    const { vcpu, instruction, options } = this;
    const fault = {
      vector: exit.vector,
      errorCode: exit.hasErrorCode ? exit.errorCode : 0,
      address: exit.vector === PAGE_FAULT ? exit.address : 0n,
      rip: vcpu.rip,
    };
    if (fault.vector === GENERAL_PROTECTION && fault.errorCode === 0 && vcpu.fetch(instruction)) {
      if (OPCODES[instruction.row]?.name === "hlt") {
        vcpu.rip += 1n;
        return { reason: "halt" };
      }
      if (options.ports !== undefined && isPortInstruction(instruction)) return this.port(options.ports);
    }
    return this.ask(fault);
  }

  private port(ports: PortHandlers): BareStop | undefined {
    const { vcpu, instruction } = this;
    const outcome = executePortInstruction(vcpu, instruction, ports);
    if (outcome.kind === "done") vcpu.rip += BigInt(instruction.length);
    if (outcome.kind !== "fault") return undefined;
    const { address, write } = outcome;
    const errorCode = 4 + (write ? 2 : 0) + (this.pages.machineAddress(address) === 0 ? 0 : 1);
    return this.ask({ vector: PAGE_FAULT, errorCode, address, rip: vcpu.rip });
  }

  private ask(fault: BareFault): BareStop | undefined {
    const { vcpu, instruction } = this;
    const action = this.options.onFault?.(fault, this) ?? "stop";
    if (action === "stop") return { reason: "fault", fault };
    if (action === "skip") {
      if (!vcpu.fetch(instruction)) return { reason: "fault", fault };
      vcpu.rip += BigInt(instruction.length);
    }
    return undefined;
  }

  call(address: bigint, args: readonly (bigint | number)[] = [], limit?: number): BareStop {
    const { vcpu } = this;
    if (!this.hasStack) {
      this.map(STACK, STACK_BYTES, { executable: false });
      this.map(RETURN_PAGE, 1, { writable: false });
      this.write(RETURN_PAGE, Uint8Array.of(HLT));
      this.hasStack = true;
    }
    const wide = vcpu.mode === 64;
    const word = wide ? 8 : 4;
    const values = args.map((value) => BigInt.asUintN(word * 8, BigInt(value)));
    const inRegisters = wide ? ARGUMENTS.length : 0;
    values.slice(0, inRegisters).forEach((value, index) => {
      vcpu.regs[ARGUMENTS[index]!] = value;
    });
    // The first argument on the stack is 16-byte aligned, with the return address below it.
    const onStack = values.slice(inRegisters);
    const top = (STACK + BigInt(STACK_BYTES - onStack.length * word)) & -16n;
    const frame = new DataView(new ArrayBuffer((onStack.length + 1) * word));
    [RETURN_PAGE, ...onStack].forEach((value, index) => {
      if (wide) frame.setBigUint64(index * 8, value, true);
      else frame.setUint32(index * 4, Number(value), true);
    });
    this.write(top - BigInt(word), new Uint8Array(frame.buffer));
    vcpu.regs[RSP] = top - BigInt(word);
    vcpu.rip = address;
    const stop = this.run(limit);
    if (stop.reason !== "halt" || vcpu.rip !== RETURN_PAGE + 1n) return stop;
    return { reason: "return", value: BigInt.asUintN(word * 8, vcpu.regs[RAX]!) };
  }
}

/**
 * Makes a processor with memory and nothing else: no hypervisor, no devices. Map pages, write code, then
 * {@link BareMachine.run} it or {@link BareMachine.call} a function; ports, interrupts, system calls and faults go to
 * callbacks. The program runs at CPL 3 with flat segments; HLT stops the machine. Throws `ParavirtError` when the host
 * can't give the memory.
 */
export function createBareMachine(options: BareMachineOptions = {}): BareMachine {
  return new Machine(options);
}
