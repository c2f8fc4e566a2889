// One function is long on purpose: the range decoder's three variables must stay in registers, and JavaScript has
// no way to inline a helper that changes them.
import { corrupt } from "./errors.ts";

const HALF = 1024;

// Places in the probability array.
const IS_MATCH = 0; // state << 4 | position
const IS_REP = 192;
const IS_REP0 = 204;
const IS_REP1 = 216;
const IS_REP2 = 228;
const IS_REP0_LONG = 240; // state << 4 | position
const DISTANCE_SLOT = 432; // 4 length classes of 64
const DISTANCE_SPECIAL = 688; // 115 used
const DISTANCE_ALIGN = 804; // 16
const MATCH_LENGTH = 820;
const REP_LENGTH = 1334;
const LITERAL = 1848;
// Places in a length coder.
const LENGTH_CHOICE = 0;
const LENGTH_CHOICE2 = 1;
const LENGTH_LOW = 2; // 16 of 8
const LENGTH_MID = 130; // 16 of 8
const LENGTH_HIGH = 258; // 256

/** Bytes of the largest probability array: lc + lp is at most 4 in LZMA2, 12 in LZMA alone. */
const literalSize = (lc: number, lp: number): number => 0x300 << (lc + lp);

/** The state of an LZMA decoder between two calls of {@link decodeLzmaChunk}. */
export interface LzmaState {
  /** 11-bit probabilities. */
  probs: Uint16Array;
  /** Literal context bits, literal position bits, position bits. */
  lc: number;
  lp: number;
  pb: number;
  /** 0 to 11: what the last symbols were. */
  state: number;
  /** The last four distances, less one. */
  rep0: number;
  rep1: number;
  rep2: number;
  rep3: number;
}

/** A state with no properties set; call {@link setLzmaProperties} before use. */
export function createLzmaState(): LzmaState {
  return { probs: new Uint16Array(0), lc: 0, lp: 0, pb: 0, state: 0, rep0: 0, rep1: 0, rep2: 0, rep3: 0 };
}

/** Sets lc, lp and pb from the properties byte and resets the state; `false` for an impossible byte. */
export function setLzmaProperties(s: LzmaState, properties: number): boolean {
  if (properties >= 9 * 5 * 5) return false;
  s.lc = properties % 9;
  const rest = (properties - s.lc) / 9;
  s.lp = rest % 5;
  s.pb = (rest - s.lp) / 5;
  const size = LITERAL + literalSize(s.lc, s.lp);
  if (s.probs.length < size) s.probs = new Uint16Array(size);
  resetLzmaState(s);
  return true;
}

/** Forgets all that was learned, keeping the properties. */
export function resetLzmaState(s: LzmaState): void {
  s.probs.fill(HALF);
  s.state = 0;
  s.rep0 = 0;
  s.rep1 = 0;
  s.rep2 = 0;
  s.rep3 = 0;
}

/** Where a chunk's decoding stopped. */
export interface LzmaProgress {
  /** Bytes of the source used, up to and with the last one that the range decoder took in. */
  sourceAt: number;
  outAt: number;
  /** Whether the end marker was met (LZMA alone only). */
  ended: boolean;
}

/**
 * Decodes one range-coded run from `source[sourceAt..]` into `out[outAt..outEnd)`.
 * The dictionary is `out[dictionaryStart..]` itself. Stops at `outEnd`, at an end marker, or throws `BAD_IMAGE`; with
 * `open`, a match that runs past `outEnd` stops it too.
 */
