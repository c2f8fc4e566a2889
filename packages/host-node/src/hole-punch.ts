import { type ChildProcess, spawn } from "node:child_process";

/** `fallocate`'s number, by `process.arch`. */
const FALLOCATE: Readonly<Record<string, number>> = { x64: 285, arm64: 47 };

/**
 * Answers "offset length" lines with the errno of punching that hole in descriptor 3, keeping the file's size. When its
 * parent is gone it punches no more: as long as it lives it shares the file's lock, so nobody else is writing yet.
 */
const PERL_PUNCH = `
$| = 1;
my ($number, $parent) = @ARGV;
while (<STDIN>) {
  exit if getppid() != $parent;
  my ($offset, $length) = split;
  $! = 0;
  my $result = syscall($number, 3, 3, $offset + 0, $length + 0);
  print(($result == 0 ? 0 : $! + 0), "\\n");
}
`;

/** Makes holes in one open file. */
export interface HolePunch {
  /** Resolves with `false` when the file system can't do it. */
  punch(offset: number, length: number): Promise<boolean>;
  /** Ends the helper process. */
  close(): void;
}

/** Whether {@link createHolePunch} can work on this machine, given that perl is there. */
export const CAN_PUNCH: boolean = process.platform === "linux" && FALLOCATE[process.arch] !== undefined;

/** Punches holes in the open file `descriptor` through a helper process, since Node.js has no `fallocate`. */
export function createHolePunch(descriptor: number): HolePunch {
  const waiting: ((done: boolean) => void)[] = [];
  let helper: ChildProcess | undefined;
  let usable = true;
  let text = "";

  function fail(): void {
    usable = false;
    for (const answer of waiting.splice(0)) answer(false);
  }
  function start(): ChildProcess {
    const started = spawn("perl", ["-e", PERL_PUNCH, String(FALLOCATE[process.arch]), String(process.pid)], {
      stdio: ["pipe", "pipe", "ignore", descriptor],
    });
    started.on("error", fail);
    started.on("exit", fail);
    started.stdin!.on("error", fail);
    started.stdout!.setEncoding("latin1").on("data", (piece: string) => {
      text += piece;
      const lines = text.split("\n");
      text = lines.pop()!;
      for (const line of lines) waiting.shift()?.(line === "0");
      if (waiting.length === 0) rest(started, true);
    });
    rest(started, true);
    return started;
  }
  return {
    punch(offset, length) {
      if (!usable) return Promise.resolve(false);
      helper ??= start();
      rest(helper, false);
      return new Promise((resolve) => {
        waiting.push(resolve);
        helper!.stdin!.write(`${offset} ${length}\n`);
      });
    },
    close() {
      usable = false;
      helper?.stdin?.end();
    },
  };
}

/** Lets the helper keep this process alive only while an answer is due. */
function rest(helper: ChildProcess, idle: boolean): void {
  const pipe = helper.stdout as unknown as { ref(): void; unref(): void };
  const input = helper.stdin as unknown as { ref(): void; unref(): void };
  for (const handle of [helper, pipe, input]) idle ? handle.unref() : handle.ref();
}
