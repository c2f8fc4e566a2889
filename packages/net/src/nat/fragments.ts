import type { Ipv4Header } from "./ipv4.ts";

interface Assembly {
  readonly pieces: Map<number, Uint8Array>;
  bytes: number;
  /** Known once the last piece is there. */
  length: number | undefined;
  readonly until: number;
}

const MAX_ASSEMBLIES = 32;
const MAX_PIECES = 64;
const PATIENCE = 15_000;
const MAX_DATAGRAM = 0xffff - 20;

/** Puts datagrams together that a guest sent in pieces (RFC 791 3.2); pieces that overlap end their datagram (RFC 5722). */
export class Fragments {
  readonly #assemblies = new Map<string, Assembly>();

  /** Takes one piece; answers the whole payload when it was the last that was missing. */
  put(header: Ipv4Header, payload: Uint8Array, now: number): Uint8Array | undefined {
    const key = `${header.source}:${header.destination}:${header.protocol}:${header.identification}`;
    let assembly = this.#assemblies.get(key);
    if (assembly !== undefined && assembly.until <= now) {
      this.#assemblies.delete(key);
      assembly = undefined;
    }
    if (assembly === undefined) {
      if (this.#assemblies.size >= MAX_ASSEMBLIES) this.#assemblies.delete(this.#assemblies.keys().next().value!);
      assembly = { pieces: new Map(), bytes: 0, length: undefined, until: now + PATIENCE };
      this.#assemblies.set(key, assembly);
    }
    const { fragmentOffset: from, moreFragments } = header;
    const end = from + payload.length;
    const isBad =
      end > MAX_DATAGRAM ||
      payload.length === 0 ||
      (moreFragments && payload.length % 8 !== 0) ||
      assembly.pieces.has(from) ||
      assembly.pieces.size >= MAX_PIECES;
    if (isBad) {
      this.#assemblies.delete(key);
      return undefined;
    }
    assembly.pieces.set(from, payload.slice());
    assembly.bytes += payload.length;
    if (!moreFragments) assembly.length = end;
    if (assembly.length !== assembly.bytes) return undefined;
    this.#assemblies.delete(key);
    return join(assembly.pieces, assembly.length);
  }
}

function join(pieces: ReadonlyMap<number, Uint8Array>, length: number): Uint8Array | undefined {
  const whole = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    const piece = pieces.get(at);
    if (piece === undefined || at + piece.length > length) return undefined;
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
