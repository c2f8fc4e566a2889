import { expect, test } from "vitest";
import { announce, udpFrame } from "../../test/test-peer.ts";
import { VirtualHost } from "../../test/virtual-host.ts";
import { createNat } from "./nat.ts";

const A = 1;
const AAAA = 28;
const PTR = 12;

function question(name: string, type = A, identification = 0x1234): Uint8Array {
  const labels = name.split(".").flatMap((label) => [label.length, ...Buffer.from(label)]);
  return Uint8Array.from([
    identification >> 8,
    identification & 255,
    1,
    0,
    0,
    1,
    0,
    0,
    0,
    0,
    0,
    0,
    ...labels,
    0,
    0,
    type,
    0,
    1,
  ]);
}

/** An answer with a name of its own before the address, as those of content networks are. */
function answer(query: Uint8Array, address: string, seconds = 60): Uint8Array {
  const alias = [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, seconds, 0, 3, 1, 0x78, 0];
  const record = [0xc0, query.length + 12, 0, A, 0, 1, 0, 0, 0, seconds, 0, 4, ...address.split(".").map(Number)];
  const bytes = Uint8Array.from([...query, ...alias, ...record]);
  bytes[2] = 0x81;
  bytes[3] = 0x80;
  bytes[7] = 2;
  return bytes;
}

function setUp(allow: readonly string[]) {
  const host = new VirtualHost();
  const nat = createNat({ host, allow });
  const answers: Uint8Array[] = [];
  let refusals = 0;
  nat.port.onPacket((frame) => {
    if (frame[23] === 17) answers.push(frame.slice(42, 14 + ((frame[16]! << 8) | frame[17]!)));
    if (frame[23] === 1) refusals++;
  });
  announce(nat.port);
  const ask = async (query: Uint8Array): Promise<Uint8Array | undefined> => {
    answers.length = 0;
    nat.port.send(udpFrame(["10.0.2.15", 5353], ["10.0.2.3", 53], query));
    await host.run(20_000, () => answers.length > 0);
    return answers[0];
  };
  const reaches = async (address: string, port: number): Promise<boolean> => {
    const before = refusals;
    nat.port.send(udpFrame(["10.0.2.15", 1], [address, port], [1]));
    return refusals === before;
  };
  return { host, nat, ask, reaches };
}

const rcode = (message: Uint8Array | undefined): number | undefined =>
  message === undefined ? undefined : message[3]! & 15;
const last = (message: Uint8Array | undefined): string => message!.subarray(-4).join(".");

test("names of the host's own table are answered even where nothing is allowed; its loopback is 10.0.2.2", async () => {
  const { host, ask } = setUp([]);
  host.names.set("here", ["127.0.0.1"]);
  host.names.set("there", ["192.0.2.7", "192.0.2.8"]);
  expect(last(await ask(question("here")))).toBe("10.0.2.2");
  const two = await ask(question("THERE"));
  expect([two![7], last(two)]).toEqual([2, "192.0.2.8"]);
  const none = await ask(question("there", AAAA));
  expect([rcode(none), none![7]]).toEqual([0, 0]);
  expect(rcode(await ask(question("example.org")))).toBe(5);
});

test("an allowed name is reached at the addresses that the guest was told, and nowhere else", async () => {
  const { host, ask, reaches } = setUp(["www.example.org:80"]);
  host.resolvers = ["192.0.2.53"];
  const asked: Uint8Array[] = [];
  host.udpServers.set("192.0.2.53:53", (query) => {
    asked.push(query);
    return [answer(query, "198.51.100.1")];
  });
  expect(await reaches("198.51.100.1", 80)).toBe(false);
  const reply = await ask(question("www.Example.org"));
  expect([reply![0], reply![1]]).toEqual([0x12, 0x34]);
  expect(last(reply)).toBe("198.51.100.1");
  expect(await reaches("198.51.100.1", 80)).toBe(true);
  expect(await reaches("198.51.100.1", 81)).toBe(false);
  expect(await reaches("198.51.100.2", 80)).toBe(false);
  // Names that no rule is about don't leave the host.
  expect(rcode(await ask(question("other.example.org")))).toBe(5);
  expect(rcode(await ask(question("1.100.51.198.in-addr.arpa", PTR)))).toBe(5);
  expect(asked).toHaveLength(1);
  await host.run(11 * 60_000);
  expect(await reaches("198.51.100.1", 80)).toBe(false);
});

test("a server of the outside can't open the host's loopback by naming 10.0.2.2", async () => {
  const { host, ask, reaches } = setUp(["evil.example.org"]);
  host.resolvers = ["192.0.2.53"];
  host.udpServers.set("192.0.2.53:53", (query) => [answer(query, "10.0.2.2")]);
  await ask(question("evil.example.org"));
  expect(await reaches("10.0.2.2", 22)).toBe(false);
});

test("a resolver that is silent or not there gives way to the next; without any the answer is a failure", async () => {
  const { host, ask } = setUp(["*"]);
  expect(rcode(await ask(question("example.org")))).toBe(2);
  host.resolvers = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
  host.udpServers.set("192.0.2.2:53", () => []);
  host.udpServers.set("192.0.2.3:53", (query) => [answer(query, "198.51.100.9")]);
  expect(last(await ask(question("example.org")))).toBe("198.51.100.9");
  host.resolvers = ["192.0.2.2"];
  expect(rcode(await ask(question("example.org")))).toBe(2);
});

test("an answer to another question, or with another number, is not taken", async () => {
  const { host, ask } = setUp(["*"]);
  host.resolvers = ["192.0.2.53"];
  host.udpServers.set("192.0.2.53:53", (query) => {
    const guessed = answer(query, "6.6.6.6");
    guessed[0]! ^= 1;
    const other = answer(question("evil.example.org", A, (query[0]! << 8) | query[1]!), "6.6.6.6");
    return [guessed, other, answer(query, "198.51.100.9")];
  });
  expect(last(await ask(question("example.org")))).toBe("198.51.100.9");
});

test("what is no question gets a format error or nothing", async () => {
  const { ask } = setUp(["*"]);
  expect(rcode(await ask(question("a").subarray(0, 14)))).toBe(1);
  const reply = question("a");
  reply[2] = 0x80;
  expect(await ask(reply)).toBeUndefined();
  expect(await ask(new Uint8Array(5))).toBeUndefined();
});
