import { XENSTORE_ERROR, XS } from "@paravirt/xen-abi";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createXenstore, encodeMessage, type XenstoreOptions } from "./index.ts";
import { latin1Decode, latin1Encode } from "./text.ts";

/** A guest's end of `struct xenstore_domain_interface`, written from docs/misc/xenstore-ring.txt and not from our code. */
function createGuest(store = createXenstore(), domid = 1, start = 0) {
  const page = new Uint8Array(4096);
  const view = new DataView(page.buffer);
  for (const at of [2048, 2052, 2056, 2060]) view.setUint32(at, start, true);
  let notified = 0;
  const ring = store.introduce(domid, {
    page,
    notify: () => {
      notified++;
    },
  });
  const guest = {
    page,
    view,
    ring,
    store,
    get notified() {
      return notified;
    },
    /** Puts what fits into the ring and answers how much that was; the event is the caller's. */
    put(bytes: Uint8Array): number {
      let producer = view.getUint32(2052, true);
      const consumer = view.getUint32(2048, true);
      let sent = 0;
      while (sent < bytes.length && (producer - consumer) >>> 0 < 1024) {
        page[producer & 1023] = bytes[sent++]!;
        producer = (producer + 1) >>> 0;
      }
      view.setUint32(2052, producer, true);
      return sent;
    },
    get(limit = 1024): Uint8Array {
      let consumer = view.getUint32(2056, true);
      const producer = view.getUint32(2060, true);
      const taken: number[] = [];
      while (consumer !== producer && taken.length < limit) {
        taken.push(page[1024 + (consumer & 1023)]!);
        consumer = (consumer + 1) >>> 0;
      }
      view.setUint32(2056, consumer, true);
      return Uint8Array.from(taken);
    },
    /** Sends all of `bytes` and takes answers until the store has no more. */
    talk(bytes: Uint8Array): Uint8Array {
      const answers: number[] = [];
      for (let sent = 0; ; ) {
        sent += guest.put(bytes.subarray(sent));
        ring.event();
        const got = guest.get();
        answers.push(...got);
        if (sent === bytes.length && got.length === 0) return Uint8Array.from(answers);
      }
    },
  };
  return guest;
}

const request = (type: number, text: string, requestId = 1): Uint8Array =>
  encodeMessage({ type, requestId, transactionId: 0, body: latin1Encode(text.replaceAll("|", "\0")) });

function textOf(bytes: Uint8Array): string {
  return latin1Decode(bytes.subarray(16));
}

test("a request is answered in the ring and the guest woken once", () => {
  const guest = createGuest();
  guest.store.local.write("/local/domain/1", "");
  guest.put(request(XS.GET_DOMAIN_PATH, "1|", 77));
  guest.ring.event();
  const reply = guest.get();
  expect([...reply.subarray(0, 16)]).toEqual([10, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0]);
  expect(textOf(reply)).toBe("/local/domain/1\0");
  expect(guest.notified).toBe(1);
});

test("the store says in the page what it offers: reconnection, the error field, watches with a depth", () => {
  expect(createGuest().view.getUint32(2064, true)).toBe(7);
});

test("a domain for which features were set gets those", () => {
  const store = createXenstore();
  store.connect(0, () => {}).handle({ type: 24, requestId: 1, transactionId: 0, body: latin1Encode("1\x002\0") });
  expect(createGuest(store).view.getUint32(2064, true)).toBe(2);
});

test("requests that come in pieces of any size, over the wrap of ring and index, are answered in order", () => {
  fc.assert(
    fc.property(fc.nat(0xffff_ffff), fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1 }), (start, pieces) => {
      const guest = createGuest(createXenstore(), 1, start);
      guest.store.local.write("/local/domain/1", "");
      guest.store
        .connect(0, () => {})
        .handle({
          type: XS.SET_PERMS,
          requestId: 1,
          transactionId: 0,
          body: latin1Encode("/local/domain/1\0n1\0"),
        });
      const stream: number[] = [];
      for (let at = 0; at < 20; at++) stream.push(...request(XS.WRITE, `n${at}|${"v".repeat(at * 20)}`, at));
      const answers: number[] = [];
      for (let sent = 0, piece = 0; sent < stream.length; piece++) {
        sent += guest.put(Uint8Array.from(stream.slice(sent, sent + pieces[piece % pieces.length]!)));
        guest.ring.event();
        answers.push(...guest.get());
      }
      expect(answers.length).toBe(20 * 19);
      expect(answers.filter((_, at) => at % 19 === 4)).toEqual(Array.from({ length: 20 }, (_, at) => at));
      expect(guest.store.local.list("/local/domain/1")).toHaveLength(20);
    }),
    { numRuns: 50 },
  );
});

