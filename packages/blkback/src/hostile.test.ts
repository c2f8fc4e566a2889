import { BLKIF_OP, BLKIF_RSP } from "@paravirt/xen-abi";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { connectedFront, type FakeRequest, recordingDisk } from "../test/fake-frontend.ts";
import { decodeBlockRequest } from "./request.ts";

const { OKAY, ERROR, EOPNOTSUPP } = BLKIF_RSP;
const { READ, WRITE } = BLKIF_OP;
const SECTORS = 64;
const RUNS = { numRuns: Number(process.env.PARAVIRT_BLKBACK_RUNS ?? 60) };

/** Pages of the fake guest by what the guest granted of them. */
const KINDS = ["whole", "whole", "read-only", "part", "none"] as const;

const segment = fc.record({
  kind: fc.nat(KINDS.length - 1),
  first: fc.oneof({ weight: 8, arbitrary: fc.nat(7) }, { weight: 1, arbitrary: fc.nat(255) }),
  length: fc.oneof({ weight: 8, arbitrary: fc.nat(7) }, { weight: 1, arbitrary: fc.nat(255) }),
});

const sector = fc.oneof(
  { weight: 12, arbitrary: fc.bigInt(0n, BigInt(SECTORS)) },
  { weight: 1, arbitrary: fc.bigInt(0n, 2n ** 64n - 1n) },
);

const request = fc.record({
  operation: fc.oneof(
    { weight: 10, arbitrary: fc.constantFrom(READ, WRITE) },
    { weight: 2, arbitrary: fc.constantFrom(BLKIF_OP.WRITE_BARRIER, BLKIF_OP.FLUSH_DISKCACHE) },
    { weight: 1, arbitrary: fc.nat(255) },
  ),
  sector,
  segments: fc.array(segment, { maxLength: 11 }),
  count: fc.option(fc.nat(255), { freq: 20, nil: undefined }),
  indirect: fc.boolean(),
});

test("whatever a frontend asks, it gets the answer that a plain model gives, and only its granted pages change", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(request, { minLength: 1, maxLength: 32 }), { minLength: 4, maxLength: 8 }),
      fc.boolean(),
      async (batches, persistent) => {
        const { disk, bytes } = recordingDisk(SECTORS);
        bytes.forEach((_, at) => {
          bytes[at] = (at >> 9) + at;
        });
        const nodes = { "feature-persistent": persistent ? "1" : "0" };
        const front = await connectedFront({ disk, maxPersistentGrants: 2, pages: 600 }, { nodes });
        const { guest } = front;
        const shared = KINDS.map((kind, at) => {
          const page = guest.share();
          page.bytes.forEach((_, offset) => {
            page.bytes[offset] = (offset * 3 + at * 50) & 0xff;
          });
          if (kind === "read-only") guest.grants.set(page.grant, { bytes: page.bytes, readOnly: true });
          if (kind === "part") guest.grants.set(page.grant, { bytes: page.bytes.subarray(0, 2048) });
          if (kind === "none") guest.grants.delete(page.grant);
          return page;
        });
        const modelPages = shared.map((page) => page.bytes.slice());
        const modelDisk = bytes.slice();
        const untouched = guest.page(599);
        untouched.fill(0x5a);
        for (const batch of batches) {
          const requests: (FakeRequest | Uint8Array)[] = [];
          const expected: number[] = [];
          for (const { operation, sector, segments, count, indirect } of batch) {
            const isIndirect = indirect && (operation === READ || operation === WRITE);
            const wire: FakeRequest = {
              operation,
              sector,
              segments: segments.map(({ kind, first, length }) => ({
                grant: shared[kind]!.grant,
                first,
                last: (first + length) & 0xff,
              })),
              ...(count === undefined ? {} : { count }),
            };
            requests.push(isIndirect ? front.encodeIndirect(wire) : wire);
            expected.push(answerOf(wire, segments, isIndirect));
          }
          expect(await front.send(requests)).toEqual(expected);
        }
        expect(Buffer.compare(bytes, modelDisk)).toBe(0);
        shared.forEach((page, at) => {
          expect(Buffer.compare(page.bytes, modelPages[at]!), KINDS[at]).toBe(0);
        });
        expect(untouched.every((byte) => byte === 0x5a)).toBe(true);
        expect(guest.mapped).toBeLessThanOrEqual(1 + (persistent ? 2 : 0));
        await front.backend.close();
        expect(guest.mapped).toBe(0);
        expect(front.errors).toEqual([]);

        function answerOf(
          wire: FakeRequest,
          segments: readonly { kind: number; first: number; length: number }[],
          isIndirect: boolean,
        ): number {
          const { operation } = wire;
          if (!isIndirect && (operation === 4 || operation > 6)) return EOPNOTSUPP;
          const claimed = wire.count ?? segments.length;
          // What a request claims beyond what was written are segments 0 to 7 of grant 0, which there isn't.
          if (operation === BLKIF_OP.DISCARD || operation === BLKIF_OP.INDIRECT) return oddOperation(wire);
          const used = segments.slice(0, claimed);
          const data = operation === READ || operation === WRITE;
          if (claimed > (isIndirect ? 256 : 11) || (claimed === 0 && data)) return ERROR;
          if (used.some(({ first, length }) => ((first + length) & 0xff) < first || ((first + length) & 0xff) > 7))
            return ERROR;
          if (claimed > segments.length) return ERROR;
          const mappable = (kind: number): boolean =>
            KINDS[kind] === "whole" || (KINDS[kind] === "read-only" && operation !== READ);
          if (used.some(({ kind }) => !mappable(kind))) return ERROR;
          const total = used.reduce((sum, one) => sum + one.length + 1, 0);
          if (total > 0 && wire.sector! + BigInt(total) > BigInt(SECTORS)) return ERROR;
          let at = Number(wire.sector) * 512;
          for (const { kind, first, length } of used) {
            const from = first * 512;
            const size = (length + 1) * 512;
            const page = modelPages[kind]!;
            if (operation === READ) page.set(modelDisk.subarray(at, at + size), from);
            else modelDisk.set(page.subarray(from, from + size), at);
            at += size;
          }
          return OKAY;
        }

        /** A request of segments whose bytes are taken for a discard or an indirect request. */
        function oddOperation(wire: FakeRequest): number {
          const decoded = decodeBlockRequest(new DataView(front.encode(wire).buffer), "x86_64", 256);
          if (decoded.kind === "rejected") return decoded.status;
          if (decoded.kind === "indirect") return ERROR; // its pages are no pages of segments
          if (decoded.kind !== "discard") throw new Error(decoded.kind);
          if (decoded.secure) return EOPNOTSUPP;
          const { sector, count } = decoded;
          if (count === 0 || sector + count > SECTORS) return ERROR;
          modelDisk.fill(0, sector * 512, (sector + count) * 512);
          return OKAY;
        }
      },
    ),
    RUNS,
  );
}, 120_000);

