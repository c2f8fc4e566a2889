import { type ChildProcess, spawn } from "node:child_process";

// Real processes on the built packages: `npm test` builds them first.
const CLI = new URL("../bin/paravirt.js", import.meta.url).pathname;

/** A `paravirt xenstored` that listens. */
export interface RunningXenstored {
  readonly process: ChildProcess;
  /** What it wrote to standard error so far. */
  readonly errors: () => string;
  /** Sends a signal and answers the exit status, or the signal that ended it. */
  end(signal: NodeJS.Signals): Promise<number | string>;
}

/** Starts `paravirt xenstored` and waits until it listens. Rejects with its error message when it ends first. */
export function startXenstored(args: readonly string[]): Promise<RunningXenstored> {
  const child = spawn(process.execPath, [CLI, "xenstored", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (text) => {
    errors += text;
  });
  const ended = new Promise<number | string>((resolve) => {
    child.on("close", (status, signal) => resolve(status ?? signal ?? "lost"));
  });
  return new Promise((resolve, reject) => {
    void ended.then((status) => reject(new Error(`status ${status}: ${errors}`)));
    child.stdout.once("data", () =>
      resolve({
        process: child,
        errors: () => errors,
        end(signal) {
          child.kill(signal);
          return ended;
        },
      }),
    );
  });
}
