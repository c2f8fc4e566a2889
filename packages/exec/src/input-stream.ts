/** What may be a command's standard input. */
export type CommandInput = string | Uint8Array | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>;

/** A command's standard input: taken from its source only as fast as the guest reads. */
export class InputStream {
  private readonly source: AsyncIterator<Uint8Array>;
  private piece: Uint8Array = new Uint8Array(0);
  private ended = false;
  private pulling = false;
  private waiting: (() => void)[] = [];
  private readonly onFailure: (error: unknown) => void;
  /** Whether the next read marks the end of a piece: see {@link InputStream.take}. */
  private mark = false;

  /** `onFailure` hears that the source failed; the guest sees an end then. */
  constructor(input: CommandInput, onFailure: (error: unknown) => void) {
    this.source = iterate(input);
    this.onFailure = onFailure;
  }

  /**
   * Fills `into` as far as there are bytes, and answers how many; 0 is the end of file, `undefined` means wait.
   *
   * Linux's 9p client goes on reading until what the program asked for is full, or an answer has 0 bytes. So that a
   * program sees a short piece at once, an answer that isn't full is followed by one of 0 bytes, which ends that
   * program's read and isn't an end of file to it; and an answer is full only when more is there to follow.
   */
  take(into: Uint8Array): number | undefined {
    if (this.mark) {
      this.mark = false;
      return 0;
    }
    if (this.piece.length === 0) {
      if (this.ended) return 0;
      void this.pull();
      return undefined;
    }
    const isLast = this.piece.length === into.length && into.length > 1;
    const size = Math.min(into.length - (isLast ? 1 : 0), this.piece.length);
    into.set(this.piece.subarray(0, size));
    this.piece = this.piece.subarray(size);
    this.mark = size < into.length;
    return size;
  }

  /** Calls `then` when {@link InputStream.take} has something to say; answers how to stop waiting. */
  whenReady(then: () => void): () => void {
    this.waiting.push(then);
    return () => {
      this.waiting = this.waiting.filter((one) => one !== then);
    };
  }

  /** The command takes no more: whoever waits gets the end, and the source is told. */
  end(): void {
    if (this.ended) return;
    this.finish();
    this.piece = new Uint8Array(0);
    // A source that is in the middle of something answers when it does; nobody waits.
    this.source.return?.().catch(() => {});
  }

  private async pull(): Promise<void> {
    if (this.pulling) return;
    this.pulling = true;
    try {
      while (this.piece.length === 0 && !this.ended) {
        const { value, done } = await this.source.next();
        if (this.ended) return;
        if (done === true) this.finish();
        else this.piece = value;
      }
    } catch (error) {
      if (!this.ended) {
        this.finish();
        this.onFailure(error);
      }
    } finally {
      this.pulling = false;
    }
    this.wake();
  }

  private finish(): void {
    if (this.ended) return;
    this.ended = true;
    this.wake();
  }

  private wake(): void {
    for (const then of this.waiting.splice(0)) then();
  }
}

function iterate(input: CommandInput): AsyncIterator<Uint8Array> {
  if (typeof input === "string") return once(new TextEncoder().encode(input));
  if (input instanceof Uint8Array) return once(input);
  // Not every browser's streams can be iterated.
  if ("getReader" in input) return readAll(input);
  return input[Symbol.asyncIterator]();
}

async function* readAll(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel();
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}
