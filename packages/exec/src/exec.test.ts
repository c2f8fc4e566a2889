import type { Cancellation, FileHandle, FileNode } from "@paravirt/p9";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createExec, type Exec, type ExecOptions } from "./exec.ts";

const PATIENT: Cancellation = { cancelled: false, onCancel: () => () => {} };

/** A guest's agent, played through the same files: it sees what a worker's shell would. */
class FakeAgent {
  readonly exec: Exec = createExec({ limit: 3 });
  started = 0;

  async open(...path: string[]): Promise<FileHandle> {
    let node: FileNode = await this.exec.files.root();
    for (const name of path) node = await node.lookup!(name);
    return node.open({ flags: 0, cancellation: PATIENT });
  }

  /** Waits for a script, as `.` does. */
  async next(name = "next"): Promise<string> {
    const handle = await this.open(name);
    const text = await readAll(handle);
    await handle.close();
    if (text.includes("start-stop-daemon")) this.started++;
    return text;
  }

  /** Takes the next command and opens its files. */
  async take(
    name?: string,
  ): Promise<{ id: string; script: string; out: FileHandle; err: FileHandle; events: FileHandle }> {
    const script = await this.next(name);
    const id = /9>\/run\/paravirt-exec\/([0-9]+)\/events/.exec(script)![1]!;
    const [out, err, events] = await Promise.all(["out", "err", "events"].map((file) => this.open(id, file)));
    return { id, script, out: out!, err: err!, events: events! };
  }
}

async function readAll(handle: FileHandle): Promise<string> {
  const parts: string[] = [];
  let offset = 0;
  for (;;) {
    const into = new Uint8Array(100);
    const size = await handle.read!(offset, into, PATIENT);
    if (size === 0) return parts.join("");
    parts.push(Buffer.from(into.subarray(0, size)).toString());
    offset += size;
  }
}

const bytes = (text: string): Uint8Array => Buffer.from(text);
const write = (handle: FileHandle, text: string | Uint8Array) =>
  handle.write!(0, typeof text === "string" ? bytes(text) : text, PATIENT);
const closeAll = async (...handles: FileHandle[]): Promise<void> => {
  for (const handle of handles) await handle.close();
};
const collect = async (stream: ReadableStream<Uint8Array>): Promise<string> => {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts).toString();
};

async function begin(agent: FakeAgent, argv: string[], options?: ExecOptions) {
  const running = agent.exec.run(argv, options);
  const files = await agent.take();
  await write(files.events, "p41\n");
  return { ...files, process: await running };
}

test("a command's streams, process id and status come through its files", async () => {
  const agent = new FakeAgent();
  const { process, out, err, events, script } = await begin(agent, ["echo", "it's"], { env: { A: "b" }, cwd: "/tmp" });
  expect(script).toContain("exec");
  expect(process.pid).toBe(41);
  await write(out, "one ");
  await write(err, "two");
  await write(out, "three");
  await write(events, "x7\n");
  expect(await process.status).toBe(7);
  await closeAll(out, err, events);
  expect(await process.output()).toEqual({ status: 7, stdout: "one three", stderr: "two" });
  // Its folder is gone.
  await expect(agent.open("1", "out")).rejects.toThrow("ENOENT");
});

test("a full stream makes the guest wait until somebody reads", async () => {
  const agent = new FakeAgent();
  const { process, out } = await begin(agent, ["yes"]);
  const block = new Uint8Array(65536);
  let taken = 0;
  const writing = (async () => {
    for (let i = 0; i < 16; i++) taken += (await write(out, block)) as number;
    await out.close();
  })();
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(taken).toBeLessThan(6 * 65536);
  let read = 0;
  for await (const part of process.stdout) read += part.length;
  await writing;
  expect([taken, read]).toEqual([16 * 65536, 16 * 65536]);
});

test("a reader that goes away is a closed pipe", async () => {
  const agent = new FakeAgent();
  const { process, out } = await begin(agent, ["yes"]);
  await process.stdout.cancel();
  await expect(write(out, "x")).rejects.toThrow("EPIPE");
});

/** What a program gets that reads `size` bytes at a time through Linux's client, which asks again until it is full. */
async function programRead(handle: FileHandle, size: number, piece: number): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  let left = size;
  while (left > 0) {
    const into = new Uint8Array(Math.min(left, piece));
    const got = await handle.read!(0, into, PATIENT);
    if (got === 0) break;
    all.push(into.subarray(0, got));
    left -= got;
  }
  return Buffer.concat(all);
}

