import type { ByteStream } from "@paravirt/core";
import { describe, expect, test } from "vitest";
import {
  createXenstore,
  createXenstoreClient,
  localLink,
  parsePermissions,
  ringLink,
  streamLink,
  type Xenstore,
  type XenstoreClient,
} from "./index.ts";

const ways: readonly [name: string, connect: (store: Xenstore) => XenstoreClient][] = [
  ["in process", (store) => createXenstoreClient(localLink(store, 1))],
  ["over a stream", (store) => createXenstoreClient(streamLink(overStream(store)))],
  ["over a ring", (store) => createXenstoreClient(overRing(store))],
];

/** Two ends of a stream that delivers later and one byte at a time at first, as no socket would promise not to. */
function overStream(store: Xenstore): ByteStream {
  const [near, far] = [createEnd(), createEnd()];
  near.peer = far;
  far.peer = near;
  store.serveStream(far.stream, 1);
  return near.stream;
}

function createEnd() {
  let receive: (bytes: Uint8Array) => void = () => {};
  let closed: () => void = () => {};
  const end = {
    peer: undefined as unknown as { deliver(bytes: Uint8Array): void; end(): void },
    deliver: (bytes: Uint8Array) => {
      for (const byte of bytes.slice(0, 20)) receive(Uint8Array.of(byte));
      receive(bytes.slice(20));
    },
    end: () => closed(),
    stream: {
      write: (bytes: Uint8Array) => {
        const copy = bytes.slice();
        queueMicrotask(() => end.peer.deliver(copy));
      },
      onData: (receiver: (bytes: Uint8Array) => void) => {
        receive = receiver;
      },
      onClose: (receiver: () => void) => {
        closed = receiver;
      },
      close: () => queueMicrotask(() => end.peer.end()),
    },
  };
  return end;
}

function overRing(store: Xenstore) {
  const page = new Uint8Array(4096);
  const link = ringLink({ page, notify: () => queueMicrotask(() => server.event()) });
  const server = store.introduce(1, { page, notify: () => queueMicrotask(() => link.event()) });
  return link;
}

function createStore(): Xenstore {
  const store = createXenstore();
  store.local.mkdir("/local/domain/1");
  store.local.setPermissions("/local/domain/1", parsePermissions("n1,r0")!);
  return store;
}

