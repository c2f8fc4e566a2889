import fc from "fast-check";
import { expect, test } from "vitest";
import { createShareBed, ShareRing } from "../test/frontend.ts";
import { createPipeFileSystem } from "../test/pipe-file-system.ts";
import { createShareDevice } from "./backend.ts";
import { encodeMessage } from "./codec.ts";
import { NO_FID, NO_TAG } from "./flags.ts";
import { createMemoryFileSystem } from "./memory-file-system.ts";
import { createP9Server } from "./server.ts";

const CONNECTED = "4";
const CLOSING = "5";
const CLOSED = "6";

function memoryServer() {
  const fileSystem = createMemoryFileSystem({ now: () => 0n });
  return { fileSystem, server: createP9Server({ fileSystem, onError: rethrow }) };
}

function rethrow(error: unknown): never {
  throw error;
}

function session(ring: ShareRing, msize = 1 << 20): void {
  ring.send("Tversion", NO_TAG, { msize, version: "9P2000.L" });
  ring.send("Tattach", 1, { fid: 0, afid: NO_FID, uname: "", aname: "", uid: 0 });
}

async function connected(orders: readonly number[], start = 0, gap = 0) {
  const { fileSystem, server } = memoryServer();
  const bed = await createShareBed(server);
  const rings = orders.map((order) => new ShareRing(bed.guest, order, start, gap));
  expect(await bed.connect(rings)).toBe(CONNECTED);
  return { ...bed, fileSystem, rings, ring: rings[0]! };
}

test("the device offers what Linux asks for, and doesn't say where its folder is", async () => {
  const bed = await createShareBed(memoryServer().server);
  expect(["versions", "max-rings", "max-ring-page-order", "path", "security_model"].map(bed.read)).toEqual([
    "1",
    "8",
    "9",
    "/src",
    "none",
  ]);
  expect(bed.readFront("tag")).toBe("src");
});

test("requests on several rings are one session, and each answer is in the ring of its request", async () => {
  const { rings, guest, fileSystem } = await connected([2, 3, 9]);
  session(rings[0]!);
  await guest.settle();
  expect(rings[0]!.take()).toMatchObject([
    // The smallest ring says how large a message may be.
    { name: "Rversion", fields: { msize: 8192 } },
    { name: "Rattach", tag: 1 },
  ]);
  rings[1]!.send("Tmkdir", 7, { dfid: 0, name: "d", mode: 0o755, gid: 0 });
  rings[2]!.send("Twalk", 8, { fid: 0, newfid: 1, names: [] });
  await guest.settle();
  expect(rings.map((ring) => ring.take().map(({ name, tag }) => `${name} ${tag}`))).toEqual([
    [],
    ["Rmkdir 7"],
    ["Rwalk 8"],
  ]);
  expect(fileSystem.listFolder("/")).toEqual(["d"]);
});

test("data survive the way through rings of any place in memory, around their ends", async () => {
  for (const gap of [0, 1]) {
    // The indices run over 2^32 on the way.
    const { ring, guest, fileSystem } = await connected([2], 0xffffe000, gap);
    session(ring);
    await guest.settle();
    ring.take();
    const contents = Uint8Array.from({ length: 100_000 }, (_, index) => (index * 7919) >> 3);
    ring.send("Tlcreate", 2, { fid: 0, name: "f", flags: 2, mode: 0o644, gid: 0 });
    for (let at = 0; at < contents.length; at += 5000) {
      ring.send("Twrite", 3, { fid: 0, offset: BigInt(at), data: contents.subarray(at, at + 5000) });
      await guest.settle();
      expect(ring.take().at(-1)).toMatchObject({ name: "Rwrite", fields: { count: 5000 } });
    }
    expect(fileSystem.readFile("/f")).toEqual(contents);
    for (let at = 0; at < contents.length; at += 5000) {
      ring.send("Tread", 3, { fid: 0, offset: BigInt(at), count: 5000 });
      await guest.settle();
      expect(ring.take()).toMatchObject([{ name: "Rread", fields: { data: contents.slice(at, at + 5000) } }]);
    }
  }
});

test("a message that comes in pieces is waited for, and answers wait for room, whole", async () => {
  const { ring, guest, fileSystem } = await connected([2]);
  fileSystem.writeFile("/f", new Uint8Array(20_000).fill(5));
  session(ring);
  ring.send("Twalk", 2, { fid: 0, newfid: 1, names: ["f"] });
  await guest.settle();
  ring.take();
  const open = encodeMessage("Tlopen", 3, { fid: 1, flags: 0 });
  for (const cut of [2, 6, 8, 11, open.length]) {
    ring.put(
      open.subarray(cut === 2 ? 0 : [2, 6, 8, 11, open.length][[2, 6, 8, 11, open.length].indexOf(cut) - 1], cut),
    );
    await guest.settle();
  }
  expect(ring.take()).toMatchObject([{ name: "Rlopen", tag: 3 }]);
  for (let tag = 10; tag < 14; tag++) ring.send("Tread", tag, { fid: 1, offset: 0n, count: 5000 });
  await guest.settle();
  const seen: number[] = [];
  for (let round = 0; round < 10; round++) {
    for (const answer of ring.take(1)) {
      expect(answer).toMatchObject({ name: "Rread", fields: { data: new Uint8Array(5000).fill(5) } });
      seen.push(answer.tag);
    }
    await guest.settle();
  }
  expect(seen).toEqual([10, 11, 12, 13]);
});

