import { type Disk, isParavirtError } from "@paravirt/core";
import { BLKIF_RSP } from "@paravirt/xen-abi";

/** One thing to do to a disk. Sectors have 512 bytes. */
export interface BlockJob {
  /** `flush` makes earlier writes durable, then writes its data; a `barrier` lets nothing pass it either way. */
  readonly kind: "read" | "write" | "flush" | "barrier" | "discard";
  readonly sector: number;
  readonly count: number;
  /** The data: `count` sectors in all; empty for a discard. They must stay valid until `done`. */
  readonly buffers: readonly Uint8Array[];
  /** Called once with a `BLKIF_RSP` when it is over; at once when the disk answers at once. */
  done(status: number): void;
}

/** Bytes that one call of a disk moves at most: enough to make calls rare, and little enough to be a short turn. */
const MAX_CALL_SECTORS = 8192;

/** Executes jobs on a disk: checks them, joins neighbours into one call, and keeps the order that barriers ask for. */
export interface BlockExecutor {
  /** The disk; `undefined`: there is no medium, and everything fails. */
  readonly disk: Disk | undefined;
  /** Starts `jobs` in this order. None of them waits for another, unless a barrier stands between them. */
  run(jobs: readonly BlockJob[]): void;
  /** Jobs that aren't over. */
  readonly pending: number;
  /** Resolves when no job is pending. */
  idle(): Promise<void>;
}

/** Makes an executor for `disk`. */
export function createBlockExecutor(disk: Disk | undefined): BlockExecutor {
  return new Executor(disk);
}

/** The status that tells a guest of a disk's failure. */
export function blockStatus(error: unknown): number {
  return isParavirtError(error) && error.code === "UNSUPPORTED" ? BLKIF_RSP.EOPNOTSUPP : BLKIF_RSP.ERROR;
}

class Executor implements BlockExecutor {
  readonly disk: Disk | undefined;
  /** Jobs that the disk has. */
  #running = 0;
  /** Jobs behind a barrier, the barrier first. */
  #waiting: BlockJob[] = [];
  #barrier = false;
  #idlers: (() => void)[] = [];

  constructor(disk: Disk | undefined) {
    this.disk = disk;
  }

  get pending(): number {
    return this.#running + this.#waiting.length;
  }

  idle(): Promise<void> {
    if (this.pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idlers.push(resolve));
  }

  run(jobs: readonly BlockJob[]): void {
    if (this.#waiting.length > 0 || this.#barrier) {
      for (const job of jobs) this.#waiting.push(job);
      return;
    }
    this.#start(jobs);
  }

