/// <reference path="./webassembly.d.ts" />
import type { FrameGuard, MachineMemory, TlbPort } from "@paravirt/core";
import { decode, type Instruction, OPCODES, OPERAND, SEGMENT } from "@paravirt/x86";
import { CarefulStep, dropResumeFlag, flagsNeedCare } from "./careful-step.ts";
import { CodeCache } from "./code-cache.ts";
import { engineInstruction } from "./decoding.ts";
import { ACCESS, ENGINE, type EngineLayout, FRAME, GATE, REASON, RECORD, STATE, STATUS, WALK } from "./layout.ts";
import { createMemory } from "./memory.ts";
import { segmentsAllow } from "./segments.ts";
import { SERVICE_RESULT, type Service } from "./service.ts";
import { SERVICES } from "./services.ts";
import { HandlerTable } from "./tier0/handlers.ts";
import { loadTier0 } from "./tier0/load.ts";
import type { Tier0Exports } from "./tier0/module.ts";
import { Selector, writeRecord } from "./tier0/select.ts";
import { PathFollower } from "./tier1/path-follower.ts";
import { Translator } from "./tier1/translator.ts";
import { SoftTlb } from "./tlb.ts";
import {
  type CpuPorts,
  type EngineOptions,
  type EngineStats,
  EXIT,
  type Exit,
  type ExitReason,
  type Engine as PublicEngine,
} from "./vcpu.ts";
import { VirtualCpu } from "./virtual-cpu.ts";

const HAS_ERROR_CODE = (1 << 8) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14) | (1 << 17);
const GENERAL_PROTECTION = 13;
const NOT_PRESENT = 11;
const STACK_FAULT = 12;
const DEBUG = 1;
const DEVICE_NOT_AVAILABLE = 7;
const RSP = STATE.gpr / 8 + 4;
const RDI = STATE.gpr / 8 + 7;
/** Instructions between two looks at where the guest is, unless the options say otherwise. */
const SAMPLE_INTERVAL = 60_000;
/** What the budget pays, in instructions, for what JavaScript does before wasm goes on: about a microsecond, or several. */
const EXIT_COST = 200;
/** Decoded on the fly: an instruction that crosses into another page, or that is stepped. */
const SCRATCH = ENGINE.scratchRecords;
const ENTRY = ENGINE.entryRecord;
/** Most instructions kept for services. */
const MAX_DECODED = 4096;

interface MutableExit extends Exit {
  reason: ExitReason;
  vector: number;
  hasErrorCode: boolean;
  errorCode: number;
  address: bigint;
  length: number;
  debugStatus: number;
}

/** The processor package: see {@link PublicEngine}. Methods beyond it serve the engine's own files. */
export class Engine implements PublicEngine {
  readonly memory: MachineMemory;
  readonly layout: EngineLayout;
  readonly ports: CpuPorts;
  readonly exports: Tier0Exports;
  readonly code: CodeCache;
  readonly softTlb: SoftTlb;
  readonly selector: Selector;
  readonly exit: MutableExit = {
    reason: EXIT.BUDGET,
    vector: 0,
    hasErrorCode: false,
    errorCode: 0,
    address: 0n,
    length: 0,
    debugStatus: 0,
  };
  readonly cpuidResult: Uint32Array = new Uint32Array(4);
  readonly translator: Translator;
  private readonly table: HandlerTable;
  private readonly syscallSlot: number;
  /** Instructions of records that services asked for, and the code cache's generation they belong to. */
  private readonly decoded = new Map<number, Instruction>();
  private decodedIn = 0;
  /** How often wasm code came back, by {@link REASON}, and which instructions JavaScript executed, by slot. */
  private readonly reasons = new Float64Array(16);
  private readonly served: Float64Array;
  /** Views of the active VCPU's registers; machine memory never moves. */
  readonly registers: BigUint64Array;
  readonly registerWords: Uint32Array;
  readonly segmentSelectors: Uint16Array;
  private readonly services: (Service | undefined)[];
  private active: VirtualCpu | undefined;
  private readonly instruction = engineInstruction();
  private readonly crossing = new Uint8Array(32);
  private readonly translates: boolean;
  private readonly sampleInterval: number;
  private jitter = 1;
  /** Instructions until the next look at where the guest is. */
  private untilSample: number;
  private readonly paths: PathFollower;
  private readonly careful = new CarefulStep(this);
  private faultCount = 0;
  private executed = 0;

