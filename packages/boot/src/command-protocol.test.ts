import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { debianPackage } from "../test/debian.ts";
import {
  type CommandOptions,
  commandScript,
  createCommandDecoder,
  encodeCommandInput,
  encodeCommandInputEnd,
} from "./command-protocol.ts";
import { readDeb } from "./deb.ts";
import { sessionScript } from "./init-script.ts";

let folder: string;
let busybox: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "paravirt-session-"));
  busybox = join(folder, "busybox");
  for (const entry of readDeb(readFileSync(debianPackage("busybox-static"))).files()) {
    if (!/bin\/busybox$/.test(entry.path)) continue;
    writeFileSync(busybox, entry.data!);
    chmodSync(busybox, 0o755);
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Result {
  status: number | undefined;
  stdout: Buffer;
  stderr: Buffer;
  /** Milliseconds from the start frame to the first output. */
  firstOutput: number;
}

let runs = 0;

/** Runs the guest's own session script under Debian's busybox, on a pseudo-terminal made by `script`. */
function runCommand(
  argv: readonly (string | Uint8Array)[],
  input?: Uint8Array,
  options?: CommandOptions,
): Promise<Result> {
  const run = join(folder, `run${runs++}`);
  const places = {
    tty: "/dev/tty",
    run: `${run}.d`,
    commandLine: `${run}.cmdline`,
    command: `${run}.command`,
    end: ":",
    reap: false,
  };
  writeFileSync(places.commandLine, `quiet paravirt.mode=command paravirt.stdin=${input === undefined ? 0 : 1}\n`);
  writeFileSync(places.command, commandScript(argv, options));
  writeFileSync(`${run}.session`, `mkdir -p ${run}.d\n${sessionScript(places)}`);
  return new Promise((resolve, reject) => {
    const child = spawn("script", ["-q", "-f", "-E", "never", "-c", `${busybox} sh ${run}.session`, "/dev/null"]);
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let start = 0;
    let firstOutput = -1;
    const decoder = createCommandDecoder({
      onStart() {
        start = Date.now();
        if (input === undefined) return;
        child.stdin.write(encodeCommandInput(input, { sysrq: false }));
        child.stdin.write(encodeCommandInputEnd());
      },
      onStdout(bytes) {
        if (firstOutput < 0) firstOutput = Date.now() - start;
        out.push(Buffer.from(bytes));
      },
      onStderr: (bytes) => err.push(Buffer.from(bytes)),
      onExit: () => child.stdin.end(),
    });
    child.stdout.on("data", (bytes: Buffer) => decoder.push(bytes));
    child.on("error", reject);
    child.on("close", () =>
      resolve({ status: decoder.exitStatus, stdout: Buffer.concat(out), stderr: Buffer.concat(err), firstOutput }),
    );
  });
}

test("arguments arrive byte for byte: spaces, quotes, line feeds, non-ASCII, empty", async () => {
  const words = ["a b", "it's", "two\nlines", 'say "hi" $HOME `x` \\n', "héλ✓", "", "-n", "*", "\u0001\u007f\t"];
  const bytes = Uint8Array.from({ length: 255 }, (_, i) => i + 1);
  const { status, stdout } = await runCommand(["printf", "%s\\0", ...words, bytes]);
  const got = stdout.toString("latin1").split("\0");
  expect(got.slice(0, -2).map((word) => Buffer.from(word, "latin1").toString())).toEqual(words);
  expect(got.at(-2)).toBe(Buffer.from(bytes).toString("latin1"));
  expect(status).toBe(0);
});

test("standard output and error come separately, and the status comes back", async () => {
  const { status, stdout, stderr } = await runCommand(["sh", "-c", "echo one; echo two >&2; echo three; exit 7"]);
  expect([status, stdout.toString(), stderr.toString()]).toEqual([7, "one\nthree\n", "two\n"]);
});

test("a command that doesn't exist ends with 127 and says so on standard error", async () => {
  const { status, stdout, stderr } = await runCommand(["/no/such/program"]);
  expect(status).toBe(127);
  expect(stdout.length).toBe(0);
  expect(stderr.toString()).toMatch(/not found/);
});

test("a command killed by a signal ends with 128 and its number", async () => {
  expect((await runCommand(["sh", "-c", "kill -9 $$"])).status).toBe(137);
});

test("output is exact whatever its bytes, on both streams at once", async () => {
  const code = "dd if=$0 bs=5000 count=60 2>/dev/null & cat $0 >&2; wait";
  const { stdout, stderr } = await runCommand(["sh", "-c", code, busybox]);
  const file = readFileSync(busybox);
  expect(stdout.equals(file.subarray(0, 300_000))).toBe(true);
  expect(stderr.equals(file)).toBe(true);
});

test("standard input reaches the command byte for byte, with its end", async () => {
  const input = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7919) >> 3);
  const { stdout, status } = await runCommand(["cat"], input);
  expect(stdout.equals(Buffer.from(input))).toBe(true);
  expect(status).toBe(0);
});

