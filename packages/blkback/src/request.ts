import {
  BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST,
  BLKIF_MAX_SEGMENTS_PER_REQUEST,
  BLKIF_OP,
  BLKIF_RSP,
  layout,
} from "@paravirt/xen-abi";

/** How a frontend lays out its requests: as a 64-bit or a 32-bit guest's compiler does. */
export type BlockProtocol = "x86_64" | "x86_32";

/** A piece of a guest's page, in sectors of 512 bytes. */
export interface BlockSegment {
  /** The grant of the page. */
  readonly grant: number;
  /** First sector in the page, 0 to 7. */
  readonly first: number;
  /** Last sector in the page, inclusive, not below `first`. */
  readonly last: number;
}

/** What every request has, and its response repeats. */
export interface BlockRequestHead {
  /** The guest's own number for it. */
  readonly id: bigint;
  /** The operation as the response is to name it; of an indirect request that is the inner one. */
  readonly operation: number;
}

/** Data between the disk and pages: `flush` and `barrier` are writes, with or without data, and what goes with them. */
export interface TransferRequest extends BlockRequestHead {
  readonly kind: "read" | "write" | "flush" | "barrier";
  /** Where on the disk, in sectors of 512 bytes. May be larger than any disk. */
  readonly sector: number;
  readonly segments: readonly BlockSegment[];
}

/** A read or write whose segments are in pages of their own: see {@link decodeIndirectSegments}. */
export interface IndirectRequest extends BlockRequestHead {
  readonly kind: "indirect";
  readonly write: boolean;
  readonly sector: number;
  /** How many segments the pages hold. */
  readonly count: number;
  /** The grants of the pages, as many as `count` needs. */
  readonly pages: readonly number[];
}

/** Sectors that the guest doesn't need any more. */
export interface DiscardRequest extends BlockRequestHead {
  readonly kind: "discard";
  readonly sector: number;
  /** Sectors of 512 bytes. */
  readonly count: number;
  /** Whether what was there must not be readable again. */
  readonly secure: boolean;
}

/** A request that is refused for what it says. */
export interface RejectedRequest extends BlockRequestHead {
  readonly kind: "rejected";
  /** The status to answer: a `BLKIF_RSP`. */
  readonly status: number;
}

/** A request after validation; nothing in it points into guest memory. */
export type BlockRequest = TransferRequest | IndirectRequest | DiscardRequest | RejectedRequest;

/** Bytes of a `blkif_request_segment`, the same in both protocols. */
export const SEGMENT_SIZE: number = layout("blkif_request_segment", "x86_64").size;
/** Segments that one page of an indirect request holds. */
export const SEGMENTS_PER_PAGE: number = 4096 / SEGMENT_SIZE;
/** Most segments that an indirect request can have: eight pages of them. */
export const MAX_INDIRECT_SEGMENTS: number = BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST * SEGMENTS_PER_PAGE;
/** 512-byte sectors of a page. */
const PAGE_SECTORS = 8;

const FORMATS = { x86_64: formatOf("x86_64"), x86_32: formatOf("x86_32") };

function formatOf(abi: BlockProtocol) {
  return {
    slotSize: layout("blkif_sring_entry", abi).size,
    request: layout("blkif_request", abi).offsets,
    discard: layout("blkif_request_discard", abi).offsets,
    indirect: layout("blkif_request_indirect", abi).offsets,
    response: layout("blkif_response", abi),
  };
}

/** Bytes of a ring's slot: 112 for 64-bit guests, 108 for 32-bit ones. */
export function slotSizeOf(protocol: BlockProtocol): number {
  return FORMATS[protocol].slotSize;
}

/**
 * Decodes one `blkif_request` (`io/blkif.h`). `slot` must already be a private copy. Indirect requests with more than
 * `maxIndirectSegments` segments are refused.
 */
export function decodeBlockRequest(
  slot: DataView,
  protocol: BlockProtocol,
  maxIndirectSegments: number = MAX_INDIRECT_SEGMENTS,
): BlockRequest {
  const { request } = FORMATS[protocol];
  const operation = slot.getUint8(request.operation);
  const id = slot.getBigUint64(request.id, true);
  switch (operation) {
    case BLKIF_OP.READ:
      return decodeTransfer(slot, protocol, { kind: "read", id, operation });
    case BLKIF_OP.WRITE:
      return decodeTransfer(slot, protocol, { kind: "write", id, operation });
    case BLKIF_OP.WRITE_BARRIER:
      return decodeTransfer(slot, protocol, { kind: "barrier", id, operation });
    case BLKIF_OP.FLUSH_DISKCACHE:
      return decodeTransfer(slot, protocol, { kind: "flush", id, operation });
    case BLKIF_OP.DISCARD:
      return decodeDiscard(slot, protocol);
    case BLKIF_OP.INDIRECT:
      return decodeIndirect(slot, protocol, maxIndirectSegments);
    default:
      return { kind: "rejected", id, operation, status: BLKIF_RSP.EOPNOTSUPP };
  }
}

