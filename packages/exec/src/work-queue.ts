import { concat, END_WORKER, START_WORKER } from "./request-script.ts";

/** A script for a worker in the guest. */
export interface Job {
  /** What it reads. */
  readonly script: Uint8Array;
  /** Whether it keeps the worker for as long as it likes; other jobs are over at once. */
  readonly isCommand: boolean;
}

/** A worker that waits for a script. */
export interface Worker {
  /** Whether it may be sent away. */
  readonly isExtra: boolean;
  /** Gives it a script. `job` is what it is about; nothing when it only ends. */
  give(script: Uint8Array, job: Job | undefined): void;
}

/** Workers that may wait for work at once; more are sent away. */
const IDLE_LIMIT = 4;

/** Brings jobs and workers together, and sees to it that there are enough workers. */
export class WorkQueue {
  private readonly limit: number;
  private readonly jobs: Job[] = [];
  private readonly idle: Worker[] = [];
  private running = 0;
  private onReady!: () => void;
  /** Resolves when the first worker waits. */
  readonly ready: Promise<void> = new Promise((resolve) => {
    this.onReady = resolve;
  });

  /** At most `limit` commands run at once. */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** Adds a job; what is over at once goes first. */
  add(job: Job): void {
    if (job.isCommand) this.jobs.push(job);
    else this.jobs.unshift(job);
    this.match();
  }

  /** A job that a worker lost before it saw all of it comes again. */
  again(job: Job): void {
    if (job.isCommand) this.running--;
    this.jobs.unshift(job);
    this.match();
  }

  /** Takes a job back; answers whether no worker had it. */
  withdraw(job: Job): boolean {
    const at = this.jobs.indexOf(job);
    if (at >= 0) this.jobs.splice(at, 1);
    return at >= 0;
  }

  /** A command is over. */
  done(): void {
    this.running--;
    this.match();
  }

  /** A worker waits for work. */
  wait(worker: Worker): void {
    this.onReady();
    if (worker.isExtra && this.idle.length >= IDLE_LIMIT) {
      worker.give(END_WORKER, undefined);
      return;
    }
    this.idle.push(worker);
    this.match();
  }

  /** A worker doesn't wait any more. */
  leave(worker: Worker): void {
    const at = this.idle.indexOf(worker);
    if (at >= 0) this.idle.splice(at, 1);
  }

  private match(): void {
    while (this.idle.length > 0) {
      const job = this.jobs[0];
      if (job === undefined || (job.isCommand && this.running >= this.limit)) return;
      this.jobs.shift();
      // Whoever takes the last worker's place sees to it that signals still find one.
      const isLast = this.idle.length === 1 && job.isCommand;
      if (job.isCommand) this.running++;
      this.idle.shift()!.give(isLast ? concat([START_WORKER, job.script]) : job.script, job);
    }
  }
}
