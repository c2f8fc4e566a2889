import { spawnSync } from "node:child_process";
import { ParavirtError } from "@paravirt/core";

/**
 * Node.js can't lock files. But a lock on an open file (`fcntl` F_OFD_SETLK, `flock`) belongs to whoever has it open, so
 * a short-lived child that inherits our descriptor takes it for us; it stays until we close the file or die.
 *
 * On Linux the bytes are those that QEMU locks (block/file-posix.c: 100 + n says "I do n", 200 + n "nobody else may do n";
 * n is 0 for reading, 1 for writing, 3 for resizing), so its programs and ours keep each other out. Exit status 1: taken.
 */
const PERL_LOCK = `
my ($writes) = @ARGV;
open(my $file, $writes ? "+<&=" : "<&=", 3) or exit 3;
if ($^O ne "linux") { exit(flock($file, ($writes ? 2 : 1) | 4) ? 0 : 1) }
sub request { pack("s s x![q] q q i x![q]", $_[0], 0, $_[1], 1, 0) }
for my $byte ($writes ? (100, 101, 103, 201, 203) : (100, 201, 203)) {
  fcntl($file, 37, request(0, $byte)) or exit 4;
}
for my $byte ($writes ? (101, 103, 200, 201, 203) : (101, 103, 200)) {
  my $asked = request(1, $byte);
  fcntl($file, 36, $asked) or exit 4;
  exit 1 if unpack("s", $asked) != 2;
}
`;

/** A program that was killed keeps its files for a moment, while the kernel ends it and its helper. */
const ATTEMPTS = 4;
const PAUSE = 25;

/** Which program took the lock. `perl` can also punch holes. */
export type Locker = "perl" | "flock";

/**
 * Locks the open file `descriptor` for as long as it is open: against everybody else for a writer, against writers
 * for a reader. Throws `BUSY` when somebody has it, `UNAVAILABLE` when it can't be locked here.
 */
export function lockFile(path: string, descriptor: number, readOnly: boolean): Locker {
  for (let attempt = 1; ; attempt++) {
    const locker = tryLock(path, descriptor, readOnly);
    if (locker !== undefined) return locker;
    if (attempt === ATTEMPTS) throw new ParavirtError("BUSY", `${path} is in use by another program`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE);
  }
}

function tryLock(path: string, descriptor: number, readOnly: boolean): Locker | undefined {
  const perl = child("perl", ["-e", PERL_LOCK, readOnly ? "" : "1"], descriptor);
  if (perl.status === 0) return "perl";
  if (perl.status === 1) return undefined;
  // File systems without open-file locks, machines without perl (Alpine).
  const flock = child("flock", [readOnly ? "-s" : "-x", "-n", "3"], descriptor);
  if (flock.status === 0) return "flock";
  if (flock.status === 1) return undefined;
  throw new ParavirtError(
    "UNAVAILABLE",
    `${path} can't be locked: neither perl nor flock could do it here; open it with lock: false to go without`,
  );
}

function child(program: string, words: readonly string[], descriptor: number): { status: number | null } {
  return spawnSync(program, words, { stdio: ["ignore", "ignore", "ignore", descriptor], timeout: 10_000 });
}
