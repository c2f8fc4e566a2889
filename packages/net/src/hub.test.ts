import { describe, expect, test } from "vitest";
import { createHub, type HubPort } from "./hub.ts";

const A = "00:16:3e:00:00:0a";
const B = "00:16:3e:00:00:0b";
const C = "00:16:3e:00:00:0c";
const ALL = "ff:ff:ff:ff:ff:ff";
const mac = (text: string): number[] => text.split(":").map((byte) => Number.parseInt(byte, 16));
const ip = (text: string): number[] => text.split(".").map(Number);

function ethernet(to: string, from: string, type: number, payload: readonly number[] = []): Uint8Array {
  const body = [...mac(to), ...mac(from), type >> 8, type & 255, ...payload];
  return Uint8Array.from([...body, ...new Array<number>(Math.max(0, 60 - body.length)).fill(0)]);
}

function arp(from: string, sender: string, address: string): Uint8Array {
  return ethernet(ALL, from, 0x806, [
    0,
    1,
    8,
    0,
    6,
    4,
    0,
    1,
    ...mac(sender),
    ...ip(address),
    0,
    0,
    0,
    0,
    0,
    0,
    10,
    0,
    0,
    1,
  ]);
}

function ipv4(from: string, source: string, ports: readonly [number, number] = [1, 2]): Uint8Array {
  const words = ports.flatMap((port) => [port >> 8, port & 255]);
  return ethernet(ALL, from, 0x800, [
    0x45,
    0,
    0,
    28,
    0,
    0,
    0,
    0,
    64,
    17,
    0,
    0,
    ...ip(source),
    10,
    0,
    0,
    1,
    ...words,
    0,
    8,
    0,
    0,
  ]);
}

function six(text: string): number[] {
  const bytes = new Array<number>(16).fill(0);
  const [head, tail = ""] = text.split("::");
  const words = (part: string): number[] =>
    part
      .split(":")
      .filter(Boolean)
      .flatMap((word) => [Number.parseInt(word, 16) >> 8, Number.parseInt(word, 16) & 255]);
  bytes.splice(0, words(head!).length, ...words(head!));
  if (tail !== "") bytes.splice(16 - words(tail).length, words(tail).length, ...words(tail));
  return bytes;
}

function ipv6(from: string, source: string, next: number, payload: readonly number[]): Uint8Array {
  return ethernet(ALL, from, 0x86dd, [
    0x60,
    0,
    0,
    0,
    0,
    payload.length,
    next,
    255,
    ...six(source),
    ...six("ff02::1"),
    ...payload,
  ]);
}

function listen(port: HubPort): Uint8Array[] {
  const got: Uint8Array[] = [];
  port.onPacket((frame) => got.push(frame.slice()));
  return got;
}

