import type { CodeEmitter } from "@paravirt/wasm-emit";
import {
  ACCESS,
  ACCESS_LOG_ENTRIES,
  ENGINE,
  FRAME,
  REASON,
  SLOTS_PER_FRAME,
  STATE,
  TLB,
  WALK,
  WATCH,
} from "../layout.ts";
import { StateAccess } from "../lowering.ts";
import { emitTlbSlot } from "../tlb-probe.ts";

const PTE = { present: 1, writable: 2, user: 4, accessed: 0x20, dirty: 0x40, pageSize: 0x80 } as const;
const PAGE_FAULT = 14;
const GENERAL_PROTECTION = 13;
const ALIGNMENT_CHECK = 17;
/** Sizes of operands whose address must have these bits clear; measured where the manuals leave a choice (unaligned vectors). */
const ALIGNMENT: readonly (readonly [size: number, mask: number])[] = [
  [2, 1],
  [4, 3],
  [6, 3],
  [8, 7],
  [10, 7],
  [14, 1],
  [16, 15],
  [28, 3],
  [32, 15],
  [94, 1],
  [108, 3],
];

/**
 * Emits the page walker: (address i64, access i32) → {@link WALK}. SDM 3A 4.5: four levels at CPL 3, accessed and dirty
 * bits set as the processor does, rights combined over the levels. The leaf's frame is checked against the frame table
 * before it may enter the TLB: the page tables were validated by whoever owns them, but a second look is cheap.
 */
