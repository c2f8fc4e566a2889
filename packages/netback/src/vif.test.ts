import { describe, expect, test } from "vitest";
import { readSegment, testSegment } from "../../net/test/frames.ts";
import { concat, createTestPort, createTestVif, MAC, pieces, type TestQueue } from "../test/frontend.ts";
import { createVif, parseVifRate } from "./index.ts";

function pattern(length: number, seed = 7): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * seed + (at >> 8)) & 255);
}

/** A frame of another protocol, which nobody looks into. */
function plainFrame(length: number, destination = [0x02, 0, 0, 0, 0, 1]): Uint8Array {
  const frame = pattern(length);
  frame.set([...destination, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
  return frame;
}

/** `netif_extra_info` with a segment size. */
function gsoExtra(size: number, type = 1, flags = 0): Uint8Array {
  return Uint8Array.of(1, flags, size & 255, size >> 8, type, 0, 0, 0);
}

function groupExtra(type: 2 | 3, group: readonly number[]): Uint8Array {
  return Uint8Array.of(type, 0, ...group);
}

const CSUM_BLANK = 1;
const RX_CSUM = 0x1 | 0x2;

describe("negotiation", () => {
  test("the backend offers what Linux's does, and the toolstack's nodes are xl's", async () => {
    const { read, readFront } = await createTestVif({
      mtu: 9000,
      rate: { bytes: 1000, interval: 50_000 },
      timer: stopped(),
    });
    const names = ["sg", "gso-tcpv4", "gso-tcpv6", "ipv6-csum-offload", "rx-copy", "rx-flip"];
    expect(names.map((name) => read(`feature-${name}`))).toEqual(["1", "1", "1", "1", "1", "0"]);
    expect(read("feature-multicast-control")).toBe("1");
    expect(read("feature-dynamic-multicast-control")).toBe("1");
    expect(read("feature-split-event-channels")).toBe("1");
    expect(read("multi-queue-max-queues")).toBe("4");
    expect([read("mac"), read("handle"), read("type"), read("rate")]).toEqual([MAC, "0", "vif", "1000,50000"]);
    expect([readFront("mac"), readFront("handle"), readFront("mtu")]).toEqual([MAC, "0", "9000"]);
    expect([read("state"), read("carrier")]).toEqual(["2", "1"]);
  });

  test.each([
    ["request-rx-copy", { "request-rx-copy": undefined }, "request-rx-copy isn't 1"],
    ["feature-rx-notify", { "feature-rx-notify": "0" }, "feature-rx-notify isn't 1"],
    ["the ring's grant", { "tx-ring-ref": "99999" }, "grant 99999 of the transmit ring"],
    ["the second grant", { "rx-ring-ref": "4294967296" }, "rx-ring-ref is not a number of 32 bits"],
    ["the event channel", { "event-channel-rx": "77" }, "event channel 77"],
    ["its channel's node", { "event-channel-rx": undefined }, "event-channel-rx is missing"],
    ["the number of queues", { "multi-queue-num-queues": "5" }, "multi-queue-num-queues 5 is not in 1 to 4"],
    ["no queues", { "multi-queue-num-queues": "0" }, "multi-queue-num-queues 0"],
    ["more queues than nodes", { "multi-queue-num-queues": "2" }, "queue-0/tx-ring-ref is missing"],
  ])("a frontend that is wrong about %s is told so, and nothing of it is kept", async (_name, nodes, message) => {
    const device = await createTestVif();
    await device.connect({ nodes });
    expect(device.read("error")).toContain(message);
    expect(device.backend.state).toBe(5);
    expect(device.guest.mapped).toBe(0);
    expect(device.port.hasReceiver).toBe(false);
    expect(device.errors).toHaveLength(1);
  });

  test("a frontend that goes and comes again gets its frames again, and its old rings are let go", async () => {
    const { connect, write, guest, port, settle, backend } = await createTestVif();
    await connect();
    expect([backend.state, guest.mapped]).toEqual([4, 2]);
    await write("state", "5");
    await settle();
    await write("state", "6");
    await settle();
    expect([backend.state, guest.mapped, port.hasReceiver]).toEqual([6, 0, false]);
    await write("state", "1");
    await settle();
    const [queue] = await connect();
    queue!.offer(1);
    port.give(plainFrame(60));
    expect(queue!.receive()).toHaveLength(1);
    await backend.close();
    expect([guest.mapped, port.hasReceiver]).toEqual([0, false]);
  });

  test("a card serves one domain at a time", async () => {
    const { vif, context, backend } = await createTestVif();
    await expect(vif.start(context)).rejects.toMatchObject({ code: "BUSY" });
    await backend.close();
    await vif.start(context);
  });

  test("options that can't be are refused by name and limit", () => {
    const make = (options: object) => () => createVif({ port: createTestPort(true), mac: MAC, ...options });
    expect(make({ mac: "00:16:3e:11:22" })).toThrow("00:16:3e:11:22 is not a MAC address");
    expect(make({ mac: "01:00:5e:00:00:01" })).toThrow("the address of a group");
    expect(make({ mtu: 67 })).toThrow("mtu 67 is not in 68 to 65521");
    expect(make({ queues: 17 })).toThrow("queues 17 is not in 1 to 16");
    expect(make({ rate: { bytes: 1, interval: 1 } })).toThrow("a rate needs a timer");
    expect(make({ rate: { bytes: 0, interval: 1 }, timer: stopped() })).toThrow("a rate of 0 bytes");
  });
});

describe("from the guest", () => {
  test("frames of one to eighteen pieces arrive whole, and each slot is answered in its turn", async () => {
    const { connect, port, guest } = await createTestVif();
    const [queue] = await connect();
    for (const length of [14, 60, 1514, 4096, 4097, 9014, 65535]) {
      const ids = queue!.send(plainFrame(length));
      guest.run();
      expect(queue!.answers()).toEqual(ids.map((id) => ({ id, status: 0 })));
      const { frame } = port.sent.pop()!;
      expect(Buffer.compare(frame, plainFrame(length)), `${length} bytes`).toBe(0);
    }
    const small = queue!.send(plainFrame(1000), { split: [14, ...new Array<number>(17).fill(58)] });
    guest.run();
    expect(queue!.answers()).toHaveLength(small.length);
    expect(port.sent).toHaveLength(1);
    expect(guest.mapped).toBe(2);
  });

  test("a large segment and a blank checksum go on as they are to a port that takes them", async () => {
    const { connect, port, guest, vif } = await createTestVif();
    const [queue] = await connect();
    const large = testSegment({ payload: pattern(40_000), partial: true });
    const ids = queue!.send(large, { flags: CSUM_BLANK, extras: [gsoExtra(1448)] });
    const datagram = testSegment({ protocol: "udp", payload: pattern(100), partial: true });
    queue!.send(datagram, { flags: CSUM_BLANK });
    guest.run();
    expect(port.sent.map(({ offload }) => offload)).toEqual([
      { partialChecksum: true, segmentSize: 1448 },
      { partialChecksum: true },
    ]);
    expect(Buffer.compare(port.sent[0]!.frame, large)).toBe(0);
    // The extra slot's answer says nothing.
    expect(queue!.answers().map(({ status }) => status)).toEqual([0, 1, ...ids.slice(1).map(() => 0), 0]);
    expect(vif.statistics).toMatchObject({ sentFrames: 2, sentBytes: large.length + datagram.length });
  });

  test("a port that takes no offloads gets finished frames", async () => {
    const { connect, port, guest } = await createTestVif({}, false);
    const [queue] = await connect();
    const payload = pattern(40_000);
    queue!.send(testSegment({ payload, partial: true }), { flags: CSUM_BLANK, extras: [gsoExtra(1448)] });
    queue!.send(testSegment({ ipv6: true, payload: pattern(99), partial: true }), { flags: CSUM_BLANK });
    guest.run();
    const seen = port.sent.map(({ frame }) => readSegment(frame));
    expect(port.sent.every(({ offload }) => offload === undefined)).toBe(true);
    expect(seen).toHaveLength(29);
    expect(Buffer.compare(concat(seen.slice(0, 28).map((piece) => piece.payload)), payload)).toBe(0);
  });

  test("a large segment whose checksum is there already is passed on with a partial one", async () => {
    const { connect, port, guest } = await createTestVif();
    const [queue] = await connect();
    queue!.send(testSegment({ payload: pattern(5000) }), { extras: [gsoExtra(1000)] });
    guest.run();
    expect(port.sent[0]!.offload).toEqual({ partialChecksum: true, segmentSize: 1000 });
    expect(port.sent[0]!.frame).toEqual(testSegment({ payload: pattern(5000), partial: true }));
  });

  test("frames that aren't what they say are answered with an error, and the next one goes through", async () => {
    const { connect, port, guest, vif } = await createTestVif();
    const [queue] = await connect();
    const arp = plainFrame(60);
    const bad: [string, () => void][] = [
      ["a blank checksum of no TCP or UDP", () => queue!.send(arp, { flags: CSUM_BLANK })],
      ["a large frame of no TCP", () => queue!.send(plainFrame(5000), { extras: [gsoExtra(1000)] })],
      ["segments of no bytes", () => queue!.send(testSegment({ payload: pattern(5000) }), { extras: [gsoExtra(0)] })],
      ["an unknown kind", () => queue!.send(testSegment({ payload: pattern(50) }), { extras: [gsoExtra(9, 7)] })],
      ["13 bytes", () => queue!.send(plainFrame(20).subarray(0, 13))],
      ["a missing grant", () => rawSend(queue!, { ref: 4_000_000, size: 60 })],
      [
        "more in its pieces than in all",
        () => {
          const ref = guest.grant(new Uint8Array(4096));
          queue!.txSlot({ ref, size: 100, flags: 4, id: 1 });
          rawSend(queue!, { ref, size: 101, id: 2 });
        },
      ],
    ];
    for (const [name, send] of bad) {
      send();
      guest.run();
      const statuses = new Set(queue!.answers().map(({ status }) => status));
      statuses.delete(1);
      expect([...statuses], name).toEqual([-1]);
      expect(port.sent, name).toEqual([]);
    }
    expect(vif.statistics.sendErrors).toBe(bad.length);
    queue!.send(arp);
    guest.run();
    expect(port.sent).toHaveLength(1);
    expect(guest.mapped).toBe(2);
  });

  test("a grant of a part of a page gives no more than that", async () => {
    const { connect, port, guest } = await createTestVif();
    const [queue] = await connect();
    rawSend(queue!, { ref: guest.grant(pattern(4096).subarray(0, 100)), offset: 50, size: 51 });
    guest.run();
    expect(queue!.answers()).toEqual([{ id: 0, status: -1 }]);
    rawSend(queue!, { ref: guest.grant(pattern(4096).subarray(0, 100)), offset: 50, size: 50 });
    guest.run();
    expect(queue!.answers()).toEqual([{ id: 0, status: 0 }]);
    expect(port.sent[0]!.frame).toEqual(pattern(4096).slice(50, 100));
  });

  test.each([
    [
      "a chain without end",
      (queue: TestQueue, ref: number) => {
        for (let at = 0; at < 30; at++) queue.txSlot({ ref, size: 1000, flags: 4 });
      },
      "a frame of more than 20 slots",
    ],
    [
      "a chain that stops",
      (queue: TestQueue, ref: number) => queue.txSlot({ ref, size: 1000, flags: 4 }),
      "a frame's last slot is missing",
    ],
    [
      "an extra slot that is missing",
      (queue: TestQueue, ref: number) => queue.txSlot({ ref, size: 1000, flags: 8 }),
      "a frame's extra slot is missing",
    ],
    [
      "extra slots without end",
      (queue: TestQueue, ref: number) => {
        queue.txSlot({ ref, size: 1000, flags: 8 });
        while (queue.tx.room > 0) queue.tx.request(gsoExtra(100, 1, 1));
      },
      "a frame's extra slot is missing",
    ],
    [
      "an unknown extra slot",
      (queue: TestQueue, ref: number) => {
        queue.txSlot({ ref, size: 1000, flags: 8 });
        queue.tx.request(Uint8Array.of(5, 0, 0, 0, 0, 0, 0, 0));
      },
      "extra slot of unknown type 5",
    ],
    [
      "a piece past its page",
      (queue: TestQueue, ref: number) => queue.txSlot({ ref, offset: 4000, size: 97 }),
      "97 bytes at 4000 leave their page",
    ],
    [
      "a frame of more than a page in one slot",
      (queue: TestQueue, ref: number) => queue.txSlot({ ref, size: 5000 }),
      "5000 bytes at 0 leave their page",
    ],
    [
      "indices out of range",
      (queue: TestQueue) => new DataView(queue.txPage.buffer).setUint32(0, 5000, true),
      "more transmit requests than the ring has slots",
    ],
  ])("%s closes the device, says why, and gives everything back", async (_name, break_, reason) => {
    const { connect, port, guest, backend, read, errors, settle, write } = await createTestVif();
    const [queue] = await connect();
    break_(queue!, guest.grant(new Uint8Array(4096)));
    const producer = new DataView(queue!.txPage.buffer).getUint32(0, true);
    queue!.tx.push();
    if (producer === 5000) new DataView(queue!.txPage.buffer).setUint32(0, 5000, true);
    guest.signal(queue!.txPort);
    guest.run();
    await settle();
    expect(read("error")).toBe(`the frontend's rings are broken: ${reason}`);
    expect(backend.state).toBe(5);
    expect(errors).toHaveLength(1);
    expect([guest.mapped, port.hasReceiver, port.sent.length]).toEqual([0, false, 0]);
    // The driver lets go and starts anew, as Linux's does when it is bound again.
    await write("state", "6");
    await settle();
    await write("state", "1");
    await settle();
    const [fresh] = await connect();
    fresh!.send(plainFrame(60));
    guest.run();
    expect(port.sent).toHaveLength(1);
  });

  test("a grant taken back in the middle of a frame loses that frame only", async () => {
    const { connect, port, guest } = await createTestVif();
    const [queue] = await connect();
    let calls = 0;
    guest.onMap = (ref) => {
      if (++calls === 3) guest.grants.delete(ref);
    };
    queue!.send(plainFrame(9000));
    queue!.send(plainFrame(9000));
    queue!.send(plainFrame(9000));
    guest.run();
    expect(queue!.answers().map(({ status }) => status)).toEqual([-1, -1, -1, 0, 0, 0, 0, 0, 0]);
    expect(port.sent).toHaveLength(2);
  });

  test("the guest is signalled once for a ring full of frames, and not at all when it asked for none", async () => {
    const { connect, guest } = await createTestVif();
    const [queue] = await connect();
    const before = guest.signals.get(queue!.txPort) ?? 0;
    for (let at = 0; at < 200; at++) queue!.send(plainFrame(60));
    guest.run();
    expect(guest.signals.get(queue!.txPort)! - before).toBe(1);
    for (let at = 0; at < 50; at++) queue!.send(plainFrame(60));
    guest.run();
    expect(guest.signals.get(queue!.txPort)! - before).toBe(1);
  });

  test("one event channel for both rings does for older frontends", async () => {
    const { connect, guest, port } = await createTestVif();
    const [queue] = await connect({ oneChannel: true });
    queue!.send(plainFrame(60));
    queue!.offer(1);
    guest.run();
    port.give(plainFrame(60));
    expect(port.sent).toHaveLength(1);
    expect(queue!.receive()).toHaveLength(1);
  });
});

describe("to the guest", () => {
  test("a frame fills as many pages as it needs", async () => {
    const { connect, port } = await createTestVif();
    const [queue] = await connect();
    for (const length of [14, 60, 4096, 4097, 65535]) {
      queue!.offer(pieces(length).length);
      port.give(plainFrame(length));
      const [frame] = queue!.receive();
      expect(frame!.statuses).toEqual(pieces(length));
      expect(frame!.flags & RX_CSUM).toBe(0);
      expect(Buffer.compare(frame!.bytes, plainFrame(length))).toBe(0);
    }
  });

  test("large segments and partial checksums come with their extra slot and flags", async () => {
    const { connect, port } = await createTestVif();
    const [queue] = await connect();
    queue!.offer(40);
    const large = testSegment({ payload: pattern(30_000), partial: true });
    const large6 = testSegment({ ipv6: true, payload: pattern(3000), partial: true });
    const datagram = testSegment({ protocol: "udp", payload: pattern(100), partial: true });
    port.give(large, { partialChecksum: true, segmentSize: 1448 });
    port.give(large6, { partialChecksum: true, segmentSize: 1200 });
    port.give(datagram, { partialChecksum: true });
    const [first, second, third] = queue!.receive();
    expect([first!.gso, second!.gso, third!.gso]).toEqual([
      { size: 1448, type: 1 },
      { size: 1200, type: 2 },
      undefined,
    ]);
    for (const frame of [first, second, third]) expect(frame!.flags & RX_CSUM).toBe(RX_CSUM);
    expect(Buffer.compare(first!.bytes, large)).toBe(0);
    expect(Buffer.compare(second!.bytes, large6)).toBe(0);
    expect(Buffer.compare(third!.bytes, datagram)).toBe(0);
  });

  test.each([
    ["no large segments", { "feature-gso-tcpv4": "0" }],
    ["no partial checksums", { "feature-no-csum-offload": "1" }],
    ["one page for a frame", { "feature-sg": undefined }],
  ])("a frontend that takes %s gets pieces with right checksums", async (_name, nodes) => {
    const { connect, port } = await createTestVif();
    const [queue] = await connect({ nodes });
    queue!.offer(60);
    const payload = pattern(30_000);
    port.give(testSegment({ payload, partial: true }), { partialChecksum: true, segmentSize: 1448 });
    const frames = queue!.receive();
    expect(frames.every(({ flags, gso }) => flags === 0 && gso === undefined)).toBe(true);
    expect(Buffer.compare(concat(frames.map(({ bytes }) => readSegment(bytes).payload)), payload)).toBe(0);
  });

  test("IPv6 is finished for a frontend that has offloads for IPv4 alone", async () => {
    const { connect, port } = await createTestVif();
    const [queue] = await connect({
      nodes: { "feature-gso-tcpv6": undefined, "feature-ipv6-csum-offload": undefined },
    });
    queue!.offer(60);
    port.give(testSegment({ ipv6: true, payload: pattern(5000), partial: true }), {
      partialChecksum: true,
      segmentSize: 1200,
    });
    port.give(testSegment({ payload: pattern(5000), partial: true }), { partialChecksum: true, segmentSize: 1200 });
    const frames = queue!.receive();
    expect(frames.map(({ gso }) => gso?.size)).toEqual([undefined, undefined, undefined, undefined, undefined, 1200]);
    for (const { bytes } of frames.slice(0, 5)) readSegment(bytes);
  });

  test("a frontend with one page for a frame loses longer ones", async () => {
    const { connect, port, vif } = await createTestVif();
    const [queue] = await connect({ nodes: { "feature-sg": "0" } });
    queue!.offer(4);
    port.give(plainFrame(4097));
    port.give(plainFrame(4096));
    expect(queue!.receive().map(({ bytes }) => bytes.length)).toEqual([4096]);
    expect(vif.statistics.receiveDrops).toBe(1);
  });

  test("frames wait for pages in order, up to the limit, and the guest's next pages bring them", async () => {
    const { connect, port, guest, vif } = await createTestVif({ maxWaitingBytes: 20_000 });
    const [queue] = await connect();
    for (let at = 0; at < 30; at++) port.give(plainFrame(1000, [2, 0, 0, 0, 0, at]));
    expect(vif.statistics).toMatchObject({ receiveDrops: 10, receivedFrames: 0 });
    // A page at a time.
    for (let at = 0; at < 20; at++) {
      queue!.offer(1);
      guest.run();
      expect(queue!.receive().map(({ bytes }) => bytes[5])).toEqual([at]);
    }
    expect(vif.statistics.receivedFrames).toBe(20);
    expect(guest.mapped).toBe(2);
  });

  test("a long frame waits until there are pages for all of it", async () => {
    const { connect, port, guest } = await createTestVif();
    const [queue] = await connect();
    queue!.offer(2);
    port.give(plainFrame(12_000));
    port.give(plainFrame(60));
    guest.run();
    expect(queue!.receive()).toEqual([]);
    queue!.offer(1);
    guest.run();
    expect(queue!.receive().map(({ bytes }) => bytes.length)).toEqual([12_000]);
    queue!.offer(1);
    guest.run();
    expect(queue!.receive().map(({ bytes }) => bytes.length)).toEqual([60]);
  });

  test("pages that weren't granted are answered with an error, and only that frame is lost", async () => {
    const { connect, port, guest, vif } = await createTestVif();
    const [queue] = await connect();
    queue!.offer(1);
    queue!.offer(1, 4_000_000);
    queue!.offer(1, guest.grant(new Uint8Array(4096), true));
    queue!.offer(1, guest.grant(new Uint8Array(4096).subarray(0, 10)));
    queue!.offer(1);
    port.give(plainFrame(5000));
    port.give(plainFrame(60));
    port.give(plainFrame(60));
    port.give(plainFrame(60));
    expect(queue!.receive().map(({ statuses }) => statuses)).toEqual([[4096, -1], [-1], [-1], [60]]);
    expect(vif.statistics).toMatchObject({ receivedFrames: 1, receiveDrops: 3 });
    expect(guest.mapped).toBe(2);
  });

  test("pages claimed out of range close the device", async () => {
    const { connect, port, guest, read, settle, backend } = await createTestVif();
    const [queue] = await connect();
    new DataView(queue!.rxPage.buffer).setUint32(0, 100_000, true);
    port.give(plainFrame(60));
    await settle();
    expect(read("error")).toContain("more receive requests than the ring has slots");
    expect([guest.mapped, backend.state]).toEqual([0, 5]);
  });

  test("the guest is signalled once for many frames", async () => {
    const { connect, port, guest } = await createTestVif();
    const [queue] = await connect();
    queue!.offer(200);
    const before = guest.signals.get(queue!.rxPort) ?? 0;
    for (let at = 0; at < 200; at++) port.give(plainFrame(60));
    expect(guest.signals.get(queue!.rxPort)! - before).toBe(1);
    expect(queue!.receive()).toHaveLength(200);
  });

  test("frames too short or too long for Ethernet are dropped", async () => {
    const { connect, port, vif } = await createTestVif();
    const [queue] = await connect();
    queue!.offer(40);
    port.give(plainFrame(14).subarray(0, 13));
    port.give(plainFrame(0xffff + 19));
    expect(queue!.receive()).toEqual([]);
    expect(vif.statistics.receiveDrops).toBe(2);
  });
});

describe("queues", () => {
  test("a flow keeps to one queue, and many flows use all", async () => {
    const { connect, port, guest, vif } = await createTestVif();
    const queues = await connect({ queues: 4 });
    for (const queue of queues) queue.offer(200);
    for (let flow = 0; flow < 64; flow++) {
      const frame = testSegment({ protocol: "udp", payload: pattern(20) });
      new DataView(frame.buffer).setUint16(36, 1000 + flow);
      port.give(frame);
      port.give(frame);
    }
    const counts = queues.map((queue) => queue.receive().length);
    expect(counts.reduce((sum, count) => sum + count)).toBe(128);
    for (const count of counts) expect(count).toBeGreaterThan(10);
    expect(counts.every((count) => count % 2 === 0)).toBe(true);
    for (const queue of queues) queue.send(plainFrame(60));
    guest.run();
    expect(port.sent).toHaveLength(4);
    expect(vif.statistics.sentFrames).toBe(4);
  });

  test("one queue that is broken takes the device with it", async () => {
    const { connect, guest, settle, backend } = await createTestVif({ queues: 2 });
    const queues = await connect({ queues: 2 });
    queues[1]!.txSlot({ ref: 0, size: 1000, flags: 4 });
    queues[1]!.tx.push();
    guest.run();
    await settle();
    expect([backend.state, guest.mapped]).toEqual([5, 0]);
  });
});

describe("multicast control", () => {
  const GROUP = [0x01, 0, 0x5e, 0, 0, 0xfb];
  const OTHER = [0x01, 0, 0x5e, 0, 0, 0xfc];

  test("a guest that asked for it gets the groups that it joined, broadcast, and its own frames", async () => {
    const { connect, port, guest } = await createTestVif();
    const [queue] = await connect({ nodes: { "request-multicast-control": "1" } });
    queue!.offer(20);
    const give = () => {
      for (const to of [GROUP, OTHER, [255, 255, 255, 255, 255, 255], [2, 0, 0, 0, 0, 1]])
        port.give(plainFrame(60, to));
      return queue!.receive().map(({ bytes }) => bytes[5]);
    };
    expect(give()).toEqual([255, 1]);
    queue!.send(plainFrame(20), { extras: [groupExtra(2, GROUP)] });
    guest.run();
    expect(queue!.answers().map(({ status }) => status)).toEqual([0, 1]);
    expect(port.sent).toEqual([]);
    expect(give()).toEqual([0xfb, 255, 1]);
    queue!.send(plainFrame(20), { extras: [groupExtra(3, GROUP)] });
    guest.run();
    expect(give()).toEqual([255, 1]);
  });

  test("without it, all groups come; and it can be asked for at any time", async () => {
    const { connect, port, write, settle } = await createTestVif();
    const [queue] = await connect();
    queue!.offer(20);
    port.give(plainFrame(60, GROUP));
    expect(queue!.receive()).toHaveLength(1);
    await write("request-multicast-control", "1");
    await settle();
    port.give(plainFrame(60, GROUP));
    expect(queue!.receive()).toHaveLength(0);
    await write("request-multicast-control", "0");
    await settle();
    port.give(plainFrame(60, GROUP));
    expect(queue!.receive()).toHaveLength(1);
  });

  test("64 groups can be joined, the next is refused, and so is what is no group", async () => {
    const { connect, guest } = await createTestVif();
    const [queue] = await connect();
    const join = (group: readonly number[]) => {
      queue!.send(plainFrame(20), { extras: [groupExtra(2, group)] });
      guest.run();
      return queue!.answers()[0]!.status;
    };
    expect(join([2, 0, 0, 0, 0, 0])).toBe(-1);
    for (let at = 0; at < 64; at++) expect(join([1, 0, 0, 0, 0, at])).toBe(0);
    expect(join([1, 0, 0, 0, 0, 64])).toBe(-1);
    expect(join([1, 0, 0, 0, 0, 63])).toBe(0);
  });
});

describe("link, rate", () => {
  test("a pulled cable loses frames both ways and says so in the carrier node", async () => {
    const { vif, connect, port, guest, read } = await createTestVif({ link: false });
    expect([vif.link, read("carrier")]).toEqual([false, "0"]);
    const [queue] = await connect();
    queue!.offer(5);
    const both = () => {
      port.give(plainFrame(60));
      queue!.send(plainFrame(60));
      guest.run();
      return [queue!.receive().length, port.sent.splice(0).length, queue!.answers()[0]!.status];
    };
    expect(both()).toEqual([0, 0, -1]);
    await vif.setLink(true);
    expect([vif.link, read("carrier")]).toEqual([true, "1"]);
    expect(both()).toEqual([1, 1, 0]);
    await vif.setLink(false);
    expect(both()).toEqual([0, 0, -1]);
  });

  test("a guest may send so many bytes in an interval, and what is more waits for its answer", async () => {
    const timer = manualTimer();
    const { connect, port, guest } = await createTestVif({ rate: { bytes: 10_000, interval: 50_000 }, timer });
    const [queue] = await connect();
    for (let at = 0; at < 40; at++) queue!.send(plainFrame(1000));
    guest.run();
    const sentAfter = (milliseconds: number) => {
      timer.advance(milliseconds);
      guest.run();
      return port.sent.splice(0).length;
    };
    expect([sentAfter(0), queue!.answers().length]).toEqual([10, 10]);
    expect([sentAfter(49), sentAfter(1), sentAfter(49), sentAfter(1), sentAfter(50)]).toEqual([0, 10, 0, 10, 10]);
    // Idle intervals aren't saved up.
    expect(sentAfter(1000)).toBe(0);
    for (let at = 0; at < 20; at++) queue!.send(plainFrame(1000));
    guest.run();
    expect(sentAfter(0)).toBe(10);
  });

  test("a frame longer than an interval's bytes saves up for itself", async () => {
    const timer = manualTimer();
    const { connect, port, guest, backend } = await createTestVif({ rate: { bytes: 1000, interval: 10_000 }, timer });
    const [queue] = await connect();
    queue!.send(plainFrame(3500));
    guest.run();
    for (const sent of [0, 0, 1]) {
      timer.advance(10);
      guest.run();
      expect(port.sent).toHaveLength(sent);
    }
    queue!.send(plainFrame(3500));
    guest.run();
    await backend.close();
    expect(timer.waiting()).toBe(0);
  });

  test("xl's rates are read as xl reads them", () => {
    expect(parseVifRate("10Mb/s")).toEqual({ bytes: 62_500, interval: 50_000 });
    expect(parseVifRate("250KB/s")).toEqual({ bytes: 12_500, interval: 50_000 });
    expect(parseVifRate("1MB/s@20ms")).toEqual({ bytes: 20_000, interval: 20_000 });
    expect(parseVifRate("1GB/s@10us")).toEqual({ bytes: 10_000, interval: 10 });
    for (const wrong of ["", "10", "10MB", "10MB/s@", "10MB/s@0ms", "1B/s", "-1MB/s", "1MB/s@9999999s"])
      expect(() => parseVifRate(wrong), wrong).toThrow(expect.objectContaining({ code: "BAD_ARGUMENT" }));
  });
});

function rawSend(queue: TestQueue, slot: Parameters<TestQueue["txSlot"]>[0]): void {
  queue.txSlot(slot);
  queue.tx.push();
}

function stopped() {
  return { now: () => 0, after: () => () => {} };
}

function manualTimer() {
  let now = 0;
  let due: { at: number; work: () => void }[] = [];
  return {
    now: () => now,
    after(delay: number, work: () => void) {
      const entry = { at: now + delay, work };
      due.push(entry);
      return () => {
        due = due.filter((one) => one !== entry);
      };
    },
    waiting: () => due.length,
    advance(milliseconds: number) {
      now += milliseconds;
      const ready = due.filter(({ at }) => at <= now);
      due = due.filter(({ at }) => at > now);
      for (const { work } of ready) work();
    },
  };
}

test("a guest's memory is read once for a frame: what it writes later changes nothing", async () => {
  const device = await createTestVif();
  const [queue] = await device.connect();
  const page = plainFrame(60);
  const bytes = new Uint8Array(4096);
  bytes.set(page);
  device.port.sent.length = 0;
  rawSend(queue!, { ref: device.guest.grant(bytes), size: 60 });
  device.guest.run();
  bytes.fill(0);
  expect(device.port.sent[0]!.frame).toEqual(page);
});