test("a command that reads no input ends all the same", async () => {
  expect((await runCommand(["true"], new Uint8Array(200_000))).status).toBe(0);
});

test("output shows at once, before the command ends", async () => {
  const { stdout, firstOutput } = await runCommand(["sh", "-c", "printf part; sleep 1; echo ial"]);
  expect(stdout.toString()).toBe("partial\n");
  expect(firstOutput).toBeLessThan(900);
});

test("environment variables are set for the command", async () => {
  const { stdout } = await runCommand(["sh", "-c", "echo $GREETING"], undefined, { env: { GREETING: "it's $1" } });
  expect(stdout.toString()).toBe("it's $1\n");
});

test("a command starts in the folder that it is given, and not at all in one that isn't there", async () => {
  const { stdout } = await runCommand(["pwd"], undefined, { cwd: "/proc/self" });
  expect(stdout.toString()).toMatch(/^\/proc\//);
  expect((await runCommand(["pwd"], undefined, { cwd: "/it's gone" })).status).toBe(126);
});

test("an argument with a zero byte, and no argument at all, are refused", () => {
  expect(() => commandScript(["a\0b"])).toThrow(/zero byte/);
  expect(() => commandScript([])).toThrow(/0 words/);
});

test("frames decode the same however the console cuts them, and noise between them is kept apart", () => {
  const frame = (type: string, payload: Uint8Array): Uint8Array =>
    Buffer.concat([Buffer.from(`\x1e${type}${payload.length}\n`), payload]);
  const piece = fc.record({
    type: fc.constantFrom("o", "e", "noise"),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  });
  fc.assert(
    fc.property(fc.array(piece), fc.array(fc.nat(60)), (pieces, cuts) => {
      const noise = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => (byte === 0x1e ? 0x20 : byte));
      const parts = [frame("s", Buffer.from("1"))];
      const sum = { o: [] as number[], e: [] as number[], noise: [] as number[] };
      for (const { type, bytes } of pieces) {
        const clean = type === "noise" ? noise(bytes) : bytes;
        sum[type as "o"].push(...clean);
        parts.push(type === "noise" ? clean : frame(type, clean));
      }
      parts.push(frame("x", Buffer.from("42")));
      const all = Buffer.concat(parts);
      const got = { o: [] as number[], e: [] as number[], noise: [] as number[] };
      const decoder = createCommandDecoder({
        onStdout: (bytes) => got.o.push(...bytes),
        onStderr: (bytes) => got.e.push(...bytes),
        onNoise: (bytes) => got.noise.push(...bytes),
      });
      let at = 0;
      for (const cut of cuts) {
        decoder.push(all.subarray(at, at + cut));
        at += cut;
      }
      decoder.push(all.subarray(at));
      expect(got).toEqual(sum);
      expect(decoder.exitStatus).toBe(42);
    }),
  );
});

test("a guest's garbage never throws and never becomes output", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const text = Buffer.from(`\x1eo5\nhello${Buffer.from(bytes).toString("latin1")}`, "latin1");
      let output = 0;
      createCommandDecoder({ onStdout: () => output++ }).push(text);
      expect(output).toBe(0); // no start frame came first
    }),
  );
});