export function emitWalker(e: CodeEmitter): void {
  const state = new StateAccess(e);
  const address = 0;
  const access = 1;
  const table = e.local("i32");
  const entryAddress = e.local("i32");
  const entry = e.local("i64");
  const rights = e.local("i64");
  const noExecute = e.local("i64");
  const info = e.local("i32");
  const frame = e.local("i32");
  const slot = e.local("i32");

  const leave = (result: number, reason: number) => {
    state.set32(ENGINE.reason, () => e.i32(reason));
    state.set64(ENGINE.faultAddress, () => e.get(address));
    state.set32(ENGINE.walkAccess, () => e.get(access));
    e.i32(result).return();
  };
  const fault = (present: number) => {
    state.set32(ENGINE.faultVector, () => e.i32(PAGE_FAULT));
    state.set32(ENGINE.faultError, () => {
      e.i32(present | 4);
      e.get(access).i32(ACCESS.WRITE).op("i32_eq").i32(1).op("i32_shl").op("i32_or");
      e.get(access).i32(ACCESS.EXECUTE).op("i32_eq").i32(4).op("i32_shl").op("i32_or");
    });
    leave(WALK.FAULT, REASON.FAULT);
  };

  // A non-canonical address is #GP(0), SDM 1 3.3.7.1.
  e.get(address).i64(16).op("i64_shl").i64(16).op("i64_shr_s").get(address).op("i64_ne").if();
  state.set32(ENGINE.faultVector, () => e.i32(GENERAL_PROTECTION));
  state.set32(ENGINE.faultError, () => e.i32(0));
  leave(WALK.FAULT, REASON.NON_CANONICAL);
  e.end();

  state.get32(ENGINE.root);
  e.set(table);
  e.i64(-1).set(rights);
  for (let level = 4; level >= 1; level--) {
    e.get(table);
    e.get(address)
      .i64(3 + level * 9)
      .op("i64_shr_u")
      .op("i32_wrap_i64")
      .i32(511)
      .op("i32_and")
      .i32(3)
      .op("i32_shl");
    e.op("i32_add").tee(entryAddress).mem("i64_load").tee(entry);
    e.op("i32_wrap_i64").i32(PTE.present).op("i32_and").op("i32_eqz").if();
    fault(0);
    e.end();
    e.get(rights).get(entry).op("i64_and").set(rights);
    e.get(noExecute).get(entry).op("i64_or").set(noExecute);
    // Frames beyond the machine's memory can't be reached: bits 12–51 against the frame count.
    e.get(entry).i64(12).op("i64_shr_u").i64Halves(-1, 0xff).op("i64_and");
    e.i32(0).mem("i64_load32_u", ENGINE.frames).op("i64_ge_u").if();
    leave(WALK.SLOW, REASON.WALK);
    e.end();
    e.get(entry).op("i32_wrap_i64").i32(-4096).op("i32_and").set(table);
    if (level === 2 || level === 3) {
      e.get(entry).op("i32_wrap_i64").i32(PTE.pageSize).op("i32_and").if();
      leave(WALK.SLOW, REASON.WALK);
      e.end();
    }
    if (level > 1) {
      e.get(entry).op("i32_wrap_i64").i32(PTE.accessed).op("i32_and").op("i32_eqz").if();
      e.get(entryAddress).get(entry).i64(PTE.accessed).op("i64_or").mem("i64_store").end();
    }
  }

  e.get(rights).op("i32_wrap_i64").i32(PTE.user).op("i32_and").op("i32_eqz").if();
  fault(1);
  e.end();
  e.get(access).i32(ACCESS.WRITE).op("i32_eq").if();
  e.get(rights).op("i32_wrap_i64").i32(PTE.writable).op("i32_and").op("i32_eqz").if();
  fault(1);
  e.end().end();
  e.get(access).i32(ACCESS.EXECUTE).op("i32_eq").get(noExecute).i64(0).op("i64_lt_s").op("i32_and").if();
  fault(1);
  e.end();

  // The frame itself: own, or open to reading; anything else is for JavaScript to decide.
  e.get(table).i32(12).op("i32_shr_u").set(frame);
  state.get32(ENGINE.frameTable);
  e.get(frame).i32(2).op("i32_shl").op("i32_add").tee(slot).mem("i32_load").set(info);
  e.get(info).i32(FRAME.ownerMask).op("i32_and");
  state.get32(ENGINE.owner);
  e.op("i32_ne").if();
  e.get(access).i32(ACCESS.WRITE).op("i32_eq");
  e.get(info).i32(FRAME.readableByAll).op("i32_and").op("i32_eqz").op("i32_or").if();
  leave(WALK.SLOW, REASON.WALK);
  e.end().end();

  // Accessed, and dirty for a write, SDM 3A 4.8.
  const wanted = e.local("i64");
  e.i64(PTE.accessed)
    .get(access)
    .i32(ACCESS.WRITE)
    .op("i32_eq")
    .op("i64_extend_i32_u")
    .i64(6)
    .op("i64_shl")
    .op("i64_or")
    .set(wanted);
  e.get(entry).get(wanted).op("i64_and").get(wanted).op("i64_ne").if();
  e.get(entryAddress).get(entry).get(wanted).op("i64_or").mem("i64_store").end();

  state.set32(ENGINE.walkAddress, () =>
    e.get(table).get(address).op("i32_wrap_i64").i32(4095).op("i32_and").op("i32_or"),
  );
  e.get(access).i32(ACCESS.EXECUTE).op("i32_eq").if();
  e.i32(WALK.FILLED).return().end();
  e.get(access).i32(ACCESS.WRITE).op("i32_eq").if();
  e.get(info).i32(FRAME.readOnly).op("i32_and").if();
  fault(1);
  e.end();
  e.get(info).i32(FRAME.code).op("i32_and").if();
  e.i32(WALK.CODE).return().end();
  e.end();

  emitFill(e, state, { address, access, table, info, slot });
  e.i32(WALK.FILLED);
}

function emitFill(
  e: CodeEmitter,
  state: StateAccess,
  locals: { address: number; access: number; table: number; info: number; slot: number },
): void {
  const { address, access, table, info, slot } = locals;
  const entry = e.local("i32");
  state.set32(ENGINE.tlbFills, () => {
    state.get32(ENGINE.tlbFills);
    e.i32(1).op("i32_add");
  });
  state.get32(ENGINE.tlb);
  emitTlbSlot(e, address);
  e.op("i32_add").set(entry);
  const fill = (array: number) => {
    e.get(entry).get(address).i64(-4096).op("i64_and").mem("i64_store", array);
    e.get(entry)
      .get(table)
      .get(address)
      .op("i32_wrap_i64")
      .i32(-4096)
      .op("i32_and")
      .op("i32_sub")
      .mem("i32_store", array + 8);
  };
  fill(TLB.read);
  e.get(access).i32(ACCESS.WRITE).op("i32_eq").if();
  fill(TLB.write);
  e.end();

  emitNoteSlot(e, state, { entry, table, info, slot });
}