test("an answer longer than the ring comes in pieces as the guest takes them", () => {
  const guest = createGuest();
  guest.store.local.write("/big", "x".repeat(4000));
  guest.store.local.setPermissions("/big", [{ domid: 0, read: true, write: false }]);
  expect(textOf(guest.talk(request(XS.READ, "/big|")))).toBe("x".repeat(4000));
});

test("a guest that doesn't take its answers has 20 outstanding requests at most; the rest stay in its ring", () => {
  const guest = createGuest();
  guest.store.local.write("/big", "x".repeat(3000));
  guest.store.local.setPermissions("/big", [{ domid: 0, read: true, write: false }]);
  let asked = 0;
  for (let round = 0; round < 50; round++) {
    const bytes = request(XS.READ, "/big|");
    const free = 1024 - ((guest.view.getUint32(2052, true) - guest.view.getUint32(2048, true)) >>> 0);
    if (free >= bytes.length) {
      guest.put(bytes);
      asked++;
    }
    guest.ring.event();
  }
  const waiting = (guest.view.getUint32(2052, true) - guest.view.getUint32(2048, true)) >>> 0;
  expect(waiting).toBe((asked - 20) * request(XS.READ, "/big|").length);
  const length = guest.talk(new Uint8Array(0)).length;
  expect(length).toBe(asked * 3016);
});

test("events that repeat while the guest doesn't look are queued once", () => {
  const guest = createGuest();
  guest.store.local.write("/seen", "");
  guest.store.local.setPermissions("/seen", [{ domid: 0, read: true, write: false }]);
  guest.talk(request(XS.WATCH, "/seen|t|"));
  for (let at = 0; at < 100_000; at++) guest.store.local.write("/seen", String(at));
  const events = guest.talk(new Uint8Array(0)).length / (16 + "/seen|t|".length);
  // The ring held some already written, one was underway, one waited.
  expect(events).toBeLessThan(1024 / 24 + 3);
});

test("a guest that lets more than its quota of events pile up loses its ring, others go on", () => {
  const store = createXenstore({ quotas: { memory: 10_000 } });
  const guest = createGuest(store);
  const other = createGuest(store, 2);
  store.local.write("/dir", "");
  store.local.setPermissions("/dir", [{ domid: 0, read: true, write: false }]);
  guest.talk(request(XS.WATCH, "/dir|t|"));
  for (let at = 0; at < 1000; at++) store.local.write(`/dir/${at}`, "");
  expect(guest.ring.error).toBe(XENSTORE_ERROR.COMM);
  expect(textOf(other.talk(request(XS.GET_DOMAIN_PATH, "2|")))).toBe("/local/domain/2\0");
});

test.each([
  ["request producer too far ahead", 2052, 1025],
  ["request producer behind", 2052, 0xffff_ffff],
])("a %s shuts the ring with the error that says so, and nothing is answered", (_name, at, value) => {
  const guest = createGuest();
  guest.view.setUint32(at, value, true);
  guest.ring.event();
  guest.ring.event();
  expect(guest.view.getUint32(2072, true)).toBe(XENSTORE_ERROR.RINGIDX);
  expect(guest.get().length).toBe(0);
  expect(guest.notified).toBe(1);
});

test("a hostile response consumer shuts the ring when the store has something to say", () => {
  const guest = createGuest();
  guest.view.setUint32(2056, 5, true);
  guest.put(request(XS.GET_DOMAIN_PATH, "1|"));
  guest.ring.event();
  expect(guest.ring.error).toBe(XENSTORE_ERROR.RINGIDX);
});

test("a message longer than allowed shuts the ring, and its watches hear nothing more", () => {
  const guest = createGuest();
  guest.store.local.write("/seen", "");
  guest.store.local.setPermissions("/seen", [{ domid: 0, read: true, write: false }]);
  guest.talk(request(XS.WATCH, "/seen|t|"));
  const header = request(XS.READ, "/x|");
  header[13] = 0x20;
  guest.put(header);
  guest.ring.event();
  expect(guest.view.getUint32(2072, true)).toBe(XENSTORE_ERROR.PROTO);
  guest.store.local.write("/seen", "1");
  expect(guest.get().length).toBe(0);
});