test("a guest that takes no answers gets no more requests served, and goes on when it does", async () => {
  const { ring, guest } = await connected([2]);
  session(ring);
  await guest.settle();
  ring.take();
  const request = encodeMessage("Tgetattr", 5, { fid: 0, mask: 0n });
  let sent = 0;
  for (let round = 0; round < 2000; round++) {
    if (ring.size - ring.untaken < request.length) break;
    ring.put(request);
    sent++;
    await guest.settle();
  }
  expect(ring.untaken).toBeGreaterThan(ring.size - request.length);
  let answered = 0;
  for (let round = 0; round < 1000 && answered < sent; round++) {
    answered += ring.take(7).length;
    await guest.settle();
  }
  expect([answered, ring.untaken]).toEqual([sent, 0]);
});

test("a guest has so many requests under way and no more, and giving up is always possible", async () => {
  const fileSystem = createPipeFileSystem();
  const bed = await createShareBed(createP9Server({ fileSystem }));
  const rings = [new ShareRing(bed.guest, 6), new ShareRing(bed.guest, 6)];
  const ring = rings[0]!;
  await bed.connect(rings);
  session(ring);
  ring.send("Twalk", 2, { fid: 0, newfid: 1, names: ["pipe"] });
  await bed.guest.settle();
  ring.send("Tlopen", 3, { fid: 1, flags: 0 });
  await bed.guest.settle();
  ring.take();
  for (let tag = 0; tag < 2000; tag++) ring.send("Tread", tag, { fid: 1, offset: 0n, count: 100 });
  await bed.guest.settle();
  expect(fileSystem.waiting).toBe(1024);
  rings[1]!.send("Tflush", 5000, { oldtag: 7 });
  await bed.guest.settle();
  expect(rings[1]!.take()).toMatchObject([{ name: "Rflush", tag: 5000 }]);
  expect(fileSystem.waiting).toBeLessThanOrEqual(1024);
  for (let round = 0; round < 2000; round++) fileSystem.feed(new Uint8Array([1]));
  await bed.guest.settle();
  for (let round = 0; round < 2000; round++) fileSystem.feed(new Uint8Array([1]));
  await bed.guest.settle();
  expect(ring.take().length).toBe(1999);
  expect(fileSystem.waiting).toBe(0);
  // Large reads count by what they may bring.
  for (let tag = 0; tag < 1000; tag++) ring.send("Tread", tag, { fid: 1, offset: 0n, count: 1 << 20 });
  await bed.guest.settle();
  expect(fileSystem.waiting).toBeLessThan(600);
  await bed.backend.close();
  expect([fileSystem.waiting, fileSystem.open, bed.guest.mapped, bed.guest.listeners.size]).toEqual([0, 0, 0, 0]);
});

test("a frontend that makes no sense is told so, and nothing of it is kept", async () => {
  const cases: readonly [string, Record<string, string | number>][] = [
    ["version is 2", { version: 2 }],
    ["version is x", { version: "x" }],
    ["num-rings is 0", { "num-rings": 0 }],
    ["num-rings is 9", { "num-rings": 9 }],
    ["num-rings is 99999999999", { "num-rings": "99999999999" }],
    ["ring-ref1 is missing", { "num-rings": 2 }],
    ["grant 9999", { "ring-ref0": 9999 }],
    ["port 9999", { "event-channel-0": 9999 }],
    ["event-channel-0 is -1", { "event-channel-0": -1 }],
  ];
  for (const [message, nodes] of cases) {
    const bed = await createShareBed(memoryServer().server);
    const state = await bed.connect([new ShareRing(bed.guest, 2)], nodes);
    expect([state, bed.read("error")], message).toEqual([CLOSING, expect.stringContaining(message)]);
    expect([bed.guest.mapped, bed.guest.listeners.size]).toEqual([0, 0]);
  }
});

test("rings of orders and pages that can't be are refused", async () => {
  for (const [order, change] of [
    [2, (ring: ShareRing) => ring.indices.setUint32(128, 0, true)],
    [2, (ring: ShareRing) => ring.indices.setUint32(128, 10, true)],
    [2, (ring: ShareRing) => ring.indices.setUint32(128, 0xffffffff, true)],
    [2, (ring: ShareRing) => ring.indices.setUint32(128, 3, true)],
    [3, (ring: ShareRing) => ring.indices.setUint32(132 + 12, 4_000_000_000, true)],
    // Half a page of each: no message would fit.
    [1, (ring: ShareRing) => ring.indices.setUint32(128, 0x1_0001, true)],
  ] as const) {
    const bed = await createShareBed(memoryServer().server);
    const ring = new ShareRing(bed.guest, order);
    change(ring);
    expect(await bed.connect([ring])).toBe(CLOSING);
    expect([bed.guest.mapped, bed.guest.listeners.size]).toEqual([0, 0]);
  }
  // The smallest ring that there is.
  await connected([1]);
});

