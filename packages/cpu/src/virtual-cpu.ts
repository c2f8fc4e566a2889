import { type MachineMemory, ParavirtError } from "@paravirt/core";
import { type Instruction, OPCODES } from "@paravirt/x86";
import { DebugRegisters } from "./debug-registers.ts";
import type { Engine } from "./engine.ts";
import { loadFxsave, saveFxsave } from "./fxsave.ts";
import { ACCESS, ENGINE, GATE, REASON, STATE } from "./layout.ts";
import { Segments } from "./segments.ts";
import { SERVICE_RESULT } from "./service.ts";
import type { Exit, GatePlan, GateState, Vcpu } from "./vcpu.ts";

const FXSAVE_SIZE = 512;
/** Where an image passes through the engine's memory. */
const IMAGE = ENGINE.bounceRead;
const STATUS_FLAGS = 0x8d5n;
const TASK_SWITCHED = 8n;
/** CR0.TS and CR0.MP. */
const WAIT_TRAPS = 0xan;
const EMULATE_FPU = 4n;
const FPU_FEATURES = /^(x87|fpu|mmx|sse|ssse|aes|pclmul|sha|fxsr|xsave|avx)/i;

/** Rows whose instructions need the FPU, by name of their CPU feature. */
const usesFpu: boolean[] = OPCODES.map((row) => row.feature !== undefined && FPU_FEATURES.test(row.feature));

/** A VCPU: its registers are in the engine's memory while it is active, in `saved` otherwise. */
export class VirtualCpu implements Vcpu {
  readonly id: number;
  readonly saved: Uint8Array = new Uint8Array(STATE.end - STATE.start);
  /** Instructions executed so far. */
  executed = 0;
  /** CR0 makes FPU instructions raise #NM. */
  fpuDisabled = false;
  readonly debug: DebugRegisters = new DebugRegisters();
  readonly segments: Segments = new Segments();
  /** DR6 bits of data breakpoints that wait for the instruction after MOV SS or POP SS. */
  pendingDebug = 0;
  private readonly engine: Engine;
  private ownerTag = 0x7fff;
  private rootFrame = 0;
  private bits: 64 | 32 = 64;
  private readonly gateState = { inKernel: false, otherGsBase: 0n, entries: 0, returns: 0 };

  constructor(engine: Engine, id: number) {
    this.engine = engine;
    this.id = id;
    const view = new DataView(this.saved.buffer);
    view.setBigUint64(STATE.eflags - STATE.start, 0x202n, true);
    view.setBigUint64(STATE.flagResult - STATE.start, 1n, true);
    view.setBigUint64(STATE.linearMask - STATE.start, 0xffffffffffffffffn, true);
    view.setUint32(STATE.mxcsr - STATE.start, 0x1f80, true);
    view.setUint32(STATE.fcw - STATE.start, 0x37f, true);
    view.setBigUint64(STATE.cr0 - STATE.start, 0x80050033n, true);
    view.setBigUint64(STATE.xcr0 - STATE.start, 1n, true);
  }

  private get(address: number): bigint {
    this.engine.activate(this);
    return this.engine.memory.quads[address / 8]!;
  }

  private set(address: number, value: bigint): void {
    this.engine.activate(this);
    this.engine.memory.quads[address / 8] = BigInt.asUintN(64, value);
  }

  get regs(): BigUint64Array {
    this.engine.activate(this);
    return this.engine.registers;
  }

  get regWords(): Uint32Array {
    this.engine.activate(this);
    return this.engine.registerWords;
  }

  get rip(): bigint {
    return this.get(STATE.rip);
  }

  set rip(value: bigint) {
    this.set(STATE.rip, value);
  }

  /** RIP of the active VCPU while the engine is not running. */
  get ripValue(): bigint {
    return this.engine.memory.quads[STATE.rip / 8]!;
  }

  set ripValue(value: bigint) {
    this.engine.memory.quads[STATE.rip / 8] = value;
  }

  get rflags(): bigint {
    this.engine.activate(this);
    return this.engine.exports.readFlags() | this.get(STATE.eflags) | 2n;
  }

  set rflags(value: bigint) {
    this.engine.activate(this);
    this.engine.exports.loadFlags(value);
    this.set(STATE.eflags, (value & ~STATUS_FLAGS & 0x3fffffn) | 2n);
  }

  get selectors(): Uint16Array {
    this.engine.activate(this);
    return this.engine.segmentSelectors;
  }

  get fsBase(): bigint {
    return this.get(STATE.segmentBase + 32);
  }

  set fsBase(value: bigint) {
    this.set(STATE.segmentBase + 32, value);
  }

