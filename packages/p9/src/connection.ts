import { ParavirtError } from "@paravirt/core";
import { isPromise } from "./awaitable.ts";
import { CancellationSource } from "./cancellation.ts";
import {
  decodeHeader,
  decodeMessage,
  encodeMessage,
  type P9Fields,
  type P9Message,
  type P9MessageName,
} from "./codec.ts";
import { FileError, LINUX_ERRNO, linuxErrno } from "./errno.ts";
import { type Fid, FidTable } from "./fids.ts";
import type { Awaitable, Cancellation, FileSystem } from "./file-system.ts";
import { NO_TAG } from "./flags.ts";
import type { P9Connection } from "./link.ts";
import type { LockTable } from "./locks.ts";
import { OPERATIONS } from "./operations.ts";

/** What a connection works with. */
export interface ConnectionOptions {
  readonly fileSystem: FileSystem;
  readonly readOnly: boolean;
  readonly maxFids: number;
  readonly maxMessage: number;
  readonly onError: (error: unknown) => void;
  readonly locks: LockTable;
  /** Tells connections of one server apart. */
  readonly id: number;
}

/** A request on its way: what an operation needs to know of it. */
export class Request {
  readonly connection: ServerConnection;
  readonly tag: number;
  readonly reply: (response: Uint8Array) => void;
  #source: CancellationSource | undefined;
  #flushed: (() => void)[] | undefined;
  #fids: Fid[] | undefined;
  #cancelled = false;

  constructor(connection: ServerConnection, tag: number, reply: (response: Uint8Array) => void) {
    this.connection = connection;
    this.tag = tag;
    this.reply = reply;
  }

