import { type Definition, sized } from "../definition.ts";
import { ACCESS } from "../layout.ts";
import { combine, ENGINE, type Lowering, type Size, STATE, signExtend } from "../lowering.ts";

const RAX = 0;
const RCX = 1;
const RSI = 6;
const RDI = 7;
const ALL: readonly Size[] = [1, 2, 4, 8];
const LOAD = { 1: "i64_load8_u", 2: "i64_load16_u", 4: "i64_load32_u", 8: "i64_load" } as const;
const STORE = { 1: "i64_store8", 2: "i64_store16", 4: "i64_store32", 8: "i64_store" } as const;
/** Chunks of at most a page that one execution of a repeated instruction may do before it looks at the budget. */
const CHUNKS = 64;
/** From here on a bulk memory instruction beats a loop. */
const BULK_BYTES = 48;
/** Read access that may be alive beside another read. */
const SECOND_READ = 2;

/** The linear address of DS:rSI (segment overridable) or ES:rDI, in an i64 temporary. */
function stringAddress(c: Lowering, register: number): number {
  const { e } = c;
  const address = e.temporary("i64");
  c.register(register).unsigned(8);
  c.addressMask();
  e.op("i64_and");
  if (register === RSI) c.segmentBase();
  else c.state.get64(STATE.segmentBase);
  e.op("i64_add");
  c.wrap();
  e.set(address);
  return address;
}

/** Adds the i64 that `push` leaves to a register, at the width of the address size. */
function advance(c: Lowering, register: number, push: () => void): void {
  const { e } = c;
  const place = c.register(register);
  place.store(8, () => {
    place.unsigned(8);
    push();
    e.op("i64_add");
    c.addressMask();
    e.op("i64_and");
    // A 16-bit address register keeps its upper bits, a 32-bit one loses them.
    place.unsigned(8);
    e.i64(-65536).op("i64_and").i64(0);
    c.addressMask();
    e.i64(0xffff).op("i64_eq").op("select").op("i64_or");
  });
}

/** Pushes the step of DI and SI: the size, negative when DF is set. */
function pushStep(c: Lowering, size: Size): void {
  c.e.i64(-size).i64(size);
  c.state.get64(STATE.eflags);
  c.e.i64(0x400).op("i64_and").i64(0).op("i64_ne").op("select");
}

/** Pushes rCX at the address size. */
function pushCount(c: Lowering): void {
  c.register(RCX).unsigned(8);
  c.addressMask();
  c.e.op("i64_and");
}

/** Ends the instruction by starting it again: repeated instructions do so between chunks. */
function restart(c: Lowering): void {
  c.jump(() => c.currentRip());
}

/** A write is waiting for the end of the instruction: crossing a page, or into code. Pushes an i32. */
function pushPending(c: Lowering): void {
  c.state.get32(ENGINE.commitCount);
  c.state.get32(ENGINE.codeWriteCount);
  c.e.op("i32_or");
}

/** Puts min(rCX, elements left in the pages of `addresses`) into an i64 temporary; 1 when DF is set or an address crosses. */
function chunkLength(c: Lowering, addresses: readonly number[], size: Size): number {
  const { e } = c;
  const [count, room] = [e.temporary("i64"), e.temporary("i64")];
  pushCount(c);
  e.set(count);
  for (const address of addresses) {
    e.i64(4096).get(address).i64(4095).op("i64_and").op("i64_sub").i64(Math.log2(size)).op("i64_shr_u").set(room);
    e.get(room).get(count).get(room).get(count).op("i64_lt_u").op("select").set(count);
  }
  e.i64(1).get(count);
  c.state.get64(STATE.eflags);
  e.i64(0x400).op("i64_and").i64(0).op("i64_ne");
  pushPending(c);
  e.op("i32_or").get(count).op("i64_eqz").op("i32_or").op("select").set(count);
  e.release("i64", room);
  return count;
}

function oneMove(c: Lowering, size: Size): void {
  const { e } = c;
  const source = stringAddress(c, RSI);
  const destination = stringAddress(c, RDI);
  const from = c.translate(source, size, ACCESS.READ);
  const to = c.translate(destination, size, ACCESS.WRITE);
  e.get(to).get(from).mem(LOAD[size]).mem(STORE[size]);
  advance(c, RSI, () => pushStep(c, size));
  advance(c, RDI, () => pushStep(c, size));
  e.release("i64", source, destination);
}

