import { OPCODES, OPERAND } from "@paravirt/x86";
import type { Size } from "../lowering.ts";
import { type Block, type Graph, successors } from "./control-flow.ts";
import type { RegionInstruction } from "./region-source.ts";
import { edgeTarget, type Structure } from "./structure.ts";

/** An instruction does something that the region did not foresee: the region is not translated. */
export class UntranslatableError extends Error {
  override readonly name = "UntranslatableError";
}

/**
 * How the status flags are held: `full` in the engine's state; `words`, the same five words in locals; `dead`, not at all,
 * where they are replaced before anything asks for them; otherwise as what an operation left, from which they follow. A
 * bitwise operation leaves what subtracting zero from its result would.
 */
export type FlagKind = "full" | "words" | "dead" | "subtract" | "add" | "inc" | "dec";

/** One of the values of {@link flagForm}: equal forms are the same object. */
export interface FlagForm {
  readonly kind: FlagKind;
  /** Bytes that the operation was on. */
  readonly size: Size;
}

const FORMS = new Map<string, FlagForm>();

/** The form of `kind` on `size` bytes. */
export function flagForm(kind: FlagKind, size: Size): FlagForm {
  const sized = kind === "full" || kind === "words" || kind === "dead" ? 8 : size;
  const key = `${kind}${sized}`;
  let form = FORMS.get(key);
  if (form === undefined) {
    form = { kind, size: sized };
    FORMS.set(key, form);
  }
  return form;
}

export const FULL: FlagForm = flagForm("full", 8);
export const WORDS: FlagForm = flagForm("words", 8);
export const DEAD: FlagForm = flagForm("dead", 8);

/** Operations whose semantics set all flags, outside of any condition, through one method of the flags. */
const KINDS: Readonly<Record<string, FlagKind>> = {
  add: "add",
  xadd: "add",
  sub: "subtract",
  cmp: "subtract",
  neg: "subtract",
  cmpxchg: "subtract",
  and: "subtract",
  or: "subtract",
  xor: "subtract",
  test: "subtract",
  inc: "inc",
  dec: "dec",
};

/** The form that an instruction leaves the flags in: `undefined` when it leaves them alone. */
export function formAfter({ instruction, handler }: RegionInstruction): FlagForm | undefined {
  const kind = KINDS[handler.definition.name];
  if (kind !== undefined) return flagForm(kind, handler.shape.sizes[0] as Size);
  const row = OPCODES[instruction.row]!;
  const touches = row.flagsModified + row.flagsUndefined + row.flagsCleared + row.flagsSet;
  return /[oszapc]/.test(touches) ? WORDS : undefined;
}

/** Definitions that set all flags under no condition, beside those of `KINDS`. */
const UNCONDITIONAL = new Set(["adc", "sbb", "mul", "imul"]);
const SHIFTS = new Set(["shl", "shr", "sar"]);

/** Whether the semantics may leave some flags as they were. */
export function keepsFlags({ instruction, handler }: RegionInstruction): boolean {
  const { name } = handler.definition;
  if (SHIFTS.has(name)) return !hasConstantCount(instruction);
  return !UNCONDITIONAL.has(name);
}

/** Whether a shift or rotation is by a constant that is not zero. */
export function hasConstantCount({ kinds, immediate, sizes }: RegionInstruction["instruction"]): boolean {
  if (kinds[1] === OPERAND.ONE) return true;
  return kinds[1] === OPERAND.IMMEDIATE && (immediate & (sizes[0] === 8 ? 63 : 31)) !== 0;
}

/** Definitions whose register forms never leave in their middle, and read no flags. */
const QUIET = new Set([...Object.keys(KINDS), "mov", "lea", "movzx", "movsx", "movsxd", "nop"]);
const KEEP_CARRY = new Set(["inc", "dec"]);

/**
 * Instructions of a block after which its flags have been replaced, if nothing up to there can leave or ask for the old ones:
 * the index of the last of them, else -1.
 */
export function replacesFlagsAt({ instructions }: Block): number {
  for (let index = 0; index < instructions.length; index++) {
    const { instruction, handler } = instructions[index]!;
    const { name } = handler.definition;
    if (instruction.kinds.includes(OPERAND.MEMORY) || !QUIET.has(name) || KEEP_CARRY.has(name)) return -1;
    if (KINDS[name] !== undefined) return index;
  }
  return -1;
}

/**
 * For a loop's header: after which instruction the budget is looked at, so that the loop need not carry the flags from before
 * it; -1 when that comes first.
 */
export function lateBudgetCheck(block: Block): number {
  const index = replacesFlagsAt(block);
  return index < block.instructions.length - 1 ? index : -1;
}

/**
 * The form in which each block finds the flags: where several edges lead to it, one form only if all agree. A loop's header
 * that the dispatcher leads to can have a form, too, since the dispatcher checks the words against it.
 */
export function formsAtEntry(graph: Graph, structure: Structure): ReadonlyMap<number, FlagForm> {
  const fixed = new Set([...structure.entries].filter((offset) => !isFlexible(offset, graph, structure)));
  for (const edge of structure.dispatched) fixed.add(edgeTarget(edge));
  const entry = new Map<number, FlagForm>();
  for (const offset of fixed) entry.set(offset, FULL);
  for (const [offset, block] of graph.blocks)
    if (structure.loopHeaders.has(offset) ? lateBudgetCheck(block) >= 0 : replacesFlagsAt(block) >= 0) {
      fixed.add(offset);
      entry.set(offset, DEAD);
    }
  const order = [...structure.number.keys()].filter((offset) => graph.blocks.has(offset));
  for (let changed = true; changed; ) {
    changed = false;
    for (const offset of order) {
      const block = graph.blocks.get(offset)!;
      const before = entry.get(offset);
      const after = formAtEnd(block) ?? before;
      if (after === undefined) continue;
      for (const next of successors(block, graph)) {
        if (fixed.has(next)) continue;
        const known = entry.get(next);
        const merged = known === undefined || known === after ? after : FULL;
        if (merged === known) continue;
        entry.set(next, structure.entries.includes(next) && !isCheckable(merged) ? FULL : merged);
        changed = changed || entry.get(next) !== known;
      }
    }
  }
  for (const offset of order) if (!entry.has(offset)) entry.set(offset, FULL);
  return entry;
}

/** Entries of the dispatcher that control mostly reaches by the loop's own edges. */
function isFlexible(offset: number, graph: Graph, structure: Structure): boolean {
  return structure.loopHeaders.has(offset) && !graph.arrivals.has(offset);
}

/** Whether the dispatcher can tell that the words are of this form. */
function isCheckable({ kind }: FlagForm): boolean {
  return kind === "subtract" || kind === "add";
}

function formAtEnd({ instructions }: Block): FlagForm | undefined {
  for (let index = instructions.length - 1; index >= 0; index--) {
    const form = formAfter(instructions[index]!);
    if (form !== undefined) return form;
  }
  return undefined;
}