  constructor(options: EngineOptions) {
    const { memory, layout, wasm } = createMemory(options.memoryBytes);
    this.translates = options.translate ?? true;
    this.sampleInterval = options.sampleInterval ?? SAMPLE_INTERVAL;
    this.untilSample = this.sampleInterval;
    this.paths = new PathFollower(this.sampleInterval, SAMPLE_INTERVAL);
    this.memory = memory;
    this.layout = layout;
    this.ports = options.ports;
    this.table = new HandlerTable({ avx: options.features?.includes("avx") ?? true });
    this.services = this.table.handlers.map((handler) => SERVICES[handler.definition.name]);
    this.selector = new Selector(this.table, options.features && new Set(options.features));
    this.exports = loadTier0(this.table, wasm, () => this.ports.readTsc(this.current));
    this.code = new CodeCache(memory, layout, this.selector);
    this.softTlb = new SoftTlb(memory, layout, this.code);
    this.code.attach(this.softTlb);
    this.translator = new Translator({
      memory,
      wasm,
      table: this.exports.table,
      handlers: this.table,
      selector: this.selector,
      code: this.code,
    });
    memory.words[ENGINE.frames / 4] = memory.frames;
    memory.words[ENGINE.frameTable / 4] = layout.frameTable;
    memory.words[ENGINE.slotTable / 4] = layout.slotTable;
    memory.words[ENGINE.codeTableOf / 4] = layout.codeTableOf;
    memory.words[(ENTRY + RECORD.hot) / 4] = this.selector.gotoHandler.hot;
    memory.words[(ENTRY + RECORD.slot) / 4] = this.selector.gotoHandler.slot;
    this.served = new Float64Array(this.table.handlers.length);
    this.syscallSlot = this.table.find("syscall", "")!.slot;
    this.registers = memory.quads.subarray(STATE.gpr / 8, STATE.gpr / 8 + 16);
    this.registerWords = memory.words.subarray(STATE.gpr / 4, STATE.gpr / 4 + 32);
    this.segmentSelectors = new Uint16Array(memory.bytes.buffer, STATE.selectors, 6);
    memory.quads[ENGINE.overlayPage / 8] = 1n;
  }

  get frames(): FrameGuard {
    return this.softTlb;
  }

  get tlb(): TlbPort {
    return this.softTlb;
  }

  get stats(): EngineStats {
    const { reasons, served, table } = this;
    return {
      get exits() {
        return countedByName(reasons, served, table);
      },
      instructions: this.executed,
      tlbFills: this.memory.words[ENGINE.tlbFills / 4]!,
      faults: this.faultCount,
      blocksDecoded: this.code.blocksDecoded,
      blocksTranslated: this.translator.translated,
    };
  }

  createVcpu(id: number): VirtualCpu {
    return new VirtualCpu(this, id);
  }

  /** The VCPU whose state is in the engine's memory. */
  get current(): VirtualCpu {
    if (this.active === undefined) throw new Error("no VCPU is active");
    return this.active;
  }

  /** Brings `vcpu`'s state into the engine's memory, putting away the one that was there. */
  activate(vcpu: VirtualCpu): void {
    if (this.active === vcpu) return;
    const { bytes } = this.memory;
    if (this.active !== undefined) this.active.saved.set(bytes.subarray(STATE.start, STATE.end));
    bytes.set(vcpu.saved, STATE.start);
    this.active = vcpu;
    this.selectAddressSpace();
  }

  /** Makes the active VCPU's address space, mode and owner those that wasm code uses. */
  selectAddressSpace(): void {
    const { current, memory } = this;
    memory.words[ENGINE.root / 4] = current.root * 4096;
    memory.words[ENGINE.owner / 4] = current.owner;
    this.softTlb.select(current.root, current.mode);
  }

  /** RIP of a record in the active code page. */
  ripOf(record: number): bigint {
    return this.memory.quads[STATE.ripBase / 8]! + BigInt(this.memory.view.getUint16(record + RECORD.offset, true));
  }

  setFault(vector: number, error: number): number {
    this.memory.words[ENGINE.faultVector / 4] = vector;
    this.memory.words[ENGINE.faultError / 4] = error;
    this.memory.words[ENGINE.reason / 4] = REASON.FAULT;
    return SERVICE_RESULT.FAULT;
  }

  /** Runs `vcpu` for about `budget` instructions: see the public interface. */
  run(vcpu: VirtualCpu, budget: number): Exit {
    const before = this.executed;
    const exit = this.runUntilExit(vcpu, budget);
    vcpu.executed += this.executed - before;
    return exit;
  }

