import type { ParavirtError } from "@paravirt/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type FrameStream, type StreamPort, streamPort } from "./frame-stream.ts";

function stream() {
  const written: Uint8Array[] = [];
  let receive: (bytes: Uint8Array) => void = () => {};
  let ended: () => void = () => {};
  const state = { queued: 0, closed: false };
  const end: FrameStream = {
    get queued() {
      return state.queued;
    },
    write: (bytes) => void written.push(bytes.slice()),
    onData: (receiver) => {
      receive = receiver;
    },
    onClose: (receiver) => {
      ended = receiver;
    },
    close: () => {
      state.closed = true;
    },
  };
  return { end, written, state, receive: (bytes: Uint8Array) => receive(bytes), hangUp: () => ended() };
}

test("frames survive whatever pieces the stream brings them in", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 14, maxLength: 200 }), { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 70 }), { minLength: 1 }),
      (frames, steps) => {
        const from = stream();
        const to = stream();
        const sender = streamPort(from.end);
        const got: Uint8Array[] = [];
        streamPort(to.end).onPacket((frame) => got.push(frame.slice()));
        for (const frame of frames) sender.send(frame);
        const all = Buffer.concat(from.written);
        for (let at = 0, step = 0; at < all.length; step++) {
          const count = steps[step % steps.length]!;
          to.receive(all.subarray(at, at + count));
          at += count;
        }
        expect(got.map((frame) => Buffer.from(frame).toString("hex"))).toEqual(
          frames.map((frame) => Buffer.from(frame).toString("hex")),
        );
      },
    ),
  );
});

test("the length is 32 bits, big-endian", () => {
  const { end, written } = stream();
  streamPort(end).send(new Uint8Array(300));
  expect([...written[0]!.subarray(0, 4)]).toEqual([0, 0, 1, 44]);
});

test.each([0, 13, 0xffff + 19, 0xffffffff])("a length of %i ends the stream and says why", (length) => {
  const { end, state, receive } = stream();
  let error: ParavirtError | undefined;
  const port = streamPort(end, { onClose: (reason) => (error = reason) });
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32BE(length);
  receive(bytes.subarray(0, 3));
  receive(bytes.subarray(3));
  expect(error).toMatchObject({ code: "IO" });
  expect(state.closed).toBe(true);
  port.send(new Uint8Array(60));
});

test("a full stream drops frames rather than keep them", () => {
  const { end, written, state } = stream();
  const port: StreamPort = streamPort(end, { maxQueued: 1000 });
  state.queued = 950;
  port.send(new Uint8Array(60));
  state.queued = 0;
  port.send(new Uint8Array(60));
  expect([written.length, port.dropped]).toEqual([1, 1]);
});

test("the end is told once, without an error when it came in order, and not at all when we ended it", () => {
  const first = stream();
  const reasons: unknown[] = [];
  streamPort(first.end, { onClose: (reason) => reasons.push(reason) });
  first.hangUp();
  first.hangUp();
  expect(reasons).toEqual([undefined]);
  const second = stream();
  const port = streamPort(second.end, { onClose: (reason) => reasons.push(reason) });
  port.close();
  second.hangUp();
  expect(reasons).toHaveLength(1);
});