/**
 * Remembers a TLB slot with the frame that it now holds, while there is room, then only that there are more. `slot` is
 * the address of the frame's word, `info` that word.
 */
function emitNoteSlot(
  e: CodeEmitter,
  state: StateAccess,
  locals: { entry: number; table: number; info: number; slot: number },
): void {
  const { entry, table, info, slot } = locals;
  const slots = e.local("i32");
  state.get32(ENGINE.slotTable);
  e.get(table)
    .i32(12 - Math.log2(SLOTS_PER_FRAME * 4))
    .op("i32_shr_u")
    .op("i32_add")
    .set(slots);
  e.get(info).i32(FRAME.cached).op("i32_or").set(info);
  const done = e.block();
  for (let index = 0; index < SLOTS_PER_FRAME; index++) {
    const known = e.temporary("i32");
    e.get(slots)
      .mem("i32_load", index * 4)
      .tee(known)
      .get(entry)
      .op("i32_eq")
      .brIf(done);
    e.get(known).op("i32_eqz").if();
    e.get(slots)
      .get(entry)
      .mem("i32_store", index * 4)
      .br(done);
    e.end();
    e.release("i32", known);
  }
  e.get(info).i32(FRAME.scattered).op("i32_or").set(info);
  e.end();
  e.get(slot).get(info).mem("i32_store");
}

/**
 * Emits what finds 64-bit code when the execute TLB does not: (address i64) → record, or 0 when JavaScript must decode it
 * or the page can't be executed. The page's code table enters the execute TLB on the way.
 */
export function emitFindCode(e: CodeEmitter, walker: number): void {
  const state = new StateAccess(e);
  const address = 0;
  const machine = e.local("i32");
  const code = e.local("i32");
  const entry = e.local("i32");
  const slot = e.local("i32");
  const info = e.local("i32");
  const give = () => e.i32(0).return().end();

  state.get64(STATE.linearMask);
  e.i64(-1).op("i64_ne").if();
  give();
  e.get(address).i32(ACCESS.EXECUTE).call(walker).i32(WALK.FILLED).op("i32_ne").if();
  give();
  state.get32(ENGINE.walkAddress);
  e.tee(machine).i32(12).op("i32_shr_u").i32(2).op("i32_shl").tee(slot);
  state.get32(ENGINE.codeTableOf);
  e.op("i32_add").mem("i32_load").tee(code).op("i32_eqz").if();
  give();
  state.get32(ENGINE.tlb);
  emitTlbSlot(e, address);
  e.op("i32_add").set(entry);
  e.get(entry).get(address).i64(-4096).op("i64_and").mem("i64_store", TLB.execute);
  e.get(entry)
    .get(code)
    .mem("i32_store", TLB.execute + 8);
  e.get(slot);
  state.get32(ENGINE.frameTable);
  e.op("i32_add").tee(slot).mem("i32_load").set(info);
  emitNoteSlot(e, state, { entry, table: pageOf(e, machine), info, slot });
  e.get(code);
  e.get(machine).i32(4095).op("i32_and").i32(2).op("i32_shl").op("i32_add").mem("i32_load");
}

/** Emits (low i32, high i32, access i32) → machine address of the byte there, 0 where `translate` found none or code that a write would change. */
export function emitProbe(e: CodeEmitter, translate: number): void {
  const state = new StateAccess(e);
  const machine = e.local("i32");
  e.get(0).op("i64_extend_i32_u").get(1).op("i64_extend_i32_u").i64(32).op("i64_shl").op("i64_or");
  e.i32(1).get(2).call(translate).set(machine);
  state.get32(ENGINE.codeWriteCount);
  e.if();
  state.set32(ENGINE.codeWriteCount, () => e.i32(0));
  e.i32(0).return().end();
  e.get(machine);
}

