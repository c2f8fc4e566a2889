import { execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectUnix } from "@paravirt/host-node";
import { createXenstoreClient, streamLink, type XenstoreClient } from "@paravirt/xenstore";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningXenstored, startXenstored } from "./test-xenstored.ts";

/*
 * `paravirt xenstored` and Debian's own clients: xenstore-utils, python3-pyxs, and test-xenstore of xen-utils-4.17. They
 * send a message's header and its body as two writes.
 */
const SUITE = "/usr/lib/xen-4.17/bin/test-xenstore";

const folder = mkdtempSync(join(tmpdir(), "xenstored-"));
const socket = join(folder, "socket");
afterAll(() => rmSync(folder, { recursive: true }));

async function connect(path = socket): Promise<XenstoreClient> {
  return createXenstoreClient(streamLink(await connectUnix(path)));
}

function tool(name: string, ...words: string[]): Promise<[number, string]> {
  return run(`/usr/bin/${name}`, words);
}

const environment = { ...process.env, XENSTORED_PATH: socket, XENSTORED_RUNDIR: folder };

function run(program: string, words: string[]): Promise<[number, string]> {
  return new Promise((resolve) => {
    const child = execFile(program, words, { env: environment, maxBuffer: 1 << 24 }, (_error, out, err) =>
      resolve([child.exitCode ?? -1, out + err]),
    );
  });
}