describe.each(ways)("a client %s", (_name, connect) => {
  test("reads, writes, lists, removes, and asks for permissions", async () => {
    const client = connect(createStore());
    await client.write("a/b", "grüße");
    await client.write("a/raw", Uint8Array.of(0, 255, 10));
    await client.mkdir("a/c");
    expect(await client.read("a/b")).toBe("grüße");
    expect(await client.readBytes("/local/domain/1/a/raw")).toEqual(Uint8Array.of(0, 255, 10));
    expect(await client.list("a")).toEqual(["b", "raw", "c"]);
    expect(await client.list("a/c")).toEqual([]);
    expect([await client.exists("a"), await client.exists("z"), await client.exists("/")]).toEqual([
      true,
      false,
      false,
    ]);
    await client.setPermissions("a", parsePermissions("n1,b3")!);
    expect(await client.permissions("a")).toEqual(parsePermissions("n1,b3"));
    await client.remove("a");
    await expect(client.read("a/b")).rejects.toMatchObject({ name: "XenstoreError", code: "ENOENT" });
    await expect(client.write("/x", "")).rejects.toMatchObject({ code: "EACCES" });
    expect(await client.domainPath(7)).toBe("/local/domain/7");
    await expect(client.isIntroduced(9)).rejects.toMatchObject({ code: "EACCES" });
  });

  test("many requests at once are answered each with its own reply", async () => {
    const client = connect(createStore());
    const names = Array.from({ length: 200 }, (_, at) => `node-${at}`);
    await Promise.all(names.map((name) => client.write(name, `value of ${name}`)));
    expect(await Promise.all(names.map((name) => client.read(name)))).toEqual(names.map((name) => `value of ${name}`));
  });

  test("a list longer than a message comes whole", async () => {
    const store = createStore();
    const names = Array.from({ length: 900 }, (_, at) => `child-number-${at}`);
    for (const name of names) store.local.write(`/local/domain/1/long/${name}`, "");
    expect(await connect(store).list("long")).toEqual(names);
  });

  test("a watch tells the path itself, then each change, until the loop is left", async () => {
    const store = createStore();
    const client = connect(store);
    const seen: string[] = [];
    for await (const path of client.watch("control")) {
      seen.push(path);
      if (seen.length === 1) await client.write("control/shutdown", "poweroff");
      if (seen.length === 2) break;
    }
    expect(seen).toEqual(["control", "control/shutdown"]);
    await client.resetWatches();
  });

  test("a refused watch rejects, and a closed client ends what is open", async () => {
    const client = connect(createStore());
    await expect(client.watch("bad//path").next()).rejects.toMatchObject({ code: "EINVAL" });
    const watch = client.watch("x");
    await watch.next();
    const next = watch.next();
    client.close();
    expect(await next).toEqual({ done: true, value: undefined });
    await expect(client.read("x")).rejects.toMatchObject({ code: "CLOSED" });
  });

  test("transactions that collide are run again until both are in", async () => {
    const client = connect(createStore());
    await client.write("count", "0");
    let runs = 0;
    const add = () =>
      client.transaction(async (nodes) => {
        runs++;
        await nodes.write("count", String(Number(await nodes.read("count")) + 1));
      });
    await Promise.all([add(), add(), add(), add()]);
    expect(await client.read("count")).toBe("4");
    expect(runs).toBeGreaterThan(4);
  });

  test("what a transaction's work throws comes out and nothing is written; EAGAIN ends after the attempts allowed", async () => {
    const client = connect(createStore());
    await expect(
      client.transaction(async (nodes) => {
        await nodes.write("x", "1");
        throw new Error("no");
      }),
    ).rejects.toThrow("no");
    expect(await client.exists("x")).toBe(false);
    const always = client.transaction(
      async (nodes) => {
        await nodes.write("x", "1");
        await client.write("x", "2");
      },
      { attempts: 3 },
    );
    await expect(always).rejects.toMatchObject({ code: "EAGAIN" });
  });

  test("a value too long for a message is refused here and the connection lives on", async () => {
    const client = connect(createStore());
    await expect(client.write("x", "y".repeat(5000))).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    await client.write("x", "y");
  });
});

test("a stream that announces too long a message is closed by the store", async () => {
  const store = createStore();
  const stream = overStream(store);
  let ended = false;
  stream.onClose(() => {
    ended = true;
  });
  stream.write(Uint8Array.from([2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x10, 0, 0]));
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(ended).toBe(true);
});

test("domain 0 is told which domains there are", async () => {
  const store = createStore();
  const client = createXenstoreClient(localLink(store));
  store.introduce(1, { page: new Uint8Array(4096), notify() {} });
  expect([await client.isIntroduced(1), await client.isIntroduced(9)]).toEqual([true, false]);
});

test("domain 0's direct access acts at once and names what it refuses", () => {
  const { local } = createStore();
  local.write("/a/b", "1");
  const seen: string[] = [];
  const end = local.watch("/a", (path) => seen.push(path));
  local.write("/a/b", "2");
  end();
  local.write("/a/b", "3");
  expect(seen).toEqual(["/a", "/a/b"]);
  expect([local.read("/a/b"), local.read("/none"), local.list("/a"), local.list("/none")]).toEqual([
    "3",
    undefined,
    ["b"],
    undefined,
  ]);
  local.remove("/none");
  expect(() => local.write("a//b", "")).toThrow('"a//b" is not a xenstore path');
  expect(() => local.setPermissions("/none", parsePermissions("n0")!)).toThrow("/none: ENOENT");
});
