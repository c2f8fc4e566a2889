import type { CodeEmitter } from "@paravirt/wasm-emit";
import { ACCESS, ENGINE, GATE, STATE } from "../layout.ts";
import { Flags, StateAccess } from "../lowering.ts";

const RFLAGS = {
  RESERVED: 2,
  TF: 0x100,
  IF: 0x200,
  DF: 0x400,
  IOPL: 0x3000,
  NT: 0x4000,
  RF: 0x10000,
  VM: 0x20000,
  AC: 0x40000,
} as const;
/** Single step, and what alignment checks and breakpoints mind: `careful-step.ts`. */
const CAREFUL = RFLAGS.TF | RFLAGS.AC | RFLAGS.RF;
/** Flags that `STATE.eflags` never holds. */
const STATUS_FLAGS = 0x8d5;
/** RFLAGS bits that exist. */
const RFLAGS_BITS = 0x3fffff;
const RAX = STATE.gpr;
const RCX = STATE.gpr + 8;
const RSP = STATE.gpr + 32;
const R11 = STATE.gpr + 88;
const GS = STATE.segmentBase + 40;
const CS_SELECTOR = STATE.selectors + 2;
/** RCX R11 RIP CS RFLAGS RSP SS. */
const ENTRY_FRAME_BYTES = 56;
/** RAX R11 RCX flags RIP CS RFLAGS RSP SS. */
const RETURN_FRAME_BYTES = 72;
/** In the flags of a return frame: the return is a SYSRET, which leaves to JavaScript. */
const IN_SYSCALL = 0x100;
const PAGE = 4096;

/**
 * Emits the gate: (nextRip i64) → i32, called by `syscall`. 1 when it went through, with `ENGINE.nextRip` set; 0 with
 * nothing changed, when JavaScript has to look. What it does is what the embedder does otherwise, for the common case:
 * user space enters its kernel with a frame on the kernel's stack, the kernel returns by the frame on its stack.
 */
export function emitGate(e: CodeEmitter, translate: number): void {
  const state = new StateAccess(e);
  const nextRip = 0;
  const rflags = e.local("i64");
  const closed = () => e.i32(0).return();

  // Only 64-bit code whose flags don't ask for a look at each instruction.
  state.get32(GATE.armed);
  e.op("i32_eqz").if();
  closed();
  e.end();
  state.get64(STATE.linearMask);
  e.i64(-1).op("i64_ne").if();
  closed();
  e.end();
  state.get64(STATE.eflags);
  e.i64(CAREFUL).op("i64_and").i64(0).op("i64_ne").if();
  closed();
  e.end();

  state.get32(GATE.kernel);
  e.if();
  emitReturn(e, state, translate);
  e.else();
  emitEntry(e, state, translate, { nextRip, rflags });
  e.end();
  e.op("unreachable");
}

/** Emits what SYSCALL does to RCX and R11: () → (), with RIP after the instruction. */
export function emitSyscallRegisters(e: CodeEmitter): void {
  const state = new StateAccess(e);
  state.set64(RCX, () => state.get64(STATE.rip));
  state.set64(R11, () => {
    new Flags(e, state).image();
    state.get64(STATE.eflags);
    e.op("i64_or").i64(RFLAGS.RESERVED).op("i64_or");
  });
}

/** Exchanges the GS bases and makes the other half's address space current. */
function swap(e: CodeEmitter, state: StateAccess, to: { kernel: 0 | 1; root: number; tlb: number }): void {
  const base = e.temporary("i64");
  state.get64(GS);
  e.set(base);
  state.set64(GS, () => state.get64(GATE.otherGsBase));
  state.set64(GATE.otherGsBase, () => e.get(base));
  state.set32(ENGINE.root, () => state.get32(to.root));
  state.set32(ENGINE.tlb, () => state.get32(to.tlb));
  state.set32(GATE.kernel, () => e.i32(to.kernel));
  e.release("i64", base);
}

const KERNEL = { kernel: 1, root: GATE.kernelRoot, tlb: GATE.kernelTlb } as const;
const USER = { kernel: 0, root: GATE.userRoot, tlb: GATE.userTlb } as const;

/** Pushes the bits that the flags word of a frame gives the processor. */
function storeFlags(e: CodeEmitter, state: StateAccess, rflags: number): void {
  state.set64(STATE.eflags, () =>
    e
      .get(rflags)
      .i64(RFLAGS_BITS & ~STATUS_FLAGS)
      .op("i64_and"),
  );
}

