/** Bytes that wait for a reader before the guest does. */
const LIMIT = 256 * 1024;

/** One of a command's output streams: the guest's writes on one side, a web stream on the other. */
export class OutputStream {
  readonly readable: ReadableStream<Uint8Array>;
  private controller!: ReadableStreamDefaultController<Uint8Array>;
  private waiting: (() => void)[] = [];
  private over = false;
  /** Whether the reader went away, so that a write fails as one to a closed pipe does. */
  broken = false;

  constructor() {
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.controller = controller;
        },
        pull: () => this.resume(),
        cancel: () => {
          this.broken = true;
          this.finish();
        },
      },
      { highWaterMark: LIMIT, size: (chunk) => chunk?.byteLength ?? 0 },
    );
  }

  /** Takes bytes, which it keeps. */
  write(bytes: Uint8Array): void {
    if (!this.over && bytes.length > 0) this.controller.enqueue(bytes);
  }

  /** Whether the guest has to wait. */
  get full(): boolean {
    return !this.over && (this.controller.desiredSize ?? 1) <= 0;
  }

  /** Calls `then` once, when there is room; answers how to stop waiting. */
  whenRoom(then: () => void): () => void {
    this.waiting.push(then);
    return () => {
      this.waiting = this.waiting.filter((one) => one !== then);
    };
  }

  /** No more output. */
  end(): void {
    if (this.over) return;
    this.controller.close();
    this.finish();
  }

  /** What is still to be read is gone; readers get `reason`. */
  fail(reason: unknown): void {
    if (this.over) return;
    this.broken = true;
    this.controller.error(reason);
    this.finish();
  }

  private finish(): void {
    this.over = true;
    this.resume();
  }

  private resume(): void {
    for (const then of this.waiting.splice(0)) then();
  }
}