test("a guest that asks for a reconnection gets an empty ring without watches or transactions", () => {
  const guest = createGuest();
  guest.talk(request(XS.TRANSACTION_START, "|"));
  guest.view.setUint32(2052, 0x4000, true);
  guest.ring.event();
  expect(guest.ring.error).toBe(XENSTORE_ERROR.RINGIDX);
  guest.view.setUint32(2068, 1, true);
  guest.ring.event();
  expect([2048, 2052, 2056, 2060, 2068, 2072].map((at) => guest.view.getUint32(at, true))).toEqual([0, 0, 0, 0, 0, 0]);
  expect(textOf(guest.talk(request(XS.GET_DOMAIN_PATH, "1|")))).toBe("/local/domain/1\0");
  const end = encodeMessage({ type: XS.TRANSACTION_END, requestId: 1, transactionId: 1, body: latin1Encode("T\0") });
  expect(textOf(guest.talk(end))).toBe("ENOENT\0");
});

test("whatever a guest writes into its page, each event ends, other domains are served and the store is whole", () => {
  const store = createXenstore();
  const other = createGuest(store, 2);
  const writes = fc.array(fc.tuple(fc.oneof(fc.nat(4095), fc.integer({ min: 2048, max: 2076 })), fc.nat(255)), {
    maxLength: 100,
    size: "max",
  });
  fc.assert(
    fc.property(writes, (list) => {
      const guest = createGuest(store, 1);
      for (const [at, value] of list) {
        guest.page[at] = value;
        guest.ring.event();
      }
      expect(textOf(other.talk(request(XS.GET_DOMAIN_PATH, "2|")))).toBe("/local/domain/2\0");
    }),
  );
});

test("a flooding guest gets 16 requests a turn while another's single request waits for one turn only", () => {
  const turns: (() => void)[] = [];
  const options: XenstoreOptions = { schedule: (run) => turns.push(run) };
  const store = createXenstore(options);
  const flood = createGuest(store, 1);
  const calm = createGuest(store, 2);
  for (let at = 0; at < 50; at++) flood.put(request(XS.GET_DOMAIN_PATH, "1|", at));
  flood.ring.event();
  calm.put(request(XS.GET_DOMAIN_PATH, "2|"));
  calm.ring.event();
  turns.shift()!();
  expect(flood.get().length).toBe(16 * 32);
  expect(calm.get().length).toBe(0);
  turns.shift()!();
  expect(calm.get().length).toBe(32);
  while (turns.length > 0) turns.shift()!();
  expect(flood.get().length).toBeGreaterThan(0);
});

test("a ring that was replaced or released leaves its page alone", () => {
  const store = createXenstore();
  const first = createGuest(store);
  const second = createGuest(store);
  first.put(request(XS.GET_DOMAIN_PATH, "1|"));
  first.ring.event();
  expect(first.get().length).toBe(0);
  expect(textOf(second.talk(request(XS.GET_DOMAIN_PATH, "1|")))).toBe("/local/domain/1\0");
  store.release(1);
  second.put(request(XS.GET_DOMAIN_PATH, "1|"));
  second.ring.event();
  expect(second.get().length).toBe(0);
});

test("an INTRODUCE message gets its page from the host, a frame that can't be had is EINVAL", () => {
  const page = new Uint8Array(4096);
  const seen: unknown[] = [];
  const store = createXenstore({
    openRing: (domid, gfn, port) => {
      seen.push([domid, gfn, port]);
      return gfn === -2 ? undefined : { page, notify() {} };
    },
    onRing: (ring) => seen.push(ring.domid),
  });
  const replies: string[] = [];
  const toolstack = store.connect(0, (message) => replies.push(latin1Decode(message.body)));
  for (const body of ["4\x00123\x005\0", "5\x00-2\x001\0"]) {
    toolstack.handle({ type: XS.INTRODUCE, requestId: 1, transactionId: 0, body: latin1Encode(body) });
  }
  expect(seen).toEqual([[4, 123, 5], 4, [5, -2, 1]]);
  expect(replies).toEqual(["OK\0", "EINVAL\0"]);
});

test("domain 0 and Xen's special ids can't be introduced", () => {
  const port = { page: new Uint8Array(4096), notify() {} };
  for (const domid of [0, -1, 1.5, 0x7ff0])
    expect(() => createXenstore().introduce(domid, port)).toThrow("ids go from 1");
  expect(() => createXenstore().introduce(1, { ...port, page: new Uint8Array(64) })).toThrow(
    "does not fit a page of 64",
  );
});
