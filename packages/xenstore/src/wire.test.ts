import fc from "fast-check";
import { expect, test } from "vitest";
import { createMessageDecoder, createXenstore, decodeChunk, encodeMessage, type XenstoreMessage } from "./index.ts";
import { decodeRequest } from "./request.ts";
import { latin1Decode, latin1Encode, utf8Decode, utf8Encode } from "./text.ts";

const word = fc.nat(0xffff_ffff);
const message = fc.record({
  type: word,
  requestId: word,
  transactionId: word,
  body: fc.uint8Array({ maxLength: 200 }),
});

test("a message is its header of four little-endian words and its body", () => {
  const bytes = encodeMessage({ type: 2, requestId: 0x01020304, transactionId: 5, body: latin1Encode("/a\0") });
  expect([...bytes]).toEqual([2, 0, 0, 0, 4, 3, 2, 1, 5, 0, 0, 0, 3, 0, 0, 0, 0x2f, 0x61, 0]);
});

test("messages come out of a stream as they went in, however it is cut, byte by byte too", () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 5 }), fc.array(fc.integer({ min: 1, max: 40 })), (messages, cuts) => {
      const stream = messages.flatMap((one) => [...encodeMessage(one)]);
      const decoder = createMessageDecoder();
      const seen: XenstoreMessage[] = [];
      for (let at = 0, cut = 0; at < stream.length; cut++) {
        const length = cuts[cut] ?? 1;
        expect(decodeChunk(decoder, Uint8Array.from(stream.slice(at, at + length)), (one) => seen.push(one))).toBe(
          true,
        );
        at += length;
      }
      expect(seen).toEqual(messages);
    }),
  );
});

test("a body of 4096 bytes is accepted, one of 4097 breaks the stream before any of it is kept", () => {
  const longest = encodeMessage({ type: 2, requestId: 1, transactionId: 0, body: new Uint8Array(4096) });
  expect(decodeChunk(createMessageDecoder(), longest, () => {})).toBe(true);
  const decoder = createMessageDecoder();
  longest[12] = 1;
  expect(decodeChunk(decoder, longest, () => expect.unreachable())).toBe(false);
  expect(decoder.needed).toBe(0);
});

test("garbage never makes the decoder, the request parser or the store throw, and every request gets one answer", () => {
  const store = createXenstore();
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc
      .array(fc.constantFrom("/", "a", "\0", "1", "@releaseDomain", "T", "n0", "/local/domain/1"), { maxLength: 12 })
      .map((parts) => latin1Encode(parts.join(""))),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(0, 1),
      fc.oneof(fc.nat(30), word),
      fc.nat(3),
      body,
      (domid, type, transactionId, bytes) => {
        decodeRequest(type, bytes);
        const replies: XenstoreMessage[] = [];
        const connection = store.connect(domid, (reply) => {
          if (reply.requestId === 9) replies.push(reply);
        });
        connection.handle({ type, requestId: 9, transactionId, body: bytes });
        connection.close();
        expect(replies.length).toBe(1);
        expect(replies[0]!.body.length).toBeLessThanOrEqual(4096);
      },
    ),
    { numRuns: 2000 },
  );
});

test("text survives both ways, and broken UTF-8 becomes replacement characters", () => {
  fc.assert(fc.property(fc.string({ unit: "grapheme" }), (text) => utf8Decode(utf8Encode(text)) === text));
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      expect([...utf8Encode(text)]).toEqual([...new TextEncoder().encode(text)]);
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => latin1Encode(latin1Decode(bytes)).every((byte, at) => byte === bytes[at])),
  );
  expect(utf8Decode(Uint8Array.of(0x61, 0xff, 0xc0, 0x80, 0xed, 0xa0, 0x80, 0xe2, 0x82))).toBe(
    `a${"\ufffd".repeat(8)}`,
  );
});
