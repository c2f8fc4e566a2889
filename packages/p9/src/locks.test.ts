import { expect, test } from "vitest";
import { TestClient } from "../test/client.ts";
import { LOCK_STATUS, LOCK_TYPE } from "./flags.ts";
import { LOCK_END, LockTable } from "./locks.ts";
import { createMemoryFileSystem } from "./memory-file-system.ts";
import { createP9Server } from "./server.ts";

const { read, write, unlock } = LOCK_TYPE;
const { success, blocked } = LOCK_STATUS;

async function twoClients() {
  const fileSystem = createMemoryFileSystem({ now: () => 0n });
  fileSystem.writeFile("/f", new Uint8Array(10));
  const server = createP9Server({ fileSystem });
  const [a, b] = await Promise.all(
    [0, 1].map(async () => {
      const client = await TestClient.attached(server.connect({ maxMessage: 8192 }));
      await client.open(1, "f", 2);
      return client;
    }),
  );
  return { a: a!, b: b! };
}

interface Range {
  readonly type: number;
  readonly start?: number;
  readonly length?: number;
  readonly wait?: boolean;
  readonly procId?: number;
}

function lock(client: TestClient, { type, start = 0, length = 0, wait = false, procId = 1 }: Range) {
  const range = { start: BigInt(start), length: BigInt(length), procId, clientId: "host" };
  return client.send("Tlock", { fid: 1, type, flags: wait ? 1 : 0, ...range });
}

async function status(client: TestClient, range: Range): Promise<number> {
  const { name, fields } = await lock(client, range).answer;
  return name === "Rlock" ? fields.status : -1;
}

test("readers share, a writer is alone, and a range is a range", async () => {
  const { a, b } = await twoClients();
  expect(await status(a, { type: read, start: 0, length: 10 })).toBe(success);
  expect(await status(b, { type: read, start: 5, length: 10 })).toBe(success);
  expect(await status(b, { type: write, start: 9, length: 1 })).toBe(blocked);
  expect(await status(b, { type: write, start: 10, length: 5 })).toBe(success);
  expect(await status(a, { type: read, start: 12, length: 1 })).toBe(blocked);
  expect(await status(a, { type: write, start: 15, length: 0 })).toBe(success);
  expect(await status(b, { type: read, start: 1e15, length: 1 })).toBe(blocked);
  const found = await b.ask("Tgetlock", { fid: 1, type: read, start: 20n, length: 1n, procId: 1, clientId: "host" });
  expect(found).toEqual({ type: write, start: 15n, length: 0n, procId: 1, clientId: "host" });
  expect(await status(a, { type: unlock, start: 16, length: 10 })).toBe(success);
  expect(await status(b, { type: write, start: 16, length: 10 })).toBe(success);
  expect(await status(b, { type: write, start: 16, length: 11 })).toBe(blocked);
  // Another process of the same guest is another owner; the same one isn't in its own way.
  expect(await status(a, { type: read, start: 15, length: 1, procId: 2 })).toBe(blocked);
  expect(await status(a, { type: read, start: 15, length: 1 })).toBe(success);
  expect(await status(b, { type: read, start: 15, length: 1 })).toBe(success);
  const none = await b.ask("Tgetlock", { fid: 1, type: write, start: 99n, length: 1n, procId: 1, clientId: "host" });
  expect(none).toMatchObject({ type: write, start: 26n, length: 0n });
});

test("a lock that is waited for comes when it is free, unless it is given up before", async () => {
  const { a, b } = await twoClients();
  expect(await status(a, { type: write })).toBe(success);
  const waiting = lock(b, { type: write, wait: true });
  const other = lock(b, { type: write, wait: true, procId: 2 });
  await new Promise((resolve) => setImmediate(resolve));
  expect(await b.outcome("Tflush", { oldtag: other.tag })).toBe("Rflush");
  expect([waiting.answered(), other.answered()]).toEqual([false, false]);
  expect(await status(a, { type: unlock })).toBe(success);
  expect((await waiting.answer).fields).toEqual({ status: success });
  expect(await status(a, { type: read })).toBe(blocked);
  expect(other.answered()).toBe(false);
});

test("locks end with the fid that they were taken through, and with the connection", async () => {
  const { a, b } = await twoClients();
  expect(await status(a, { type: write, length: 5 })).toBe(success);
  expect(await status(a, { type: write, start: 10, length: 5 })).toBe(success);
  const waiting = lock(b, { type: write, wait: true });
  await a.clunk(1);
  expect((await waiting.answer).fields).toEqual({ status: success });
  await a.open(1, "f", 2);
  expect(await status(a, { type: write })).toBe(blocked);
  await b.connection.close();
  expect(await status(a, { type: write })).toBe(success);
});

test("what is asked wrongly is refused, and a table keeps nothing that is over", async () => {
  const { a } = await twoClients();
  const range = { start: 0n, length: 0n, procId: 1, clientId: "host" };
  expect(await a.outcome("Tlock", { fid: 1, type: 3, flags: 0, ...range })).toBe("EINVAL");
  expect(await a.outcome("Tlock", { fid: 1, type: 0, flags: 4, ...range })).toBe("EINVAL");
  expect(await a.outcome("Tgetlock", { fid: 1, type: unlock, ...range })).toBe("EINVAL");
  expect(await a.outcome("Tlock", { fid: 1, type: 0, flags: 0, ...range, clientId: "x".repeat(300) })).toBe("EINVAL");
  const table = new LockTable();
  const wanted = { file: 1n, owner: "a", process: 1, client: "c", exclusive: true, start: 5n, length: LOCK_END };
  expect(table.take(wanted)).toBe(true);
  expect(table.size).toBe(1);
  expect(table.release({ ...wanted, start: 0n, length: 6n })).toBe(true);
  expect(table.release({ ...wanted, start: 0n })).toBe(false);
  expect(table.size).toBe(0);
  let count = 0;
  expect(() => {
    for (; count < 10_000; count++) table.take({ ...wanted, start: BigInt(2 * count), length: 1n });
  }).toThrow(expect.objectContaining({ code: "ENOLCK" }));
  expect(count).toBe(4096);
});
