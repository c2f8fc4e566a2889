import { ParavirtError } from "@paravirt/core";
import type { BlockFile } from "./block-file.ts";

/** What {@link openHttpFile} needs of a response; the `Response` of `fetch` has it. */
export interface HttpResponse {
  /** 206 for a range. */
  readonly status: number;
  /** Its headers. */
  readonly headers: {
    /** The value of one, or `null`. */
    get(name: string): string | null;
  };
  /** Its whole body. */
  arrayBuffer(): Promise<ArrayBuffer>;
  /** Its body, which can be given up unread. */
  readonly body?: {
    /** Gives it up. */
    cancel(): Promise<void>;
  } | null;
}

/** `fetch`, or something that does as much of it. */
export type HttpFetch = (url: string, init: { readonly headers: Record<string, string> }) => Promise<HttpResponse>;

/** How {@link openHttpFile} fetches and remembers. */
export interface HttpFileOptions {
  /** Makes the requests: `globalThis.fetch` where there is one. */
  readonly fetch: HttpFetch;
  /** Bytes asked for at a time, and kept together (262144). */
  readonly pieceSize?: number;
  /** Most bytes kept; what was used longest ago goes first (67108864). */
  readonly cacheSize?: number;
  /** How often a piece is asked for again when it didn't come (3). */
  readonly retries?: number;
  /** Headers for every request, `authorization` say. */
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * A file on a web server that answers range requests, for reading: what was fetched is kept, several reads of one piece wait
 * for one request, and a sequential reader finds the next piece under way already. Throws `UNAVAILABLE` when it isn't
 * there, `UNSUPPORTED` when the server has no ranges. A file that changes on the server makes reads fail with `IO`.
 */
export async function openHttpFile(url: string, options: HttpFileOptions): Promise<BlockFile> {
  const pieceSize = options.pieceSize ?? 262144;
  const most = Math.max(2, Math.floor((options.cacheSize ?? 64 << 20) / pieceSize));
  const retries = options.retries ?? 3;
  const pieces = new Map<number, Uint8Array | Promise<Uint8Array>>();
  const first = await request(url, options, 0, 1);
  const { size, tag } = first;
  let expected = -1;

  async function fetchPiece(index: number): Promise<Uint8Array> {
    const from = index * pieceSize;
    const length = Math.min(pieceSize, size - from);
    for (let attempt = 0; ; attempt++) {
      try {
        const answer = await request(url, options, from, length);
        if (answer.size !== size || answer.tag !== tag) throw changed(url);
        return answer.bytes;
      } catch (error) {
        if (attempt >= retries || (error as { code?: string }).code === "IO") throw asIo(error);
      }
    }
  }
  function start(index: number): Uint8Array | Promise<Uint8Array> {
    const known = pieces.get(index);
    if (known !== undefined) {
      // The newest is last.
      pieces.delete(index);
      pieces.set(index, known);
      return known;
    }
    const coming = fetchPiece(index).then(
      (bytes) => {
        if (pieces.get(index) === coming) pieces.set(index, bytes);
        return bytes;
      },
      (error) => {
        if (pieces.get(index) === coming) pieces.delete(index);
        throw error;
      },
    );
    // Nobody may be waiting for what is fetched ahead; whoever asks later sees the error, or tries anew.
    coming.catch(() => {});
    pieces.set(index, coming);
    for (const old of pieces.keys()) {
      if (pieces.size <= most) break;
      pieces.delete(old);
    }
    return coming;
  }

  return {
    size,
    readOnly: true,
    read(offset, into) {
      const waits: Promise<void>[] = [];
      for (const buffer of into) {
        for (let at = 0; at < buffer.length; ) {
          const position = offset + at;
          if (position >= size) {
            buffer.fill(0, at);
            break;
          }
          const index = Math.floor(position / pieceSize);
          const skip = position - index * pieceSize;
          const part = buffer.subarray(at, at + Math.min(pieceSize - skip, buffer.length - at, size - position));
          const copy = (piece: Uint8Array): void => part.set(piece.subarray(skip, skip + part.length));
          const piece = start(index);
          if (piece instanceof Promise) waits.push(piece.then(copy));
          else copy(piece);
          if (position === expected && (index + 1) * pieceSize < size) void start(index + 1);
          at += part.length;
          expected = position + part.length;
        }
        offset += buffer.length;
      }
      if (waits.length > 0) return Promise.all(waits).then(() => {});
    },
    write: () => refuse(url),
    truncate: () => refuse(url),
    flush() {},
    close() {
      pieces.clear();
    },
  };
}

interface Part {
  readonly bytes: Uint8Array;
  /** Of the whole file. */
  readonly size: number;
  /** What changes when the file does. */
  readonly tag: string;
}

async function request(url: string, options: HttpFileOptions, from: number, length: number): Promise<Part> {
  let response: HttpResponse;
  try {
    response = await options.fetch(url, {
      // Compressed in between, ranges would be those of something else.
      headers: { ...options.headers, range: `bytes=${from}-${from + length - 1}`, "accept-encoding": "identity" },
    });
  } catch (error) {
    throw new ParavirtError("UNAVAILABLE", `${url} can't be fetched: ${reasonOf(error)}`, { cause: error });
  }
  const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  if (response.status !== 206 || range === null) {
    await response.body?.cancel();
    if (response.status === 416) throw new ParavirtError("UNAVAILABLE", `${url} is empty, or shorter than it was`);
    if (response.status === 200 || response.status === 206)
      throw new ParavirtError("UNSUPPORTED", `${url}: its server doesn't answer range requests`);
    throw new ParavirtError("UNAVAILABLE", `${url} can't be fetched: status ${response.status}`);
  }
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    throw new ParavirtError("UNAVAILABLE", `${url} can't be fetched: ${reasonOf(error)}`, { cause: error });
  }
  if (Number(range[1]) !== from || bytes.length !== length)
    throw new ParavirtError(
      "UNAVAILABLE",
      `${url}: ${bytes.length} bytes at ${range[1]} came for ${length} at ${from}`,
    );
  const tag = response.headers.get("etag") ?? response.headers.get("last-modified") ?? "";
  return { bytes, size: Number(range[3]), tag };
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // `fetch failed` says nothing; its cause does.
  return error.cause instanceof Error ? error.cause.message : error.message;
}

function changed(url: string): ParavirtError {
  return new ParavirtError("IO", `${url} changed while it was in use`);
}

function asIo(error: unknown): ParavirtError {
  return new ParavirtError("IO", error instanceof Error ? error.message : String(error), { cause: error });
}

function refuse(url: string): never {
  throw new ParavirtError("DENIED", `${url} is read-only`);
}
