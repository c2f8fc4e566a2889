import fc from "fast-check";
import { expect, test } from "vitest";
import { type Disturbance, lossyLink } from "../../test/lossy-link.ts";
import { announce, FLAGS, readTcp, type SeenSegment, TestPeer, tcpFrame } from "../../test/test-peer.ts";
import { type Program, VirtualHost } from "../../test/virtual-host.ts";
import { createNat } from "./nat.ts";

/** The gateway's port of the first connection that comes in. */
const FIRST_PORT = 49152;
const NO_DISTURBANCE: Disturbance = { loss: 0, duplication: 0, reordering: 0 };

function pattern(length: number, salt: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (Math.imul(index + salt, 0x9e3779b1) >>> 11) & 255);
}

function setUp({
  seed = 1,
  disturbance = NO_DISTURBANCE,
  allow = ["*"],
  maxConnections = 1024,
  keepAlive = 900_000,
} = {}) {
  const host = new VirtualHost(seed);
  const nat = createNat({ host, allow, maxConnections, keepAlive });
  const peers = new Map<number, TestPeer>();
  const seen: SeenSegment[] = [];
  const link = lossyLink(host, nat.port, disturbance, (frame) => {
    const segment = readTcp(frame);
    if (segment === undefined) return;
    seen.push(segment);
    peers.get(segment.destinationPort)?.receive(segment);
  });
  announce(nat.port);
  const peer = (localPort: number, remotePort: number, options: object = {}): TestPeer => {
    const one = new TestPeer({
      world: host,
      send: (frame) => link.send(frame),
      remote: ["10.0.2.2", remotePort],
      localPort,
      ...options,
    });
    peers.set(localPort, one);
    return one;
  };
  return { host, nat, peer, peers, seen, link };
}

/** Sends `down`, keeps what comes, ends when the other side has ended. */
function server(down: Uint8Array, got: Uint8Array[], log: string[] = []): Program {
  return (socket) => {
    socket.write(down);
    return {
      onData: (bytes) => got.push(bytes),
      onEnd: () => {
        log.push("end");
        socket.end();
      },
      onReset: () => log.push("reset"),
    };
  };
}

/** Equality of long arrays, which `toEqual` would compare number by number. */
const same = (left: Uint8Array, right: Uint8Array): boolean => Buffer.from(left).equals(right);

test("whatever the link loses, doubles and reorders, both sides get what was sent, and both ends end", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        seed: fc.integer({ min: 1, max: 2 ** 31 }),
        loss: fc.constantFrom(0, 0.02, 0.1, 0.2),
        duplication: fc.constantFrom(0, 0.05, 0.3),
        reordering: fc.constantFrom(0, 0.05, 0.3),
        up: fc.integer({ min: 0, max: 60_000 }),
        down: fc.integer({ min: 0, max: 60_000 }),
        mss: fc.constantFrom(100, 536, 1460),
        scale: fc.constantFrom(undefined, 0, 5),
        window: fc.constantFrom(2000, 65_535),
        incoming: fc.boolean(),
      }),
      async ({ seed, loss, duplication, reordering, up, down, mss, scale, window, incoming }) => {
        const { host, nat, peer } = setUp({ seed, disturbance: { loss, duplication, reordering } });
        const got: Uint8Array[] = [];
        const log: string[] = [];
        const program = server(pattern(down, 3), got, log);
        let guest: TestPeer;
        if (incoming) {
          await nat.publish({ port: 8080, guestPort: 80 });
          host.dial(8080, program);
          guest = peer(80, FIRST_PORT, { mss, scale, window, listens: true });
        } else {
          host.servers.set("127.0.0.1:9", program);
          guest = peer(4000, 9, { mss, scale, window });
        }
        guest.write(pattern(up, 5));
        guest.end();
        await host.run(600_000, () => guest.finished && guest.ended);
        // With so much loss a connection may be given up before it is there.
        if (guest.state !== "reset" || log.length > 0) {
          expect(same(guest.data, pattern(down, 3))).toBe(true);
          expect(same(Buffer.concat(got), pattern(up, 5))).toBe(true);
          expect(log).toEqual(["end"]);
        } else expect(loss).toBeGreaterThan(0.05);
        await host.run(60_000);
        expect(nat.statistics.connections).toBe(0);
      },
    ),
    { numRuns: 60 },
  );
});

