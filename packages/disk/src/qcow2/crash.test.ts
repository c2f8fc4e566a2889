import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pattern } from "../../test/disk-contract.ts";
import { type RecordedFile, recordedFile } from "../../test/files.ts";
import { checkQcow2, createQcow2, memoryDisk, memoryFile, openQcow2 } from "../index.ts";

const SECTORS = 2048;

/** What the disk may hold at a point of the log: each sector's bytes since the last flush, any of them. */
interface Flushed {
  /** Length of the log when the flush had been answered. */
  readonly at: number;
  readonly content: Uint8Array;
  /** Sectors that were written or discarded afterwards, so that they may hold something newer. */
  readonly touched: Set<number>;
}

/** Does `steps` on a recorded image; answers the states that flushes promised. */
async function record(
  steps: readonly { readonly kind: number; readonly sector: number; readonly count: number }[],
  options: { readonly clusterSize: number; readonly refcountBits?: number; readonly backing: boolean },
): Promise<{ readonly file: RecordedFile; readonly flushed: readonly Flushed[]; readonly from: number }> {
  const file = recordedFile(memoryFile());
  const { clusterSize, refcountBits } = options;
  await createQcow2(file, {
    size: SECTORS * 512,
    clusterSize,
    ...(refcountBits === undefined ? {} : { refcountBits }),
    ...(options.backing ? { backing: { file: "base", format: "raw" } } : {}),
  });
  const from = file.log.length;
  const disk = await openQcow2(file, { openBacking });
  const model = new Uint8Array(SECTORS * 512);
  if (options.backing) model.set(BASE);
  const flushed: Flushed[] = [{ at: from, content: model.slice(), touched: new Set() }];
  for (const [n, { kind, sector, count: wanted }] of steps.entries()) {
    const count = Math.min(wanted, SECTORS - sector);
    if (kind === 0) {
      await disk.flush();
      flushed.push({ at: file.log.length, content: model.slice(), touched: new Set() });
      continue;
    }
    for (let at = sector; at < sector + count; at++) flushed.at(-1)!.touched.add(at);
    const part = model.subarray(sector * 512, (sector + count) * 512);
    if (kind === 1) {
      part.fill(0);
      await disk.writeZeroes!(sector, count);
    } else if (kind === 2) {
      await disk.discard!(sector, count);
      await disk.read(sector, [part]);
    } else {
      part.set(pattern(part.length, n));
      await disk.write(sector, [part.slice()]);
    }
  }
  await disk.close?.();
  return { file, flushed, from };
}

const BASE = pattern(1500 * 512, 77);
const openBacking = async () => memoryDisk({ sectors: 1500, content: BASE, readOnly: true });

/** Checks an image that a stop left behind: no corruption, and what was flushed is there. */
async function inspect(left: ReturnType<RecordedFile["after"]>, state: Flushed): Promise<void> {
  const report = await checkQcow2(left);
  expect(report.problems.filter((one) => !one.includes("leaked"))).toEqual([]);
  const disk = await openQcow2(left, { openBacking });
  const back = new Uint8Array(SECTORS * 512);
  await disk.read(0, [back]);
  for (let sector = 0; sector < SECTORS; sector++) {
    if (state.touched.has(sector)) continue;
    const at = sector * 512;
    if (Buffer.compare(back.subarray(at, at + 512), state.content.subarray(at, at + 512)) !== 0)
      throw new Error(`sector ${sector} was flushed and is lost`);
  }
  // It can be written on, and is right then.
  await disk.write(100, [pattern(512 * 300, 9)]);
  await disk.close?.();
  expect((await checkQcow2(left)).corruptions).toBe(0);
}

const steps = fc.array(
  fc.record({
    kind: fc.constantFrom(0, 1, 2, 3, 3, 3, 3),
    sector: fc.nat(SECTORS - 1),
    count: fc.constantFrom(1, 8, 9, 64, 200),
  }),
  { minLength: 5, maxLength: 30 },
);
const shapes = fc.constantFrom(
  { clusterSize: 512, refcountBits: 64, backing: false },
  { clusterSize: 512, backing: true },
  { clusterSize: 4096, backing: true },
  { clusterSize: 65536, backing: false },
);

describe("a qcow2 image that is stopped in the middle", () => {
  test("is right at every write when the process is killed, and has what was flushed", {
    timeout: 300_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(steps, shapes, fc.nat(), async (list, shape, seed) => {
        const { file, flushed, from } = await record(list, shape);
        for (let n = 0; n < 12; n++) {
          const count = from + ((seed * 7919 + n * 104729) % (file.log.length - from + 1));
          await inspect(file.after(count), flushed.findLast((state) => state.at <= count)!);
        }
      }),
      { numRuns: 25 },
    );
  });

  test("is right when the power goes and only some of the last writes are there", { timeout: 300_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(steps, shapes, fc.nat(), async (list, shape, seed) => {
        const { file, flushed, from } = await record(list, shape);
        for (let n = 0; n < 12; n++) {
          const count = from + ((seed * 7919 + n * 104729) % (file.log.length - from + 1));
          const reached = (index: number): boolean => ((index * 2654435761 + seed + n * 40503) >>> 7) % 3 !== 0;
          await inspect(file.afterPowerLoss(count, reached), flushed.findLast((state) => state.at <= count)!);
        }
      }),
      { numRuns: 25 },
    );
  });
});
