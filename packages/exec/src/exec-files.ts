import {
  type Cancellation,
  FILE_TYPE,
  type FileAttributes,
  FileError,
  type FileHandle,
  type FileNode,
  type FileSystem,
  waitFor,
} from "@paravirt/p9";
import { NEXT } from "./agent-script.ts";
import { FILES, type FileName } from "./request-script.ts";
import type { RunningCommand } from "./running-command.ts";
import type { Job, WorkQueue } from "./work-queue.ts";

const BLOCK = 65536;
/** Numbers of the fixed files; commands' folders and files follow. */
const PATHS = { root: 1n, first: 2n, more: 3n };

/** The files of one guest: `next` and `more`, where workers wait, and a folder with four files for each command. */
export function createExecFiles(queue: WorkQueue, commands: ReadonlyMap<number, RunningCommand>): FileSystem {
  const worker = (path: bigint, isExtra: boolean): FileNode =>
    file(path, 0o400, () => new WorkerHandle(queue, isExtra));
  return {
    root: () =>
      folder(PATHS.root, (name) => {
        if (name === NEXT.first) return worker(PATHS.first, false);
        if (name === NEXT.more) return worker(PATHS.more, true);
        const id = /^[1-9][0-9]{0,14}$/.test(name) ? Number(name) : 0;
        const command = commands.get(id);
        return command === undefined ? undefined : commandFolder(BigInt(id) * 8n, command);
      }),
  };
}

function commandFolder(path: bigint, command: RunningCommand): FileNode {
  return folder(path, (name) => {
    const at = FILES.indexOf(name as FileName);
    if (at < 0) return undefined;
    const isInput = name === "in";
    const open = (): FileHandle => (isInput ? inputHandle(command) : outputHandle(command, name as "out"));
    return file(path + BigInt(at + 1), isInput ? 0o400 : 0o200, open);
  });
}

function folder(path: bigint, find: (name: string) => FileNode | undefined): FileNode {
  return {
    qid: { type: 0x80, version: 0, path },
    attributes: () => attributes(FILE_TYPE.directory | 0o500),
    // Nothing in the guest needs to see what there is.
    open: () => ({ list: () => [], close: () => {} }),
    lookup(name) {
      const found = find(name);
      if (found === undefined) throw new FileError("ENOENT", name);
      return found;
    },
    release() {},
  };
}

function file(path: bigint, mode: number, open: () => FileHandle): FileNode {
  return {
    qid: { type: 0, version: 0, path },
    attributes: () => attributes(FILE_TYPE.regular | mode),
    open,
    // A file opened to be written anew is truncated first.
    setAttributes() {},
    release() {},
  };
}

function attributes(mode: number): FileAttributes {
  const [accessed, modified, changed] = [0n, 0n, 0n];
  return {
    mode,
    uid: 0,
    gid: 0,
    links: 1,
    device: 0,
    size: 0,
    blockSize: BLOCK,
    blocks: 0,
    accessed,
    modified,
    changed,
  };
}

/** An open `next` or `more`: its first read waits for a script, and then it is a file with that. */
class WorkerHandle implements FileHandle {
  readonly isExtra: boolean;
  private readonly queue: WorkQueue;
  private script: Uint8Array | undefined;
  private job: Job | undefined;
  private seen = 0;
  private onScript: (() => void) | undefined;

  constructor(queue: WorkQueue, isExtra: boolean) {
    this.queue = queue;
    this.isExtra = isExtra;
  }

  give(script: Uint8Array, job: Job | undefined): void {
    this.script = script;
    this.job = job;
    this.onScript?.();
  }

  async read(offset: number, into: Uint8Array, cancellation: Cancellation): Promise<number> {
    if (this.script === undefined) {
      // A second read beside the one that waits isn't a worker's.
      if (this.onScript !== undefined) throw new FileError("EBUSY");
      await waitFor<void>(cancellation, (resolve) => {
        this.onScript = resolve;
        this.queue.wait(this);
        return () => {
          this.onScript = undefined;
          this.queue.leave(this);
        };
      });
    }
    const piece = this.script!.subarray(offset, offset + into.length);
    into.set(piece);
    this.seen = Math.max(this.seen, offset + piece.length);
    return piece.length;
  }

  close(): void {
    this.queue.leave(this);
    if (this.job !== undefined && this.seen < this.script!.length) this.queue.again(this.job);
  }
}

function inputHandle({ input }: RunningCommand): FileHandle {
  return {
    async read(_offset, into, cancellation) {
      for (;;) {
        const size = input === undefined ? 0 : input.take(into);
        if (size !== undefined) return size;
        await waitFor<void>(cancellation, (resolve) => input!.whenReady(resolve));
      }
    },
    close() {},
  };
}

function outputHandle(command: RunningCommand, name: "out" | "err" | "events"): FileHandle {
  command.opened(name);
  return {
    async write(_offset, from, cancellation) {
      if (name === "events") {
        command.event(from);
        return from.length;
      }
      const stream = command[name];
      if (stream.broken) throw new FileError("EPIPE");
      stream.write(from.slice());
      // The bytes are taken, whatever becomes of the waiting.
      if (stream.full) await waitFor<void>(cancellation, (resolve) => stream.whenRoom(resolve)).catch(() => {});
      return from.length;
    },
    close: () => command.closed(name),
  };
}