/** Repeats `body` (which leaves the number of elements done in an i64 local) until rCX is 0, in bounded chunks. */
function repeat(c: Lowering, body: () => number): void {
  const { e } = c;
  const chunks = e.temporary("i32");
  e.i32(CHUNKS).set(chunks);
  const done = e.block();
  const again = e.block();
  const loop = e.loop();
  pushCount(c);
  e.op("i64_eqz").brIf(done);
  const elements = body();
  advance(c, RCX, () => e.i64(0).get(elements).op("i64_sub"));
  e.release("i64", elements);
  pushPending(c);
  e.brIf(again);
  e.get(chunks).i32(1).op("i32_sub").tee(chunks).brIf(loop);
  e.end();
  c.pause();
  e.end();
  restart(c);
  e.end();
  c.reachable();
  e.release("i32", chunks);
}

/** What copying or filling `bytes` in bulk costs: a page about as much as 32 instructions. */
function chargeBulk(c: Lowering, bytes: number): void {
  c.charge(() => c.e.get(bytes).i32(7).op("i32_shr_u"));
}

/** What a loop over `count` (i64) elements costs. */
function chargeElements(c: Lowering, count: number): void {
  c.charge(() => c.e.get(count).op("i32_wrap_i64").i32(2).op("i32_shr_u"));
}

function repeatedMove(size: Size): (c: Lowering) => void {
  return (c) =>
    repeat(c, () => {
      const { e } = c;
      const source = stringAddress(c, RSI);
      const destination = stringAddress(c, RDI);
      const from = c.translate(source, size, ACCESS.READ);
      const to = c.translate(destination, size, ACCESS.WRITE);
      const count = chunkLength(c, [source, destination], size);
      // A crossing source was bounced: its bytes stand alone.
      e.i64(1).get(count).get(from).i32(ENGINE.bounceRead).op("i32_eq").op("select").set(count);
      const bytes = e.temporary("i32");
      e.get(count).op("i32_wrap_i64").i32(size).op("i32_mul").set(bytes);
      // Ahead of the source within the chunk, elements feed later ones: bulk copy would not.
      e.get(to)
        .get(from)
        .op("i32_sub")
        .get(bytes)
        .op("i32_ge_u")
        .get(bytes)
        .i32(BULK_BYTES)
        .op("i32_ge_u")
        .op("i32_and")
        .if();
      e.get(to).get(from).get(bytes).memoryCopy();
      chargeBulk(c, bytes);
      e.else();
      chargeElements(c, count);
      const at = e.temporary("i32");
      e.i32(0).set(at);
      const loop = e.loop();
      e.get(to).get(at).op("i32_add").get(from).get(at).op("i32_add").mem(LOAD[size]).mem(STORE[size]);
      e.get(at).i32(size).op("i32_add").tee(at).get(bytes).op("i32_lt_u").brIf(loop);
      e.end().end();
      const moved = () => {
        e.get(count);
        pushStep(c, size);
        e.op("i64_mul");
      };
      advance(c, RSI, moved);
      advance(c, RDI, moved);
      e.release("i32", bytes, at);
      e.release("i64", source, destination);
      return count;
    });
}

function oneStore(c: Lowering, size: Size): void {
  const { e } = c;
  const destination = stringAddress(c, RDI);
  const to = c.translate(destination, size, ACCESS.WRITE);
  e.get(to);
  c.register(RAX).unsigned(size);
  e.mem(STORE[size]);
  advance(c, RDI, () => pushStep(c, size));
  e.release("i64", destination);
}

function repeatedStore(size: Size): (c: Lowering) => void {
  return (c) =>
    repeat(c, () => {
      const { e } = c;
      const destination = stringAddress(c, RDI);
      const to = c.translate(destination, size, ACCESS.WRITE);
      const count = chunkLength(c, [destination], size);
      const [value, pattern] = [e.temporary("i64"), e.temporary("i64")];
      const bytes = e.temporary("i32");
      c.register(RAX).unsigned(size);
      e.tee(value).i64(0xff).op("i64_and").i64Halves(0x01010101, 0x01010101).op("i64_mul");
      if (size < 8) e.i64(64 - size * 8).op("i64_shr_u");
      e.set(pattern);
      e.get(count).op("i32_wrap_i64").i32(size).op("i32_mul").set(bytes);
      e.get(value).get(pattern).op("i64_eq").get(bytes).i32(BULK_BYTES).op("i32_ge_u").op("i32_and").if();
      e.get(to).get(value).op("i32_wrap_i64").get(bytes).memoryFill();
      chargeBulk(c, bytes);
      e.else();
      chargeElements(c, count);
      const at = e.temporary("i32");
      e.i32(0).set(at);
      const loop = e.loop();
      e.get(to).get(at).op("i32_add").get(value).mem(STORE[size]);
      e.get(at).i32(size).op("i32_add").tee(at).get(bytes).op("i32_lt_u").brIf(loop);
      e.end().end();
      advance(c, RDI, () => {
        e.get(count);
        pushStep(c, size);
        e.op("i64_mul");
      });
      e.release("i32", bytes, at);
      e.release("i64", destination, value, pattern);
      return count;
    });
}

