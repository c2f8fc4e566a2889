import { ByteBuffer } from "./buffer.ts";
import {
  MEM,
  type MemName,
  OP,
  type OpName,
  SIMD,
  SIMD_LANE,
  SIMD_MEM,
  type SimdLaneName,
  type SimdMemName,
  type SimdName,
  TRUNC_SAT,
  type TruncSatName,
  TYPE,
  type ValueType,
} from "./opcodes.ts";

const BLOCK_VOID = 0x40;

/**
 * Writes the body of one function: instructions in stack order, locals on demand.
 * One pass; the local declarations, known only at the end, are put in front when the module is assembled.
 * Labels are counted for you: `block()` returns a label, `br(label)` finds its depth.
 */
export class CodeEmitter {
  /** The instructions so far. */
  readonly body: ByteBuffer;
  private readonly localTypes: number[] = [];
  private parameterCount = 0;
  private labels = 0;
  private readonly free: Record<ValueType, number[]> = { i32: [], i64: [], f32: [], f64: [], v128: [] };

  constructor(capacity: number = 4096) {
    this.body = new ByteBuffer(capacity);
  }

  /** Starts a function with `parameters`, which become locals 0, 1, …; forgets what was there. */
  begin(parameters: readonly ValueType[]): void {
    this.body.clear();
    this.localTypes.length = 0;
    this.parameterCount = parameters.length;
    this.labels = 0;
    for (const pool of Object.values(this.free)) pool.length = 0;
  }

  /** How many blocks, loops and ifs are open. */
  get depth(): number {
    return this.labels;
  }

  /** Declares a new local and returns its index. */
  local(type: ValueType): number {
    this.localTypes.push(TYPE[type]);
    return this.parameterCount + this.localTypes.length - 1;
  }

  /** A local for short use, from a pool; give it back with {@link CodeEmitter.release}. */
  temporary(type: ValueType): number {
    return this.free[type].pop() ?? this.local(type);
  }

  /** Returns a {@link CodeEmitter.temporary} to its pool. */
  release(type: ValueType, ...locals: number[]): void {
    this.free[type].push(...locals);
  }

  /** Appends an instruction without immediates. */
  op(name: OpName): this {
    this.body.byte(OP[name]);
    return this;
  }

  /** Appends `i32.const value`. */
  i32(value: number): this {
    this.body.byte(0x41);
    this.body.signed(value);
    return this;
  }

  /** Appends `i64.const value`, for values exact in a double (beyond 32 bits, split internally). */
  i64(value: number | bigint): this {
    if (typeof value === "bigint") {
      const bits = BigInt.asUintN(64, value);
      return this.i64Halves(Number(bits & 0xffffffffn) | 0, Number(bits >> 32n) | 0);
    }
    return this.i64Halves(value | 0, Math.floor(value / 4294967296) | 0);
  }

  /** Appends `i64.const` from two 32-bit halves, without BigInt. */
  i64Halves(low: number, high: number): this {
    this.body.byte(0x42);
    this.body.signed64(low, high);
    return this;
  }

  /** Appends `f64.const value`. */
  f64(value: number): this {
    this.body.byte(0x44);
    scratch.setFloat64(0, value, true);
    for (let i = 0; i < 8; i++) this.body.byte(scratch.getUint8(i));
    return this;
  }

  /** Appends `f32.const value`. */
  f32(value: number): this {
    this.body.byte(0x43);
    scratch.setFloat32(0, value, true);
    for (let i = 0; i < 4; i++) this.body.byte(scratch.getUint8(i));
    return this;
  }

  /** Appends `v128.const` of 16 bytes. */
  v128(bytes: ArrayLike<number>): this {
    this.simdPrefix(12);
    for (let i = 0; i < 16; i++) this.body.byte(bytes[i] ?? 0);
    return this;
  }

  /** Appends `i8x16.shuffle` with 16 lane numbers 0–31. */
  shuffle(lanes: ArrayLike<number>): this {
    this.simdPrefix(13);
    for (let i = 0; i < 16; i++) this.body.byte(lanes[i] ?? 0);
    return this;
  }

  /** Appends `local.get`. */
  get(local: number): this {
    this.body.byte(0x20);
    this.body.unsigned(local);
    return this;
  }

  /** Appends `local.set`. */
  set(local: number): this {
    this.body.byte(0x21);
    this.body.unsigned(local);
    return this;
  }

  /** Appends `local.tee`. */
  tee(local: number): this {
    this.body.byte(0x22);
    this.body.unsigned(local);
    return this;
  }

