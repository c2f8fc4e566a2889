import { mkdtempSync, rmSync, statSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteStream } from "@paravirt/core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { connectUnix, listenUnix } from "./unix-socket.ts";

let folder: string;
let files = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "unix-"));
});
afterAll(() => rmSync(folder, { recursive: true }));
const newPath = (): string => join(folder, `socket-${++files}`);

/** Resolves when `done()` holds. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 1));
}

test("bytes go both ways, whatever becomes of the caller's array, and both ends hear of the end", async () => {
  const path = newPath();
  let closed = 0;
  const server = await listenUnix(path, (stream) => {
    stream.onData((bytes) => {
      stream.write(bytes);
      bytes.fill(0);
    });
    stream.onClose(() => closed++);
  });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const stream = await connectUnix(path);
  let heard = "";
  stream.onData((bytes) => {
    heard += Buffer.from(bytes).toString();
  });
  const expected: string[] = [];
  for (let at = 0; at < 2000; at++) {
    const piece = Buffer.from(`piece ${at},`.repeat(1 + (at % 50)));
    expected.push(piece.toString());
    stream.write(piece);
    piece.fill(0x21);
  }
  await until(() => heard.length === expected.join("").length);
  expect(heard).toBe(expected.join(""));
  stream.write(Buffer.from("last words"));
  stream.close();
  await until(() => closed === 1);
  await server.close();
  await expect(connectUnix(path)).rejects.toMatchObject({ code: "UNAVAILABLE" });
});

test("closing the server ends its connections after what was written to them", async () => {
  const path = newPath();
  const server = await listenUnix(path, (stream) => stream.write(Buffer.alloc(100_000, "x")));
  const stream = await connectUnix(path);
  let length = 0;
  let closed = false;
  stream.onData((bytes) => {
    length += bytes.length;
  });
  stream.onClose(() => {
    closed = true;
  });
  await until(() => length > 0);
  await server.close();
  await until(() => closed);
  expect(length).toBe(100_000);
});

test("a peer that never reads is read no more, and loses its connection when too much waits for it", async () => {
  const path = newPath();
  const streams: ByteStream[] = [];
  let asked = 0;
  let closed = false;
  const server = await listenUnix(
    path,
    (stream) => {
      streams.push(stream);
      stream.onData((bytes) => {
        asked += bytes.length;
        stream.write(bytes);
      });
      stream.onClose(() => {
        closed = true;
      });
    },
    { maxWaiting: 4 << 20 },
  );
  const peer = connect(path).on("error", () => {});
  peer.pause();
  const sent = 64 << 20;
  peer.write(Buffer.alloc(sent));
  await until(() => asked > 1 << 20);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(asked).toBeLessThan(4 << 20);
  for (let at = 0; at < 6; at++) {
    streams[0]!.write(Buffer.alloc(1 << 20));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await until(() => closed);
  peer.destroy();
  await server.close();
});

test("a stream that is paused delivers nothing until it goes on", async () => {
  const path = newPath();
  let heard = 0;
  let stream: ByteStream | undefined;
  const server = await listenUnix(path, (one) => {
    stream = one;
    one.onData((bytes) => {
      heard += bytes.length;
    });
    one.pause?.();
  });
  const peer = connect(path);
  peer.write("hello");
  await until(() => stream !== undefined);
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(heard).toBe(0);
  stream!.resume?.();
  await until(() => heard === 5);
  peer.destroy();
  await server.close();
});

test("a socket that nobody serves any more is replaced, one that is served is not", async () => {
  const path = newPath();
  const child = createServer();
  await new Promise<void>((resolve) => child.listen(path, resolve));
  await expect(listenUnix(path, () => {})).rejects.toMatchObject({ code: "BUSY" });
  await new Promise((resolve) => child.close(resolve));
  const first = await listenUnix(path, () => {});
  await first.close();
});