  private runUntilExit(vcpu: VirtualCpu, budget: number): Exit {
    this.activate(vcpu);
    if (this.isCareful(vcpu)) return this.runCarefully(vcpu, budget);
    dropResumeFlag(this.memory.words);
    const { words, quads } = this.memory;
    let left = budget;
    let record = this.enter(vcpu);
    while (record !== 0) {
      // What is left of the interval survives exits: code that often leaves must be found, too.
      const { trace } = this.paths;
      const chunk = trace === undefined ? Math.min(left, Math.max(1, this.untilSample)) : 1;
      words[ENGINE.budget / 4] = chunk;
      const low = words[STATE.ripBase / 4]! + this.offsetOf(record);
      const high = words[STATE.ripBase / 4 + 1]!;
      const reason = this.exports.run(record);
      vcpu.noteRoot();
      const spent = chunk - (words[ENGINE.budget / 4]! | 0);
      this.executed += spent - words[ENGINE.charged / 4]!;
      words[ENGINE.charged / 4] = 0;
      this.untilSample -= spent;
      left -= spent;
      record = words[ENGINE.record / 4]!;
      this.reasons[reason] = this.reasons[reason]! + 1;
      if (trace !== undefined && reason !== REASON.BUDGET) this.follow(vcpu, { low, high, spent, reason });
      if (reason === REASON.BUDGET) {
        if (trace !== undefined || this.untilSample <= 0) {
          const offset = this.offsetOf(record);
          const { generation } = this.code;
          if (trace !== undefined) this.follow(vcpu, { low, high, spent, reason });
          if (this.untilSample <= 0) this.sample(vcpu, record);
          // What was translated may have started the code cache anew.
          if (this.code.generation !== generation) record = this.locate(quads[STATE.ripBase / 8]! + BigInt(offset));
          if (record === 0) break;
        }
        if (left > 0) continue;
        vcpu.ripValue = this.ripOf(record);
        return this.leave(EXIT.BUDGET);
      }
      if (reason === REASON.SERVICE && words[(record + RECORD.slot) / 4] === this.syscallSlot && vcpu.mode === 64) {
        // The most frequent reason of all, without its service.
        this.served[this.syscallSlot] = this.served[this.syscallSlot]! + 1;
        this.putRip(record, this.memory.bytes[record + RECORD.length]!);
        this.executed--;
        return this.leave(EXIT.SYSCALL);
      }
      // One instruction is left at least: whoever comes with a small budget gets on, too.
      if (reason !== REASON.PAUSE) left = left > EXIT_COST ? left - EXIT_COST : Math.min(left, 1);
      if (reason === REASON.DECODE) record = this.locate(quads[ENGINE.nextRip / 8]!);
      else if (reason === REASON.CODE_WRITE) {
        if (this.dropWrittenCode(this.ripOf(record))) this.executed--;
        record = this.locate(quads[ENGINE.nextRip / 8]!);
      } else {
        // The instruction did not complete in wasm: it is counted when it does.
        this.executed--;
        left++;
        if (reason === REASON.PAUSE) {
          if (left > 0) continue;
          vcpu.ripValue = this.ripOf(record);
          return this.leave(EXIT.BUDGET);
        }
        if (reason === REASON.SERVICE) {
          record = this.serve(vcpu, record);
          if (record >= 0) {
            this.executed++;
            left--;
          } else if (record < 0) return this.exit;
          // IRET and POPF may have set TF or AC.
          if (record !== 0 && this.isCareful(vcpu)) {
            vcpu.ripValue = this.ripOf(record);
            return this.runCarefully(vcpu, left);
          }
        } else if (reason === REASON.WALK) {
          if (!this.resolveWalk(vcpu)) return this.leaveWithFault(vcpu, this.ripOf(record));
        } else return this.leaveWithFault(vcpu, this.ripOf(record));
      }
      if (left <= 0 && record !== 0) {
        vcpu.ripValue = this.ripOf(record);
        return this.leave(EXIT.BUDGET);
      }
    }
    return this.exit;
  }

  /** The record to begin with at the VCPU's RIP: 64-bit code finds its own through the execute TLB. */
  private enter(vcpu: VirtualCpu): number {
    if (vcpu.mode !== 64) return this.locate(vcpu.ripValue);
    const { words } = this.memory;
    const low = words[STATE.rip / 4]!;
    words[STATE.ripBase / 4] = low & ~4095;
    words[STATE.ripBase / 4 + 1] = words[STATE.rip / 4 + 1]!;
    words[(ENTRY + RECORD.immediate) / 4] = low & 4095;
    return ENTRY;
  }

  /** Offset in its page of the instruction that a record executes, the entry record's included. */
  private offsetOf(record: number): number {
    const { words, bytes } = this.memory;
    if (record === ENTRY) return words[(ENTRY + RECORD.immediate) / 4]!;
    return bytes[record + RECORD.offset]! + bytes[record + RECORD.offset + 1]! * 256;
  }

  /** Sets RIP to `more` bytes after the record's instruction begins. */
  private putRip(record: number, more: number): void {
    const { words } = this.memory;
    const low = words[STATE.ripBase / 4]! + this.offsetOf(record) + more;
    words[STATE.rip / 4] = low;
    words[STATE.rip / 4 + 1] = words[STATE.ripBase / 4 + 1]! + (low > 0xffffffff ? 1 : 0);
  }

  /** The interval, varied by a quarter: a loop of just that length would always be seen at the same place. */
  private nextInterval(): number {
    this.jitter = (Math.imul(this.jitter, 1664525) + 1013904223) >>> 0;
    return Math.max(1, Math.round(this.sampleInterval * (0.75 + this.jitter / 2 ** 33)));
  }

  /** Notes where the guest is: what is found often is translated. */
  private sample(vcpu: VirtualCpu, record: number): void {
    this.untilSample = this.nextInterval();
    // What is followed stays as it is.
    if (!this.translates || this.paths.trace !== undefined) return;
    const { words } = this.memory;
    const counters = {
      executed: this.executed,
      inRegions: words[ENGINE.inRegions / 4]!,
      entered: words[ENGINE.entered / 4]!,
    };
    if (this.paths.sample(counters)) {
      this.translator.beginTrace();
      return;
    }
    const rip = this.ripOf(record);
    if (this.exports.walk(rip, ACCESS.EXECUTE) !== WALK.FILLED) return;
    const address = this.memory.words[ENGINE.walkAddress / 4]!;
    this.translator.sample(address >>> 12, address & 4095, vcpu.mode);
  }