test("indices out of range and messages of impossible sizes close the ring, and only that", async () => {
  const breaks: ((ring: ShareRing) => void)[] = [
    (ring) => ring.indices.setUint32(68, ring.sent + ring.size + 1, true),
    (ring) => ring.indices.setUint32(68, ring.sent - 1, true),
    (ring) => ring.put(new Uint8Array([0, 0, 0, 0, 100, 0, 0])),
    (ring) => ring.put(new Uint8Array([6, 0, 0, 0, 100, 0, 0])),
    (ring) => ring.put(new Uint8Array([0xff, 0xff, 0xff, 0xff, 100, 0, 0, 0])),
    (ring) => {
      ring.send("Tgetattr", 1, { fid: 0, mask: 0n });
      ring.indices.setUint32(0, ring.received - 5, true);
      ring.indices.setUint32(0, ring.received + 5, true);
    },
  ];
  for (const change of breaks) {
    const { rings, guest, errors, state } = await connected([2, 2]);
    session(rings[1]!);
    await guest.settle();
    rings[1]!.take();
    change(rings[0]!);
    guest.signal(rings[0]!.port);
    await guest.settle();
    expect(errors).toEqual([expect.stringContaining("ring 0 is given up")]);
    rings[0]!.send("Tgetattr", 1, { fid: 0, mask: 0n });
    rings[1]!.send("Tgetattr", 1, { fid: 0, mask: 0n });
    await guest.settle();
    expect(rings[1]!.take()).toMatchObject([{ name: "Rgetattr" }]);
    expect(await state(6)).toBe(CLOSED);
    expect([guest.mapped, guest.listeners.size]).toEqual([0, 0]);
  }
});

test("whatever bytes a guest puts into its rings, the backend comes to an end and lets go", async () => {
  const message = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc
      .record({ type: fc.integer({ min: 0, max: 130 }), body: fc.uint8Array({ maxLength: 40 }) })
      .map(({ type, body }) => new Uint8Array([body.length + 7, 0, 0, 0, type, 1, 0, ...body])),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(message, { maxLength: 20 }), fc.boolean(), async (messages, scribble) => {
      const { ring, guest, backend } = await connected([2]);
      session(ring);
      await guest.settle();
      for (const [index, raw] of messages.entries()) {
        ring.put(raw);
        if (scribble) ring.indices.setUint32([0, 4, 64, 128][index % 4]!, index * 0x1234567, true);
        await guest.settle();
      }
      await backend.close();
      expect([guest.mapped, guest.listeners.size]).toEqual([0, 0]);
    }),
    { numRuns: 60 },
  );
});

test("a frontend that comes again starts anew; one that goes leaves nothing open, nor does unplugging", async () => {
  const { ring, guest, state, connect, backend, read, fileSystem } = await connected([2]);
  fileSystem.writeFile("/f", new Uint8Array(1));
  session(ring);
  ring.send("Twalk", 2, { fid: 0, newfid: 1, names: ["f"] });
  await guest.settle();
  expect(await state(5)).toBe(CLOSING);
  expect([guest.mapped, guest.listeners.size]).toEqual([0, 0]);
  expect(await state(6)).toBe(CLOSED);
  expect(await state(1)).toBe("2");
  const next = new ShareRing(guest, 2);
  expect(await connect([next])).toBe(CONNECTED);
  next.send("Tgetattr", 1, { fid: 1, mask: 0n });
  await guest.settle();
  expect(next.take()).toMatchObject([{ name: "Rlerror", fields: { ecode: 71 } }]);
  await backend.unplug();
  await guest.settle();
  expect([read("online"), read("state")]).toEqual(["0", CLOSING]);
  expect(await state(6)).toBe(CLOSED);
  expect([guest.mapped, guest.listeners.size]).toEqual([0, 0]);
});

test("tags and orders that can't be are the caller's mistake", () => {
  const { server } = memoryServer();
  for (const tag of ["", "a b", "x".repeat(32), "ü"])
    expect(() => createShareDevice({ server, tag, id: 0 }), tag).toThrow(
      expect.objectContaining({ code: "BAD_ARGUMENT" }),
    );
  for (const maxRingPageOrder of [0, 1, 10, 2.5])
    expect(() => createShareDevice({ server, tag: "t", id: 0, maxRingPageOrder })).toThrow(
      expect.objectContaining({ code: "BAD_ARGUMENT" }),
    );
});
