import fc from "fast-check";
import { expect, test } from "vitest";
import { testSegment } from "../../net/test/frames.ts";
import { FakeGuest } from "../../xenbus/test/fake-guest.ts";
import { createTestPort, createTestVif, type TestPort, TestQueue } from "../test/frontend.ts";
import { openConnection } from "./connection.ts";
import { MulticastFilter } from "./multicast.ts";
import { createStatistics } from "./statistics.ts";

// Rings that no driver writes. Whatever a guest does, nothing throws, each turn ends, nothing stays mapped, and no frame
// comes out that is none. That a driver which starts anew is served again is in vif.test.ts.

/** What a hostile guest does in one step; numbers are taken modulo what there is. */
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      what: fc.constant("slot" as const),
      ref: fc.oneof(fc.nat(40), fc.nat(0xffffffff)),
      offset: fc.oneof(fc.constant(0), fc.nat(4200), fc.nat(0xffff)),
      flags: fc.oneof(fc.nat(15), fc.nat(0xffff)),
      size: fc.oneof(fc.nat(100), fc.nat(4200), fc.nat(0xffff)),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      what: fc.constant("extra" as const),
      type: fc.oneof(fc.nat(4), fc.nat(255)),
      flags: fc.nat(255),
      size: fc.nat(0xffff),
      gso: fc.nat(3),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      what: fc.constant("segment" as const),
      length: fc.nat(60_000),
      size: fc.oneof(fc.nat(20), fc.nat(0xffff)),
      ipv6: fc.boolean(),
      damage: fc.option(fc.tuple(fc.nat(70), fc.nat(255))),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ what: fc.constant("page" as const), ref: fc.oneof(fc.nat(40), fc.nat(0xffffffff)) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ what: fc.constant("frame" as const), length: fc.nat(70_000), large: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant("index" as const),
      ring: fc.boolean(),
      at: fc.nat(3),
      value: fc.oneof(fc.nat(300), fc.nat(0xffffffff)),
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant("revoke" as const), ref: fc.nat(40) }) },
  { weight: 4, arbitrary: fc.record({ what: fc.constant("signal" as const), rx: fc.boolean() }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const RUNS = 3000;

function act(guest: FakeGuest, port: TestPort, queue: TestQueue, action: Step): void {
  switch (action.what) {
    case "slot":
      if (queue.tx.room > 0) queue.txSlot(action);
      break;
    case "extra":
      if (queue.tx.room > 0)
        queue.tx.request(
          Uint8Array.of(action.type, action.flags, action.size & 255, action.size >> 8, action.gso, 0, 0, 0),
        );
      break;
    case "segment": {
      if (queue.tx.room < 18) break;
      const frame = testSegment({ payload: new Uint8Array(action.length), ipv6: action.ipv6, partial: true });
      if (action.damage !== null) frame[action.damage[0]] = action.damage[1];
      const extra = Uint8Array.of(1, 0, action.size & 255, action.size >> 8, action.ipv6 ? 2 : 1, 0, 0, 0);
      queue.send(frame, { flags: 1, extras: [extra] });
      break;
    }
    case "page":
      if (queue.rx.room > 0) queue.offer(1, action.ref);
      break;
    case "frame": {
      const payload = new Uint8Array(Math.min(action.length, 65_000));
      const offload = action.large ? { partialChecksum: true, segmentSize: 1000 } : undefined;
      port.give(testSegment({ payload, partial: action.large }), offload);
      break;
    }
    case "index":
      new DataView((action.ring ? queue.rxPage : queue.txPage).buffer).setUint32(action.at * 4, action.value, true);
      break;
    case "revoke":
      if (action.ref !== queue.txRef && action.ref !== queue.rxRef) guest.grants.delete(action.ref);
      break;
    case "signal":
      queue.tx.push();
      queue.rx.push();
      guest.signal(action.rx ? queue.rxPort : queue.txPort);
      guest.run();
      break;
  }
}

test("thousands of hostile rings: turns end, nothing is thrown, nothing leaks", { timeout: 600_000 }, () => {
  let closed = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.boolean(), fc.boolean(), (steps, offloads, modern) => {
      const guest = new FakeGuest();
      const port = createTestPort(offloads);
      const queue = new TestQueue(guest, !modern);
      const reasons: string[] = [];
      const connection = openConnection({
        guest,
        port,
        nodes: {
          queues: [{ txRing: queue.txRef, rxRing: queue.rxRef, txPort: queue.txPort, rxPort: queue.rxPort }],
          scatterGather: modern,
          gsoIpv4: modern,
          gsoIpv6: modern,
          checksumIpv4: modern,
          checksumIpv6: modern,
        },
        filter: new MulticastFilter(),
        statistics: createStatistics(),
        isLinkUp: () => true,
        maxWaitingBytes: 200_000,
        limit: undefined,
        onBroken: (reason) => reasons.push(reason),
      });
      // Grants that steps can name: small numbers, the rings' own among them.
      for (let ref = 0; ref < 40; ref++) {
        const bytes = new Uint8Array(ref % 5 === 0 ? 100 : 4096);
        if (!guest.grants.has(ref)) guest.grants.set(ref, { bytes, readOnly: ref % 3 === 0 });
      }
      for (const action of steps) act(guest, port, queue, action);
      guest.signal(queue.txPort);
      guest.signal(queue.rxPort);
      guest.run();
      for (const { frame, offload } of port.sent) {
        expect(frame.length).toBeLessThanOrEqual(0xffff);
        expect(frame.length).toBeGreaterThanOrEqual(14);
        if (!offloads) expect(offload).toBeUndefined();
      }
      expect(reasons.length).toBe(port.hasReceiver ? 0 : 1);
      expect(guest.mapped).toBe(port.hasReceiver ? 2 : 0);
      closed += reasons.length;
      connection.close();
      expect(guest.mapped).toBe(0);
    }),
    { numRuns: RUNS },
  );
  // Both kinds of end were met.
  expect(closed).toBeGreaterThan(RUNS / 20);
  expect(closed).toBeLessThan((RUNS * 19) / 20);
});

test("a guest that signals without end gets nothing done by it, and others their turn", async () => {
  const { connect, guest } = await createTestVif();
  const [queue] = await connect();
  for (let at = 0; at < 10_000; at++) guest.signal(queue!.txPort);
  expect(guest.run()).toBe(1);
});
