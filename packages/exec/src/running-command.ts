import { ParavirtError } from "@paravirt/core";
import { type CommandInput, InputStream } from "./input-stream.ts";
import { OutputStream } from "./output-stream.ts";

/** What a command that ended left, collected. */
export interface CommandOutput {
  /** Its exit status: 0 to 255, 128 and the signal's number when one killed it. */
  readonly status: number;
  /** Its standard output, as UTF-8. */
  readonly stdout: string;
  /** Its standard error, as UTF-8. */
  readonly stderr: string;
}

/** A command that runs in a guest, or ran. */
export interface ExecProcess {
  /** Its process id in the guest, which is also that of its session and process group. */
  readonly pid: number;
  /**
   * Its standard output, which ends when the command and all that it left running have closed it. Some 256 KiB wait for a
   * reader, then the command does: read both streams. Cancelling it is what closing a pipe's end is: SIGPIPE at the next
   * write.
   */
  readonly stdout: ReadableStream<Uint8Array>;
  /** Its standard error, likewise. */
  readonly stderr: ReadableStream<Uint8Array>;
  /**
   * Its exit status: 0 to 255, 128 and the signal's number when one killed it. Rejects with the reason when the signal of
   * its options was aborted, and with `UNAVAILABLE` when the guest ended first.
   */
  readonly status: Promise<number>;
  /** Sends a signal by its name, `TERM` say, to the command and to what it started; harmless when they are gone. */
  kill(signal?: string): void;
  /** Reads both streams to their ends, and waits for the status. */
  output(): Promise<CommandOutput>;
}

/** The files that the guest writes. */
export type OutputName = "out" | "err" | "events";

/** Longest line among a command's events; more is nothing that the agent wrote. */
const LINE_LIMIT = 32;

/** What {@link RunningCommand} asks of whoever made it. */
export interface CommandHost {
  /** Has a worker in the guest send a signal. */
  signal(pid: number, name: string): void;
  /** Why a command's events end without a status. */
  lost(): ParavirtError;
  /** The command and its streams are over, and its files may go. */
  over(): void;
}

/** The host's half of one command: what its four files in the guest lead to. */
export class RunningCommand implements ExecProcess {
  readonly status: Promise<number>;
  /** Resolves when it runs. */
  readonly started: Promise<void>;
  readonly out: OutputStream = new OutputStream();
  readonly err: OutputStream = new OutputStream();
  readonly input: InputStream | undefined;
  private processId: number | undefined;
  private ended = false;
  private readonly host: CommandHost;
  private line = "";
  private reason: { readonly reason: unknown } | undefined;
  private pendingSignal: string | undefined;
  /** How often the guest has each file open; none is over before it was open once. */
  private readonly opens = { out: 0, err: 0, events: 0 };
  private readonly left: Set<OutputName> = new Set(["out", "err", "events"]);
  private settleStart!: { resolve: () => void; reject: (reason: unknown) => void };
  private settleStatus!: { resolve: (status: number) => void; reject: (reason: unknown) => void };

  constructor(host: CommandHost, input: CommandInput | undefined) {
    this.host = host;
    this.started = new Promise((resolve, reject) => {
      this.settleStart = { resolve, reject };
    });
    this.status = new Promise((resolve, reject) => {
      this.settleStatus = { resolve, reject };
    });
    // Nobody has to look at either.
    this.started.catch(() => {});
    this.status.catch(() => {});
    this.input = input === undefined ? undefined : new InputStream(input, (error) => this.abort(error));
  }

  get pid(): number {
    return this.processId ?? 0;
  }

  get stdout(): ReadableStream<Uint8Array> {
    return this.out.readable;
  }

  get stderr(): ReadableStream<Uint8Array> {
    return this.err.readable;
  }

  kill(signal = "TERM"): void {
    if (!/^[A-Z][A-Z0-9+-]{1,9}$/.test(signal)) throw new ParavirtError("BAD_ARGUMENT", `"${signal}" is no signal`);
    if (this.ended) return;
    if (this.processId === undefined) this.pendingSignal ??= signal;
    else this.host.signal(this.processId, signal);
  }

  async output(): Promise<CommandOutput> {
    const [status, stdout, stderr] = await Promise.all([this.status, text(this.stdout), text(this.stderr)]);
    return { status, stdout, stderr };
  }

  /** Ends it because its caller wants that, or its input failed: everything rejects with `reason`, the guest's side dies. */
  abort(reason: unknown): void {
    if (this.reason !== undefined || this.ended) return;
    this.reason = { reason };
    this.pendingSignal = undefined;
    this.kill("KILL");
    this.input?.end();
    this.out.fail(reason);
    this.err.fail(reason);
    this.settleStart.reject(reason);
    this.settleStatus.reject(reason);
  }

  /** The guest is gone, or lost the command. */
  lose(error: ParavirtError): void {
    this.ended = true;
    this.reason ??= { reason: error };
    this.input?.end();
    this.out.fail(error);
    this.err.fail(error);
    this.settleStart.reject(error);
    this.settleStatus.reject(error);
  }

  /** What the guest writes to the command's `events`. */
  event(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (byte !== 0x0a) {
        if (this.line.length < LINE_LIMIT) this.line += String.fromCharCode(byte);
        continue;
      }
      const [, letter, digits] = /^([px])([0-9]{1,10})$/.exec(this.line) ?? [];
      this.line = "";
      if (letter === "p") this.onStart(Number(digits));
      else if (letter === "x") this.onExit(Number(digits) & 0xff);
    }
  }

  /** The guest has opened one of the files. */
  opened(name: OutputName): void {
    this.opens[name]++;
  }

  /** The guest has closed one of the files once; the last time says that nothing more comes. */
  closed(name: OutputName): void {
    if (--this.opens[name] > 0 || !this.left.delete(name)) return;
    if (name === "events" && !this.ended) this.lose(this.host.lost());
    if (name === "out") this.out.end();
    else if (name === "err") this.err.end();
    if (this.left.size === 0) this.host.over();
  }

  private onStart(pid: number): void {
    if (this.processId !== undefined || pid < 2) return;
    this.processId = pid;
    if (this.reason !== undefined) this.kill("KILL");
    else if (this.pendingSignal !== undefined) this.kill(this.pendingSignal);
    this.settleStart.resolve();
  }

  private onExit(status: number): void {
    if (this.ended) return;
    this.ended = true;
    this.input?.end();
    this.settleStart.resolve();
    this.settleStatus.resolve(status);
  }
}

async function text(stream: ReadableStream<Uint8Array>): Promise<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let all = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return all + decoder.decode();
    all += decoder.decode(value, { stream: true });
  }
}