  /** Notes a jump while the guest's paths are followed; translates them at the end. */
  private follow(vcpu: VirtualCpu, step: { low: number; high: number; spent: number; reason: number }): void {
    const { paths, translator } = this;
    const trace = paths.trace!;
    if (vcpu.mode === 64) trace.note(step.low, step.high, step.spent);
    if (vcpu.mode !== 64 || step.reason !== REASON.BUDGET) trace.interrupt();
    // Only there the caller is ready for records made anew.
    const lasting = paths.spend(step.reason === REASON.BUDGET ? step.spent : 0);
    if (lasting === undefined) return;
    if (!lasting) {
      translator.abandonTrace();
      return;
    }
    // No walk: it would set accessed bits.
    const frameAt = (linear: number) =>
      this.leafFrame(vcpu.root, BigInt.asUintN(64, BigInt.asIntN(48, BigInt(linear) << 12n))) ?? -1;
    paths.translated(translator.translatePaths(trace, frameAt));
  }

  /** Single step, alignment checks, breakpoints or a disabled FPU: every instruction is looked at. */
  private isCareful(vcpu: VirtualCpu): boolean {
    return vcpu.careful || flagsNeedCare(this.memory.words);
  }

  private runCarefully(vcpu: VirtualCpu, budget: number): Exit {
    let left = budget;
    this.memory.words[GATE.armed / 4] = 0;
    while (left-- > 0) {
      const exit = this.stepOnce(vcpu);
      if (exit.reason !== EXIT.BUDGET) return exit;
      if (!this.isCareful(vcpu)) break;
    }
    return this.leave(EXIT.BUDGET);
  }

  /** Executes one instruction. */
  step(vcpu: VirtualCpu): Exit {
    const before = this.executed;
    const exit = this.stepOnce(vcpu);
    vcpu.executed += this.executed - before;
    return exit;
  }

  /** Executes one instruction through its cold function. */
  private stepOnce(vcpu: VirtualCpu): Exit {
    this.activate(vcpu);
    const { careful } = this;
    const rip = vcpu.ripValue;
    const breakpoints = careful.begin(vcpu, rip);
    if (breakpoints !== 0) return this.leaveWithDebug(vcpu, rip, breakpoints);
    if (!this.fetch(vcpu, rip, this.instruction)) return this.leaveWithFault(vcpu, rip);
    const { instruction, memory } = this;
    if (instruction.length === 0) {
      this.setFault(instruction.invalid === 3 ? GENERAL_PROTECTION : 6, 0);
      return this.leaveWithFault(vcpu, rip);
    }
    if (vcpu.fpuDisabled && vcpu.usesDisabledFpu(instruction)) {
      this.setFault(DEVICE_NOT_AVAILABLE, 0);
      return this.leaveWithFault(vcpu, rip);
    }
    careful.start(vcpu, instruction);
    const handler = this.selector.select(instruction);
    memory.bytes.fill(0, SCRATCH, SCRATCH + RECORD.size);
    memory.quads[STATE.ripBase / 8] = rip & ~4095n;
    writeRecord(memory.view, SCRATCH, instruction, handler, Number(rip & 4095n));
    if (vcpu.limited && !segmentsAllow(this, instruction)) return this.leaveWithFault(vcpu, rip);
    const exit = careful.finish(vcpu, this.executeScratch(vcpu, rip));
    if (careful.unfinished) this.executed--;
    return exit;
  }

  /** A debug exception with RIP at `rip`; `status` are the bits it sets in DR6. */
  leaveWithDebug(vcpu: VirtualCpu, rip: bigint, status: number): Exit {
    const { exit } = this;
    vcpu.ripValue = rip;
    exit.reason = EXIT.FAULT;
    exit.vector = DEBUG;
    exit.hasErrorCode = false;
    exit.errorCode = 0;
    exit.address = 0n;
    exit.debugStatus = status;
    return exit;
  }