  /** Made when it is asked for: most requests are over at once. */
  get cancellation(): Cancellation {
    if (this.#source === undefined) {
      this.#source = new CancellationSource();
      if (this.#cancelled) this.#source.cancel();
    }
    return this.#source;
  }

  /** The client's fid of that number, held until the request is over. */
  fid(number: number): Fid {
    const fid = this.connection.fids.get(number);
    fid.requests.add(this);
    this.#fids ??= [];
    this.#fids.push(fid);
    return fid;
  }

  /** An answer. */
  answer<Name extends P9MessageName>(name: Name, fields: P9Fields<Name>): Uint8Array {
    return encodeMessage(name, this.tag, fields);
  }

  cancel(): void {
    this.#cancelled = true;
    this.#source?.cancel();
  }

  /** Cancels it for a `Tflush`; `done` is called when it is over. */
  flush(done: () => void): void {
    this.#flushed ??= [];
    this.#flushed.push(done);
    this.cancel();
  }

  /** Whether somebody flushed it, so that an error needn't be told. */
  get wasFlushed(): boolean {
    return this.#flushed !== undefined;
  }

  /** Lets go of its fids, then answers those who flushed it. */
  end(): void {
    for (const fid of this.#fids ?? []) fid.leave(this);
    for (const done of this.#flushed ?? []) done();
  }
}

const VERSION = "9P2000.L";
const LEAST_MESSAGE = 4096;
/** Buffers that are kept for reads to come. */
const SPARES = 4;

/** The server's end of a link to one client: takes requests, gives answers, in any order. */
export class ServerConnection implements P9Connection {
  /** @internal */
  readonly options: ConnectionOptions;
  /** @internal */
  readonly fids: FidTable;
  readonly #pending = new Map<number, Request>();
  readonly #others = new Set<Request>();
  #messageSize = 0;
  #pendingBytes = 0;
  readonly #spares: ArrayBuffer[] = [];
  #ends: Set<Promise<void>> = new Set();
  #idle: (() => void)[] = [];

  /** @internal Use `P9Server.connect`. */
  constructor(options: ConnectionOptions) {
    if (options.maxMessage < LEAST_MESSAGE)
      throw new ParavirtError("OUT_OF_RANGE", `messages of ${options.maxMessage} bytes; at least ${LEAST_MESSAGE}`);
    this.options = options;
    this.fids = new FidTable(options.maxFids);
  }

  /** Bytes that a message may have, as agreed with the client; 0 before that. */
  get messageSize(): number {
    return this.#messageSize;
  }

  /** Bytes that requests which are not answered yet take. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Requests that are not answered yet. */
  get pending(): number {
    return this.#pending.size + this.#others.size;
  }

  /** Fids that the client holds. */
  get openFids(): number {
    return this.fids.size;
  }

  /**
   * Takes one whole message: its size field must be the length of `message`. `reply` gets the answer, at once or later,
   * or never when the client flushed it; the answer is the receiver's to keep, or to {@link ServerConnection.recycle}. Resolves, or returns, when `message` is
   * no longer needed. Nothing that a client sends makes it throw.
   */
  receive(message: Uint8Array, reply: (response: Uint8Array) => void): Awaitable<void> {
    const header = decodeHeader(message);
    if (header === undefined) return;
    const { tag } = header;
    const refuse = (errno: number): void => reply(encodeMessage("Rlerror", tag, { ecode: errno }));
    const decoded = decodeMessage(message);
    if (decoded === undefined) return refuse(isRequest(header.type) ? LINUX_ERRNO.EINVAL : LINUX_ERRNO.EOPNOTSUPP);
    if (decoded.name === "Tversion") return this.#version(decoded.fields, (response) => reply(response), tag);
    // A client that doesn't know how large messages may be can't ask for anything else.
    if (this.#messageSize === 0) return refuse(LINUX_ERRNO.EPROTO);
    if (message.length > this.#messageSize) return refuse(LINUX_ERRNO.EINVAL);
    if (decoded.name === "Tflush") return this.#flush(decoded.fields.oldtag, tag, reply);
    if (this.#pending.has(tag)) return refuse(LINUX_ERRNO.EINVAL);
    const request = new Request(this, tag, reply);
    let answer: Awaitable<Uint8Array>;
    try {
      answer = perform(request, decoded);
    } catch (error) {
      answer = this.#errorAnswer(request, error);
    }
    if (!isPromise(answer)) {
      request.end();
      reply(answer);
      return;
    }
    this.#pending.set(tag, request);
    // An answer to come takes room too.
    const wanted = decoded.name === "Tread" || decoded.name === "Treaddir" ? decoded.fields.count : 0;
    const bytes = message.length + Math.min(wanted, this.#messageSize);
    this.#pendingBytes += bytes;
    return this.#later(request, answer).finally(() => {
      this.#pendingBytes -= bytes;
    });
  }

  /** Takes back an answer that nobody looks at any more, so that large reads don't need fresh memory each time. */
  recycle(answer: Uint8Array): void {
    const { buffer } = answer;
    if (this.#spares.length < SPARES && buffer.byteLength === this.#messageSize && buffer instanceof ArrayBuffer)
      this.#spares.push(buffer);
  }

  /** @internal Memory for an answer; of one that is large there may be a spare, with old bytes of the same client in it. */
  buffer(size: number): Uint8Array {
    // What a request counts as is what it asked for, so that much less mustn't hold a whole one.
    if (size * 2 < this.#messageSize) return new Uint8Array(size);
    return new Uint8Array(this.#spares.pop() ?? new ArrayBuffer(this.#messageSize), 0, size);
  }

  /** Ends the connection: cancels what is pending, lets go of all files, and resolves when that is done. */
  async close(): Promise<void> {
    await this.#reset();
    this.#messageSize = 0;
  }

  /** @internal Ends a fid; what it takes to do so is waited for by {@link ServerConnection.close}. */
  endFid(fid: Fid): Awaitable<void> {
    for (const owner of fid.lockOwners)
      this.options.locks.release({ file: fid.node.qid.path, owner, start: 0n, length: 0n });
    const ended = fid.end(this.options.onError);
    if (isPromise(ended)) {
      this.#ends.add(ended);
      void ended.then(() => this.#ends.delete(ended));
    }
    return ended;
  }

  async #later(request: Request, answer: Promise<Uint8Array>): Promise<void> {
    let response: Uint8Array | undefined;
    try {
      response = await answer;
    } catch (error) {
      // Who flushed a request takes silence for "it was cancelled".
      response = request.wasFlushed ? undefined : this.#errorAnswer(request, error);
    }
    if (this.#pending.get(request.tag) === request) {
      this.#pending.delete(request.tag);
      if (response !== undefined) request.reply(response);
    } else this.#others.delete(request);
    request.end();
    if (this.pending === 0) for (const idle of this.#idle.splice(0)) idle();
  }

  #errorAnswer(request: Request, error: unknown): Uint8Array {
    let errno = linuxErrno(error);
    if (errno === undefined) {
      errno = LINUX_ERRNO.EIO;
      this.options.onError(error);
    }
    return request.answer("Rlerror", { ecode: errno });
  }

  #flush(oldTag: number, tag: number, reply: (response: Uint8Array) => void): void {
    const done = (): void => reply(encodeMessage("Rflush", tag, {}));
    const request = this.#pending.get(oldTag);
    // It was answered already, or never was: either way nothing more comes for that tag.
    if (request === undefined) done();
    else request.flush(done);
  }

  /** A new session: everything of the last one is over, and none of its answers come any more. */
  #version(
    { msize, version }: { readonly msize: number; readonly version: string },
    reply: (response: Uint8Array) => void,
    tag: number,
  ): Awaitable<void> {
    if (tag !== NO_TAG) return reply(encodeMessage("Rlerror", tag, { ecode: LINUX_ERRNO.EINVAL }));
    const begin = (): void => {
      const size = Math.min(msize, this.options.maxMessage);
      const known = version === VERSION && size >= LEAST_MESSAGE;
      this.#messageSize = known ? size : 0;
      reply(encodeMessage("Rversion", tag, { msize: size, version: known ? VERSION : "unknown" }));
    };
    this.#messageSize = 0;
    this.#spares.length = 0;
    if (this.pending === 0 && this.fids.size === 0 && this.#ends.size === 0) return begin();
    return this.#reset().then(begin);
  }

  async #reset(): Promise<void> {
    for (const [tag, request] of this.#pending) {
      this.#pending.delete(tag);
      this.#others.add(request);
      request.cancel();
    }
    for (const fid of this.fids.clear()) void this.endFid(fid);
    if (this.pending > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    // Operations that were cancelled too late may have made fids.
    for (const fid of this.fids.clear()) void this.endFid(fid);
    while (this.#ends.size > 0) await Promise.all(this.#ends);
  }
}

function isRequest(type: number): boolean {
  return type % 2 === 0 && decodableTypes.has(type);
}

const decodableTypes: ReadonlySet<number> = new Set(OPERATIONS.types);

function perform(request: Request, message: P9Message): Awaitable<Uint8Array> {
  const operation = OPERATIONS.byName.get(message.name);
  if (operation === undefined) throw new FileError("EOPNOTSUPP", message.name);
  return operation(request, message.fields);
}
