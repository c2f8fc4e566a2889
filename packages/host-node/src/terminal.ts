import type { ReadStream, WriteStream } from "node:tty";

/** The key that leaves a guest's console: Ctrl-], as telnet and xl console have it. */
export const LEAVE_KEY = 0x1d;

/** What {@link openTerminal} needs. */
export interface TerminalOptions {
  /** Where keys come from; `process.stdin` when left out. */
  readonly input?: ReadStream;
  /** Whose size counts; `process.stdout` when left out. */
  readonly output?: WriteStream;
  /** Hears what was typed, byte for byte, but for Ctrl-] and what follows it in the same read. */
  onInput(bytes: Uint8Array): void;
  /** Ctrl-] was typed, or the terminal went away. */
  onLeave(): void;
  /** The terminal has a new size. */
  onResize?(columns: number, rows: number): void;
}

/** A terminal in raw mode. */
export interface Terminal {
  /** Size in characters. */
  readonly columns: number;
  /** Height in characters. */
  readonly rows: number;
  /** Puts the terminal back as it was. May be called again; happens by itself when the process ends. */
  close(): void;
  /** Closes the terminal too. */
  [Symbol.dispose](): void;
}

/** Puts a terminal into raw mode, so that every key goes to the guest, and puts it back at the end. */
export function openTerminal(options: TerminalOptions): Terminal {
  const input = options.input ?? process.stdin;
  const output = options.output ?? process.stdout;
  const wasRaw = input.isRaw;
  let closed = false;
  const onData = (bytes: Buffer | string): void => {
    const data = typeof bytes === "string" ? Buffer.from(bytes) : bytes;
    const leave = data.indexOf(LEAVE_KEY);
    if (leave !== 0) options.onInput(leave < 0 ? data : data.subarray(0, leave));
    if (leave >= 0) options.onLeave();
  };
  const onEnd = (): void => options.onLeave();
  const onResize = (): void => options.onResize?.(output.columns, output.rows);
  const close = (): void => {
    if (closed) return;
    closed = true;
    input.off("data", onData);
    input.off("end", onEnd);
    output.off("resize", onResize);
    process.off("exit", close);
    for (const signal of FATAL) process.off(signal, onSignal);
    input.setRawMode(wasRaw);
    input.pause();
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    close();
    // With our handler gone the signal does what it always does.
    process.kill(process.pid, signal);
  };
  input.setRawMode(true);
  input.on("data", onData);
  input.on("end", onEnd);
  output.on("resize", onResize);
  process.on("exit", close);
  for (const signal of FATAL) process.on(signal, onSignal);
  input.resume();
  return {
    get columns() {
      return output.columns ?? 80;
    },
    get rows() {
      return output.rows ?? 24;
    },
    close,
    [Symbol.dispose]: close,
  };
}

const FATAL: readonly NodeJS.Signals[] = ["SIGTERM", "SIGHUP", "SIGINT"];