  get gsBase(): bigint {
    return this.get(STATE.segmentBase + 40);
  }

  set gsBase(value: bigint) {
    this.set(STATE.segmentBase + 40, value);
  }

  get mode(): 64 | 32 {
    return this.bits;
  }

  set mode(value: 64 | 32) {
    if (value === this.bits) return;
    this.bits = value;
    this.set(STATE.linearMask, value === 64 ? -1n : 0xffffffffn);
    this.engine.selectAddressSpace();
  }

  get tscAux(): number {
    this.engine.activate(this);
    return this.engine.memory.words[STATE.tscAux / 4]!;
  }

  set tscAux(value: number) {
    this.engine.activate(this);
    this.engine.memory.words[STATE.tscAux / 4] = value;
  }

  get cr0(): bigint {
    return this.get(STATE.cr0);
  }

  set cr0(value: bigint) {
    this.set(STATE.cr0, value);
    this.fpuDisabled = (value & (TASK_SWITCHED | EMULATE_FPU)) !== 0n;
  }

  /** Segments outside 64-bit mode, of which some forbid something. */
  get limited(): boolean {
    return this.bits === 32 && this.segments.limited;
  }

  /** Each instruction is looked at, whatever the flags say. */
  get careful(): boolean {
    return this.fpuDisabled || this.debug.armed || this.limited;
  }

  debugRegister(number: number): bigint {
    return this.debug.get(number);
  }

  setDebugRegister(number: number, value: bigint): void {
    this.debug.set(number, BigInt.asUintN(64, value));
  }

  get cr4(): bigint {
    return this.get(STATE.cr4);
  }

  set cr4(value: bigint) {
    this.set(STATE.cr4, value);
  }

  get xcr0(): bigint {
    return this.get(STATE.xcr0);
  }

  set xcr0(value: bigint) {
    this.set(STATE.xcr0, value);
  }

  get owner(): number {
    return this.ownerTag;
  }

  set owner(value: number) {
    this.ownerTag = value;
    this.engine.activate(this);
    this.engine.selectAddressSpace();
  }

  get root(): number {
    return this.rootFrame;
  }

  setRoot(mfn: number): void {
    this.rootFrame = mfn;
    this.engine.activate(this);
    this.engine.selectAddressSpace();
  }

  setSyscallRegisters(): void {
    this.engine.activate(this);
    this.engine.exports.syscallRegisters();
  }

  /** The gate may have changed the address space: takes over which one is current. */
  noteRoot(): void {
    this.rootFrame = this.engine.memory.words[ENGINE.root / 4]! >>> 12;
  }

  armGate(plan: GatePlan): void {
    const { engine } = this;
    engine.activate(this);
    const { words, quads } = engine.memory;
    words[GATE.kernel / 4] = plan.inKernel ? 1 : 0;
    words[GATE.kernelRoot / 4] = plan.kernelRoot * 4096;
    words[GATE.kernelTlb / 4] = engine.softTlb.contextOf(plan.kernelRoot);
    words[GATE.userRoot / 4] = plan.userRoot * 4096;
    words[GATE.userTlb / 4] = plan.userRoot === 0 ? 0 : engine.softTlb.contextOf(plan.userRoot);
    words[GATE.flatSelectors / 4] = plan.flatSelectors;
    words[GATE.knownSelectors / 4] = plan.knownSelectors;
    words[GATE.maskAt / 4] = plan.maskAt;
    words[GATE.pendingAt / 4] = plan.pendingAt;
    words[GATE.returnNumber / 4] = plan.returnNumber;
    words[GATE.entries / 4] = 0;
    words[GATE.returns / 4] = 0;
    quads[GATE.otherGsBase / 8] = plan.otherGsBase;
    quads[GATE.stack / 8] = plan.kernelStack;
    quads[GATE.entry / 8] = plan.entry;
    words[GATE.armed / 4] = 1;
  }

  closeGate(): GateState | undefined {
    const { words, quads } = this.engine.memory;
    const state = this.gateState;
    words[GATE.armed / 4] = 0;
    state.entries = words[GATE.entries / 4]!;
    state.returns = words[GATE.returns / 4]!;
    if (state.entries + state.returns === 0) return undefined;
    words[GATE.entries / 4] = 0;
    words[GATE.returns / 4] = 0;
    state.inKernel = words[GATE.kernel / 4] !== 0;
    state.otherGsBase = quads[GATE.otherGsBase / 8]!;
    return state;
  }

  loadSegment(segment: number, selector: number): boolean {
    this.engine.activate(this);
    return this.engine.loadSegmentRegister(segment, selector) === SERVICE_RESULT.NEXT;
  }

