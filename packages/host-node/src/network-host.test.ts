import { createSocket, type RemoteInfo } from "node:dgram";
import type { HostPeer } from "@paravirt/net";
import { expect, test } from "vitest";
import { nodeNetworkHost } from "./network-host.ts";

/** Sends a datagram to a port of this machine and answers what comes back. */
function ask(address: string, port: number, text: string): Promise<{ text: string; from: RemoteInfo }> {
  const socket = createSocket("udp4");
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.once("message", (bytes, from) => {
      socket.close();
      resolve({ text: bytes.toString(), from });
    });
    socket.send(text, port, address);
  });
}

test.each([undefined, "127.0.0.1", "localhost"])(
  "datagrams to a port at %s are answered from that port",
  async (address) => {
    const seen: HostPeer[] = [];
    const listener = await nodeNetworkHost().listenDatagrams(address, 0, (bytes, from) => {
      seen.push(from);
      listener.send(Buffer.concat([Buffer.from("got "), bytes]), from);
    });
    try {
      const { text, from } = await ask("127.0.0.1", listener.port, "hello");
      expect([text, from.port, seen.length]).toEqual(["got hello", listener.port, 1]);
    } finally {
      listener.close();
      listener.close();
    }
  },
);

test("a port that another program has is refused by name", async () => {
  const host = nodeNetworkHost();
  const first = await host.listenDatagrams("127.0.0.1", 0, () => {});
  try {
    await expect(host.listenDatagrams("127.0.0.1", first.port, () => {})).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining(`can't take datagrams at 127.0.0.1:${first.port}: `),
    });
  } finally {
    first.close();
  }
});
