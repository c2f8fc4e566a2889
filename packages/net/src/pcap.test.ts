import type { PacketPort } from "@paravirt/core";
import { expect, test } from "vitest";
import { createPcapWriter, teePcap } from "./pcap.ts";

test("a record has its file header once, and a header with time and lengths before each frame", () => {
  const pieces: Uint8Array[] = [];
  const write = createPcapWriter({
    write: (bytes) => pieces.push(bytes.slice()),
    now: () => 1_700_000_000_123.456,
    snapLength: 100,
  });
  write(new Uint8Array(60).fill(1));
  write(new Uint8Array(200).fill(2));
  const file = Buffer.concat(pieces);
  expect(file.readUInt32LE(0)).toBe(0xa1b2c3d4);
  expect([file.readUInt16LE(4), file.readUInt16LE(6), file.readUInt32LE(16), file.readUInt32LE(20)]).toEqual([
    2, 4, 100, 1,
  ]);
  expect([24, 28, 32, 36].map((at) => file.readUInt32LE(at))).toEqual([1_700_000_000, 123_456, 60, 60]);
  expect([108, 112].map((at) => file.readUInt32LE(at))).toEqual([100, 200]);
  expect(file.length).toBe(24 + 16 + 60 + 16 + 100);
});

test("a tee records both directions and changes nothing", () => {
  const sent: unknown[] = [];
  let receive: ((frame: Uint8Array) => void) | undefined;
  const port: PacketPort = {
    takesOffloads: true,
    send: (frame, offload) => sent.push([frame.length, offload]),
    onPacket: (receiver) => {
      receive = receiver;
    },
  };
  let bytes = 0;
  const tee = teePcap(port, { write: (piece) => (bytes += piece.length), now: () => 0 });
  expect(tee.takesOffloads).toBe(true);
  const got: number[] = [];
  tee.onPacket((frame) => got.push(frame.length));
  tee.send(new Uint8Array(60), { partialChecksum: true });
  receive!(new Uint8Array(70));
  tee.onPacket(undefined);
  expect(receive).toBeUndefined();
  expect([sent, got, bytes]).toEqual([[[60, { partialChecksum: true }]], [70], 24 + 16 + 60 + 16 + 70]);
});