test("a guest's connection is answered only when the host's is there; a refused one is reset, as is one that isn't allowed", async () => {
  const { host, peer, seen } = setUp({ allow: ["10.0.2.2:9", "10.0.2.2:10"] });
  host.servers.set("127.0.0.1:9", server(pattern(5, 1), []));
  host.servers.set("127.0.0.1:11", server(pattern(5, 1), []));
  host.delay = 50;
  const open = peer(1000, 9);
  const refused = peer(1001, 10);
  const forbidden = peer(1002, 11);
  await host.run(40);
  expect(open.state).toBe("opening");
  expect(forbidden.state).toBe("reset");
  await host.run(100);
  expect(open.state).toBe("open");
  expect(refused.state).toBe("reset");
  const answer = seen.find((segment) => segment.flags === (FLAGS.RST | FLAGS.ACK));
  expect(answer).toMatchObject({ sequence: 0, acknowledgment: 0x7fff_f001 });
});

test("a side that has sent all still receives: half close in both directions", async () => {
  const { host, peer } = setUp();
  const got: Uint8Array[] = [];
  host.servers.set("127.0.0.1:9", (socket) => ({
    onData: (bytes) => got.push(bytes),
    onEnd: () => {
      socket.write(pattern(30_000, 1));
      socket.end();
    },
  }));
  host.servers.set("127.0.0.1:10", (socket) => {
    socket.end();
    return { onData: (bytes) => got.push(bytes) };
  });
  const first = peer(1000, 9);
  first.write(pattern(10_000, 2));
  first.end();
  await host.run(5000, () => first.ended);
  expect(same(first.data, pattern(30_000, 1))).toBe(true);
  expect(same(Buffer.concat(got), pattern(10_000, 2))).toBe(true);
  got.length = 0;
  const second = peer(1001, 10);
  await host.run(5000, () => second.ended);
  second.write(pattern(10_000, 3));
  second.end();
  await host.run(5000, () => second.finished);
  expect(same(Buffer.concat(got), pattern(10_000, 3))).toBe(true);
});

test("a program that doesn't read closes the guest's window, and opens it again when it does", async () => {
  const { host, peer } = setUp();
  let socket: Parameters<Program>[0] | undefined;
  let bytes = 0;
  host.servers.set("127.0.0.1:9", (opened) => {
    socket = opened;
    opened.pause();
    return {
      onData: (piece) => {
        bytes += piece.length;
      },
      onEnd: () => opened.end(),
    };
  });
  const guest = peer(1000, 9, { scale: 7 });
  guest.write(pattern(3_000_000, 1));
  guest.end();
  await host.run(3000);
  expect(bytes).toBe(0);
  expect(guest.finished).toBe(false);
  expect(guest.largestWindow).toBeGreaterThan(1_000_000);
  socket!.resume();
  await host.run(60_000, () => guest.finished);
  expect(bytes).toBe(3_000_000);
});

test("a guest that doesn't read holds the program back, is asked now and then, and gets the rest later", async () => {
  const { host, peer } = setUp();
  const sent = pattern(5_000_000, 1);
  let offered = 0;
  host.servers.set("127.0.0.1:9", (socket) => {
    const offer = (): void => {
      if (offered < sent.length) socket.write(sent.subarray(offered, offered + 100_000));
      else socket.end();
      offered += 100_000;
    };
    for (let count = 0; count < 50; count++) offer();
    offer();
    return { onEnd: () => {} };
  });
  const guest = peer(1000, 9, { window: 50_000, mss: 1460 });
  guest.holds = true;
  await host.run(5000);
  expect(guest.receivedBytes).toBe(50_000);
  const before = host.now();
  await host.run(100_000);
  expect(host.now() - before).toBe(100_000);
  expect(guest.receivedBytes).toBe(50_000);
  expect(guest.state).toBe("open");
  guest.release();
  await host.run(60_000, () => guest.ended);
  expect(same(guest.data, sent)).toBe(true);
});

