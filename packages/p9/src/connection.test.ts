import fc from "fast-check";
import { expect, test } from "vitest";
import { TestClient } from "../test/client.ts";
import { createPipeFileSystem } from "../test/pipe-file-system.ts";
import { decodeMessage, encodeMessage } from "./codec.ts";
import { NO_FID, NO_TAG, OPEN } from "./flags.ts";
import { createMemoryFileSystem } from "./memory-file-system.ts";
import { P9_MESSAGES } from "./messages.ts";
import { createP9Server } from "./server.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const memory = () => createMemoryFileSystem({ now: () => 0n, maxBytes: 1 << 22 });
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

async function pipes(onError: (error: unknown) => void = () => {}) {
  const fileSystem = createPipeFileSystem();
  const connection = createP9Server({ fileSystem, onError }).connect({ maxMessage: 65536 });
  const client = await TestClient.attached(connection);
  await client.open(1, "pipe");
  const read = () => client.send("Tread", { fid: 1, offset: 0n, count: 100 });
  return { fileSystem, connection, client, read };
}

test("many reads wait at once, other requests go on meanwhile, and answers come as they come", async () => {
  const { fileSystem, connection, client, read } = await pipes();
  const reads = Array.from({ length: 100 }, read);
  await turn();
  expect([fileSystem.waiting, connection.pending]).toEqual([100, 100]);
  expect(await client.outcome("Tgetattr", { fid: 1, mask: 0n })).toBe("Rgetattr");
  for (let index = 0; index < 100; index++) fileSystem.feed(new Uint8Array([index]));
  const answers = await Promise.all(reads.map(({ answer }) => answer));
  expect(answers.map((answer) => answer.name === "Rread" && answer.fields.data[0])).toEqual([...Array(100).keys()]);
  expect([connection.pending, connection.pendingBytes]).toEqual([0, 0]);
});

test("a flushed read is cancelled: no answer to it, no bytes lost, its tag free", async () => {
  const { fileSystem, connection, client, read } = await pipes();
  const [first, second] = [read(), read()];
  await turn();
  const flushed = await client.send("Tflush", { oldtag: first.tag }).answer;
  expect(flushed.name).toBe("Rflush");
  expect([fileSystem.waiting, connection.pending, first.answered()]).toEqual([1, 1, false]);
  const again = client.send("Tread", { fid: 1, offset: 0n, count: 100 }, first.tag);
  fileSystem.feed(bytes("for the second"));
  fileSystem.feed(bytes("for the third"));
  expect(await second.answer).toMatchObject({ fields: { data: bytes("for the second") } });
  expect(await again.answer).toMatchObject({ fields: { data: bytes("for the third") } });
});

test("what can't be cancelled is answered first, then the flush; several flushes of one request are all answered", async () => {
  const { fileSystem, client, read } = await pipes();
  fileSystem.stubborn = true;
  const order: string[] = [];
  const pending = read();
  void pending.answer.then(() => order.push("read"));
  const flushes = [1, 2].map(() => client.send("Tflush", { oldtag: pending.tag }));
  for (const flush of flushes) void flush.answer.then(() => order.push("flush"));
  await turn();
  expect(flushes.map((flush) => flush.answered())).toEqual([false, false]);
  fileSystem.feed(bytes("late"));
  await Promise.all(flushes.map((flush) => flush.answer));
  expect(order).toEqual(["read", "flush", "flush"]);
  expect(await pending.answer).toMatchObject({ name: "Rread", fields: { data: bytes("late") } });
});

test("a flush of what is over, or never was, is answered at once", async () => {
  const { client } = await pipes();
  for (const oldtag of [0, 77, NO_TAG]) expect(await client.outcome("Tflush", { oldtag })).toBe("Rflush");
});

test("letting go of a fid cancels what waits on it, and closes the file once", async () => {
  const { fileSystem, client, read } = await pipes();
  const pending = read();
  await turn();
  expect(fileSystem.open).toBe(1);
  const clunk = client.outcome("Tclunk", { fid: 1 });
  expect(await pending.answer).toMatchObject({ name: "Rlerror", fields: { ecode: 4 } });
  expect(await clunk).toBe("Rclunk");
  expect([fileSystem.open, fileSystem.waiting]).toEqual([0, 0]);
});

test("closing a connection ends everything, and so does a new version", async () => {
  const { fileSystem, connection, client, read } = await pipes();
  const pending = read();
  await turn();
  const fresh = await client.send("Tversion", { msize: 8192, version: "9P2000.L" }, NO_TAG).answer;
  expect(fresh).toMatchObject({ fields: { msize: 8192, version: "9P2000.L" } });
  expect([pending.answered(), fileSystem.open, connection.openFids, connection.pending]).toEqual([false, 0, 0, 0]);
  await client.ask("Tattach", { fid: 0, afid: NO_FID, uname: "", aname: "", uid: 0 });
  await client.open(1, "pipe");
  const last = client.send("Tread", { fid: 1, offset: 0n, count: 100 });
  await turn();
  await connection.close();
  expect([last.answered(), fileSystem.open, connection.openFids, connection.pending]).toEqual([false, 0, 0, 0]);
  expect(await client.outcome("Tgetattr", { fid: 0, mask: 0n })).toBe("EPROTO");
});

