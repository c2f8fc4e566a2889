import fc from "fast-check";
import { expect, test } from "vitest";
import { type BackRing, createBackRing, createFrontRing, type FrontRing } from "./index.ts";

const SLOT = 112; // blkif on x86-64

function createPair(pages = 1, slotSize = SLOT) {
  const memory = Array.from({ length: pages }, () => new Uint8Array(4096));
  const woken = { back: 0, front: 0 };
  const front: FrontRing = createFrontRing({
    pages: memory,
    slotSize,
    notify: () => {
      woken.back++;
    },
  });
  const back: BackRing = createBackRing({
    pages: memory,
    slotSize,
    notify: () => {
      woken.front++;
    },
  });
  const view = new DataView(memory[0]!.buffer);
  return { front, back, woken, view, memory };
}

function word(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

test("a page holds 32 block requests, sixteen pages 512, as Xen's __RING_SIZE says", () => {
  expect(createPair().back.size).toBe(32);
  expect(createPair(16).back.size).toBe(512);
});

test("the backend is woken by the first request, and again only after it asked", () => {
  const { front, back, woken } = createPair();
  front.request(word(1));
  front.push();
  expect(woken.back).toBe(1);
  front.request(word(2));
  front.push();
  expect(woken.back).toBe(1);
  expect([back.take()?.getUint32(0, true), back.take()?.getUint32(0, true), back.take()]).toEqual([1, 2, undefined]);
  expect(back.waitForRequests()).toBe(false);
  front.request(word(3));
  front.push();
  expect(woken.back).toBe(2);
});

test("a request that came before the backend asked to be woken is found by the final check", () => {
  const { front, back } = createPair();
  front.request(word(1));
  front.push();
  expect(back.waitForRequests()).toBe(true);
});

test("responses wake the frontend as it asked", () => {
  const { front, back, woken } = createPair();
  for (let at = 0; at < 3; at++) front.request(word(at));
  front.push();
  for (let at = 0; at < 3; at++) back.respond(word(100 + back.take()!.getUint32(0, true)));
  back.push();
  back.push();
  expect(woken.front).toBe(1);
  expect([1, 2, 3].map(() => front.take()?.getUint32(0, true))).toEqual([100, 101, 102]);
  expect(front.waitForResponses()).toBe(false);
});

test("a full ring takes no request more, and names its size", () => {
  const { front } = createPair();
  while (front.room > 0) front.request(word(0));
  expect(() => front.request(word(0))).toThrow("all 32 slots of the ring hold requests");
});

test("a response without a request is our bug", () => {
  expect(() => createPair().back.respond(word(0))).toThrow(expect.objectContaining({ code: "BUG" }));
});

test("a taken request is a copy: the frontend can't change it afterwards", () => {
  const { front, back, memory } = createPair();
  front.request(word(7));
  front.push();
  const taken = back.take()!;
  memory[0]!.fill(0xff, 64);
  expect(taken.getUint32(0, true)).toBe(7);
});

test.each([33, 0x8000_0000, 0xffff_ffff])(
  "a request producer of %i breaks the ring and nothing is taken",
  (producer) => {
    const { back, view } = createPair();
    view.setUint32(0, producer, true);
    expect(back.take()).toBeUndefined();
    expect(back.broken).toBe(true);
    view.setUint32(0, 1, true);
    expect(back.take()).toBeUndefined();
  },
);

test("a frontend can't make the backend take more than it has room to answer", () => {
  const { front, back, view } = createPair();
  while (front.room > 0) front.request(word(0));
  front.push();
  let taken = 0;
  while (back.take() !== undefined) taken++;
  view.setUint32(0, 40, true); // 8 more, nothing answered
  expect(back.take()).toBeUndefined();
  expect([taken, back.inFlight, back.broken]).toEqual([32, 32, true]);
});

test("a backend that answers more than it was asked breaks the frontend's ring", () => {
  const { front, view } = createPair();
  front.request(word(0));
  front.push();
  view.setUint32(8, 2, true);
  expect(front.take()).toBeUndefined();
  expect(front.broken).toBe(true);
});

test("slots that cross from one page into the next keep their bytes", () => {
  const { front, back } = createPair(2, 100);
  const sent: Uint8Array[] = [];
  while (front.room > 0) {
    const slot = Uint8Array.from({ length: 100 }, (_, at) => (at * 7 + sent.length) & 0xff);
    sent.push(slot);
    front.request(slot);
  }
  front.push();
  expect(sent.length).toBe(64);
  for (const slot of sent) expect(new Uint8Array(back.take()!.buffer)).toEqual(slot);
});

test("a ring without room for a slot, or of unequal pages, is refused", () => {
  expect(() => createPair(1, 5000)).toThrow("no slot of 5000 bytes fits into a ring of 4096");
  expect(() => createPair(0)).toThrow("a ring needs pages of one length, got 0 pages");
});

test("any order of steps brings every request to the backend once and its response back, and nobody sleeps on work", () => {
  const step = fc.constantFrom("request", "push", "serve", "answer", "collect");
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300, size: "max" }), (steps) => {
      const { front, back } = createPair(1, 1000); // 4 slots, so that indices go round often
      let sent = 0;
      const taken: number[] = [];
      const answered: number[] = [];
      let replied = 0;
      const collect = (): void => {
        for (let slot = front.take(); slot !== undefined; slot = front.take()) answered.push(slot.getUint32(0, true));
      };
      const serve = (): void => {
        for (let slot = back.take(); slot !== undefined; slot = back.take()) taken.push(slot.getUint32(0, true));
      };
      const answer = (): void => {
        while (back.inFlight > 0) back.respond(word(taken[replied++]!));
        back.push();
      };
      for (const what of steps) {
        if (what === "request" && front.room > 0) front.request(word(sent++));
        else if (what === "push") front.push();
        else if (what === "serve") serve();
        else if (what === "answer") answer();
        else if (what === "collect") collect();
      }
      front.push();
      serve();
      answer();
      collect();
      expect(taken).toEqual(Array.from({ length: sent }, (_, at) => at));
      expect(answered).toEqual(taken);
    }),
  );
});

test("whatever a frontend writes over the indices, every call ends", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(15), fc.nat(255)), { maxLength: 50, size: "max" }), (writes) => {
      const { back, memory } = createPair();
      for (const [at, value] of writes) {
        memory[0]![at] = value;
        let taken = 0;
        while (back.take() !== undefined) taken++;
        expect(taken).toBeLessThanOrEqual(32);
        while (back.inFlight > 0) back.respond(word(0));
        back.push();
        back.waitForRequests();
      }
    }),
  );
});