function decodeTransfer(
  slot: DataView,
  protocol: BlockProtocol,
  head: BlockRequestHead & { readonly kind: TransferRequest["kind"] },
): BlockRequest {
  const { request } = FORMATS[protocol];
  const count = slot.getUint8(request.nr_segments);
  const { kind, id, operation } = head;
  const reject: BlockRequest = { kind: "rejected", id, operation, status: BLKIF_RSP.ERROR };
  if (count > BLKIF_MAX_SEGMENTS_PER_REQUEST) return reject;
  // Only a flush and a barrier can do without data.
  if (count === 0 && (kind === "read" || kind === "write")) return reject;
  const segments = decodeSegments(slot, request.seg, count);
  if (segments === undefined) return reject;
  return { kind, id, operation, sector: sectorAt(slot, request.sector_number), segments };
}

function decodeDiscard(slot: DataView, protocol: BlockProtocol): BlockRequest {
  const { discard } = FORMATS[protocol];
  return {
    kind: "discard",
    id: slot.getBigUint64(discard.id, true),
    operation: BLKIF_OP.DISCARD,
    sector: sectorAt(slot, discard.sector_number),
    count: sectorAt(slot, discard.nr_sectors),
    secure: (slot.getUint8(discard.flag) & 1) !== 0,
  };
}

function decodeIndirect(slot: DataView, protocol: BlockProtocol, maxSegments: number): BlockRequest {
  const { indirect } = FORMATS[protocol];
  const id = slot.getBigUint64(indirect.id, true);
  const operation = slot.getUint8(indirect.indirect_op);
  const count = slot.getUint16(indirect.nr_segments, true);
  const known = operation === BLKIF_OP.READ || operation === BLKIF_OP.WRITE;
  if (!known || count === 0 || count > maxSegments) return { kind: "rejected", id, operation, status: BLKIF_RSP.ERROR };
  const pages: number[] = [];
  for (let page = 0; page * SEGMENTS_PER_PAGE < count; page++)
    pages.push(slot.getUint32(indirect.indirect_grefs + page * 4, true));
  const sector = sectorAt(slot, indirect.sector_number);
  return { kind: "indirect", id, operation, write: operation === BLKIF_OP.WRITE, sector, count, pages };
}

/**
 * Decodes the segments of an indirect request from private copies of its pages; `undefined` when one of them isn't part
 * of a page.
 */
export function decodeIndirectSegments(pages: readonly DataView[], count: number): BlockSegment[] | undefined {
  const all: BlockSegment[] = [];
  for (const page of pages) {
    const part = decodeSegments(page, 0, Math.min(SEGMENTS_PER_PAGE, count - all.length));
    if (part === undefined) return undefined;
    if (pages.length === 1) return part;
    all.push(...part);
  }
  return all;
}

function decodeSegments(view: DataView, at: number, count: number): BlockSegment[] | undefined {
  const segments: BlockSegment[] = [];
  for (let end = at + count * SEGMENT_SIZE; at < end; at += SEGMENT_SIZE) {
    const first = view.getUint8(at + 4);
    const last = view.getUint8(at + 5);
    // A longer segment would reach into the neighbour's page.
    if (first > last || last >= PAGE_SECTORS) return undefined;
    segments.push({ grant: view.getUint32(at, true), first, last });
  }
  return segments;
}

/** A 64-bit sector number. What a double rounds lies far past the end of every disk, so its range check holds. */
function sectorAt(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

/** Writes `blkif_response`s of one protocol, into the same bytes each time. */
export function createResponseWriter(protocol: BlockProtocol): (head: BlockRequestHead, status: number) => Uint8Array {
  const { size, offsets } = FORMATS[protocol].response;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  return ({ id, operation }, status) => {
    view.setBigUint64(offsets.id, id, true);
    view.setUint8(offsets.operation, operation);
    view.setInt16(offsets.status, status, true);
    return bytes;
  };
}