/** A local with the page that a machine address is in. */
function pageOf(e: CodeEmitter, machine: number): number {
  const page = e.local("i32");
  e.get(machine).i32(-4096).op("i32_and").set(page);
  return page;
}

/**
 * Emits the translation that cold handlers call: (address i64, size i32, access i32) → machine address or 0.
 * An access that crosses a page goes through a bounce buffer, scattered after the instruction when it was a write.
 * Access 2 is a second read that may be alive beside the first.
 */
export function emitTranslate(e: CodeEmitter, self: number, walker: number): void {
  const state = new StateAccess(e);
  const address = 0;
  const size = 1;
  const access = 2;
  const entry = e.local("i32");
  const first = e.local("i32");
  const second = e.local("i32");
  const split = e.local("i32");
  const result = e.local("i32");
  const isWrite = () => e.get(access).i32(ACCESS.WRITE).op("i32_eq");

  state.get32(ENGINE.watch);
  e.if();
  emitWatch(e, state, { address, size, access });
  e.end();

  e.get(address).i64(-4096).op("i64_and");
  e.get(address).get(size).op("i64_extend_i32_u").op("i64_add").i64(1).op("i64_sub").i64(-4096).op("i64_and");
  e.op("i64_eq").if();
  state.get64(ENGINE.overlayPage);
  e.get(address).i64(-4096).op("i64_and").op("i64_eq");
  state.get32(ENGINE.overlayReadOnly);
  isWrite();
  e.op("i32_and").op("i32_eqz").op("i32_and").if();
  state.get32(ENGINE.overlayAddress);
  e.get(address).op("i32_wrap_i64").i32(4095).op("i32_and").op("i32_add").return().end();
  state.get32(ENGINE.tlb);
  emitTlbSlot(e, address);
  e.op("i32_add");
  isWrite();
  e.i32(14).op("i32_shl").op("i32_add").tee(entry).mem("i64_load");
  e.get(address).i64(-4096).op("i64_and").op("i64_eq").if();
  e.get(address).op("i32_wrap_i64").get(entry).mem("i32_load", 8).op("i32_add").return().end();
  e.get(address);
  isWrite();
  e.call(walker).tee(result).op("i32_eqz").if();
  state.get32(ENGINE.walkAddress);
  e.return().end();
  e.get(result).i32(WALK.CODE).op("i32_eq").if();
  state.set32(ENGINE.codeWriteAddress, () => state.get32(ENGINE.walkAddress));
  state.set32(ENGINE.codeWriteCount, () => e.get(size));
  state.get32(ENGINE.walkAddress);
  e.return().end();
  e.i32(0).return();
  e.end();

  // The last byte beyond the canonical border, or beyond 4 GiB in compatibility mode, where segments end: no page is looked at.
  const last = e.local("i64");
  e.get(address).get(size).op("i64_extend_i32_u").op("i64_add").i64(1).op("i64_sub").tee(last);
  state.get64(STATE.linearMask);
  e.get(last).op("i64_and").op("i64_ne");
  e.get(last).i64(16).op("i64_shl").i64(16).op("i64_shr_s").get(last).op("i64_ne").op("i32_or").if();
  // Ten bytes are read and written as eight and two.
  e.get(size).i32(10).op("i32_eq").get(address).i64(4095).op("i64_and").i64(4088).op("i64_le_u").op("i32_and").if();
  e.get(address).i32(8).get(access).call(self).op("i32_eqz").if();
  e.i32(0).return().end();
  e.get(last).i64(1).op("i64_sub");
  state.get64(STATE.linearMask);
  e.op("i64_and").i32(2).get(access).call(self).op("i32_eqz").if();
  e.i32(0).return().end().end();
  state.set32(ENGINE.faultVector, () => e.i32(GENERAL_PROTECTION));
  state.set32(ENGINE.faultError, () => e.i32(0));
  state.set32(ENGINE.reason, () => e.i32(REASON.NON_CANONICAL));
  state.set64(ENGINE.faultAddress, () => e.get(address));
  state.set32(ENGINE.walkAccess, () => e.get(access));
  e.i32(0).return().end();

  e.i32(4096).get(address).op("i32_wrap_i64").i32(4095).op("i32_and").op("i32_sub").set(split);
  e.get(address).get(split).get(access).call(self).tee(first).op("i32_eqz").if();
  e.i32(0).return().end();
  e.get(address)
    .get(split)
    .op("i64_extend_i32_u")
    .op("i64_add")
    .get(size)
    .get(split)
    .op("i32_sub")
    .get(access)
    .call(self);
  e.tee(second).op("i32_eqz").if();
  e.i32(0).return().end();
  e.i32(ENGINE.bounceRead).i32(ENGINE.bounceWrite).get(access).op("i32_eqz").op("select").set(result);
  e.get(result).get(first).get(split).memoryCopy();
  e.get(result).get(split).op("i32_add").get(second).get(size).get(split).op("i32_sub").memoryCopy();
  isWrite();
  e.if();
  state.set32(ENGINE.commitCount, () => e.get(size));
  state.set32(ENGINE.commitSplit, () => e.get(split));
  state.set32(ENGINE.commitFirst, () => e.get(first));
  state.set32(ENGINE.commitSecond, () => e.get(second));
  e.end();
  e.get(result);
}

