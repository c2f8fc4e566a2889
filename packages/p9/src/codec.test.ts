import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeHeader, decodeMessage, encodeMessage, type P9Fields, type P9MessageName } from "./codec.ts";
import { type FieldForm, P9_MESSAGES } from "./messages.ts";
import { decodeName, encodeName } from "./names.ts";

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const bytes = fc.uint8Array({ maxLength: 100 });
const text = bytes.map(decodeName);
const qid = fc.record({ type: fc.integer({ min: 0, max: 255 }), version: u32, path: u64 });
const FORMS: Readonly<Record<FieldForm, fc.Arbitrary<unknown>>> = {
  u8: fc.integer({ min: 0, max: 255 }),
  u16: fc.integer({ min: 0, max: 65535 }),
  u32,
  u64,
  text,
  texts: fc.array(text, { maxLength: 20 }),
  qid,
  qids: fc.array(qid, { maxLength: 20 }),
  data: bytes,
};

const message = fc.constantFrom(...(Object.keys(P9_MESSAGES) as P9MessageName[])).chain((name) => {
  const fields = Object.entries(P9_MESSAGES[name].fields).map(([field, form]) => [field, FORMS[form]] as const);
  return fc.record({
    name: fc.constant(name),
    tag: fc.integer({ min: 0, max: 65535 }),
    fields: fc.record(Object.fromEntries(fields)),
  });
});

function encoded({ name, tag, fields }: { name: P9MessageName; tag: number; fields: unknown }): Uint8Array {
  return encodeMessage(name, tag, fields as P9Fields<typeof name>);
}

test("decoding undoes encoding, for every message", () => {
  fc.assert(
    fc.property(message, (one) => {
      const raw = encoded(one);
      expect(decodeHeader(raw)).toEqual({ size: raw.length, type: P9_MESSAGES[one.name].type, tag: one.tag });
      expect(decodeMessage(raw)).toEqual(one);
    }),
    { numRuns: 2000 },
  );
});

test("encoding undoes decoding: what is decoded has one form only", () => {
  fc.assert(
    fc.property(message, fc.array(fc.tuple(fc.nat(200), fc.integer({ min: 0, max: 255 }))), (one, changes) => {
      const raw = encoded(one);
      for (const [at, value] of changes) if (at >= 7 && at < raw.length) raw[at] = value;
      const decoded = decodeMessage(raw);
      // A Tfsync may lack its last field.
      if (decoded !== undefined && decoded.name !== "Tfsync") expect(encoded(decoded)).toEqual(raw);
    }),
    { numRuns: 2000 },
  );
});

test("a message that is cut short, or goes on, is none", () => {
  fc.assert(
    fc.property(message, fc.nat(), (one, at) => {
      const raw = encoded(one);
      const cut = raw.slice(0, at % raw.length);
      if (cut.length >= 4) new DataView(cut.buffer).setUint32(0, cut.length, true);
      const shorter = decodeMessage(cut);
      expect(shorter === undefined || shorter.name === "Tfsync").toBe(true);
      const more = new Uint8Array(raw.length + 1);
      more.set(raw);
      expect(decodeMessage(more)).toBeUndefined();
      new DataView(more.buffer).setUint32(0, more.length, true);
      expect(decodeMessage(more)).toBeUndefined();
    }),
  );
});

test("garbage is decoded without throwing", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (raw, sized) => {
      if (sized && raw.length >= 4) new DataView(raw.buffer).setUint32(0, raw.length, true);
      decodeMessage(raw);
    }),
    { numRuns: 5000 },
  );
});

test("the bytes of a Twalk are those of the protocol", () => {
  const raw = encodeMessage("Twalk", 0x102, { fid: 1, newfid: 2, names: ["ä", "b"] });
  expect([...raw]).toEqual([
    ...[24, 0, 0, 0, 110, 0x02, 0x01],
    ...[1, 0, 0, 0, 2, 0, 0, 0, 2, 0],
    ...[2, 0, 0xc3, 0xa4],
    ...[1, 0, 0x62],
  ]);
});

test("a value that its field can't hold is refused", () => {
  const attempt = (fid: number) => encodeMessage("Tclunk", 0, { fid });
  for (const fid of [-1, 0x1_0000_0000, 0.5, Number.NaN])
    expect(() => attempt(fid), `${fid}`).toThrow(expect.objectContaining({ code: "OUT_OF_RANGE" }));
  expect(() => encodeMessage("Rxattrwalk", 0, { size: -1n })).toThrow(
    expect.objectContaining({ code: "OUT_OF_RANGE" }),
  );
  expect(() => encodeMessage("Rreadlink", 0, { target: "\ud800" })).toThrow(
    expect.objectContaining({ code: "BAD_ARGUMENT" }),
  );
});

test("every name survives the way there and back, UTF-8 or not, and valid UTF-8 is what others make of it", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (raw) => {
      expect(encodeName(decodeName(raw))).toEqual(raw);
    }),
    { numRuns: 5000 },
  );
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 20 }), (name) => {
      const raw = new TextEncoder().encode(name);
      expect(decodeName(raw)).toBe(name);
      expect(encodeName(name)).toEqual(raw);
    }),
  );
  // Overlong, surrogates, beyond the last character, cut short: byte by byte.
  for (const raw of [
    [0xc0, 0x80],
    [0xe0, 0x80, 0x80],
    [0xed, 0xa0, 0x80],
    [0xf4, 0x90, 0x80, 0x80],
    [0xe2, 0x82],
  ])
    expect(decodeName(new Uint8Array(raw))).toBe(raw.map((byte) => String.fromCharCode(0xdc00 + byte)).join(""));
});
