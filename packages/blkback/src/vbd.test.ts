import { BLKIF_OP, BLKIF_RSP } from "@paravirt/xen-abi";
import { describe, expect, test, vi } from "vitest";
import { connectedFront, FakeBlkfront, recordingDisk } from "../test/fake-frontend.ts";
import { createBlkback } from "./index.ts";

const { OKAY, ERROR, EOPNOTSUPP } = BLKIF_RSP;
const { READ, WRITE, WRITE_BARRIER, FLUSH_DISKCACHE } = BLKIF_OP;

for (const protocol of ["x86_64", "x86_32"] as const)
  describe(protocol, () => {
    test("what is written is read back, sector by sector of a page", async () => {
      const { disk, bytes } = recordingDisk(64);
      const front = await connectedFront({ disk }, { protocol });
      const from = front.guest.share();
      const into = front.guest.share();
      from.bytes.forEach((_, at) => {
        from.bytes[at] = at % 251;
      });
      const segment = { grant: from.grant, first: 2, last: 4 };
      expect(await front.one({ operation: WRITE, sector: 9n, segments: [segment] })).toBe(OKAY);
      expect(bytes.subarray(9 * 512, 12 * 512)).toEqual(from.bytes.subarray(1024, 2560));
      into.bytes.fill(7);
      const target = { grant: into.grant, first: 1, last: 3 };
      expect(await front.one({ operation: READ, sector: 9n, segments: [target] })).toBe(OKAY);
      expect(into.bytes.subarray(512, 2048)).toEqual(from.bytes.subarray(1024, 2560));
      expect(into.bytes[511]).toBe(7);
      expect(into.bytes[2048]).toBe(7);
      expect(front.guest.told).toContain(into.grant);
      expect(front.guest.mapped).toBe(1); // the ring
    });

    test("indirect requests have hundreds of segments", async () => {
      const { disk, bytes, log } = recordingDisk(256 * 8);
      bytes.forEach((_, at) => {
        bytes[at] = at >> 12;
      });
      const front = await connectedFront({ disk, pages: 300 }, { protocol });
      const pages = Array.from({ length: 256 }, () => front.guest.share());
      const segments = pages.map(({ grant }) => ({ grant }));
      expect(await front.one(front.encodeIndirect({ operation: READ, segments }))).toBe(OKAY);
      expect(pages.map((page) => page.bytes[99])).toEqual(pages.map((_, at) => at & 0xff));
      expect(log).toEqual(["read/1 0+2048"]);
      expect(front.guest.mapped).toBe(1);
      const tooMany = front.encodeIndirect({ operation: READ, segments, count: 257 });
      expect(await front.one(tooMany)).toBe(ERROR);
    });

    test("a ring of sixteen pages and four queues", async () => {
      const { disk } = recordingDisk(4096);
      const front = await connectedFront({ disk }, { protocol, pageOrder: 4, queues: 4 });
      for (let queue = 0; queue < 4; queue++) {
        const { grant, bytes } = front.guest.share();
        bytes.fill(queue + 1);
        const requests = Array.from({ length: front.queues[queue]!.ring.size }, (_, at) => ({
          operation: WRITE,
          sector: BigInt(at * 8),
          segments: [{ grant }],
        }));
        expect(requests.length).toBe(512);
        const statuses = await front.send(requests, queue);
        expect(statuses).toHaveLength(512);
        expect(statuses.every((status) => status === OKAY)).toBe(true);
        const into = front.guest.share();
        await front.one({ operation: READ, sector: 4088n, segments: [{ grant: into.grant }] }, queue);
        expect(into.bytes[0]).toBe(queue + 1);
      }
    });
  });

test("neighbouring requests become one call of the disk, pages that lie side by side one buffer", async () => {
  const { disk, log } = recordingDisk(4096);
  const front = await connectedFront({ disk });
  const pages = Array.from({ length: 6 }, () => front.guest.share());
  const write = (sector: number, grants: readonly number[]) => ({
    operation: WRITE,
    sector: BigInt(sector),
    segments: grants.map((grant) => ({ grant })),
  });
  const [a, b, c, d, e, f] = pages.map(({ grant }) => grant) as [number, number, number, number, number, number];
  await front.send([write(0, [a, b]), write(16, [c]), write(24, [e]), write(40, [f]), write(48, [d])]);
  expect(log).toEqual(["write/2 0+32", "write/2 40+16"]);
});

