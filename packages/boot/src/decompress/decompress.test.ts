import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { isParavirtError } from "@paravirt/core";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { debianKernelPackage } from "../../test/debian.ts";
import { readBzImage } from "../bzimage.ts";
import { readDeb } from "../deb.ts";
import { crc32, crc64 } from "./crc.ts";
import { unlzma } from "./lzma.ts";
import { detectCompression, unpack } from "./unpack.ts";
import { xxhash64 } from "./xxhash64.ts";

const LIMIT = 1 << 30;
let vmlinuz: Uint8Array;

/** Packs `input` with a tool that we did not write. */
function pack(command: readonly string[], input: Uint8Array): Uint8Array {
  return execFileSync(command[0]!, command.slice(1), { input, maxBuffer: LIMIT });
}

/** Real code and data, text, noise and runs, some 3 MB: what xz, zstd and the others have different paths for. */
let sample: Uint8Array;

beforeAll(() => {
  for (const entry of readDeb(readFileSync(debianKernelPackage())).files()) {
    if (!entry.path.startsWith("boot/vmlinuz")) continue;
    vmlinuz = entry.data!.slice();
    break;
  }
  const program = readFileSync(process.execPath).subarray(30_000_000, 31_500_000);
  const text = readFileSync(new URL(import.meta.url))
    .toString()
    .repeat(20);
  sample = Buffer.concat([
    program,
    Buffer.from(text),
    randomBytes(150_000),
    Buffer.alloc(400_000),
    program.subarray(0, 9),
  ]);
});

const PACKERS: readonly (readonly string[])[] = [
  ["gzip", "-1"],
  ["gzip", "-9"],
  ["xz", "-0"],
  ["xz", "-6", "--check=crc32", "--x86", "--lzma2=dict=1MiB,lc=0,lp=2,pb=0"],
  ["xz", "--check=none", "--block-size=1000000", "-2"],
  ["xz", "--check=crc64", "--x86", "--lzma2=preset=1"],
  ["xz", "--format=lzma", "-1"],
  ["xz", "--format=lzma", "--lzma1=preset=1,lc=2,lp=2,pb=1"],
  ["zstd", "-1"],
  ["zstd", "-19"],
  ["zstd", "--ultra", "-22", "--long=27"],
  ["zstd", "--fast=5", "--no-check"],
  ["lz4", "-l", "-1"],
  ["lz4", "-l", "-9"],
  ["bzip2", "-1"],
  ["bzip2", "-9"],
];

test.each(PACKERS.map((packer) => [packer.join(" "), packer] as const))("unpacks what %s packs", (_, packer) => {
  const [name, ...rest] = packer;
  const flags = name === "lz4" ? [...rest, "-c", "-z"] : [...rest, "-c"];
  for (const input of [sample, sample.subarray(0, 1), Buffer.alloc(300_000), sample.subarray(1_000_000, 1_000_100)]) {
    const packed = pack([name!, ...flags], input);
    // Linux, and so we, knows an lzma file by its default properties only; the decoder takes any.
    const odd = packer.includes("--lzma1=preset=1,lc=2,lp=2,pb=1");
    expect(detectCompression(packed) === undefined).toBe(odd);
    const unpacked = odd ? unlzma(packed, LIMIT) : unpack(packed, { limit: LIMIT });
    expect(Buffer.compare(unpacked, input)).toBe(0);
  }
});

test.each(["gzip", "xz", "zstd", "bzip2"])("unpacks %s files that follow each other, and an empty one", (tool) => {
  const one = pack([tool, "-c"], sample.subarray(0, 70_000));
  const two = pack([tool, "-c"], sample.subarray(70_000, 200_000));
  const empty = pack([tool, "-c"], new Uint8Array(0));
  const unpacked = unpack(Buffer.concat([one, empty, two]), { limit: LIMIT });
  expect(Buffer.compare(unpacked, sample.subarray(0, 200_000))).toBe(0);
});

test("Debian's kernel payload (xz with the x86 filter) unpacks to what xz gives", () => {
  const header = readBzImage(vmlinuz);
  const payload = vmlinuz.subarray(header.payloadOffset, header.payloadOffset + header.payloadLength);
  const unpacked = unpack(payload, { limit: LIMIT, size: header.unpackedSize, sizeTrailer: true });
  const reference = pack(["xz", "-dc"], payload.subarray(0, -4));
  const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
  expect(hash(unpacked)).toBe(hash(reference));
});

test.each(PACKERS.filter((_, i) => i % 2 === 0 || i === 3).map((packer) => [packer.join(" "), packer] as const))(
  "damaged and cut %s data ends in a typed error or in other bytes, never in another exception",
  (_, packer) => {
    const [name, ...rest] = packer;
    const input = sample.subarray(1_000_000, 1_040_000);
    const packed = pack([name!, ...rest, ...(name === "lz4" ? ["-c", "-z"] : ["-c"])], input);
    const attempt = (bytes: Uint8Array): Uint8Array | undefined => {
      try {
        return unpack(bytes, { limit: 1 << 20 });
      } catch (error) {
        if (!isParavirtError(error)) throw error;
        expect(error.message).toMatch(/^[^\n]+$/);
        return undefined;
      }
    };
    fc.assert(
      fc.property(fc.nat(packed.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Uint8Array.from(packed);
        damaged[at]! ^= flip;
        const result = attempt(damaged);
        // Formats with a checksum may not give other bytes; a changed header field (a name, a time) may give the same.
        const checked = /^(gzip|xz -0|xz -6|xz --check=crc64|zstd -|bzip2)/.test(packer.join(" "));
        if (result !== undefined && checked && !packer.includes("--no-check")) {
          expect(Buffer.compare(result, input)).toBe(0);
        }
      }),
      { numRuns: 60 },
    );
    fc.assert(
      fc.property(fc.integer({ min: 0, max: packed.length - 1 }), (length) => {
        const result = attempt(packed.subarray(0, length));
        expect(result === undefined || result.length < input.length).toBe(true);
      }),
      { numRuns: 40 },
    );
  },
);

test("a bomb is refused by its size, with the limit in the message", () => {
  for (const tool of [
    ["gzip", "-c"],
    ["xz", "-c"],
    ["zstd", "-c"],
    ["bzip2", "-c"],
    ["lz4", "-l", "-c", "-z"],
    ["xz", "--format=lzma", "-c"],
  ]) {
    const packed = pack(tool, Buffer.alloc(3_000_000));
    expect(() => unpack(packed, { limit: 1_000_000 })).toThrow(/over the limit of 1000000/);
  }
});

test("another size than the trailer's is an error that names both", () => {
  const packed = pack(["gzip", "-c"], sample.subarray(0, 1000));
  expect(() => unpack(packed, { limit: LIMIT, size: 999 })).toThrow(/1000 bytes, not the 999/);
});

test("lzo and unknown data are refused by name", () => {
  expect(() => unpack(Uint8Array.of(0x89, 0x4c, 0x5a, 0x4f, 0), { limit: LIMIT })).toThrow(/lzo/);
  expect(() => unpack(new Uint8Array(9), { limit: LIMIT })).toThrow(/unknown compression/);
});

test("the checksums have their published values", () => {
  const check = Buffer.from("123456789");
  expect(crc32(check)).toBe(0xcbf43926);
  expect(crc64(check)).toEqual({ low: 0xdf1939fa, high: 0x995dc9bb });
  expect(xxhash64(new Uint8Array(0))).toEqual([0x51d8e999, 0xef46db37]);
});