  /** Appends a load or store with byte `offset`; alignment is always declared 1. */
  mem(name: MemName, offset: number = 0): this {
    this.body.byte(MEM[name]);
    this.body.byte(0);
    this.body.unsigned(offset);
    return this;
  }

  /** Appends a vector instruction without immediates. */
  simd(name: SimdName): this {
    this.simdPrefix(SIMD[name]);
    return this;
  }

  /** Appends a vector load or store. */
  simdMem(name: SimdMemName, offset: number = 0): this {
    this.simdPrefix(SIMD_MEM[name]);
    this.body.byte(0);
    this.body.unsigned(offset);
    return this;
  }

  /** Appends an extract or replace of one lane. */
  lane(name: SimdLaneName, lane: number): this {
    this.simdPrefix(SIMD_LANE[name]);
    this.body.byte(lane);
    return this;
  }

  /** Appends a saturating conversion. */
  truncSat(name: TruncSatName): this {
    this.body.byte(0xfc);
    this.body.unsigned(TRUNC_SAT[name]);
    return this;
  }

  /** Appends `memory.copy`: destination, source, count on the stack. */
  memoryCopy(): this {
    this.body.byte(0xfc);
    this.body.unsigned(10);
    this.body.byte(0);
    this.body.byte(0);
    return this;
  }

  /** Appends `memory.fill`: destination, byte, count on the stack. */
  memoryFill(): this {
    this.body.byte(0xfc);
    this.body.unsigned(11);
    this.body.byte(0);
    return this;
  }

  /** Opens a block; a branch to the label leaves it. */
  block(result?: ValueType): number {
    return this.open(0x02, result);
  }

  /** Opens a loop; a branch to the label starts it again. */
  loop(result?: ValueType): number {
    return this.open(0x03, result);
  }

  /** Opens an `if` on the i32 on the stack; a branch to the label leaves it. */
  if(result?: ValueType): number {
    return this.open(0x04, result);
  }

  /** The other arm of the innermost {@link CodeEmitter.if}. */
  else(): this {
    this.body.byte(OP.else);
    return this;
  }

  /** Closes the innermost block, loop or if. */
  end(): this {
    this.labels--;
    this.body.byte(OP.end);
    return this;
  }

  /** Branches to `label`. */
  br(label: number): this {
    this.body.byte(0x0c);
    this.body.unsigned(this.labels - label);
    return this;
  }

  /** Branches to `label` if the i32 on the stack is not 0. */
  brIf(label: number): this {
    this.body.byte(0x0d);
    this.body.unsigned(this.labels - label);
    return this;
  }

  /** Branches to `labels[i]` for the i32 `i` on the stack, to `otherwise` past the end. */
  brTable(labels: readonly number[], otherwise: number): this {
    this.body.byte(0x0e);
    this.body.unsigned(labels.length);
    for (const label of labels) this.body.unsigned(this.labels - label);
    this.body.unsigned(this.labels - otherwise);
    return this;
  }

  /** Calls function `index` of the module. */
  call(index: number): this {
    this.body.byte(0x10);
    this.body.unsigned(index);
    return this;
  }

  /** Calls through table 0 with the function type `type`; the slot is on the stack. */
  callIndirect(type: number): this {
    this.body.byte(0x11);
    this.body.unsigned(type);
    this.body.byte(0);
    return this;
  }

  /** Returns from the function. */
  return(): this {
    this.body.byte(OP.return);
    return this;
  }

  /** Appends this function, as an entry of the code section, to `out`. */
  finish(out: ByteBuffer): void {
    const declarations = new ByteBuffer(64);
    const runs: [number, number][] = [];
    for (const type of this.localTypes) {
      const last = runs[runs.length - 1];
      if (last && last[1] === type) last[0]++;
      else runs.push([1, type]);
    }
    declarations.unsigned(runs.length);
    for (const [count, type] of runs) {
      declarations.unsigned(count);
      declarations.byte(type);
    }
    out.unsigned(declarations.length + this.body.length + 1);
    out.append(declarations.bytes.subarray(0, declarations.length));
    out.append(this.body.bytes.subarray(0, this.body.length));
    out.byte(OP.end);
  }

  private open(opcode: number, result: ValueType | undefined): number {
    this.body.byte(opcode);
    this.body.byte(result === undefined ? BLOCK_VOID : TYPE[result]);
    return ++this.labels;
  }

  private simdPrefix(number: number): void {
    this.body.byte(0xfd);
    this.body.unsigned(number);
  }
}

const scratch = new DataView(new ArrayBuffer(8));