test("a bad sector fails its own request only, though others went to the disk with it", async () => {
  const { disk, bad, log } = recordingDisk(4096);
  bad.add(9);
  const front = await connectedFront({ disk });
  const requests = [0, 8, 16].map((sector) => ({
    operation: READ,
    sector: BigInt(sector),
    segments: [{ grant: front.guest.share().grant }],
  }));
  expect(await front.send(requests)).toEqual([OKAY, ERROR, OKAY]);
  expect(log).toEqual(["read/1 0+24", "read/1 0+8", "read/1 8+8", "read/1 16+8"]);
});

test("requests run in parallel and are answered as the disk answers", async () => {
  const { disk, hold, release, waiting } = recordingDisk(4096);
  const front = await connectedFront({ disk });
  hold();
  const requests = [0, 100, 200, 300].map((sector) => ({
    operation: READ,
    sector: BigInt(sector),
    segments: [{ grant: front.guest.share().grant }],
  }));
  expect(await front.send(requests)).toEqual([]);
  expect(waiting()).toBe(4);
  release(2);
  expect(await front.send([])).toEqual([OKAY, OKAY]);
  release();
  expect((await front.send([]))[3]).toBe(OKAY);
});

test("a barrier waits for what was before it, and what comes after waits for the barrier", async () => {
  const { disk, hold, release, log } = recordingDisk(4096);
  const front = await connectedFront({ disk });
  hold();
  const transfer = (operation: number, sector: number) => ({
    operation,
    sector: BigInt(sector),
    segments: [{ grant: front.guest.share().grant }],
  });
  const done: number[] = [];
  await front.send([transfer(WRITE, 0), transfer(WRITE_BARRIER, 100), transfer(WRITE, 200)]);
  const steps = ["write/1 0+8", "flush 0+0", "write/1 100+8", "flush 0+0", "write/1 200+8"];
  for (let step = 1; step <= steps.length; step++) {
    expect(log).toEqual(steps.slice(0, step));
    release();
    for (const [id, status] of (await front.send([])).entries()) if (status !== undefined) done.push(id);
  }
  expect(done).toEqual([0, 1, 2]);
});

test("a flush is answered once the disk has flushed", async () => {
  const { disk, hold, release, log } = recordingDisk(64);
  const front = await connectedFront({ disk });
  hold();
  expect(await front.one({ operation: FLUSH_DISKCACHE })).toBe(undefined);
  expect(log).toEqual(["flush 0+0"]);
  release();
  expect(await front.send([])).toEqual([OKAY]);
});

test("discards reach the disk; secure ones, and those of a disk that can't, are refused", async () => {
  const { disk, bytes, log } = recordingDisk(64);
  bytes.fill(1);
  const front = await connectedFront({ disk });
  expect([front.nodes.readBack("feature-discard"), front.nodes.readBack("discard-granularity")]).toEqual(["1", "512"]);
  expect(await front.one(front.encodeDiscard({ sector: 8n, count: 16n }))).toBe(OKAY);
  expect(log).toEqual(["discard 8+16"]);
  expect(await front.one(front.encodeDiscard({ sector: 0n, count: 8n, flag: 1 }))).toBe(EOPNOTSUPP);
  for (const [sector, count] of [
    [60n, 8n],
    [64n, 1n],
    [0n, 0n],
    [0n, 2n ** 64n - 1n],
    [2n ** 64n - 1n, 2n],
  ] as const)
    expect(await front.one(front.encodeDiscard({ sector, count })), `${sector}+${count}`).toBe(ERROR);
  const { discard: _, ...rest } = recordingDisk(64).disk;
  const other = await connectedFront({ disk: { ...rest, sectors: 64 } });
  expect(other.nodes.readBack("feature-discard")).toBe("0");
  expect(await other.one(other.encodeDiscard({ sector: 0n, count: 8n }))).toBe(EOPNOTSUPP);
});

test("a read-only disk says so and refuses writes", async () => {
  const { disk, log } = recordingDisk(64, { readOnly: true });
  const front = await connectedFront({ disk });
  expect([front.nodes.readBack("info"), front.nodes.readBack("mode"), front.nodes.readBack("feature-discard")]).toEqual(
    ["4", "r", "0"],
  );
  const segments = [{ grant: front.guest.share().grant }];
  for (const operation of [WRITE, WRITE_BARRIER]) expect(await front.one({ operation, segments })).toBe(ERROR);
  expect(await front.one({ operation: READ, segments })).toBe(OKAY);
  expect(log).toEqual(["read/1 0+8"]);
});

