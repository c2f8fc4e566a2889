import { OPCODES } from "@paravirt/x86";
import type { Definition, Operation128 } from "../definition.ts";
import { byHalves, halvesOf, shapeFor, vex, vexService } from "./avx-operands.ts";
import { simdAesDefinitions } from "./simd-aes.ts";
import { simdConvertDefinitions } from "./simd-convert.ts";
import { simdFloatDefinitions } from "./simd-float.ts";
import { simdIntegerDefinitions } from "./simd-integer.ts";
import { simdMoveDefinitions } from "./simd-moves.ts";
import { simdShuffleDefinitions } from "./simd-shuffle.ts";
import { simdStringDefinitions } from "./simd-strings.ts";

/**
 * VEX forms of MMX's and SSE's instructions: the same operation on each half, with a destination of its own. What exists is
 * in the opcode table; only what differs is here.
 */

/** Names whose VEX forms differ by more than that: they are in `avx-moves.ts` and `avx-permute.ts`. */
const OTHERWISE =
  /^(mova.*|movu.*|movdq.*|movnt.*|lddqu|ptest|maskmov.*|sha.*|emms|movmsk.*|pmovmskb|cvtpi.*|cvtt?p.2pi|movq2dq|cvtps2pd|cvtdq2pd|cvtt?pd2dq|cvtpd2ps|movddup)$/;
/** What JavaScript does, all of it: approximations, dot products, strings. */
const IN_JAVASCRIPT = /^(rcp|rsqrt|dpp|pcmpestr|pcmpistrm)/;
/** Widenings: the upper half of the result is made from the source's next bytes, not from its upper half. */
const WIDENING = /^pmov[sz]x/;
/** Shifts by one count for all lanes: an XMM register or 16 bytes. */
const SHIFT = /^ps(ll|rl|ra)[wdq]$/;
/** Bits of the immediate for each half, where the halves have their own. */
const IMMEDIATE_BITS: Readonly<Record<string, number>> = { shufpd: 2, blendpd: 2, blendps: 4, mpsadbw: 3 };

/** What the opcode table says of a name behind VEX, all its rows taken together. */
interface VexRow {
  /** Whether there is a 256-bit form; scalars ignore the length. */
  wide: boolean;
  operands: number;
}

function vexRows(): ReadonlyMap<string, VexRow> {
  const rows = new Map<string, VexRow>();
  for (const { vex, name, l, operands } of OPCODES) {
    if (!vex) continue;
    const row = rows.get(name) ?? { wide: false, operands: 0 };
    row.wide ||= l !== 0;
    row.operands = Math.max(row.operands, operands.length);
    rows.set(name, row);
  }
  return rows;
}

/** Whether there is a 256-bit form; scalars ignore the length. */
function isWide({ name, shapes }: Definition, row: VexRow): boolean {
  return row.wide && (WIDENING.test(name) || shapes.some((shape) => /m16|^xi$/.test(shape)));
}

/** One VEX shape for a legacy one, and the legacy shape that its halves are computed by. */
interface Form {
  readonly shape: string;
  readonly legacy: string;
}

function widened(name: string, { shape, legacy }: Form): Form {
  let wide = shape.replaceAll("x", "y").replace("m16", "m32");
  // The source is the lower half of a register, or half as many bytes; a count has 128 bits.
  if (WIDENING.test(name)) wide = shape.replace("x", "y").replace(/m(\d+)/, (_m, size) => `m${Number(size) * 2}`);
  else if (SHIFT.test(name)) wide = wide.replace(/^yyy$/, "yyx").replace("m32", "m16");
  return { shape: wide, legacy };
}

/** Whether the legacy form's destination is read, and an operand of its own behind VEX. */
function isSeparate({ shapes }: Definition, { access }: Operation128, row: VexRow): boolean {
  return access.startsWith("b") && row.operands > shapeFor(shapes[0]!).letters.length;
}

function formsOf(definition: Definition, row: VexRow, separate: boolean): Form[] {
  const { name, shapes } = definition;
  const forms = shapes.map((legacy) => ({ shape: separate ? `x${legacy}` : legacy, legacy }));
  return isWide(definition, row) ? [...forms, ...forms.map((form) => widened(name, form))] : forms;
}

function define(definition: Definition, operation: Operation128, row: VexRow): Definition {
  const { name } = definition;
  const { access, emit } = operation;
  const separate = isSeparate(definition, operation, row);
  const forms = formsOf(definition, row, separate);
  const legacyOf = new Map(forms.map(({ shape, legacy }) => [shape, shapeFor(legacy)]));
  const shapes = forms.map(({ shape }) => shape);
  if (IN_JAVASCRIPT.test(name)) return vexService(`v${name}`, shapes);
  const widening = WIDENING.test(name);
  const immediateBits = IMMEDIATE_BITS[name];
  return vex(
    `v${name}`,
    shapes,
    separate ? `wr${access.slice(1)}` : access.replace("b", "w"),
    (c, operands, shape) => {
      const legacy = legacyOf.get(shape.text)!;
      // Results in general registers and memory, and those in flags, are not vectors.
      if (!/^[xy]/.test(shape.text) || access.startsWith("r")) {
        emit(c, operands, legacy);
        return;
      }
      const [destination, ...sources] = operands;
      const initial = separate ? sources.shift() : undefined;
      const halves = halvesOf(shape);
      const stride = widening ? strideOf(legacy.text) : undefined;
      byHalves(
        c,
        destination!,
        halves,
        (target, half) => {
          const places = sources.map((source, index) => {
            const letter = legacy.letters[index + 1];
            const isCount = SHIFT.test(name);
            return halves === 1 || letter === "i" || letter === "r" || isCount ? source : half.of(source, stride);
          });
          emit(half.c, [target, ...places], legacy);
        },
        { initial, ...(immediateBits === undefined ? {} : { immediateBits }) },
      );
    },
    definition.floats ? { floats: definition.floats } : {},
  );

  function strideOf(legacy: string): 2 | 4 | 8 {
    const memory = definition.shapes.find((shape) => shape.includes("m")) ?? legacy;
    return Number(/m(\d)/.exec(memory)![1]) as 2 | 4 | 8;
  }
}

/** VEX forms that do what their legacy forms do, half by half. */
export function avxPackedDefinitions(): readonly Definition[] {
  const rows = vexRows();
  return [
    ...simdMoveDefinitions,
    ...simdIntegerDefinitions,
    ...simdShuffleDefinitions,
    ...simdFloatDefinitions,
    ...simdConvertDefinitions,
    ...simdStringDefinitions,
    ...simdAesDefinitions,
  ].flatMap((definition) => {
    const row = rows.get(`v${definition.name}`);
    if (definition.operation === undefined || row === undefined || OTHERWISE.test(definition.name)) return [];
    return [define(definition, definition.operation, row)];
  });
}