/**
 * Emits what watched accesses need before they are translated: a fault for misaligned ones (SDM 3A 6.15, table 6-7), an
 * entry in the log. Parts of an access that crosses a page pass here again; they are aligned when the whole is.
 */
function emitWatch(
  e: CodeEmitter,
  state: StateAccess,
  { address, size, access }: { address: number; size: number; access: number },
): void {
  const entry = e.local("i32");
  const mask = e.local("i32");
  state.get32(ENGINE.watch);
  e.i32(WATCH.ALIGNMENT).op("i32_and").if();
  for (const [bytes, low] of ALIGNMENT) e.i32(low).get(mask).get(size).i32(bytes).op("i32_eq").op("select").set(mask);
  // Beyond the canonical border or 4 GiB another fault comes first.
  const last = e.local("i64");
  e.get(address).get(size).op("i64_extend_i32_u").op("i64_add").i64(1).op("i64_sub").set(last);
  e.get(address).op("i32_wrap_i64").get(mask).op("i32_and").i32(0).op("i32_ne");
  e.get(last);
  state.get64(STATE.linearMask);
  e.op("i64_and").get(last).op("i64_eq").op("i32_and");
  for (const byte of [address, last])
    e.get(byte).i64(16).op("i64_shl").i64(16).op("i64_shr_s").get(byte).op("i64_eq").op("i32_and");
  e.if();
  state.set32(ENGINE.faultVector, () => e.i32(ALIGNMENT_CHECK));
  state.set32(ENGINE.faultError, () => e.i32(0));
  state.set32(ENGINE.reason, () => e.i32(REASON.FAULT));
  e.i32(0).return();
  e.end().end();
  state.get32(ENGINE.watch);
  e.i32(WATCH.LOG).op("i32_and").i32(0).op("i32_ne");
  state.get32(ENGINE.accessCount);
  e.tee(entry).i32(ACCESS_LOG_ENTRIES).op("i32_lt_u").op("i32_and").if();
  state.set32(ENGINE.accessCount, () => e.get(entry).i32(1).op("i32_add"));
  e.get(entry).i32(4).op("i32_shl").tee(entry).get(address).mem("i64_store", ENGINE.accessLog);
  e.get(entry)
    .get(size)
    .mem("i32_store", ENGINE.accessLog + 8);
  e.get(entry)
    .get(access)
    .mem("i32_store", ENGINE.accessLog + 12);
  e.end();
}