test("a disk of 4096-byte sectors takes whole ones only", async () => {
  const { disk } = recordingDisk(64, { sectorSize: 4096 });
  const front = await connectedFront({ disk });
  expect([
    front.nodes.readBack("sectors"),
    front.nodes.readBack("sector-size"),
    front.nodes.readBack("physical-sector-size"),
  ]).toEqual(["64", "4096", "4096"]);
  const { grant } = front.guest.share();
  expect(await front.one({ operation: READ, sector: 8n, segments: [{ grant }] })).toBe(OKAY);
  expect(await front.one({ operation: READ, sector: 4n, segments: [{ grant }] })).toBe(ERROR);
  expect(await front.one({ operation: READ, sector: 8n, segments: [{ grant, first: 0, last: 0 }] })).toBe(ERROR);
});

test("a disk that grows or shrinks while it is in use tells the frontend", async () => {
  const { disk, resize, listeners } = recordingDisk(64);
  const front = await connectedFront({ disk });
  const seen: (string | undefined)[] = [];
  front.nodes.store.local.watch("/local/domain/0/backend/vbd/1/51712/state", () =>
    seen.push(front.nodes.readBack("sectors")),
  );
  await vi.waitFor(() => expect(seen).toEqual(["64"]));
  resize(32);
  await vi.waitFor(() => expect(seen).toEqual(["64", "32"]));
  expect(front.nodes.readBack("state")).toBe("4");
  const segments = [{ grant: front.guest.share().grant }];
  expect(await front.one({ operation: READ, sector: 32n, segments })).toBe(ERROR);
  await front.backend.close();
  expect(listeners.size).toBe(0);
});

test("a CD-ROM's medium can be changed and taken out", async () => {
  const first = recordingDisk(64);
  const front = await connectedFront({ disk: first.disk, media: "cdrom", name: "xvdc" });
  expect(front.device.id).toBe(51744);
  expect([
    front.nodes.readBack("info"),
    front.nodes.readBack("removable"),
    front.nodes.readFront("device-type"),
  ]).toEqual(["7", "1", "cdrom"]);
  const { grant } = front.guest.share();
  const read = { operation: READ, segments: [{ grant }] };
  expect(await front.one(read)).toBe(OKAY);
  expect(await front.one({ ...read, operation: WRITE })).toBe(ERROR);
  first.hold();
  await front.send([read]);
  let free = false;
  const second = recordingDisk(128);
  const changed = front.device.changeMedium(second.disk).then(() => {
    free = true;
  });
  await vi.waitFor(() => expect(front.nodes.readBack("sectors")).toBe("128"));
  expect(free).toBe(false);
  first.release();
  await changed;
  expect(await front.send([])).toEqual([OKAY]);
  expect(await front.one(read)).toBe(OKAY);
  expect(second.log).toEqual(["read/1 0+8"]);
  await front.device.changeMedium(undefined);
  expect(await front.one(read)).toBe(ERROR);
  const hard = createBlkback({ disk: first.disk });
  await expect(hard.changeMedium(undefined)).rejects.toMatchObject({ code: "UNSUPPORTED" });
});

test("persistent grants stay mapped, up to a limit; the longest unused goes first", async () => {
  const { disk } = recordingDisk(4096);
  const front = await connectedFront({ disk, maxPersistentGrants: 3 }, { nodes: { "feature-persistent": "1" } });
  expect(front.nodes.readBack("feature-persistent")).toBe("1");
  const grants = Array.from({ length: 4 }, () => front.guest.share());
  const [a, b, c, d] = grants.map(({ grant }) => grant) as [number, number, number, number];
  const use = async (grant: number, operation: number = READ) => {
    const before = front.guest.maps;
    expect(await front.one({ operation, segments: [{ grant }] })).toBe(OKAY);
    return front.guest.maps - before;
  };
  expect([await use(a), await use(b), await use(c)]).toEqual([1, 1, 1]);
  expect(front.guest.mapped).toBe(4);
  // Both directions use the same mapping, and what is read is told of each time.
  front.guest.told.clear();
  expect([await use(a), await use(a, WRITE), await use(c)]).toEqual([0, 0, 0]);
  expect([...front.guest.told].sort()).toEqual([grants[0]!.grant, grants[2]!.grant].sort());
  expect(await use(d)).toBe(1); // b goes
  expect(front.guest.mapped).toBe(4);
  expect([await use(a), await use(c), await use(d), await use(b)]).toEqual([0, 0, 0, 1]);
  // More pages in one request than may be kept.
  const segments = grants.map(({ grant }) => ({ grant }));
  expect(await front.one({ operation: READ, segments })).toBe(OKAY);
  expect(front.guest.mapped).toBe(4);
  // A grant for reading only is good for a write.
  const only = front.guest.share();
  front.guest.grants.set(only.grant, { bytes: only.bytes, readOnly: true });
  expect(await front.one({ operation: WRITE, segments: [{ grant: only.grant }] })).toBe(OKAY);
  expect(await front.one({ operation: READ, segments: [{ grant: only.grant }] })).toBe(ERROR);
  await front.backend.close();
  expect(front.guest.mapped).toBe(0);
});

