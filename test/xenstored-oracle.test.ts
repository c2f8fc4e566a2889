import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { closeSync, existsSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { XS } from "@paravirt/xen-abi";
import {
  createMessageDecoder,
  createXenstore,
  decodeChunk,
  encodeMessage,
  type XenstoreMessage,
} from "@paravirt/xenstore";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";

/*
 * Our store against Debian's C xenstored, which a preloaded library lets serve domains without Xen: domain 0 on its socket,
 * domains 1 and 2 on ring pages in files. Whatever the three ask, answers and events must be the same, byte for byte.
 */
const XENSTORED = "/usr/lib/xen-4.17/bin/xenstored";
const PRELOAD = new URL("../bench/xenstore/without-xen.c", import.meta.url).pathname;
const DOMAINS = [0, 1, 2];

const folder = mkdtempSync(join(tmpdir(), "xenstored-oracle-"));
let daemon: ChildProcess;
let theirs: Peer[];
afterAll(() => {
  daemon.kill("SIGKILL");
  rmSync(folder, { recursive: true });
});

/** One domain's connection to either store. */
interface Peer {
  /** Sends a request; answers events and reply in the order in which they came. */
  ask(request: XenstoreMessage): Promise<XenstoreMessage[]>;
}

beforeAll(async () => {
  execFileSync("gcc", ["-O2", "-shared", "-fPIC", "-o", join(folder, "preload.so"), PRELOAD]);
  execFileSync("mkfifo", [join(folder, "events")]);
  for (const domid of DOMAINS.slice(1)) {
    const file = openSync(join(folder, `ring-${domid}`), "w");
    ftruncateSync(file, 4096);
    closeSync(file);
  }
  daemon = spawn(XENSTORED, ["--no-fork", "--internal-db", "--pid-file", join(folder, "pid")], {
    stdio: "ignore",
    env: { ...process.env, LD_PRELOAD: join(folder, "preload.so"), XENSTORED_RUNDIR: folder, XENSTORED_RINGS: folder },
  });
  const socket = join(folder, "socket");
  while (!existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 10));
  const zero = socketPeer(socket);
  for (const domid of DOMAINS.slice(1)) {
    const body = Buffer.from(`${domid}\x001\x001\0`);
    const [reply] = await zero.ask({ type: XS.INTRODUCE, requestId: 1, transactionId: 0, body });
    expect(textOf(reply!)).toBe(`${XS.INTRODUCE} OK|`);
  }
  theirs = [zero, ...DOMAINS.slice(1).map(ringPeer)];
});

function socketPeer(path: string): Peer {
  const socket = connect(path);
  const decoder = createMessageDecoder();
  let heard: XenstoreMessage[] = [];
  let answered: () => void = () => {};
  socket.on("data", (bytes) => {
    decodeChunk(decoder, bytes, (message) => {
      heard.push(message);
      if (message.type !== XS.WATCH_EVENT) answered();
    });
  });
  return {
    async ask(request) {
      const reply = new Promise<void>((resolve) => {
        answered = resolve;
      });
      socket.write(encodeMessage(request));
      await reply;
      const all = heard;
      heard = [];
      return all;
    },
  };
}

/** A guest's end of a ring page (docs/misc/xenstore-ring.txt) that lies in a file. */
function ringPeer(domid: number): Peer {
  const page = openSync(join(folder, `ring-${domid}`), "r+");
  const events = openSync(join(folder, "events"), "r+");
  const decoder = createMessageDecoder();
  const [producer, consumer] = [Buffer.alloc(4), Buffer.alloc(4)];
  let [sent, taken] = [0, 0];
  const put = (bytes: Uint8Array): number => {
    readSync(page, consumer, 0, 4, 2048);
    const room = 1024 - (sent - consumer.readUInt32LE());
    const count = Math.min(room, bytes.length);
    for (let at = 0; at < count; at++) writeSync(page, bytes, at, 1, (sent + at) & 1023);
    sent += count;
    producer.writeUInt32LE(sent);
    writeSync(page, producer, 0, 4, 2052);
    return count;
  };
  const take = (): Uint8Array => {
    readSync(page, producer, 0, 4, 2060);
    const bytes = Buffer.alloc(producer.readUInt32LE() - taken);
    for (let at = 0; at < bytes.length; at++) readSync(page, bytes, at, 1, 1024 + ((taken + at) & 1023));
    taken += bytes.length;
    consumer.writeUInt32LE(taken);
    writeSync(page, consumer, 0, 4, 2056);
    return bytes;
  };
  const signal = Buffer.from([100 + domid]);
  return {
    async ask(request) {
      const heard: XenstoreMessage[] = [];
      let answered = false;
      for (let bytes = encodeMessage(request); !answered; ) {
        const count = put(bytes);
        bytes = bytes.subarray(count);
        const got = take();
        if (count > 0 || got.length > 0) writeSync(events, signal);
        decodeChunk(decoder, got, (message) => {
          heard.push(message);
          if (message.type !== XS.WATCH_EVENT) answered = true;
        });
        if (!answered) await new Promise((resolve) => setImmediate(resolve));
      }
      return heard;
    },
  };
}

