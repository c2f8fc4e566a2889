import { decode, type Instruction, OPCODES, OPERAND } from "@paravirt/x86";
import { engineInstruction } from "../decoding.ts";
import type { Handler } from "../tier0/handlers.ts";
import type { Selector } from "../tier0/select.ts";

/** Bytes that an instruction has at most. */
const LONGEST = 15;

/** An instruction of a region. */
export interface RegionInstruction {
  readonly instruction: Instruction;
  readonly handler: Handler;
  /** Offset in its page. */
  readonly offset: number;
  /** Its place in the region: see {@link placeOf}. */
  readonly at: number;
}

/** The place in a region of the byte `offset` of its page `page`: one number for both. */
export function placeOf(page: number, offset: number): number {
  return page * 4096 + offset;
}

/** The page, by its number in the region, that a place is in. */
export function pageOf(at: number): number {
  return at >>> 12;
}

/** Where control goes from the end of a block. */
export interface Destination {
  /** From the start of the block's own page; any value. */
  readonly offset: number;
  /** Its place in the region, -1 where the region has none of that page. */
  readonly at: number;
  /** Control came from there: its page is still where it was. */
  readonly returns?: boolean;
}

/** What a region is made from. */
export interface RegionSource {
  /** The bytes of the page with this number. */
  readonly bytes: (page: number) => Uint8Array;
  /** Number of the page that is mapped `delta` pages behind page `page` now; -1 when the region keeps away from it. */
  readonly neighbour: (page: number, delta: number) => number;
  /** 64-bit code, or that of compatibility mode. */
  readonly mode: 64 | 32;
  readonly selector: Selector;
  /** Whether the code at a place probably runs. */
  readonly known: (at: number) => boolean;
  /** Whether the record at a place checks the next page before the instruction that reaches into it. */
  readonly isChecked?: (at: number) => boolean;
  /** Where control was seen to go from the instruction at a place that goes where the guest's data says. */
  readonly seen?: (at: number) => readonly number[];
  /** Places where control regularly arrives from outside of any code. */
  readonly resumed?: readonly number[];
  /** How many pages behind page `from` the page `to` is mapped. */
  readonly distance?: (from: number, to: number) => number;
  /** Makes copies of places, where a function is translated anew for each of its calls. */
  readonly copies?: PlaceCopies;
  /** Guest instructions that the region may hold. */
  readonly limit: number;
}

/** Numbers the places of a function's copies: those of further pages, which stand for the same frames. */
export interface PlaceCopies {
  /** Begins another copy; `copyOf` names places in it. */
  begin(): number;
  copyOf(copy: number, at: number): number;
  /** Forgets this copy and those begun after it. */
  drop(copy: number): void;
}

/** Decides whether an instruction can be translated: what the main loop executes by itself, and what says so. */
export function isTranslatable(handler: Handler, selector: Selector): boolean {
  const { helperUsers, translated } = selector.table;
  return (handler.hot > 0 && !helperUsers.has(handler)) || translated.has(handler);
}

export function decodeAt(source: RegionSource, at: number): RegionInstruction | undefined {
  const { selector, mode } = source;
  const instruction = engineInstruction();
  const offset = at & 4095;
  const bytes = source.bytes(pageOf(at));
  if (decode(bytes, offset, 4096, mode, instruction) === 0 && !decodeAcross(source, at, bytes, instruction))
    return undefined;
  if (instruction.addressSize * 8 !== mode) return undefined;
  return { instruction, handler: selector.select(instruction), offset, at };
}

/** Decodes an instruction that ends in the next page, if the region knows that page. */
function decodeAcross(source: RegionSource, at: number, bytes: Uint8Array, instruction: Instruction): boolean {
  const offset = at & 4095;
  const next = source.neighbour(pageOf(at), 1);
  if (next < 0 || offset <= 4096 - LONGEST || !source.isChecked?.(at)) return false;
  const both = new Uint8Array(2 * LONGEST);
  both.set(bytes.subarray(offset));
  both.set(source.bytes(next).subarray(0, LONGEST), 4096 - offset);
  return decode(both, 0, 4096 - offset + LONGEST, source.mode, instruction) > 0;
}

/** Whether the instruction's last bytes are in the next page. */
export function crossesPage({ offset, instruction }: RegionInstruction): boolean {
  return offset + instruction.length > 4096;
}

/** The destination `distance` bytes behind the beginning of `item`. */
export function destination(source: RegionSource, { at, offset }: RegionInstruction, distance: number): Destination {
  const to = offset + distance;
  if (to >= 0 && to < 4096) return { offset: to, at: at + distance };
  const page = source.neighbour(pageOf(at), to >> 12);
  return { offset: to, at: page < 0 ? -1 : placeOf(page, to & 4095) };
}

export function isCall({ instruction }: RegionInstruction): boolean {
  return OPCODES[instruction.row]!.flow === "call";
}

/** Where a direct jump, conditional jump or call goes. */
export function directTarget(source: RegionSource, item: RegionInstruction): Destination | undefined {
  const { instruction } = item;
  if (instruction.kinds[0] !== OPERAND.RELATIVE) return undefined;
  return destination(source, item, instruction.length + instruction.immediate);
}

export function endsFlow({ instruction, handler }: RegionInstruction): boolean {
  const { flow } = OPCODES[instruction.row]!;
  return flow === "jump" || flow === "call" || flow === "ret" || handler.definition.name.startsWith("pseudo");
}