describe("a hub", () => {
  test("floods what it doesn't know, and sends what it knows to one port", () => {
    const hub = createHub();
    const ports = [hub.addPort(), hub.addPort(), hub.addPort()];
    const got = ports.map(listen);
    ports[0]!.send(ethernet(B, A, 0x800));
    expect(got.map((frames) => frames.length)).toEqual([0, 1, 1]);
    ports[1]!.send(ethernet(A, B, 0x800));
    expect(got.map((frames) => frames.length)).toEqual([1, 1, 1]);
    ports[0]!.send(ethernet(B, A, 0x800));
    expect(got.map((frames) => frames.length)).toEqual([1, 2, 1]);
    ports[0]!.send(ethernet(ALL, A, 0x806));
    expect(got.map((frames) => frames.length)).toEqual([1, 3, 2]);
    // A card that moves is found at its new place; what is sent back to its own port stays there.
    ports[2]!.send(ethernet(ALL, B, 0x800));
    ports[0]!.send(ethernet(B, A, 0x800));
    expect(got.map((frames) => frames.length)).toEqual([2, 4, 3]);
    ports[0]!.send(ethernet(A, C, 0x800));
    expect(got.map((frames) => frames.length)).toEqual([2, 4, 3]);
  });

  test("remembers a bounded number of addresses", () => {
    const hub = createHub({ maxAddresses: 4 });
    const [first, second] = [hub.addPort(), hub.addPort()];
    const got = listen(second);
    first.send(ethernet(ALL, A, 0x800));
    for (let index = 0; index < 100; index++)
      first.send(ethernet(ALL, `02:00:00:00:00:${index.toString(16).padStart(2, "0")}`, 0x800));
    got.length = 0;
    const third = listen(hub.addPort());
    second.send(ethernet(A, B, 0x800));
    expect(third).toHaveLength(1);
  });

  test("a closed port is forgotten, an answer in the middle of a frame comes after it", () => {
    const hub = createHub();
    const [first, second, third] = [hub.addPort(), hub.addPort(), hub.addPort()];
    const order: string[] = [];
    second.onPacket((frame) => {
      if (frame[5] !== 0xff) return;
      second.send(ethernet(A, B, 0x800));
    });
    third.onPacket((frame) => order.push(`third ${frame[11]!.toString(16)}`));
    first.onPacket((frame) => order.push(`first ${frame[11]!.toString(16)}`));
    first.send(ethernet(ALL, A, 0x800));
    expect(order).toEqual(["third a", "first b"]);
    second.close();
    first.send(ethernet(B, A, 0x800));
    expect(order).toEqual(["third a", "first b", "third a"]);
  });

  test("what is left undone goes to who takes it, and is finished for who doesn't", () => {
    const hub = createHub();
    const [from, rich, plain] = [hub.addPort(), hub.addPort(), hub.addPort()];
    const offloads: unknown[] = [];
    rich.onPacket((_frame, offload) => offloads.push(offload), { takesOffloads: true });
    const got = listen(plain);
    const data = new Array<number>(3000).fill(7);
    const header = [0x45, 0, (40 + 3000) >> 8, (40 + 3000) & 255, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    const tcp = [0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0];
    from.send(ethernet(ALL, A, 0x800, [...header, ...tcp, ...data]), { partialChecksum: true, segmentSize: 1000 });
    expect(offloads).toEqual([{ partialChecksum: true, segmentSize: 1000 }]);
    expect(got.map((frame) => frame.length)).toEqual([1054, 1054, 1054]);
  });
});

describe("a filter", () => {
  function filtered(addresses?: readonly string[]) {
    const hub = createHub({ filter: true });
    const port = hub.addPort({ mac: A, ...(addresses === undefined ? {} : { addresses }) });
    const got = listen(hub.addPort({ trusted: true }));
    const passes = (frame: Uint8Array): boolean => {
      const before = got.length;
      port.send(frame);
      return got.length > before;
    };
    return { port, passes };
  }

  test("lets a card send from its own Ethernet address only, in the frame and in ARP", () => {
    const { port, passes } = filtered();
    expect(passes(arp(A, A, "10.0.0.2"))).toBe(true);
    expect(passes(ipv4(A, "1.2.3.4"))).toBe(true);
    expect(passes(arp(B, B, "10.0.0.2"))).toBe(false);
    expect(passes(arp(A, B, "10.0.0.2"))).toBe(false);
    expect(passes(ipv4(B, "10.0.0.2"))).toBe(false);
    expect(port.statistics).toEqual({ received: 2, filtered: 3, sent: 0 });
  });

  test("lets a card with addresses send from those only; asking by DHCP and probing is allowed", () => {
    const { passes } = filtered(["10.0.0.2", "fd00::2"]);
    expect(passes(arp(A, A, "10.0.0.2"))).toBe(true);
    expect(passes(arp(A, A, "0.0.0.0"))).toBe(true);
    expect(passes(arp(A, A, "10.0.0.3"))).toBe(false);
    expect(passes(ipv4(A, "10.0.0.2"))).toBe(true);
    expect(passes(ipv4(A, "10.0.0.3"))).toBe(false);
    expect(passes(ipv4(A, "0.0.0.0", [68, 67]))).toBe(true);
    expect(passes(ipv4(A, "0.0.0.0", [68, 53]))).toBe(false);
    // No card plays the DHCP server.
    expect(passes(ipv4(A, "10.0.0.2", [67, 68]))).toBe(false);
  });

  test("does the same for IPv6: sources, neighbours, no router", () => {
    const { passes } = filtered(["10.0.0.2", "fd00::2"]);
    const own = "fe80::216:3eff:fe00:a";
    const target = (address: string) => six(address);
    const advertise = (address: string, link: string): number[] => [
      136,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      ...target(address),
      2,
      1,
      ...mac(link),
    ];
    expect(passes(ipv6(A, "fd00::2", 17, [0, 1, 0, 2, 0, 8, 0, 0]))).toBe(true);
    expect(passes(ipv6(A, own, 17, [0, 1, 0, 2, 0, 8, 0, 0]))).toBe(true);
    expect(passes(ipv6(A, "fd00::3", 17, [0, 1, 0, 2, 0, 8, 0, 0]))).toBe(false);
    expect(passes(ipv6(A, "fd00::2", 58, advertise("fd00::2", A)))).toBe(true);
    expect(passes(ipv6(A, "fd00::2", 58, advertise("fd00::3", A)))).toBe(false);
    expect(passes(ipv6(A, "fd00::2", 58, advertise("fd00::2", B)))).toBe(false);
    expect(passes(ipv6(A, own, 58, [134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))).toBe(false);
    // Multicast reports stand behind an extension header; anything else there isn't looked at and stays.
    expect(passes(ipv6(A, "::", 0, [58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0]))).toBe(true);
    expect(passes(ipv6(A, own, 0, [58, 0, 5, 2, 0, 0, 1, 0, 136, 0, 0, 0]))).toBe(false);
    expect(passes(ipv6(A, "fd00::2", 44, [58, 0, 0, 0, 0, 0, 0, 0, 136, 0]))).toBe(false);
  });

  test("lets nothing through that it can't judge", () => {
    const { passes } = filtered();
    expect(passes(ethernet(ALL, A, 0x8100, [0, 5, 8, 0]))).toBe(false);
    expect(passes(ethernet(ALL, A, 0x88cc))).toBe(false);
    expect(passes(Uint8Array.from(ethernet(ALL, A, 0x800).subarray(0, 20)))).toBe(false);
  });

  test("wants a mac for each port, and addresses that are some", () => {
    const hub = createHub({ filter: true });
    expect(() => hub.addPort()).toThrow("needs the mac");
    expect(() => hub.addPort({ mac: "nonsense" })).toThrow("nonsense is not an Ethernet address");
    expect(() => hub.addPort({ mac: A, addresses: ["10.0.0.300"] })).toThrow("10.0.0.300 is neither");
    expect(() => createHub({ maxAddresses: 0 })).toThrow("maxAddresses 0");
  });
});