test("unplugging waits for what is under way, then gives everything back", async () => {
  const { disk, hold, release } = recordingDisk(64);
  const front = await connectedFront({ disk });
  hold();
  const { grant } = front.guest.share();
  await front.send([{ operation: READ, segments: [{ grant }] }]);
  await front.backend.unplug();
  const closed = front.backend.close();
  await front.guest.settle();
  expect(front.guest.mapped).toBe(2);
  release();
  await closed;
  expect(front.guest.mapped).toBe(0);
  expect(front.guest.listeners.size).toBe(0);
  expect(front.errors).toEqual([]);
});

test("a frontend that lets go and comes again is served again, with other rings", async () => {
  const { disk } = recordingDisk(64);
  const front = await connectedFront({ disk });
  for (const pageOrder of [1, 0, 2]) {
    await front.frontend!.close();
    await vi.waitFor(() => expect(front.backend.state).toBe(6));
    expect(front.guest.mapped).toBe(0);
    front.nodes.store.local.remove("/local/domain/1/device/vbd/51712/ring-ref");
    await front.connect({ pageOrder });
    const { grant } = front.guest.share();
    expect(await front.one({ operation: READ, segments: [{ grant }] })).toBe(OKAY);
  }
  expect(front.errors).toEqual([]);
});

test.each<[string, Record<string, string>, string]>([
  ["another protocol", { protocol: "arm-abi" }, 'protocol "arm-abi" isn\'t known'],
  ["too many pages", { "ring-page-order": "5" }, 'ring-page-order "5" isn\'t a number from 0 to 4'],
  ["no pages", { "num-ring-pages": "0" }, 'num-ring-pages "0" isn\'t a number from 1 to 16'],
  ["three pages", { "num-ring-pages": "3" }, "num-ring-pages 3 isn't a power of two"],
  ["too many queues", { "multi-queue-num-queues": "5" }, 'multi-queue-num-queues "5" isn\'t a number from 1 to 4'],
  ["queues that aren't there", { "multi-queue-num-queues": "2" }, "queue-0/ring-ref is missing"],
  ["a number that is none", { "event-channel": "1e1" }, 'event-channel "1e1" isn\'t a number'],
  ["a channel that isn't ours", { "event-channel": "3" }, "event channel 3 can't be bound"],
  ["a ring that isn't granted", { "ring-ref": "4000" }, "grant 4000 of the ring can't be mapped"],
])("a frontend that offers %s is told why, and nothing stays behind", async (_, nodes, message) => {
  const front = await new FakeBlkfront({ disk: recordingDisk(64).disk }).start();
  for (const [name, value] of Object.entries({ ...front.makeNodes(), ...nodes })) front.nodes.writeFront(name, value);
  front.nodes.writeFront("state", "3");
  await vi.waitFor(() => expect(front.nodes.readBack("state")).toBe("5"));
  expect(front.nodes.readBack("error")).toContain(message);
  expect(front.guest.mapped).toBe(0);
  expect(front.guest.listeners.size).toBe(0);
});

test("a device serves one domain at a time, and another when that has ended", async () => {
  const front = await new FakeBlkfront({ disk: recordingDisk(64).disk }).start();
  await expect(front.start()).rejects.toMatchObject({ code: "BUSY" });
  await front.backend.close();
  await front.start();
});

test("options out of their limits are refused", () => {
  const { disk } = recordingDisk(64);
  for (const options of [
    { name: "sda" },
    { maxQueues: 0 },
    { maxRingPageOrder: 5 },
    { maxIndirectSegments: 4097 },
    { maxPersistentGrants: -1 },
    { disk: undefined },
  ])
    expect(() => createBlkback({ disk, ...options } as never), JSON.stringify(options)).toThrow(
      expect.objectContaining({ code: "BAD_ARGUMENT" }),
    );
});