test("versions are agreed on, within what both can", async () => {
  const connection = createP9Server({ fileSystem: memory() }).connect({ maxMessage: 65536 });
  const client = new TestClient(connection);
  const agree = async (msize: number, version: string) =>
    (await client.send("Tversion", { msize, version }, NO_TAG).answer).fields;
  expect(await client.outcome("Tattach", { fid: 0, afid: NO_FID, uname: "", aname: "", uid: 0 })).toBe("EPROTO");
  expect(await agree(1 << 20, "9P2000.L")).toEqual({ msize: 65536, version: "9P2000.L" });
  expect(connection.messageSize).toBe(65536);
  for (const version of ["9P2000", "9P2000.u", "9P2000.Lx", ""])
    expect(await agree(8192, version)).toEqual({ msize: 8192, version: "unknown" });
  expect(await agree(100, "9P2000.L")).toEqual({ msize: 100, version: "unknown" });
  expect(connection.messageSize).toBe(0);
  expect((await client.send("Tversion", { msize: 8192, version: "9P2000.L" }, 5).answer).name).toBe("Rlerror");
  expect(() => createP9Server({ fileSystem: memory() }).connect({ maxMessage: 100 })).toThrow(
    expect.objectContaining({ code: "OUT_OF_RANGE" }),
  );
});

test("fids are the client's to choose, each once, and as many as there may be", async () => {
  const connection = createP9Server({ fileSystem: memory(), maxFids: 10 }).connect({ maxMessage: 8192 });
  const client = await TestClient.attached(connection);
  const clone = (newfid: number) => client.outcome("Twalk", { fid: 0, newfid, names: [] });
  expect(await clone(5)).toBe("Rwalk");
  expect(await clone(5)).toBe("EINVAL");
  expect(await client.outcome("Tattach", { fid: 5, afid: NO_FID, uname: "", aname: "", uid: 0 })).toBe("EINVAL");
  expect(await client.outcome("Tattach", { fid: 6, afid: 1, uname: "", aname: "", uid: 0 })).toBe("EINVAL");
  expect(await client.outcome("Tattach", { fid: 6, afid: NO_FID, uname: "", aname: "/x", uid: 0 })).toBe("ENOENT");
  expect(await client.outcome("Tauth", { afid: 6, uname: "", aname: "", uid: 0 })).toBe("EOPNOTSUPP");
  expect(await client.outcome("Twalk", { fid: 7, newfid: 8, names: [] })).toBe("EBADF");
  expect(await client.outcome("Twalk", { fid: 0, newfid: 8, names: Array(17).fill("a") })).toBe("EINVAL");
  for (let fid = 10; fid < 18; fid++) expect(await clone(fid)).toBe("Rwalk");
  expect(await clone(18)).toBe("ENFILE");
  await client.clunk(12);
  expect(await clone(18)).toBe("Rwalk");
  expect(await client.outcome("Twalk", { fid: 18, newfid: 18, names: [] })).toBe("Rwalk");
  expect(connection.openFids).toBe(10);
});

test("a fid that is still to be made can be neither used nor made again", async () => {
  const { client } = await pipes();
  const slow = client.send("Twalk", { fid: 0, newfid: 9, names: ["slow"] });
  expect(await client.outcome("Tgetattr", { fid: 9, mask: 0n })).toBe("EBADF");
  expect(await client.outcome("Twalk", { fid: 0, newfid: 9, names: [] })).toBe("EINVAL");
  expect(slow.answered()).toBe(false);
});

test("a read-only server refuses every change, and shows everything", async () => {
  const fileSystem = memory();
  fileSystem.writeFile("/d/f", bytes("x"));
  const client = await TestClient.attached(
    createP9Server({ fileSystem, readOnly: true }).connect({ maxMessage: 8192 }),
  );
  await client.walk(1, "d");
  await client.walk(2, "d/f");
  const times = { atimeSec: 0n, atimeNsec: 0n, mtimeSec: 0n, mtimeNsec: 0n };
  const outcomes = [
    client.outcome("Tlopen", { fid: 2, flags: OPEN.readWrite }),
    client.outcome("Tlopen", { fid: 2, flags: OPEN.truncate }),
    client.outcome("Tlcreate", { fid: 1, name: "n", flags: 1, mode: 0o644, gid: 0 }),
    client.outcome("Tlcreate", { fid: 1, name: "f", flags: 0, mode: 0o644, gid: 0 }),
    client.outcome("Tmkdir", { dfid: 1, name: "n", mode: 0, gid: 0 }),
    client.outcome("Tsymlink", { dfid: 1, name: "n", target: "t", gid: 0 }),
    client.outcome("Tmknod", { dfid: 1, name: "n", mode: 0o100644, major: 0, minor: 0, gid: 0 }),
    client.outcome("Tlink", { dfid: 1, fid: 2, name: "n" }),
    client.outcome("Trenameat", { olddirfid: 1, oldname: "f", newdirfid: 1, newname: "g" }),
    client.outcome("Trename", { fid: 2, dfid: 1, name: "g" }),
    client.outcome("Tunlinkat", { dirfid: 1, name: "f", flags: 0 }),
    client.outcome("Tsetattr", { fid: 2, valid: 1, mode: 0, uid: 0, gid: 0, size: 0n, ...times }),
    client.outcome("Txattrcreate", { fid: 2, name: "user.x", size: 1n, flags: 0 }),
  ];
  expect(new Set(await Promise.all(outcomes))).toEqual(new Set(["EROFS"]));
  expect(await client.outcome("Tlopen", { fid: 2, flags: 0 })).toBe("Rlopen");
  expect(await client.read(2)).toEqual(bytes("x"));
  expect(await client.outcome("Tremove", { fid: 2 })).toBe("EROFS");
  expect(fileSystem.listFolder("/d")).toEqual(["f"]);
});

