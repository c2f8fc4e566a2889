import type { Console } from "@paravirt/console";

/** Bytes of output kept for a reader that is slow; then the guest waits, as it does on Xen. */
const OUTPUT_LIMIT = 256 * 1024;

/** A guest's console as web streams. */
export interface ConsoleStreams {
  /** What the guest prints, as it prints it. At most 256 KiB wait for a reader; then the ring stays full and the guest waits. */
  readonly readable: ReadableStream<Uint8Array>;
  /** Input for the guest; a write ends when the guest's ring has taken all of it. */
  readonly writable: WritableStream<Uint8Array>;
}

/** Joins a console backend, made later, with web streams. */
export class StreamConsole implements ConsoleStreams {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  private backend: Console | undefined;
  private controller!: ReadableStreamDefaultController<Uint8Array>;
  private ended = false;

  /** `kick` tells the machine that the backend did something the guest may wait for. */
  constructor(kick: () => void) {
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.controller = controller;
        },
        pull: () => {
          this.backend?.resume();
          kick();
        },
        cancel: () => {
          // Nobody reads any more: the guest must not wait for it.
          this.ended = true;
          this.backend?.resume();
          kick();
        },
      },
      { highWaterMark: OUTPUT_LIMIT, size: (chunk) => chunk?.byteLength ?? 0 },
    );
    this.writable = new WritableStream<Uint8Array>({
      write: async (chunk) => {
        const done = this.backend?.write(chunk);
        kick();
        await done;
      },
    });
  }

  /** Gives the streams their backend. */
  attach(backend: Console): void {
    this.backend = backend;
  }

  /** The backend's receiver of output. */
  output(bytes: Uint8Array): void {
    if (this.ended) return;
    this.controller.enqueue(bytes);
    if ((this.controller.desiredSize ?? 0) <= 0) this.backend?.hold();
  }

  /** Hands on what is left and ends the output. */
  close(): void {
    this.backend?.close();
    if (this.ended) return;
    this.ended = true;
    this.controller.close();
  }
}
