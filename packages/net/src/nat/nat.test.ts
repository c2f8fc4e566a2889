import { describe, expect, test } from "vitest";
import { announce, GUEST_MAC, internetChecksum, ipFrame, udpFrame } from "../../test/test-peer.ts";
import { VirtualHost } from "../../test/virtual-host.ts";
import { createNat, type NatOptions } from "./nat.ts";

interface Received {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly payload: Uint8Array;
  readonly mac: string;
}

function setUp(options: Omit<NatOptions, "host"> = {}) {
  const host = new VirtualHost();
  const nat = createNat({ host, ...options });
  const frames: Uint8Array[] = [];
  nat.port.onPacket((frame) => frames.push(frame.slice()));
  const packets = (): Received[] =>
    frames
      .filter((frame) => frame[12] === 8 && frame[13] === 0)
      .map((frame) => {
        expect(internetChecksum(frame.subarray(14, 34))).toBe(0);
        return {
          source: frame.subarray(26, 30).join("."),
          destination: frame.subarray(30, 34).join("."),
          protocol: frame[23]!,
          payload: frame.subarray(34, 14 + ((frame[16]! << 8) | frame[17]!)),
          mac: Buffer.from(frame.subarray(0, 6)).toString("hex"),
        };
      });
  return { host, nat, frames, packets };
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const bytes = (string: string): Uint8Array => Buffer.from(string, "latin1");

describe("ARP and ICMP", () => {
  test("the gateway answers for its own two addresses and for nobody else's", () => {
    const { nat, frames } = setUp();
    const ask = (last: number): void => {
      const arp = [0, 1, 8, 0, 6, 4, 0, 1, ...GUEST_MAC, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, last];
      nat.port.send(Uint8Array.from([255, 255, 255, 255, 255, 255, ...GUEST_MAC, 8, 6, ...arp]));
    };
    for (const last of [2, 3, 4, 15, 255]) ask(last);
    expect(frames.map((frame) => frame.subarray(28, 32).join("."))).toEqual(["10.0.2.2", "10.0.2.3"]);
    expect([...frames[0]!.subarray(6, 12)]).toEqual([0x52, 0x55, 0x0a, 0, 2, 2]);
    expect([...frames[0]!.subarray(32, 38)]).toEqual(GUEST_MAC);
  });

  test("an echo to the gateway comes back; one to the outside is answered by a refusal that quotes it", () => {
    const { nat, packets } = setUp({ allow: ["*"] });
    announce(nat.port);
    const echo = [8, 0, 0, 0, 0x12, 0x34, 0, 1, ...bytes("payload!")];
    echo.splice(2, 2, internetChecksum(echo) >> 8, internetChecksum(echo) & 255);
    nat.port.send(ipFrame("10.0.2.15", "10.0.2.2", 1, echo));
    nat.port.send(ipFrame("10.0.2.15", "192.0.2.1", 1, echo));
    const [reply, refusal] = packets();
    expect(reply).toMatchObject({ source: "10.0.2.2", destination: "10.0.2.15", protocol: 1 });
    expect([...reply!.payload.subarray(4)]).toEqual(echo.slice(4));
    expect(reply!.payload[0]).toBe(0);
    expect(internetChecksum(reply!.payload)).toBe(0);
    expect([...refusal!.payload.subarray(0, 2)]).toEqual([3, 13]);
    expect(internetChecksum(refusal!.payload)).toBe(0);
    expect(refusal!.payload.subarray(24, 28).join(".")).toBe("192.0.2.1");
  });
});

describe("DHCP", () => {
  function message(
    kind: number,
    options: readonly number[] = [],
    mac: readonly number[] = GUEST_MAC,
    client = [0, 0, 0, 0],
  ) {
    const head = [1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0, 0, ...client];
    return Uint8Array.from([
      ...[...head, ...new Array<number>(28 - head.length).fill(0), ...mac],
      ...new Array<number>(236 - 34).fill(0),
      ...[0x63, 0x82, 0x53, 0x63, 53, 1, kind, ...options, 255],
    ]);
  }
  const send = (nat: ReturnType<typeof setUp>["nat"], data: Uint8Array): void =>
    nat.port.send(udpFrame(["0.0.0.0", 68], ["255.255.255.255", 67], data, [255, 255, 255, 255, 255, 255]));
  const optionsOf = (reply: Received): Map<number, string> => {
    const options = new Map<number, string>();
    const data = reply.payload.subarray(8);
    for (let at = 240; data[at] !== 255; at += 2 + data[at + 1]!)
      options.set(data[at]!, data.subarray(at + 2, at + 2 + data[at + 1]!).join("."));
    return options;
  };
  const yours = (reply: Received): string => reply.payload.subarray(24, 28).join(".");

  test("the first guest gets 10.0.2.15 with gateway, mask and name server; it keeps it; the next gets another", () => {
    const { nat, packets } = setUp({ domain: "example.org", mtu: 9000 });
    send(nat, message(1));
    send(nat, message(3, [50, 4, 10, 0, 2, 15]));
    send(nat, message(1, [], [2, 0, 0, 0, 0, 1]));
    send(nat, message(1));
    const replies = packets();
    expect(replies.map(yours)).toEqual(["10.0.2.15", "10.0.2.15", "10.0.2.16", "10.0.2.15"]);
    const options = optionsOf(replies[1]!);
    expect(options.get(53)).toBe("5");
    expect([options.get(1), options.get(3), options.get(6)]).toEqual(["255.255.255.0", "10.0.2.2", "10.0.2.3"]);
    expect(options.get(26)).toBe("35.40");
    expect(options.get(15)).toBe([...bytes("example.org")].join("."));
    expect(replies[0]!.mac).toBe(Buffer.from(GUEST_MAC).toString("hex"));
  });

  test("an address that isn't the guest's is refused by broadcast, and another server's guest left alone", () => {
    const { nat, packets } = setUp();
    send(nat, message(3, [50, 4, 192, 168, 1, 7]));
    send(nat, message(3, [50, 4, 10, 0, 2, 15, 54, 4, 192, 168, 1, 1]));
    const replies = packets();
    expect(replies).toHaveLength(1);
    expect(optionsOf(replies[0]!).get(53)).toBe("6");
    expect(replies[0]).toMatchObject({ destination: "255.255.255.255", mac: "ffffffffffff" });
  });
});

describe("UDP", () => {
  test("datagrams go out where they are allowed and answers come back; others are refused by ICMP", async () => {
    const { host, nat, packets } = setUp({ allow: ["192.0.2.0/24:5000-5001", "127.0.0.1:7"] });
    announce(nat.port);
    host.udpServers.set("192.0.2.9:5000", (data) => [bytes(`got ${text(data)}`)]);
    host.udpServers.set("127.0.0.1:7", (data) => [data]);
    nat.port.send(udpFrame(["10.0.2.15", 4000], ["192.0.2.9", 5000], bytes("hello")));
    nat.port.send(udpFrame(["10.0.2.15", 4000], ["10.0.2.2", 7], bytes("echo")));
    nat.port.send(udpFrame(["10.0.2.15", 4000], ["192.0.2.9", 5001], bytes("nobody")));
    nat.port.send(udpFrame(["10.0.2.15", 4000], ["192.0.2.9", 5002], bytes("forbidden")));
    await host.run(100);
    const got = packets();
    expect(got.map(({ source, protocol }) => [source, protocol])).toEqual([
      ["10.0.2.2", 1],
      ["192.0.2.9", 17],
      ["10.0.2.2", 17],
      ["192.0.2.9", 1],
    ]);
    expect([...got[0]!.payload.subarray(0, 2)]).toEqual([3, 13]);
    expect(text(got[1]!.payload.subarray(8))).toBe("got hello");
    expect(text(got[2]!.payload.subarray(8))).toBe("echo");
    expect([...got[3]!.payload.subarray(0, 2)]).toEqual([3, 3]);
    const quoted = got[3]!.payload.subarray(8);
    expect([quoted.subarray(12, 16).join("."), quoted.subarray(16, 20).join(".")]).toEqual(["10.0.2.15", "192.0.2.9"]);
    expect(nat.statistics.udpFlows).toBe(3);
    await host.run(61_000);
    expect(nat.statistics.udpFlows).toBe(0);
  });

  test("a published port gives each of its other ends a port of the gateway, and answers go back", async () => {
    const { host, nat, packets } = setUp();
    announce(nat.port);
    const port = await nat.publish({ port: 5353, guestPort: 53, protocol: "udp" });
    const receive = host.datagramListeners.get(5353)!;
    receive(bytes("one"), { address: "192.0.2.1", port: 7000 });
    receive(bytes("two"), { address: "192.0.2.2", port: 7000 });
    receive(bytes("three"), { address: "192.0.2.1", port: 7000 });
    const got = packets().map(({ source, payload }) => ({
      from: `${source}:${(payload[0]! << 8) | payload[1]!}`,
      to: (payload[2]! << 8) | payload[3]!,
      text: text(payload.subarray(8)),
    }));
    expect(got).toEqual([
      { from: "10.0.2.2:49152", to: 53, text: "one" },
      { from: "10.0.2.2:49153", to: 53, text: "two" },
      { from: "10.0.2.2:49152", to: 53, text: "three" },
    ]);
    nat.port.send(udpFrame(["10.0.2.15", 53], ["10.0.2.2", 49153], bytes("answer")));
    // Nobody has this port of the gateway, nor that one from another port of the guest: there is no way out by them.
    nat.port.send(udpFrame(["10.0.2.15", 53], ["10.0.2.2", 49154], bytes("x")));
    nat.port.send(udpFrame(["10.0.2.15", 54], ["10.0.2.2", 49153], bytes("x")));
    await host.run(100);
    expect(host.datagramsSent).toEqual([
      { from: 5353, to: { address: "192.0.2.2", port: 7000 }, bytes: new Uint8Array(bytes("answer")) },
    ]);
    expect(nat.statistics.udpFlows).toBe(2);
    await host.run(61_000);
    expect(nat.statistics.udpFlows).toBe(0);
    receive(bytes("again"), { address: "192.0.2.1", port: 7000 });
    expect(nat.statistics.udpFlows).toBe(1);
    port.close();
    expect([nat.statistics.udpFlows, host.datagramListeners.size]).toEqual([0, 0]);
    receive(bytes("late"), { address: "192.0.2.1", port: 7000 });
  });

  test("whoever floods a published port takes half of the conversations, not those of guests", async () => {
    const { host, nat } = setUp({ allow: ["*"], maxUdpFlows: 10 });
    announce(nat.port);
    for (let port = 1; port <= 5; port++) nat.port.send(udpFrame(["10.0.2.15", port], ["192.0.2.9", 5000], bytes("x")));
    await nat.publish({ port: 5353, guestPort: 53, protocol: "udp" });
    const receive = host.datagramListeners.get(5353)!;
    for (let port = 1; port <= 100; port++) receive(bytes("x"), { address: "192.0.2.1", port });
    expect(nat.statistics.udpFlows).toBe(10);
    host.udpServers.set("192.0.2.9:5000", () => [bytes("heard")]);
    nat.port.send(udpFrame(["10.0.2.15", 1], ["192.0.2.9", 5000], bytes("x")));
    await host.run(100);
    expect(nat.statistics.udpFlows).toBe(10);
    nat.close();
    expect(nat.statistics.udpFlows).toBe(0);
  });

  test("conversations are bounded: the one that was silent longest makes way", async () => {
    const { host, nat } = setUp({ allow: ["*"], maxUdpFlows: 10 });
    announce(nat.port);
    for (let port = 1; port <= 50; port++)
      nat.port.send(udpFrame(["10.0.2.15", port], ["192.0.2.9", 5000], bytes("x")));
    await host.run(10);
    expect(nat.statistics.udpFlows).toBe(10);
  });

  test("datagrams in pieces are put together, whatever their order; long answers are cut", async () => {
    const { host, nat, packets, frames } = setUp({ allow: ["*"] });
    announce(nat.port);
    const got: Uint8Array[] = [];
    host.udpServers.set("192.0.2.9:5000", (data) => [got[got.push(data.slice()) - 1]!]);
    const data = Uint8Array.from({ length: 4000 }, (_, index) => index & 255);
    const whole = udpFrame(["10.0.2.15", 4000], ["192.0.2.9", 5000], data).subarray(34);
    const pieces = [0, 1480, 2960].map((from) =>
      ipFrame("10.0.2.15", "192.0.2.9", 17, whole.subarray(from, Math.min(from + 1480, whole.length)), {
        fragment: (from >> 3) | (from < 2960 ? 0x2000 : 0),
      }),
    );
    for (const index of [2, 0, 1]) nat.port.send(pieces[index]!);
    // One whose middle is missing, and one whose pieces overlap, are never whole.
    for (const index of [0, 2]) nat.port.send(pieces[index]!);
    await host.run(100);
    expect(got).toHaveLength(1);
    expect(Buffer.from(got[0]!).equals(data)).toBe(true);
    const answers = packets();
    expect(answers).toHaveLength(3);
    expect(frames.every((frame) => frame.length <= 1514)).toBe(true);
    const joined = Buffer.concat(answers.map(({ payload }) => payload));
    expect(joined.subarray(8).equals(data)).toBe(true);
  });

  test("a wrong checksum is dropped, unless its sender says that it isn't done", async () => {
    const { host, nat, packets } = setUp({ allow: ["*"] });
    announce(nat.port);
    host.udpServers.set("192.0.2.9:5000", (data) => [data]);
    const frame = udpFrame(["10.0.2.15", 4000], ["192.0.2.9", 5000], bytes("hello"));
    frame[40]! ^= 0x55;
    nat.port.send(frame);
    await host.run(10);
    expect(packets()).toHaveLength(0);
    nat.port.send(frame, { partialChecksum: true });
    await host.run(10);
    expect(packets()).toHaveLength(1);
  });
});

describe("what a guest may not reach", () => {
  test.each(["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "10.0.2.3", "10.0.2.77", "10.0.2.255"])(
    "%s leads nowhere, even where all is allowed",
    async (address) => {
      const { host, nat } = setUp({ allow: ["*"] });
      announce(nat.port);
      host.udpServers.set(`${address}:7`, () => [bytes("reached")]);
      host.udpServers.set("127.0.0.1:7", () => [bytes("reached")]);
      nat.port.send(udpFrame(["10.0.2.15", 4000], [address, 7], bytes("x")));
      await host.run(10);
      expect(nat.statistics.udpFlows).toBe(0);
    },
  );

  test("a frame to another card, or from an address outside the network, is nobody's", async () => {
    const { host, nat } = setUp({ allow: ["*"] });
    announce(nat.port);
    nat.port.send(udpFrame(["10.0.2.15", 1], ["192.0.2.9", 7], bytes("x"), [2, 0, 0, 0, 0, 9]));
    for (const source of ["192.0.2.1", "10.0.2.2", "10.0.2.255", "127.0.0.1"])
      nat.port.send(udpFrame([source, 1], ["192.0.2.9", 7], bytes("x")));
    await host.run(10);
    expect(nat.statistics.udpFlows).toBe(0);
  });
});

test("wrong options are refused by name", () => {
  const host = new VirtualHost();
  const make = (options: Omit<NatOptions, "host">) => () => createNat({ host, ...options });
  expect(make({ mtu: 100 })).toThrow("mtu 100 is not in 576 to 65521");
  expect(make({ network: "10.0.0.0/8" })).toThrow("network 10.0.0.0/8");
  expect(make({ allow: ["a:b:c"] })).toThrow("a:b:c is not HOST[:PORT]");
  expect(make({ allow: ["300.1.1.1"] })).toThrow("300.1.1.1");
  expect(make({ allow: ["example.org:0"] })).toThrow("ports are 1 to 65535");
  expect(make({ mac: "00:11" })).toThrow("00:11");
});