test("standard input arrives byte for byte, whatever the sizes of pieces and reads", async () => {
  const sizes = fc.integer({ min: 1, max: 50 });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 60 })), sizes, sizes, async (pieces, size, piece) => {
      const agent = new FakeAgent();
      const source = (async function* () {
        yield* pieces;
      })();
      const { id } = await begin(agent, ["cat"], { stdin: source });
      const handle = await agent.open(id, "in");
      const all: Uint8Array[] = [];
      for (;;) {
        const got = await programRead(handle, size, piece);
        if (got.length === 0) break;
        all.push(got);
      }
      expect(Buffer.concat(all).equals(Buffer.concat(pieces))).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test("a program sees a piece of its input before the next is there", async () => {
  const agent = new FakeAgent();
  let give!: (text: string) => void;
  const source = (async function* () {
    for (let i = 0; i < 2; i++) yield bytes(await new Promise<string>((resolve) => (give = resolve)));
  })();
  const { id } = await begin(agent, ["cat"], { stdin: source });
  const handle = await agent.open(id, "in");
  const first = programRead(handle, 4096, 4096);
  await new Promise((resolve) => setTimeout(resolve, 5));
  give("one");
  expect(Buffer.from(await first).toString()).toBe("one");
});

test("when a command ends, what would still feed it sees an end, and its source is told", async () => {
  const agent = new FakeAgent();
  let returned = false;
  const source: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise(() => {}),
      return: async () => {
        returned = true;
        return { done: true, value: undefined };
      },
    }),
  };
  const { id, events } = await begin(agent, ["true"], { stdin: source });
  const handle = await agent.open(id, "in");
  const reading = programRead(handle, 10, 10);
  await write(events, "x0\n");
  expect((await reading).length).toBe(0);
  expect(returned).toBe(true);
});

test("aborting kills the session's group, and rejects everything with the reason", async () => {
  const agent = new FakeAgent();
  const controller = new AbortController();
  const { process, out, err, events } = await begin(agent, ["sleep", "100"], { signal: controller.signal });
  const reason = new Error("enough");
  controller.abort(reason);
  await expect(process.status).rejects.toBe(reason);
  await expect(collect(process.stdout)).rejects.toBe(reason);
  expect(await agent.next("more")).toContain("kill -KILL -41 ");
  await write(events, "x137\n");
  await closeAll(out, err, events);
});

test("aborted before a worker had it, a command never comes to one", async () => {
  const agent = new FakeAgent();
  const controller = new AbortController();
  const running = agent.exec.run(["sleep"], { signal: controller.signal });
  controller.abort(new Error("never mind"));
  await expect(running).rejects.toThrow("never mind");
  void agent.exec.run(["other"]);
  expect(await agent.next()).toContain("'other'");
});

test("aborted between a worker's getting it and its start, it is killed when it starts", async () => {
  const agent = new FakeAgent();
  const controller = new AbortController();
  const running = agent.exec.run(["sleep"], { signal: controller.signal });
  const { events } = await agent.take();
  controller.abort(new Error("too late"));
  await expect(running).rejects.toThrow("too late");
  await write(events, "p99\n");
  expect(await agent.next("more")).toContain("kill -KILL -99 ");
});

test("a signal goes before commands that wait, and needs a name", async () => {
  const agent = new FakeAgent();
  const { process } = await begin(agent, ["a"]);
  void agent.exec.run(["b"]);
  process.kill("INT");
  expect(await agent.next("more")).toContain("kill -INT -41 ");
  expect(() => process.kill("9; reboot")).toThrow("is no signal");
});

test("the worker that takes the last place starts another, and those too many are sent away", async () => {
  const agent = new FakeAgent();
  const idle = Array.from({ length: 6 }, () => agent.next("more"));
  const ended = (await Promise.all(idle.slice(4))).map((text) => text.trim());
  expect(ended).toEqual(["exit 0", "exit 0"]);
  for (let i = 0; i < 3; i++) void agent.exec.run([`command${i}`]);
  await Promise.all(idle.slice(0, 3));
  expect(agent.started).toBe(0);
  // A fourth would be above the limit of three, so the last worker stays for signals.
  void agent.exec.run(["fourth"]);
  const last = await Promise.race([idle[3], new Promise((resolve) => setTimeout(() => resolve("waits"), 20))]);
  expect(last).toBe("waits");
});

test("a command that a worker lost before it had read it comes to another", async () => {
  const agent = new FakeAgent();
  void agent.exec.run(["precious"]);
  const handle = await agent.open("next");
  await handle.read!(0, new Uint8Array(10), PATIENT);
  await handle.close();
  expect(await agent.next()).toContain("'precious'");
});

test("a shell that ends without a status is an error, and so is the guest's end", async () => {
  const agent = new FakeAgent();
  const first = await begin(agent, ["a"]);
  await closeAll(first.out, first.err, first.events);
  await expect(first.process.status).rejects.toThrow("the guest lost a command");
  const second = await begin(agent, ["b"]);
  const third = agent.exec.run(["c"]);
  agent.exec.close();
  await expect(second.process.output()).rejects.toThrow("the guest has ended");
  await expect(third).rejects.toThrow("the guest has ended");
  await expect(agent.exec.run(["d"])).rejects.toThrow("the guest has ended");
});

test("a guest's garbage in its events changes nothing but its own command", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (garbage) => {
      const agent = new FakeAgent();
      const { process, events, out, err } = await begin(agent, ["a"]);
      await write(
        events,
        Uint8Array.from(garbage, (byte) => (byte === 0x78 ? 0 : byte)),
      );
      await write(events, "\nx3\n");
      expect([process.pid, await process.status]).toEqual([41, 3]);
      await closeAll(out, err, events);
    }),
  );
});

test.each([
  [[], {}, "0 words"],
  [["a\0b"], {}, "zero byte"],
  [["a"], { env: { "9x": "1" } }, "no name of an environment variable"],
])("%j with %j is refused", async (argv, options, message) => {
  await expect(createExec().run(argv, options)).rejects.toThrow(message);
});
