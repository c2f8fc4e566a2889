/** Small tables of the decoder: what a prefix byte is, the 16-bit addressing forms, the registers that exist. */
import { REGISTER_CLASS } from "./instruction.ts";
import { ROW } from "./table/compile.ts";

/** What a byte is where a prefix may stand: 0 an opcode. */
export const KIND = {
  OPERAND_SIZE: 1,
  ADDRESS_SIZE: 2,
  LOCK: 3,
  REPNE: 4,
  REP: 5,
  SEGMENT: 6,
  REX: 7,
} as const;
/** The {@link KIND} of each byte, first outside of 64-bit mode, then in it. */
export const PREFIX_KIND: Uint8Array = new Uint8Array(512);
for (const base of [0, 256]) {
  PREFIX_KIND[base + 0x66] = KIND.OPERAND_SIZE;
  PREFIX_KIND[base + 0x67] = KIND.ADDRESS_SIZE;
  PREFIX_KIND[base + 0xf0] = KIND.LOCK;
  PREFIX_KIND[base + 0xf2] = KIND.REPNE;
  PREFIX_KIND[base + 0xf3] = KIND.REP;
  for (const byte of [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]) PREFIX_KIND[base + byte] = KIND.SEGMENT;
}
// The second half is for 64-bit mode.
for (let byte = 0x40; byte < 0x50; byte++) PREFIX_KIND[256 + byte] = KIND.REX;

/** Base registers of the 16-bit addressing forms (SDM 2A, table 2-1). */
export const BASE16: Int8Array = new Int8Array([3, 3, 5, 5, 6, 7, 5, 3]);
/** Index registers of the same forms. */
export const INDEX16: Int8Array = new Int8Array([6, 7, 6, 7, -1, -1, -1, -1]);
/** Whether register `number` of a segment, control or debug register operand exists. */
export function exists(registerClass: number, number: number, flags: number): boolean {
  if (registerClass === REGISTER_CLASS.SEGMENT) return number <= 5 && (number !== 1 || (flags & ROW.NO_CS) === 0);
  if (registerClass === REGISTER_CLASS.CONTROL) return number === 0 || (number >= 2 && number <= 4) || number === 8;
  return number <= 7;
}
