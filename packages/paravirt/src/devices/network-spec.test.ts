import { describe, expect, test } from "vitest";
import { parseNetworks, parsePublish } from "./network-spec.ts";
import { networkRequests } from "./networks.ts";

describe("--net", () => {
  test("none is no card, and goes with nothing else", () => {
    expect(parseNetworks([])).toEqual([]);
    expect(parseNetworks(["none"])).toEqual([]);
    expect(() => parseNetworks(["none", "user"])).toThrow("--net none");
  });

  test("user has an allow-list that is empty unless given; several are one network", () => {
    expect(parseNetworks(["user"])).toEqual([{ kind: "user", allow: [] }]);
    expect(
      parseNetworks(["user,allow=deb.debian.org:80,allow=10.0.0.0/8,pcap=a.pcap", "hub:/run/hub", "user,allow=*"]),
    ).toEqual([
      { kind: "user", allow: ["deb.debian.org:80", "10.0.0.0/8", "*"], pcap: "a.pcap" },
      { kind: "hub", socket: "/run/hub", allow: [] },
    ]);
  });

  test("a hub and passt have a socket; a hub may have an address and a filter", () => {
    expect(
      parseNetworks(["hub:a:b,address=10.7.0.2/24,filter,mtu=9000", "passt:/tmp/s,mac=00:16:3e:00:00:01"]),
    ).toEqual([
      { kind: "hub", socket: "a:b", allow: [], address: "10.7.0.2/24", filter: true, mtu: 9000 },
      { kind: "passt", socket: "/tmp/s", allow: [], mac: "00:16:3e:00:00:01" },
    ]);
  });

  test.each([
    ["", '"" is no network'],
    ["usr", '"usr" is no network'],
    ["user:x", "a user network has no socket"],
    ["passt", "passt:SOCKET"],
    ["hub:", "hub:SOCKET"],
    ["user,alow=*", '"alow=*" isn\'t known'],
    ["user,allow=", "allow= needs a value"],
    ["user,allow=a:b:c", "a:b:c is not HOST[:PORT]"],
    ["hub:x,allow=*", "allow= is for a user network"],
    ["user,filter", "filter is for a hub"],
    ["user,address=10.0.0.1/8", "address= is for a hub"],
    ["user,mtu=100", "mtu= is 576 to 65521"],
    ["user,mac=01:16:3e:00:00:01", "mac= is the address of one card"],
    ["user,rate=fast", "rate fast"],
    ["user,pcap=a,pcap=b", "pcap= stands twice"],
  ])("%s is refused", (text, message) => {
    expect(() => parseNetworks([text])).toThrow(`--net ${text}: ${message}`);
  });
});

describe("--publish", () => {
  test("is a port of the host, at an address or at all, and one of the guest", () => {
    expect(parsePublish("8080:80")).toEqual({ hostPort: 8080, guestPort: 80, protocol: "tcp" });
    expect(parsePublish("127.0.0.1:8080:80")).toEqual({
      address: "127.0.0.1",
      hostPort: 8080,
      guestPort: 80,
      protocol: "tcp",
    });
    expect(parsePublish("[::1]:8080:80")).toEqual({ address: "::1", hostPort: 8080, guestPort: 80, protocol: "tcp" });
    expect(parsePublish("5353:53/udp")).toEqual({ hostPort: 5353, guestPort: 53, protocol: "udp" });
    expect(parsePublish("8080:80/tcp").protocol).toBe("tcp");
    expect(parsePublish("localhost:0:80")).toEqual({
      address: "localhost",
      hostPort: 0,
      guestPort: 80,
      protocol: "tcp",
    });
  });

  test.each(["80", "a:80", "80:a", ":80:80", "1:2:3:4", "70000:80", "80:0", "80:70000", "80:80/sctp"])(
    "%s is refused",
    (text) => {
      expect(() => parsePublish(text)).toThrow(`--publish ${text}: `);
    },
  );

  test("needs a user network", () => {
    const lists = new Map([["publish", ["8080:80"]]]);
    expect(() => networkRequests({ lists })).toThrow("--publish needs --net user");
  });
});

test("cards are configured by DHCP, or as their address says", () => {
  const lists = new Map([["net", ["user", "hub:/x,address=10.7.0.2/24", "hub:/y", "passt:/z"]]]);
  expect(networkRequests({ lists }).map(({ kind, network }) => [kind, network])).toEqual([
    ["network", "eth0:dhcp"],
    ["network", "eth1:10.7.0.2/24"],
    ["network", undefined],
    ["network", "eth3:dhcp"],
  ]);
});