test("random bytes in the ring's slots and indices end at worst in a closed device", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          slots: fc.uint8Array({ minLength: 112, maxLength: 112 * 8 }),
          advance: fc.oneof({ weight: 6, arbitrary: fc.nat(12) }, { weight: 1, arbitrary: fc.nat(0xffffffff) }),
          hold: fc.boolean(),
        }),
        { minLength: 1, maxLength: 12 },
      ),
      async (steps) => {
        const { disk, hold, unhold } = recordingDisk(SECTORS);
        const front = await connectedFront({ disk, pages: 32 });
        const { guest } = front;
        const [queue] = front.queues;
        const page = queue!.ringPages[0]!;
        const view = new DataView(page.buffer, page.byteOffset, page.length);
        for (let share = 0; share < 8; share++) guest.share();
        let produced = 0;
        let broken = false;
        for (const { slots, advance, hold: holds } of steps) {
          if (holds) hold();
          else unhold();
          for (let at = 0; at < 8; at++) {
            const slot = 64 + ((produced + at) % 32) * 112;
            const piece = slots.subarray(at * 112, (at + 1) * 112);
            // Small numbers are likelier to be operations, counts, grants and sectors.
            page.set(piece.length === 112 && at % 2 === 0 ? piece.map((byte) => byte & 0x0f) : piece, slot);
          }
          produced = (produced + advance) >>> 0;
          view.setUint32(0, produced, true);
          guest.signal(queue!.port);
          await guest.settle();
          if (front.backend.state !== 4) {
            broken = true;
            break;
          }
        }
        unhold();
        await guest.settle();
        if (broken) {
          expect(front.nodes.readBack("error")).toMatch(/impossible indices/);
          await vi.waitFor(() => expect(guest.mapped).toBe(0));
        } else {
          expect(front.errors).toEqual([]);
        }
        await front.backend.close();
        expect(guest.mapped).toBe(0);
        expect(guest.listeners.size).toBe(0);
      },
    ),
    RUNS,
  );
}, 120_000);

test("a frontend that pulls its grants and its device away in flight loses its own data only", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(SECTORS - 8), { minLength: 1, maxLength: 32 }),
      fc.nat(32),
      fc.constantFrom("nodes", "state", "unplug", "close", "channel"),
      async (sectors, released, way) => {
        const { disk, hold, release, unhold } = recordingDisk(SECTORS);
        const front = await connectedFront({ disk, maxPersistentGrants: 4 }, { nodes: { "feature-persistent": "1" } });
        const { guest } = front;
        hold();
        const requests = sectors.map((at, index) => ({
          operation: index % 3 === 2 ? BLKIF_OP.WRITE_BARRIER : READ,
          sector: BigInt(at),
          segments: [{ grant: guest.share().grant }],
        }));
        await front.send(requests);
        release(released);
        guest.grants.clear();
        if (way === "nodes") front.nodes.store.local.remove("/local/domain/1/device/vbd/51712");
        else if (way === "state") front.nodes.writeFront("state", "6");
        else if (way === "unplug") await front.backend.unplug();
        else if (way === "channel") guest.unbound.clear();
        const closed = way === "close" || way === "channel" ? front.backend.close() : undefined;
        await guest.settle();
        unhold();
        await guest.settle();
        await closed;
        await front.backend.close();
        expect(guest.mapped).toBe(0);
        expect(guest.listeners.size).toBe(0);
      },
    ),
    RUNS,
  );
}, 120_000);

test("one turn takes a measured amount, however much the ring holds, and the rest comes in the next", async () => {
  const { disk, log } = recordingDisk(SECTORS);
  const front = await connectedFront({ disk, pages: 600 }, { pageOrder: 4 });
  const { ring } = front.queues[0]!;
  const { grant } = front.guest.share();
  for (let at = 0; at < 512; at++)
    ring.request(front.encode({ operation: READ, sector: BigInt((at * 16) % 48), segments: [{ grant }] }));
  ring.push();
  front.guest.turn();
  expect(log).toHaveLength(256);
  front.guest.turn();
  expect(log).toHaveLength(512);
});