  /** Runs the scratch record to its end; leaves RIP after it. The exit's reason is BUDGET when all went well. */
  private executeScratch(vcpu: VirtualCpu, rip: bigint): Exit {
    const { memory } = this;
    for (;;) {
      const status = this.exports.cold(SCRATCH);
      memory.words[ENGINE.charge / 4] = 0;
      vcpu.noteRoot();
      if (status === STATUS.NEXT) {
        vcpu.ripValue = this.wrap(rip + BigInt(memory.bytes[SCRATCH + RECORD.length]!));
        this.executed++;
        return this.leave(EXIT.BUDGET);
      }
      if (status === STATUS.JUMP) {
        vcpu.ripValue = memory.quads[ENGINE.nextRip / 8]!;
        this.executed++;
        return this.leave(EXIT.BUDGET);
      }
      const reason = memory.words[ENGINE.reason / 4];
      if (reason === REASON.CODE_WRITE) {
        if (!this.dropWrittenCode(rip)) this.executed++;
        vcpu.ripValue = memory.quads[ENGINE.nextRip / 8]!;
        return this.leave(EXIT.BUDGET);
      }
      if (reason === REASON.PAUSE) {
        vcpu.ripValue = rip;
        return this.leave(EXIT.BUDGET);
      }
      if (reason === REASON.WALK) {
        if (this.resolveWalk(vcpu)) continue;
        return this.leaveWithFault(vcpu, rip);
      }
      if (reason === REASON.SERVICE) {
        vcpu.ripValue = rip;
        const result = this.callService(SCRATCH);
        if (result === SERVICE_RESULT.NEXT)
          vcpu.ripValue = this.wrap(rip + BigInt(memory.bytes[SCRATCH + RECORD.length]!));
        else if (result === SERVICE_RESULT.JUMP) vcpu.ripValue = memory.quads[ENGINE.nextRip / 8]!;
        else if (result === SERVICE_RESULT.FAULT) {
          if (memory.words[ENGINE.reason / 4] === REASON.WALK && this.resolveWalk(vcpu)) continue;
          return this.leaveWithFault(vcpu, rip);
        } else {
          if (result === SERVICE_RESULT.LEAVE_AFTER)
            vcpu.ripValue = this.wrap(rip + BigInt(memory.bytes[SCRATCH + RECORD.length]!));
          return this.exit;
        }
        this.executed++;
        return this.leave(EXIT.BUDGET);
      }
      return this.leaveWithFault(vcpu, rip);
    }
  }

  private callService(record: number): number {
    const slot = this.memory.words[(record + RECORD.slot) / 4]!;
    this.served[slot] = this.served[slot]! + 1;
    const service = this.services[slot];
    return service === undefined ? this.setFault(6, 0) : service(this, record);
  }

  /**
   * Executes `record` in JavaScript. Returns the record to go on at, or -1 when the VCPU must leave (exit and RIP are set);
   * 0 means a fault on the way to the next record, with the exit set too.
   */
  private serve(vcpu: VirtualCpu, record: number): number {
    const rip = this.ripOf(record);
    vcpu.ripValue = rip;
    const slot = this.memory.words[(record + RECORD.slot) / 4];
    if (slot === this.selector.decodeHandler.slot || slot === this.selector.checkHandler.slot)
      return this.executeCrossing(vcpu, rip, record);
    const root = vcpu.root;
    const mode = vcpu.mode;
    const result = this.callService(record);
    const length = this.memory.bytes[record + RECORD.length]!;
    switch (result) {
      case SERVICE_RESULT.NEXT:
        if (vcpu.root === root && vcpu.mode === mode) return record + RECORD.size;
        return this.locate(this.wrap(rip + BigInt(length)));
      case SERVICE_RESULT.JUMP:
        return this.locate(this.memory.quads[ENGINE.nextRip / 8]!);
      case SERVICE_RESULT.FAULT:
        if (this.memory.words[ENGINE.reason / 4] === REASON.WALK && this.resolveWalk(vcpu))
          return this.serve(vcpu, record);
        this.leaveWithFault(vcpu, rip);
        return -1;
      case SERVICE_RESULT.LEAVE_AFTER:
        vcpu.ripValue = this.wrap(rip + BigInt(length));
        return -1;
      default:
        return -1;
    }
  }

  /** An instruction that reaches into the next page: enters it for the next time, and executes it. */
  private executeCrossing(vcpu: VirtualCpu, rip: bigint, from: number): number {
    if (!this.fetch(vcpu, rip, this.instruction)) {
      this.leaveWithFault(vcpu, rip);
      return -1;
    }
    const { instruction } = this;
    const offset = Number(rip & 4095n);
    if (instruction.length > 4096 - offset) {
      const first = this.executeAddress(vcpu, rip) >>> 12;
      const following = this.wrap((rip & ~4095n) + 4096n);
      const second = this.executeAddress(vcpu, following) >>> 12;
      const { generation } = this.code;
      const record = this.code.addCrossing(instruction, vcpu.mode, { first, offset, second, from });
      this.softTlb.fillExecute(following, this.code.tableOf(second, vcpu.mode), second);
      if (this.code.generation === generation) {
        this.executed--; // counted by run, and again by the record
        return record;
      }
    }
    const exit = this.stepOnce(vcpu);
    if (exit.reason !== EXIT.BUDGET) return -1;
    this.executed--; // counted by run
    return this.locate(vcpu.ripValue);
  }

  private wrap(address: bigint): bigint {
    return address & this.memory.quads[STATE.linearMask / 8]!;
  }