/**
 * What translated code does itself of a repeated instruction: all of it, upwards and within the pages of `addresses`, else
 * nothing. Puts the number of elements into an i64 temporary, and their bytes into an i32 one.
 */
function wholeInPages(c: Lowering, addresses: readonly number[], size: Size): { count: number; bytes: number } {
  const { e } = c;
  const [count, bytes] = [e.temporary("i64"), e.temporary("i32")];
  pushCount(c);
  e.tee(count)
    .i64(4096 / size)
    .op("i64_gt_u");
  c.state.get64(STATE.eflags);
  e.i64(0x400).op("i64_and").i64(0).op("i64_ne").op("i32_or");
  e.get(count).op("i64_eqz").op("i32_or");
  e.get(count).op("i32_wrap_i64").i32(size).op("i32_mul").set(bytes);
  for (const address of addresses) {
    e.get(address).op("i32_wrap_i64").i32(4095).op("i32_and").get(bytes).op("i32_add");
    e.i32(4096).op("i32_gt_u").op("i32_or");
  }
  c.faultIf(0, 0);
  return { count, bytes };
}

/** Emits a loop over the byte offsets of the elements. */
function overElements(c: Lowering, bytes: number, size: Size, element: (at: number) => void): void {
  const { e } = c;
  const at = e.temporary("i32");
  e.i32(0).set(at);
  const loop = e.loop();
  element(at);
  e.get(at).i32(size).op("i32_add").tee(at).get(bytes).op("i32_lt_u").brIf(loop);
  e.end();
  e.release("i32", at);
}

/** Moves the pointers behind the elements, and empties the counter. */
function finishWhole(c: Lowering, pointers: readonly number[], bytes: number): void {
  for (const pointer of pointers) advance(c, pointer, () => c.e.get(bytes).op("i64_extend_i32_u"));
  advance(c, RCX, () => {
    c.e.i64(0);
    pushCount(c);
    c.e.op("i64_sub");
  });
}

function translatedStore(c: Lowering, size: Size): void {
  const { e } = c;
  const destination = stringAddress(c, RDI);
  const { count, bytes } = wholeInPages(c, [destination], size);
  const to = c.translate(destination, size, ACCESS.WRITE);
  const value = e.temporary("i64");
  c.register(RAX).unsigned(size);
  e.set(value);
  const fill = () => {
    chargeElements(c, count);
    overElements(c, bytes, size, (at) => e.get(to).get(at).op("i32_add").get(value).mem(STORE[size]));
  };
  if (size === 1) {
    e.get(bytes).i32(BULK_BYTES).op("i32_ge_u").if();
    e.get(to).get(value).op("i32_wrap_i64").get(bytes).memoryFill();
    chargeBulk(c, bytes);
    e.else();
    fill();
    e.end();
  } else fill();
  finishWhole(c, [RDI], bytes);
  e.release("i64", destination, count, value);
  e.release("i32", bytes);
}

function translatedMove(c: Lowering, size: Size): void {
  const { e } = c;
  const source = stringAddress(c, RSI);
  const destination = stringAddress(c, RDI);
  const { count, bytes } = wholeInPages(c, [source, destination], size);
  const from = c.translate(source, size, ACCESS.READ);
  const to = c.translate(destination, size, ACCESS.WRITE);
  e.get(to).get(from).op("i32_sub").get(bytes).op("i32_ge_u");
  e.get(bytes).i32(BULK_BYTES).op("i32_ge_u").op("i32_and").if();
  e.get(to).get(from).get(bytes).memoryCopy();
  chargeBulk(c, bytes);
  e.else();
  chargeElements(c, count);
  overElements(c, bytes, size, (at) =>
    e.get(to).get(at).op("i32_add").get(from).get(at).op("i32_add").mem(LOAD[size]).mem(STORE[size]),
  );
  e.end();
  finishWhole(c, [RSI, RDI], bytes);
  e.release("i64", source, destination, count);
  e.release("i32", bytes);
}

function oneLoad(c: Lowering, size: Size): void {
  const { e } = c;
  const source = stringAddress(c, RSI);
  const from = c.translate(source, size, ACCESS.READ);
  c.register(RAX).store(size, () => e.get(from).mem(LOAD[size]));
  advance(c, RSI, () => pushStep(c, size));
  e.release("i64", source);
}

function one(c: Lowering): number {
  const count = c.e.temporary("i64");
  c.e.i64(1).set(count);
  return count;
}

function repeatedLoad(c: Lowering, size: Size): void {
  repeat(c, () => {
    oneLoad(c, size);
    c.charge(() => c.e.i32(1));
    return one(c);
  });
}

/** Compares `left` with `right` (i64 locals, sign-extended) as CMP does. */
function compare(c: Lowering, left: number, right: number, size: Size): void {
  const { e } = c;
  const result = e.temporary("i64");
  combine(e, "sub", size, left, right);
  e.set(result);
  c.flags.subtract(left, right, result, size);
  e.release("i64", result);
}