function ourPeers(): Peer[] {
  const store = createXenstore();
  for (const domid of DOMAINS.slice(1)) store.introduce(domid, { page: new Uint8Array(4096), notify() {} });
  return DOMAINS.map((domid) => {
    let heard: XenstoreMessage[] = [];
    const connection = store.connect(domid, (message) => heard.push(message));
    return {
      ask(request) {
        connection.handle(request);
        const all = heard;
        heard = [];
        return Promise.resolve(all);
      },
    };
  });
}

function textOf({ type, body }: XenstoreMessage): string {
  return `${type} ${Buffer.from(body).toString("latin1").replaceAll("\0", "|")}`;
}

const permissionList = fc.constantFrom("n0|", "b0|", "r0|b1|", "n1|", "n1|r2|", "w1|b2|", "n2|r1|w0|", "r2|n1|");
const name = fc.constantFrom("a", "b", "c");
const path = fc.array(name, { maxLength: 3 }).map((parts) => ["", ...parts].join("/"));
/** Requests; `~` stands for the run's own subtree. */
const plain: fc.Arbitrary<Request> = fc.oneof(
  fc.tuple(
    fc.constantFrom(XS.READ, XS.MKDIR, XS.DIRECTORY, XS.GET_PERMS),
    path.map((node) => `~${node}|`),
  ),
  fc.tuple(
    fc.constant(XS.RM),
    path.filter((node) => node !== "").map((node) => `~${node}|`),
  ),
  fc.tuple(
    fc.constant(XS.WRITE),
    fc.tuple(path, fc.constantFrom("", "1", "two")).map(([node, value]) => `~${node}|${value}`),
  ),
  fc.tuple(
    fc.constant(XS.SET_PERMS),
    fc.tuple(path, permissionList).map(([node, list]) => `~${node}|${list}`),
  ),
  fc.tuple(
    fc.constant(XS.DIRECTORY_PART),
    path.map((node) => `~${node}|99|`),
  ),
);
const watch: fc.Arbitrary<Request> = fc.tuple(
  fc.constantFrom(XS.WATCH, XS.WATCH, XS.UNWATCH),
  fc.tuple(path, fc.constantFrom("t", "u")).map(([node, token]) => `~${node}|${token}|`),
);
const odd = fc.constantFrom(
  // With these C xenstored answers whatever errno was left over.
  [XS.READ, "~/a", "any error"],
  [XS.READ, "~/a|b|", "any error"],
  [XS.READ, "", "any error"],
  [XS.DIRECTORY, "~/a", "any error"],
  [XS.READ, "~//a|"],
  [XS.READ, "~/a/|"],
  [XS.READ, "~/a b|"],
  [XS.READ, "/|"],
  [XS.DIRECTORY, "/|"],
  [XS.WRITE, "~/a"],
  [XS.WRITE, "relative|x"],
  [XS.WRITE, `~/a|${"x".repeat(1000)}`],
  [XS.WRITE, `~/large|${"x".repeat(1990)}`],
  [XS.WRITE, `~/large|${"x".repeat(2025)}`],
  [XS.WRITE, `~/large|${"x".repeat(3500)}`],
  [XS.MKDIR, `~/a/${"x".repeat(1500)}|`],
  [XS.READ, "~/a|"],
  [XS.RM, "relative|"],
  [XS.RM, "~/none/below|"],
  [XS.READ, `~/${"x".repeat(3100)}|`],
  [XS.SET_PERMS, "~/a|"],
  [XS.SET_PERMS, "~/a|n1|reserved"],
  [XS.UNWATCH, "~/a|t|reserved"],
  [XS.SET_PERMS, "~/a|x1|"],
  [XS.SET_PERMS, "~/a|n1|r2|r3|r4|r5|r6|r7|"],
  [XS.WATCH, "~/a|"],
  [XS.WATCH, "@releaseDomain|s|"],
  [XS.UNWATCH, "@releaseDomain|s|"],
  [XS.WATCH, "relative|r|"],
  [XS.UNWATCH, "relative|r|"],
  [XS.GET_DOMAIN_PATH, "7|"],
  [XS.IS_DOMAIN_INTRODUCED, "1|"],
  [XS.IS_DOMAIN_INTRODUCED, "9|"],
  [XS.TRANSACTION_END, "T|"],
  [XS.TRANSACTION_END, "x|"],
  [XS.RELEASE, "99|"],
  [XS.RESUME, "99|"],
  [XS.SET_TARGET, "1|99|"],
  [200, "|"],
) as fc.Arbitrary<Request>;
const domid = fc.constantFrom(...DOMAINS);
type Request = readonly [type: number, body: string, answer?: "any error"];
type Step =
  | { readonly kind: "one"; readonly domid: number; readonly request: Request }
  | {
      readonly kind: "transaction";
      readonly domid: number;
      readonly requests: readonly Request[];
      readonly end: string;
    };
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("one" as const), domid, request: plain }),
  fc.record({ kind: fc.constant("one" as const), domid, request: fc.oneof(plain, watch, odd) }),
  // Nobody else acts in between: when transactions collide is where the two differ on purpose.
  fc.record({
    kind: fc.constant("transaction" as const),
    domid,
    requests: fc.array(plain, { maxLength: 6 }),
    end: fc.constantFrom("T|", "T|", "F|"),
  }),
);