  /** The record at `rip`, decoded if need be; 0 with the exit set when the page can't be executed. */
  private locate(rip: bigint): number {
    const vcpu = this.current;
    const offset = Number(rip & 4095n);
    for (;;) {
      const result = this.exports.walk(rip, ACCESS.EXECUTE);
      if (result === WALK.FILLED) break;
      if (result === WALK.SLOW && this.resolveWalk(vcpu)) break;
      this.leaveWithFault(vcpu, rip);
      return 0;
    }
    const mfn = this.memory.words[ENGINE.walkAddress / 4]! >>> 12;
    const record = this.code.recordAt(mfn, vcpu.mode, offset);
    this.softTlb.fillExecute(rip, this.code.tableOf(mfn, vcpu.mode), mfn);
    this.memory.quads[STATE.ripBase / 8] = rip & ~4095n;
    return record;
  }

  /** Decodes the instruction at `rip`, across a page border if need be; `false` with the fault set. */
  fetch(vcpu: VirtualCpu, rip: bigint, into: Instruction): boolean {
    const { memory } = this;
    const first = this.executeAddress(vcpu, rip);
    if (first === 0) return false;
    const room = 4096 - (first & 4095);
    if (
      decode(memory.bytes, first, first + Math.min(room, 16), vcpu.mode, into) > 0 ||
      into.invalid !== 1 ||
      room >= 16
    )
      return true;
    const second = this.executeAddress(vcpu, this.wrap(rip + BigInt(room)));
    if (second === 0) return false;
    this.crossing.set(memory.bytes.subarray(first, first + room));
    this.crossing.set(memory.bytes.subarray(second, second + 16), room);
    decode(this.crossing, 0, 16 + room, vcpu.mode, into);
    return true;
  }

  /** Machine address of code at `address`, 0 with the fault set. */
  private executeAddress(vcpu: VirtualCpu, address: bigint): number {
    const result = this.exports.walk(address, ACCESS.EXECUTE);
    if (result !== WALK.FILLED && !(result === WALK.SLOW && this.resolveWalk(vcpu))) return 0;
    return this.memory.words[ENGINE.walkAddress / 4]!;
  }

  /** Finishes a walk that wasm left: a frame of another owner. Sets a fault and answers `false` when it is refused. */
  resolveWalk(vcpu: VirtualCpu): boolean {
    const { memory } = this;
    const address = memory.quads[ENGINE.faultAddress / 8]!;
    const access = memory.words[ENGINE.walkAccess / 4]!;
    const mfn = this.leafFrame(vcpu.root, address);
    if (
      mfn !== undefined &&
      access !== ACCESS.EXECUTE &&
      this.ports.mayReachForeign(vcpu, mfn, access === ACCESS.WRITE)
    ) {
      this.softTlb.fill(
        address,
        mfn,
        access === ACCESS.WRITE && (this.frameWord(mfn) & (FRAME.readOnly | FRAME.code)) === 0,
      );
      memory.words[ENGINE.walkAddress / 4] = mfn * 4096 + Number(address & 4095n);
      return true;
    }
    memory.words[ENGINE.faultVector / 4] = 14;
    memory.words[ENGINE.faultError / 4] = 5 | (access === ACCESS.WRITE ? 2 : 0) | (access === ACCESS.EXECUTE ? 16 : 0);
    memory.words[ENGINE.reason / 4] = REASON.FAULT;
    return false;
  }

  private frameWord(mfn: number): number {
    return this.memory.words[this.layout.frameTable / 4 + mfn]!;
  }

  /** The frame that a 4 KiB leaf entry maps at `address`; `undefined` for large pages and frames beyond memory. */
  private leafFrame(root: number, address: bigint): number | undefined {
    let table = root;
    for (let level = 4; level >= 1; level--) {
      const index = Number((address >> BigInt(3 + level * 9)) & 511n);
      const entry = this.memory.quads[table * 512 + index]!;
      const next = Number((entry >> 12n) & 0xffffffffffn);
      if ((entry & 1n) === 0n || next >= this.memory.frames || (level > 1 && (entry & 0x80n) !== 0n)) return undefined;
      table = next;
    }
    return table;
  }

  /**
   * The instruction at `rip` wrote to a frame that holds code. Answers whether it is a repeated string instruction that
   * goes on: it counts once, however often it stopped for that.
   */
  private dropWrittenCode(rip?: bigint): boolean {
    const { words } = this.memory;
    const count = words[ENGINE.codeWriteCount / 4]!;
    const crossing = words[ENGINE.commitCount / 4]!;
    if (crossing > 0) {
      const split = words[ENGINE.commitSplit / 4]!;
      this.code.changed(words[ENGINE.commitFirst / 4]!, split);
      this.code.changed(words[ENGINE.commitSecond / 4]!, crossing - split);
    } else this.code.changed(words[ENGINE.codeWriteAddress / 4]!, count);
    words[ENGINE.commitCount / 4] = 0;
    words[ENGINE.codeWriteCount / 4] = 0;
    return crossing === 0 && this.memory.quads[ENGINE.nextRip / 8] === rip;
  }

  private leave(reason: ExitReason): Exit {
    this.exit.reason = reason;
    return this.exit;
  }

