import { expect, test } from "vitest";
import { VirtualHost } from "../test/virtual-host.ts";
import { connectRelay, type WebSocketLike } from "./web-socket.ts";

class FakeSocket implements WebSocketLike {
  binaryType = "blob";
  readyState = 0;
  bufferedAmount = 0;
  readonly sent: Uint8Array[] = [];
  readonly #listeners = new Map<string, (event: { readonly data: unknown }) => void>();

  send(data: Uint8Array): void {
    this.sent.push(data);
  }
  close(): void {
    this.readyState = 3;
    this.fire("close");
  }
  addEventListener(type: string, listener: (event: { readonly data: unknown }) => void): void {
    this.#listeners.set(type, listener);
  }
  fire(type: string, data?: unknown): void {
    if (type === "open") this.readyState = 1;
    this.#listeners.get(type)?.({ data });
  }
}

test("each binary message is a frame; text and what no frame is are ignored", () => {
  const socket = new FakeSocket();
  const relay = connectRelay({ connect: () => socket, after: () => () => {} });
  const got: number[] = [];
  relay.onPacket((frame) => got.push(frame.length));
  expect([socket.binaryType, relay.connected]).toEqual(["arraybuffer", false]);
  relay.send(new Uint8Array(60));
  socket.fire("open");
  expect(relay.connected).toBe(true);
  const frame = new Uint8Array(60);
  relay.send(frame);
  frame.fill(1);
  expect(socket.sent.map((bytes) => bytes[0])).toEqual([0]);
  socket.fire("message", "ping");
  socket.fire("message", new ArrayBuffer(5));
  socket.fire("message", new ArrayBuffer(100_000));
  socket.fire("message", new ArrayBuffer(60));
  expect(got).toEqual([60]);
  socket.bufferedAmount = 1024 * 1024;
  relay.send(frame);
  expect(relay.dropped).toBe(2);
});

test("a lost connection is made again, ever later while that fails, until it is closed", async () => {
  const host = new VirtualHost();
  const sockets: FakeSocket[] = [];
  const times: number[] = [];
  const states: boolean[] = [];
  const relay = connectRelay({
    connect: () => {
      times.push(host.now());
      return sockets[sockets.push(new FakeSocket()) - 1]!;
    },
    after: (milliseconds, work) => host.after(milliseconds, work),
    onState: (connected) => states.push(connected),
  });
  sockets[0]!.fire("open");
  sockets[0]!.fire("close");
  await host.run(1000);
  for (let turn = 1; turn <= 6; turn++) {
    sockets.at(-1)!.fire("error");
    sockets.at(-1)!.fire("close");
    await host.run(60_000, () => sockets.length > turn + 1);
  }
  expect(times.map((time, index) => time - (times[index - 1] ?? 0))).toEqual([
    0, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000,
  ]);
  sockets.at(-1)!.fire("open");
  relay.close();
  await host.run(100_000);
  expect(sockets).toHaveLength(8);
  expect(states).toEqual([true, false, true, false]);
});
