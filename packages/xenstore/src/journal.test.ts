import { XS } from "@paravirt/xen-abi";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  createXenstore,
  createXenstoreClient,
  encodeMessage,
  formatPermissions,
  localLink,
  parsePermissions,
  type Xenstore,
  type XenstoreJournal,
} from "./index.ts";
import { XS_LATER } from "./request.ts";
import { decodeChanges, encodeChanges, type StoreChange } from "./store-change.ts";
import { latin1Decode, latin1Encode } from "./text.ts";

/** A journal in memory; what is appended is durable when the test says so, or at once. */
function createJournal(atOnce = false) {
  const entries: Uint8Array[] = [];
  let listener: (count: number) => void = () => {};
  const journal: XenstoreJournal = {
    append(entry) {
      entries.push(entry);
      if (atOnce) listener(entries.length);
    },
    onDurable: (called) => {
      listener = called;
    },
  };
  return { journal, entries, durable: (count = entries.length) => listener(count) };
}

/** Everything that a store keeps, in order. */
function dump(store: Xenstore, path = "/"): string[] {
  const value = store.local.read(path)!;
  const line = `${path} = ${value} (${formatPermissions(store.local.permissions(path)!)})`;
  return [
    line,
    ...store.local.list(path)!.flatMap((name) => dump(store, path === "/" ? `/${name}` : `${path}/${name}`)),
  ];
}

function ask(store: Xenstore, type: number, body: string): string {
  let answer = "";
  const connection = store.connect(0, (message) => {
    answer = latin1Decode(message.body);
  });
  connection.handle({ type, requestId: 1, transactionId: 0, body: latin1Encode(body) });
  connection.close();
  return answer;
}

const path = fc
  .array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 3 })
  .map((parts) => `/${parts.join("/")}`);
const request = fc.oneof(
  fc.tuple(
    fc.constant(XS.WRITE),
    fc.tuple(path, fc.string()).map(([node, value]) => `${node}\0${value}`),
  ),
  fc.tuple(
    fc.constantFrom(XS.MKDIR, XS.RM),
    path.map((node) => `${node}\0`),
  ),
  fc.tuple(
    fc.constant(XS.SET_PERMS),
    fc
      .tuple(fc.oneof(path, fc.constantFrom("/", "@releaseDomain")), fc.constantFrom("n0", "b1\0r2", "n2\0w1"))
      .map(([node, list]) => `${node}\0${list}\0`),
  ),
  fc.tuple(
    fc.constant(XS_LATER.SET_QUOTA),
    fc.nat(9).map((limit) => `transactions\0${limit}\0`),
  ),
  fc.tuple(fc.constant(XS.TRANSACTION_START), fc.constant("\0")),
  fc.tuple(fc.constant(XS.TRANSACTION_END), fc.constantFrom("T\0", "F\0")),
  fc.tuple(fc.constant(XS.RELEASE), fc.constantFrom("1\0", "2\0")),
);