  /** A non-canonical address raises #SS where the stack segment is meant, by default, prefix or implicitly. */
  private refineNonCanonical(vcpu: VirtualCpu, rip: bigint): void {
    const { words, quads } = this.memory;
    words[ENGINE.reason / 4] = REASON.FAULT;
    const address = quads[ENGINE.faultAddress / 8]!;
    if (address === rip || !this.fetch(vcpu, rip, this.instruction)) return;
    const { instruction } = this;
    const hasMemory = instruction.kinds.includes(OPERAND.MEMORY) || instruction.kinds.includes(OPERAND.STRING_SOURCE);
    const implicit = OPCODES[instruction.row]?.implicitReads.some((name) => name === "rsp" || name === "rbp") ?? false;
    // PUSH, POP and CALL may have both: the address tells which it was.
    const distance = BigInt.asIntN(64, address - quads[RSP]!);
    const stack = implicit && (!hasMemory || (distance >= -16n && distance <= 16n));
    if (vcpu.mode === 32 && hasMemory && !stack && quads[STATE.segmentBase / 8 + instruction.segment] !== 0n) {
      // Beyond 4 GiB by the segment's base the linear address wraps: it is page 0 that the access wants.
      words[ENGINE.faultVector / 4] = 14;
      words[ENGINE.faultError / 4] = 4 | (words[ENGINE.walkAccess / 4] === ACCESS.WRITE ? 2 : 0);
      quads[ENGINE.faultAddress / 8] = 0n;
      return;
    }
    // A string's destination is in ES, whatever the source's segment is.
    const isDestination =
      instruction.kinds.includes(OPERAND.STRING_DESTINATION) && ((address ^ quads[RDI]!) & 0xffffffffn) === 0n;
    if (stack || (hasMemory && !isDestination && instruction.segment === SEGMENT.SS))
      words[ENGINE.faultVector / 4] = STACK_FAULT;
  }

  private leaveWithFault(vcpu: VirtualCpu, rip: bigint): Exit {
    const { words, quads } = this.memory;
    if (words[ENGINE.reason / 4] === REASON.NON_CANONICAL) this.refineNonCanonical(vcpu, rip);
    const { exit } = this;
    this.faultCount++;
    vcpu.ripValue = rip;
    exit.reason = EXIT.FAULT;
    exit.vector = words[ENGINE.faultVector / 4]!;
    exit.errorCode = words[ENGINE.faultError / 4]!;
    exit.hasErrorCode = ((HAS_ERROR_CODE >> exit.vector) & 1) === 1;
    exit.address = exit.vector === 14 ? quads[ENGINE.faultAddress / 8]! : 0n;
    return exit;
  }

  // What services need.

  /** Decodes a record's instruction again, for its operand kinds. */
  decodeRecord(record: number): Instruction {
    const { current } = this;
    if (record === SCRATCH) return this.instruction;
    if (this.decodedIn !== this.code.generation || this.decoded.size >= MAX_DECODED) {
      this.decoded.clear();
      this.decodedIn = this.code.generation;
    }
    let instruction = this.decoded.get(record);
    if (instruction === undefined) {
      instruction = engineInstruction();
      this.fetch(current, this.ripOf(record), instruction);
      this.decoded.set(record, instruction);
    }
    return instruction;
  }

  /** Machine address of the record's memory operand, 0 with the fault set. Call {@link Engine.commit} after writing. */
  operand(record: number, size: number, access: number): number {
    return this.exports.translate(this.exports.operandAddress(record), size, access);
  }

  /** Finishes writes to an address that `translate` gave. */
  commit(): void {
    const { words, bytes } = this.memory;
    const count = words[ENGINE.commitCount / 4]!;
    if (count > 0) {
      const split = words[ENGINE.commitSplit / 4]!;
      bytes.copyWithin(words[ENGINE.commitFirst / 4]!, ENGINE.bounceWrite, ENGINE.bounceWrite + split);
      bytes.copyWithin(words[ENGINE.commitSecond / 4]!, ENGINE.bounceWrite + split, ENGINE.bounceWrite + count);
    }
    if (words[ENGINE.codeWriteCount / 4]! > 0) this.dropWrittenCode();
    words[ENGINE.commitCount / 4] = 0;
  }

  wrapStack(address: bigint): bigint {
    return this.wrap(BigInt.asUintN(64, address));
  }

  readLinear(address: bigint, size: number): bigint | undefined {
    const at = this.exports.translate(this.wrapStack(address), size, ACCESS.READ);
    if (at === 0) return undefined;
    const { view } = this.memory;
    return size === 8
      ? view.getBigUint64(at, true)
      : BigInt(size === 4 ? view.getUint32(at, true) : view.getUint16(at, true));
  }

  /** The stack's value `offset` bytes above its top. */
  peek(offset: number, size: number): bigint | undefined {
    return this.readLinear(this.memory.quads[RSP]! + BigInt(offset), size);
  }

  push(value: bigint, size: number): boolean {
    const address = this.wrapStack(this.memory.quads[RSP]! - BigInt(size));
    const at = this.exports.translate(address, size, ACCESS.WRITE);
    if (at === 0) return false;
    const { view } = this.memory;
    if (size === 8) view.setBigUint64(at, value, true);
    else if (size === 4) view.setUint32(at, Number(value & 0xffffffffn), true);
    else view.setUint16(at, Number(value & 0xffffn), true);
    this.commit();
    this.memory.quads[RSP] = address;
    return true;
  }

