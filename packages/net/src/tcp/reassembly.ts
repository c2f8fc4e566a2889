import { distance } from "./sequence.ts";

interface Piece {
  sequence: number;
  bytes: Uint8Array;
}

/** Pieces that may wait, however short: a sender that sends single bytes with gaps can't fill memory with objects. */
const MAX_PIECES = 512;

/** Data that came before what belongs in front of it. */
export class Reassembly {
  /** In order, without overlap. */
  readonly #pieces: Piece[] = [];
  /** Bytes in it. */
  length = 0;

  /** Keeps a copy of what it hasn't; a full one keeps nothing, the data will come again. */
  put(sequence: number, data: Uint8Array): void {
    const pieces = this.#pieces;
    let at = pieces.length;
    while (at > 0 && distance(pieces[at - 1]!.sequence, sequence) > 0) at--;
    let from = sequence;
    let rest = data;
    const before = pieces[at - 1];
    if (before !== undefined) {
      const overlap = distance(before.sequence + before.bytes.length, from);
      if (overlap >= rest.length) return;
      if (overlap > 0) {
        rest = rest.subarray(overlap);
        from = (from + overlap) >>> 0;
      }
    }
    // What it covers wholly is replaced; what it reaches into keeps its own.
    let gone = at;
    while (gone < pieces.length) {
      const next = pieces[gone]!;
      const reach = distance(from + rest.length, next.sequence);
      if (reach <= 0) break;
      if (reach < next.bytes.length) {
        rest = rest.subarray(0, rest.length - reach);
        break;
      }
      this.length -= next.bytes.length;
      gone++;
    }
    if (rest.length === 0 || (gone === at && pieces.length >= MAX_PIECES)) return;
    pieces.splice(at, gone - at, { sequence: from, bytes: rest.slice() });
    this.length += rest.length;
  }

  /** Takes the piece that goes on at `sequence`, without what is older; `undefined` when it isn't there. */
  take(sequence: number): Uint8Array | undefined {
    for (let first = this.#pieces[0]; first !== undefined; first = this.#pieces[0]) {
      const skip = distance(sequence, first.sequence);
      if (skip < 0) return undefined;
      this.#pieces.shift();
      this.length -= first.bytes.length;
      if (skip < first.bytes.length) return first.bytes.subarray(skip);
    }
    return undefined;
  }
}
