import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pattern } from "../../test/disk-contract.ts";
import { codecs, lastingFile } from "../../test/files.ts";
import {
  type BlockFile,
  checkQcow2,
  createQcow2,
  isQcow2,
  memoryDisk,
  memoryFile,
  openQcow2,
  readQcow2Info,
} from "../index.ts";
import { zstdFrameLength } from "./codecs.ts";

async function image(): Promise<BlockFile> {
  const file = lastingFile(memoryFile());
  await createQcow2(file, { size: 1 << 20, clusterSize: 4096, backing: { file: "/some/where/ünder", format: "raw" } });
  const disk = await openQcow2(file, { openBacking: async () => memoryDisk({ sectors: 100 }) });
  await disk.write(64, [pattern(65536, 1)]);
  await disk.writeCompressed(512, (await codecs.deflateRaw!(new Uint8Array(4096).fill(7))) as Uint8Array);
  await disk.close?.();
  return file;
}

describe("a qcow2 image of a stranger's", () => {
  test("ends in a typed error or in bytes, whatever was changed in it", { timeout: 120_000 }, async () => {
    const original = await image();
    const bytes = new Uint8Array(original.size);
    await original.read(0, [bytes]);
    const place = fc.oneof(fc.nat(119), fc.nat(bytes.length - 1), fc.integer({ min: 4096, max: 7 * 4096 }));
    const change = fc.record({ at: place, value: fc.constantFrom(0, 1, 0x40, 0x7f, 0x80, 0xff) });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 8 }), async (changes) => {
        const copy = bytes.slice();
        for (const { at, value } of changes) copy[at] = value;
        const file = lastingFile(memoryFile(copy));
        try {
          await checkQcow2(file, { repair: "all" });
          const disk = await openQcow2(file, { codecs, openBacking: async () => memoryDisk({ sectors: 100 }) });
          const count = Math.min(2048, disk.sectors);
          await disk.read(0, [new Uint8Array(count * 512)]);
          if (count >= 200) {
            await disk.write(7, [pattern(512 * 64, 2)]);
            await disk.discard!(0, count);
          }
          await disk.close?.();
        } catch (error) {
          expect(error).toMatchObject({ name: "ParavirtError" });
          expect(error).not.toMatchObject({ code: "BUG" });
        }
      }),
      { numRuns: 400 },
    );
  });

  test("is told by its first bytes, and tells its backing file's name as it is", async () => {
    const file = await image();
    const first = new Uint8Array(4);
    await file.read(0, [first]);
    expect(isQcow2(first)).toBe(true);
    expect(isQcow2(new Uint8Array(512))).toBe(false);
    expect(await readQcow2Info(file)).toMatchObject({
      backingFile: "/some/where/ünder",
      backingFormat: "raw",
      size: 1 << 20,
    });
    await expect(openQcow2(file)).rejects.toMatchObject({ code: "UNSUPPORTED" });
  });

  test("needs its codec by name", async () => {
    const disk = await openQcow2(await image(), { openBacking: async () => memoryDisk({ sectors: 100 }) });
    await expect((async () => disk.read(512, [new Uint8Array(512)]))()).rejects.toThrow(/needs the codec inflateRaw/);
  });
});

test("a zstd frame ends where its last block does, checksum included", () => {
  // RFC 8878: a frame of one raw block of three bytes, with and without a checksum, and one of a repeated byte.
  const raw = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 3, 0x19, 0, 0, 1, 2, 3];
  expect(zstdFrameLength(Uint8Array.of(...raw, 9, 9, 9))).toBe(12);
  raw[4] = 0x24;
  expect(zstdFrameLength(Uint8Array.of(...raw, 1, 2, 3, 4, 9))).toBe(16);
  expect(() => zstdFrameLength(Uint8Array.of(...raw, 1))).toThrow(/cut off/);
  expect(zstdFrameLength(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x20, 200, 0x43, 6, 0, 7, 9))).toBe(10);
});