  #start(jobs: readonly BlockJob[]): void {
    for (let at = 0; at < jobs.length; ) {
      const job = jobs[at]!;
      // One that is refused keeps nothing in order.
      if (job.kind === "barrier" && this.#refusal(job) === undefined) {
        this.#waiting = jobs.slice(at);
        this.#advance();
        return;
      }
      const end = this.#endOfRun(jobs, at);
      this.#running += end - at;
      if (end === at + 1) this.#single(job);
      else this.#merged(jobs.slice(at, end));
      at = end;
    }
  }

  /** The end of the neighbours that one call can do: same direction, one after the other on the disk, each valid. */
  #endOfRun(jobs: readonly BlockJob[], at: number): number {
    const first = jobs[at]!;
    let end = at + 1;
    if ((first.kind !== "read" && first.kind !== "write") || this.#refusal(first) !== undefined) return end;
    let total = first.count;
    for (; end < jobs.length; end++) {
      const next = jobs[end]!;
      total += next.count;
      if (next.kind !== first.kind || next.sector !== first.sector + total - next.count) break;
      if (total > MAX_CALL_SECTORS || this.#refusal(next) !== undefined) break;
    }
    return end;
  }

  /** Why a job can't be tried: a status, or `undefined`. */
  #refusal(job: BlockJob): number | undefined {
    const { disk } = this;
    if (disk === undefined) return BLKIF_RSP.ERROR;
    const { kind, sector, count } = job;
    if (kind === "discard" && disk.discard === undefined) return BLKIF_RSP.EOPNOTSUPP;
    if (count === 0) return kind === "flush" || kind === "barrier" ? undefined : BLKIF_RSP.ERROR;
    if (kind !== "read" && disk.readOnly) return BLKIF_RSP.ERROR;
    if (!(count <= disk.sectors) || !(sector <= disk.sectors - count)) return BLKIF_RSP.ERROR;
    const unit = (disk.sectorSize ?? 512) / 512;
    if (sector % unit !== 0 || count % unit !== 0) return BLKIF_RSP.ERROR;
    return undefined;
  }

  #single(job: BlockJob): void {
    const refused = this.#refusal(job);
    if (refused !== undefined) {
      this.#finish(job, refused);
      return;
    }
    settle(
      () => perform(this.disk!, job),
      () => this.#finish(job, BLKIF_RSP.OKAY),
      (error) => this.#finish(job, blockStatus(error)),
    );
  }

  #merged(jobs: readonly BlockJob[]): void {
    const { kind, sector } = jobs[0]!;
    const disk = this.disk!;
    const buffers = joinNeighbours(jobs.flatMap((job) => job.buffers));
    settle(
      () => (kind === "read" ? disk.read(sector, buffers) : disk.write(sector, buffers)),
      () => {
        for (const job of jobs) this.#finish(job, BLKIF_RSP.OKAY);
      },
      // One bad sector must not fail what has nothing to do with it.
      () => {
        for (const job of jobs) this.#single(job);
      },
    );
  }

  #finish(job: BlockJob, status: number): void {
    this.#running--;
    job.done(status);
    if (this.#waiting.length > 0 && !this.#barrier) this.#advance();
    if (this.pending === 0) for (const resolve of this.#idlers.splice(0)) resolve();
  }

  /** Runs the barrier at the head once everything before it is over, and then what waits behind it. */
  #advance(): void {
    if (this.#running > 0 || this.#barrier) return;
    const barrier = this.#waiting[0]!;
    this.#barrier = true;
    const over = (status: number): void => {
      this.#barrier = false;
      const behind = this.#waiting.slice(1);
      this.#waiting = [];
      this.#running++;
      // What waits is started by now or not yet known, so a job that `done` submits comes after it.
      this.#start(behind);
      this.#finish(barrier, status);
    };
    const refused = this.#refusal(barrier);
    if (refused !== undefined) {
      over(refused);
      return;
    }
    settle(
      () => this.#performBarrier(this.disk!, barrier),
      () => over(BLKIF_RSP.OKAY),
      (error) => over(blockStatus(error)),
    );
  }

  async #performBarrier(disk: Disk, job: BlockJob): Promise<void> {
    await disk.flush();
    if (job.count === 0) return;
    await disk.write(job.sector, joinNeighbours(job.buffers));
    await disk.flush();
  }
}

function perform(disk: Disk, job: BlockJob): void | Promise<void> {
  const { sector } = job;
  switch (job.kind) {
    case "read":
      return disk.read(sector, joinNeighbours(job.buffers));
    case "write":
      return disk.write(sector, joinNeighbours(job.buffers));
    case "discard":
      return disk.discard!(sector, job.count);
    default: {
      const flushed = disk.flush();
      if (job.count === 0) return flushed;
      const write = (): void | Promise<void> => disk.write(sector, joinNeighbours(job.buffers));
      return flushed instanceof Promise ? flushed.then(write) : write();
    }
  }
}

/** Calls `work`, which may answer at once, later, or throw. */
function settle(work: () => void | Promise<void>, done: () => void, failed: (error: unknown) => void): void {
  let answer: void | Promise<void>;
  try {
    answer = work();
  } catch (error) {
    failed(error);
    return;
  }
  if (answer === undefined) done();
  else answer.then(done, failed);
}

/** The same bytes in fewer buffers: pages that lie side by side in memory become one. */
export function joinNeighbours(buffers: readonly Uint8Array[]): readonly Uint8Array[] {
  if (buffers.length < 2) return buffers;
  const joined: Uint8Array[] = [];
  let start = buffers[0]!;
  let length = start.length;
  for (let at = 1; at < buffers.length; at++) {
    const next = buffers[at]!;
    if (next.buffer === start.buffer && next.byteOffset === start.byteOffset + length) {
      length += next.length;
      continue;
    }
    joined.push(length === start.length ? start : new Uint8Array(start.buffer, start.byteOffset, length));
    start = next;
    length = start.length;
  }
  joined.push(length === start.length ? start : new Uint8Array(start.buffer, start.byteOffset, length));
  return joined;
}
