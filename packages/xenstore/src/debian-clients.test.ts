import { execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteStream } from "@paravirt/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createXenstore, type Xenstore } from "./index.ts";

/*
 * Debian's own clients (package xenstore-utils; test-xenstore comes with xen-utils-4.17) against our store on a unix
 * socket. They send a message's header and its body as two writes.
 */
const TOOLS = "/usr/bin/xenstore-read";
const SUITE = process.env.TEST_XENSTORE ?? "/usr/lib/xen-4.17/bin/test-xenstore";

let folder: string;
let server: Server;
let store: Xenstore;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "xenstore-"));
  store = createXenstore();
  server = createServer((socket) => store.serveStream(streamOf(socket)));
  await new Promise<void>((resolve) => server.listen(join(folder, "socket"), resolve));
});

afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

describe.skipIf(!existsSync(TOOLS))("Debian's xenstore tools", () => {
  test("write, read, list, exist and remove nodes", async () => {
    expect(await tool("xenstore-write", "/tools/a", "hello", "/tools/b", "")).toEqual([0, ""]);
    expect(await tool("xenstore-read", "/tools/a")).toEqual([0, "hello\n"]);
    expect(await tool("xenstore-list", "/tools")).toEqual([0, "a\nb\n"]);
    expect(await tool("xenstore-exists", "/tools/a")).toEqual([0, ""]);
    expect(await tool("xenstore-rm", "/tools/a")).toEqual([0, ""]);
    expect((await tool("xenstore-exists", "/tools/a"))[0]).toBe(1);
    expect((await tool("xenstore-read", "/tools/a"))[1]).toMatch(/couldn't read path \/tools\/a/);
  });

  test("show the tree with permissions after a change of them", async () => {
    await tool("xenstore-write", "/modes/leaf", "1");
    expect(await tool("xenstore-chmod", "/modes/leaf", "n3", "r1", "b2")).toEqual([0, ""]);
    const [, listing] = await tool("xenstore-ls", "-fp", "/modes");
    expect(listing).toBe('/modes/leaf = "1"   (n3,r1,b2)\n');
  });

  test("a list of 2000 children, too long for one message, comes whole", async () => {
    const names = Array.from({ length: 2000 }, (_, at) => `child-${at}`);
    for (const name of names) store.local.write(`/long/${name}`, "");
    expect((await tool("xenstore-list", "/long"))[1].trim().split("\n")).toEqual(names);
  });

  test("xenstore-watch prints the path at once and at each change below it", async () => {
    const watcher = spawn("xenstore-watch", ["-n", "3", "/watched"], { env: environment() });
    let printed = "";
    watcher.stdout.on("data", (text) => {
      printed += text;
      if (printed === "/watched\n") void tool("xenstore-write", "/watched/x", "1", "/watched/y", "2");
    });
    await new Promise((resolve) => watcher.on("close", resolve));
    expect(printed).toBe("/watched\n/watched/x\n/watched/y\n");
  });
});

test.skipIf(!existsSync(SUITE))("Xen's own test-xenstore passes, its random mode too", async () => {
  const all = await run(SUITE, ["-i", "100"]);
  expect(all).toEqual([0, expect.not.stringMatching(/fail|differ/i)]);
  const random = await run(SUITE, ["-i", "300", "-r", "2"]);
  expect(random[0]).toBe(0);
});

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, XENSTORED_PATH: join(folder, "socket"), XENSTORED_RUNDIR: folder };
}

function tool(name: string, ...words: string[]): Promise<[number, string]> {
  return run(`/usr/bin/${name}`, words);
}

function run(program: string, words: string[]): Promise<[number, string]> {
  return new Promise((resolve) => {
    const child = execFile(program, words, { env: environment(), maxBuffer: 1 << 24 }, (_error, out, err) =>
      resolve([child.exitCode ?? -1, out + err]),
    );
  });
}

function streamOf(socket: Socket): ByteStream {
  return {
    write: (bytes) => void socket.write(bytes),
    onData: (receiver) => void socket.on("data", receiver),
    onClose: (receiver) => void socket.on("close", receiver),
    close: () => void socket.destroy(),
  };
}
