import { decode, type Instruction, OPCODES, OPERAND } from "@paravirt/x86";
import { engineInstruction } from "../decoding.ts";
import type { Handler } from "../tier0/handlers.ts";
import type { Selector } from "../tier0/select.ts";

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

export function decodeAt({ bytes, selector, mode }: RegionSource, at: number): RegionInstruction | undefined {
  const instruction = engineInstruction();
  const offset = at & 4095;
  if (decode(bytes(pageOf(at)), offset, 4096, mode, instruction) === 0 || instruction.addressSize * 8 !== mode)
    return undefined;
  return { instruction, handler: selector.select(instruction), offset, at };
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
