import fc from "fast-check";
import { expect, test } from "vitest";
import { readSegment, slowSum, testSegment } from "../test/frames.ts";
import {
  addToSum,
  findTransport,
  finishChecksum,
  finishFrame,
  foldSum,
  isOffloadValid,
  writePartialChecksum,
} from "./index.ts";

function finish(frame: Uint8Array, offload?: Parameters<typeof finishFrame>[1]): Uint8Array[] | undefined {
  const frames: Uint8Array[] = [];
  return finishFrame(frame, offload, (finished) => frames.push(finished.slice())) ? frames : undefined;
}

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 7 + (at >> 8)) & 255);
}

test("the fast sum is RFC 1071's, for any bytes and any split into even pieces", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(150), (bytes, half) => {
      const cut = Math.min(half * 2, bytes.length & ~1);
      const sum = addToSum(addToSum(0, bytes, 0, cut), bytes, cut, bytes.length);
      expect(foldSum(sum) % 0xffff).toBe(slowSum(bytes) % 0xffff);
      expect(finishChecksum(sum)).toBe(~foldSum(sum) & 0xffff);
    }),
  );
});

test("a sum of the longest frame of ones doesn't overflow", () => {
  const bytes = new Uint8Array(0xffff + 18).fill(0xff);
  expect(foldSum(addToSum(0, bytes, 0, bytes.length))).toBe(slowSum(bytes));
});

test("a partial checksum becomes a right one, over IPv4 and IPv6, TCP and UDP, with a VLAN tag and without", () => {
  fc.assert(
    fc.property(
      fc.record({
        payload: fc.uint8Array({ maxLength: 1460 }),
        ipv6: fc.boolean(),
        vlan: fc.boolean(),
        protocol: fc.constantFrom("tcp" as const, "udp" as const),
      }),
      (segment) => {
        const frame = testSegment({ ...segment, partial: true });
        const before = frame.slice();
        const [finished] = finish(frame, { partialChecksum: true })!;
        expect(finished).toEqual(testSegment(segment));
        expect(frame).toEqual(before);
        writePartialChecksum(finished!, findTransport(finished!)!);
        expect(finished).toEqual(frame);
      },
    ),
  );
});

test("a large segment is cut so that its pieces make the same stream, each with right checksums", () => {
  fc.assert(
    fc.property(
      fc.record({
        length: fc.integer({ min: 0, max: 20_000 }),
        segmentSize: fc.oneof(fc.integer({ min: 8, max: 60 }), fc.integer({ min: 500, max: 9000 })),
        ipv6: fc.boolean(),
        vlan: fc.boolean(),
        options: fc.constantFrom(0, 12, 40),
        flags: fc.constantFrom(0x10, 0x18, 0x19, 0x99),
        sequence: fc.nat(0xffffffff),
        identification: fc.nat(0xffff),
      }),
      ({ length, segmentSize, ...segment }) => {
        const payload = pattern(length);
        const frame = testSegment({ ...segment, payload, partial: true });
        const pieces = finish(frame, { partialChecksum: true, segmentSize })!.map(readSegment);
        expect(pieces.length).toBe(Math.max(1, Math.ceil(length / segmentSize)));
        let at = 0;
        pieces.forEach((piece, index) => {
          const last = index === pieces.length - 1;
          expect(piece.payload.length).toBe(last ? length - at : segmentSize);
          expect(Buffer.compare(piece.payload, payload.subarray(at, at + piece.payload.length))).toBe(0);
          expect(piece.sequence).toBe((segment.sequence + at) % 2 ** 32);
          if (!segment.ipv6) expect(piece.identification).toBe((segment.identification + index) & 0xffff);
          // FIN and PSH are at the end of the data, CWR at its start.
          const mask = (last ? 0 : 0x09) | (index === 0 ? 0 : 0x80);
          expect(piece.flags).toBe(segment.flags & ~mask);
          expect([piece.vlan, piece.ipv6]).toEqual([segment.vlan, segment.ipv6]);
          at += piece.payload.length;
        });
      },
    ),
    { numRuns: 60 },
  );
});

test("a frame without an offload goes through as it is, whatever it is", () => {
  const frame = Uint8Array.of(1, 2, 3);
  expect(finish(frame)).toEqual([frame]);
  expect(finish(frame, {})).toEqual([frame]);
});

test("what can't be finished is refused: other protocols, fragments, cut headers, UDP in pieces, tiny pieces", () => {
  const tcp = testSegment({ payload: pattern(3000), partial: true });
  const offload = { partialChecksum: true, segmentSize: 1000 };
  const broken: [string, Uint8Array, { partialChecksum?: boolean; segmentSize?: number }][] = [
    ["ARP", Object.assign(tcp.slice(), { 12: 8, 13: 6 }), offload],
    ["a fragment", Object.assign(tcp.slice(), { 20: 0x20 }), offload],
    ["ICMP", Object.assign(tcp.slice(), { 23: 1 }), offload],
    ["a header of 4 words", Object.assign(tcp.slice(), { 14: 0x44 }), offload],
    ["IP version 5", Object.assign(tcp.slice(), { 14: 0x55 }), offload],
    ["a length past the end", tcp.subarray(0, 2000), offload],
    ["an Ethernet header", tcp.subarray(0, 14), offload],
    ["TCP options past the end", Object.assign(testSegment({ payload: pattern(4) }), { 46: 0xf0 }), offload],
    ["UDP", testSegment({ protocol: "udp", payload: pattern(3000), partial: true }), offload],
    ["short UDP", testSegment({ protocol: "udp", payload: pattern(30), partial: true }), offload],
    ["pieces of 7 bytes", tcp, { ...offload, segmentSize: 7 }],
  ];
  for (const [name, frame, what] of broken) {
    expect(finish(frame, what), name).toBeUndefined();
    expect(isOffloadValid(frame, what), name).toBe(false);
  }
  expect(isOffloadValid(tcp, offload)).toBe(true);
});

test("a datagram behind IPv6 extension headers is found, one behind a routing header is not", () => {
  const plain = testSegment({ ipv6: true, payload: pattern(10) });
  const extended = new Uint8Array(plain.length + 8);
  extended.set(plain.subarray(0, 54));
  extended.set([plain[20]!, 0, 1, 4, 0, 0, 0, 0], 54);
  extended.set(plain.subarray(54), 62);
  new DataView(extended.buffer).setUint16(18, plain.length - 54 + 8);
  for (const [next, transport] of [
    [0, 62],
    [60, 62],
    [43, undefined],
    [44, undefined],
  ] as const) {
    extended[20] = next;
    expect(findTransport(extended)?.transport, `next header ${next}`).toBe(transport);
  }
});

test("any bytes at all are taken without complaint", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), fc.boolean(), fc.nat(2000), (bytes, ip, segmentSize) => {
      const frame = ip && bytes.length > 14 ? Object.assign(bytes, { 12: 8, 13: 0, 14: 0x45 }) : bytes;
      finish(frame, { partialChecksum: true, segmentSize });
    }),
    { numRuns: 2000 },
  );
});