function emitEntry(
  e: CodeEmitter,
  state: StateAccess,
  translate: number,
  { nextRip, rflags }: { nextRip: number; rflags: number },
): void {
  const host = e.local("i32");
  const masked = e.local("i32");
  const stack = e.local("i64");
  state.get64(GATE.entry);
  e.op("i64_eqz");
  state.get32(GATE.kernelTlb);
  e.op("i32_eqz").op("i32_or");
  state.get64(GATE.stack);
  e.i64(-16).op("i64_and").i64(ENTRY_FRAME_BYTES).op("i64_sub").tee(stack);
  e.op("i32_wrap_i64")
    .i32(PAGE - 1)
    .op("i32_and")
    .i32(PAGE - ENTRY_FRAME_BYTES)
    .op("i32_gt_u")
    .op("i32_or")
    .if();
  e.i32(0).return().end();
  swap(e, state, KERNEL);
  e.get(stack).i32(ENTRY_FRAME_BYTES).i32(ACCESS.WRITE).call(translate).tee(host).op("i32_eqz");
  // A stack page that holds code too needs JavaScript to drop that code.
  state.get32(ENGINE.codeWriteCount);
  e.op("i32_or").if();
  state.set32(ENGINE.codeWriteCount, () => e.i32(0));
  swap(e, state, USER);
  e.i32(0).return().end();

  new Flags(e, state).image();
  state.get64(STATE.eflags);
  e.op("i64_or").i64(RFLAGS.RESERVED).op("i64_or").set(rflags);
  state.get32(GATE.maskAt);
  e.mem("i32_load8_u").set(masked);
  const store = (offset: number, push: () => void) => {
    e.get(host);
    push();
    e.mem("i64_store", offset);
  };
  // As after the processor's own SYSCALL: RCX is the return address, R11 the flags.
  store(0, () => e.get(nextRip));
  store(8, () => e.get(rflags));
  store(16, () => e.get(nextRip));
  store(24, () => {
    e.i32(0).mem("i64_load16_u", GATE.flatSelectors);
    e.get(masked).op("i64_extend_i32_u").i64(32).op("i64_shl").op("i64_or");
  });
  store(32, () => {
    e.get(rflags)
      .i64(~(RFLAGS.IF | RFLAGS.IOPL))
      .op("i64_and");
    e.i64(RFLAGS.IF).i64(0).get(masked).op("i32_eqz").op("select").op("i64_or");
  });
  store(40, () => state.get64(RSP));
  store(48, () => e.i32(0).mem("i64_load16_u", GATE.flatSelectors + 2));
  // Entries that leave events unmasked are not armed: an event would have to be delivered at once.
  state.get32(GATE.maskAt);
  e.i32(1).mem("i32_store8");
  e.get(rflags)
    .i64(~(RFLAGS.AC | RFLAGS.VM | RFLAGS.RF | RFLAGS.NT | RFLAGS.TF))
    .op("i64_and")
    .i64(RFLAGS.IF)
    .op("i64_or")
    .set(rflags);
  state.set64(R11, () => e.get(rflags));
  e.get(rflags).i64(~RFLAGS.DF).op("i64_and").set(rflags);
  storeFlags(e, state, rflags);
  state.set32(CS_SELECTOR, () => state.get32(GATE.flatSelectors));
  state.set64(RSP, () => e.get(stack));
  state.set64(RCX, () => state.get64(GATE.entry));
  state.set64(ENGINE.nextRip, () => state.get64(GATE.entry));
  state.set32(GATE.entries, () => {
    state.get32(GATE.entries);
    e.i32(1).op("i32_add");
  });
  e.i32(1).return();
}

function emitReturn(e: CodeEmitter, state: StateAccess, translate: number): void {
  const host = e.local("i32");
  const selectors = e.local("i32");
  const rip = e.local("i64");
  const saved = e.local("i64");
  const closedIf = () => {
    e.if();
    e.i32(0).return().end();
  };
  const load = (offset: number) => e.get(host).mem("i64_load", offset);

  state.get64(RAX);
  e.i32(0).mem("i64_load32_u", GATE.returnNumber).op("i64_ne");
  closedIf();
  state.get64(RSP);
  e.op("i32_wrap_i64")
    .i32(PAGE - 1)
    .op("i32_and")
    .i32(PAGE - RETURN_FRAME_BYTES)
    .op("i32_gt_u");
  closedIf();
  state.get64(RSP);
  e.i32(RETURN_FRAME_BYTES).i32(ACCESS.READ).call(translate).tee(host).op("i32_eqz");
  closedIf();
  load(32);
  e.tee(rip).i64(16).op("i64_shl").i64(16).op("i64_shr_s").get(rip).op("i64_ne");
  load(24);
  e.i64(IN_SYSCALL).op("i64_and").i64(0).op("i64_ne").op("i32_or");
  load(48);
  e.tee(saved).i64(CAREFUL).op("i64_and").i64(0).op("i64_ne").op("i32_or");
  closedIf();
  // RPL 3 in both, whatever the frame says.
  e.get(host).mem("i32_load16_u", 40);
  e.get(host).mem("i32_load16_u", 64).i32(16).op("i32_shl").op("i32_or");
  e.i32(0x30003).op("i32_or").tee(selectors);
  state.get32(GATE.flatSelectors);
  e.op("i32_ne").get(selectors);
  state.get32(GATE.knownSelectors);
  e.op("i32_ne").op("i32_and");
  closedIf();
  // An event that waits would have to be delivered first.
  e.get(saved).i64(RFLAGS.IF).op("i64_and").i64(0).op("i64_ne").if();
  state.get32(GATE.pendingAt);
  e.mem("i32_load8_u");
  closedIf();
  e.end();
  e.get(host).mem("i32_load8_u", 40).i32(3).op("i32_and").i32(3).op("i32_eq").if();
  state.get32(GATE.userTlb);
  e.op("i32_eqz");
  closedIf();
  swap(e, state, USER);
  e.end();

  state.set64(RAX, () => load(0));
  state.set64(R11, () => load(8));
  state.set64(RCX, () => load(16));
  state.set64(RSP, () => load(56));
  state.get32(GATE.maskAt);
  e.get(saved).i64(RFLAGS.IF).op("i64_and").op("i64_eqz").mem("i32_store8");
  e.get(saved)
    .i64(~(RFLAGS.IOPL | RFLAGS.VM))
    .op("i64_and")
    .i64(RFLAGS.IF | RFLAGS.RESERVED)
    .op("i64_or")
    .set(saved);
  new Flags(e, state).load(saved);
  storeFlags(e, state, saved);
  state.set32(CS_SELECTOR, () => e.get(selectors));
  state.set64(ENGINE.nextRip, () => e.get(rip));
  state.set32(GATE.returns, () => {
    state.get32(GATE.returns);
    e.i32(1).op("i32_add");
  });
  e.i32(1).return();
}