test("after every request the entries make the store as it is, and so does a snapshot; a request is one entry at most", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(request, fc.boolean()), { maxLength: 40, size: "max" }), (requests) => {
      const { journal, entries } = createJournal(true);
      const store = createXenstore({ journal });
      for (const domid of [1, 2]) store.introduce(domid, { page: new Uint8Array(4096), notify() {} });
      let transaction = 0;
      let answer = "";
      const connection = store.connect(0, (message) => {
        answer = latin1Decode(message.body);
      });
      for (const [[type, body], inside] of requests) {
        const before = entries.length;
        const ends = type === XS.TRANSACTION_END;
        const transactionId = ends || (inside && type !== XS.TRANSACTION_START) ? transaction : 0;
        connection.handle({ type, requestId: 1, transactionId, body: latin1Encode(body) });
        if (ends) transaction = 0;
        if (type === XS.TRANSACTION_START) transaction = Number(answer.slice(0, -1));
        expect(entries.length - before).toBeLessThanOrEqual(1);
        const expected = dump(store);
        const special = ask(store, XS.GET_PERMS, "@releaseDomain\0");
        const quota = ask(store, XS_LATER.GET_QUOTA, "transactions\0");
        for (const list of [entries, store.snapshot()]) {
          const again = createXenstore({ entries: list });
          expect(dump(again)).toEqual(expected);
          expect(ask(again, XS.GET_PERMS, "@releaseDomain\0")).toBe(special);
          expect(ask(again, XS_LATER.GET_QUOTA, "transactions\0")).toBe(quota);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test("no reply and no event goes out before what it tells of is durable, whoever asks, in the order of the requests", () => {
  const { journal, durable } = createJournal();
  const store = createXenstore({ journal });
  durable();
  const heard: string[] = [];
  const connect = (name: string) => {
    const connection = store.connect(0, ({ type, body }) => heard.push(`${name} ${type} ${latin1Decode(body)}`));
    return (type: number, body: string) =>
      connection.handle({ type, requestId: 1, transactionId: 0, body: latin1Encode(body) });
  };
  const [writer, reader] = [connect("writer"), connect("reader")];
  reader(XS.WATCH, "/a\0t\0");
  expect(heard.splice(0)).toEqual([`reader ${XS.WATCH} OK\0`, `reader ${XS.WATCH_EVENT} /a\0t\0`]);
  writer(XS.WRITE, "/a\x001");
  reader(XS.READ, "/a\0");
  writer(XS.WRITE, "/a\x002");
  expect(heard).toEqual([]);
  durable(2);
  expect(heard.splice(0)).toEqual([
    `reader ${XS.WATCH_EVENT} /a\0t\0`,
    `writer ${XS.WRITE} OK\0`,
    `reader ${XS.READ} 1`,
  ]);
  durable(3);
  expect(heard).toEqual([`reader ${XS.WATCH_EVENT} /a\0t\0`, `writer ${XS.WRITE} OK\0`]);
});

test("domain 0's direct access acts at once, and durable() tells when the journal has it", async () => {
  const { journal, durable } = createJournal();
  const store = createXenstore({ journal });
  store.local.write("/a/b/c", "1");
  expect(store.local.read("/a/b/c")).toBe("1");
  let done = false;
  const waited = store.durable().then(() => {
    done = true;
  });
  await Promise.resolve();
  expect(done).toBe(false);
  durable();
  await waited;
  await createXenstore().durable();
});

test("quotas that were only options are not kept, those that were set are", () => {
  const { journal, entries } = createJournal(true);
  const store = createXenstore({ journal, quotas: { nodes: 5, watches: 6 } });
  ask(store, XS_LATER.SET_QUOTA, "watches\x007\0");
  for (const list of [entries, store.snapshot()]) {
    const again = createXenstore({ entries: list });
    expect([ask(again, XS_LATER.GET_QUOTA, "nodes\0"), ask(again, XS_LATER.GET_QUOTA, "watches\0")]).toEqual([
      "1000\0",
      "7\0",
    ]);
  }
});

test("a snapshot is of the time when it was asked for, however late it is taken", () => {
  const store = createXenstore();
  for (let at = 0; at < 2000; at++) store.local.write(`/many/${at}`, "x".repeat(50));
  const expected = dump(store);
  const snapshot = store.snapshot();
  for (let at = 0; at < 2000; at += 2) store.local.remove(`/many/${at}`);
  store.local.write("/many/1", "changed");
  const list = [...snapshot];
  expect(list.length).toBeGreaterThan(3);
  expect(dump(createXenstore({ entries: list }))).toEqual(expected);
});

test("garbage for an entry is BAD_IMAGE, and so are entries that don't fit together", () => {
  const good = encodeChanges([
    { kind: "create", path: "/x", value: Uint8Array.of(1, 2), permissions: parsePermissions("n0,b7")!, implied: false },
    { kind: "quota", quota: "nodes", limit: 4_000_000_000 },
  ]);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.nat(good.length).map((end) => good.slice(0, end)),
      ),
      fc.nat(),
      fc.nat(255),
      (bytes, at, to) => {
        if (bytes.length > 0) bytes[at % bytes.length] = to;
        try {
          createXenstore({ entries: [bytes] });
        } catch (error) {
          expect(error).toMatchObject({ code: "BAD_IMAGE" });
        }
      },
    ),
    { numRuns: 2000 },
  );
  const refused: [StoreChange, string][] = [
    [{ kind: "remove", path: "/none" }, "entry 1 of a xenstore journal: /none doesn't exist"],
    [{ kind: "remove", path: "/" }, "the root is removed"],
    [
      { kind: "create", path: "/a/b", value: new Uint8Array(0), permissions: parsePermissions("n0")!, implied: false },
      "no parent",
    ],
  ];
  for (const [change, message] of refused) {
    expect(() => createXenstore({ entries: [encodeChanges([change])] })).toThrow(message);
  }
  expect(decodeChanges(good)).toHaveLength(2);
});

test("a ring has 20 requests underway while the journal is slow, goes on by itself, and forgets them when it reconnects", async () => {
  const { journal, durable } = createJournal();
  const store = createXenstore({ journal });
  store.local.mkdir("/local/domain/1");
  store.local.setPermissions("/local/domain/1", parsePermissions("n1")!);
  durable();
  const page = new Uint8Array(4096);
  const view = new DataView(page.buffer);
  const ring = store.introduce(1, { page, notify() {} });
  const put = (bytes: Uint8Array) => {
    const producer = view.getUint32(2052, true);
    for (const [at, byte] of bytes.entries()) page[(producer + at) & 1023] = byte;
    view.setUint32(2052, producer + bytes.length, true);
  };
  const write = (value: string) =>
    encodeMessage({ type: XS.WRITE, requestId: 1, transactionId: 0, body: latin1Encode(`x\0${value}`) });
  for (let at = 0; at < 40; at++) put(write(String(at).padStart(2)));
  ring.event();
  ring.event();
  expect(view.getUint32(2048, true)).toBe(20 * 20);
  expect(view.getUint32(2060, true)).toBe(0);
  durable();
  expect(view.getUint32(2060, true)).toBe(20 * 19);
  view.setUint32(2056, 20 * 19, true);
  ring.event();
  expect(view.getUint32(2048, true)).toBe(40 * 20);
  view.setUint32(2068, 1, true);
  ring.event();
  durable();
  expect([2048, 2052, 2056, 2060].map((at) => view.getUint32(at, true))).toEqual([0, 0, 0, 0]);
  expect(store.local.read("/local/domain/1/x")).toBe("39");
});

test("a client's transaction ends when it is durable", async () => {
  const { journal, entries, durable } = createJournal();
  const store = createXenstore({ journal });
  durable();
  const client = createXenstoreClient(localLink(store));
  let done = false;
  const work = client
    .transaction(async (nodes) => {
      await nodes.write("/t/a", "1");
      await nodes.write("/t/b", "2");
    })
    .then(() => {
      done = true;
    });
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect([done, entries.length]).toEqual([false, 2]);
  durable();
  await work;
});
