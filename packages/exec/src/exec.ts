import { ParavirtError } from "@paravirt/core";
import type { FileSystem } from "@paravirt/p9";
import { createExecFiles } from "./exec-files.ts";
import type { CommandInput } from "./input-stream.ts";
import { requestScript, signalScript } from "./request-script.ts";
import { type ExecProcess, RunningCommand } from "./running-command.ts";
import { WorkQueue } from "./work-queue.ts";

/** How a command is run. */
export interface ExecOptions {
  /** Its standard input; it reads an end of file when left out. */
  readonly stdin?: CommandInput;
  /** Variables on top of PATH, HOME and TERM. */
  readonly env?: Readonly<Record<string, string>>;
  /** The folder where it starts, `/root` when left out. One that isn't there ends it with status 126. */
  readonly cwd?: string;
  /** Kills it, and what it started, when aborted; its streams and its status reject with the reason then. */
  readonly signal?: AbortSignal;
}

/** Settings of {@link createExec}. */
export interface ExecSettings {
  /** Commands that run at once at most, 64 when left out; more wait for their turn. */
  readonly limit?: number;
}

/** Runs commands in one guest. */
export interface Exec {
  /** The files through which the guest's agent gets its work: to be shared with it as {@link EXEC_TAG}. */
  readonly files: FileSystem;
  /** Resolves when the guest's agent is there. Commands may be run before; they wait for it. */
  readonly ready: Promise<void>;
  /**
   * Runs a program with arguments, which arrive byte for byte. Resolves when it runs, at the latest when it has ended: a
   * program that isn't there ends with status 127. Rejects with `BAD_ARGUMENT` for an impossible word or variable, with
   * the signal's reason, and with `UNAVAILABLE` when the guest has ended.
   */
  run(argv: readonly (string | Uint8Array)[], options?: ExecOptions): Promise<ExecProcess>;
  /** Asks the guest's init, the generated one or systemd, to end everything, unmount and power off. */
  powerOff(): void;
  /** To be called when the guest has ended: everything that runs or waits rejects. */
  close(): void;
}

const DEFAULT_LIMIT = 64;
const POWER_OFF = new TextEncoder().encode(
  "if [ -d /run/systemd/system ]; then systemctl poweroff --no-block; else kill -USR2 1; fi\n:\n",
);

/** Makes the host's side for one guest, whose initramfs has an `agentArchive` and starts in agent mode. */
export function createExec(settings: ExecSettings = {}): Exec {
  return new ExecHost(settings);
}

class ExecHost implements Exec {
  readonly files: FileSystem;
  readonly ready: Promise<void>;
  private readonly queue: WorkQueue;
  private readonly commands = new Map<number, RunningCommand>();
  private last = 0;
  private closed = false;
  private ending = false;

  constructor({ limit = DEFAULT_LIMIT }: ExecSettings) {
    if (!Number.isInteger(limit) || limit < 1)
      throw new ParavirtError("OUT_OF_RANGE", `${limit} commands at once; 1 or more are possible`);
    this.queue = new WorkQueue(limit);
    this.ready = this.queue.ready;
    this.files = createExecFiles(this.queue, this.commands);
  }

  async run(argv: readonly (string | Uint8Array)[], options: ExecOptions = {}): Promise<ExecProcess> {
    const { stdin, env, cwd, signal } = options;
    signal?.throwIfAborted();
    if (this.closed) throw gone();
    if (argv.length === 0) throw new ParavirtError("BAD_ARGUMENT", "a command of 0 words, needs 1");
    const id = ++this.last;
    const script = requestScript({
      id,
      argv,
      hasInput: stdin !== undefined,
      ...(env === undefined ? {} : { env }),
      ...(cwd === undefined ? {} : { cwd }),
    });
    const job = { script, isCommand: true };
    const abort = (): void => {
      command.abort(signal!.reason);
      // What no worker has seen yet needs no end.
      if (this.queue.withdraw(job)) this.forget(id);
    };
    const command = new RunningCommand(
      {
        signal: (pid, name) => this.queue.add({ script: signalScript(pid, name), isCommand: false }),
        lost: () => (this.ending ? gone() : lost()),
        over: () => {
          signal?.removeEventListener("abort", abort);
          this.queue.done();
          this.forget(id);
        },
      },
      stdin,
    );
    this.commands.set(id, command);
    signal?.addEventListener("abort", abort, { once: true });
    this.queue.add(job);
    await command.started;
    return command;
  }

  powerOff(): void {
    // What the guest's init kills from now on was not lost.
    this.ending = true;
    this.queue.add({ script: POWER_OFF, isCommand: false });
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const command of this.commands.values()) command.lose(gone());
    this.commands.clear();
  }

  private forget(id: number): void {
    this.commands.delete(id);
  }
}

function gone(): ParavirtError {
  return new ParavirtError("UNAVAILABLE", "the guest has ended");
}

function lost(): ParavirtError {
  return new ParavirtError("IO", "the guest lost a command: its shell ended without a status");
}