test("a file system's own failure is EIO for the guest and an error for whoever listens", async () => {
  const errors: unknown[] = [];
  const { fileSystem, read } = await pipes((error) => errors.push(error));
  const pending = read();
  await turn();
  fileSystem.explode();
  expect(await pending.answer).toMatchObject({ name: "Rlerror", fields: { ecode: 5 } });
  expect(errors).toEqual([expect.objectContaining({ message: "not a guest's mistake" })]);
});

test("nothing that a client sends makes the server throw, and it still serves the next one", async () => {
  const types = Object.values(P9_MESSAGES).map(({ type }) => type);
  const fileSystem = memory();
  fileSystem.writeFile("/a/b", bytes("x"));
  const server = createP9Server({
    fileSystem,
    maxFids: 100,
    onError: (error) => {
      throw error;
    },
  });
  const small = fc.integer({ min: 0, max: 6 });
  const piece = fc.oneof(
    small.map((value) => [value, 0, 0, 0]),
    small.map((value) => [value, 0]),
    fc.constantFrom([1, 0, 0x61], [1, 0, 0x62], [2, 0, 0x2e, 0x2e], [0, 0]),
    small.map((value) => [value, 0, 0, 0, 0, 0, 0, 0]),
    fc.uint8Array({ maxLength: 16 }).map((raw) => [...raw]),
  );
  const request = fc.record({
    type: fc.oneof(fc.constantFrom(...types), fc.integer({ min: 0, max: 255 })),
    tag: fc.integer({ min: 0, max: 3 }),
    pieces: fc.array(piece, { maxLength: 8 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 5, maxLength: 60 }), async (requests) => {
      const connection = server.connect({ maxMessage: 8192 });
      const client = await TestClient.attached(connection);
      for (const { type, tag, pieces } of requests) {
        const body = pieces.flat();
        const raw = new Uint8Array([body.length + 7, 0, 0, 0, type, tag, 0, ...body]);
        let answers = 0;
        await connection.receive(raw, (response) => {
          answers++;
          expect(decodeMessage(response)?.tag).toBe(tag);
        });
        expect(answers).toBe(1);
      }
      await client.connection.close();
      expect(connection.openFids).toBe(0);
      const next = await TestClient.attached(server.connect({ maxMessage: 8192 }));
      expect(await next.outcome("Tstatfs", { fid: 0 })).toBe("Rstatfs");
      await next.connection.close();
    }),
    { numRuns: 300 },
  );
});

test("bytes that are no message get no answer or an error, and tags in use are refused", async () => {
  const { connection, client, read } = await pipes();
  const answers: Uint8Array[] = [];
  const receive = (raw: number[]) => connection.receive(new Uint8Array(raw), (response) => answers.push(response));
  receive([]);
  receive([6, 0, 0, 0, 1, 0]);
  expect(answers).toEqual([]);
  receive([7, 0, 0, 0, 99, 9, 0]);
  receive([7, 0, 0, 0, 110, 9, 0]);
  receive([8, 0, 0, 0, 120, 9, 0]);
  expect(answers.map(decodeMessage)).toMatchObject([
    { name: "Rlerror", fields: { ecode: 95 } },
    { name: "Rlerror", fields: { ecode: 22 } },
    { name: "Rlerror", fields: { ecode: 22 } },
  ]);
  const pending = read();
  await turn();
  const same = client.send("Tgetattr", { fid: 1, mask: 0n }, pending.tag);
  expect(await same.answer).toMatchObject({ name: "Rlerror" });
  expect(pending.answered()).toBe(false);
  const long = encodeMessage("Twrite", 1, { fid: 1, offset: 0n, data: new Uint8Array(70_000) });
  answers.length = 0;
  connection.receive(long, (response) => answers.push(response));
  expect(answers.map(decodeMessage)).toMatchObject([{ name: "Rlerror", fields: { ecode: 22 } }]);
});