test("a reset passes through, either way; only the exact sequence number resets", async () => {
  const { host, nat, peer, link } = setUp();
  const log: string[] = [];
  let socket: Parameters<Program>[0] | undefined;
  host.servers.set("127.0.0.1:9", (opened) => {
    socket = opened;
    return { onReset: () => log.push("reset") };
  });
  const first = peer(1000, 9);
  await host.run(1000);
  const forged = {
    source: "10.0.2.15",
    destination: "10.0.2.2",
    sourcePort: 1000,
    destinationPort: 9,
    acknowledgment: 0,
  };
  link.send(tcpFrame({ ...forged, sequence: 0x7fff_f001 + 100, flags: FLAGS.RST, window: 0, data: new Uint8Array(0) }));
  await host.run(1000);
  expect(log).toEqual([]);
  first.abort();
  await host.run(1000);
  expect(log).toEqual(["reset"]);
  const second = peer(1001, 9);
  await host.run(1000);
  socket!.reset();
  await host.run(1000);
  expect(second.state).toBe("reset");
  expect(nat.statistics.connections).toBe(0);
});

test("a guest that is gone is noticed: after silence it is asked, then its connection ends", async () => {
  const { host, nat, peer, peers, seen } = setUp({ keepAlive: 60_000 });
  const log: string[] = [];
  host.servers.set("127.0.0.1:9", () => ({ onReset: () => log.push("reset") }));
  const guest = peer(1000, 9);
  await host.run(1000);
  // Alive and silent, it answers.
  await host.run(600_000);
  expect(guest.state).toBe("open");
  expect(log).toEqual([]);
  peers.delete(1000);
  seen.length = 0;
  await host.run(200_000);
  expect(log).toEqual(["reset"]);
  expect(nat.statistics.connections).toBe(0);
  expect(seen.length).toBeLessThan(10);
});

test("the table is bounded: one connection too many is refused, and gets its place when another ends", async () => {
  const { host, peer } = setUp({ maxConnections: 3 });
  host.servers.set("127.0.0.1:9", server(new Uint8Array(0), []));
  const guests = [1000, 1001, 1002, 1003].map((port) => peer(port, 9));
  await host.run(1000);
  expect(guests.map(({ state }) => state)).toEqual(["open", "open", "open", "reset"]);
  guests[0]!.abort();
  await host.run(1000);
  const next = peer(1004, 9);
  await host.run(1000);
  expect(next.state).toBe("open");
});

test("a guest that never answers a published port: the caller's connection is reset in the end", async () => {
  const { host, nat } = setUp();
  const log: string[] = [];
  await nat.publish({ port: 8080, guestPort: 80 });
  host.dial(8080, () => ({ onReset: () => log.push("reset") }));
  await host.run(200_000);
  expect(log).toEqual(["reset"]);
});

test("arbitrary segments never throw, and leave other connections alone", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          sourcePort: fc.constantFrom(1000, 2000, 2001),
          sequence: fc.oneof(fc.constantFrom(0x7fff_f000, 0x7fff_f001, 0), fc.nat(0xffffffff)),
          acknowledgment: fc.nat(0xffffffff),
          flags: fc.nat(63),
          window: fc.nat(65535),
          options: fc.oneof(fc.constant([]), fc.array(fc.nat(255), { minLength: 4, maxLength: 4 })),
          data: fc.uint8Array({ maxLength: 50 }),
        }),
        { maxLength: 40 },
      ),
      async (segments) => {
        const { host, peer, link } = setUp();
        host.servers.set("127.0.0.1:9", server(pattern(20_000, 1), []));
        const guest = peer(3000, 9);
        for (const segment of segments) {
          link.send(tcpFrame({ source: "10.0.2.15", destination: "10.0.2.2", destinationPort: 9, ...segment }));
          await host.run(1);
        }
        guest.end();
        await host.run(30_000, () => guest.ended);
        expect(same(guest.data, pattern(20_000, 1))).toBe(true);
      },
    ),
    { numRuns: 100 },
  );
});
