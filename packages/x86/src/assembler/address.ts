import type { Mode } from "../decode.ts";
import { BASE_RIP, NO_REGISTER } from "../instruction.ts";
import type { MemoryOperand } from "./operand.ts";

/** Address size of memory that no register is part of: the usual one unless only another reaches the address. */
export function absoluteSize(memory: MemoryOperand | undefined, mode: Mode): number {
  const value = memory?.displacement.value ?? 0n;
  if (mode === 16) return fits(value, 16) ? 2 : 4;
  if (mode === 64 && !fitsSigned(BigInt.asIntN(64, value), 32) && BigInt.asUintN(32, value) === value) return 4;
  return mode / 8;
}

/** Whether `value` is a signed number of `bits` bits. */
export const fitsSigned = (value: bigint, bits: number): boolean => BigInt.asIntN(bits, value) === value;
/** Whether `value` can be written in `bits` bits, signed or not. */
export const fits = (value: bigint, bits: number): boolean =>
  fitsSigned(value, bits) || BigInt.asUintN(bits, value) === value;

/** Appends `size` bytes of `value`, the lowest first. */
export function pushValue(bytes: number[], value: bigint, size: number): void {
  for (let byte = 0; byte < size; byte++) bytes.push(Number((value >> BigInt(byte * 8)) & 0xffn));
}

/** ModRM.rm of the 16-bit base and index pairs: BX+SI, BX+DI, BP+SI, BP+DI, SI, DI, BP, BX. */
const FORMS16: readonly (readonly [number, number])[] = [
  [3, 6],
  [3, 7],
  [5, 6],
  [5, 7],
  [6, -1],
  [7, -1],
  [5, -1],
  [3, -1],
];

/** An encoded memory operand. */
export interface AddressBytes {
  readonly bytes: readonly number[];
  readonly rexB: number;
  readonly rexX: number;
  readonly ripRelative: boolean;
}

/** ModRM, SIB and displacement of a memory operand; `none` where there is no such address. */
export function addressBytes(
  memory: MemoryOperand,
  addressSize: number,
  long: boolean,
  modrmReg: number,
  vsib: boolean,
): AddressBytes | "none" {
  const reg = (modrmReg & 7) << 3;
  const { base, index, scale } = memory;
  const { value, symbolic } = memory.displacement;
  const bits = addressSize * 8;
  if (!fits(value, bits)) return "none";
  const displacement = BigInt.asIntN(bits, value);
  const bytes: number[] = [];
  if (base === BASE_RIP) {
    if (!long || index !== NO_REGISTER) return "none";
    return { bytes: [reg | 5, 0, 0, 0, 0], rexB: 0, rexX: 0, ripRelative: true };
  }
  if (addressSize === 2) {
    if (base === NO_REGISTER && index === NO_REGISTER) {
      bytes.push(reg | 6);
      pushValue(bytes, displacement, 2);
      return { bytes, rexB: 0, rexX: 0, ripRelative: false };
    }
    const rm = FORMS16.findIndex(([b, i]) => (b === base && i === index) || (b === index && i === base));
    if (rm < 0 || scale !== 0) return "none";
    if (displacement === 0n && !symbolic && rm !== 6) bytes.push(reg | rm);
    else if (fitsSigned(displacement, 8) && !symbolic) {
      bytes.push(0x40 | reg | rm);
      pushValue(bytes, displacement, 1);
    } else {
      bytes.push(0x80 | reg | rm);
      pushValue(bytes, displacement, 2);
    }
    return { bytes, rexB: 0, rexX: 0, ripRelative: false };
  }
  if (!fitsSigned(displacement, 32)) return "none";
  const needsSib = index !== NO_REGISTER || (base & 7) === 4 || (base === NO_REGISTER && long) || vsib;
  const sibIndex = index === NO_REGISTER ? 4 : index & 7;
  const rexX = index === NO_REGISTER ? 0 : (index >> 3) & 1;
  if (base === NO_REGISTER) {
    if (needsSib) bytes.push(reg | 4, (scale << 6) | (sibIndex << 3) | 5);
    else bytes.push(reg | 5);
    pushValue(bytes, displacement, 4);
    return { bytes, rexB: 0, rexX, ripRelative: false };
  }
  // A name may move from pass to pass: its displacement always takes four bytes.
  const mod = symbolic ? 2 : displacement === 0n && (base & 7) !== 5 ? 0 : fitsSigned(displacement, 8) ? 1 : 2;
  if (needsSib) bytes.push((mod << 6) | reg | 4, (scale << 6) | (sibIndex << 3) | (base & 7));
  else bytes.push((mod << 6) | reg | (base & 7));
  if (mod === 1) pushValue(bytes, displacement, 1);
  else if (mod === 2) pushValue(bytes, displacement, 4);
  return { bytes, rexB: (base >> 3) & 1, rexX, ripRelative: false };
}