  dropStack(bytes: number): void {
    this.memory.quads[RSP] = this.wrapStack(this.memory.quads[RSP]! + BigInt(bytes));
  }

  /** Loads ES, SS, DS, FS or GS as MOV does: SDM 2B, MOV. */
  loadSegmentRegister(segment: number, selector: number): number {
    const { current, memory } = this;
    const isStack = segment === 2;
    if (segment === 1) return this.setFault(6, 0);
    let base = 0n;
    let used: bigint | undefined;
    if ((selector & 0xfffc) === 0) {
      // At CPL 3 a null SS is none in 64-bit mode, too.
      if (isStack) return this.setFault(GENERAL_PROTECTION, 0);
    } else {
      const descriptor = this.ports.readDescriptor(current, selector);
      const error = selector & 0xfffc;
      if (descriptor === undefined) return this.setFault(GENERAL_PROTECTION, error);
      const high = Number(descriptor >> 32n);
      const type = (high >> 8) & 15;
      const dpl = (high >> 13) & 3;
      const code = (type & 8) !== 0;
      const usableData = (high & 0x1000) !== 0 && (!code || (type & 2) !== 0);
      if (!usableData) return this.setFault(GENERAL_PROTECTION, error);
      if (
        isStack
          ? code || (type & 2) === 0 || dpl !== 3 || (selector & 3) !== 3
          : !(code && (type & 4) !== 0) && dpl !== 3
      )
        return this.setFault(GENERAL_PROTECTION, error);
      if ((high & 0x8000) === 0) return this.setFault(isStack ? 12 : NOT_PRESENT, error);
      base = ((descriptor >> 16n) & 0xffffffn) | ((descriptor >> 32n) & 0xff000000n);
      used = descriptor;
    }
    memory.view.setUint16(STATE.selectors + segment * 2, selector, true);
    current.segments.load(segment, used);
    // In 64-bit mode a null selector leaves AMD's FS and GS bases alone, Intel clears them; Xen's guests expect zero.
    memory.quads[STATE.segmentBase / 8 + segment] = base;
    return SERVICE_RESULT.NEXT;
  }

  /** Goes to `selector:rip` at CPL 3, changing mode with the segment's L bit, with a new stack for IRET. */
  farTransfer(selector: number, rip: bigint, stack: { rsp: bigint; ss: number } | undefined): number {
    const { current, memory } = this;
    const error = selector & 0xfffc;
    const descriptor = error === 0 ? undefined : this.ports.readDescriptor(current, selector);
    if (descriptor === undefined) return this.setFault(GENERAL_PROTECTION, error);
    const high = Number(descriptor >> 32n);
    const type = (high >> 8) & 15;
    const isCode = (high & 0x1800) === 0x1800;
    const dpl = (high >> 13) & 3;
    if (!isCode || (selector & 3) !== 3 || ((type & 4) === 0 && dpl !== 3))
      return this.setFault(GENERAL_PROTECTION, error);
    if ((high & 0x8000) === 0) return this.setFault(NOT_PRESENT, error);
    const mode = high & 0x200000 ? 64 : 32;
    const target = rip;
    const inside = mode === 64 ? BigInt.asIntN(48, target) === BigInt.asIntN(64, target) : target <= 0xffffffffn;
    if (!inside) return this.setFault(GENERAL_PROTECTION, 0);
    if (stack !== undefined) {
      const result = this.loadSegmentRegister(2, stack.ss);
      if (result !== SERVICE_RESULT.NEXT) return result;
      memory.quads[RSP] = mode === 64 ? stack.rsp : stack.rsp & 0xffffffffn;
    }
    memory.view.setUint16(STATE.selectors + 2, selector, true);
    current.segments.load(1, descriptor);
    current.mode = mode;
    memory.quads[ENGINE.nextRip / 8] = target;
    return SERVICE_RESULT.JUMP;
  }

  /** What IRET at CPL 3 may change: status flags, TF, DF, NT, AC, ID (and RF). */
  setFlagsAtUserLevel(flags: bigint, size: number): void {
    const writable = size === 2 ? 0x4500n : 0x254500n;
    this.exports.loadFlags(flags);
    const at = STATE.eflags / 8;
    this.memory.quads[at] = (this.memory.quads[at]! & ~writable) | (flags & writable);
  }
}

function countedByName(reasons: Float64Array, served: Float64Array, table: HandlerTable): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [name, reason] of Object.entries(REASON)) {
    const count = reasons[reason]!;
    if (count > 0 && reason !== REASON.SERVICE) counts[name.toLowerCase().replaceAll("_", " ")] = count;
  }
  served.forEach((count, slot) => {
    const name = table.handlers[slot]!.definition.name;
    if (count > 0) counts[name] = (counts[name] ?? 0) + count;
  });
  return counts;
}

/** Makes a processor with its memory. Throws `ParavirtError` when the host can't give the memory. */
export function createEngine(options: EngineOptions): PublicEngine {
  return new Engine(options);
}