  describeSegment(segment: number, descriptor: bigint): void {
    this.segments.load(segment, descriptor);
  }

  run(budget: number): Exit {
    return this.engine.run(this, budget);
  }

  step(): Exit {
    return this.engine.step(this);
  }

  stepOverlaid(page: bigint, overlay: number): Exit {
    const { quads, words } = this.engine.memory;
    quads[ENGINE.overlayPage / 8] = page;
    words[ENGINE.overlayAddress / 4] = overlay * 4096;
    const exit = this.engine.step(this);
    quads[ENGINE.overlayPage / 8] = 1n;
    return exit;
  }

  get instructions(): number {
    return this.executed;
  }

  fetch(into: Instruction): boolean {
    this.engine.activate(this);
    return this.engine.fetch(this, this.ripValue, into) && into.length > 0;
  }

  /** Whether `instruction` raises #NM while CR0.TS or CR0.EM is set. */
  usesDisabledFpu(instruction: Instruction): boolean {
    // WAIT minds TS only together with MP (SDM 2, WAIT).
    if (OPCODES[instruction.row]?.name === "wait") return (this.get(STATE.cr0) & WAIT_TRAPS) === WAIT_TRAPS;
    return usesFpu[instruction.row] === true;
  }

  translate(address: bigint, write: boolean): number {
    return this.translateBytes(address, 1, write);
  }

  private translateBytes(address: bigint, size: number, write: boolean): number {
    const { engine } = this;
    engine.activate(this);
    const { words } = engine.memory;
    for (;;) {
      const at = engine.exports.translate(address, size, write ? ACCESS.WRITE : ACCESS.READ);
      if (at !== 0) {
        if (words[ENGINE.codeWriteCount / 4]! > 0) {
          // The caller may write anywhere in the page: all of its code is stale.
          engine.frames.written(at >>> 12);
          words[ENGINE.codeWriteCount / 4] = 0;
        }
        return at;
      }
      if (words[ENGINE.reason / 4] !== REASON.WALK || !engine.resolveWalk(this)) return 0;
    }
  }

  translateWords(low: number, high: number, write: boolean): number {
    const { engine } = this;
    engine.activate(this);
    const at = engine.exports.probe(low, high, write ? ACCESS.WRITE : ACCESS.READ);
    // Whatever needs more than a look into the TLB or the page tables.
    return at !== 0 ? at : this.translate((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0), write);
  }

  translateIn(root: number, address: bigint, write: boolean): number {
    const before = this.rootFrame;
    if (root === before) return this.translate(address, write);
    this.setRoot(root);
    const at = this.translate(address, write);
    this.setRoot(before);
    return at;
  }

  read(address: bigint, into: Uint8Array): boolean {
    return this.copy(address, into.length, false, (at, from, count) => {
      into.set(this.engine.memory.bytes.subarray(at, at + count), from);
    });
  }

  write(address: bigint, from: Uint8Array): boolean {
    // Two passes: nothing is written unless everything can be.
    return (
      this.copy(address, from.length, true, () => {}) &&
      this.copy(address, from.length, true, (at, start, count) => {
        this.engine.memory.bytes.set(from.subarray(start, start + count), at);
      })
    );
  }

  private copy(
    address: bigint,
    length: number,
    write: boolean,
    each: (at: number, start: number, count: number) => void,
  ): boolean {
    let start = 0;
    let at = address;
    while (start < length) {
      const machine = this.translateBytes(at, 1, write);
      if (machine === 0) return false;
      const count = Math.min(length - start, 4096 - (machine & 4095));
      each(machine, start, count);
      start += count;
      at += BigInt(count);
    }
    return true;
  }

  saveFpu(into: Uint8Array): void {
    const memory = this.activeMemory(into);
    memory.bytes.fill(0, IMAGE, IMAGE + FXSAVE_SIZE);
    saveFxsave(memory, IMAGE);
    into.set(memory.bytes.subarray(IMAGE, IMAGE + FXSAVE_SIZE));
  }

  loadFpu(from: Uint8Array): void {
    const memory = this.activeMemory(from);
    memory.bytes.set(from.subarray(0, FXSAVE_SIZE), IMAGE);
    if (!loadFxsave(memory, IMAGE)) throw new ParavirtError("BAD_ARGUMENT", "the image's MXCSR has reserved bits set");
  }

  private activeMemory(image: Uint8Array): MachineMemory {
    if (image.length < FXSAVE_SIZE)
      throw new ParavirtError("BAD_ARGUMENT", `an FXSAVE image has ${FXSAVE_SIZE} bytes, not ${image.length}`);
    this.engine.activate(this);
    return this.engine.memory;
  }
}
