/*
 * Requests a second: in process and over a ring with both ends in this program, then, where Debian's C xenstored can be
 * started, over a unix socket against it and against us through the same client. `npm run bench` in this package.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ByteStream } from "@paravirt/core";
import {
  createXenstore,
  createXenstoreClient,
  localLink,
  parsePermissions,
  ringLink,
  streamLink,
  type Xenstore,
  type XenstoreClient,
  type XenstoreLink,
} from "../src/index.ts";

const SECONDS = 1;
const WINDOW = 32;
const OURS = process.argv[2] === "serve";
const XENSTORED = process.env.XENSTORED ?? "/usr/lib/xen-4.17/bin/xenstored";

const CASES: readonly [name: string, run: (client: XenstoreClient, at: number) => Promise<unknown>][] = [
  ["read", (client) => client.read("bench/value")],
  ["write", (client, at) => client.write("bench/value", String(at))],
  ["directory of 100", (client) => client.list("bench/list")],
  [
    "transaction (read, write)",
    (client, at) =>
      client.transaction(async (nodes) => {
        await nodes.read(`bench/slot-${at % WINDOW}`);
        await nodes.write(`bench/slot-${at % WINDOW}`, String(at));
      }),
  ],
];

async function prepare(client: XenstoreClient): Promise<void> {
  await client.write("bench/value", "1");
  for (let at = 0; at < 100; at++) await client.write(`bench/list/name-${at}`, "");
  for (let at = 0; at < WINDOW; at++) await client.write(`bench/slot-${at}`, "0");
}

/** Operations a second with 32 of them under way. */
async function rate(
  client: XenstoreClient,
  run: (client: XenstoreClient, at: number) => Promise<unknown>,
): Promise<number> {
  let done = 0;
  const begin = performance.now();
  const end = begin + SECONDS * 1000;
  const worker = async (slot: number): Promise<void> => {
    for (let at = slot; performance.now() < end; at += WINDOW) {
      await run(client, at);
      done++;
    }
  };
  await Promise.all(Array.from({ length: WINDOW }, (_, slot) => worker(slot)));
  return Math.round((done * 1000) / (performance.now() - begin));
}

function createHome(): Xenstore {
  const store = createXenstore({ quotas: { transactions: 0 } });
  store.local.mkdir("/local/domain/1");
  store.local.setPermissions("/local/domain/1", parsePermissions("n1")!);
  return store;
}

function overRing(): XenstoreLink {
  const page = new Uint8Array(4096);
  const link = ringLink({ page, notify: () => queueMicrotask(() => server.event()) });
  const server = createHome().introduce(1, { page, notify: () => queueMicrotask(() => link.event()) });
  return link;
}

function streamOf(socket: Socket): ByteStream {
  return {
    write: (bytes) => void socket.write(bytes),
    onData: (receiver) => void socket.on("data", receiver),
    onClose: (receiver) => void socket.on("close", receiver),
    close: () => void socket.destroy(),
  };
}

async function overSocket(path: string): Promise<XenstoreLink> {
  for (let attempt = 0; ; attempt++) {
    const socket = connect(path);
    try {
      await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
      return streamLink(streamOf(socket));
    } catch (error) {
      if (attempt > 40) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function measure(name: string, link: XenstoreLink): Promise<void> {
  const client = createXenstoreClient(link);
  await prepare(client);
  const rates: string[] = [];
  for (const [, run] of CASES) rates.push(String(await rate(client, run)).padStart(16));
  console.log(name.padEnd(28) + rates.join(""));
  client.close();
}

async function main(): Promise<void> {
  console.log("operations a second".padEnd(28) + CASES.map(([name]) => name.slice(0, 15).padStart(16)).join(""));
  await measure("in process", localLink(createHome(), 1));
  await measure("ring, both ends here", overRing());
  const folder = mkdtempSync(join(tmpdir(), "xenstore-bench-"));
  const children: ChildProcess[] = [];
  const ourPath = join(folder, "ours");
  children.push(spawn(process.execPath, [process.argv[1]!, "serve", ourPath], { stdio: "inherit" }));
  await measure("unix socket, ours", await overSocket(ourPath));
  if (existsSync(XENSTORED)) {
    const env = { ...process.env, XENSTORED_RUNDIR: folder, XENSTORED_ROOTDIR: folder };
    children.push(spawn(XENSTORED, ["-N", "-D", "-I"], { env, stdio: "ignore" }));
    try {
      await measure("unix socket, C xenstored", await overSocket(join(folder, "socket")));
    } catch (error) {
      console.log(`C xenstored could not be started: ${String(error)}`);
    }
  } else console.log(`C xenstored: not there (${XENSTORED}; set XENSTORED)`);
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true });
}

if (OURS) {
  const store = createXenstore();
  createServer((socket) => store.serveStream(streamOf(socket))).listen(process.argv[3]);
} else await main();