describe.each([
  ["in memory", []],
  ["with --db", ["--db", join(folder, "db")]],
])("a daemon %s", (_how, args) => {
  let daemon: RunningXenstored;
  beforeAll(async () => {
    daemon = await startXenstored(["--socket", socket, ...args]);
  });
  afterAll(async () => {
    expect(await daemon.end("SIGTERM")).toBe(0);
    expect(daemon.errors()).toBe("");
    expect(existsSync(socket)).toBe(false);
  });

  test("is for its owner only", () => {
    expect(statSync(socket).mode & 0o777).toBe(0o600);
  });

  test("serves xenstore-write, -read, -list, -exists and -rm", async () => {
    expect(await tool("xenstore-write", "/tools/a", "hello", "/tools/b", "")).toEqual([0, ""]);
    expect(await tool("xenstore-read", "/tools/a")).toEqual([0, "hello\n"]);
    expect(await tool("xenstore-read", "-p", "/tools/a", "/tools/b")).toEqual([0, "/tools/a: hello\n/tools/b: \n"]);
    expect(await tool("xenstore-list", "/tools")).toEqual([0, "a\nb\n"]);
    expect(await tool("xenstore-list", "-p", "/tools")).toEqual([0, "/tools/a\n/tools/b\n"]);
    expect(await tool("xenstore-exists", "/tools/a")).toEqual([0, ""]);
    expect(await tool("xenstore-rm", "/tools/a")).toEqual([0, ""]);
    expect((await tool("xenstore-exists", "/tools/a"))[0]).toBe(1);
    expect((await tool("xenstore-read", "/tools/a"))[1]).toMatch(/couldn't read path \/tools\/a/);
    expect((await tool("xenstore-rm", "/no/such"))[0]).toBe(1);
    // Removes a node and the parents that are left empty.
    await tool("xenstore-write", "/tidy/x/y", "1");
    expect(await tool("xenstore-rm", "-t", "/tidy/x/y")).toEqual([0, ""]);
    expect((await tool("xenstore-exists", "/tidy"))[0]).toBe(1);
  });

  test("a relative path is domain 0's", async () => {
    await tool("xenstore-write", "relative", "1");
    expect(await tool("xenstore-read", "/local/domain/0/relative")).toEqual([0, "1\n"]);
  });

  test("serves xenstore-chmod and xenstore-ls", async () => {
    await tool("xenstore-write", "/modes/leaf", "1", "/modes/leaf/below", 'a "quoted" value\t\x01');
    expect(await tool("xenstore-chmod", "/modes/leaf", "n3", "r1", "b2")).toEqual([0, ""]);
    expect((await tool("xenstore-ls", "-fp", "/modes"))[1]).toBe(
      '/modes/leaf = "1"   (n3,r1,b2)\n/modes/leaf/below = "a "quoted" value\\t\\001"   (n0)\n',
    );
    expect(await tool("xenstore-chmod", "-r", "/modes", "b0", "r7")).toEqual([0, ""]);
    expect((await tool("xenstore-ls", "-p", "/modes"))[1]).toMatch(
      /^leaf = "1" [. ]+\(b0,r7\)\n below = .*\(b0,r7\)$/m,
    );
    expect((await tool("xenstore-ls", "-fp"))[1]).toContain('/tool/xenstored = ""   (n0)\n');
  });

  test("a list of 2000 children, too long for one message, comes whole to xenstore-list and xenstore-ls", async () => {
    const client = await connect();
    const names = Array.from({ length: 2000 }, (_, at) => `child-${at}`);
    await Promise.all(names.map((name) => client.write(`/long/${name}`, "")));
    client.close();
    expect((await tool("xenstore-list", "/long"))[1].trim().split("\n")).toEqual(names);
    expect((await tool("xenstore-ls", "-f", "/long"))[1]).toBe(names.map((name) => `/long/${name} = ""\n`).join(""));
    expect(await tool("xenstore-rm", "/long")).toEqual([0, ""]);
  });

  test("xenstore-watch prints the path at once and at each change below it", async () => {
    const watcher = spawn("xenstore-watch", ["-n", "4", "/watched"], { env: environment });
    let printed = "";
    watcher.stdout.on("data", (text) => {
      printed += text;
      if (printed === "/watched\n") {
        void tool("xenstore-write", "/watched/x", "1", "/watched/y", "2").then(() => tool("xenstore-rm", "/watched"));
      }
    });
    await new Promise((resolve) => watcher.on("close", resolve));
    expect(printed).toBe("/watched\n/watched/x\n/watched/y\n/watched\n");
  });

  test("serves python3-pyxs: nodes, permissions, transactions, watches", async () => {
    const script = `
import pyxs, sys
with pyxs.Client(unix_socket_path=sys.argv[1]) as c:
    c[b"/py/a"] = b"one"
    c.mkdir(b"/py/b")
    print(c[b"/py/a"], c.list(b"/py"), c.exists(b"/py/none"), c.get_perms(b"/py"))
    c.set_perms(b"/py", [b"b0", b"r5"])
    print(c.get_perms(b"/py"), c.get_domain_path(3), c.is_domain_introduced(3))
    print([(p, [b for b in rest]) for p, _, rest in c.walk(b"/py")][0][0])
    try:
        c.read(b"/py/none")
    except pyxs.PyXSError as error:
        print(type(error).__name__, error.args[0])
    c.transaction()
    c.write(b"/py/a", b"two")
    with pyxs.Client(unix_socket_path=sys.argv[1]) as other:
        print(other[b"/py/a"])
        other[b"/py/a"] = b"three"
    print(c.commit())
    with c.monitor() as m:
        m.watch(b"/py/w", b"token")
        print(next(m.wait()))
        c.write(b"/py/w/x", b"1")
        print(next(m.wait()))
        m.unwatch(b"/py/w", b"token")
    c.delete(b"/py")
`;
    const [status, printed] = await run("/usr/bin/python3", ["-c", script, socket]);
    expect(printed.trim().split("\n")).toEqual([
      "b'one' [b'a', b'b'] False [b'n0']",
      "[b'b0', b'r5'] b'/local/domain/3' False",
      "b'/py'",
      expect.stringMatching(/^PyXSError 2$|ENOENT|NotFound/),
      "b'one'",
      "False",
      "Event(path=b'/py/w', token=b'token')",
      "Event(path=b'/py/w/x', token=b'token')",
    ]);
    expect(status).toBe(0);
  });

  test("passes Xen's own test-xenstore, its random mode too", async () => {
    const all = await run(SUITE, ["-i", "50"]);
    expect(all).toEqual([0, expect.not.stringMatching(/fail|differ|rc/i)]);
    expect(all[1].match(/avg:/g)).toHaveLength(12);
    expect((await run(SUITE, ["-i", "100", "-r", "2"]))[0]).toBe(0);
  });

  test("half a message, garbage and a message that is too long hurt only their own connection", async () => {
    const client = await connect();
    const raw = (bytes: number[]) =>
      new Promise<boolean>((resolve) => {
        const peer = createConnection(socket);
        peer.on("error", () => {});
        peer.on("close", () => resolve(true));
        peer.write(Uint8Array.from(bytes));
        setTimeout(() => {
          resolve(false);
          peer.destroy();
        }, 300);
      });
    expect(await raw([2, 0, 0, 0, 1, 0])).toBe(false);
    expect(await raw([2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x10, 0, 0])).toBe(true);
    expect(await raw(Array.from({ length: 5000 }, (_, at) => (at * 37) & 0xff))).toBe(true);
    await client.write("/still", "here");
    expect(await client.read("/still")).toBe("here");
    client.close();
  });

  test("a client that asks without ever reading doesn't make it grow, and others are served", async () => {
    const client = await connect();
    await client.write("/large", "x".repeat(4000));
    const peer = createConnection(socket);
    peer.on("error", () => {});
    peer.pause();
    const request = Buffer.from([2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, ...Buffer.from("/large\0")]);
    const flood = Buffer.concat(Array.from({ length: 1000 }, () => request));
    for (let at = 0; at < 200; at++) peer.write(flood);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await client.read("/large")).toHaveLength(4000);
    const { VmRSS } = await memoryOf(daemon.process.pid!);
    expect(VmRSS).toBeLessThan(300_000);
    peer.destroy();
    client.close();
  });
});