/** ES:rDI is read first, but by REPE CMPSB: where both operands would fault, CR2 tells (measured on AMD's family 19h). */
function oneCompare(c: Lowering, size: Size, sourceFirst: boolean = false): void {
  const { e } = c;
  const source = stringAddress(c, RSI);
  const destination = stringAddress(c, RDI);
  const readSource = () => c.translate(source, size, ACCESS.READ);
  const early = sourceFirst ? readSource() : -1;
  const to = c.translate(destination, size, SECOND_READ);
  const from = sourceFirst ? early : readSource();
  const [left, right] = [e.temporary("i64"), e.temporary("i64")];
  e.get(from).mem(LOAD[size]);
  signExtend(e, size);
  e.set(left);
  e.get(to).mem(LOAD[size]);
  signExtend(e, size);
  e.set(right);
  compare(c, left, right, size);
  advance(c, RSI, () => pushStep(c, size));
  advance(c, RDI, () => pushStep(c, size));
  e.release("i64", source, destination, left, right);
}

function oneScan(c: Lowering, size: Size): void {
  const { e } = c;
  const destination = stringAddress(c, RDI);
  const to = c.translate(destination, size, ACCESS.READ);
  const [left, right] = [e.temporary("i64"), e.temporary("i64")];
  c.register(RAX).signed(size);
  e.set(left);
  e.get(to).mem(LOAD[size]);
  signExtend(e, size);
  e.set(right);
  compare(c, left, right, size);
  advance(c, RDI, () => pushStep(c, size));
  e.release("i64", destination, left, right);
}

/** REPE and REPNE: also stop when ZF says so. */
function repeatWhile(c: Lowering, body: () => void, zero: boolean): void {
  const { e } = c;
  const left = e.temporary("i32");
  const pushCost = () =>
    e
      .i32(CHUNKS * 64)
      .get(left)
      .op("i32_sub");
  e.i32(CHUNKS * 64).set(left);
  const done = e.block();
  const loop = e.loop();
  pushCount(c);
  e.op("i64_eqz").brIf(done);
  body();
  advance(c, RCX, () => e.i64(-1));
  c.flags.zero();
  if (zero) e.op("i32_eqz");
  e.brIf(done);
  e.get(left).i32(1).op("i32_sub").tee(left).brIf(loop);
  e.end();
  c.charge(pushCost);
  c.pause();
  e.end();
  c.reachable();
  c.charge(pushCost);
  e.release("i32", left);
}

function define(name: string, shape: string, emit: (c: Lowering, size: Size) => void): Definition {
  return { name, shapes: sized(shape, ALL), access: "", emit: (c, _places, { sizes }) => emit(c, sizes[0] as Size) };
}

const BOTH = "t#t#";
const SINGLE = ["t#", "t#r#", "r#t#"];

/** A repeated instruction with a form of its own in translated code. */
function both(definition: Definition, translated: (c: Lowering, size: Size) => void): Definition {
  return {
    ...definition,
    translated: true,
    emit(c, places, shape) {
      if (c.whole) definition.emit(c, places, shape);
      else translated(c, shape.sizes[0] as Size);
    },
  };
}

/** The shapes under which a decoder may give a one-string instruction, accumulator spelt out or not. */
function single(name: string, emit: (c: Lowering, size: Size) => void): Definition[] {
  return SINGLE.map((shape) => define(name, shape, emit));
}

/** MOVS, STOS, LODS, CMPS, SCAS, plain and repeated. */
export const stringDefinitions: readonly Definition[] = [
  define("movs", BOTH, oneMove),
  both(
    define("rep.movs", BOTH, (c, size) => repeatedMove(size)(c)),
    translatedMove,
  ),
  define("repne.movs", BOTH, (c, size) => repeatedMove(size)(c)),
  ...single("stos", oneStore),
  ...single("rep.stos", (c, size) => repeatedStore(size)(c)).map((definition) => both(definition, translatedStore)),
  ...single("repne.stos", (c, size) => repeatedStore(size)(c)),
  ...single("lods", oneLoad),
  ...single("rep.lods", repeatedLoad),
  ...single("repne.lods", repeatedLoad),
  define("cmps", BOTH, oneCompare),
  define("rep.cmps", BOTH, (c, size) => repeatWhile(c, () => oneCompare(c, size, size === 1), true)),
  define("repne.cmps", BOTH, (c, size) => repeatWhile(c, () => oneCompare(c, size), false)),
  ...single("scas", oneScan),
  ...single("rep.scas", (c, size) => repeatWhile(c, () => oneScan(c, size), true)),
  ...single("repne.scas", (c, size) => repeatWhile(c, () => oneScan(c, size), false)),
];
