import { getLong, getWord, putLong, putWord } from "../bytes.ts";

/** Flags of a TCP header (RFC 9293 3.1). */
export const TCP = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const;

/** Bytes of a header without options. */
export const TCP_HEADER = 20;
/** Bytes of the header of a SYN of ours: maximum segment size and window scale. */
export const SYN_HEADER = 28;

/** A TCP segment that came in. */
export interface Segment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  /** The window field as it is, unscaled. */
  readonly window: number;
  /** The data; a view that is valid during the call only. */
  readonly data: Uint8Array;
  /** Options of a SYN. */
  readonly maximumSegment: number | undefined;
  readonly windowScale: number | undefined;
}

/** Reads the segment in `bytes[from..to)`, whose header was found to be whole. */
export function decodeSegment(bytes: Uint8Array, from: number, payload: number, to: number): Segment {
  const flags = bytes[from + 13]!;
  const options = (flags & TCP.SYN) === 0 ? NO_OPTIONS : decodeOptions(bytes, from + TCP_HEADER, payload);
  return {
    sourcePort: getWord(bytes, from),
    destinationPort: getWord(bytes, from + 2),
    sequence: getLong(bytes, from + 4),
    acknowledgment: getLong(bytes, from + 8),
    flags,
    window: getWord(bytes, from + 14),
    data: bytes.subarray(payload, to),
    maximumSegment: options.maximumSegment,
    windowScale: options.windowScale,
  };
}

interface SynOptions {
  readonly maximumSegment: number | undefined;
  readonly windowScale: number | undefined;
}
const NO_OPTIONS: SynOptions = { maximumSegment: undefined, windowScale: undefined };
/** RFC 7323 2.3: a larger shift is taken as this. */
const MAX_SCALE = 14;

function decodeOptions(bytes: Uint8Array, from: number, to: number): SynOptions {
  let maximumSegment: number | undefined;
  let windowScale: number | undefined;
  for (let at = from; at < to; ) {
    const kind = bytes[at]!;
    if (kind === 0) break;
    if (kind === 1) {
      at++;
      continue;
    }
    const length = at + 1 < to ? bytes[at + 1]! : 0;
    if (length < 2 || at + length > to) break;
    if (kind === 2 && length === 4) maximumSegment = getWord(bytes, at + 2);
    if (kind === 3 && length === 3) windowScale = Math.min(bytes[at + 2]!, MAX_SCALE);
    at += length;
  }
  return { maximumSegment, windowScale };
}

/** A TCP header to be written. */
export interface SegmentOut {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  readonly window: number;
  /** Of a SYN: what we take at most in a segment, and our window's scale if the other side has one too. */
  readonly syn?: { readonly maximumSegment: number; readonly windowScale: number | undefined };
}

/** Writes the header at `at`, its checksum left 0, and answers its length. */
export function encodeSegment(bytes: Uint8Array, at: number, segment: SegmentOut): number {
  const { syn } = segment;
  const length = syn === undefined ? TCP_HEADER : syn.windowScale === undefined ? SYN_HEADER - 4 : SYN_HEADER;
  putWord(bytes, at, segment.sourcePort);
  putWord(bytes, at + 2, segment.destinationPort);
  putLong(bytes, at + 4, segment.sequence);
  putLong(bytes, at + 8, segment.acknowledgment);
  bytes[at + 12] = (length / 4) << 4;
  bytes[at + 13] = segment.flags;
  putWord(bytes, at + 14, segment.window);
  putLong(bytes, at + 16, 0);
  if (syn === undefined) return length;
  putLong(bytes, at + 20, 0x02040000 | syn.maximumSegment);
  if (syn.windowScale !== undefined) putLong(bytes, at + 24, 0x01030300 | syn.windowScale);
  return length;
}