const BARRIER = { type: XS.GET_DOMAIN_PATH, requestId: 6, transactionId: 0, body: Buffer.from("5\0") };

/** Runs `steps` and answers all that the domains were told. */
async function run(peers: readonly Peer[], home: string, steps: readonly Step[]): Promise<string[]> {
  const log: string[] = [];
  const ask = async (domid: number, [type, text, answer]: Request, transactionId = 0): Promise<string> => {
    const body = Buffer.from(text.replaceAll("~", home).replaceAll("|", "\0"), "latin1");
    const heard = await peers[domid]!.ask({ type, requestId: 5, transactionId, body });
    const reply = heard.at(-1)!;
    // The first event of a watch follows its reply: whatever comes before another reply is here by then.
    const rest = await peers[domid]!.ask(BARRIER);
    const lines = [...heard, ...rest.slice(0, -1)].map((message) => {
      // Transaction ids are the store's own business, and so are the stamps of lists.
      if (message.type === XS.TRANSACTION_START) return `${message.type} id`;
      const line = textOf(message).replaceAll(home, "~");
      if (message.type === XS.ERROR && answer !== undefined) return answer;
      return message.type === XS.DIRECTORY_PART ? line.replace(/ \d+\|/, " stamp|") : line;
    });
    // C xenstored sends an event that still waits to be read, and is the same, once.
    log.push(`d${domid} ${type} ${text.slice(0, 60)} -> ${[...new Set(lines)].join(", ")}`);
    return Buffer.from(reply.body).toString("latin1").replaceAll("\0", "");
  };
  /** What the others were told because of it. */
  const listen = async (speaker: number): Promise<void> => {
    for (const domid of DOMAINS) if (domid !== speaker) await ask(domid, [XS.GET_DOMAIN_PATH, "5|"]);
  };
  await ask(0, [XS.WRITE, "~|home"]);
  await ask(0, [XS.SET_PERMS, "~|n0|b1|r2|"]);
  for (const one of steps) {
    if (one.kind === "one") await ask(one.domid, one.request);
    else {
      const id = Number(await ask(one.domid, [XS.TRANSACTION_START, "|"]));
      for (const request of one.requests) await ask(one.domid, request, id);
      await ask(one.domid, [XS.TRANSACTION_END, one.end], id);
    }
    await listen(one.domid);
  }
  for (const domid of DOMAINS) await ask(domid, [XS.RESET_WATCHES, "|"]);
  await ask(0, [XS.RM, "~|"]);
  return log;
}

test("whatever three domains ask, our store and C xenstored tell them the same", async () => {
  const ours = ourPeers();
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25, size: "max" }), async (steps) => {
      const home = `/run-${runs++}`;
      const expected = await run(theirs, home, steps);
      expect(await run(ours, home, steps)).toEqual(expected);
    }),
    { numRuns: 20, seed: 1 },
  );
});