export function decodeLzmaChunk(
  s: LzmaState,
  source: Uint8Array,
  sourceStart: number,
  sourceEnd: number,
  out: Uint8Array,
  outStart: number,
  outEnd: number,
  dictionaryStart: number,
  positionBase: number,
  open = false,
): LzmaProgress {
  if (sourceEnd - sourceStart < 5) throw corrupt("LZMA", `a run of ${sourceEnd - sourceStart} bytes, needs 5`);
  if (source[sourceStart] !== 0) throw corrupt("LZMA", `a run starts with byte ${source[sourceStart]}, not 0`);
  const probs = s.probs;
  const pbMask = (1 << s.pb) - 1;
  const lpMask = (1 << s.lp) - 1;
  const lc = s.lc;
  const lcShift = 8 - lc;
  let state = s.state;
  let rep0 = s.rep0;
  let rep1 = s.rep1;
  let rep2 = s.rep2;
  let rep3 = s.rep3;
  let outAt = outStart;
  let at = sourceStart + 5;
  let ended = false;
  let range = -1;
  let code =
    (source[sourceStart + 1]! << 24) |
    (source[sourceStart + 2]! << 16) |
    (source[sourceStart + 3]! << 8) |
    source[sourceStart + 4]!;
  let previous = outAt > dictionaryStart ? out[outAt - 1]! : 0;

  // Range and code are 32-bit words held as signed integers, which V8 keeps unboxed even before it optimises; `>>> 0`
  // on both sides of a comparison makes it the unsigned one that is meant.
  while (outAt < outEnd) {
    if (at > sourceEnd) throw corrupt("LZMA", "a run needs more bytes than it has");
    const posState = (outAt - positionBase) & pbMask;
    let i = IS_MATCH + (state << 4) + posState;
    let p = probs[i]!;
    let bound = Math.imul(range >>> 11, p);
    if (code >>> 0 < bound >>> 0) {
      range = bound;
      probs[i] = p + ((2048 - p) >> 5);
      if (range >>> 24 === 0) {
        range <<= 8;
        code = (code << 8) | source[at++]!;
      }
      // A literal.
      const base = LITERAL + 0x300 * ((((outAt - positionBase) & lpMask) << lc) + (previous >> lcShift));
      let symbol = 1;
      if (state >= 7) {
        if (rep0 >= outAt - dictionaryStart) throw corrupt("LZMA", "a distance before the start of the data");
        let match = out[outAt - rep0 - 1]! << 1;
        let offset = 0x100;
        do {
          const matchBit = match & offset;
          match <<= 1;
          i = base + offset + matchBit + symbol;
          p = probs[i]!;
          bound = Math.imul(range >>> 11, p);
          if (code >>> 0 < bound >>> 0) {
            range = bound;
            probs[i] = p + ((2048 - p) >> 5);
            symbol <<= 1;
            offset ^= matchBit;
          } else {
            range = (range - bound) | 0;
            code = (code - bound) | 0;
            probs[i] = p - (p >> 5);
            symbol = (symbol << 1) | 1;
            offset = matchBit;
          }
          if (range >>> 24 === 0) {
            range <<= 8;
            code = (code << 8) | source[at++]!;
          }
        } while (symbol < 0x100);
      } else {
        do {
          i = base + symbol;
          p = probs[i]!;
          bound = Math.imul(range >>> 11, p);
          if (code >>> 0 < bound >>> 0) {
            range = bound;
            probs[i] = p + ((2048 - p) >> 5);
            symbol <<= 1;
          } else {
            range = (range - bound) | 0;
            code = (code - bound) | 0;
            probs[i] = p - (p >> 5);
            symbol = (symbol << 1) | 1;
          }
          if (range >>> 24 === 0) {
            range <<= 8;
            code = (code << 8) | source[at++]!;
          }
        } while (symbol < 0x100);
      }
      previous = symbol & 0xff;
      out[outAt++] = previous;
      state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
      continue;
    }
    range = (range - bound) | 0;
    code = (code - bound) | 0;
    probs[i] = p - (p >> 5);
    if (range >>> 24 === 0) {
      range <<= 8;
      code = (code << 8) | source[at++]!;
    }

    let lengthBase = MATCH_LENGTH;
    i = IS_REP + state;
    p = probs[i]!;
    bound = Math.imul(range >>> 11, p);
    const isRep = code >>> 0 >= bound >>> 0;
    if (!isRep) {
      range = bound;
      probs[i] = p + ((2048 - p) >> 5);
      if (range >>> 24 === 0) {
        range <<= 8;
        code = (code << 8) | source[at++]!;
      }
      rep3 = rep2;
      rep2 = rep1;
      rep1 = rep0;
      state = state < 7 ? 7 : 10;
    } else {
      range = (range - bound) | 0;
      code = (code - bound) | 0;
      probs[i] = p - (p >> 5);
      if (range >>> 24 === 0) {
        range <<= 8;
        code = (code << 8) | source[at++]!;
      }
      if (outAt === dictionaryStart) throw corrupt("LZMA", "a repeated match at the start of the data");
      i = IS_REP0 + state;
      p = probs[i]!;
      bound = Math.imul(range >>> 11, p);
      if (code >>> 0 < bound >>> 0) {
        range = bound;
        probs[i] = p + ((2048 - p) >> 5);
        if (range >>> 24 === 0) {
          range <<= 8;
          code = (code << 8) | source[at++]!;
        }
        i = IS_REP0_LONG + (state << 4) + posState;
        p = probs[i]!;
        bound = Math.imul(range >>> 11, p);
        if (code >>> 0 < bound >>> 0) {
          range = bound;
          probs[i] = p + ((2048 - p) >> 5);
          if (range >>> 24 === 0) {
            range <<= 8;
            code = (code << 8) | source[at++]!;
          }
          // One byte at the last distance.
          if (rep0 >= outAt - dictionaryStart) throw corrupt("LZMA", "a distance before the start of the data");
          previous = out[outAt - rep0 - 1]!;
          out[outAt++] = previous;
          state = state < 7 ? 9 : 11;
          continue;
        }
        range = (range - bound) | 0;
        code = (code - bound) | 0;
        probs[i] = p - (p >> 5);
        if (range >>> 24 === 0) {
          range <<= 8;
          code = (code << 8) | source[at++]!;
        }
      } else {
        range = (range - bound) | 0;
        code = (code - bound) | 0;
        probs[i] = p - (p >> 5);
        if (range >>> 24 === 0) {
          range <<= 8;
          code = (code << 8) | source[at++]!;
        }
        i = IS_REP1 + state;
        p = probs[i]!;
        bound = Math.imul(range >>> 11, p);
        let distance = rep1;
        if (code >>> 0 < bound >>> 0) {
          range = bound;
          probs[i] = p + ((2048 - p) >> 5);
          if (range >>> 24 === 0) {
            range <<= 8;
            code = (code << 8) | source[at++]!;
          }
        } else {
          range = (range - bound) | 0;
          code = (code - bound) | 0;
          probs[i] = p - (p >> 5);
          if (range >>> 24 === 0) {
            range <<= 8;
            code = (code << 8) | source[at++]!;
          }
          i = IS_REP2 + state;
          p = probs[i]!;
          bound = Math.imul(range >>> 11, p);
          if (code >>> 0 < bound >>> 0) {
            range = bound;
            probs[i] = p + ((2048 - p) >> 5);
            distance = rep2;
          } else {
            range = (range - bound) | 0;
            code = (code - bound) | 0;
            probs[i] = p - (p >> 5);
            distance = rep3;
            rep3 = rep2;
          }
          if (range >>> 24 === 0) {
            range <<= 8;
            code = (code << 8) | source[at++]!;
          }
          rep2 = rep1;
        }
        rep1 = rep0;
        rep0 = distance;
      }
      lengthBase = REP_LENGTH;
      state = state < 7 ? 8 : 11;
    }

    // The length: a tree of 3 bits (two of them by position) or one of 8.
    let length: number;
    let tree: number;
    let treeEnd: number;
    i = lengthBase + LENGTH_CHOICE;
    p = probs[i]!;
    bound = Math.imul(range >>> 11, p);
    if (code >>> 0 < bound >>> 0) {
      range = bound;
      probs[i] = p + ((2048 - p) >> 5);
      tree = lengthBase + LENGTH_LOW + (posState << 3);
      treeEnd = 8;
      length = 2 - 8;
    } else {
      range = (range - bound) | 0;
      code = (code - bound) | 0;
      probs[i] = p - (p >> 5);
      if (range >>> 24 === 0) {
        range <<= 8;
        code = (code << 8) | source[at++]!;
      }
      i = lengthBase + LENGTH_CHOICE2;
      p = probs[i]!;
      bound = Math.imul(range >>> 11, p);
      if (code >>> 0 < bound >>> 0) {
        range = bound;
        probs[i] = p + ((2048 - p) >> 5);
        tree = lengthBase + LENGTH_MID + (posState << 3);
        treeEnd = 8;
        length = 10 - 8;
      } else {
        range = (range - bound) | 0;
        code = (code - bound) | 0;
        probs[i] = p - (p >> 5);
        tree = lengthBase + LENGTH_HIGH;
        treeEnd = 256;
        length = 18 - 256;
      }
    }
    if (range >>> 24 === 0) {
      range <<= 8;
      code = (code << 8) | source[at++]!;
    }
    let node = 1;
    do {
      i = tree + node;
      p = probs[i]!;
      bound = Math.imul(range >>> 11, p);
      if (code >>> 0 < bound >>> 0) {
        range = bound;
        probs[i] = p + ((2048 - p) >> 5);
        node <<= 1;
      } else {
        range = (range - bound) | 0;
        code = (code - bound) | 0;
        probs[i] = p - (p >> 5);
        node = (node << 1) | 1;
      }
      if (range >>> 24 === 0) {
        range <<= 8;
        code = (code << 8) | source[at++]!;
      }
    } while (node < treeEnd);
    length += node;

    if (!isRep) {
      const slotBase = DISTANCE_SLOT + ((length < 6 ? length - 2 : 3) << 6);
      let slot = 1;
      do {
        i = slotBase + slot;
        p = probs[i]!;
        bound = Math.imul(range >>> 11, p);
        if (code >>> 0 < bound >>> 0) {
          range = bound;
          probs[i] = p + ((2048 - p) >> 5);
          slot <<= 1;
        } else {
          range = (range - bound) | 0;
          code = (code - bound) | 0;
          probs[i] = p - (p >> 5);
          slot = (slot << 1) | 1;
        }
        if (range >>> 24 === 0) {
          range <<= 8;
          code = (code << 8) | source[at++]!;
        }
      } while (slot < 64);
      slot -= 64;
      if (slot < 4) {
        rep0 = slot;
      } else {
        let bits = (slot >> 1) - 1;
        rep0 = 2 | (slot & 1);
        let base = DISTANCE_ALIGN;
        if (slot < 14) {
          rep0 <<= bits;
          base = DISTANCE_SPECIAL + rep0 - slot;
        } else {
          bits -= 4;
          do {
            range >>>= 1;
            // All ones when code < range, else zero: the bit without a branch.
            code = (code - range) | 0;
            const mask = code >> 31;
            code = (code + (range & mask)) | 0;
            rep0 = (rep0 << 1) + (mask + 1);
            if (range >>> 24 === 0) {
              range <<= 8;
              code = (code << 8) | source[at++]!;
            }
          } while (--bits > 0);
          rep0 <<= 4;
          bits = 4;
        }
        let weight = 1;
        node = 1;
        do {
          i = base + node;
          p = probs[i]!;
          bound = Math.imul(range >>> 11, p);
          if (code >>> 0 < bound >>> 0) {
            range = bound;
            probs[i] = p + ((2048 - p) >> 5);
            node <<= 1;
          } else {
            range = (range - bound) | 0;
            code = (code - bound) | 0;
            probs[i] = p - (p >> 5);
            node = (node << 1) | 1;
            rep0 += weight;
          }
          weight <<= 1;
          if (range >>> 24 === 0) {
            range <<= 8;
            code = (code << 8) | source[at++]!;
          }
        } while (--bits > 0);
        rep0 |= 0;
        if (rep0 === -1) {
          ended = true;
          break;
        }
      }
    }

    // A distance of 2^31 or more is negative here, and as wrong as any that is too far.
    if (rep0 < 0 || rep0 >= outAt - dictionaryStart) {
      throw corrupt("LZMA", "a distance before the start of the data");
    }
    if (length > outEnd - outAt) {
      if (open) {
        outAt = outEnd;
        break;
      }
      throw corrupt("LZMA", "a match past the end of its run");
    }
    let from = outAt - rep0 - 1;
    const to = outAt + length;
    if (rep0 >= length && length > 48) {
      out.copyWithin(outAt, from, from + length);
      outAt = to;
    } else {
      do out[outAt++] = out[from++]!;
      while (outAt < to);
    }
    previous = out[outAt - 1]!;
  }

  s.state = state;
  s.rep0 = rep0;
  s.rep1 = rep1;
  s.rep2 = rep2;
  s.rep3 = rep3;
  return { sourceAt: at, outAt, ended };
}