async function memoryOf(pid: number): Promise<{ readonly VmRSS: number }> {
  const { readFile } = await import("node:fs/promises");
  return { VmRSS: Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8"))![1]) };
}

test("places that can't be used are refused in one line with status 2", async () => {
  const first = await startXenstored(["--socket", socket, "--db", join(folder, "db")]);
  writeFileSync(join(folder, "file"), "something that is longer than a header");
  const refused: [string[], string][] = [
    [[], "xenstored needs a place to listen: --socket PATH"],
    [["--socket", socket], `${socket} is served by another program`],
    [["--socket", join(folder, "other"), "--db", join(folder, "db")], "is in use by another program"],
    [["--socket", join(folder, "file")], "is there already and is no socket"],
    [["--socket", join(folder, "none", "s")], `no folder ${join(folder, "none")}`],
    [["--socket", join(folder, "x".repeat(120))], "has 107 bytes at most"],
    [["--socket", join(folder, "other"), "--db", join(folder, "file")], "is not a log of paravirt"],
  ];
  for (const [args, message] of refused) {
    const error: Error = await startXenstored(args).then(
      () => new Error("it started"),
      (thrown) => thrown,
    );
    expect(error.message).toContain("status 2: paravirt: ");
    expect(error.message).toContain(message);
  }
  expect(await first.end("SIGINT")).toBe(0);
});

test("a socket that a killed daemon left is replaced, and what it kept is there", async () => {
  const args = ["--socket", socket, "--db", join(folder, "kept")];
  const first = await startXenstored(args);
  expect(await tool("xenstore-write", "/kept/a", "1")).toEqual([0, ""]);
  expect(await tool("xenstore-chmod", "/kept/a", "n0", "r3")).toEqual([0, ""]);
  expect(await first.end("SIGKILL")).toBe("SIGKILL");
  expect(existsSync(socket)).toBe(true);
  const second = await startXenstored(args);
  expect(await tool("xenstore-ls", "-fp", "/kept")).toEqual([0, '/kept/a = "1"   (n0,r3)\n']);
  expect(await second.end("SIGHUP")).toBe(0);
});
